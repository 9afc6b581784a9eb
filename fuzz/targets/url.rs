//! An origin and a URL: what matches has the origin's scheme, host and port, by the plainest reading
//! of both; an origin that is written out is read as the same one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_policy::{Origin, PathPattern};
use url::Url;

/// Scheme, host and port of an origin's own text; no port: the scheme's.
fn parts(origin: &str) -> (String, String, String) {
    let (scheme, rest) = origin.split_once("://").expect("a scheme");
    let at = rest.rfind(':').filter(|at| !rest[*at..].contains(']'));
    let (host, port) = at.map_or((rest, ""), |at| (&rest[..at], &rest[at + 1..]));
    let usual = if scheme == "https" { "443" } else { "80" };
    let port = if port.is_empty() { usual } else { port };
    (scheme.to_owned(), host.to_owned(), port.to_owned())
}

fuzz_target!(|texts: (&str, &str, &str)| {
    let (origin, url, pattern) = texts;
    if let Ok(pattern) = PathPattern::parse(pattern) {
        let again = PathPattern::parse(&pattern.to_string()).expect("what is written can be read");
        assert_eq!(again, pattern);
    }
    let Ok(origin) = origin.parse::<Origin>() else { return };
    let written = origin.to_string();
    assert_eq!(written.parse::<Origin>().as_ref(), Ok(&origin), "{written}");
    let Ok(url) = Url::parse(url) else { return };
    if !origin.matches(&url) {
        return;
    }
    assert!(["http", "https"].contains(&url.scheme()), "{url}");
    if written == "*" {
        return;
    }
    let (scheme, host, port) = parts(&written);
    assert_eq!(url.scheme(), scheme, "{written} {url}");
    assert_eq!(
        url.port_or_known_default().map(|port| port.to_string()),
        Some(port),
        "{written} {url}"
    );
    let asked = url.host_str().expect("a host");
    match host.strip_prefix('*') {
        None => {
            assert_eq!(asked.trim_end_matches('.'), host.trim_end_matches('.'), "{written} {url}")
        }
        Some("") => {}
        Some(below) => {
            assert!(asked.ends_with(below) && asked.len() > below.len(), "{written} {url}")
        }
    }
});
