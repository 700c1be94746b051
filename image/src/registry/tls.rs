//! Connections, and whom they trust: pools of them, made from certificates in files.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

use super::Error;

/// Longest PEM file read: the whole public set of CAs is a fifth of it.
const MAX_PEM: u64 = 1 << 20;
/// Finding the address of a host, and connecting: a host that is up answers in far less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Silence that counts as a broken connection.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections kept for each host: as many as fetch the layers of one image at once.
const IDLE_CONNECTIONS: usize = 16;
/// What we call ourselves.
const USER_AGENT: &str = concat!("coracle/", env!("CARGO_PKG_VERSION"));

/// Whom to trust, and who to be.
#[derive(Clone, Default)]
pub(super) struct Trust {
    /// Whether the other side must prove who it is.
    pub(super) verified: bool,
    /// CAs beside the public ones.
    pub(super) authorities: Vec<Certificate<'static>>,
    pub(super) client: Option<ClientCert>,
}

/// Pools of connections. One trusts the public CAs, the other, if there is one, the user's own: whose of them a host
/// has is found out by trying.
pub(super) struct Agents {
    agents: Vec<Agent>,
    /// Index of the one that last got through.
    preferred: AtomicUsize,
}

impl Agents {
    pub(super) fn new(trust: &Trust, proxy: Option<&Proxy>) -> Agents {
        let tls = || TlsConfig::builder().client_cert(trust.client.clone());
        let mut configurations = Vec::new();
        if !trust.verified {
            configurations.push(tls().disable_verification(true));
        } else {
            if !trust.authorities.is_empty() {
                configurations.push(tls().root_certs(RootCerts::Specific(Arc::new(trust.authorities.clone()))));
            }
            configurations.push(tls().root_certs(RootCerts::WebPki));
        }
        let agents = configurations.into_iter().map(|tls| agent(tls.build(), proxy)).collect();
        Agents { agents, preferred: AtomicUsize::new(0) }
    }

    /// Sends with the one that got through last, and with the others if the certificate is not to its liking: then
    /// nothing has been sent yet.
    pub(super) fn send<T>(&self, mut send: impl FnMut(&Agent) -> Result<T, ureq::Error>) -> Result<T, ureq::Error> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let count = self.agents.len();
        let mut failure = ureq::Error::ConnectionFailed;
        for index in (0..count).map(|step| (preferred + step) % count) {
            let Some(agent) = self.agents.get(index) else { continue };
            match send(agent) {
                Err(error) if is_certificate(&error) => failure = error,
                result => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return result;
                }
            }
        }
        Err(failure)
    }
}

fn agent(tls: TlsConfig, proxy: Option<&Proxy>) -> Agent {
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
        .max_idle_connections(IDLE_CONNECTIONS)
        .max_idle_connections_per_host(IDLE_CONNECTIONS)
        .tls_config(tls)
        .proxy(proxy.cloned())
        .build()
        .new_agent()
}

/// A handshake in which one side could not prove who it is; nothing was sent yet.
pub(super) fn is_certificate(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => !is_no_tls(error),
        ureq::Error::Io(error) => error.to_string().contains("invalid peer certificate"),
        _ => false,
    }
}

/// An answer that is none of TLS: plain HTTP, most likely.
pub(super) fn is_no_tls(error: &ureq::Error) -> bool {
    let corrupt = |error: &rustls::Error| matches!(error, rustls::Error::InvalidMessage(_));
    match error {
        ureq::Error::Rustls(error) => corrupt(error),
        ureq::Error::Io(error) => {
            error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).is_some_and(corrupt)
        }
        _ => false,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let length = std::fs::metadata(path).map_err(wrong(path))?.len();
    if length > MAX_PEM {
        return Err(wrong(path)(format!("It is larger than {MAX_PEM} bytes")));
    }
    std::fs::read(path).map_err(wrong(path))
}

fn wrong<E: Into<Box<dyn std::error::Error + Send + Sync>>>(path: &Path) -> impl Fn(E) -> Error {
    move |source| Error::Certificates { path: path.to_owned(), source: source.into() }
}

/// The certificates in a PEM file.
pub(super) fn authorities(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let mut certificates = Vec::new();
    for item in parse_pem(&read(path)?) {
        if let PemItem::Certificate(certificate) = item.map_err(wrong(path))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err(wrong(path)("It holds no PEM certificate")) } else { Ok(certificates) }
}

/// A certificate and its key from two PEM files.
pub(super) fn client(certificate: &Path, key: &Path) -> Result<ClientCert, Error> {
    let chain = authorities(certificate)?;
    let bytes = read(key)?;
    let secret = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| wrong(key)("It holds no PEM private key"))?;
    // The connection would take their fitting together for granted.
    let provider = rustls::crypto::ring::default_provider();
    let ders = chain.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    rustls::sign::CertifiedKey::from_der(ders, secret, &provider).map_err(wrong(key))?;
    let secret = PrivateKey::from_pem(&bytes).map_err(wrong(key))?;
    Ok(ClientCert::new_with_certs(&chain, secret))
}
