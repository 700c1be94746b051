//! Requests that survive a bad network: time limits, retries, redirects that carry no secret elsewhere.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ureq::http::{self, Method, Response};
use ureq::{Body, SendBody};

use super::hosts::Hosts;
use super::proxy::{self, Proxies};
use super::retry::{LONGEST_PAUSE, retry_after};
use super::tls::{self, Agents, Trust};
use super::url::Url;
use super::{Error, Options, Retry};

/// Most redirects followed for one request; real ones take one or two.
pub(super) const MAX_REDIRECTS: u32 = 10;
/// Most bytes of an answer nobody wants that are read so that its connection can be used again.
const MAX_DRAINED: u64 = 64 << 10;

/// What is asked.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// Goes to the origin of `url` and to no other.
    pub(super) authorization: Option<&'a str>,
    pub(super) content: Content<'a>,
}

/// What is sent along.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    None,
    Bytes(&'a [u8]),
    /// Opened anew for each try; with its length, if that is known.
    Stream(&'a dyn Open, Option<u64>),
}

/// What can be read from its beginning as often as it takes.
pub trait Open: Sync {
    /// Begins anew.
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;
}

/// What came back, and where from.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) url: Url,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// Reads what is left, if it is little.
    pub(super) fn discard(self) {
        // What cannot be read is not used again, that is all.
        let _ = io::copy(&mut self.response.into_body().into_reader().take(MAX_DRAINED), &mut io::sink());
    }
}

/// Which connections may be shared.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    tls: bool,
    /// A host that is configured for itself.
    host: Option<String>,
    proxy: Option<String>,
}

/// Pools of connections with our rules.
pub(super) struct Http {
    hosts: Hosts,
    proxies: Proxies,
    authorities: Option<PathBuf>,
    agents: Mutex<HashMap<Key, Arc<Agents>>>,
    retry: Retry,
}

impl Http {
    pub(super) fn new(options: &Options) -> Http {
        Http {
            hosts: Hosts::new(options.registries.clone(), options.verify, options.certificates.clone()),
            proxies: options.proxies.clone(),
            authorities: options.authorities.clone(),
            agents: Mutex::default(),
            retry: options.retry,
        }
    }

    /// Whether `host[:port]` may be spoken to without certificate, and over plain HTTP.
    pub(super) fn is_insecure(&self, host: &str) -> bool {
        self.hosts.is_insecure(host)
    }

    pub(super) fn retry(&self) -> Retry {
        self.retry
    }

    pub(super) fn get(&self, url: &Url, authorization: Option<&str>) -> Result<Answer, Error> {
        self.send(&Request { method: Method::GET, url, headers: &[], authorization, content: Content::None })
    }

    /// Sends a request. Statuses are the caller's to judge, except that 429 and 5xx were tried again before; so were
    /// broken connections if sending twice does no harm.
    pub(super) fn send(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let mut attempt = 1;
        loop {
            let outcome = self.once(request);
            let asked = match &outcome {
                Ok(answer) if is_transient_status(answer.status()) => {
                    answer.header("retry-after").and_then(|value| retry_after(value, SystemTime::now()))
                }
                Err(Error::Unreachable { source, .. }) if request.is_repeatable() && is_transient(source) => None,
                _ => return outcome,
            };
            let Some(pause) = self.retry.pause(attempt) else { return outcome };
            let why = match outcome {
                Ok(answer) => {
                    let status = answer.response.status().to_string();
                    answer.discard();
                    status
                }
                Err(error) => error.to_string(),
            };
            log::warn!("Try {attempt} of {} for {}: {why}", self.retry.attempts, request.url.host());
            std::thread::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE));
            attempt += 1;
        }
    }

    /// Sends a request once, and again to where it is redirected.
    pub(super) fn once(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let first = request.url;
        let mut url = first.clone();
        for _ in 0..=MAX_REDIRECTS {
            if !url.tls() && (first.tls() || !self.is_insecure(url.host())) {
                return Err(Error::PlainHttp(url.host().to_owned()));
            }
            let secret = request.authorization.filter(|_| url.same_origin(first));
            let response = self.transmit(&url, request, secret)?;
            let answer = Answer { response, url };
            if !request.follows(answer.status()) {
                return Ok(answer);
            }
            url = answer.url.join(answer.header("location").ok_or_else(|| Error::Address(String::new()))?)?;
            answer.discard();
        }
        Err(Error::Redirects { host: first.host().to_owned() })
    }

    fn transmit(&self, url: &Url, request: &Request<'_>, secret: Option<&str>) -> Result<Response<Body>, Error> {
        let agents = self.agents(url)?;
        let result = agents.send(|agent| {
            let mut builder = http::Request::builder().method(request.method.clone()).uri(url.to_string());
            for (name, value) in request.headers {
                builder = builder.header(*name, *value);
            }
            if let Some(secret) = secret {
                builder = builder.header("authorization", secret);
            }
            match request.content {
                Content::None => agent.run(builder.body(())?),
                Content::Bytes(bytes) => agent.run(builder.body(bytes)?),
                Content::Stream(open, length) => {
                    let mut stream = open.open()?;
                    if let Some(length) = length {
                        builder = builder.header("content-length", length);
                    }
                    agent.run(builder.body(SendBody::from_reader(&mut stream))?)
                }
            }
        });
        result.map_err(|source| {
            let (host, source) = (url.host().to_owned(), Box::new(source));
            if tls::is_certificate(&source) {
                Error::Certificate { host, source }
            } else if tls::is_no_tls(&source) {
                Error::NoTls { host, source }
            } else {
                Error::Unreachable { host, source }
            }
        })
    }

    /// The connections for a URL.
    fn agents(&self, url: &Url) -> Result<Arc<Agents>, Error> {
        let proxy = self.proxies.to(url);
        let special = url.tls() && self.hosts.is_special(url.host());
        let host = special.then(|| url.host().to_owned());
        let key = Key { tls: url.tls(), host, proxy: proxy.map(str::to_owned) };
        let mut known = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agents) = known.get(&key) {
            return Ok(agents.clone());
        }
        let mut trust = match special {
            true => self.hosts.trust(url.host())?,
            false => Trust { verified: true, ..Trust::default() },
        };
        if let (true, true, Some(path)) = (url.tls(), trust.verified, &self.authorities) {
            trust.authorities.extend(tls::authorities(path)?);
        }
        let proxy = proxy.map(proxy::parse).transpose()?;
        let agents = Arc::new(Agents::new(&trust, proxy.as_ref()));
        known.insert(key, agents.clone());
        Ok(agents)
    }
}

impl Request<'_> {
    /// Whether a redirect of this kind keeps method and body.
    fn follows(&self, status: u16) -> bool {
        let reading = self.method == Method::GET || self.method == Method::HEAD;
        matches!(status, 307 | 308) || (reading && matches!(status, 301..=303))
    }

    /// Whether it may be sent again when nobody knows what became of it.
    fn is_repeatable(&self) -> bool {
        matches!(self.content, Content::None) || self.method == Method::PUT
    }
}

fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Whether the same request may well succeed in a moment. A host that does not exist or refuses is not waited for.
pub(super) fn is_transient(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
    match error {
        ureq::Error::Timeout(_) => true,
        ureq::Error::Io(error) => {
            matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | TimedOut)
        }
        _ => false,
    }
}
