//! What every request is held against before anything is done for it, on every path: that it means this
//! service, that its page may ask, and that it says one thing only.

use std::net::IpAddr;

use http::{HeaderMap, Uri, Version, header, request::Parts};

use crate::{
    config::ServiceConfig,
    problem::{Code, Problem},
};

/// How long a request's target may be: longer than any that is used here, by far.
const TARGET_MAX: usize = 4096;

/// An error if the request is to be refused whoever sent it.
pub(crate) fn check(config: &ServiceConfig, parts: &Parts, local: IpAddr) -> Result<(), Problem> {
    framing(parts)?;
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > TARGET_MAX {
        let said = format!("the target has {target} bytes, at most {TARGET_MAX} are read");
        return Err(Problem::new(Code::UriTooLong, said));
    }
    host(config, parts, local)?;
    origin(config, &parts.headers)
}

/// One request has one length, which it tells before its body. One with a coding has another, and may have both:
/// what stands before the service could have gone by the one that hyper leaves out.
fn framing(parts: &Parts) -> Result<(), Problem> {
    if parts.headers.contains_key(header::TRANSFER_ENCODING) {
        let said =
            "the request has a `transfer-encoding`: send its body whole, with its `content-length`";
        return Err(Problem::new(Code::LengthRequired, said));
    }
    Ok(())
}

/// A page that a browser loaded under another name of this machine must not reach it: the name in the
/// request is one that the operator gave, or one that nobody else can make lead here.
fn host(config: &ServiceConfig, parts: &Parts, local: IpAddr) -> Result<(), Problem> {
    let mut named = parts.headers.get_all(header::HOST).iter();
    let (first, second) = (named.next(), named.next());
    if second.is_some() {
        return Err(Problem::new(Code::BadRequest, "the request has several `host` headers"));
    }
    let in_target = parts.uri.authority().map(http::uri::Authority::as_str);
    let in_header = first.map(|host| host.to_str().unwrap_or("\u{fffd}"));
    if let (Some(target), Some(header)) = (in_target, in_header)
        && !target.eq_ignore_ascii_case(header)
    {
        return Err(Problem::new(Code::BadRequest, "the target and `host` name different hosts"));
    }
    let Some(given) = in_target.or(in_header) else {
        return match parts.version {
            // A client of those days cannot say it, and no browser is one.
            Version::HTTP_10 => Ok(()),
            _ => Err(Problem::new(Code::BadRequest, "the request has no `host` header")),
        };
    };
    if knows(config, given, local) {
        return Ok(());
    }
    let said = "the service is not known by this name: `hosts` under [service] in ringfence.toml lists its names";
    Err(Problem::new(Code::ForeignHost, said))
}

/// Whether a host, with or without a port, means this service.
fn knows(config: &ServiceConfig, given: &str, local: IpAddr) -> bool {
    let Some(name) = name_of(given) else { return false };
    if config.hosts.contains(&name) {
        return true;
    }
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    match address {
        // Nobody's name service stands between an address and where it leads.
        Some(address) => address == local || address.is_loopback() && local.is_loopback(),
        None => name == "localhost" && local.is_loopback(),
    }
}

/// The name in a `host` header, in lower case and without its port.
fn name_of(given: &str) -> Option<String> {
    let uri = Uri::builder().scheme("http").authority(given).path_and_query("/").build().ok()?;
    let authority = uri.authority()?;
    let is_plain = !given.contains('@') && !given.is_empty();
    is_plain.then(|| authority.host().to_ascii_lowercase())
}

/// What a browser says of the page that a request comes from: the operator lists those that may ask. A
/// program has no such page and says nothing.
fn origin(config: &ServiceConfig, headers: &HeaderMap) -> Result<(), Problem> {
    let mut given = headers.get_all(header::ORIGIN).iter();
    let foreign = || {
        let said = "pages of this origin may not ask: `origins` under [service] in ringfence.toml lists those that may";
        Err(Problem::new(Code::ForeignOrigin, said))
    };
    match (given.next(), given.next()) {
        (None, _) => {}
        (Some(origin), None) => {
            let origin = origin.to_str().unwrap_or_default();
            // A page of the service's own: its name was looked at before.
            let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
            let is_own = own.is_some_and(|own| origin == format!("http://{own}"));
            if !is_own && !config.origins.contains(origin) {
                return foreign();
            }
            return Ok(());
        }
        (Some(_), Some(_)) => return foreign(),
    }
    // A browser that leaves the origin out, as with a link or an image, says this all the same.
    let site = headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    match site {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => foreign(),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(headers: &[(&str, &str)], expected: Option<Code>) {
        let text =
            "[service]\nhosts = [\"ringfence.example\"]\norigins = [\"https://console.example\"]";
        let config = ServiceConfig::parse("ringfence.toml", text).unwrap();
        let mut request = Request::builder().uri("/healthz");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let local = "127.0.0.1".parse().unwrap();
        let code = super::check(&config, &parts, local).err().map(|problem| problem.code);
        assert_eq!(code, expected, "{headers:?}");
    }

    #[test]
    fn i3_a_page_of_elsewhere_and_a_name_of_elsewhere_are_refused() {
        let here = ("host", "127.0.0.1:8080");
        for host in
            ["127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]:8080", "ringfence.example"]
        {
            check(&[("host", host)], None);
        }
        for host in [
            "localhost.evil",
            "evil.example",
            "127.0.0.1.evil",
            "10.0.0.1",
            "user@localhost",
            "localhost@evil.example",
            "",
            "a b",
            "localhost,evil.example",
            "ringfence.example.evil",
        ] {
            check(&[("host", host)], Some(Code::ForeignHost));
        }
        check(&[here, ("host", "localhost")], Some(Code::BadRequest));
        check(&[], Some(Code::BadRequest));
        check(&[here, ("origin", "https://console.example")], None);
        check(&[here, ("origin", "http://127.0.0.1:8080")], None);
        for origin in [
            "null",
            "http://127.0.0.1:9090",
            "https://console.example.evil",
            "http://console.example",
            "",
        ] {
            check(&[here, ("origin", origin)], Some(Code::ForeignOrigin));
        }
        check(&[here, ("sec-fetch-site", "same-origin")], None);
        check(&[here, ("sec-fetch-site", "cross-site")], Some(Code::ForeignOrigin));
        check(
            &[here, ("origin", "https://console.example"), ("sec-fetch-site", "cross-site")],
            None,
        );
    }

    #[test]
    fn i8_a_request_has_one_length() {
        let here = ("host", "localhost");
        check(&[here, ("content-length", "3")], None);
        for coding in ["chunked", "gzip, chunked", "identity", ""] {
            check(&[here, ("transfer-encoding", coding)], Some(Code::LengthRequired));
        }
    }
}
