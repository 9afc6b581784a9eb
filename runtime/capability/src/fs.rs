//! The files a permit opens. Every root is a handle that was opened once; every path is resolved
//! beneath one handle and never leaves it; only regular files and directories come out. Knows no
//! WASI types: the sandbox translates.

mod entries;
mod identity;
mod kept;
mod locate;
mod mount;
mod node;
mod pool;
mod quota;
mod removal;
mod root;
mod scan;
mod scratch;
mod walk;

use std::{io, path::Path, sync::Arc};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, SystemTimeSpec};
use cap_std::fs::{Dir, Metadata, MetadataExt as _, OpenOptions, OpenOptionsExt};
use ringfence_event::{Access, Asked, Denial, RootName};
use ringfence_policy::{Full, Permit};
use rustix::{fs::OFlags, io::Errno};

pub use entries::{Entries, Entry};
pub use kept::Kept;
pub use node::{DirNode, FileNode, Kind, Node, Stat};
pub use pool::{Acting, Pool};
pub use root::{Claim, OpenRoot, RootError, Roots};
pub use scan::Held;
pub use scratch::{Scratch, Scratches};

use self::{
    identity::Id,
    kept::is_operators,
    locate::{Spot, locate},
    node::OpenFile,
    quota::{Budget, Counting},
};
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
    /// A quota is full; the denial is recorded.
    #[error("the quota is full")]
    Full,
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

    /// Does something with what `node` stands for: here and now where its file system answers at
    /// once, on the root's own threads where it may not.
    pub fn on<T: Send + 'static>(
        self: &Arc<Self>,
        node: &Node,
        work: impl FnOnce(&Self, &Node) -> FsResult<T> + Send + 'static,
    ) -> Acting<T> {
        let Some(pool) = node.pool() else { return Acting::done(work(self, node)) };
        let (files, node) = (self.clone(), node.clone());
        pool.start(move || work(&files, &node))
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
        let root = dir.root();
        if !wants_write && !self.is_looked_up(root) {
            return self.open_at(dir, dir.dir(), path, path, how);
        }
        let spot = self.spot(dir, path, how.follow, access)?;
        let how = OpenHow { follow: false, ..how };
        self.open_at(dir, &spot.dir, &spot.last, path, how)
    }

    /// Opens `name` in the folder `in_dir`, which the guest reached from `dir` by `path`.
    fn open_at(
        &self,
        dir: &DirNode,
        in_dir: &Dir,
        name: &str,
        path: &str,
        how: OpenHow,
    ) -> FsResult<Node> {
        let root = dir.root();
        let wants_write = how.write || how.create || how.truncate;
        let access = if wants_write { Access::Write } else { Access::Read };
        let slot = root.slot(&dir.path_of(path), access)?;
        let mut options = OpenOptions::new();
        options.read(how.read || !how.write).write(wants_write).follow(if how.follow {
            FollowSymlinks::Yes
        } else {
            FollowSymlinks::No
        });
        if how.create && how.exclusive {
            options.create_new(true);
        } else {
            options.create(how.create);
        }
        // A FIFO or a device must neither hold the thread nor become the terminal; it is refused
        // below, by what the handle says it is.
        let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        if how.directory {
            flags |= OFlags::DIRECTORY;
        }
        let mut counting = root.budget().map(Budget::lock);
        let creates = how.create && is_missing(in_dir, name);
        let mut open = || open_untraced(root, in_dir, name, &mut options, flags);
        let opened = match &mut counting {
            Some(counting) if creates => {
                let one = Held { bytes: 0, files: 1 };
                counting.adding(one, || open().map_err(Opening::Io))
            }
            _ => open().map_err(Opening::Io),
        };
        let file = opened.map_err(|error| match error {
            Opening::Io(error) => self.outside(dir, path, access, error),
            Opening::Full(full) => root.full(&dir.path_of(path), access, full),
        })?;
        let metadata = Metadata::from_file(&file)?;
        let id = Id::of(&metadata);
        match Kind::of(metadata.file_type()) {
            Kind::Directory => Ok(Node::Dir(dir.child(path, (file, id), slot))),
            Kind::File => {
                // Met under another name: elsewhere it has one more.
                let keep = root.keep();
                let named_twice = root.is_guarded() || metadata.nlink() > 1;
                if wants_write && named_twice && (keep.pins(id) || keep.seals(id)) {
                    return Err(root.protected(&dir.path_of(path), access));
                }
                // Emptied only now that it is known to be a file that may be: what was in it is
                // given back.
                if how.truncate && metadata.len() > 0 {
                    file.set_len(0)?;
                    if let Some(counting) = &mut counting {
                        counting.give_back(Held { bytes: metadata.len(), files: 0 });
                    }
                }
                if let Some(counting) = &mut counting {
                    counting.opened(id);
                }
                let length = if how.truncate { 0 } else { metadata.len() };
                let open = OpenFile::new(root.clone(), file, id, length, slot);
                Ok(Node::File(FileNode::new(dir.path_of(path), open, (how.read, wants_write))))
            }
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
        let found = if self.is_looked_up(dir.root()) {
            let spot = self.spot(dir, path, follow, Access::Read)?;
            spot.dir.symlink_metadata(&spot.last)
        } else {
            // Most paths end in no link: looking there first is one system call instead of three.
            match dir.dir().symlink_metadata(path) {
                Ok(found) if follow && found.is_symlink() => dir.dir().metadata(path),
                found => found,
            }
        };
        Ok(Stat::of(&found.map_err(|error| self.outside(dir, path, Access::Read, error))?))
    }

    /// Makes a directory.
    pub fn create_dir(&self, at: &Node, path: &str) -> FsResult<()> {
        let one = Held { bytes: 0, files: 1 };
        self.add(at, path, one, |spot| spot.dir.create_dir(&spot.last))
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, at: &Node, path: &str) -> FsResult<()> {
        self.take(at, path, |spot| spot.dir.remove_dir(&spot.last))
    }

    /// Removes a file or a link.
    pub fn remove_file(&self, at: &Node, path: &str) -> FsResult<()> {
        self.take(at, path, |spot| spot.dir.remove_file(&spot.last))
    }

    /// Makes a symbolic link. Its target is resolved beneath the root whenever it is followed, so
    /// it may say anything but an absolute path.
    pub fn symlink(&self, at: &Node, target: &str, path: &str) -> FsResult<()> {
        let one = Held { bytes: target.len() as u64, files: 1 };
        self.add(at, path, one, |spot| {
            DirExt::symlink(&*spot.dir, Path::new(target), Path::new(&spot.last))
        })
    }

    /// What a symbolic link says.
    pub fn read_link(&self, at: &Node, path: &str) -> FsResult<String> {
        self.resolve(path)?;
        let dir = self.dir(at, path, Access::Read)?;
        let target = if self.is_looked_up(dir.root()) {
            let spot = self.spot(dir, path, false, Access::Read)?;
            spot.dir.read_link(&spot.last)
        } else {
            dir.dir().read_link(path)
        };
        let target = target.map_err(|error| self.outside(dir, path, Access::Read, error))?;
        let target = target.into_os_string().into_string();
        target.map_err(|_| io::Error::from(io::ErrorKind::InvalidData).into())
    }

    /// Gives a file of the same root a second name.
    pub fn link(&self, from: &Node, old: &str, to: &Node, new: &str) -> FsResult<()> {
        let (from, to) = self.two_ends(from, old, to, new)?;
        let (old_spot, new_spot) = (self.changed(from, old)?, self.changed(to, new)?);
        let act = || old_spot.dir.hard_link(&old_spot.last, &new_spot.dir, &new_spot.last);
        let linked = match from.root().budget() {
            None => act().map_err(Opening::Io),
            Some(budget) => {
                let one = Held { bytes: 0, files: 1 };
                budget.lock().adding(one, || act().map_err(Opening::Io))
            }
        };
        linked.map_err(|error| self.failed(to, new, error))
    }

    /// Moves within a root.
    pub fn rename(&self, from: &Node, old: &str, to: &Node, new: &str) -> FsResult<()> {
        let (from, to) = self.two_ends(from, old, to, new)?;
        let (old_spot, new_spot) = (self.moved(from, old)?, self.moved(to, new)?);
        let mut counting = from.root().budget().map(Budget::lock);
        // What stands in its place goes, unless both are one file: then nothing happens.
        let replaced = counting.as_ref().and_then(|counting| {
            let moved = old_spot.dir.symlink_metadata(old_spot.name()).ok()?;
            let weight = weight(counting, &new_spot)?;
            (weight.0 != Id::of(&moved)).then_some(weight.1)
        });
        let moved = old_spot.dir.rename(&old_spot.last, &new_spot.dir, &new_spot.last);
        moved.map_err(|error| self.outside(from, old, Access::Write, error))?;
        if let (Some(counting), Some(replaced)) = (&mut counting, replaced) {
            counting.give_back(replaced);
        }
        Ok(())
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
        self.resolve(path)?;
        let dir = self.dir(at, path, Access::Write)?;
        let spot = self.spot(dir, path, follow, Access::Write)?;
        let times =
            |of: &Dir, name: &str| of.set_symlink_times(name, accessed.spec(), modified.spec());
        if !follow {
            let set = times(&spot.dir, &spot.last);
            return set.map_err(|error| self.outside(dir, path, Access::Write, error));
        }
        // Opened as everything is: cap-std's own way would wait on a FIFO for a reader.
        let how = OpenHow { read: true, ..OpenHow::default() };
        match self.open_at(dir, &spot.dir, &spot.last, path, how)? {
            Node::File(file) => file.set_times(accessed, modified),
            Node::Dir(dir) => Ok(times(dir.dir(), ".")?),
            Node::Top => Err(FsError::ReadOnly),
        }
    }

    /// The entries of a directory, read as they are asked for.
    pub fn entries(&self, at: &Node) -> FsResult<Entries> {
        self.meter.charge(cost::PATH_CALL)?;
        match at {
            Node::Top => Ok(Entries::of_roots(self.roots.iter().map(|root| root.name()))),
            Node::Dir(dir) => {
                // A root was opened without being asked for, and a folder may have been moved.
                if self.is_ruled(dir.root()) {
                    let place = self.place(dir, ".", Access::Read)?;
                    self.check_rules(dir, ".", &place, Access::Read)?;
                }
                Entries::of_dir(dir, self.meter.clone())
            }
            Node::File(_) => Err(FsError::NotDirectory),
        }
    }

    /// Makes something that takes this much room.
    fn add(
        &self,
        at: &Node,
        path: &str,
        more: Held,
        act: impl FnOnce(&Spot<'_>) -> io::Result<()>,
    ) -> FsResult<()> {
        self.resolve(path)?;
        let dir = self.dir(at, path, Access::Write)?;
        let spot = self.changed(dir, path)?;
        let made = match dir.root().budget() {
            None => act(&spot).map_err(Opening::Io),
            Some(budget) => budget.lock().adding(more, || act(&spot).map_err(Opening::Io)),
        };
        made.map_err(|error| self.failed(dir, path, error))
    }

    /// Removes something, and gives back the room it took.
    fn take(
        &self,
        at: &Node,
        path: &str,
        act: impl FnOnce(&Spot<'_>) -> io::Result<()>,
    ) -> FsResult<()> {
        self.resolve(path)?;
        let dir = self.dir(at, path, Access::Write)?;
        let spot = self.changed(dir, path)?;
        let mut counting = dir.root().budget().map(Budget::lock);
        let gone = counting.as_ref().and_then(|counting| weight(counting, &spot));
        act(&spot).map_err(|error| self.outside(dir, path, Access::Write, error))?;
        if let (Some(counting), Some((_, gone))) = (&mut counting, gone) {
            counting.give_back(gone);
        }
        Ok(())
    }

    fn two_ends<'a>(
        &self,
        from: &'a Node,
        old: &str,
        to: &'a Node,
        new: &str,
    ) -> FsResult<(&'a DirNode, &'a DirNode)> {
        self.resolve(old)?;
        self.resolve(new)?;
        let from = self.dir(from, old, Access::Write)?;
        let to = self.dir(to, new, Access::Write)?;
        if !Arc::ptr_eq(from.root(), to.root()) {
            self.deny(to, new, Access::Write);
            return Err(FsError::CrossRoot);
        }
        Ok((from, to))
    }

    /// Where a path ends, if that is not the host's own. For writing: if it may be written.
    fn spot<'a>(
        &self,
        dir: &'a DirNode,
        path: &str,
        follow: bool,
        access: Access,
    ) -> FsResult<Spot<'a>> {
        let root = dir.root();
        let spot = if self.is_ruled(root) {
            self.walked(dir, path, follow, access)?
        } else {
            locate(dir.dir(), path, follow)
                .map_err(|error| self.outside(dir, path, access, error))?
        };
        let protected = || root.protected(&dir.path_of(path), access);
        if access == Access::Write && is_operators(spot.name()) {
            return Err(protected());
        }
        if !root.is_guarded() {
            return Ok(spot);
        }
        let keep = root.keep();
        let below = matches!(spot.dir, locate::Parent::Below(_));
        let found = spot.dir.symlink_metadata(spot.name()).ok();
        let hidden = (below && keep.hides_around(&*spot.dir, dir.dir())?)
            || found.is_some_and(|found| keep.hides(Id::of(&found)));
        if hidden {
            let denied = protected();
            // Who looks finds nothing there; who writes is told that it is no place for that.
            return Err(match access {
                Access::Read => io::Error::from(io::ErrorKind::NotFound).into(),
                Access::Write => denied,
            });
        }
        let missed = || Ok::<_, io::Error>(keep.misses(Id::of_handle(&*spot.dir)?, spot.name()));
        if access == Access::Write && missed()? {
            return Err(protected());
        }
        Ok(spot)
    }

    /// Where a path ends whose last name is to be made, moved or removed.
    fn changed<'a>(&self, dir: &'a DirNode, path: &str) -> FsResult<Spot<'a>> {
        let root = dir.root();
        let spot = self.spot(dir, path, false, Access::Write)?;
        if root.is_guarded() {
            let found = spot.dir.symlink_metadata(spot.name()).ok();
            if found.is_some_and(|found| root.keep().pins(Id::of(&found))) {
                return Err(root.protected(&dir.path_of(path), Access::Write));
            }
        }
        Ok(spot)
    }

    fn failed(&self, dir: &DirNode, path: &str, error: Opening) -> FsError {
        match error {
            Opening::Io(error) => self.outside(dir, path, Access::Write, error),
            Opening::Full(full) => dir.root().full(&dir.path_of(path), Access::Write, full),
        }
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

    /// Whether rules shut a part of a root in this call, to which nobody said yes.
    fn is_ruled(&self, root: &OpenRoot) -> bool {
        let top = || format!("/{}", root.name());
        self.permit.shuts_paths() && self.permit.check_move(&top(), Access::Read).is_err()
    }

    /// Whether the end of a path is to be found before anything is done there, also for reading.
    fn is_looked_up(&self, root: &OpenRoot) -> bool {
        root.is_guarded() || self.is_ruled(root)
    }

    /// Where a folder lies now. What is in the root no more may be anything: a rule shuts it.
    fn place(&self, dir: &DirNode, path: &str, access: Access) -> FsResult<String> {
        if let Some(place) = walk::place(dir.root(), dir.dir()) {
            return Ok(place);
        }
        let top = self.permit.check_move(&format!("/{}", dir.root().name()), access);
        self.allowed(top.map_err(|denial| asked_for(dir, path, access, denial)))?;
        Err(io::Error::from(io::ErrorKind::NotFound).into())
    }

    /// Where a path ends in a root of which rules shut a part, if not there.
    fn walked<'a>(
        &self,
        dir: &'a DirNode,
        path: &str,
        follow: bool,
        access: Access,
    ) -> FsResult<Spot<'a>> {
        for _ in path.split('/') {
            self.meter.charge(cost::PATH_CALL)?;
        }
        let place = self.place(dir, path, access)?;
        let found = walk::walk((dir.dir(), &place), path, follow);
        // What is not there is denied like what is: else it would be known which is which.
        let at = match &found {
            Ok(spot) => spot.at.as_deref().unwrap_or(&place),
            Err(stopped) => &stopped.at,
        };
        self.check_rules(dir, path, at, access)?;
        found.map_err(|stopped| self.outside(dir, path, access, stopped.error))
    }

    /// Where both ends of a move are: what lies in a folder has another path when it was moved.
    fn moved<'a>(&self, dir: &'a DirNode, path: &str) -> FsResult<Spot<'a>> {
        let spot = self.changed(dir, path)?;
        if let Some(at) = &spot.at {
            let checked = self.permit.check_move(at, Access::Write);
            let asked = |denial| asked_for(dir, path, Access::Write, denial);
            self.allowed(checked.map_err(asked))?;
        }
        Ok(spot)
    }

    /// Checks the place to which a path led against the rules that ask a person first.
    fn check_rules(&self, dir: &DirNode, path: &str, at: &str, access: Access) -> FsResult<()> {
        let checked = self.permit.check_path(at, access);
        self.allowed(checked.map_err(|denial| asked_for(dir, path, access, denial)))
    }

    fn allowed(&self, checked: Result<(), Denial>) -> FsResult<()> {
        checked.map_err(|denial| {
            self.denials.record(denial);
            FsError::Denied
        })
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

/// A denial of where a path led, told of the path that the guest asked for.
fn asked_for(dir: &DirNode, path: &str, access: Access, denial: Denial) -> Denial {
    Denial { asked: Asked::File { path: dir.path_of(path), access }, ..denial }
}

/// Why nothing was made.
enum Opening {
    Io(io::Error),
    Full(Full),
}

impl From<Full> for Opening {
    fn from(full: Full) -> Self {
        Self::Full(full)
    }
}

fn is_missing(dir: &Dir, name: &str) -> bool {
    dir.symlink_metadata(name).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// What is free once the name at a spot is gone, and what it is. A file with another name stays,
/// and so does one that is open.
fn weight(counting: &Counting<'_>, spot: &Spot<'_>) -> Option<(Id, Held)> {
    let found = spot.dir.symlink_metadata(spot.name()).ok()?;
    let id = Id::of(&found);
    let frees = match Kind::of(found.file_type()) {
        Kind::File => found.nlink() <= 1 && !counting.is_open(id),
        // A link may have several names too.
        Kind::Link => found.nlink() <= 1,
        _ => false,
    };
    Some((id, Held { bytes: if frees { found.len() } else { 0 }, files: 1 }))
}

/// Opens a file; without leaving a trace in its times where its root is for reading and it is ours.
fn open_untraced(
    root: &OpenRoot,
    dir: &Dir,
    name: &str,
    options: &mut OpenOptions,
    flags: OFlags,
) -> io::Result<std::fs::File> {
    if root.reads_untraced() {
        options.custom_flags((flags | OFlags::NOATIME).bits().cast_signed());
        match dir.open_with(name, options) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
                root.leaves_traces();
            }
            opened => return Ok(opened?.into_std()),
        }
    }
    options.custom_flags(flags.bits().cast_signed());
    Ok(dir.open_with(name, options)?.into_std())
}
