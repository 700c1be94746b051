//! Tokens: how a registry's challenge is read and answered (distribution project, "Token Authentication").

use serde::Deserialize;
use ureq::http::HeaderMap;

use super::http::Http;
use super::url::Url;
use super::{Error, Login, read_limited};
use crate::manifest::nullable;

/// Longest answer of a token service, the same limit as other clients have.
const MAX_TOKEN: u64 = 1 << 20;

/// One challenge of a `WWW-Authenticate` header (RFC 9110, section 11.6.1).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// All challenges of all such headers.
    pub(super) fn parse_all(headers: &HeaderMap) -> Vec<Challenge> {
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
    pub(super) fn is(&self, scheme: &str) -> bool {
        self.scheme == scheme
    }

    fn parameter(&self, name: &str) -> Option<&str> {
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

#[derive(Deserialize)]
struct Answer {
    #[serde(default, deserialize_with = "nullable")]
    token: String,
    #[serde(default, deserialize_with = "nullable")]
    access_token: String,
}

/// Fetches a token that answers `challenge`; `None` if the service denies it. `asked` is the URL that was asked for:
/// the service may be on plain HTTP only if that was.
pub(super) fn token(
    http: &Http,
    challenge: &Challenge,
    default_scope: &str,
    login: Option<&Login>,
    asked: &Url,
) -> Result<Option<String>, Error> {
    let realm = Url::parse(challenge.parameter("realm").unwrap_or_default())?;
    if asked.tls() && !realm.tls() {
        return Err(Error::PlainHttp(realm.host().to_owned()));
    }
    let mut query = Vec::new();
    if let Some(service) = challenge.parameter("service") {
        query.push(("service", service));
    }
    let scopes = challenge.parameter("scope").unwrap_or(default_scope);
    query.extend(scopes.split(' ').filter(|scope| !scope.is_empty()).map(|scope| ("scope", scope)));
    let basic = login.map(Login::basic);
    let response = http.get(&realm.with_query(&query), &[], basic.as_deref())?;
    match response.status().as_u16() {
        200 => {}
        400 | 401 | 403 | 404 => return Ok(None),
        429 => return Err(Error::TooManyRequests { host: realm.host().to_owned() }),
        _ => return Err(Error::Token { host: realm.host().to_owned() }),
    }
    let bytes = read_limited(response, MAX_TOKEN, "a token")?;
    let answer: Option<Answer> = serde_json::from_slice(&bytes).ok();
    let token = answer.map(|answer| if answer.token.is_empty() { answer.access_token } else { answer.token });
    let usable = |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    match token.filter(usable) {
        Some(token) => Ok(Some(format!("Bearer {token}"))),
        None => Err(Error::Token { host: realm.host().to_owned() }),
    }
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
