//! Origins of HTTP needs and grants: scheme, host and port, with wildcards for the host. Hosts are
//! read as a browser reads them, so `127.1` is `127.0.0.1` and an IDN its punycode.

use std::{fmt, net::IpAddr, str::FromStr};

use url::{Host, Url};

/// `https://host[:port]`, `https://*.host[:port]` (below `host`, not `host` itself),
/// `https://*[:port]` (any host), or `*` (any origin at all). The scheme may be `http` too. Without
/// a port the scheme's own is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    endpoint: Option<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Endpoint {
    secure: bool,
    host: HostPattern,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum HostPattern {
    Any,
    /// Every name below this one.
    Below(String),
    Exact(Host<String>),
}

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no origin: {why}")]
pub struct InvalidOrigin {
    given: String,
    why: &'static str,
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(given: &str) -> Result<Self, InvalidOrigin> {
        let wrong = |why| InvalidOrigin { given: given.chars().take(200).collect(), why };
        if given == "*" {
            return Ok(Self { endpoint: None });
        }
        let (secure, authority) = if let Some(rest) = given.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = given.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err(wrong("it begins with `https://` or `http://`, or is `*`"));
        };
        if authority.contains('@') {
            return Err(wrong("a user name or password does not belong here"));
        }
        if authority.contains(['/', '\\', '?', '#']) {
            return Err(wrong("it ends after host and port; a path goes into `paths`"));
        }
        if authority.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(wrong("it has a space or a control character"));
        }
        let scheme = if secure { "https" } else { "http" };
        let (below, name) = match authority.strip_prefix('*') {
            None => (None, authority.to_owned()),
            Some(rest) => match rest.strip_prefix('.') {
                Some(base) => (Some(false), base.to_owned()),
                // Any host: a stand-in lets the parser read the port.
                None if rest.is_empty() || rest.starts_with(':') => {
                    (Some(true), format!("any{rest}"))
                }
                None => return Err(wrong("`*` stands for a whole host, or before a dot")),
            },
        };
        if name.contains('*') {
            return Err(wrong("`*` stands only at the beginning of a host"));
        }
        let url = Url::parse(&format!("{scheme}://{name}"))
            .map_err(|_| wrong("its host or port cannot be read"))?;
        let port = url.port_or_known_default().ok_or_else(|| wrong("it has no port"))?;
        let host = match (below, url.host()) {
            (Some(true), _) => HostPattern::Any,
            (Some(false), Some(Host::Domain(base))) => HostPattern::Below(base.to_owned()),
            (Some(false), _) => return Err(wrong("nothing is below an IP address")),
            (None, Some(host)) => HostPattern::Exact(host.to_owned()),
            (None, None) => return Err(wrong("it has no host")),
        };
        Ok(Self { endpoint: Some(Endpoint { secure, host, port }) })
    }
}

impl Origin {
    /// Whether a request to `url` goes here.
    #[must_use]
    pub fn matches(&self, url: &Url) -> bool {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return false,
        };
        let Some(endpoint) = &self.endpoint else { return url.has_host() };
        if endpoint.secure != secure || Some(endpoint.port) != url.port_or_known_default() {
            return false;
        }
        match (&endpoint.host, url.host()) {
            (_, None) => false,
            (HostPattern::Any, Some(_)) => true,
            (HostPattern::Exact(host), Some(asked)) => same(host, &asked),
            (HostPattern::Below(base), Some(Host::Domain(name))) => name
                .strip_suffix(base.as_str())
                .and_then(|label| label.strip_suffix('.'))
                .is_some_and(|label| !label.is_empty()),
            (HostPattern::Below(_), Some(_)) => false,
        }
    }

    /// The origin of a request, without wildcards; `None` for a URL that is not HTTP.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = HostPattern::Exact(url.host()?.to_owned());
        Some(Self { endpoint: Some(Endpoint { secure, host, port: url.port_or_known_default()? }) })
    }

    /// Whether some request may go to both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let (Some(one), Some(two)) = (&self.endpoint, &other.endpoint) else { return true };
        let below = |base: &str, name: &str| {
            name.strip_suffix(base).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        (one.secure, one.port) == (two.secure, two.port)
            && match (&one.host, &two.host) {
                (HostPattern::Any, _) | (_, HostPattern::Any) => true,
                (HostPattern::Exact(one), HostPattern::Exact(two)) => one == two,
                (HostPattern::Below(base), HostPattern::Exact(Host::Domain(name)))
                | (HostPattern::Exact(Host::Domain(name)), HostPattern::Below(base)) => {
                    name != base && below(base, name)
                }
                (HostPattern::Below(_), HostPattern::Exact(_))
                | (HostPattern::Exact(_), HostPattern::Below(_)) => false,
                (HostPattern::Below(one), HostPattern::Below(two)) => {
                    below(one, two) || below(two, one)
                }
            }
    }

    /// Of two that overlap, the one that fewer requests go to.
    pub(crate) fn narrower<'a>(&'a self, other: &'a Self) -> &'a Self {
        let width = |origin: &Self| match origin.endpoint.as_ref().map(|to| &to.host) {
            None => (3, 0),
            Some(HostPattern::Any) => (2, 0),
            Some(HostPattern::Below(base)) => (1, usize::MAX - base.len()),
            Some(HostPattern::Exact(_)) => (0, 0),
        };
        if width(self) <= width(other) { self } else { other }
    }

    /// Whether it names one host, not several.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.endpoint.as_ref().is_some_and(|to| matches!(to.host, HostPattern::Exact(_)))
    }

    /// The IP address it is written with, if any.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match &self.endpoint.as_ref()?.host {
            HostPattern::Exact(Host::Ipv4(address)) => Some(IpAddr::V4(*address)),
            HostPattern::Exact(Host::Ipv6(address)) => Some(IpAddr::V6(*address).to_canonical()),
            _ => None,
        }
    }
}

fn same(host: &Host<String>, asked: &Host<&str>) -> bool {
    match (host, asked) {
        (Host::Domain(host), Host::Domain(asked)) => host == asked,
        (Host::Ipv4(host), Host::Ipv4(asked)) => host == asked,
        (Host::Ipv6(host), Host::Ipv6(asked)) => host == asked,
        _ => false,
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Endpoint { secure, host, port }) = &self.endpoint else { return f.write_str("*") };
        f.write_str(if *secure { "https://" } else { "http://" })?;
        match host {
            HostPattern::Any => f.write_str("*")?,
            HostPattern::Below(base) => write!(f, "*.{base}")?,
            HostPattern::Exact(host) => write!(f, "{host}")?,
        }
        if *port == if *secure { 443 } else { 80 } { Ok(()) } else { write!(f, ":{port}") }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn origins_match_requests() {
        let check = |origin: &str, url: &str, expected: bool| {
            let origin: Origin = origin.parse().unwrap();
            let url = Url::parse(url).unwrap();
            assert_eq!(origin.matches(&url), expected, "{origin} {url}");
            assert_eq!(origin, origin.to_string().parse().unwrap(), "{origin} reads back");
        };
        check("https://example.com", "https://example.com/x", true);
        check("https://EXAMPLE.com", "https://Example.COM:443/", true);
        check("https://example.com:443", "https://example.com/", true);
        check("https://example.com", "http://example.com/", false);
        check("https://example.com", "https://example.com:8443/", false);
        check("https://example.com", "https://example.com.evil.example/", false);
        check("https://example.com", "https://example.com@evil.example/", false);
        check("https://example.com", "https://example.com./", false);
        check("https://example.com", "ftp://example.com/", false);
        check("http://example.com:8080", "http://example.com:8080/", true);
        check("https://*.example.com", "https://a.example.com/", true);
        check("https://*.example.com", "https://a.b.example.com/", true);
        check("https://*.example.com", "https://example.com/", false);
        check("https://*.example.com", "https://evilexample.com/", false);
        check("https://*.example.com", "https://.example.com/", false);
        check("https://*", "https://anything/", true);
        check("https://*", "https://10.0.0.5/", true);
        check("https://*", "https://anything:8443/", false);
        check("https://*:8443", "https://anything:8443/", true);
        check("https://*", "http://anything/", false);
        check("*", "http://anything:81/", true);
        check("*", "file:///etc/passwd", false);
        check("*", "data:text/plain,x", false);
        check("https://bücher.example", "https://xn--bcher-kva.example/", true);
        check("http://127.1", "http://127.0.0.1/", true);
        check("http://127.0.0.1", "http://0x7f.1/", true);
        check("http://127.0.0.1", "http://2130706433/", true);
        check("http://127.0.0.1", "http://0177.0.0.1/", true);
        check("http://127.0.0.1", "http://[::ffff:127.0.0.1]/", false);
        check("http://[::1]:80", "http://[0:0::1]/", true);
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for origin in [
            "",
            "example.com",
            "ftp://x",
            "https://",
            "https://x/",
            "https://x/y",
            "https://x?q",
            "https://x#f",
            "https://u@x",
            "https://u:p@x",
            "https://x:99999",
            "https://a*.com",
            "https://*a.com",
            "https://*.*.com",
            "https://*.10.0.0.1",
            "https://x y",
            "https://x\\y",
            "https://x\n",
            "https://[::1",
            "HTTPS://x",
            "**",
        ] {
            assert!(origin.parse::<Origin>().is_err(), "{origin:?}");
        }
    }

    #[test]
    fn addresses_come_from_literals_alone() {
        let check = |origin: &str, address: Option<&str>| {
            let found = origin.parse::<Origin>().unwrap().address().map(|found| found.to_string());
            assert_eq!(found.as_deref(), address, "{origin}");
        };
        check("http://0x7f.1", Some("127.0.0.1"));
        check("http://[::1]", Some("::1"));
        check("http://[::ffff:10.0.0.5]", Some("10.0.0.5"));
        check("http://localhost", None);
        check("https://*", None);
        check("*", None);
    }

    proptest! {
        /// Against the rule as its documentation says it, on plain strings.
        #[test]
        fn matching_is_as_the_naive_model(
            scheme in "https?", host in "(\\*|\\*\\.)?|((\\*\\.)?[ab](\\.[ab]){0,2})", port in "(:8[01])?",
            asked_scheme in "https?", asked_host in "[ab](\\.[ab]){0,3}", asked_port in "(:8[01])?",
        ) {
            let Ok(origin) = format!("{scheme}://{host}{port}").parse::<Origin>() else {
                return Err(TestCaseError::reject("no origin"));
            };
            let url = Url::parse(&format!("{asked_scheme}://{asked_host}{asked_port}/x")).unwrap();
            let full = |scheme: &str, port: &str| match (scheme, port) {
                ("http", "") => ":80".to_owned(),
                ("https", "") => ":443".to_owned(),
                (_, port) => port.to_owned(),
            };
            let host_fits = match host.strip_prefix('*') {
                Some("") => true,
                Some(suffix) => asked_host.ends_with(suffix),
                None => asked_host == host,
            };
            let fits = scheme == asked_scheme && full(&scheme, &port) == full(&asked_scheme, &asked_port) && host_fits;
            prop_assert_eq!(origin.matches(&url), fits, "{} {}", origin, url);
        }
    }

    #[test]
    fn origins_overlap_where_some_request_goes_to_both() {
        for (one, two, narrower) in [
            ("*", "https://a.b", Some("https://a.b")),
            ("https://*", "https://a.b", Some("https://a.b")),
            ("https://*", "http://a.b", None),
            ("https://*:8443", "https://a.b", None),
            ("https://*.b", "https://a.b", Some("https://a.b")),
            ("https://*.b", "https://b", None),
            ("https://*.b", "https://ab", None),
            ("https://*.b", "https://*.a.b", Some("https://*.a.b")),
            ("https://*.b", "https://*.ab", None),
            ("https://*.b", "https://1.2.3.4", None),
            ("https://a", "https://A:443", Some("https://a")),
            ("https://a", "https://b", None),
        ] {
            let origin = |text: &str| text.parse::<Origin>().unwrap();
            let (one, two) = (origin(one), origin(two));
            for (one, two) in [(&one, &two), (&two, &one)] {
                let found = one.overlaps(two).then(|| one.narrower(two).to_string());
                assert_eq!(found.as_deref(), narrower, "{one} {two}");
            }
        }
    }
}
