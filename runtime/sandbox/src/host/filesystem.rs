//! `wasi:filesystem` over `capability::fs`: handles, never paths of the host.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::ErrorKind,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use ringfence_capability::{
    cost,
    fs::{
        Acting, CHUNK, Entries, FileNode, Files, FsError, FsResult as CapabilityResult, Kind,
        NewTime, Node, OpenHow, Stat,
    },
};
use wasmtime::{Result, component::Resource};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, bindings::clocks::wall_clock::Datetime};

use super::streams::{self, FileInput, FileOutput};
use crate::{
    bindings::wasi::filesystem::{
        preopens,
        types::{
            self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
            ErrorCode, Filesize, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
        },
    },
    state::State,
};

/// An error that is the guest's to see, or a trap.
#[derive(Debug)]
pub(crate) enum Error {
    Code(ErrorCode),
    Trap(wasmtime::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code:?}"),
            Self::Trap(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {}

type FsResult<T> = std::result::Result<T, Error>;

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<wasmtime::component::ResourceTableError> for Error {
    fn from(error: wasmtime::component::ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<ringfence_capability::LimitReached> for Error {
    fn from(limit: ringfence_capability::LimitReached) -> Self {
        Self::Trap(limit.into())
    }
}

impl From<FsError> for Error {
    fn from(error: FsError) -> Self {
        match error {
            FsError::Limit(limit) => Self::Trap(limit.into()),
            FsError::Io(error) => Self::Code(code(&error)),
            FsError::Denied => Self::Code(ErrorCode::NotPermitted),
            FsError::ReadOnly => Self::Code(ErrorCode::ReadOnly),
            FsError::Full => Self::Code(ErrorCode::Quota),
            FsError::NotDirectory => Self::Code(ErrorCode::NotDirectory),
            FsError::IsDirectory => Self::Code(ErrorCode::IsDirectory),
            FsError::BadDescriptor => Self::Code(ErrorCode::BadDescriptor),
            FsError::CrossRoot => Self::Code(ErrorCode::CrossDevice),
            FsError::Invalid => Self::Code(ErrorCode::Invalid),
        }
    }
}

/// The operating system's error as WASI names it.
fn code(error: &std::io::Error) -> ErrorCode {
    use rustix::io::Errno;
    if let Some(number) = Errno::from_io_error(error) {
        let known = match number {
            Errno::ACCESS => ErrorCode::Access,
            Errno::AGAIN => ErrorCode::WouldBlock,
            Errno::ALREADY => ErrorCode::Already,
            Errno::BADF => ErrorCode::BadDescriptor,
            Errno::BUSY => ErrorCode::Busy,
            Errno::DEADLK => ErrorCode::Deadlock,
            Errno::DQUOT => ErrorCode::Quota,
            Errno::EXIST => ErrorCode::Exist,
            Errno::FBIG => ErrorCode::FileTooLarge,
            Errno::ILSEQ => ErrorCode::IllegalByteSequence,
            Errno::INPROGRESS => ErrorCode::InProgress,
            Errno::INTR => ErrorCode::Interrupted,
            Errno::INVAL => ErrorCode::Invalid,
            Errno::ISDIR => ErrorCode::IsDirectory,
            Errno::LOOP => ErrorCode::Loop,
            Errno::MLINK => ErrorCode::TooManyLinks,
            Errno::MSGSIZE => ErrorCode::MessageSize,
            Errno::NAMETOOLONG => ErrorCode::NameTooLong,
            Errno::NODEV => ErrorCode::NoDevice,
            Errno::NOENT => ErrorCode::NoEntry,
            Errno::NOLCK => ErrorCode::NoLock,
            Errno::NOMEM => ErrorCode::InsufficientMemory,
            Errno::NOSPC => ErrorCode::InsufficientSpace,
            Errno::NOTDIR => ErrorCode::NotDirectory,
            Errno::NOTEMPTY => ErrorCode::NotEmpty,
            Errno::NOTRECOVERABLE => ErrorCode::NotRecoverable,
            Errno::NOTTY => ErrorCode::NoTty,
            Errno::NXIO => ErrorCode::NoSuchDevice,
            Errno::OVERFLOW => ErrorCode::Overflow,
            Errno::PERM => ErrorCode::NotPermitted,
            Errno::PIPE => ErrorCode::Pipe,
            Errno::ROFS => ErrorCode::ReadOnly,
            Errno::SPIPE => ErrorCode::InvalidSeek,
            Errno::TXTBSY => ErrorCode::TextFileBusy,
            Errno::XDEV => ErrorCode::CrossDevice,
            Errno::NOSYS | Errno::OPNOTSUPP => ErrorCode::Unsupported,
            _ => ErrorCode::Io,
        };
        return known;
    }
    match error.kind() {
        ErrorKind::NotFound => ErrorCode::NoEntry,
        ErrorKind::PermissionDenied => ErrorCode::NotPermitted,
        ErrorKind::AlreadyExists => ErrorCode::Exist,
        ErrorKind::InvalidInput => ErrorCode::Invalid,
        ErrorKind::InvalidData => ErrorCode::IllegalByteSequence,
        _ => ErrorCode::Io,
    }
}

fn kind(kind: Kind) -> DescriptorType {
    match kind {
        Kind::File => DescriptorType::RegularFile,
        Kind::Directory => DescriptorType::Directory,
        Kind::Link => DescriptorType::SymbolicLink,
        Kind::Fifo => DescriptorType::Fifo,
        Kind::Socket => DescriptorType::Socket,
        Kind::CharacterDevice => DescriptorType::CharacterDevice,
        Kind::BlockDevice => DescriptorType::BlockDevice,
        Kind::Other => DescriptorType::Unknown,
    }
}

fn datetime(time: SystemTime) -> Option<Datetime> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(Datetime { seconds: since.as_secs(), nanoseconds: since.subsec_nanos() })
}

fn stat(stat: &Stat) -> DescriptorStat {
    DescriptorStat {
        type_: kind(stat.kind),
        link_count: stat.links,
        size: stat.size,
        data_access_timestamp: stat.accessed.and_then(datetime),
        data_modification_timestamp: stat.modified.and_then(datetime),
        status_change_timestamp: stat.changed.and_then(datetime),
    }
}

fn new_time(time: NewTimestamp) -> FsResult<NewTime> {
    Ok(match time {
        NewTimestamp::NoChange => NewTime::Keep,
        NewTimestamp::Now => NewTime::Now,
        NewTimestamp::Timestamp(time) => {
            let since = Duration::new(time.seconds, time.nanoseconds.min(999_999_999));
            NewTime::At(UNIX_EPOCH.checked_add(since).ok_or(ErrorCode::Invalid)?)
        }
    })
}

/// Two numbers that are equal for the same file and hardly for two; the inode itself is not shown.
fn metadata_hash(stat: &Stat) -> MetadataHashValue {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, stat.identity).hash(&mut hasher);
        hasher.finish()
    };
    MetadataHashValue { lower: half(0), upper: half(1) }
}

fn follow(flags: PathFlags) -> bool {
    flags.contains(PathFlags::SYMLINK_FOLLOW)
}

impl State {
    fn files(&self) -> FsResult<&Arc<Files>> {
        Ok(self.opened.as_ref().map(|opened| &opened.files).ok_or(ErrorCode::NotPermitted)?)
    }

    /// Does something with what a descriptor stands for. What comes back holds nothing of the state:
    /// the guest waits, and others may be polled.
    fn on<T: Send + 'static>(
        &self,
        node: &Resource<Node>,
        work: impl FnOnce(&Files, &Node) -> CapabilityResult<T> + Send + 'static,
    ) -> FsResult<Acting<T>> {
        Ok(self.files()?.on(self.node(node)?, work))
    }

    fn node(&self, node: &Resource<Node>) -> FsResult<&Node> {
        Ok(self.table.get(node)?)
    }

    fn file(&self, node: &Resource<Node>) -> FsResult<&FileNode> {
        self.meter.charge(cost::FILE_CALL)?;
        Ok(self.node(node)?.file()?)
    }

    fn writable(&self, node: &Resource<Node>) -> FsResult<&FileNode> {
        let file = self.file(node)?;
        self.files()?.check_write(file)?;
        Ok(file)
    }

    /// What is to be made durable, once it is paid for.
    fn to_sync(&self, node: &Resource<Node>) -> FsResult<Node> {
        self.meter.charge(cost::SYNC)?;
        Ok(self.node(node)?.clone())
    }
}

/// The one file call that may take long: the device decides.
async fn sync(node: Node, data_only: bool) -> FsResult<()> {
    if let Some(pool) = node.pool() {
        let of_job = node.clone();
        return Ok(pool.start(move || of_job.sync(data_only)).await?);
    }
    let synced = tokio::task::spawn_blocking(move || node.sync(data_only)).await;
    Ok(synced.map_err(|_| ErrorCode::Io)??)
}

impl preopens::Host for State {
    fn get_directories(&mut self) -> Result<Vec<(Resource<Node>, String)>> {
        let Some(opened) = &self.opened else { return Ok(vec![]) };
        let mut directories = Vec::new();
        for (node, path) in opened.files.preopens() {
            directories.push((self.table.push(node)?, path));
        }
        Ok(directories)
    }
}

impl types::Host for State {
    fn convert_error_code(&mut self, error: Error) -> Result<ErrorCode> {
        match error {
            Error::Code(code) => Ok(code),
            Error::Trap(error) => Err(error),
        }
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?;
        if let Some(FsError::Full) = error.downcast_ref::<FsError>() {
            return Ok(Some(ErrorCode::Quota));
        }
        Ok(error.downcast_ref::<std::io::Error>().map(code))
    }
}

impl types::HostDescriptor for State {
    fn read_via_stream(
        &mut self,
        node: Resource<Node>,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        let file = self.file(&node)?.clone();
        let stream: DynInputStream = Box::new(FileInput::new(file, offset, self.meter.clone()));
        Ok(self.table.push(stream)?)
    }

    fn write_via_stream(
        &mut self,
        node: Resource<Node>,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.output(&node, Some(offset))
    }

    fn append_via_stream(&mut self, node: Resource<Node>) -> FsResult<Resource<DynOutputStream>> {
        self.output(&node, None)
    }

    fn advise(
        &mut self,
        node: Resource<Node>,
        _: Filesize,
        _: Filesize,
        _: Advice,
    ) -> FsResult<()> {
        // Advice may be left alone; it is only checked that it is about a file.
        self.file(&node).map(|_| ())
    }

    async fn sync_data(&mut self, node: Resource<Node>) -> FsResult<()> {
        let node = self.to_sync(&node)?;
        sync(node, true).await
    }

    fn get_flags(&mut self, node: Resource<Node>) -> FsResult<DescriptorFlags> {
        let node = self.node(&node)?;
        let (read, write) = node.access();
        let mut flags = DescriptorFlags::empty();
        if read {
            flags |= DescriptorFlags::READ;
        }
        if write {
            flags |= match node {
                Node::File(_) => DescriptorFlags::WRITE,
                Node::Dir(_) | Node::Top => DescriptorFlags::MUTATE_DIRECTORY,
            };
        }
        Ok(flags)
    }

    fn get_type(&mut self, node: Resource<Node>) -> FsResult<DescriptorType> {
        Ok(match self.node(&node)? {
            Node::File(_) => DescriptorType::RegularFile,
            Node::Dir(_) | Node::Top => DescriptorType::Directory,
        })
    }

    async fn set_size(&mut self, node: Resource<Node>, size: Filesize) -> FsResult<()> {
        let file = self.writable(&node)?.clone();
        Ok(file.clone().on(move || file.set_size(size)).await?)
    }

    async fn set_times(
        &mut self,
        node: Resource<Node>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (new_time(accessed)?, new_time(modified)?);
        let acting = match self.node(&node)? {
            Node::File(_) => {
                let file = self.writable(&node)?.clone();
                file.clone().on(move || file.set_times(accessed, modified))
            }
            Node::Dir(_) | Node::Top => self.on(&node, move |files, at| {
                files.set_times_at(at, ".", false, accessed, modified)
            })?,
        };
        Ok(acting.await?)
    }

    async fn read(
        &mut self,
        node: Resource<Node>,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        let file = self.file(&node)?.clone();
        let bytes = streams::read(file, self.meter.clone(), length, offset).await?;
        let end = length > 0 && bytes.is_empty();
        Ok((bytes, end))
    }

    async fn write(
        &mut self,
        node: Resource<Node>,
        bytes: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        let file = self.writable(&node)?.clone();
        let mut bytes = Bytes::from(bytes);
        bytes.truncate(CHUNK as usize);
        Ok(streams::write(file, self.meter.clone(), bytes, Some(offset)).await?)
    }

    async fn read_directory(&mut self, node: Resource<Node>) -> FsResult<Resource<Entries>> {
        let entries = self.on(&node, Files::entries)?.await?;
        Ok(self.table.push(entries)?)
    }

    async fn sync(&mut self, node: Resource<Node>) -> FsResult<()> {
        let node = self.to_sync(&node)?;
        sync(node, false).await
    }

    async fn create_directory_at(&mut self, node: Resource<Node>, path: String) -> FsResult<()> {
        Ok(self.on(&node, move |files, at| files.create_dir(at, &path))?.await?)
    }

    async fn stat(&mut self, node: Resource<Node>) -> FsResult<DescriptorStat> {
        self.meter.charge(cost::FILE_CALL)?;
        Ok(stat(&self.on(&node, |_, node| node.stat())?.await?))
    }

    async fn stat_at(
        &mut self,
        node: Resource<Node>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        let found = self.on(&node, move |files, at| files.stat_at(at, &path, follow(flags)))?;
        Ok(stat(&found.await?))
    }

    async fn set_times_at(
        &mut self,
        node: Resource<Node>,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (new_time(accessed)?, new_time(modified)?);
        let set = self.on(&node, move |files, at| {
            files.set_times_at(at, &path, follow(flags), accessed, modified)
        })?;
        Ok(set.await?)
    }

    async fn link_at(
        &mut self,
        node: Resource<Node>,
        flags: PathFlags,
        old: String,
        to: Resource<Node>,
        new: String,
    ) -> FsResult<()> {
        if follow(flags) {
            return Err(ErrorCode::Invalid.into());
        }
        let to = self.node(&to)?.clone();
        Ok(self.on(&node, move |files, from| files.link(from, &old, &to, &new))?.await?)
    }

    async fn open_at(
        &mut self,
        node: Resource<Node>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Node>> {
        let synchronous = DescriptorFlags::FILE_INTEGRITY_SYNC
            | DescriptorFlags::DATA_INTEGRITY_SYNC
            | DescriptorFlags::REQUESTED_WRITE_SYNC;
        if flags.intersects(synchronous) {
            return Err(ErrorCode::Unsupported.into());
        }
        let how = OpenHow {
            follow: follow(path_flags),
            create: open_flags.contains(OpenFlags::CREATE),
            exclusive: open_flags.contains(OpenFlags::EXCLUSIVE),
            truncate: open_flags.contains(OpenFlags::TRUNCATE),
            directory: open_flags.contains(OpenFlags::DIRECTORY),
            read: flags.contains(DescriptorFlags::READ),
            write: flags.contains(DescriptorFlags::WRITE),
        };
        let opened = self.on(&node, move |files, at| files.open(at, &path, how))?.await?;
        Ok(self.table.push(opened)?)
    }

    async fn readlink_at(&mut self, node: Resource<Node>, path: String) -> FsResult<String> {
        Ok(self.on(&node, move |files, at| files.read_link(at, &path))?.await?)
    }

    async fn remove_directory_at(&mut self, node: Resource<Node>, path: String) -> FsResult<()> {
        Ok(self.on(&node, move |files, at| files.remove_dir(at, &path))?.await?)
    }

    async fn rename_at(
        &mut self,
        node: Resource<Node>,
        old: String,
        to: Resource<Node>,
        new: String,
    ) -> FsResult<()> {
        let to = self.node(&to)?.clone();
        Ok(self.on(&node, move |files, from| files.rename(from, &old, &to, &new))?.await?)
    }

    async fn symlink_at(
        &mut self,
        node: Resource<Node>,
        target: String,
        path: String,
    ) -> FsResult<()> {
        Ok(self.on(&node, move |files, at| files.symlink(at, &target, &path))?.await?)
    }

    async fn unlink_file_at(&mut self, node: Resource<Node>, path: String) -> FsResult<()> {
        Ok(self.on(&node, move |files, at| files.remove_file(at, &path))?.await?)
    }

    fn is_same_object(&mut self, a: Resource<Node>, b: Resource<Node>) -> Result<bool> {
        Ok(self.table.get(&a)?.identity() == self.table.get(&b)?.identity())
    }

    async fn metadata_hash(&mut self, node: Resource<Node>) -> FsResult<MetadataHashValue> {
        self.meter.charge(cost::FILE_CALL)?;
        Ok(metadata_hash(&self.on(&node, |_, node| node.stat())?.await?))
    }

    async fn metadata_hash_at(
        &mut self,
        node: Resource<Node>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        let found = self.on(&node, move |files, at| files.stat_at(at, &path, follow(flags)))?;
        Ok(metadata_hash(&found.await?))
    }

    fn drop(&mut self, node: Resource<Node>) -> Result<()> {
        self.table.delete(node)?;
        Ok(())
    }
}

impl State {
    fn output(
        &mut self,
        node: &Resource<Node>,
        offset: Option<u64>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let file = self.writable(node)?.clone();
        let stream: DynOutputStream = Box::new(FileOutput::new(file, offset, self.meter.clone()));
        Ok(self.table.push(stream)?)
    }
}

impl types::HostDirectoryEntryStream for State {
    async fn read_directory_entry(
        &mut self,
        entries: Resource<Entries>,
    ) -> FsResult<Option<DirectoryEntry>> {
        let entry = self.table.get(&entries)?.next().await?;
        Ok(entry.map(|entry| DirectoryEntry { type_: kind(entry.kind), name: entry.name }))
    }

    fn drop(&mut self, entries: Resource<Entries>) -> Result<()> {
        self.table.delete(entries)?;
        Ok(())
    }
}
