//! GET requests that survive a bad network: time limits, retries, redirects that carry no secret elsewhere.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::url::{Url, is_loopback};
use super::{Error, Options, Retry};

/// Most redirects followed for one request; real ones take one or two.
pub(super) const MAX_REDIRECTS: u32 = 10;
/// Longest CA file read: the whole public set is a fifth of it.
const MAX_AUTHORITIES: u64 = 1 << 20;
/// Finding the address of a host, and connecting: a host that is up answers in far less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Silence that counts as a broken connection.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest pause a registry can ask for; beyond that the user decides.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// What we call ourselves.
const USER_AGENT: &str = concat!("coracle/", env!("CARGO_PKG_VERSION"));

/// A pool of connections with our rules.
pub(super) struct Http {
    /// One trusts the public CAs, the other, if there is one, those of the user's file.
    agents: Vec<Agent>,
    /// Index of the agent that last got through TLS.
    preferred: AtomicUsize,
    insecure: Vec<String>,
    retry: Retry,
}

impl Http {
    pub(super) fn new(options: &Options) -> Result<Http, Error> {
        let mut agents = vec![agent(RootCerts::WebPki)];
        if let Some(path) = &options.authorities {
            agents.push(agent(RootCerts::Specific(Arc::new(authorities(path)?))));
        }
        let insecure = options.insecure.iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Http { agents, preferred: AtomicUsize::new(0), insecure, retry: options.retry })
    }

    /// Whether plain HTTP is spoken with `host[:port]`.
    pub(super) fn allows_plain(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        is_loopback(&host) || self.insecure.contains(&host)
    }

    pub(super) fn retry(&self) -> Retry {
        self.retry
    }

    /// GETs `url`. Statuses are the caller's to judge, except that 429 and 5xx were tried again before. The
    /// Authorization header goes to the origin of `url` and to no other.
    pub(super) fn get(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        authorization: Option<&str>,
    ) -> Result<Response<Body>, Error> {
        let mut attempt = 1;
        loop {
            let outcome = self.follow(url, headers, authorization);
            let asked = match &outcome {
                Ok(response) if is_transient_status(response.status().as_u16()) => retry_after(response),
                Err(Error::Unreachable { source, .. }) if is_transient(source) => None,
                _ => return outcome,
            };
            let Some(pause) = self.retry.pause(attempt) else { return outcome };
            let why = outcome.map_or_else(|error| error.to_string(), |response| response.status().to_string());
            log::warn!("Try {attempt} of {} for {}: {why}", self.retry.attempts, url.host());
            std::thread::sleep(asked.unwrap_or(pause).min(MAX_RETRY_AFTER));
            attempt += 1;
        }
    }

    fn follow(&self, first: &Url, headers: &[(&str, &str)], secret: Option<&str>) -> Result<Response<Body>, Error> {
        let mut url = first.clone();
        for _ in 0..=MAX_REDIRECTS {
            if !url.tls() && (first.tls() || !self.allows_plain(url.host())) {
                return Err(Error::PlainHttp(url.host().to_owned()));
            }
            let secret = secret.filter(|_| url.same_origin(first));
            let response = self.send(&url, headers, secret)?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = response.headers().get("location").and_then(|value| value.to_str().ok());
            url = url.join(location.ok_or_else(|| Error::Address(String::new()))?)?;
        }
        Err(Error::Redirects { host: first.host().to_owned() })
    }

    fn send(&self, url: &Url, headers: &[(&str, &str)], secret: Option<&str>) -> Result<Response<Body>, Error> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let count = self.agents.len();
        let mut failure = None;
        for index in (0..count).map(|step| (preferred + step) % count) {
            let Some(agent) = self.agents.get(index) else { continue };
            let mut request = agent.get(url.to_string());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(secret) = secret {
                request = request.header("authorization", secret);
            }
            // A proxy cannot reach what is on this machine.
            let request = if is_loopback(url.host()) { request.config().proxy(None).build() } else { request };
            match request.call() {
                Ok(response) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(error) if is_certificate(&error) => failure = Some(error),
                Err(source) => {
                    return Err(Error::Unreachable { host: url.host().to_owned(), source: Box::new(source) });
                }
            }
        }
        let source = Box::new(failure.unwrap_or(ureq::Error::ConnectionFailed));
        Err(Error::Certificate { host: url.host().to_owned(), source })
    }
}

fn agent(roots: RootCerts) -> Agent {
    Agent::config_builder()
        .user_agent(USER_AGENT)
        // A digest is that of the bytes as stored: nobody may compress them on the way.
        .accept_encoding("identity")
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_per_read(Some(SILENCE_TIMEOUT))
        .timeout_per_write(Some(SILENCE_TIMEOUT))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build()
        .new_agent()
}

fn authorities(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let fail = |source: Box<dyn std::error::Error + Send + Sync>| Error::Authorities { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(|error| fail(error.into()))?.len();
    if length > MAX_AUTHORITIES {
        return Err(fail(format!("It is larger than {MAX_AUTHORITIES} bytes").into()));
    }
    let bytes = std::fs::read(path).map_err(|error| fail(error.into()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&bytes) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| fail(error.into()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err(fail("It holds no PEM certificate".into())) } else { Ok(certificates) }
}

fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Whether the same request may well succeed in a moment. A host that does not exist or refuses is not waited for.
fn is_transient(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
    match error {
        ureq::Error::Timeout(_) => true,
        ureq::Error::Io(error) => {
            matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | TimedOut)
        }
        _ => false,
    }
}

/// A handshake in which the other side could not prove who it is; nothing was sent to it yet.
fn is_certificate(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => true,
        ureq::Error::Io(error) => error.to_string().contains("invalid peer certificate"),
        _ => false,
    }
}

fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
