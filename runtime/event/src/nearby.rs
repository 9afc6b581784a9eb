//! Which addresses something may be sent to unencrypted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether what goes to an address stays on this machine or in its own network: loopback, the
/// private blocks of RFC 1918, the shared one of RFC 6598 that overlay networks use, and unique
/// local IPv6. Link-local is not among them: metadata services of clouds are there.
#[must_use]
pub fn is_nearby(address: IpAddr) -> bool {
    let v4 = |address: Ipv4Addr| {
        let [a, b, ..] = address.octets();
        address.is_loopback() || address.is_private() || (a == 100 && (64..128).contains(&b))
    };
    let v6 = |address: Ipv6Addr| address.is_loopback() || address.is_unique_local();
    match address.to_canonical() {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_nearby_is_reached_unencrypted() {
        let check = |text: &str, nearby: bool| {
            assert_eq!(is_nearby(text.parse().unwrap()), nearby, "{text}");
        };
        for text in ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "::1"] {
            check(text, true);
        }
        check("fd00::1", true);
        check("::ffff:127.0.0.1", true);
        for text in ["8.8.8.8", "169.254.169.254", "0.0.0.0", "100.128.0.1", "fe80::1", "2a00::1"] {
            check(text, false);
        }
        check("::ffff:8.8.8.8", false);
    }
}
