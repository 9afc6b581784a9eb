//! The entries of a directory, one at a time: a directory of a million files costs what is read of
//! it.

use std::{fmt, io, sync::Arc};

use ringfence_event::{Access, RootName};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat},
    io::Errno,
};

use super::{DirNode, FsResult, Kind, OpenRoot, identity::Id, quota::Slot};
use crate::{Meter, cost};

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// The rest of a directory.
pub struct Entries(Source);

enum Source {
    Roots(std::vec::IntoIter<Entry>),
    /// `left_out`: an entry has a name that cannot be said.
    Dir {
        dir: Dir,
        root: Arc<OpenRoot>,
        meter: Arc<Meter>,
        left_out: bool,
        _slot: Slot,
    },
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}

impl Entries {
    pub(super) fn of_roots<'a>(names: impl Iterator<Item = &'a RootName>) -> Self {
        let entry = |name: &RootName| Entry { kind: Kind::Directory, name: name.to_string() };
        Self(Source::Roots(names.map(entry).collect::<Vec<_>>().into_iter()))
    }

    pub(super) fn of_dir(node: &DirNode, meter: Arc<Meter>) -> FsResult<Self> {
        let root = node.root().clone();
        let slot = root.slot(&node.path_of("."), Access::Read)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |flags| openat(node.dir(), ".", flags, Mode::empty());
        let opened = match root.reads_untraced() {
            false => open(flags),
            true => match open(flags | OFlags::NOATIME) {
                Err(Errno::PERM) => {
                    root.leaves_traces();
                    open(flags)
                }
                opened => opened,
            },
        };
        let dir = opened.and_then(Dir::new).map_err(io::Error::from)?;
        Ok(Self(Source::Dir { dir, root, meter, left_out: false, _slot: slot }))
    }

    /// The next entry; `None` at the end. What has a name that is not UTF-8 cannot be named to a
    /// guest and is left out. One error says so, after the last entry: libraries read no further
    /// than the first.
    pub fn next_entry(&mut self) -> FsResult<Option<Entry>> {
        let Self(Source::Dir { dir, root, meter, left_out, .. }) = self else {
            let Self(Source::Roots(entries)) = self else { return Ok(None) };
            return Ok(entries.next());
        };
        loop {
            meter.charge(cost::DIRECTORY_ENTRY)?;
            let Some(entry) = dir.read() else {
                return match std::mem::take(left_out) {
                    true => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
                    false => Ok(None),
                };
            };
            let entry = entry.map_err(io::Error::from)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let mut kind = entry.file_type();
            let asks =
                kind == FileType::Unknown || kind == FileType::Directory && root.is_guarded();
            if asks {
                let found = dir.fd().and_then(|dir| statat(dir, name, AtFlags::SYMLINK_NOFOLLOW));
                let found = match found {
                    // Removed since it was read.
                    Err(Errno::NOENT) => continue,
                    found => found.map_err(io::Error::from)?,
                };
                let id = Id { device: found.st_dev, inode: found.st_ino };
                if root.keep().hides(id) {
                    continue;
                }
                kind = FileType::from_raw_mode(found.st_mode);
            }
            let Ok(name) = name.to_str() else {
                *left_out = true;
                continue;
            };
            return Ok(Some(Entry { kind: Kind::of_entry(kind), name: name.to_owned() }));
        }
    }
}
