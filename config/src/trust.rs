//! `[trust]` of `coracle.toml`: which images may come in.

use std::path::PathBuf;

use serde::Deserialize;

/// How much is demanded of images.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Trust {
    /// The signature policy, as containers-policy.json(5) has it; it must be there.
    pub policy: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_named_and_nothing_else() {
        let trust: Trust = toml::from_str("policy = '/etc/policy.json'").unwrap();
        assert_eq!(trust.policy, Some("/etc/policy.json".into()));
        assert_eq!(toml::from_str::<Trust>("").unwrap(), Trust::default());
        assert!(toml::from_str::<Trust>("polcy = '/a'").unwrap_err().to_string().contains("polcy"));
    }

    #[test]
    fn the_examples_in_the_documentation_are_valid() {
        let page = include_str!("../../docs/images.md");
        let examples: Vec<&str> =
            page.split("```toml\n").skip(1).filter_map(|text| Some(text.split_once("```")?.0)).collect();
        assert_eq!(examples.len(), 3);
        for example in examples {
            toml::from_str::<crate::File>(example).unwrap_or_else(|error| panic!("{example}{error}"));
        }
    }
}
