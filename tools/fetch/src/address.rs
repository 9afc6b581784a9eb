//! What to ask for, and where a redirect leads.

use ringfence_sdk::{Error, Result};
use url::Url;

/// The URL that an argument means.
pub(crate) fn parse(argument: &str) -> Result<Url> {
    let refused = |why: String| {
        Err(Error::invalid_input(format!("`{argument}` cannot be fetched: {why}")).at("/url"))
    };
    let url = match Url::parse(argument.trim()) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            return refused(format!("it is not absolute; did you mean `https://{argument}`?"));
        }
        Err(error) => return refused(error.to_string()),
    };
    if !is_web(&url) {
        return refused(format!("`{}` is neither `https` nor `http`", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refused("it holds a user name or password: leave them out".to_owned());
    }
    Ok(url)
}

/// Where a response leads instead of answering, if it does.
pub(crate) fn redirected(url: &Url, status: u16, location: Option<&str>) -> Result<Option<Url>> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = location else {
        return Err(Error::failed(format!(
            "`{url}` redirects with status {status}, and does not say where to"
        )));
    };
    match url.join(location) {
        Ok(next) if is_web(&next) => Ok(Some(next)),
        _ => Err(Error::failed(format!(
            "`{url}` redirects to `{location}`, which is no web address"
        ))),
    }
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "http")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(found: Result<Option<Url>>) -> String {
        match found {
            Ok(Some(url)) => url.to_string(),
            Ok(None) => "no redirect".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_argument_is_a_web_address() {
        let check = |argument: &str, expected: &str| {
            let found = shown(parse(argument).map(Some));
            assert!(found.contains(expected), "{argument}: {found}");
        };
        check("https://a.example/b c", "https://a.example/b%20c");
        check(" HTTP://A.example ", "http://a.example/");
        check("a.example/b", "did you mean `https://a.example/b`?");
        check("file:///etc/passwd", "`file` is neither");
        check("https://me:secret@a.example", "leave them out");
        check("https://", "empty host");
    }

    #[test]
    fn a_redirect_leads_somewhere() {
        let base = Url::parse("https://a.example/b/c?d").expect("a URL");
        let check = |status: u16, location: Option<&str>, expected: &str| {
            let found = shown(redirected(&base, status, location));
            assert!(found.contains(expected), "{location:?}: {found}");
        };
        check(301, Some("/e"), "https://a.example/e");
        check(302, Some("e"), "https://a.example/b/e");
        check(307, Some("//b.example"), "https://b.example/");
        check(308, Some("http://b.example/"), "http://b.example/");
        check(200, Some("/e"), "no redirect");
        check(304, None, "no redirect");
        check(301, None, "does not say where to");
        check(301, Some("javascript:alert(1)"), "is no web address");
    }
}
