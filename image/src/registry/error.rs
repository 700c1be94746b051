//! What can go wrong between us and a registry.

use std::path::PathBuf;

use super::http;

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
        "No trusted connection to {host}: if it is your own registry, put its CA in /etc/coracle/certs.d/{host}/ca.crt, or \
         list the host under [registries] insecure in coracle.toml"
    )]
    Certificate {
        /// Host and port.
        host: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// Somebody answered, but not with TLS.
    #[error(
        "{host} does not speak HTTPS: if it is your own registry, list it under [registries] insecure in coracle.toml, or \
         use --tls-verify=false"
    )]
    NoTls {
        /// Host and port.
        host: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// A PEM file: that named by SSL_CERT_FILE, by coracle.toml, or one of a certs.d folder.
    #[error("Cannot use the certificates in {path}")]
    Certificates {
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
    #[error("The registry denies access to {name}: it does not exist, or needs another login (see coracle login)")]
    Denied {
        /// Repository with registry.
        name: String,
    },
    /// 401 and 403 to a login that is tried out.
    #[error("The registry {name} does not take this login: the name of the user or the password is wrong")]
    Login {
        /// The registry.
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
    /// Not what the specification says.
    #[error("The registry's {what} makes no sense")]
    Nonsense {
        /// What was asked for.
        what: String,
    },
    /// A list without end.
    #[error("The registry's {what} does not end")]
    TooLong {
        /// What was asked for.
        what: String,
    },
    /// The connection broke in the middle of an answer.
    #[error("The registry's answer for {what} broke off")]
    Broken {
        /// What was asked for.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// What was to be sent could not be read.
    #[error("Cannot read what is to be sent")]
    Local(#[source] std::io::Error),
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
    /// The proxy that the environment names.
    #[error("The proxy {0:?} of the environment cannot be used: write http://host:port")]
    Proxy(String),
    /// A login file.
    #[error("Cannot use the logins in {path}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
