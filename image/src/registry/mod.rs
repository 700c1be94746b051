//! A client of registries (OCI distribution specification 1.1): manifests and blobs, read only so far.

mod auth;
mod blob;
mod credentials;
mod http;
mod url;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::Body;
use ureq::http::Response;

pub use blob::Blob;
pub use credentials::{Anonymous, Credentials, DockerConfig, Login};

use crate::manifest::{Descriptor, MAX_MANIFEST, media};
use crate::{Digest, Reference};
use auth::Challenge;
use http::Http;
use url::Url;

/// Longest error document that is looked into for a message.
const MAX_MESSAGE: u64 = 8 << 10;

/// Why a registry did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or one that broke again and again.
    #[error("Cannot reach the registry host {host}: check its name and this machine's network")]
    Unreachable {
        /// Host and port.
        host: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// TLS.
    #[error(
        "The certificate of {host} is not trusted: if it is your own registry, name its CA in SSL_CERT_FILE, or list the \
         host under [registries] insecure in coracle.toml if it speaks plain HTTP"
    )]
    Certificate {
        /// Host and port.
        host: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The file named by SSL_CERT_FILE.
    #[error("Cannot use the CA file {path} that SSL_CERT_FILE names")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A login would travel in the clear, or content be changed on its way.
    #[error(
        "Refused to speak plain HTTP with {0}: list it under [registries] insecure in coracle.toml to allow it (a \
         registry reached over HTTPS may never send on to plain HTTP)"
    )]
    PlainHttp(String),
    /// 401 and 403.
    #[error("The registry denies access to {name}: it does not exist, or needs a login in ~/.docker/config.json")]
    Denied {
        /// Repository with registry.
        name: String,
    },
    /// 404.
    #[error("The registry has no {what}: check the name and the tag")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// 429, still after waiting.
    #[error("The registry {host} allows no more requests for now (429): wait, or log in for a higher limit")]
    TooManyRequests {
        /// Host and port.
        host: String,
    },
    /// Any other status.
    #[error("The registry answered {status} for {what}{message}")]
    Status {
        /// HTTP status code.
        status: u16,
        /// What was asked for.
        what: String,
        /// What it said about it, with a colon in front, or nothing.
        message: String,
    },
    /// More bytes than such an answer may have.
    #[error("The registry's answer for {what} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The connection broke in the middle of an answer.
    #[error("The registry's answer for {what} broke off")]
    Broken {
        /// What was asked for.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// A manifest that was asked for by digest is another one.
    #[error("The registry sent another manifest than asked for")]
    Digest(#[source] crate::digest::Error),
    /// A URL or a redirect that leads nowhere.
    #[error("The registry named an address that cannot be used: {0:?}")]
    Address(String),
    /// See `http::MAX_REDIRECTS`.
    #[error("The registry {host} sends in circles: more than {limit} redirects", limit = http::MAX_REDIRECTS)]
    Redirects {
        /// Host and port.
        host: String,
    },
    /// The token service's answer.
    #[error("The token service {host} gave no usable token")]
    Token {
        /// Host and port.
        host: String,
    },
    /// The login file.
    #[error("Cannot read the logins in {path}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How often and how patiently a failed request is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Tries in all.
    pub attempts: u32,
    /// Pause after the first; it doubles each time, up to a minute.
    pub first_pause: Duration,
}

impl Default for Retry {
    /// Five tries within about eight seconds: long enough for a restarting registry or a flapping link.
    fn default() -> Retry {
        Retry { attempts: 5, first_pause: Duration::from_millis(500) }
    }
}

impl Retry {
    /// The pause after try number `attempt`, counted from 1; `None` when there is no further one.
    fn pause(&self, attempt: u32) -> Option<Duration> {
        const LONGEST: Duration = Duration::from_secs(60);
        let pause = || self.first_pause.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST);
        (attempt >= 1 && attempt < self.attempts).then(pause)
    }
}

/// How registries are spoken to.
#[derive(Clone)]
pub struct Options {
    /// `host[:port]` of registries that may be spoken to over plain HTTP, beside this machine itself.
    pub insecure: Vec<String>,
    /// Who to be.
    pub credentials: Arc<dyn Credentials>,
    /// A PEM file of further CAs to trust, beside the built-in public ones.
    pub authorities: Option<PathBuf>,
    /// See [`Retry`].
    pub retry: Retry,
}

/// One repository on one registry.
pub struct Client {
    http: Http,
    base: Url,
    name: String,
    repository: String,
    domain: String,
    credentials: Arc<dyn Credentials>,
    authorization: Mutex<Option<String>>,
}

impl Client {
    /// Makes a client for the repository of `reference`; speaks to nobody yet.
    pub fn new(reference: &Reference, options: &Options) -> Result<Client, Error> {
        let http = Http::new(options)?;
        let scheme = if http.allows_plain(reference.endpoint()) { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{}/v2/{}/", reference.endpoint(), reference.repository()))?;
        Ok(Client {
            http,
            base,
            name: reference.name(),
            repository: reference.repository().to_owned(),
            domain: reference.domain().to_owned(),
            credentials: options.credentials.clone(),
            authorization: Mutex::new(None),
        })
    }

    /// The manifest or index that `reference` names, with the media type the registry gives it. If `reference` has
    /// a digest the bytes are verified against it.
    pub fn manifest(&self, reference: &Reference) -> Result<(Vec<u8>, Option<String>), Error> {
        self.document(&format!("manifest {}", reference.familiar()), reference.target(), reference.digest())
    }

    /// The manifest of `digest`, verified.
    pub fn manifest_by_digest(&self, digest: &Digest) -> Result<(Vec<u8>, Option<String>), Error> {
        self.document(&format!("manifest {}@{digest}", self.name), digest.as_str(), Some(digest))
    }

    fn document(&self, what: &str, target: &str, digest: Option<&Digest>) -> Result<(Vec<u8>, Option<String>), Error> {
        let accept = media::ACCEPT.join(", ");
        let response = self.get(&format!("manifests/{target}"), &[("accept", &accept)], what)?;
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_owned());
        let bytes = read_limited(response, MAX_MANIFEST, what)?;
        if let Some(expected) = digest {
            let mut hashing = crate::digest::Hashing::new(bytes.as_slice(), expected.algorithm(), None);
            hashing.drain().map_err(|source| Error::Broken { what: what.to_owned(), source })?;
            hashing.verify(expected).map_err(Error::Digest)?;
        }
        Ok((bytes, kind))
    }

    /// Opens a blob. The reader goes on where it stopped when the connection breaks; it does not verify.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Blob<'_>, Error> {
        self.blob_from(descriptor, 0)
    }

    /// Opens a blob at an offset.
    pub fn blob_from(&self, descriptor: &Descriptor, offset: u64) -> Result<Blob<'_>, Error> {
        Blob::open(self, &descriptor.digest, descriptor.size, offset)
    }

    /// GETs `path` below the repository, authorising as the registry demands.
    fn get(&self, path: &str, headers: &[(&str, &str)], what: &str) -> Result<Response<Body>, Error> {
        let url = self.base.join(path)?;
        let known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut response = self.http.get(&url, headers, known.as_deref())?;
        if response.status() == 401 {
            let fresh = self.authorise(&Challenge::parse_all(response.headers()), &url)?;
            response = self.http.get(&url, headers, Some(&fresh))?;
            *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        }
        match response.status().as_u16() {
            200 | 206 => Ok(response),
            401 | 403 => Err(Error::Denied { name: self.name.clone() }),
            404 => Err(Error::NotFound { what: what.to_owned() }),
            429 => Err(Error::TooManyRequests { host: self.base.host().to_owned() }),
            status => Err(Error::Status { status, what: what.to_owned(), message: message(response) }),
        }
    }

    /// The value of an Authorization header that answers one of `challenges`.
    fn authorise(&self, challenges: &[Challenge], url: &Url) -> Result<String, Error> {
        let denied = || Error::Denied { name: self.name.clone() };
        let login = self.credentials.find(&self.domain)?;
        if let Some(bearer) = challenges.iter().find(|challenge| challenge.is("bearer")) {
            let scope = format!("repository:{}:pull", self.repository);
            return auth::token(&self.http, bearer, &scope, login.as_ref(), url)?.ok_or_else(denied);
        }
        let basic = challenges.iter().any(|challenge| challenge.is("basic"));
        login.filter(|_| basic).map(|login| login.basic()).ok_or_else(denied)
    }
}

/// Reads a whole body of at most `limit` bytes.
fn read_limited(response: Response<Body>, limit: u64, what: &str) -> Result<Vec<u8>, Error> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let reader = response.into_body().into_reader();
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Broken { what: what.to_owned(), source })?;
    if bytes.len() as u64 > limit { Err(Error::TooLarge { what: what.to_owned(), limit }) } else { Ok(bytes) }
}

/// What a registry says of an error (distribution specification, "Error Codes"), made fit to print.
fn message(response: Response<Body>) -> String {
    let bytes = read_limited(response, MAX_MESSAGE, "").unwrap_or_default();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let text = value.pointer("/errors/0/message").and_then(serde_json::Value::as_str).unwrap_or_default();
    let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}
