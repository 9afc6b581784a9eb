//! The URL of a server that the host itself sends to: encrypted, or nearby.

use std::net::IpAddr;

use ringfence_event::is_nearby;
use url::{Host, Url};

/// Reads one. What goes unencrypted goes to a loopback or private address; a name is looked at when it is
/// resolved.
///
/// # Errors
/// What is wrong with it, in words.
pub fn server_url(given: &str) -> Result<Url, String> {
    let url = Url::parse(given).map_err(|error| format!("this is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("it is reached by http or https, not by `{}`", url.scheme()));
    }
    // What is written here is shown, and there is a key for what is secret.
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL has no user and no password: what is secret has a key of its own".into());
    }
    if url.fragment().is_some() {
        return Err("a URL that is asked for has no `#`".into());
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
        Some(Host::Ipv6(address)) => Some(address.into()),
        Some(Host::Domain(_)) | None => None,
    };
    if url.scheme() == "http" && literal.is_some_and(|address| !is_nearby(address)) {
        let problem = "what happened is told unencrypted only to a loopback or private address: \
                       write https";
        return Err(problem.to_owned());
    }
    Ok(url)
}
