//! Walking a folder: depth first, each folder's entries by name, links shown and not followed. What
//! cannot be read costs itself and nothing else.

use std::error::Error as _;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use ignore::{DirEntry, WalkBuilder};
use ringfence_sdk::{Result, io_error_kind};

use crate::fault::fault;

/// How many entries that could not be read are named; the rest are counted.
const UNREAD_SHOWN: usize = 5;

/// What is walked.
pub(crate) struct Tree<'a> {
    /// The root that the folder is in. Every `.gitignore` on the way from there counts.
    pub(crate) root: &'a Path,
    pub(crate) folder: &'a Path,
    /// 1 is the folder itself.
    pub(crate) depth_max: usize,
    /// Whether to see what begins with a dot.
    pub(crate) hidden: bool,
    /// Whether to see what `.gitignore` excludes, and `.git`.
    pub(crate) ignored: bool,
}

/// One entry on the way.
pub(crate) struct Entry {
    /// In the folder.
    pub(crate) path: PathBuf,
    pub(crate) is_dir: bool,
    pub(crate) is_link: bool,
}

impl Tree<'_> {
    /// The entries, or why one or a folder of them cannot be read. Nothing of an entry that `enter`
    /// refuses by its name and depth is seen; the depth is 1 for what stands in the folder itself.
    pub(crate) fn entries(
        &self,
        enter: impl Fn(&str, usize) -> bool + Send + Sync + 'static,
    ) -> Result<impl Iterator<Item = std::result::Result<Entry, String>>> {
        // One look, so that a folder that is none is an error and not an empty one.
        fs::read_dir(self.folder).map_err(|error| fault(self.folder, error).at("/path"))?;
        let top = if self.ignored { self.folder } else { self.root };
        let above = self.folder.components().count() - top.components().count();
        let (hidden, ignored) = (self.hidden, self.ignored);
        let way = self.folder.to_owned();
        let mut walk = WalkBuilder::new(top);
        walk.standard_filters(false)
            .ignore(!ignored)
            .git_ignore(!ignored)
            .require_git(false)
            .max_depth(Some(above + self.depth_max))
            .sort_by_file_name(std::ffi::OsStr::cmp)
            .filter_entry(move |entry| {
                let Some(depth) = entry.depth().checked_sub(above).filter(|depth| *depth > 0)
                else {
                    return way.starts_with(entry.path());
                };
                let name = entry.file_name().to_string_lossy();
                let is_seen = (hidden || !name.starts_with('.')) && (ignored || name != ".git");
                is_seen && enter(&name, depth)
            });
        let folder = self.folder.to_owned();
        Ok(walk.build().filter_map(move |entry| match entry {
            Ok(entry) if entry.depth() <= above => None,
            Ok(entry) => Some(Ok(found(&entry, &folder))),
            Err(error) => Some(Err(reason(&error, &folder))),
        }))
    }
}

fn found(entry: &DirEntry, folder: &Path) -> Entry {
    let kind = entry.file_type();
    Entry {
        path: entry.path().strip_prefix(folder).unwrap_or(entry.path()).to_owned(),
        is_dir: kind.is_some_and(|kind| kind.is_dir()),
        is_link: kind.is_some_and(|kind| kind.is_symlink()),
    }
}

/// The path in the folder, where the error knows one, and what went wrong.
fn reason(error: &ignore::Error, folder: &Path) -> String {
    let why = match error.io_error().map(innermost) {
        // The host says this once a folder, of all such names in it.
        Some(error) if io_error_kind(error) == ErrorKind::InvalidData => {
            return "what has a name that is not UTF-8".to_owned();
        }
        Some(error) => error.to_string(),
        None => error.to_string(),
    };
    match path_of(error) {
        Some(path) if path != folder => {
            format!("`{}`: {why}", path.strip_prefix(folder).unwrap_or(path).display())
        }
        _ => format!("an entry: {why}"),
    }
}

/// The system's own error, without the words that the walk puts around it.
fn innermost(error: &io::Error) -> &io::Error {
    error.source().and_then(|source| source.downcast_ref()).unwrap_or(error)
}

fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            path_of(err)
        }
        _ => None,
    }
}

/// What could not be read, for the end of an answer: a line each, and how many more.
pub(crate) fn unread(reasons: &[String]) -> String {
    let mut lines = String::new();
    for reason in reasons.iter().take(UNREAD_SHOWN) {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "[not read: {reason}]");
    }
    if let Some(more @ 1..) = reasons.len().checked_sub(UNREAD_SHOWN) {
        let _ = writeln!(lines, "[not read: {more} more]");
    }
    lines
}
