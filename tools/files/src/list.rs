//! `list`: what is in a folder.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ringfence_sdk::prelude::*;
use ringfence_sdk::{resolve, roots};

use crate::tree::{Tree, unread};

/// More than a model wants to read at once.
const ENTRIES_MAX: usize = 1_000;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct List {
    /// The folder, absolute or relative to the first root. Without it: all roots.
    path: Option<String>,
    /// How many levels to go down; 1 is the folder itself.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 32))]
    depth: usize,
    /// At most so many entries.
    #[serde(default = "entries_max")]
    #[schemars(range(min = 1, max = 1000))]
    entries_max: usize,
}

fn one() -> usize {
    1
}

fn entries_max() -> usize {
    ENTRIES_MAX
}

/// Lists a folder, one entry a line with its path inside the folder: a folder ends with `/`, a link
/// with `@`, a file is followed by its size in bytes. Without a path it lists the roots. What cannot
/// be read is named at the end.
#[tool(effect = "read")]
pub(crate) fn list(args: List) -> Result<String> {
    let folders = match &args.path {
        Some(path) => vec![resolve(path).map_err(|error| error.at("/path"))?],
        None => roots(),
    };
    let mut listing = String::new();
    for folder in folders {
        listing.push_str(&listing_of(&folder, args.depth, args.entries_max.min(ENTRIES_MAX))?);
    }
    Ok(listing)
}

fn listing_of(folder: &Path, depth: usize, entries_max: usize) -> Result<String> {
    let mut listing = format!("{}:\n", folder.display());
    let tree = Tree { root: folder, folder, depth_max: depth, hidden: true, ignored: true };
    let mut count = 0;
    let mut missed = Vec::new();
    for entry in tree.entries(|_, _| true)? {
        let entry = match entry {
            Ok(entry) => entry,
            Err(reason) => {
                missed.push(reason);
                continue;
            }
        };
        if count == entries_max {
            let _ = writeln!(
                listing,
                "[truncated after {entries_max} entries: list a folder below, or fewer levels]"
            );
            break;
        }
        count += 1;
        let path = entry.path.display();
        // Writing to a string cannot fail.
        let _ = if entry.is_dir {
            writeln!(listing, "{path}/")
        } else if entry.is_link {
            writeln!(listing, "{path}@")
        } else {
            match fs::symlink_metadata(folder.join(&entry.path)) {
                Ok(metadata) => writeln!(listing, "{path} {}", metadata.len()),
                Err(error) => writeln!(listing, "{path} [size unknown: {error}]"),
            }
        };
    }
    if count == 0 && missed.is_empty() {
        listing.push_str("[empty]\n");
    }
    listing.push_str(&unread(&missed));
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_shows_what_there_is() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("b/c")).expect("a folder");
        fs::write(folder.path().join("a.txt"), "abc").expect("a file");
        fs::write(folder.path().join("b/d.txt"), "").expect("a file");
        let check = |path: &str, depth: usize, entries_max: usize, expected: &str| {
            let found = listing_of(&folder.path().join(path), depth, entries_max).map_or_else(
                |error| error.to_string(),
                |listing| listing.lines().skip(1).collect::<Vec<_>>().join("|"),
            );
            assert!(found.contains(expected), "{path}: {found}");
        };
        check("", 1, 9, "a.txt 3|b/");
        check("", 2, 9, "a.txt 3|b/|b/c/|b/d.txt 0");
        check("", 2, 2, "a.txt 3|b/|[truncated after 2 entries");
        check("b/c", 1, 9, "[empty]");
        check("x", 1, 9, "does not exist: list its folder");
        check("a.txt", 1, 9, "is no folder");
    }
}
