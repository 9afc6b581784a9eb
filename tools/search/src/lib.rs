//! Searches a tree by regular expression, as a person would with `rg`: what `.gitignore` excludes
//! and what begins with a dot stays out unless asked for.

mod report;
mod scan;
mod tree;

use std::path::Path;

use ringfence_sdk::prelude::*;
use ringfence_sdk::{context, resolve, roots};

use crate::report::{Report, Room};
use crate::scan::Scanner;
use crate::tree::Tree;

/// More than a model wants to read at once.
const MATCHES_MAX: usize = 1_000;

/// What a search finds without being asked for more.
const MATCHES: usize = 100;

/// Of the text of all lines together: about as much as a model can use.
const BYTES_MAX: usize = 256 * 1024;

/// Beyond this it is easier to read the file.
const CONTEXT_MAX: usize = 20;

/// How many files are searched between two words of progress: what takes some tens of milliseconds.
const PROGRESS_FILES: u64 = 250;

#[derive(Deserialize, JsonSchema)]
struct Search {
    /// A regular expression in Rust's syntax, matched within a line: `fn \w+_max\(`.
    pattern: String,
    /// The folder or file to search, absolute or relative to the first root. Without it: the first
    /// root.
    #[serde(default)]
    path: String,
    /// Which files to search: `*.rs` fits a name anywhere, `src/**/*.rs` a path in the folder.
    glob: Option<String>,
    /// Whether upper and lower case are the same.
    #[serde(default)]
    ignore_case: bool,
    /// How many lines to show around each match.
    #[serde(default)]
    #[schemars(range(max = 20))]
    context: usize,
    /// Whether to search entries that begin with a dot, too.
    #[serde(default)]
    hidden: bool,
    /// Whether to search what `.gitignore` excludes, too.
    #[serde(default)]
    ignored: bool,
    /// At most so many matching lines.
    #[serde(default = "matches")]
    #[schemars(range(min = 1, max = 1000))]
    matches_max: usize,
    /// At most so many bytes of lines.
    #[serde(default = "bytes_max")]
    #[schemars(range(min = 1, max = 262_144))]
    bytes_max: usize,
}

fn matches() -> usize {
    MATCHES
}

fn bytes_max() -> usize {
    BYTES_MAX
}

/// Searches the text files of a folder for a regular expression and returns each matching line with
/// its file and number, files in order of their paths. A result that was cut says so at its end.
#[tool(effect = "read")]
fn search(args: Search) -> Result<(String, Json<Report>)> {
    let path = resolve(&args.path).map_err(|error| error.at("/path"))?;
    let root =
        roots().into_iter().find(|root| path.starts_with(root)).unwrap_or_else(|| path.clone());
    let tell = |files| context::progress_with(files, None, "files searched");
    let report = searched(&root, &path, &args, tell)?;
    Ok((report.to_string(), Json(report)))
}

fn searched(root: &Path, path: &Path, args: &Search, mut tell: impl FnMut(u64)) -> Result<Report> {
    let room = Room {
        matches_max: args.matches_max.min(MATCHES_MAX),
        bytes_max: args.bytes_max.min(BYTES_MAX),
    };
    let mut scanner = Scanner::new(&args.pattern, args.ignore_case, args.context.min(CONTEXT_MAX))?;
    let tree = Tree::new(root, path, args.glob.as_deref(), args.hidden, args.ignored)?;
    let mut report = Report::new(room);
    for (file, seen) in tree.files().zip(1..) {
        if u64::is_multiple_of(seen, PROGRESS_FILES) {
            tell(seen);
        }
        match file {
            Ok(file) => scanner.scan(&file, &mut report),
            Err(error) => report.unreadable.push(error),
        }
        if report.truncated {
            break;
        }
    }
    Ok(report)
}

ringfence_sdk::export!(search);

#[cfg(test)]
mod tests;
