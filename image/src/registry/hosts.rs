//! What is known of each host: whether its certificate matters, what it is checked against, what it is shown.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use config::Registries;

use super::Error;
use super::network::{in_range, is_loopback, split};
use super::tls::{self, Trust};
use crate::name::normalise_domain;

/// Folders with one folder for each `host[:port]`, as Docker and Podman have them: `*.crt` are CAs, `NAME.cert` and
/// `NAME.key` are what we show. The first folder that knows a host counts.
pub const CERTIFICATE_FOLDERS: [&str; 3] = ["/etc/coracle/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d"];

/// The user's configuration of registries.
pub(super) struct Hosts {
    registries: Registries,
    verify: Option<bool>,
    folders: Vec<PathBuf>,
    /// What was found out: whether a host is insecure, and whether it is special.
    known: Mutex<HashMap<String, (bool, bool)>>,
}

impl Hosts {
    /// `verify` is the user's word for this one command, `folders` are such as [`CERTIFICATE_FOLDERS`].
    pub(super) fn new(registries: Registries, verify: Option<bool>, folders: Vec<PathBuf>) -> Hosts {
        Hosts { registries, verify, folders, known: Mutex::default() }
    }

    /// Whether the certificate of `host[:port]` is not checked, and plain HTTP allowed where there is no HTTPS.
    ///
    /// As Docker has it, this machine itself is such a host; unless certificates are configured for it, which would
    /// otherwise be of no use.
    pub(super) fn is_insecure(&self, host: &str) -> bool {
        self.facts(host).0
    }

    /// Whether connections to `host[:port]` need a configuration of their own.
    pub(super) fn is_special(&self, host: &str) -> bool {
        self.facts(host).1
    }

    fn facts(&self, host: &str) -> (bool, bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = known.get(host) {
            return *facts;
        }
        let plain = self.files(host).is_empty();
        let insecure =
            self.verify.map_or_else(|| self.is_listed(host) || (is_loopback(host) && plain), |verify| !verify);
        known.insert(host.to_owned(), (insecure, insecure || !plain));
        (insecure, insecure || !plain)
    }

    fn is_listed(&self, host: &str) -> bool {
        let (bare, _) = split(host);
        let address = bare.parse().ok();
        let matches = |entry: &String| {
            entry.eq_ignore_ascii_case(host)
                || normalise_domain(entry) == normalise_domain(host)
                || address.is_some_and(|address| in_range(address, entry) || entry.parse() == Ok(address))
        };
        let mirrors = self.registries.mirrors.values().flatten().filter(|mirror| mirror.insecure);
        let mut hosts = mirrors.map(|mirror| mirror.location.split('/').next().unwrap_or_default());
        self.registries.insecure.iter().any(matches) || hosts.any(|mirror| mirror.eq_ignore_ascii_case(host))
    }

    /// What is configured for `host[:port]`.
    pub(super) fn trust(&self, host: &str) -> Result<Trust, Error> {
        let files = self.files(host);
        let mut trust = Trust { verified: !self.is_insecure(host), ..Trust::default() };
        for path in &files.authorities {
            trust.authorities.extend(tls::authorities(path)?);
        }
        if let Some((certificate, key)) = &files.client {
            trust.client = Some(tls::client(certificate, key)?);
        }
        Ok(trust)
    }

    fn files(&self, host: &str) -> Files {
        let named = |key: &&String| key.eq_ignore_ascii_case(host) || normalise_domain(key) == normalise_domain(host);
        let mut files = match self.registries.tls.iter().find(|(key, _)| named(key)) {
            Some((_, tls)) => Files {
                authorities: tls.ca.iter().cloned().collect(),
                client: tls.client_cert.as_ref().map(|certificate| {
                    (certificate.clone(), tls.client_key.clone().unwrap_or_else(|| certificate.with_extension("key")))
                }),
            },
            None => Files::default(),
        };
        // A host may not walk out of the folder.
        if files.is_empty() && !host.starts_with('.') && !host.contains('/') {
            let names = [host, normalise_domain(host)];
            let folders = self.folders.iter().flat_map(|folder| names.map(|name| folder.join(name)));
            files = folders.map(|folder| Files::of(&folder)).find(|files| !files.is_empty()).unwrap_or_default();
        }
        files
    }
}

/// Certificates of one host.
#[derive(Default)]
struct Files {
    authorities: Vec<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
}

impl Files {
    fn of(folder: &Path) -> Files {
        let mut files = Files::default();
        let Ok(entries) = std::fs::read_dir(folder) else { return files };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => files.authorities.push(path),
                Some("cert") if files.client.is_none() => {
                    let key = path.with_extension("key");
                    files.client = Some((path, key));
                }
                _ => {}
            }
        }
        files
    }

    fn is_empty(&self) -> bool {
        self.authorities.is_empty() && self.client.is_none()
    }
}

#[cfg(test)]
#[path = "hosts_test.rs"]
mod tests;
