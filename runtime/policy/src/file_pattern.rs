//! Patterns of paths as a guest sees them, such as `/workspace/secrets/**`. Unlike those of URLs
//! nothing in them is escaped: a file may be called anything.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use crate::PathPattern;

/// The longest pattern, in bytes.
const PATTERN_MAX: usize = 1024;

/// A pattern of files and folders in the guest: `*` within a name, `**` for any number of folders.
/// `/workspace/secrets/**` matches the folder `/workspace/secrets` too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePattern(PathPattern);

impl FilePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// In words, when it is none.
    pub fn parse(given: &str) -> Result<Self, String> {
        let shown: String = given.chars().take(200).collect();
        if !given.starts_with('/') {
            return Err(format!(
                "the path pattern `{shown}` begins with `/` and the name of a root, such as \
                 `/workspace/secrets/**`"
            ));
        }
        if given.len() > PATTERN_MAX {
            return Err(format!("a path pattern has at most {PATTERN_MAX} bytes"));
        }
        if given.chars().any(char::is_control) {
            return Err(format!("the path pattern `{shown}` has a control character"));
        }
        if given[1..].split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(format!(
                "the path pattern `{shown}` has a segment that is empty, `.` or `..`, and no path is \
                 compared with any"
            ));
        }
        PathPattern::of_segments(&shown, given.to_owned()).map(Self)
    }

    /// Whether it matches a path that [`normalise`] gave.
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.0.matches(path)
    }

    /// Whether it may match something below such a path.
    pub(crate) fn matches_below(&self, path: &str) -> bool {
        self.0.matches_below(path)
    }
}

impl fmt::Display for FilePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for FilePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A guest's path without empty, `.` and `..` segments; what leads above `/` stays there. Links are
/// not seen here.
pub(crate) fn normalise(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn files_match_as_they_are_called() {
        let check = |pattern: &str, path: &str, matches: bool, below: bool| {
            let (pattern, path) = (FilePattern::parse(pattern).unwrap(), normalise(path));
            assert_eq!(pattern.matches(&path), matches, "{pattern} {path}");
            assert_eq!(pattern.matches_below(&path), below, "{path} below {pattern}");
        };
        let secrets = "/workspace/secrets/**";
        check(secrets, "/workspace/secrets/key", true, true);
        check(secrets, "/workspace//a/../secrets/./key", true, true);
        check(secrets, "/workspace/secrets", true, true);
        check(secrets, "/workspace", false, true);
        check(secrets, "/", false, true);
        check(secrets, "/notes", false, false);
        check(secrets, "/workspace/secretsx", false, false);
        check("/w/*.pem", "/w/a.pem", true, false);
        check("/w/*.pem", "/w", false, true);
        check("/w/*.pem", "/w/a", false, false);
        check("/**/a b?%.txt", "/w/x/a b?%.txt", true, true);
        check("/w/ä", "/w/ä", true, false);
    }

    #[test]
    fn what_no_path_can_match_is_refused() {
        for given in ["", "w", "/", "/w/", "/w//a", "/w/./a", "/w/../a", "/w/a**", "/w/\n"] {
            assert!(FilePattern::parse(given).is_err(), "{given:?}");
        }
    }

    proptest! {
        /// Whatever matches lies below each of its folders.
        #[test]
        fn a_match_is_below_all_its_folders(
            pattern in "(/([ab]{1,2}|\\*|\\*\\*|[ab]\\*)){1,4}", path in "(/[ab]{1,2}){1,5}",
        ) {
            let pattern = FilePattern::parse(&pattern).unwrap();
            if pattern.matches(&path) {
                for (end, _) in path.match_indices('/') {
                    let folder = if end == 0 { "/" } else { &path[..end] };
                    prop_assert!(pattern.matches_below(folder), "{} {}", pattern, folder);
                }
            }
        }
    }
}
