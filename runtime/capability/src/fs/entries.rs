//! The entries of a directory, one at a time: a directory of a million files costs what is read of
//! it.

use std::{
    fmt, io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringfence_event::{Access, RootName};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat},
    io::Errno,
};

use super::{Acting, DirNode, FsResult, Kind, OpenRoot, identity::Id, quota::Slot};
use crate::{Meter, cost};

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// The rest of a directory. Cheap to clone; all clones are the same rest.
#[derive(Clone)]
pub struct Entries(Source);

#[derive(Clone)]
enum Source {
    Roots(Arc<Mutex<std::vec::IntoIter<Entry>>>),
    Dir { rest: Arc<Mutex<Rest>>, root: Arc<OpenRoot>, meter: Arc<Meter> },
}

struct Rest {
    dir: Dir,
    /// An entry has a name that cannot be said.
    left_out: bool,
    _slot: Slot,
}

fn lock<T>(rest: &Mutex<T>) -> MutexGuard<'_, T> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}

impl Entries {
    pub(super) fn of_roots<'a>(names: impl Iterator<Item = &'a RootName>) -> Self {
        let entry = |name: &RootName| Entry { kind: Kind::Directory, name: name.to_string() };
        let entries: Vec<_> = names.map(entry).collect();
        Self(Source::Roots(Arc::new(Mutex::new(entries.into_iter()))))
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
        let rest = Rest { dir, left_out: false, _slot: slot };
        Ok(Self(Source::Dir { rest: Arc::new(Mutex::new(rest)), root, meter }))
    }

    /// Reads the next entry: here and now, or on the threads of a root that may not answer.
    pub fn next(&self) -> Acting<Option<Entry>> {
        let Source::Dir { root, .. } = &self.0 else { return Acting::done(self.next_entry()) };
        let Some(pool) = root.pool() else { return Acting::done(self.next_entry()) };
        let entries = self.clone();
        pool.start(move || entries.next_entry())
    }

    /// The next entry; `None` at the end. What has a name that is not UTF-8 cannot be named to a
    /// guest and is left out. One error says so, after the last entry: libraries read no further
    /// than the first.
    fn next_entry(&self) -> FsResult<Option<Entry>> {
        let (rest, root, meter) = match &self.0 {
            Source::Roots(entries) => return Ok(lock(entries).next()),
            Source::Dir { rest, root, meter } => (rest, root, meter),
        };
        let Rest { dir, left_out, .. } = &mut *lock(rest);
        loop {
            meter.charge(cost::DIRECTORY_ENTRY)?;
            let Some(entry) = dir.read() else {
                return match mem::take(left_out) {
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
