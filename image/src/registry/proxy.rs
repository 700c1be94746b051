//! Which requests go by way of a proxy: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, as curl and Go have it.

use std::net::IpAddr;

use ureq::Proxy;

use super::Error;
use super::network::{in_range, is_loopback, split};
use super::url::Url;

/// The proxies of the environment. This machine itself is never reached through one.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For HTTPS.
    pub https: Option<String>,
    /// For plain HTTP.
    pub http: Option<String>,
    /// For both, where the others are not set.
    pub all: Option<String>,
    /// Hosts that are reached without: names (with everything below them), `.names` (only what is below them),
    /// addresses, CIDR ranges, each with or without a port, or `*`; separated by commas.
    pub none: String,
}

impl Proxies {
    /// What the environment says, in capitals or not.
    pub fn of_environment() -> Proxies {
        let variable = |name: &str| {
            let values = [std::env::var(name), std::env::var(name.to_ascii_lowercase())];
            values.into_iter().flatten().map(|value| value.trim().to_owned()).find(|value| !value.is_empty())
        };
        Proxies {
            https: variable("HTTPS_PROXY"),
            http: variable("HTTP_PROXY"),
            all: variable("ALL_PROXY"),
            none: variable("NO_PROXY").unwrap_or_default(),
        }
    }

    /// The proxy to `url`.
    pub(super) fn to(&self, url: &Url) -> Option<&str> {
        let own = if url.tls() { &self.https } else { &self.http };
        let proxy = own.as_ref().or(self.all.as_ref())?;
        (!is_loopback(url.host()) && !self.excepts(url)).then_some(proxy)
    }

    fn excepts(&self, url: &Url) -> bool {
        let (host, port) = split(url.host());
        let port = port.unwrap_or(if url.tls() { 443 } else { 80 });
        let address: Option<IpAddr> = host.parse().ok();
        self.none.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            let entry = entry.to_ascii_lowercase();
            if entry == "*" || address.is_some_and(|address| in_range(address, &entry)) {
                return true;
            }
            let (name, wanted) = split(&entry);
            if wanted.is_some_and(|wanted| wanted != port) {
                return false;
            }
            let name = name.strip_prefix('*').unwrap_or(name);
            match name.strip_prefix('.') {
                Some(_) => host.ends_with(name),
                None => host == name || host.strip_suffix(name).is_some_and(|before| before.ends_with('.')),
            }
        })
    }
}

/// Makes sense of a proxy's URL; one without scheme is an HTTP proxy.
pub(super) fn parse(text: &str) -> Result<Proxy, Error> {
    // Whatever stands before the @ is secret.
    let shown = || Error::Proxy(text.rsplit('@').next().unwrap_or_default().chars().take(200).collect());
    Proxy::new(text).map_err(|_| shown())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(none: &str) -> Proxies {
        Proxies { https: Some("http://tls:1".into()), http: None, all: Some("http://all:1".into()), none: none.into() }
    }

    #[track_caller]
    fn way(none: &str, url: &str) -> Option<String> {
        proxies(none).to(&Url::parse(url).unwrap()).map(str::to_owned)
    }

    #[test]
    fn the_scheme_chooses_the_proxy_and_this_machine_needs_none() {
        assert_eq!(way("", "https://host/").as_deref(), Some("http://tls:1"));
        assert_eq!(way("", "http://host/").as_deref(), Some("http://all:1"));
        assert_eq!(way("", "https://localhost:5000/"), None);
        assert_eq!(way("", "http://127.0.0.1/"), None);
        assert_eq!(way("", "http://[::1]:5000/"), None);
    }

    #[test]
    fn exceptions_are_names_suffixes_addresses_ranges_and_ports() {
        for (none, url) in [
            ("*", "https://any/"),
            ("a.example, host.example", "https://host.example/"),
            ("host.example", "https://sub.HOST.example/"),
            (".example", "https://host.example/"),
            ("*.example", "https://host.example/"),
            ("host:443", "https://host/"),
            ("host:5000", "https://host:5000/"),
            ("192.0.2.7", "https://192.0.2.7:5000/"),
            ("192.0.2.0/24", "http://192.0.2.7:5000/"),
            ("fd00::/8", "http://[fd00::7]:5000/"),
            ("[fd00::7]:5000", "http://[fd00::7]:5000/"),
        ] {
            assert_eq!(way(none, url), None, "{none:?} does not except {url}");
        }
        for (none, url) in [
            ("", "https://any/"),
            ("example", "https://counterexample/"),
            (".host.example", "https://host.example/"),
            ("host:5000", "https://host/"),
            ("192.0.2.0/24", "https://192.0.3.7/"),
            ("192.0.2.0/24", "https://192.0.2.7.example/"),
        ] {
            assert!(way(none, url).is_some(), "{none:?} excepts {url}");
        }
    }

    #[test]
    fn a_proxy_is_named_without_its_password() {
        assert!(parse("host:3128").is_ok() && parse("http://user:secret@host:3128").is_ok());
        let message = parse("ftp://user:secret@host").unwrap_err().to_string();
        assert!(message.contains("host") && !message.contains("secret"), "{message}");
    }
}
