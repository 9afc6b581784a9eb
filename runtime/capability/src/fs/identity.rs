//! Which file something is, by device and inode: names are spellings, and a host compares handles.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt as _},
    path::{Component, Path},
};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, readlinkat};

/// Links that one path may lead through: as many as the kernel follows.
const LINKS_MAX: usize = 40;

/// A file of the host, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl Id {
    pub(super) fn of(metadata: &cap_std::fs::Metadata) -> Self {
        use cap_std::fs::MetadataExt as _;
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    pub(super) fn of_handle(handle: impl rustix::fd::AsFd) -> io::Result<Self> {
        let stat = fstat(handle)?;
        Ok(Self { device: stat.st_dev, inode: stat.st_ino })
    }
}

/// A directory as a place to go on from, opened for nothing else.
pub(super) fn step(dir: impl rustix::fd::AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(dir, name, flags, Mode::empty())?)
}

/// A directory and all that it lies in, up to the top.
pub(super) fn chain(dir: impl rustix::fd::AsFd) -> io::Result<Vec<Id>> {
    let mut at = step(dir, OsStr::new("."))?;
    let mut chain = vec![Id::of_handle(&at)?];
    loop {
        at = step(&at, OsStr::new(".."))?;
        let id = Id::of_handle(&at)?;
        if chain.last() == Some(&id) {
            return Ok(chain);
        }
        chain.push(id);
    }
}

/// What a path of the host leads through.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// The folders on the way, those of links included.
    pub(super) through: Vec<Id>,
    /// The links on the way.
    pub(super) links: Vec<Id>,
    /// Where it ends.
    pub(super) end: Option<Id>,
    /// Where it breaks off: the folder, and the name that is not there.
    pub(super) missing: Option<(Id, OsString)>,
}

/// Follows a path by hand.
pub(super) fn trace(path: &Path) -> io::Result<Trace> {
    let mut trace = Trace::default();
    let mut left: VecDeque<OsString> = VecDeque::new();
    let parts = |path: &Path| -> Vec<OsString> {
        path.components().map(|part| part.as_os_str().to_owned()).collect()
    };
    left.extend(parts(path));
    let mut at = match path.is_absolute() {
        true => step(CWD, OsStr::new("/"))?,
        // Here, and so through everything that this folder lies in.
        false => {
            trace.through.extend(chain(CWD)?.into_iter().skip(1));
            step(CWD, OsStr::new("."))?
        }
    };
    while let Some(part) = left.pop_front() {
        if Path::new(&part).components().next() == Some(Component::RootDir) {
            at = step(CWD, OsStr::new("/"))?;
            continue;
        }
        let here = Id::of_handle(&at)?;
        trace.through.push(here);
        let next = match step(&at, &part) {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                trace.missing = Some((here, part));
                return Ok(trace);
            }
            Err(error) => return Err(error),
        };
        let stat = fstat(&next)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            at = next;
            continue;
        }
        trace.links.push(Id { device: stat.st_dev, inode: stat.st_ino });
        if trace.links.len() > LINKS_MAX {
            return Err(rustix::io::Errno::LOOP.into());
        }
        let target = OsString::from_vec(readlinkat(&next, "", Vec::new())?.into_bytes());
        for part in parts(Path::new(&target)).into_iter().rev() {
            left.push_front(part);
        }
    }
    trace.end = Some(Id::of_handle(&at)?);
    Ok(trace)
}
