//! A policy: the file, and which of its requirements are for an image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::json::{Json, Malformed};
use super::requirement::Requirement;
use super::scope::{self, Transport};
use super::{Error, NoSignatures, check};
use crate::Reference;

/// Where the policy is if none is named; containers-image reads the same.
pub const DEFAULT_PATH: &str = "/etc/containers/policy.json";
/// Largest file accepted; one written by hand is far smaller.
const MAX_BYTES: u64 = 1 << 20;

/// Which images may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    default: Vec<Requirement>,
    /// By transport, then by scope.
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
}

/// The part of a policy that is for one image.
pub(super) struct Rule<'a> {
    /// What an image must fulfil, all of it.
    pub(super) requirements: &'a [Requirement],
    /// What to call it.
    pub(super) name: String,
}

impl Policy {
    /// The policy of a machine that has none: any image may come in.
    pub fn accept_anything() -> Policy {
        Policy { default: vec![Requirement::Accept], transports: BTreeMap::new() }
    }

    /// Reads `path`, or else [`DEFAULT_PATH`]; then, and only then, an absent file means [`Policy::accept_anything`].
    /// After any error nothing may be accepted.
    pub fn read(path: Option<&Path>) -> Result<Policy, Error> {
        match path {
            Some(path) => Policy::read_file(path),
            None => Policy::read_if_there(Path::new(DEFAULT_PATH)),
        }
    }

    fn read_if_there(path: &Path) -> Result<Policy, Error> {
        // A link that leads nowhere is there: somebody wanted a policy.
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Policy::accept_anything()),
            _ => Policy::read_file(path),
        }
    }

    fn read_file(path: &Path) -> Result<Policy, Error> {
        let fail = |source| Error::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        File::open(path).map_err(fail)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::TooLarge(path.to_owned()));
        }
        Policy::parse(&bytes).map_err(|source| Error::Policy { path: path.to_owned(), source })
    }

    /// Reads a policy.
    pub fn parse(bytes: &[u8]) -> Result<Policy, Malformed> {
        let mut fields = Json::parse("policy", bytes)?.fields("policy")?;
        let default = Requirement::parse_list(fields.required("default")?, &fields.place("default"))?;
        let mut transports = BTreeMap::new();
        if let Some(value) = fields.take("transports") {
            for (transport, value) in value.fields(&fields.place("transports"))?.rest() {
                let place = format!("{}.{transport}", fields.place("transports"));
                transports.insert(transport.clone(), scopes(&transport, value, &place)?);
            }
        }
        fields.end()?;
        Ok(Policy { default, transports })
    }

    /// Refuses an image that no signature could save, so that nothing need be fetched.
    pub fn check_name(&self, reference: &Reference) -> Result<(), Error> {
        check::hopeless(&self.rule_for(reference), &reference.familiar())
    }

    /// Whether an archive or a layout may be loaded. These carry no signatures. `path` is where it lies, if it has a
    /// place at all.
    pub fn check_archive(&self, transport: Transport, path: Option<&Path>) -> Result<(), Error> {
        let image = path.map_or_else(|| "the archive".to_owned(), |path| path.display().to_string());
        // Scopes are paths without symbolic links.
        let real = path.and_then(|path| path.canonicalize().ok());
        let rule = self.rule(transport, scope::of_path(transport, real.as_deref()));
        check::all(&rule, &image, None, &[], &NoSignatures)
    }

    /// What is demanded of an image from a registry.
    pub(super) fn rule_for(&self, reference: &Reference) -> Rule<'_> {
        self.rule(Transport::Docker, scope::of_reference(reference))
    }

    fn rule(&self, transport: Transport, scopes: Vec<String>) -> Rule<'_> {
        let known = self.transports.get(transport.name());
        let found = scopes.into_iter().chain([String::new()]).find_map(|scope| {
            let requirements = known?.get(&scope)?;
            let name = if scope.is_empty() { format!("all of {transport}") } else { format!("{transport} {scope}") };
            Some(Rule { requirements, name })
        });
        found.unwrap_or_else(|| Rule { requirements: &self.default, name: "everything".to_owned() })
    }
}

/// The scopes of one transport.
fn scopes(transport: &str, value: Json, place: &str) -> Result<BTreeMap<String, Vec<Requirement>>, Malformed> {
    let mut scopes = BTreeMap::new();
    for (scope, value) in value.fields(place)?.rest() {
        scope::check(transport, &scope, place)?;
        let requirements = Requirement::parse_list(value, &format!("{place}.{scope:?}"))?;
        let scope = if transport == Transport::Docker.name() { scope::normal(&scope) } else { scope };
        if scopes.insert(scope.clone(), requirements).is_some() {
            return Err(Malformed::new(place, format!("The scope {scope:?} stands there twice")));
        }
    }
    Ok(scopes)
}

#[cfg(test)]
#[path = "policy_test.rs"]
mod tests;
