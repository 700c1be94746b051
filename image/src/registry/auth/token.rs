//! Tokens: how a registry's challenge is answered (distribution project, "Token Authentication").

use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::http::Method;

use super::super::http::{Content, Http, Request};
use super::super::url::{self, Url};
use super::super::{Error, Login, read_limited};
use super::challenge::Challenge;
use super::scope::Scopes;
use crate::manifest::nullable;

/// Longest answer of a token service, the same limit as other clients have.
const MAX_TOKEN: u64 = 1 << 20;
/// How long a token is good for if its service does not say.
const DEFAULT_LIFE: u64 = 60;
/// Longest life that is believed: after that it costs nothing to ask again.
const LONGEST_LIFE: u64 = 24 * 60 * 60;
/// What we call ourselves towards a token service.
const CLIENT: &str = "coracle";

/// What allows something for a while.
#[derive(Clone)]
pub(super) struct Token {
    /// The value of an Authorization header.
    pub(super) header: String,
    pub(super) until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default, deserialize_with = "nullable")]
    token: String,
    #[serde(default, deserialize_with = "nullable")]
    access_token: String,
    #[serde(default, deserialize_with = "nullable")]
    expires_in: Option<u64>,
}

/// Fetches a token that answers `challenge`; `None` if the service denies it. `asked` is the URL that was asked for:
/// the service may be on plain HTTP only if that was.
pub(super) fn fetch(
    http: &Http,
    challenge: &Challenge,
    scopes: &Scopes,
    login: Option<&Login>,
    asked: &Url,
) -> Result<Option<Token>, Error> {
    let realm = Url::parse(challenge.parameter("realm").unwrap_or_default())?;
    if asked.tls() && !realm.tls() {
        return Err(Error::PlainHttp(realm.host().to_owned()));
    }
    let began = Instant::now();
    let service = challenge.parameter("service");
    let answer = match login {
        Some(Login::Token(token)) => {
            let scopes = scopes.to_string();
            let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", CLIENT)];
            form.extend(service.map(|service| ("service", service)));
            form.push(("scope", &scopes));
            let body = url::form(&form);
            http.send(&Request {
                method: Method::POST,
                url: &realm,
                headers: &[("content-type", "application/x-www-form-urlencoded")],
                authorization: None,
                content: Content::Bytes(body.as_bytes()),
            })?
        }
        Some(Login::Password { .. }) | None => {
            let texts = scopes.texts();
            let mut query: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
            query.extend(texts.iter().map(|scope| ("scope", scope.as_str())));
            if let Some(Login::Password { user, .. }) = login {
                query.push(("account", user));
            }
            http.get(&realm.with_query(&query), login.and_then(Login::basic).as_deref())?
        }
    };
    match answer.status() {
        200 => {}
        400 | 401 | 403 | 404 => return Ok(None),
        429 => return Err(Error::TooManyRequests { host: realm.host().to_owned() }),
        _ => return Err(Error::Token { host: realm.host().to_owned() }),
    }
    let bytes = read_limited(answer.response, MAX_TOKEN, "a token")?;
    let unusable = || Error::Token { host: realm.host().to_owned() };
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| unusable())?;
    let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unusable());
    }
    // The last tenth is not used: what is sent then might arrive too late.
    let life = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFE).min(LONGEST_LIFE)) * 9 / 10;
    Ok(Some(Token { header: format!("Bearer {token}"), until: began + life }))
}
