//! What a guest's descriptor stands for.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use cap_std::fs::{Dir, FileTypeExt as _, Metadata, MetadataExt as _};
use ringfence_event::Access;

use super::{
    Acting, CHUNK, FsError, FsResult, Held, NewTime, OpenRoot, Pool, identity::Id, quota::Slot,
};

/// `/` is no file of the host's.
const TOP: (u64, u64) = (0, 0);

/// How much of a guest's path is kept: as much as a denial shows of it.
const SHOWN: usize = 1024;

/// A descriptor.
#[derive(Clone, Debug)]
pub enum Node {
    /// `/`: holds the roots and nothing else.
    Top,
    /// A directory of a root.
    Dir(DirNode),
    /// A regular file.
    File(FileNode),
}

impl Node {
    /// The file behind it.
    pub fn file(&self) -> FsResult<&FileNode> {
        match self {
            Self::File(file) => Ok(file),
            Self::Dir(_) | Self::Top => Err(FsError::IsDirectory),
        }
    }

    /// The threads on which everything with it is done, if its file system may not answer.
    #[must_use]
    pub fn pool(&self) -> Option<&Pool> {
        match self {
            Self::Top => None,
            Self::Dir(node) => node.root.pool(),
            Self::File(node) => node.pool(),
        }
    }

    /// Which file it is: device and inode. Compared, never shown.
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        let id = match self {
            Self::Top => return TOP,
            Self::Dir(node) => node.id,
            Self::File(node) => node.open.id,
        };
        (id.device, id.inode)
    }

    /// What it is, and its size and times.
    pub fn stat(&self) -> FsResult<Stat> {
        match self {
            Self::Top => Ok(Stat::top()),
            Self::Dir(node) => Ok(Stat::of(&node.dir.dir_metadata()?)),
            Self::File(node) => Ok(Stat::of(&Metadata::from_file(node.open.file()?)?)),
        }
    }

    /// How far it may be used: reading, writing.
    #[must_use]
    pub fn access(&self) -> (bool, bool) {
        match self {
            Self::Top => (true, false),
            Self::Dir(node) => (true, node.root.access() >= Access::Write),
            Self::File(node) => (node.read, node.write),
        }
    }

    /// Flushes it to the device.
    pub fn sync(&self, data_only: bool) -> FsResult<()> {
        match self {
            Self::Top => Ok(()),
            Self::Dir(node) => Ok(rustix::fs::fsync(&*node.dir).map_err(io::Error::from)?),
            Self::File(node) if data_only => Ok(node.open.file()?.sync_data()?),
            Self::File(node) => Ok(node.open.file()?.sync_all()?),
        }
    }
}

/// A directory beneath a root.
#[derive(Clone, Debug)]
pub struct DirNode {
    root: Arc<OpenRoot>,
    dir: Arc<Dir>,
    id: Id,
    /// Its place among the open handles; the root itself has none.
    _slot: Option<Arc<Slot>>,
    /// How the guest came here, for denials; resolved by nobody.
    path: Arc<str>,
}

impl DirNode {
    pub(super) fn of_root(root: Arc<OpenRoot>) -> Self {
        let path = format!("/{}", root.name()).into();
        Self { dir: root.dir().clone(), id: root.id(), _slot: None, root, path }
    }

    pub(super) fn child(&self, path: &str, (file, id): (File, Id), slot: Slot) -> Self {
        Self {
            root: self.root.clone(),
            dir: Arc::new(Dir::from_std_file(file)),
            id,
            _slot: Some(Arc::new(slot)),
            path: self.path_of(path).into(),
        }
    }

    pub(super) fn root(&self) -> &Arc<OpenRoot> {
        &self.root
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The guest's path of what lies at `path` below. It grows with each directory that is opened
    /// below another, so it is cut: it serves denials only, and nothing is resolved by it.
    pub(super) fn path_of(&self, path: &str) -> String {
        if self.path.len() >= SHOWN {
            return self.path.to_string();
        }
        let end = (0..=path.len().min(SHOWN)).rev().find(|end| path.is_char_boundary(*end));
        format!("{}/{}", self.path, &path[..end.unwrap_or(0)])
    }
}

/// An open regular file.
#[derive(Clone, Debug)]
pub struct FileNode {
    open: Arc<OpenFile>,
    path: Arc<str>,
    read: bool,
    write: bool,
}

/// The handle, however many streams share it.
#[derive(Debug)]
pub(super) struct OpenFile {
    root: Arc<OpenRoot>,
    id: Id,
    /// What its length was when it was last asked for. It may be another by now.
    length: AtomicU64,
    /// Until it is dropped. With its place among the open handles.
    held: Option<(File, Slot)>,
}

impl OpenFile {
    pub(super) fn new(root: Arc<OpenRoot>, file: File, id: Id, length: u64, slot: Slot) -> Self {
        Self { root, id, length: AtomicU64::new(length), held: Some((file, slot)) }
    }

    fn file(&self) -> FsResult<&File> {
        self.held.as_ref().map(|(file, _)| file).ok_or(FsError::BadDescriptor)
    }

    /// How long it is now.
    fn length(&self) -> FsResult<u64> {
        let length = self.file()?.metadata()?.len();
        self.length.store(length, Relaxed);
        Ok(length)
    }
}

/// Writes behind the end as it is then, which the kernel keeps others from moving meanwhile.
fn append_all(file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let whole = [io::IoSlice::new(bytes)];
        match rustix::io::pwritev2(file, &whole, 0, rustix::io::ReadWriteFlags::APPEND) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        match self.root.pool() {
            None => close(&self.root, self.id, held),
            // Closing may wait for what was written to arrive.
            Some(pool) => {
                let (root, id) = (self.root.clone(), self.id);
                pool.later(move || close(&root, id, held));
            }
        }
    }
}

fn close(root: &OpenRoot, id: Id, (file, _slot): (File, Slot)) {
    let Some(budget) = root.budget() else { return };
    let mut counting = budget.lock();
    // With its last handle goes what had lost its last name before.
    if counting.closed(id)
        && let Ok(metadata) = Metadata::from_file(&file)
        && metadata.nlink() == 0
    {
        counting.give_back(Held { bytes: metadata.len(), files: 0 });
    }
}

impl FileNode {
    pub(super) fn new(path: String, open: OpenFile, (read, write): (bool, bool)) -> Self {
        Self { open: Arc::new(open), path: path.into(), read, write }
    }

    pub(super) fn root(&self) -> &OpenRoot {
        &self.open.root
    }

    /// Does something with it: here and now where its file system answers at once, on the root's own
    /// threads where it may not.
    pub fn on<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> FsResult<T> + Send + 'static,
    ) -> Acting<T> {
        match self.pool() {
            None => Acting::done(work()),
            Some(pool) => pool.start(work),
        }
    }

    /// The threads on which everything with it is done, if its file system may not answer.
    #[must_use]
    pub fn pool(&self) -> Option<&Pool> {
        self.open.root.pool()
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn may_write(&self) -> bool {
        self.write
    }

    /// How many bytes there are from `offset` on: what a read is charged for, and no more. Where
    /// the file was known to have some, it is not asked again; if it was cut since, the read says so.
    pub fn left(&self, offset: u64) -> FsResult<u64> {
        match self.open.length.load(Relaxed).saturating_sub(offset) {
            0 => Ok(self.open.length()?.saturating_sub(offset)),
            left => Ok(left),
        }
    }

    /// Reads up to `length` bytes, at most [`CHUNK`], from `offset`. Empty: the end.
    pub fn read_at(&self, length: u64, offset: u64) -> FsResult<Vec<u8>> {
        if !self.read {
            return Err(FsError::BadDescriptor);
        }
        let file = self.open.file()?;
        let length = usize::try_from(length.min(CHUNK)).unwrap_or(0);
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            let position = offset.saturating_add(filled as u64);
            match file.read_at(&mut bytes[filled..], position) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if filled < length {
            self.open.length()?;
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Writes at most [`CHUNK`] bytes at `offset`; says how many.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> FsResult<u64> {
        let bytes = &bytes[..bytes.len().min(CHUNK as usize)];
        self.write(bytes, Some(offset))
    }

    /// Writes at most [`CHUNK`] bytes at the end; says how many.
    pub fn append(&self, bytes: &[u8]) -> FsResult<u64> {
        let bytes = &bytes[..bytes.len().min(CHUNK as usize)];
        self.write(bytes, None)
    }

    /// Writes at this place, or behind everything that is there when it is written: other calls may
    /// append at the same time. What makes the file longer is counted first.
    fn write(&self, bytes: &[u8], place: Option<u64>) -> FsResult<u64> {
        if bytes.is_empty() {
            // Nothing written makes no file longer, wherever it is not written.
            return Ok(0);
        }
        let file = self.open.file()?;
        let mut counting = self.root().budget().map(super::Budget::lock);
        let length = self.open.length()?;
        let offset = place.unwrap_or(length);
        let end = offset.checked_add(bytes.len() as u64);
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let more = Held { bytes: end.saturating_sub(length), files: 0 };
        if let Some(counting) = &mut counting {
            counting.reserve(more).map_err(|full| self.full(full))?;
        }
        let written = match place {
            Some(offset) => file.write_all_at(bytes, offset),
            None => append_all(file, bytes),
        };
        if let (Err(_), Some(counting)) = (&written, &mut counting) {
            // Some of it may have been written.
            let now = self.open.length().unwrap_or(end);
            counting.give_back(Held { bytes: end.saturating_sub(now.max(length)), files: 0 });
        }
        written?;
        self.open.length.store(end.max(length), Relaxed);
        Ok(bytes.len() as u64)
    }

    /// Cuts or extends it. What is not written takes no room on the device and counts all the same:
    /// it can be written later.
    pub fn set_size(&self, size: u64) -> FsResult<()> {
        let file = self.open.file()?;
        let Some(budget) = self.root().budget() else {
            file.set_len(size)?;
            self.open.length.store(size, Relaxed);
            return Ok(());
        };
        let mut counting = budget.lock();
        let length = self.open.length()?;
        let more = Held { bytes: size.saturating_sub(length), files: 0 };
        counting.reserve(more).map_err(|full| self.full(full))?;
        let set = file.set_len(size);
        self.open.length.store(if set.is_ok() { size } else { length }, Relaxed);
        counting.give_back(match set {
            Ok(()) => Held { bytes: length.saturating_sub(size), files: 0 },
            Err(_) => more,
        });
        Ok(set?)
    }

    fn full(&self, full: ringfence_policy::Full) -> FsError {
        self.root().full(&self.path, Access::Write, full)
    }

    /// Sets its times.
    pub fn set_times(&self, accessed: NewTime, modified: NewTime) -> FsResult<()> {
        let mut times = std::fs::FileTimes::new();
        let now = SystemTime::now();
        let at = |time| match time {
            NewTime::Keep => None,
            NewTime::Now => Some(now),
            NewTime::At(time) => Some(time),
        };
        if let Some(time) = at(accessed) {
            times = times.set_accessed(time);
        }
        if let Some(time) = at(modified) {
            times = times.set_modified(time);
        }
        Ok(self.open.file()?.set_times(times)?)
    }
}

/// What kind of thing a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// Anything else.
    Other,
}

impl Kind {
    pub(super) fn of_entry(kind: rustix::fs::FileType) -> Self {
        use rustix::fs::FileType;
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Link,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharacterDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Unknown => Self::Other,
        }
    }

    pub(super) fn of(kind: cap_std::fs::FileType) -> Self {
        if kind.is_file() {
            Self::File
        } else if kind.is_dir() {
            Self::Directory
        } else if kind.is_symlink() {
            Self::Link
        } else if kind.is_fifo() {
            Self::Fifo
        } else if kind.is_socket() {
            Self::Socket
        } else if kind.is_char_device() {
            Self::CharacterDevice
        } else if kind.is_block_device() {
            Self::BlockDevice
        } else {
            Self::Other
        }
    }
}

/// What is known about a file without opening it.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
    /// How many names it has.
    pub links: u64,
    /// When it was last looked at.
    pub accessed: Option<SystemTime>,
    /// When its bytes last changed.
    pub modified: Option<SystemTime>,
    /// When its bytes, name or rights last changed.
    pub changed: Option<SystemTime>,
    /// Which file it is: device and inode. Compared and hashed, never shown.
    pub identity: (u64, u64),
}

impl Stat {
    pub(super) fn top() -> Self {
        Self {
            kind: Kind::Directory,
            size: 0,
            links: 1,
            accessed: None,
            modified: None,
            changed: None,
            identity: TOP,
        }
    }

    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            kind: Kind::of(metadata.file_type()),
            size: metadata.len(),
            links: metadata.nlink(),
            accessed: metadata.accessed().ok().map(cap_std::time::SystemTime::into_std),
            modified: metadata.modified().ok().map(cap_std::time::SystemTime::into_std),
            changed: since_epoch(metadata.ctime(), metadata.ctime_nsec()),
            identity: (metadata.dev(), metadata.ino()),
        }
    }
}

fn since_epoch(seconds: i64, nanoseconds: i64) -> Option<SystemTime> {
    let seconds = u64::try_from(seconds).ok()?;
    let nanoseconds = u32::try_from(nanoseconds).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::new(seconds, nanoseconds))
}
