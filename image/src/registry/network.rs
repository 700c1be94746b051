//! Which hosts a list in a configuration means: names, addresses, ranges of addresses.

use std::net::IpAddr;

/// Name or address, and port, of `host[:port]`. An IPv6 address loses its brackets.
pub(super) fn split(host: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match host.split_once(':') {
        // An IPv6 address without brackets.
        Some((_, rest)) if rest.contains(':') => (host, None),
        Some((name, port)) => (name, port.parse().ok()),
        None => (host, None),
    }
}

/// Whether `address` is in the range `text`, written as `10.0.0.0/8` (RFC 4632) or `fd00::/8`.
pub(super) fn in_range(address: IpAddr, text: &str) -> bool {
    let Some((network, bits)) = text.split_once('/') else { return false };
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    // A shift by the whole width leaves nothing to differ in.
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) if bits <= 32 => {
            (a.to_bits() ^ n.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(n)) if bits <= 128 => {
            (a.to_bits() ^ n.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Whether `host[:port]` is this machine itself.
pub(super) fn is_loopback(host: &str) -> bool {
    let (bare, _) = split(host);
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "127.0.0.1.example", "128.0.0.1", "[::2]", "host:5000"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn ports_are_told_from_addresses() {
        assert_eq!(split("host:5000"), ("host", Some(5000)));
        assert_eq!(split("host"), ("host", None));
        assert_eq!(split("[fd00::1]:5000"), ("fd00::1", Some(5000)));
        assert_eq!(split("[fd00::1]"), ("fd00::1", None));
        assert_eq!(split("fd00::1"), ("fd00::1", None));
        assert_eq!(split("host:x"), ("host", None));
    }

    #[test]
    fn a_range_holds_its_addresses_and_no_others() {
        let within = |address: &str, range: &str| in_range(address.parse().unwrap(), range);
        assert!(
            within("10.1.2.3", "10.0.0.0/8") && within("10.1.2.3", "10.1.2.3/32") && within("1.2.3.4", "0.0.0.0/0")
        );
        assert!(within("fd00::5", "fd00::/8") && within("::1", "::1/128") && within("::1", "::/0"));
        assert!(!within("11.1.2.3", "10.0.0.0/8") && !within("10.1.2.4", "10.1.2.3/32"));
        assert!(!within("10.1.2.3", "10.1.2.3") && !within("10.1.2.3", "10.0.0.0/33") && !within("::1", "0.0.0.0/0"));
    }
}
