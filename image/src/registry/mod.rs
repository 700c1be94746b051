//! A client of registries (OCI distribution specification 1.1).

mod auth;
mod blob;
mod credentials;
mod error;
mod hosts;
mod http;
mod listing;
mod login;
mod network;
mod proxy;
mod ranges;
mod retry;
mod source;
mod tls;
mod upload;
mod url;
mod whence;

use std::path::PathBuf;
use std::sync::Arc;

use config::Registries;
use ureq::Body;
use ureq::http::{Method, Response};

pub use blob::Blob;
pub use credentials::{Anonymous, Credentials, Fixed, Login, Logins, Place};
pub use error::Error;
pub use hosts::CERTIFICATE_FOLDERS;
pub use http::Open;
pub use login::check_login;
pub use proxy::Proxies;
pub use retry::Retry;
pub use upload::Upload;

use crate::digest::Hashing;
use crate::manifest::{Descriptor, MAX_MANIFEST, media};
use crate::{Digest, Reference};
use http::Http;
use source::{Ask, Source};

/// Longest error document that is looked into for a message.
const MAX_MESSAGE: u64 = 8 << 10;

/// How registries are spoken to.
#[derive(Clone)]
pub struct Options {
    /// `[registries]` of coracle.toml.
    pub registries: Registries,
    /// Whether certificates are checked, and plain HTTP is refused, whatever `registries` says.
    pub verify: Option<bool>,
    /// Who to be.
    pub credentials: Arc<dyn Credentials>,
    /// A PEM file of further CAs to trust everywhere, beside the built-in public ones.
    pub authorities: Option<PathBuf>,
    /// Folders of certificates for single hosts, see [`CERTIFICATE_FOLDERS`].
    pub certificates: Vec<PathBuf>,
    /// Proxies on the way.
    pub proxies: Proxies,
    /// See [`Retry`].
    pub retry: Retry,
}

impl Default for Options {
    /// The user's logins, and what the environment says of CAs (`SSL_CERT_FILE`) and proxies.
    fn default() -> Options {
        Options {
            registries: Registries::default(),
            verify: None,
            credentials: Arc::new(Logins::of_user()),
            authorities: std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from),
            certificates: CERTIFICATE_FOLDERS.map(PathBuf::from).to_vec(),
            proxies: Proxies::of_environment(),
            retry: Retry::default(),
        }
    }
}

/// One repository on one registry, and on the mirrors of that. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    state: Arc<State>,
}

struct State {
    http: Http,
    /// For reading, in order. The registry itself is the last; it alone is written to.
    mirrors: Vec<Source>,
    registry: Source,
}

impl Client {
    /// Makes a client for the repository of `reference`; speaks to nobody yet.
    pub fn new(reference: &Reference, options: &Options) -> Result<Client, Error> {
        let http = Http::new(options);
        let domain = reference.domain();
        let mirrors = options.registries.mirrors.iter();
        let mirrors = mirrors.filter(|(registry, _)| crate::name::normalise_domain(registry) == domain);
        let mirrors = mirrors.flat_map(|(_, mirrors)| mirrors);
        let mirrors = mirrors.map(|mirror| Source::mirror(mirror, reference, &http, options.credentials.clone()));
        let mirrors = mirrors.collect::<Result<_, _>>()?;
        let (endpoint, repository) = (reference.endpoint(), reference.repository());
        let registry = Source::registry(domain, endpoint, repository, &http, options.credentials.clone())?;
        Ok(Client { state: Arc::new(State { http, mirrors, registry }) })
    }

    /// The manifest or index that `reference` names, with the media type the registry gives it. If `reference` has
    /// a digest the bytes are verified against it.
    pub fn manifest(&self, reference: &Reference) -> Result<(Vec<u8>, Option<String>), Error> {
        self.document(&format!("manifest {}", reference.familiar()), reference.target(), reference.digest())
    }

    /// The manifest of `digest`, verified.
    pub fn manifest_by_digest(&self, digest: &Digest) -> Result<(Vec<u8>, Option<String>), Error> {
        let what = format!("manifest {}@{digest}", self.state.registry.name());
        self.document(&what, digest.as_str(), Some(digest))
    }

    /// What the registry says is the digest of the manifest that `reference` names; `None` if it does not say.
    /// Where manifests are counted, this is not.
    pub fn digest(&self, reference: &Reference) -> Result<Option<Digest>, Error> {
        let (accept, path) = (media::ACCEPT.join(", "), format!("manifests/{}", reference.target()));
        let what = format!("manifest {}", reference.familiar());
        self.first(reference.digest().is_none(), |source| {
            let headers = [("accept", accept.as_str())];
            let ask = Ask { method: Method::HEAD, ..Ask::get(&path, &headers) };
            let answer = source.expect(source.send(&self.state.http, &ask)?, &[200], &what)?;
            Ok(answer.header("docker-content-digest").and_then(|digest| digest.parse().ok()))
        })
    }

    fn document(&self, what: &str, target: &str, digest: Option<&Digest>) -> Result<(Vec<u8>, Option<String>), Error> {
        let (accept, path) = (media::ACCEPT.join(", "), format!("manifests/{target}"));
        self.first(digest.is_none(), |source| {
            let answer = source.send(&self.state.http, &Ask::get(&path, &[("accept", &accept)]))?;
            let answer = source.expect(answer, &[200], what)?;
            let kind = answer.header("content-type");
            let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_owned());
            let bytes = read_limited(answer.response, MAX_MANIFEST, what)?;
            if let Some(expected) = digest {
                let mut hashing = Hashing::new(bytes.as_slice(), expected.algorithm(), None);
                hashing.drain().map_err(|source| Error::Broken { what: what.to_owned(), source })?;
                hashing.verify(expected).map_err(Error::Digest)?;
            }
            Ok((bytes, kind))
        })
    }

    /// Opens a blob. The reader goes on where it stopped when the connection breaks; it does not verify.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        self.blob_from(descriptor, 0)
    }

    /// Opens a blob at a byte offset.
    pub fn blob_from(&self, descriptor: &Descriptor, offset: u64) -> Result<Blob, Error> {
        Blob::open(self.state.clone(), descriptor, offset)
    }

    /// What the first source that has it gives; if none has, what is wrong with the registry itself.
    fn first<T>(&self, by_tag: bool, get: impl Fn(&Source) -> Result<T, Error>) -> Result<T, Error> {
        for mirror in self.state.mirrors.iter().filter(|mirror| mirror.has(by_tag)) {
            match get(mirror) {
                Ok(found) => return Ok(found),
                Err(error) => log::info!("The mirror {} was of no use: {error}", mirror.name()),
            }
        }
        get(&self.state.registry)
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
