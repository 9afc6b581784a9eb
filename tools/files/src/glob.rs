//! `glob`: which paths fit a pattern.

use std::ops::ControlFlow;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use ringfence_sdk::prelude::*;
use ringfence_sdk::resolve;

use crate::fault::fault;
use crate::tree::{self, Entry};

/// More than a model wants to read at once.
const PATHS_MAX: usize = 1_000;

/// Deeper than any tree that people keep, and a bound for one that was made to be deep.
const DEPTH_MAX: usize = 64;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Glob {
    /// What to match, such as `**/*.rs` or `src/*.{c,h}`: `*` stays inside a folder, `**` does not.
    pattern: String,
    /// The folder that the pattern is relative to. Without it: the first root.
    #[serde(default)]
    path: String,
    /// Whether to look at entries that begin with a dot, too.
    #[serde(default)]
    hidden: bool,
    /// At most so many paths.
    #[serde(default = "paths_max")]
    #[schemars(range(min = 1, max = 1000))]
    paths_max: usize,
}

fn paths_max() -> usize {
    PATHS_MAX
}

/// Finds files and folders by name, one absolute path a line.
#[tool(effect = "read")]
pub(crate) fn glob(args: Glob) -> Result<String> {
    let folder = resolve(&args.path).map_err(|error| error.at("/path"))?;
    let pattern = compile(&args.pattern)?;
    let (paths, truncated) =
        matches(&folder, &pattern, args.hidden, args.paths_max.min(PATHS_MAX))?;
    let mut found = paths.join("\n");
    if paths.is_empty() {
        found = format!("nothing in `{}` fits `{}`", folder.display(), args.pattern);
    }
    if truncated {
        found.push_str("\n[truncated: narrow the pattern or name a folder]");
    }
    Ok(found)
}

fn compile(pattern: &str) -> Result<GlobMatcher> {
    let invalid = |why: &str| {
        Error::invalid_input(format!("`{pattern}` is no pattern: {why}")).at("/pattern")
    };
    if pattern.starts_with('/') {
        return Err(invalid(
            "it begins with `/`; give the folder as `path` and the rest as `pattern`",
        ));
    }
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| invalid(&error.kind().to_string()))
}

fn matches(
    folder: &Path,
    pattern: &GlobMatcher,
    hidden: bool,
    paths_max: usize,
) -> Result<(Vec<String>, bool)> {
    let is_seen = |entry: &Entry| {
        hidden
            || !entry.path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    let mut paths = Vec::new();
    let mut truncated = false;
    let walked = tree::walk(folder, DEPTH_MAX, is_seen, |entry| {
        let relative = entry.path.strip_prefix(folder).unwrap_or(&entry.path);
        if is_seen(entry) && pattern.is_match(relative) {
            if paths.len() == paths_max {
                truncated = true;
                return ControlFlow::Break(());
            }
            let slash = if entry.kind.is_dir() { "/" } else { "" };
            paths.push(format!("{}{slash}", entry.path.display()));
        }
        ControlFlow::Continue(())
    });
    walked.map_err(|(path, error)| fault(&path, error).at("/path"))?;
    Ok((paths, truncated))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_pattern_finds_paths() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in ["a.rs", "src/b.rs", "src/deep/c.rs", "src/d.md", ".git/e.rs"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        let check = |pattern: &str, hidden: bool, expected: &[&str]| {
            let pattern = compile(pattern).expect("a pattern");
            let (found, truncated) = matches(folder.path(), &pattern, hidden, 3).expect("a folder");
            let root = format!("{}/", folder.path().display());
            let found: Vec<_> = found.iter().map(|path| path.trim_start_matches(&root)).collect();
            assert_eq!(found, expected, "{pattern:?}");
            assert_eq!(truncated, hidden);
        };
        check("*.rs", false, &["a.rs"]);
        check("**/*.rs", false, &["a.rs", "src/b.rs", "src/deep/c.rs"]);
        check("**/*.rs", true, &[".git/e.rs", "a.rs", "src/b.rs"]);
        check("src/*", false, &["src/b.rs", "src/d.md", "src/deep/"]);
        check("**/*.{md,txt}", false, &["src/d.md"]);
        check("*.txt", false, &[]);
    }

    #[test]
    fn a_pattern_that_is_none_says_why() {
        let check = |pattern: &str, expected: &str| {
            let error = compile(pattern).expect_err("no pattern").to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("/workspace/*.rs", "give the folder as `path`");
        check("*.{rs", "is no pattern: unclosed alternate group");
    }
}
