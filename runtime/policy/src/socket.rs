//! Where sockets of needs and grants lead: one host, one port. Hosts are read as URLs read them, so
//! `127.1` is `127.0.0.1` and an IDN its punycode. There are no wildcards: a socket carries anything.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde::Deserialize;
use url::Host;

/// What is spoken below everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// A stream.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// The word, as manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `HOST:PORT`: a name, or an address that one socket can talk to; IPv6 in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SocketTarget {
    host: Host<String>,
    port: u16,
}

/// A text that is no target of a socket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not where a socket leads: {why}")]
pub struct InvalidTarget {
    given: String,
    why: &'static str,
}

impl FromStr for SocketTarget {
    type Err = InvalidTarget;

    fn from_str(given: &str) -> Result<Self, InvalidTarget> {
        let wrong = |why| InvalidTarget { given: given.chars().take(200).collect(), why };
        let no_port = "it ends with a port, such as `db.example:5432`";
        let (host, port) = given.rsplit_once(':').ok_or_else(|| wrong(no_port))?;
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong(no_port));
        }
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| wrong("its port is from 1 to 65535"))?;
        let host = read_host(host).ok_or_else(|| {
            wrong("its host is a name, an IPv4 address, or an IPv6 address in brackets; no `*`")
        })?;
        let target = Self { host, port };
        if target.address().is_some_and(|address| !is_one(address)) {
            return Err(wrong("no socket leads to everybody, or to nobody in particular"));
        }
        Ok(target)
    }
}

/// A host, as it is compared. A name that ends with a dot is another spelling of one that does not.
fn read_host(given: &str) -> Option<Host<String>> {
    match Host::parse(given).ok()? {
        Host::Domain(name) if name.ends_with('.') || name.contains('*') => None,
        Host::Ipv6(address) => Some(match address.to_ipv4_mapped() {
            Some(address) => Host::Ipv4(address),
            None => Host::Ipv6(address),
        }),
        host => Some(host),
    }
}

/// Whether an address is that of one host: no multicast, no broadcast, not `0.0.0.0`.
pub(crate) fn is_one(address: IpAddr) -> bool {
    let all = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(all || address.is_multicast() || address.is_unspecified())
}

impl SocketTarget {
    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name it is written with, if any.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Domain(name) => Some(name),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    /// The IP address it is written with, if any.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match &self.host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(*address)),
            Host::Ipv6(address) => Some(IpAddr::V6(*address)),
        }
    }

    /// The host that a guest names, as it is compared; `None` for what no target can have.
    #[must_use]
    pub fn read_host(given: &str) -> Option<Host<String>> {
        let bare = given.parse().map(Host::<String>::Ipv6).ok();
        bare.or_else(|| read_host(given))
    }
}

impl From<SocketAddr> for SocketTarget {
    fn from(address: SocketAddr) -> Self {
        let host = match address.ip().to_canonical() {
            IpAddr::V4(address) => Host::Ipv4(address),
            IpAddr::V6(address) => Host::Ipv6(address),
        };
        Self { host, port: address.port() }
    }
}

impl fmt::Display for SocketTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// One way out that a function's sockets have: needed, granted, and not forbidden by its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPass {
    /// Where it leads.
    pub to: SocketTarget,
    /// How.
    pub protocol: Protocol,
    /// The address that is granted: the one it is written with, or the one beside the name. Absent:
    /// resolve the name, and refuse addresses that are not public.
    pub address: Option<IpAddr>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn targets_are_compared_as_one_host_and_one_port() {
        let check = |given: &str, same: &str| {
            let target: SocketTarget = given.parse().unwrap();
            assert_eq!(target.to_string(), same);
            assert_eq!(target, same.parse().unwrap(), "{given} reads back");
        };
        check("db.example:5432", "db.example:5432");
        check("DB.Example:05432", "db.example:5432");
        check("bücher.example:1", "xn--bcher-kva.example:1");
        check("127.1:80", "127.0.0.1:80");
        check("0x7f.1:80", "127.0.0.1:80");
        check("2130706433:80", "127.0.0.1:80");
        check("[::1]:53", "[::1]:53");
        check("[0:0::1]:53", "[::1]:53");
        check("[::ffff:10.0.0.5]:53", "10.0.0.5:53");
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for given in [
            "",
            "db.example",
            "db.example:",
            ":5432",
            "db.example:0",
            "db.example:65536",
            "db.example:+1",
            "db.example:-1",
            "db.example:pg",
            "db.example:1:2",
            "db.example.:1",
            "tcp://db.example:1",
            "db.example/x:1",
            "u@db.example:1",
            "*:1",
            "*.example:1",
            "db example:1",
            "db\n.example:1",
            "::1:53",
            "[::1:53",
            "0.0.0.0:1",
            "[::]:1",
            "0:1",
            "224.0.0.1:1",
            "255.255.255.255:1",
            "[ff02::1]:1",
        ] {
            assert!(given.parse::<SocketTarget>().is_err(), "{given:?}");
        }
    }

    #[test]
    fn a_guest_names_a_host_in_any_spelling() {
        let check = |given: &str, host: Option<&str>| {
            let read = SocketTarget::read_host(given).map(|host| host.to_string());
            assert_eq!(read.as_deref(), host, "{given:?}");
        };
        check("DB.example", Some("db.example"));
        check("127.1", Some("127.0.0.1"));
        check("::1", Some("[::1]"));
        check("[::1]", Some("[::1]"));
        check("db.example.", None);
        check("db.example:80", None);
        check("a b", None);
        check("", None);
    }

    proptest! {
        /// Against plain strings: two targets are the same if host and port are, and nothing else
        /// about how they are written counts.
        #[test]
        fn comparing_is_as_the_naive_model(
            host in "[abAB]{1,2}(\\.[abAB]{1,2}){0,2}", port in 1..4_u16, zeros in "0{0,2}",
            other in "[abAB]{1,2}(\\.[abAB]{1,2}){0,2}", other_port in 1..4_u16,
        ) {
            let target: SocketTarget = format!("{host}:{zeros}{port}").parse().unwrap();
            let asked: SocketTarget = format!("{other}:{other_port}").parse().unwrap();
            let same = host.eq_ignore_ascii_case(&other) && port == other_port;
            prop_assert_eq!(target == asked, same, "{} {}", target, asked);
        }

        /// Every address and port is a target that leads there, or leads to nobody in particular.
        #[test]
        fn an_address_reads_back(bits in any::<u128>(), short in any::<bool>(), port in 1..=u16::MAX) {
            let address = if short { IpAddr::from((bits as u32).to_be_bytes()) } else { IpAddr::from(bits.to_be_bytes()) };
            let target = SocketTarget::from(SocketAddr::new(address, port));
            prop_assert_eq!(target.address(), Some(address.to_canonical()));
            match target.to_string().parse::<SocketTarget>() {
                Ok(read) => prop_assert_eq!(read, target),
                Err(_) => prop_assert!(!is_one(address.to_canonical())),
            }
        }
    }
}
