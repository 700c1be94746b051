//! How a registry says what it wants to see (RFC 9110, section 11.6.1).

use ureq::http::HeaderMap;

/// One challenge of a `WWW-Authenticate` header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// All challenges of all such headers.
    pub(in super::super) fn parse_all(headers: &HeaderMap) -> Vec<Challenge> {
        let values = headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        values.flat_map(Challenge::parse).collect()
    }

    /// The challenges of one header value; what makes no sense is passed over.
    fn parse(text: &str) -> Vec<Challenge> {
        let mut challenges: Vec<Challenge> = Vec::new();
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if word.is_empty() && after.is_empty() {
                return challenges;
            }
            match after.strip_prefix('=') {
                Some(value) => {
                    let (value, after) = take_value(value);
                    if let Some(challenge) = challenges.last_mut() {
                        challenge.parameters.push((word.to_ascii_lowercase(), value));
                    }
                    rest = after;
                }
                None => {
                    challenges.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
                    rest = after;
                }
            }
        }
    }

    /// Whether it asks for this scheme, named in lower case.
    pub(in super::super) fn is(&self, scheme: &str) -> bool {
        self.scheme == scheme
    }

    /// Whether what was shown is good, but not for this (RFC 6750, section 3.1).
    pub(in super::super) fn wants_more(&self) -> bool {
        self.parameter("error") == Some("insufficient_scope")
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A token or a quoted string, and what follows it.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([' ', '\t', ',']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (value, quoted.get(index + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_challenge_is_read() {
        let challenges =
            Challenge::parse(r#"Bearer realm="https://a/token",service="s, \"t\"",scope=repository:a:pull"#);
        assert_eq!(challenges.len(), 1);
        assert!(challenges[0].is("bearer"));
        assert_eq!(challenges[0].parameter("realm"), Some("https://a/token"));
        assert_eq!(challenges[0].parameter("service"), Some("s, \"t\""));
        assert_eq!(challenges[0].parameter("scope"), Some("repository:a:pull"));
    }

    #[test]
    fn several_challenges_in_one_header_are_told_apart() {
        let challenges = Challenge::parse(r#"Negotiate, Basic realm="x", Bearer realm="y""#);
        let schemes: Vec<&str> = challenges.iter().map(|challenge| challenge.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "basic", "bearer"]);
        assert_eq!(challenges[2].parameter("realm"), Some("y"));
    }

    #[test]
    fn nonsense_ends() {
        for text in ["", ",,,", "=", "==x", "Bearer realm=\"open", "Bearer realm=\"a\\", "a=b"] {
            assert!(Challenge::parse(text).iter().all(|challenge| challenge.parameter("realm") != Some("")));
        }
    }
}
