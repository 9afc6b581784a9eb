//! What belongs to the host and lies where tools may go: the store's folder, which no tool sees, and
//! the files that say what tools may do, which none changes. Held by device and inode, and by the
//! place of what is not there yet, so that no spelling, link or move leads past it.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

use ringfence_event::is_hidden;

use super::identity::{Id, Trace, step, trace};

/// Files of these names say what tools may do, wherever they lie: a program that is started in a
/// folder reads the one it finds there. Tools read them and do nothing else with them.
const OPERATORS: [&str; 2] = ["ringfence.toml", "ringfence.lock"];

/// What a host keeps for itself.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Folders that no tool sees: where the store is.
    pub hidden: Vec<PathBuf>,
    /// Files that tools may read and not change, whatever they are called.
    pub sealed: Vec<PathBuf>,
}

/// What is kept, found.
#[derive(Clone, Debug, Default)]
pub(super) struct Keep {
    hidden: HashSet<Id>,
    /// Paths of files whose content decides; looked at again each time, for an editor replaces them.
    sealed: Vec<PathBuf>,
    /// What may not be moved, replaced or removed: then a path of the host would lead elsewhere.
    pinned: HashSet<Id>,
    /// What may not be made, for the same reason.
    missing: HashSet<(Id, OsString)>,
    /// The folders in which any of it lies.
    above: HashSet<Id>,
}

impl Keep {
    pub(super) fn new(kept: &Kept) -> io::Result<Self> {
        let mut keep = Self { sealed: kept.sealed.clone(), ..Self::default() };
        for path in &kept.hidden {
            let end = keep.pin(path)?;
            keep.hidden.extend(end);
        }
        for path in &kept.sealed {
            keep.pin(path)?;
        }
        Ok(keep)
    }

    /// Keeps a path of the host leading where it leads.
    pub(super) fn pin(&mut self, path: &Path) -> io::Result<Option<Id>> {
        let Trace { through, links, end, missing } = trace(path)?;
        self.above.extend(through);
        self.pinned.extend(links.into_iter().chain(end));
        self.missing.extend(missing);
        Ok(end)
    }

    /// Whether any of it may lie below a folder.
    pub(super) fn is_below(&self, folder: Id) -> bool {
        self.above.contains(&folder)
    }

    pub(super) fn hides(&self, id: Id) -> bool {
        self.hidden.contains(&id)
    }

    /// Whether a folder lies in one that is hidden. Looks no further up than `top`.
    pub(super) fn hides_around(
        &self,
        dir: impl rustix::fd::AsFd,
        top: impl rustix::fd::AsFd,
    ) -> io::Result<bool> {
        let top = Id::of_handle(top)?;
        let mut at = step(dir, OsStr::new("."))?;
        let mut last = None;
        loop {
            let id = Id::of_handle(&at)?;
            if self.hides(id) {
                return Ok(true);
            }
            if id == top || last == Some(id) {
                return Ok(false);
            }
            last = Some(id);
            at = step(&at, OsStr::new(".."))?;
        }
    }

    /// Whether the folders that a folder lies in are hidden, or it is.
    pub(super) fn hides_root(&self, root: &[Id]) -> bool {
        root.iter().any(|id| self.hides(*id))
    }

    /// Whether what has this identity must stay where it is.
    pub(super) fn pins(&self, id: Id) -> bool {
        self.pinned.contains(&id) || self.above.contains(&id)
    }

    /// Whether nothing may be made under this name.
    pub(super) fn misses(&self, folder: Id, name: &str) -> bool {
        let folded = folded(name);
        self.missing.iter().any(|(of, missing)| {
            *of == folder && missing.to_str().is_some_and(|missing| self::folded(missing) == folded)
        })
    }

    /// Whether an open file is one of those whose content decides, under whatever name. Only one
    /// with several names can be.
    pub(super) fn seals(&self, id: Id) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        self.sealed.iter().any(|path| {
            let found = std::fs::metadata(path);
            found.is_ok_and(|found| (found.dev(), found.ino()) == (id.device, id.inode))
        })
    }
}

/// Whether a file of this name says what tools may do. Compared as the most forgiving file system
/// would: neither case nor characters that nobody sees tell two names apart.
pub(super) fn is_operators(name: &str) -> bool {
    // The common case costs a look at the length.
    name.len() >= OPERATORS[0].len() && OPERATORS.contains(&folded(name).as_str())
}

fn folded(name: &str) -> String {
    let selects = |character: char| matches!(character, '\u{34f}' | '\u{fe00}'..='\u{fe0f}');
    let seen = name.chars().filter(|character| !is_hidden(*character) && !selects(*character));
    seen.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_file_system_may_take_for_the_operators() {
        for (name, is) in [
            ("ringfence.toml", true),
            ("Ringfence.TOML", true),
            ("ringfence.loc\u{212a}", true),
            ("ring\u{200d}fence.lock", true),
            ("ringfence.toml.bak", false),
            ("tool.toml", false),
        ] {
            assert_eq!(is_operators(name), is, "{name:?}");
        }
    }
}
