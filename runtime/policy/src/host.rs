//! Hosts that a hold rule names: one, or all below one. Read as URLs read them, so `127.1` is
//! `127.0.0.1` and an IDN its punycode.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Deserializer, de};
use url::{Host, Url};

/// `host`, or `*.host` (below `host`, not `host` itself). A name that ends with a dot is the same
/// name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Every name below this one.
    Below(String),
    /// This name or address.
    Exact(Host<String>),
}

/// A text that is no pattern of hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no host: {why}")]
pub struct InvalidHost {
    given: String,
    why: &'static str,
}

impl FromStr for HostPattern {
    type Err = InvalidHost;

    fn from_str(given: &str) -> Result<Self, InvalidHost> {
        let wrong = |why| InvalidHost { given: given.chars().take(200).collect(), why };
        let plain = "write a name such as `api.example.com`, an address, or `*.example.com`; no \
                     scheme, port or path";
        let (below, name) = match given.strip_prefix("*.") {
            Some(base) => (true, base),
            None => (false, given),
        };
        if name.is_empty() || name.contains('*') {
            return Err(wrong("`*` stands only before a dot, as in `*.example.com`"));
        }
        let host = read(name).ok_or_else(|| wrong(plain))?;
        match (below, host) {
            (false, host) => Ok(Self::Exact(host)),
            (true, Host::Domain(base)) => Ok(Self::Below(base)),
            (true, _) => Err(wrong("nothing is below an IP address")),
        }
    }
}

impl HostPattern {
    /// Whether a request to `url` goes to such a host. Allocates nothing for HTTP.
    pub(crate) fn matches_url(&self, url: &Url) -> bool {
        match url.host() {
            None => false,
            Some(Host::Ipv4(address)) => self.matches_address(address.into()),
            Some(Host::Ipv6(address)) => self.matches_address(address.into()),
            Some(Host::Domain(name)) if matches!(url.scheme(), "http" | "https") => {
                self.matches_name(name)
            }
            // Other schemes' hosts are kept as they are written.
            Some(Host::Domain(name)) => read(name).is_some_and(|host| self.matches(&host)),
        }
    }

    /// Whether it is such a host.
    pub(crate) fn matches(&self, host: &Host<String>) -> bool {
        match host {
            Host::Domain(name) => self.matches_name(name),
            Host::Ipv4(address) => self.matches_address((*address).into()),
            Host::Ipv6(address) => self.matches_address((*address).into()),
        }
    }

    /// Whether it is this address, in any spelling.
    pub(crate) fn matches_address(&self, address: IpAddr) -> bool {
        match self {
            Self::Exact(Host::Ipv4(own)) => address.to_canonical() == IpAddr::V4(*own),
            Self::Exact(Host::Ipv6(own)) => address.to_canonical() == IpAddr::V6(*own),
            Self::Exact(Host::Domain(_)) | Self::Below(_) => false,
        }
    }

    fn matches_name(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.');
        match self {
            Self::Exact(Host::Domain(own)) => own == name,
            Self::Exact(_) => false,
            Self::Below(base) => name
                .strip_suffix(base.as_str())
                .and_then(|label| label.strip_suffix('.'))
                .is_some_and(|label| !label.is_empty()),
        }
    }

    /// Whether a text that a model wrote is a URL with such a host, or such a host with or without
    /// a port and a path.
    pub(crate) fn matches_text(&self, text: &str) -> bool {
        let text = text.trim();
        if let Ok(url) = Url::parse(text)
            && url.has_host()
        {
            return self.matches_url(&url);
        }
        let bare = text.trim_start_matches(['/', '\\']);
        let parsed =
            Url::parse(&format!("http://{bare}")).ok().is_some_and(|url| self.matches_url(&url));
        // An IPv6 address without its brackets.
        parsed || bare.parse().is_ok_and(|address| self.matches_address(address))
    }
}

/// A host, as it is compared.
fn read(given: &str) -> Option<Host<String>> {
    let bare = given.trim_end_matches('.');
    Some(match bare.parse().map(Host::Ipv6).or_else(|_| Host::parse(bare)).ok()? {
        Host::Ipv6(address) => match address.to_ipv4_mapped() {
            Some(address) => Host::Ipv4(address),
            None => Host::Ipv6(address),
        },
        host => host,
    })
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(base) => write!(f, "*.{base}"),
            Self::Exact(host) => host.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_any_spelling() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let pattern: HostPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches_text(text), expected, "{pattern} {text}");
        };
        check("pay.example", "https://pay.example/x", true);
        check("pay.example", "HTTPS://user:pw@PAY.example:8443/x?y#z", true);
        check("pay.example", "ftp://PAY.example/x", true);
        check("pay.example", "foo://PAY.example/x", true);
        check("pay.example", "https://pay.example./", true);
        check("pay.example", "https:\\\\pay.example\\x", true);
        check("pay.example", "https://pay%2eexample/", true);
        check("pay.example", " pay.example ", true);
        check("pay.example", "pay.example:443/x", true);
        check("pay.example", "//pay.example/x", true);
        check("pay.example", "https://pay.example.evil/", false);
        check("pay.example", "https://evil/pay.example", false);
        check("pay.example", "https://x.pay.example/", false);
        check("pay.example", "write to pay.example please", false);
        check("*.example", "https://a.b.example/", true);
        check("*.example", "https://example/", false);
        check("*.example", "https://aexample/", false);
        check("bücher.example", "https://xn--bcher-kva.example/", true);
        check("127.1", "http://2130706433/", true);
        check("127.0.0.1", "http://[::ffff:127.0.0.1]/", true);
        check("[::1]", "http://[0:0::1]:80/", true);
        check("::1", "::1", true);
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for given in ["", "*", "*.", "a.*.b", "https://a", "a/b", "a:80", "*.127.0.0.1", "a b"] {
            assert!(given.parse::<HostPattern>().is_err(), "{given:?}");
        }
    }
}
