//! The few things that are done to URLs: parse, join, compare origins.

use std::fmt;

use ureq::http::Uri;

use super::Error;

/// An `http` or `https` URL without user information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    tls: bool,
    host: String,
    path: String,
}

impl Url {
    /// Parses an absolute URL.
    pub(super) fn parse(text: &str) -> Result<Url, Error> {
        let wrong = || Error::Address(text.chars().take(200).collect());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let host = uri.authority().ok_or_else(wrong)?.as_str();
        if host.is_empty() || host.contains('@') {
            return Err(wrong());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Url { tls, host: host.to_ascii_lowercase(), path })
    }

    /// Resolves `location` against this URL (RFC 3986, section 5.2, as far as registries go).
    pub(super) fn join(&self, location: &str) -> Result<Url, Error> {
        let scheme = if self.tls { "https" } else { "http" };
        // The scheme of an absolute URL stands before any slash; a digest in a path has a colon after one.
        let absolute = location.split('/').next().is_some_and(|first| first.ends_with(':'));
        if absolute {
            Url::parse(location)
        } else if location.starts_with("//") {
            Url::parse(&format!("{scheme}:{location}"))
        } else if location.starts_with('/') {
            Url::parse(&format!("{scheme}://{}{location}", self.host))
        } else {
            let path = self.path.split('?').next().unwrap_or_default();
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            Url::parse(&format!("{scheme}://{}{folder}/{location}", self.host))
        }
    }

    /// This URL with further query parameters.
    pub(super) fn with_query(&self, parameters: &[(&str, &str)]) -> Url {
        let mut url = self.clone();
        for (name, value) in parameters {
            url.path.push(if url.path.contains('?') { '&' } else { '?' });
            url.path.push_str(&pair(name, value));
        }
        url
    }

    /// Whether it is HTTPS.
    pub(super) fn tls(&self) -> bool {
        self.tls
    }

    /// Host, with port if one is named.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether a secret meant for one may be sent to the other.
    pub(super) fn same_origin(&self, other: &Url) -> bool {
        self.tls == other.tls && self.host_without_default_port() == other.host_without_default_port()
    }

    fn host_without_default_port(&self) -> &str {
        let default = if self.tls { ":443" } else { ":80" };
        // The last group of an address without brackets is no port.
        self.host.strip_suffix(default).filter(|host| !host.contains(':') || host.ends_with(']')).unwrap_or(&self.host)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}{}", if self.tls { "https" } else { "http" }, self.host, self.path)
    }
}

/// The body of a form (`application/x-www-form-urlencoded`).
pub(super) fn form(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = parameters.iter().map(|(name, value)| pair(name, value)).collect();
    pairs.join("&")
}

fn pair(name: &str, value: &str) -> String {
    format!("{name}={}", percent_encode(value))
}

/// Everything but the unreserved characters of RFC 3986 as `%XX`.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn joined(base: &str, location: &str) -> String {
        Url::parse(base).unwrap().join(location).unwrap().to_string()
    }

    #[test]
    fn locations_resolve_like_in_a_browser() {
        let base = "https://h:5000/v2/a/blobs/x?y=/z";
        assert_eq!(joined(base, "http://other/p?q"), "http://other/p?q");
        assert_eq!(joined(base, "//other/p"), "https://other/p");
        assert_eq!(joined(base, "/p"), "https://h:5000/p");
        assert_eq!(joined(base, "sha256:abc"), "https://h:5000/v2/a/blobs/sha256:abc");
        assert_eq!(joined("https://h/v2/a/", "blobs/sha256:abc"), "https://h/v2/a/blobs/sha256:abc");
    }

    #[test]
    fn other_schemes_and_user_information_are_refused() {
        for text in ["ftp://h/", "file:///etc/passwd", "/only/a/path", "https://user:pw@h/", "https://", "h:5000"] {
            assert!(Url::parse(text).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn query_values_are_encoded() {
        let url = Url::parse("https://auth/token?a=b").unwrap();
        let url = url.with_query(&[("scope", "repository:a/b:pull"), ("x", "&")]);
        assert_eq!(url.to_string(), "https://auth/token?a=b&scope=repository%3Aa%2Fb%3Apull&x=%26");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| Url::parse(a).unwrap().same_origin(&Url::parse(b).unwrap());
        assert!(same("https://h/a", "https://H:443/b") && same("http://[::1]:80/", "http://[::1]/"));
        assert!(!same("https://h/", "http://h/") && !same("https://h/", "https://h:444/"));
        assert!(!same("https://h/", "https://sub.h/"));
    }
}
