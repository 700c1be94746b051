//! Who we are towards one repository: what its registry wants to see, and the tokens it has given.

mod challenge;
mod scope;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::http::Http;
use super::url::Url;
use super::{Credentials, Error, Login};
pub(super) use challenge::Challenge;
pub(super) use scope::Access;
use scope::Scopes;
use token::Token;

/// Answers the challenges of a registry, and remembers what it answered.
pub(super) struct Authority {
    domain: String,
    repository: String,
    credentials: Arc<dyn Credentials>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// An Authorization header that is good for everything.
    basic: Option<String>,
    /// The challenge that tokens answer, known after the first request.
    bearer: Option<Challenge>,
    tokens: HashMap<Scopes, Token>,
}

impl Authority {
    pub(super) fn new(domain: &str, repository: &str, credentials: Arc<dyn Credentials>) -> Authority {
        let (domain, repository) = (domain.to_owned(), repository.to_owned());
        Authority { domain, repository, credentials, state: Mutex::default() }
    }

    /// The Authorization header to begin with. `asked` is the URL it is for.
    pub(super) fn known(&self, http: &Http, access: Access<'_>, asked: &Url) -> Result<Option<String>, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.basic.is_some() {
            return Ok(state.basic.clone());
        }
        let scopes = Scopes::new(&self.repository, access);
        if let Some(token) = state.token(&scopes) {
            return Ok(Some(token));
        }
        let Some(challenge) = state.bearer.clone() else { return Ok(None) };
        // A service that denies this may still be asked properly: the registry will say what for.
        self.fetch(http, &mut state, &challenge, scopes, asked)
    }

    /// The Authorization header that answers one of `challenges`, which came although `used` was sent.
    pub(super) fn answer(
        &self,
        http: &Http,
        challenges: &[Challenge],
        access: Access<'_>,
        used: Option<&str>,
        asked: &Url,
    ) -> Result<Option<String>, Error> {
        // Whoever comes second waits for the first, and takes what that got.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let own = Scopes::new(&self.repository, access);
        if let Some(challenge) = challenges.iter().find(|challenge| challenge.is("bearer")) {
            match state.token(&own) {
                Some(token) if Some(token.as_str()) != used => return Ok(Some(token)),
                _ => state.tokens.remove(&own),
            };
            let mut scopes = own.clone();
            scopes.add(challenge.parameter("scope").unwrap_or_default());
            let header = self.fetch(http, &mut state, challenge, scopes.clone(), asked)?;
            if let Some(token) = state.tokens.get(&scopes).cloned() {
                state.tokens.insert(own, token);
            }
            state.bearer = Some(challenge.clone());
            return Ok(header);
        }
        if !challenges.iter().any(|challenge| challenge.is("basic")) {
            return Ok(None);
        }
        state.basic = self.login()?.as_ref().and_then(Login::basic).filter(|basic| Some(basic.as_str()) != used);
        Ok(state.basic.clone())
    }

    fn fetch(
        &self,
        http: &Http,
        state: &mut State,
        challenge: &Challenge,
        scopes: Scopes,
        asked: &Url,
    ) -> Result<Option<String>, Error> {
        let token = token::fetch(http, challenge, &scopes, self.login()?.as_ref(), asked)?;
        let header = token.as_ref().map(|token| token.header.clone());
        state.tokens.extend(token.map(|token| (scopes, token)));
        Ok(header)
    }

    fn login(&self) -> Result<Option<Login>, Error> {
        self.credentials.find(&self.domain, &self.repository)
    }
}

impl State {
    fn token(&self, scopes: &Scopes) -> Option<String> {
        self.tokens.get(scopes).filter(|token| token.until > Instant::now()).map(|token| token.header.clone())
    }
}
