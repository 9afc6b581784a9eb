//! Where a URL points, in the parts that WASI wants.

use wasip2::http::types::Scheme;

use super::Error;

#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) authority: String,
    pub(crate) path_with_query: String,
}

impl Target {
    /// Splits an absolute `http` or `https` URL. What is wrong inside a part, the host says.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let invalid = |why: &str| Error::InvalidUrl { url: url.to_owned(), why: why.to_owned() };
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| invalid("it does not begin with `https://` or `http://`"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(invalid("its scheme is neither `https` nor `http`")),
        };
        // A fragment is for whoever reads the answer; it is never sent.
        let rest = rest.split_once('#').map_or(rest, |(sent, _)| sent);
        let (authority, path) = match rest.find(['/', '?']) {
            Some(end) => rest.split_at(end),
            None => (rest, ""),
        };
        if authority.is_empty() {
            return Err(invalid("it names no host"));
        }
        if authority.contains('@') {
            return Err(invalid(
                "it holds a user name or password: leave out what stands before the `@`",
            ));
        }
        let path_with_query =
            if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { scheme, authority: authority.to_owned(), path_with_query })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_falls_into_parts() {
        let check = |url: &str, expected: &str| {
            let found = match Target::parse(url) {
                Ok(Target { scheme, authority, path_with_query }) => {
                    format!("{scheme:?} {authority} {path_with_query}")
                }
                Err(error) => error.to_string(),
            };
            assert!(found.contains(expected), "{url}: {found}");
        };
        check("https://a.example/b?c=d#e", "Scheme::Https a.example /b?c=d");
        check("HTTP://a.example:81", "Scheme::Http a.example:81 /");
        check("https://a.example?c=d", "Scheme::Https a.example /?c=d");
        check("https://a.example#e", "Scheme::Https a.example /");
        check("https://[::1]:8080/x", "Scheme::Https [::1]:8080 /x");
        check("a.example/b", "does not begin with");
        check("ftp://a.example", "neither `https` nor `http`");
        check("https:///b", "names no host");
        check("https://me:secret@a.example", "leave out what stands before the `@`");
    }
}
