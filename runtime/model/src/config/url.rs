//! Where a model is: encrypted, or nearby.

use std::net::IpAddr;

use ringfence_event::is_nearby;
use ringfence_policy::ConfigError;
use toml::Spanned;
use url::{Host, Url};

use super::{Place, VendorProtocol};

/// The URL as it is written, or the vendor's own.
pub(super) fn check(
    place: Place<'_>,
    given: Option<Spanned<String>>,
    protocol: VendorProtocol,
) -> Result<Url, ConfigError> {
    let own = protocol.own_url();
    let Some(given) = given else {
        return Ok(Url::parse(own).expect("the vendors' own addresses are URLs"));
    };
    read(given.get_ref()).map_err(|problem| {
        let help = format!("such as `url = \"{own}\"` or `url = \"http://127.0.0.1:11434/v1\"`");
        place.error(given.span(), problem).with_help(help)
    })
}

fn read(given: &str) -> Result<Url, String> {
    let url = Url::parse(given).map_err(|error| format!("this is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("a model is reached by http or https, not by `{}`", url.scheme()));
    }
    // What is written here is shown, and `key` is where a secret belongs.
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL has no user and no password: put what is secret into `key`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a model's URL ends with its path, without `?` and `#`".to_owned());
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
        Some(Host::Ipv6(address)) => Some(address.into()),
        // A name is looked at when it is resolved.
        Some(Host::Domain(_)) | None => None,
    };
    if url.scheme() == "http" && literal.is_some_and(|address| !is_nearby(address)) {
        let problem = "a conversation goes unencrypted only to a loopback or private address: \
                       write https";
        return Err(problem.to_owned());
    }
    Ok(url)
}
