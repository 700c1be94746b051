//! Which part of a policy is for an image: the scopes that fit it, the most specific first.

use std::fmt;
use std::path::{Component, Path};

use super::identity::is_prefix;
use super::json::Malformed;
use crate::Reference;

/// How an image comes in, named as containers-transports(5) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// From a registry.
    Docker,
    /// From a file as `docker save` writes it.
    DockerArchive,
    /// From the folder of an OCI layout.
    Oci,
    /// From a tar of an OCI layout.
    OciArchive,
}

impl Transport {
    /// Its key below `transports`.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Docker => "docker",
            Transport::DockerArchive => "docker-archive",
            Transport::Oci => "oci",
            Transport::OciArchive => "oci-archive",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The scopes of an image in a registry: itself, its repository, the namespaces above, the registry, and `*.DOMAIN`
/// upwards. For the last the port does not count.
pub(super) fn of_reference(reference: &Reference) -> Vec<String> {
    let mut scopes = vec![normal(&reference.stored())];
    let name = normal(&reference.name());
    let mut rest = Some(name.as_str());
    while let Some(scope) = rest {
        scopes.push(scope.to_owned());
        rest = scope.rsplit_once('/').map(|(above, _)| above);
    }
    let domain = normal(reference.domain());
    // An IPv6 address has no domains above it.
    let mut host = if domain.starts_with('[') { "" } else { domain.split(':').next().unwrap_or_default() };
    while let Some((_, above)) = host.split_once('.') {
        scopes.push(format!("*.{above}"));
        host = above;
    }
    scopes
}

/// The scopes of a file or a folder: itself and the folders above, without `/`.
pub(super) fn of_path(transport: Transport, path: Option<&Path>) -> Vec<String> {
    let Some(path) = path.filter(|_| transport != Transport::DockerArchive) else { return Vec::new() };
    let above = path.ancestors().filter(|path| path.parent().is_some());
    above.filter_map(|path| path.to_str()).map(str::to_owned).collect()
}

/// Host names know no case; everything after them does.
pub(super) fn normal(scope: &str) -> String {
    match scope.split_once('/') {
        Some((domain, rest)) => format!("{}/{rest}", domain.to_ascii_lowercase()),
        None => scope.to_ascii_lowercase(),
    }
}

/// Refuses scopes that could never fit: what they were meant for would come in under another rule.
pub(super) fn check(transport: &str, scope: &str, place: &str) -> Result<(), Malformed> {
    let wrong = |problem: &str| Err(Malformed::new(place, format!("The scope {scope:?} is wrong: {problem}")));
    match transport {
        _ if scope.is_empty() => Ok(()),
        "docker-archive" | "tarball" => wrong("this transport knows only the empty one"),
        "dir" | "oci" | "oci-archive" if !is_clean(scope) => {
            wrong("expected an absolute path, not /, without . and .. and doubled slashes")
        }
        "docker" if scope.contains('*') && !is_wildcard(scope) => wrong("a wildcard must look like *.example.com"),
        "docker" if !scope.contains('*') && !is_name(scope) => {
            wrong("it is no full name, nor the beginning of one: docker.io/library/busybox, not busybox")
        }
        _ => Ok(()),
    }
}

fn is_clean(scope: &str) -> bool {
    let components = Path::new(scope).components();
    let plain = |component| matches!(component, Component::RootDir | Component::Normal(_));
    // What the components make together must be the same text again.
    scope.starts_with('/')
        && scope != "/"
        && components.clone().all(plain)
        && components.as_path().as_os_str() == scope
        && !scope.ends_with('/')
        && !scope.contains("//")
        && !scope.contains("/./")
        && !scope.ends_with("/.")
}

/// A registry, a namespace, a repository, or an image with a tag or a digest, in full.
fn is_name(scope: &str) -> bool {
    is_prefix(scope) || scope.parse::<Reference>().is_ok_and(|reference| reference.stored() == scope)
}

fn is_wildcard(scope: &str) -> bool {
    scope.strip_prefix("*.").is_some_and(|domain| !domain.is_empty() && !domain.contains(['*', '/', ':']))
}

#[cfg(test)]
#[path = "scope_test.rs"]
mod tests;
