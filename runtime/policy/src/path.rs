//! Path patterns of HTTP needs and grants: `*` within a segment, `**` for any number of segments.
//! A path that a server could read as another one matches nothing.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// The longest pattern, as it is written out.
const PATTERN_MAX: usize = 1024;

/// A pattern such as `/repos/**` or `/v1/*/items`. `**` stands for no segment too, so `/repos/**`
/// matches `/repos`; a segment that is only `*` is never empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Segment {
    /// `**`
    Many,
    /// Literal parts with a `*` between each two.
    One(Vec<String>),
}

impl PathPattern {
    /// Every path: `/**`.
    #[must_use]
    pub fn any() -> Self {
        Self { text: "/**".to_owned(), segments: vec![Segment::Many] }
    }

    /// Reads a pattern.
    ///
    /// # Errors
    /// In words, when it is none.
    pub fn parse(given: &str) -> Result<Self, String> {
        if !given.starts_with('/') {
            return Err(format!(
                "the path pattern `{given}` must begin with `/`, such as `/repos/**`"
            ));
        }
        let too_long = || {
            format!(
                "a path pattern has at most {PATTERN_MAX} characters, and one that a URL has to \
                 escape counts three for each of its bytes"
            )
        };
        if given.len() > PATTERN_MAX {
            return Err(too_long());
        }
        if given.contains(['?', '#', '\\'])
            || given.chars().any(|c| c.is_whitespace() || c.is_control())
        {
            return Err(format!(
                "the path pattern `{given}` must be a plain path, without `?`, `#`, `\\` or spaces"
            ));
        }
        // The URL parser resolves dot segments; a pattern that has any says something else than it
        // would match.
        let plain =
            given.split('/').all(|part| !is_dots(&part.to_ascii_lowercase().replace("%2e", ".")));
        let encoded = url::Url::parse(&format!("http://host{given}"))
            .ok()
            .filter(|_| plain)
            .and_then(|url| normalise(url.path()))
            .ok_or_else(|| format!("the path pattern `{given}` is ambiguous: no `.` or `..` segments, no `%2f` and the like"))?;
        // As it is written out, so that what is written out can be read again.
        if encoded.len() > PATTERN_MAX {
            return Err(too_long());
        }
        Self::of_segments(given, encoded)
    }

    /// The pattern of a text that is as it is compared. `given` is what errors show.
    pub(crate) fn of_segments(given: &str, text: String) -> Result<Self, String> {
        let mut segments = Vec::new();
        for part in text[1..].split('/') {
            segments.push(match part {
                "**" => Segment::Many,
                part if part.contains("**") => {
                    return Err(format!(
                        "in the path pattern `{given}`, `**` must be a whole segment"
                    ));
                }
                part => Segment::One(part.split('*').map(str::to_owned).collect()),
            });
        }
        Ok(Self { text, segments })
    }

    /// Whether it matches a path that [`normalise`] gave.
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.reached(path, false)
    }

    /// Whether it matches something below a path, if anything is there.
    pub(crate) fn matches_below(&self, path: &str) -> bool {
        self.reached(path, true)
    }

    fn reached(&self, path: &str, below: bool) -> bool {
        let Some(rest) = path.strip_prefix('/') else { return false };
        if below && rest.is_empty() {
            return true;
        }
        let parts: Vec<&str> = rest.split('/').collect();
        // Row by row over the pattern: whether its first segments match the first `n` parts. Linear
        // in pattern times path, whatever a guest sends.
        let mut reached = vec![false; parts.len() + 1];
        reached[0] = true;
        for segment in &self.segments {
            // All of the path is used up and a part of the pattern is left: that is for what is
            // below it.
            if below && reached[parts.len()] {
                return true;
            }
            match segment {
                Segment::Many => {
                    for index in 1..reached.len() {
                        reached[index] = reached[index] || reached[index - 1];
                    }
                }
                Segment::One(literals) => {
                    for index in (1..reached.len()).rev() {
                        reached[index] =
                            reached[index - 1] && matches_one(literals, parts[index - 1]);
                    }
                    reached[0] = false;
                }
            }
        }
        // `**` at the end goes on below whatever it matches.
        let goes_on = matches!(self.segments.last(), Some(Segment::Many));
        reached[parts.len()] && (!below || goes_on)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for PathPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn matches_one(literals: &[String], part: &str) -> bool {
    let [first, middle @ .., last] = literals else {
        return literals.first().is_some_and(|literal| literal == part);
    };
    if part.is_empty() {
        return false;
    }
    let Some(rest) = part.strip_prefix(first.as_str()) else { return false };
    let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
    for literal in middle {
        let Some(index) = rest.find(literal.as_str()) else { return false };
        rest = &rest[index + literal.len()..];
    }
    true
}

/// A URL's path with its percent-encoded unreserved characters decoded and its other escapes in
/// capitals; `None` for one that servers read in more than one way.
pub(crate) fn normalise(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return None;
    }
    let bytes = path.as_bytes();
    let mut normal = String::with_capacity(path.len());
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] != b'%' {
            let next = path[index..].chars().next()?;
            normal.push(next);
            index += next.len_utf8();
            continue;
        }
        let byte = u8::from_str_radix(path.get(index + 1..index + 3)?, 16).ok()?;
        match byte {
            b'/' | b'\\' | 0 => return None,
            // `%252f`: what a server that decodes twice takes for a slash.
            b'%' if is_twice_encoded(path.get(index + 3..index + 5)) => return None,
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                normal.push(char::from(byte));
            }
            byte => normal.push_str(&format!("%{byte:02X}")),
        }
        index += 3;
    }
    let clear = !normal.contains('\\') && !normal.split('/').any(is_dots);
    clear.then_some(normal)
}

fn is_twice_encoded(digits: Option<&str>) -> bool {
    digits.is_some_and(|digits| {
        ["2f", "2e", "5c", "00"].iter().any(|bad| digits.eq_ignore_ascii_case(bad))
    })
}

/// `.` and `..`, also with the `;parameters` that some servers cut off before they resolve.
fn is_dots(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    name == "." || name == ".."
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Found by fuzzing: one that grew when it was written out could not be read again.
    #[test]
    fn a_pattern_is_as_long_as_it_is_written_out() {
        let check = |given: &str, fits: bool| {
            let read = PathPattern::parse(given);
            assert_eq!(read.is_ok(), fits, "{read:?}");
            if let Ok(pattern) = read {
                assert_eq!(PathPattern::parse(&pattern.to_string()), Ok(pattern));
            }
        };
        check(&format!("/{}", "a".repeat(1023)), true);
        check(&format!("/{}", "a".repeat(1024)), false);
        check(&format!("/{}", "\"".repeat(341)), true);
        check(&format!("/{}", "\"".repeat(342)), false);
    }

    #[test]
    fn patterns_match_whole_paths() {
        let check = |pattern: &str, url: &str, expected: bool| {
            let pattern = PathPattern::parse(pattern).unwrap();
            let url = url::Url::parse(&format!("https://host{url}")).unwrap();
            let matched = normalise(url.path()).is_some_and(|path| pattern.matches(&path));
            assert_eq!(matched, expected, "{pattern} {url}");
        };
        check("/**", "/", true);
        check("/**", "", true);
        check("/**", "/a/b?q=/../x", true);
        check("/repos/**", "/repos", true);
        check("/repos/**", "/repos/", true);
        check("/repos/**", "/repos/a/b/c", true);
        check("/repos/**", "/reposx", false);
        check("/repos/**", "/repos/../admin", false);
        check("/repos/**", "/repos/%2e%2e/admin", false);
        check("/repos/**", "/repos/..%2fadmin", false);
        check("/repos/**", "/repos/%2E%2E%2Fadmin", false);
        check("/repos/**", "/repos/%252e%252e%252fadmin", false);
        check("/repos/**", "/repos/..;/admin", false);
        check("/repos/**", "/repos/..\\admin", false);
        check("/repos/**", "/repos/%5cadmin", false);
        check("/repos/**", "/repos/%00", false);
        check("/repos/**", "/repos/%zz", false);
        check("/repos/**", "/repos/%", false);
        check("/repos/**", "//repos/a", false);
        check("/repos/**", "/%72epos/a", true);
        check("/repos/**", "/Repos/a", false);
        check("/v1/*/items", "/v1/x/items", true);
        check("/v1/*/items", "/v1//items", false);
        check("/v1/*/items", "/v1/x/y/items", false);
        check("/v1/*/items", "/v1/x/items/", false);
        check("/a*c", "/abc", true);
        check("/a*c", "/ac", true);
        check("/a*a", "/a", false);
        check("/a*b*c", "/aXbYc", true);
        check("/a*b*c", "/aXcYb", false);
        check("/**/x/**", "/a/x/b", true);
        check("/**/x/**", "/x", true);
        check("/ä", "/%C3%A4", true);
        check("/ä", "/%c3%a4", true);
        check("/a b".replace(' ', "%20").as_str(), "/a b", true);
    }

    #[test]
    fn bad_patterns_are_refused() {
        for pattern in [
            "",
            "a",
            "**",
            "/a?b",
            "/a#b",
            "/a/../b",
            "/./a",
            "/%2e%2e/a",
            "/a%2fb",
            "/a**",
            "/**a",
            "/a b",
            "/a\\b",
            "/%zz",
        ] {
            assert!(PathPattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    /// The plainest thing that could be right, however slow.
    fn naive(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern, path) {
            ([], []) => true,
            (["**", rest @ ..], _) => {
                naive(rest, path) || !path.is_empty() && naive(pattern, &path[1..])
            }
            ([first, rest @ ..], [part, parts @ ..]) => {
                let glob = first.contains('*');
                let fits =
                    if glob { !part.is_empty() && glob_naive(first, part) } else { first == part };
                fits && naive(rest, parts)
            }
            _ => false,
        }
    }

    fn glob_naive(glob: &str, text: &str) -> bool {
        match glob.chars().next() {
            None => text.is_empty(),
            Some('*') => (0..=text.len()).any(|from| glob_naive(&glob[1..], &text[from..])),
            Some(first) => text.starts_with(first) && glob_naive(&glob[1..], &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_is_as_the_naive_model(
            pattern in "(/([ab]{0,2}|\\*|\\*\\*|[ab]?\\*[ab]?|[ab]\\*[ab]\\*)){1,5}",
            path in "(/[ab]{0,3}){1,5}",
        ) {
            prop_assume!(!pattern.split('/').any(|part| part.contains("**") && part != "**"));
            let parsed = PathPattern::parse(&pattern).unwrap();
            let parts = |text: &str| text[1..].split('/').map(str::to_owned).collect::<Vec<_>>();
            let (wanted, given) = (parts(&pattern), parts(&path));
            let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
            let given: Vec<&str> = given.iter().map(String::as_str).collect();
            prop_assert_eq!(parsed.matches(&path), naive(&wanted, &given));
        }

        #[test]
        fn what_is_normalised_stays_so_and_has_no_dots(path in "/[a%2efF5cC./;\\\\]{0,12}") {
            if let Some(normal) = normalise(&path) {
                let again = normalise(&normal);
                prop_assert_eq!(again.as_ref(), Some(&normal));
                prop_assert!(!normal.split('/').any(|part| part == ".." || part == "."));
            }
        }
    }
}
