//! `glob`: which paths fit a pattern.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use globset::{GlobBuilder, GlobMatcher};
use ringfence_sdk::prelude::*;
use ringfence_sdk::{context, resolve, roots};

use crate::tree::{Tree, unread};

/// More than a model wants to read at once.
const PATHS_MAX: usize = 1_000;

/// Deeper than any tree that people keep, and a bound for one that was made to be deep.
const DEPTH_MAX: usize = 64;

/// How many entries are looked at between two words of progress: what takes some milliseconds.
const PROGRESS_ENTRIES: u64 = 1_000;

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
    /// Whether to look at what `.gitignore` excludes, too.
    #[serde(default)]
    ignored: bool,
    /// At most so many paths.
    #[serde(default = "paths_max")]
    #[schemars(range(min = 1, max = 1000))]
    paths_max: usize,
}

fn paths_max() -> usize {
    PATHS_MAX
}

/// Finds files and folders by name, one absolute path a line. What `.gitignore` excludes and what
/// begins with a dot stays out unless asked for. What cannot be read is named at the end.
#[tool(effect = "read")]
pub(crate) fn glob(args: Glob) -> Result<String> {
    let folder = resolve(&args.path).map_err(|error| error.at("/path"))?;
    let root =
        roots().into_iter().find(|root| folder.starts_with(root)).unwrap_or_else(|| folder.clone());
    let pattern = Pattern::compile(&args.pattern)?;
    let tree = Tree {
        root: &root,
        folder: &folder,
        depth_max: pattern.depth_max,
        hidden: args.hidden,
        ignored: args.ignored,
    };
    let tell = |seen| context::progress_with(seen, None, "entries looked at");
    let Found { paths, truncated, missed } =
        matches(&tree, &pattern, args.paths_max.min(PATHS_MAX), tell)?;
    let mut found = paths.join("\n");
    if paths.is_empty() {
        found = format!("nothing in `{}` fits `{}`", folder.display(), args.pattern);
        if !(args.hidden && args.ignored) {
            found.push_str("; is it hidden or ignored?");
        }
    }
    if truncated {
        found.push_str("\n[truncated: narrow the pattern or name a folder]");
    }
    if !missed.is_empty() {
        found.push('\n');
        found.push_str(unread(&missed).trim_end());
    }
    Ok(found)
}

/// A pattern, and what it says of the folders on the way: nothing is entered that cannot fit.
#[derive(Debug)]
struct Pattern {
    whole: GlobMatcher,
    /// What the first folders are to be called, one a level.
    leading: Vec<GlobMatcher>,
    /// The levels of the deepest path that can fit.
    depth_max: usize,
}

impl Pattern {
    fn compile(pattern: &str) -> Result<Self> {
        let invalid = |why: &str| {
            Error::invalid_input(format!("`{pattern}` is no pattern: {why}")).at("/pattern")
        };
        if pattern.starts_with('/') {
            return Err(invalid(
                "it begins with `/`; give the folder as `path` and the rest as `pattern`",
            ));
        }
        let whole = matcher(pattern).map_err(|error| invalid(&error.kind().to_string()))?;
        let levels: Vec<&str> = pattern.split('/').collect();
        let leading: Vec<GlobMatcher> = levels.iter().map_while(|level| one_level(level)).collect();
        let depth_max = if leading.len() == levels.len() { levels.len() } else { DEPTH_MAX };
        Ok(Self { whole, leading, depth_max })
    }

    /// Whether an entry called `name` can be on the way to what fits, or fit itself.
    fn leads(leading: &[GlobMatcher], name: &str, depth: usize) -> bool {
        leading.get(depth - 1).is_none_or(|level| level.is_match(name))
    }
}

fn matcher(pattern: &str) -> std::result::Result<GlobMatcher, globset::Error> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build()?;
    Ok(glob.compile_matcher())
}

/// What a part between two slashes is to match, if it is one: `**` spans levels, and a slash inside
/// of brackets does not part anything.
fn one_level(part: &str) -> Option<GlobMatcher> {
    let count = |letter: char| part.matches(letter).count();
    let is_whole = count('{') == count('}') && count('[') == count(']');
    if part.contains("**") || part.contains('\\') || !is_whole {
        return None;
    }
    matcher(part).ok()
}

struct Found {
    paths: Vec<String>,
    truncated: bool,
    missed: Vec<String>,
}

fn matches(
    tree: &Tree<'_>,
    pattern: &Pattern,
    paths_max: usize,
    tell: impl Fn(u64) + Send + Sync + 'static,
) -> Result<Found> {
    let leading = pattern.leading.clone();
    let mut found = Found { paths: Vec::new(), truncated: false, missed: Vec::new() };
    let seen = AtomicU64::new(0);
    let entries = tree.entries(move |name, depth| {
        let seen = seen.fetch_add(1, Relaxed) + 1;
        if seen.is_multiple_of(PROGRESS_ENTRIES) {
            tell(seen);
        }
        Pattern::leads(&leading, name, depth)
    })?;
    for entry in entries {
        match entry {
            Err(reason) => found.missed.push(reason),
            Ok(entry) if !pattern.whole.is_match(&entry.path) => {}
            Ok(_) if found.paths.len() == paths_max => {
                found.truncated = true;
                break;
            }
            Ok(entry) => {
                let slash = if entry.is_dir { "/" } else { "" };
                let path = tree.folder.join(&entry.path);
                found.paths.push(format!("{}{slash}", path.display()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FILES: &[(&str, &str)] = &[
        (".git/e.rs", ""),
        (".gitignore", "/target\n*.log\n"),
        (".hidden/f.rs", ""),
        ("a.rs", ""),
        ("c.log", ""),
        ("src/.gitignore", "made.rs\n"),
        ("src/b.rs", ""),
        ("src/d.md", ""),
        ("src/deep/c.rs", ""),
        ("src/made.rs", ""),
        ("target/g.rs", ""),
    ];

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in FILES {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        folder
    }

    #[track_caller]
    fn check(pattern: &str, path: &str, (hidden, ignored): (bool, bool), expected: &[&str]) {
        let root = folder();
        let pattern = Pattern::compile(pattern).expect("a pattern");
        let folder = &root.path().join(path);
        let depth_max = pattern.depth_max;
        let tree = Tree { root: root.path(), folder, depth_max, hidden, ignored };
        let found = matches(&tree, &pattern, 4, |_| {}).expect("a folder");
        let root = format!("{}/", root.path().display());
        let mut paths: Vec<_> = found.paths.iter().map(|path| path.replace(&root, "")).collect();
        if found.truncated {
            paths.push("…".to_owned());
        }
        assert_eq!(paths, expected, "{pattern:?}");
        assert_eq!(found.missed, [""; 0]);
    }

    #[test]
    fn a_pattern_finds_paths() {
        check("*.rs", "", (false, false), &["a.rs"]);
        check("**/*.rs", "", (false, false), &["a.rs", "src/b.rs", "src/deep/c.rs"]);
        check("src/*", "", (false, false), &["src/b.rs", "src/d.md", "src/deep/"]);
        check("*/*/*", "", (false, false), &["src/deep/c.rs"]);
        check("**/*.{md,txt}", "", (false, false), &["src/d.md"]);
        check("{src/deep,x}/*.rs", "", (false, false), &["src/deep/c.rs"]);
        check("s[r]c/d*/**", "", (false, false), &["src/deep/c.rs"]);
        check("*.txt", "", (false, false), &[]);
        check("deep/*", "src", (false, false), &["src/deep/c.rs"]);
    }

    #[test]
    fn what_is_ignored_or_hidden_stays_out_unless_asked_for() {
        check("*.log", "", (false, false), &[]);
        check("*.log", "", (false, true), &["c.log"]);
        check("made.*", "src", (false, false), &[]);
        check("target/*", "", (false, false), &[]);
        check("target/*", "", (false, true), &["target/g.rs"]);
        check("*.rs", "target", (false, false), &[]);
        check("*/*.rs", "", (true, false), &[".hidden/f.rs", "src/b.rs"]);
        check("f.rs", ".hidden", (false, false), &[".hidden/f.rs"]);
        let all = [".git/e.rs", ".hidden/f.rs", "a.rs", "src/b.rs", "…"];
        check("**/*.rs", "", (true, true), &all);
    }

    /// Only what can lead to a path that fits is looked at.
    #[test]
    fn a_folder_that_cannot_fit_is_not_entered() {
        let root = folder();
        let path = root.path();
        for number in 0..20 {
            fs::write(path.join(format!("src/deep/{number}.txt")), "").expect("a file");
        }
        for (pattern, most) in [("*.rs", 5), ("src/*.rs", 6), ("x/**/*.rs", 0), ("**/*.rs", 26)] {
            let pattern = Pattern::compile(pattern).expect("a pattern");
            let depth_max = pattern.depth_max;
            let leading = pattern.leading.clone();
            let tree = Tree { root: path, folder: path, depth_max, hidden: false, ignored: false };
            let entries = tree.entries(move |name, depth| Pattern::leads(&leading, name, depth));
            let seen = entries.expect("a folder").count();
            assert!(seen <= most, "{pattern:?}: {seen}");
        }
    }

    #[test]
    fn long_work_says_how_far_it_is() {
        let root = tempfile::tempdir().expect("a folder");
        for number in 0..2_500 {
            fs::write(root.path().join(number.to_string()), "").expect("a file");
        }
        let pattern = Pattern::compile("*.rs").expect("a pattern");
        let folder = root.path();
        let tree = Tree { root: folder, folder, depth_max: 1, hidden: false, ignored: true };
        let (say, told) = std::sync::mpsc::sync_channel(9);
        matches(&tree, &pattern, 1, move |seen| say.send(seen).expect("room")).expect("a folder");
        assert_eq!(told.iter().collect::<Vec<_>>(), [1_000, 2_000]);
    }

    #[test]
    fn a_pattern_that_is_none_says_why() {
        let check = |pattern: &str, expected: &str| {
            let error = Pattern::compile(pattern).expect_err("no pattern").to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("/workspace/*.rs", "give the folder as `path`");
        check("*.{rs", "is no pattern: unclosed alternate group");
    }
}
