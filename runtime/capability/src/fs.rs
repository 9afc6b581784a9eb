//! The files a permit opens. Every root is a handle that was opened once; every path is resolved
//! beneath one handle and never leaves it; only regular files and directories come out. Knows no
//! WASI types: the sandbox translates.

mod entries;
mod node;
mod root;

use std::{io, path::Path, sync::Arc};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, SystemTimeSpec};
use cap_std::fs::{Metadata, OpenOptions, OpenOptionsExt};
use ringfence_event::{Access, RootName};
use ringfence_policy::Permit;

pub use entries::{Entries, Entry};
pub use node::{DirNode, FileNode, Kind, Node, Stat};
pub use root::{OpenRoot, Roots};

use crate::{DenialLog, Meter, cost, meter::LimitReached};

/// The most bytes that one read or write moves: what may be done in place without holding up the
/// thread, and what upstream's own host allows.
pub const CHUNK: u64 = 64 << 10;

/// Why a file operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The operating system says no, in its own words.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The permit does not open it; the denial is recorded.
    #[error("denied")]
    Denied,
    /// The root is read-only for this call; the denial is recorded.
    #[error("read-only")]
    ReadOnly,
    /// A limit was met.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// A file where a directory is needed.
    #[error("not a directory")]
    NotDirectory,
    /// A directory where a file is needed.
    #[error("is a directory")]
    IsDirectory,
    /// A handle that was not opened for this.
    #[error("bad descriptor")]
    BadDescriptor,
    /// Between two roots.
    #[error("across roots")]
    CrossRoot,
    /// Flags that contradict each other.
    #[error("invalid")]
    Invalid,
}

/// What came of a file operation.
pub type FsResult<T> = Result<T, FsError>;

/// How to open a path.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "these are the flags of open(2)")]
pub struct OpenHow {
    /// Follow a symbolic link at the end of the path.
    pub follow: bool,
    /// Create what is not there.
    pub create: bool,
    /// Fail if something is there.
    pub exclusive: bool,
    /// Empty the file.
    pub truncate: bool,
    /// Fail if it is no directory.
    pub directory: bool,
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
}

/// When a file is to say that it was changed or looked at.
#[derive(Clone, Copy, Debug)]
pub enum NewTime {
    /// Leave it.
    Keep,
    /// The time of the change.
    Now,
    /// This time.
    At(std::time::SystemTime),
}

impl NewTime {
    fn spec(self) -> Option<SystemTimeSpec> {
        match self {
            Self::Keep => None,
            Self::Now => Some(SystemTimeSpec::SymbolicNow),
            Self::At(time) => {
                Some(SystemTimeSpec::Absolute(cap_std::time::SystemTime::from_std(time)))
            }
        }
    }
}

/// The files of one call.
pub struct Files {
    permit: Arc<Permit>,
    roots: Vec<Arc<OpenRoot>>,
    meter: Arc<Meter>,
    denials: Arc<DenialLog>,
}

impl Files {
    pub(crate) fn new(
        permit: Arc<Permit>,
        roots: Vec<Arc<OpenRoot>>,
        meter: Arc<Meter>,
        denials: Arc<DenialLog>,
    ) -> Self {
        Self { permit, roots, meter, denials }
    }

    /// What the guest starts with: each root under its name, and `/`, which holds nothing but the
    /// roots. It is there so that a path outside every root is asked of the host, which can then
    /// say why it is denied, and not just missed by the guest's own library.
    pub fn preopens(&self) -> impl Iterator<Item = (Node, String)> {
        let roots = self.roots.iter().map(|root| {
            let path = format!("/{}", root.name());
            (Node::Dir(DirNode::of_root(root.clone())), path)
        });
        roots.chain([(Node::Top, "/".to_owned())])
    }

    /// Charges resolving a path: by its length too, for it is copied and walked.
    fn resolve(&self, path: &str) -> FsResult<()> {
        Ok(self.meter.charge(cost::PATH_CALL + (path.len() as u64).saturating_mul(cost::BYTE))?)
    }

    /// Opens `path` beneath `at`.
    pub fn open(&self, at: &Node, path: &str, how: OpenHow) -> FsResult<Node> {
        self.resolve(path)?;
        let wants_write = how.write || how.create || how.truncate;
        let access = if wants_write { Access::Write } else { Access::Read };
        if matches!(at, Node::Top) && matches!(path, "." | "./") && !wants_write {
            return Ok(Node::Top);
        }
        if how.directory && (how.create || how.exclusive || how.truncate) {
            return Err(FsError::Invalid);
        }
        let dir = self.dir(at, path, access)?;
        let mut options = OpenOptions::new();
        options
            .read(how.read || !how.write)
            .write(how.write || how.create || how.truncate)
            .truncate(how.truncate)
            .follow(if how.follow { FollowSymlinks::Yes } else { FollowSymlinks::No });
        if how.create && how.exclusive {
            options.create_new(true);
        } else {
            options.create(how.create);
        }
        // A FIFO or a device must neither hold the thread nor become the terminal; it is refused
        // below, by what the handle says it is.
        let mut flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        if how.directory {
            flags |= rustix::fs::OFlags::DIRECTORY;
        }
        options.custom_flags(flags.bits().cast_signed());
        let file = dir.dir().open_with(path, &options);
        let file = file.map_err(|error| self.outside(dir, path, access, error))?.into_std();
        let kind = Kind::of(Metadata::from_file(&file)?.file_type());
        match kind {
            Kind::Directory => Ok(Node::Dir(dir.child(path, file))),
            Kind::File => Ok(Node::File(FileNode::new(dir, path, file, how.read, wants_write))),
            _ => {
                self.denials.record(self.permit.deny_special(&dir.path_of(path), access));
                Err(FsError::Denied)
            }
        }
    }

    /// What is at `path`.
    pub fn stat_at(&self, at: &Node, path: &str, follow: bool) -> FsResult<Stat> {
        self.resolve(path)?;
        if matches!(at, Node::Top) && matches!(path, "." | "./" | "") {
            return Ok(Stat::top());
        }
        let dir = self.dir(at, path, Access::Read)?;
        let found =
            if follow { dir.dir().metadata(path) } else { dir.dir().symlink_metadata(path) };
        Ok(Stat::of(&found.map_err(|error| self.outside(dir, path, Access::Read, error))?))
    }

    /// Makes a directory.
    pub fn create_dir(&self, at: &Node, path: &str) -> FsResult<()> {
        self.change(at, path, |dir| dir.create_dir(path))
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, at: &Node, path: &str) -> FsResult<()> {
        self.change(at, path, |dir| dir.remove_dir(path))
    }

    /// Removes a file or a link.
    pub fn remove_file(&self, at: &Node, path: &str) -> FsResult<()> {
        self.change(at, path, |dir| dir.remove_file(path))
    }

    /// Makes a symbolic link. Its target is resolved beneath the root whenever it is followed, so
    /// it may say anything but an absolute path.
    pub fn symlink(&self, at: &Node, target: &str, path: &str) -> FsResult<()> {
        self.change(at, path, |dir| DirExt::symlink(dir, Path::new(target), Path::new(path)))
    }

    /// What a symbolic link says.
    pub fn read_link(&self, at: &Node, path: &str) -> FsResult<String> {
        self.resolve(path)?;
        let dir = self.dir(at, path, Access::Read)?;
        let target = dir.dir().read_link(path);
        let target = target.map_err(|error| self.outside(dir, path, Access::Read, error))?;
        let target = target.into_os_string().into_string();
        target.map_err(|_| io::Error::from(io::ErrorKind::InvalidData).into())
    }

    /// Gives a file of the same root a second name.
    pub fn link(&self, from: &Node, old: &str, to: &Node, new: &str) -> FsResult<()> {
        self.two_ends(from, old, to, new, |from, to| from.hard_link(old, to, new))
    }

    /// Moves within a root.
    pub fn rename(&self, from: &Node, old: &str, to: &Node, new: &str) -> FsResult<()> {
        self.two_ends(from, old, to, new, |from, to| from.rename(old, to, new))
    }

    /// Sets the times of what is at `path`.
    pub fn set_times_at(
        &self,
        at: &Node,
        path: &str,
        follow: bool,
        accessed: NewTime,
        modified: NewTime,
    ) -> FsResult<()> {
        if !follow {
            let (accessed, modified) = (accessed.spec(), modified.spec());
            return self.change(at, path, |dir| dir.set_symlink_times(path, accessed, modified));
        }
        self.dir(at, path, Access::Write)?;
        // Opened as everything is: cap-std's own way would wait on a FIFO for a reader.
        match self.open(at, path, OpenHow { follow, read: true, ..OpenHow::default() })? {
            Node::File(file) => file.set_times(accessed, modified),
            Node::Dir(dir) => {
                Ok(dir.dir().set_symlink_times(".", accessed.spec(), modified.spec())?)
            }
            Node::Top => Err(FsError::ReadOnly),
        }
    }

    /// The entries of a directory, read as they are asked for.
    pub fn entries(&self, at: &Node) -> FsResult<Entries> {
        self.meter.charge(cost::PATH_CALL)?;
        match at {
            Node::Top => Ok(Entries::of_roots(self.roots.iter().map(|root| root.name()))),
            Node::Dir(dir) => Ok(Entries::of_dir(dir.dir().entries()?, self.meter.clone())),
            Node::File(_) => Err(FsError::NotDirectory),
        }
    }

    fn change(
        &self,
        at: &Node,
        path: &str,
        act: impl FnOnce(&cap_std::fs::Dir) -> io::Result<()>,
    ) -> FsResult<()> {
        self.resolve(path)?;
        let dir = self.dir(at, path, Access::Write)?;
        act(dir.dir()).map_err(|error| self.outside(dir, path, Access::Write, error))
    }

    fn two_ends(
        &self,
        from: &Node,
        old: &str,
        to: &Node,
        new: &str,
        act: impl FnOnce(&cap_std::fs::Dir, &cap_std::fs::Dir) -> io::Result<()>,
    ) -> FsResult<()> {
        self.resolve(old)?;
        self.resolve(new)?;
        let from = self.dir(from, old, Access::Write)?;
        let to = self.dir(to, new, Access::Write)?;
        if !Arc::ptr_eq(from.root(), to.root()) {
            self.deny(to, new, Access::Write);
            return Err(FsError::CrossRoot);
        }
        act(from.dir(), to.dir()).map_err(|error| {
            // The error does not say which of the two leads out; looking at one does.
            let looked = from.dir().symlink_metadata(old);
            let (dir, path) =
                if looked.is_err_and(|error| leads_out(&error)) { (from, old) } else { (to, new) };
            self.outside(dir, path, Access::Write, error)
        })
    }

    /// The directory handle behind `at`, if its root is open this far.
    fn dir<'a>(&self, at: &'a Node, path: &str, access: Access) -> FsResult<&'a DirNode> {
        match at {
            Node::Dir(dir) if dir.root().access() >= access => Ok(dir),
            Node::Dir(dir) => {
                self.denials.record(self.permit.deny_file(&dir.path_of(path), access));
                Err(FsError::ReadOnly)
            }
            Node::File(_) => Err(FsError::NotDirectory),
            Node::Top => {
                let path = path.trim_start_matches('/');
                let root = path.split('/').next().unwrap_or_default();
                // What no root can be named is not denied, it is just not there: libraries look for
                // `/.gitignore` and the like as a matter of course.
                if root.parse::<RootName>().is_err() {
                    return Err(io::Error::from(io::ErrorKind::NotFound).into());
                }
                self.denials.record(self.permit.deny_file(&format!("/{path}"), access));
                Err(FsError::Denied)
            }
        }
    }

    /// Checks that an open file may be written: its root may have been opened for reading only.
    pub fn check_write(&self, file: &FileNode) -> FsResult<()> {
        if file.root().access() < Access::Write {
            self.denials.record(self.permit.deny_file(file.path(), Access::Write));
            return Err(FsError::ReadOnly);
        }
        if file.may_write() { Ok(()) } else { Err(FsError::BadDescriptor) }
    }

    fn deny(&self, dir: &DirNode, path: &str, access: Access) -> FsError {
        self.denials.record(self.permit.deny_outside(&dir.path_of(path), access));
        FsError::Denied
    }

    fn outside(&self, dir: &DirNode, path: &str, access: Access, error: io::Error) -> FsError {
        if leads_out(&error) { self.deny(dir, path, access) } else { error.into() }
    }
}

/// cap-std says that a path leads out of the handle with an error of its own, which carries no
/// number of the operating system.
fn leads_out(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}
