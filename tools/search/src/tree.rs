//! Which files are searched.

use std::error::Error as _;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use ignore::{DirEntry, Walk, WalkBuilder};
use ringfence_sdk::{Error, Result, io_error_kind};

/// The files under a path of a root.
pub(crate) struct Tree {
    walk: Walk,
    path: PathBuf,
    glob: Option<Glob>,
}

/// A pattern without `/` fits a name, one with it a path.
enum Glob {
    Name(GlobMatcher),
    Path(GlobMatcher),
}

impl Tree {
    pub(crate) fn new(
        root: &Path,
        path: &Path,
        glob: Option<&str>,
        hidden: bool,
        ignored: bool,
    ) -> Result<Self> {
        let glob = glob.map(Glob::new).transpose()?;
        let metadata = path.metadata().map_err(|error| {
            Error::from(error)
                .context(format_args!("`{}` cannot be searched", path.display()))
                .at("/path")
        })?;
        // A file that is named is searched, whatever excludes it. A folder is reached from its root,
        // so that every `.gitignore` on the way there counts.
        let mut walk = WalkBuilder::new(if metadata.is_file() { path } else { root });
        walk.standard_filters(false)
            .hidden(!hidden)
            .ignore(!ignored)
            .git_ignore(!ignored)
            .require_git(false)
            .sort_by_file_path(Path::cmp);
        let wanted = path.to_owned();
        walk.filter_entry(move |entry| {
            let on_the_way = wanted.starts_with(entry.path());
            let is_git = entry.file_name() == OsStr::new(".git") && !ignored;
            on_the_way || (entry.path().starts_with(&wanted) && !is_git)
        });
        Ok(Self { walk: walk.build(), path: path.to_owned(), glob })
    }

    /// The files in order of their paths, or why one or a folder of them cannot be read.
    pub(crate) fn files(self) -> impl Iterator<Item = std::result::Result<PathBuf, String>> {
        let Self { walk, path, glob } = self;
        walk.filter_map(move |entry| match entry {
            Err(error) => Some(Err(reason(&error))),
            Ok(entry) if is_wanted(&entry, &path, glob.as_ref()) => Some(Ok(entry.into_path())),
            Ok(_) => None,
        })
    }
}

/// The path, where the error knows one, and what went wrong.
fn reason(error: &ignore::Error) -> String {
    let io = error.io_error();
    // The walk puts words of its own around the system's error.
    let inner = io.and_then(|error| error.source()).and_then(|source| source.downcast_ref());
    match inner.or(io) {
        // The host says this once a folder, of all such names in it.
        Some(error) if io_error_kind(error) == ErrorKind::InvalidData => {
            "what has a name that is not UTF-8".to_owned()
        }
        _ => error.to_string(),
    }
}

fn is_wanted(entry: &DirEntry, path: &Path, glob: Option<&Glob>) -> bool {
    let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
    let Ok(relative) = entry.path().strip_prefix(path) else {
        return false;
    };
    is_file
        && match glob {
            None => true,
            Some(Glob::Name(glob)) => glob.is_match(entry.file_name()),
            Some(Glob::Path(glob)) => glob.is_match(relative),
        }
}

impl Glob {
    fn new(pattern: &str) -> Result<Self> {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| {
            Error::invalid_input(format!("`{pattern}` is no pattern: {}", error.kind())).at("/glob")
        })?;
        let matcher = glob.compile_matcher();
        Ok(if pattern.contains('/') { Self::Path(matcher) } else { Self::Name(matcher) })
    }
}
