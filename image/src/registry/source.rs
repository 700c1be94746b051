//! One place that has a repository: the registry itself, or a mirror of it.

use std::sync::OnceLock;

use config::file::MirrorUse;
use ureq::http::Method;

use super::auth::{Access, Authority, Challenge};
use super::http::{Answer, Content, Http, Request};
use super::url::Url;
use super::{Credentials, Error, message};
use crate::Reference;
use crate::name::normalise_domain;

/// Most challenges answered for one request.
const ROUNDS: u32 = 2;

/// A repository on one host.
pub(super) struct Source {
    /// Host, with port if one is named.
    host: String,
    pub(super) repository: String,
    /// For people: repository with registry.
    name: String,
    authority: Authority,
    insecure: bool,
    /// Whether the host speaks HTTPS; found out by the first request if it need not.
    tls: OnceLock<bool>,
    /// What it is asked for.
    usage: MirrorUse,
}

/// What is asked of a repository.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) target: Target<'a>,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) access: Access<'a>,
    pub(super) content: Content<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// Below `/v2/`.
    Root(&'a str),
    /// Below `/v2/REPOSITORY/`.
    Path(&'a str),
    /// Where the registry told us to go.
    Url(&'a Url),
}

impl<'a> Ask<'a> {
    /// Reading.
    pub(super) fn get(path: &'a str, headers: &'a [(&'a str, &'a str)]) -> Ask<'a> {
        let (method, target) = (Method::GET, Target::Path(path));
        Ask { method, target, headers, access: Access::Pull, content: Content::None }
    }

    /// Writing.
    pub(super) fn write(method: Method, target: Target<'a>, content: Content<'a>) -> Ask<'a> {
        Ask { method, target, headers: &[], access: Access::Push, content }
    }
}

impl Source {
    /// The registry itself.
    pub(super) fn registry(
        domain: &str,
        endpoint: &str,
        repository: &str,
        http: &Http,
        credentials: std::sync::Arc<dyn Credentials>,
    ) -> Result<Source, Error> {
        // A host that makes no URL fails here rather than later.
        let host = Url::parse(&format!("https://{endpoint}/v2/"))?.host().to_owned();
        Ok(Source {
            insecure: http.is_insecure(&host),
            repository: repository.to_owned(),
            name: if repository.is_empty() { domain.to_owned() } else { format!("{domain}/{repository}") },
            authority: Authority::new(domain, repository, credentials),
            tls: OnceLock::new(),
            usage: MirrorUse::All,
            host,
        })
    }

    /// A mirror of the registry of `reference`.
    pub(super) fn mirror(
        mirror: &config::file::Mirror,
        reference: &Reference,
        http: &Http,
        credentials: std::sync::Arc<dyn Credentials>,
    ) -> Result<Source, Error> {
        let (host, folder) = mirror.location.split_once('/').unwrap_or((&mirror.location, ""));
        let repository = match folder.trim_end_matches('/') {
            "" => reference.repository().to_owned(),
            folder => format!("{folder}/{}", reference.repository()),
        };
        let source = Source::registry(normalise_domain(host), host, &repository, http, credentials)?;
        Ok(Source { usage: mirror.pull_from, ..source })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is asked for what a tag, or else a digest, names.
    pub(super) fn has(&self, by_tag: bool) -> bool {
        match self.usage {
            MirrorUse::All => true,
            MirrorUse::DigestOnly => !by_tag,
            MirrorUse::TagOnly => by_tag,
        }
    }

    fn url(&self, target: Target<'_>, tls: bool) -> Result<Url, Error> {
        let scheme = if tls { "https" } else { "http" };
        match target {
            Target::Root(path) => Url::parse(&format!("{scheme}://{}/v2/{path}", self.host)),
            Target::Path(path) => Url::parse(&format!("{scheme}://{}/v2/{}/{path}", self.host, self.repository)),
            Target::Url(url) => Ok(url.clone()),
        }
    }

    /// Sends a request, authorised as the registry demands. Of the statuses only 401, and what comes of it, is dealt
    /// with here.
    pub(super) fn send(&self, http: &Http, ask: &Ask<'_>) -> Result<Answer, Error> {
        if self.insecure && self.tls.get().is_none() {
            match self.authorised(http, ask, true, Http::once) {
                Ok(answer) => {
                    self.tls.get_or_init(|| true);
                    if answer.status() < 500 && answer.status() != 429 {
                        return Ok(answer);
                    }
                }
                // Nobody speaks HTTPS there.
                Err(Error::Unreachable { .. } | Error::Certificate { .. } | Error::NoTls { .. }) => {
                    let result = self.authorised(http, ask, false, Http::send);
                    if result.is_ok() {
                        self.tls.get_or_init(|| false);
                    }
                    return result;
                }
                Err(error) => return Err(error),
            }
        }
        self.authorised(http, ask, self.tls.get().copied().unwrap_or(true), Http::send)
    }

    fn authorised(
        &self,
        http: &Http,
        ask: &Ask<'_>,
        tls: bool,
        send: impl Fn(&Http, &Request<'_>) -> Result<Answer, Error>,
    ) -> Result<Answer, Error> {
        let url = self.url(ask.target, tls)?;
        // Uploads may be sent on to another host, which has no business with what is ours.
        let ours = url.same_origin(&self.url(Target::Root(""), tls)?);
        let request = |authorization: Option<&str>| {
            let (method, headers, content) = (ask.method.clone(), ask.headers, ask.content);
            send(http, &Request { method, url: &url, headers, authorization, content })
        };
        let mut shown = if ours { self.authority.known(http, ask.access, &url)? } else { None };
        // What answers the first challenge may not suffice, which a second one says; a third would be a game.
        for round in 0..=ROUNDS {
            let answer = request(shown.as_deref())?;
            let challenges = Challenge::parse_all(answer.response.headers());
            let more = challenges.iter().any(Challenge::wants_more);
            let refused = match answer.status() {
                401 => round == 0 || more,
                403 => more,
                _ => false,
            };
            // A host we were redirected to is not asked who it takes us for.
            if !(ours && refused && round < ROUNDS && answer.url.same_origin(&url)) {
                return Ok(answer);
            }
            answer.discard();
            let fresh = self.authority.answer(http, &challenges, ask.access, shown.as_deref(), &url)?;
            shown = Some(fresh.ok_or_else(|| self.denied())?);
        }
        Err(self.denied())
    }

    /// Passes on an answer with one of these statuses, and makes an error of any other.
    pub(super) fn expect(&self, answer: Answer, statuses: &[u16], what: &str) -> Result<Answer, Error> {
        match answer.status() {
            status if statuses.contains(&status) => Ok(answer),
            401 | 403 => Err(self.denied()),
            404 => Err(Error::NotFound { what: what.to_owned() }),
            429 => Err(Error::TooManyRequests { host: self.host.clone() }),
            status => Err(Error::Status { status, what: what.to_owned(), message: message(answer.response) }),
        }
    }

    fn denied(&self) -> Error {
        Error::Denied { name: self.name.clone() }
    }
}
