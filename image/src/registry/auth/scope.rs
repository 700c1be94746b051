//! What a token is to allow (distribution project, "Token Scope").

use std::collections::BTreeSet;
use std::fmt;

/// What is done to a repository.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Access<'a> {
    /// Nothing but showing who we are.
    None,
    Pull,
    Push,
    /// Push, and take a blob from this other repository.
    Mount(&'a str),
}

/// A set of scopes, at most one for each resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Scopes(Vec<(String, BTreeSet<String>)>);

impl Scopes {
    pub(super) fn new(repository: &str, access: Access<'_>) -> Scopes {
        let mut scopes = Scopes::default();
        match access {
            Access::None => {}
            Access::Pull => scopes.add(&format!("repository:{repository}:pull")),
            Access::Push => scopes.add(&format!("repository:{repository}:pull,push")),
            Access::Mount(from) => {
                scopes.add(&format!("repository:{repository}:pull,push"));
                scopes.add(&format!("repository:{from}:pull"));
            }
        }
        scopes
    }

    /// Adds scopes as a challenge lists them, separated by spaces.
    pub(super) fn add(&mut self, text: &str) {
        for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
            let (resource, actions) = scope.rsplit_once(':').unwrap_or((scope, ""));
            let actions = actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned);
            match self.0.iter_mut().find(|(known, _)| known == resource) {
                Some((_, known)) => known.extend(actions),
                None => self.0.push((resource.to_owned(), actions.collect())),
            }
        }
    }

    /// One text for each scope.
    pub(super) fn texts(&self) -> Vec<String> {
        let text = |(resource, actions): &(String, BTreeSet<String>)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        };
        self.0.iter().map(text).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.texts().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_of_one_resource_become_one() {
        let mut scopes = Scopes::new("a/b", Access::Mount("c"));
        scopes.add("repository:a/b:push,delete registry:catalog:*");
        assert_eq!(scopes.texts(), ["repository:a/b:delete,pull,push", "repository:c:pull", "registry:catalog:*"]);
        assert_eq!(Scopes::new("a", Access::Pull).to_string(), "repository:a:pull");
        assert!(Scopes::new("a", Access::None).texts().is_empty());
    }
}
