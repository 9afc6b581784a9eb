//! Walking a folder: depth first, each folder's entries by name, links shown and not followed.

use std::fs::{self, FileType};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// One entry on the way.
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) kind: FileType,
    /// 1 for what stands in the folder itself.
    pub(crate) depth: usize,
}

/// Calls `visit` for every entry under `folder` down to `depth_max`, until it breaks. A folder that
/// `enter` refuses is visited, and not entered. An error names the folder that could not be read.
pub(crate) fn walk(
    folder: &Path,
    depth_max: usize,
    enter: impl Fn(&Entry) -> bool,
    mut visit: impl FnMut(&Entry) -> ControlFlow<()>,
) -> Result<(), (PathBuf, io::Error)> {
    // The entries still to be visited, the next one last.
    let mut waiting = entries(folder, 1)?;
    while let Some(entry) = waiting.pop() {
        if visit(&entry).is_break() {
            return Ok(());
        }
        if entry.kind.is_dir() && entry.depth < depth_max && enter(&entry) {
            waiting.append(&mut entries(&entry.path, entry.depth + 1)?);
        }
    }
    Ok(())
}

fn entries(folder: &Path, depth: usize) -> Result<Vec<Entry>, (PathBuf, io::Error)> {
    let read = || -> io::Result<Vec<Entry>> {
        fs::read_dir(folder)?
            .map(|entry| {
                let entry = entry?;
                Ok(Entry { path: entry.path(), kind: entry.file_type()?, depth })
            })
            .collect()
    };
    let mut entries = read().map_err(|error| (folder.to_owned(), error))?;
    entries.sort_unstable_by(|a, b| b.path.cmp(&a.path));
    Ok(entries)
}
