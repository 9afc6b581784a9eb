//! `wasi:filesystem` over `capability::fs`: handles, never paths of the host.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::ErrorKind,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ringfence_capability::{
    cost,
    fs::{CHUNK, Entries, FileNode, Files, FsError, Kind, NewTime, Node, OpenHow, Stat},
};
use wasmtime::{Result, component::Resource};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, bindings::clocks::wall_clock::Datetime};

use super::streams::{FileInput, FileOutput};
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
    fn files(&self) -> FsResult<&Files> {
        Ok(self.opened.as_ref().map(|opened| &opened.files).ok_or(ErrorCode::NotPermitted)?)
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

    fn set_size(&mut self, node: Resource<Node>, size: Filesize) -> FsResult<()> {
        Ok(self.writable(&node)?.set_size(size)?)
    }

    fn set_times(
        &mut self,
        node: Resource<Node>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (new_time(accessed)?, new_time(modified)?);
        if let Node::Dir(_) | Node::Top = self.node(&node)? {
            let at = self.node(&node)?;
            return Ok(self.files()?.set_times_at(at, ".", false, accessed, modified)?);
        }
        Ok(self.writable(&node)?.set_times(accessed, modified)?)
    }

    fn read(
        &mut self,
        node: Resource<Node>,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        let file = self.file(&node)?;
        let wanted = length.min(CHUNK).min(file.left(offset)?);
        self.meter.read(wanted)?;
        let bytes = file.read_at(wanted, offset)?;
        let end = length > 0 && bytes.is_empty();
        Ok((bytes, end))
    }

    fn write(
        &mut self,
        node: Resource<Node>,
        bytes: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        let file = self.writable(&node)?;
        let bytes = &bytes[..bytes.len().min(CHUNK as usize)];
        self.meter.write(bytes.len() as u64)?;
        Ok(file.write_at(bytes, offset)?)
    }

    fn read_directory(&mut self, node: Resource<Node>) -> FsResult<Resource<Entries>> {
        let entries = self.files()?.entries(self.node(&node)?)?;
        Ok(self.table.push(entries)?)
    }

    async fn sync(&mut self, node: Resource<Node>) -> FsResult<()> {
        let node = self.to_sync(&node)?;
        sync(node, false).await
    }

    fn create_directory_at(&mut self, node: Resource<Node>, path: String) -> FsResult<()> {
        Ok(self.files()?.create_dir(self.node(&node)?, &path)?)
    }

    fn stat(&mut self, node: Resource<Node>) -> FsResult<DescriptorStat> {
        self.meter.charge(cost::FILE_CALL)?;
        Ok(stat(&self.node(&node)?.stat()?))
    }

    fn stat_at(
        &mut self,
        node: Resource<Node>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        Ok(stat(&self.files()?.stat_at(self.node(&node)?, &path, follow(flags))?))
    }

    fn set_times_at(
        &mut self,
        node: Resource<Node>,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (new_time(accessed)?, new_time(modified)?);
        let node = self.node(&node)?;
        Ok(self.files()?.set_times_at(node, &path, follow(flags), accessed, modified)?)
    }

    fn link_at(
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
        Ok(self.files()?.link(self.node(&node)?, &old, self.node(&to)?, &new)?)
    }

    fn open_at(
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
        let opened = self.files()?.open(self.node(&node)?, &path, how)?;
        Ok(self.table.push(opened)?)
    }

    fn readlink_at(&mut self, node: Resource<Node>, path: String) -> FsResult<String> {
        Ok(self.files()?.read_link(self.node(&node)?, &path)?)
    }

    fn remove_directory_at(&mut self, node: Resource<Node>, path: String) -> FsResult<()> {
        Ok(self.files()?.remove_dir(self.node(&node)?, &path)?)
    }

    fn rename_at(
        &mut self,
        node: Resource<Node>,
        old: String,
        to: Resource<Node>,
        new: String,
    ) -> FsResult<()> {
        Ok(self.files()?.rename(self.node(&node)?, &old, self.node(&to)?, &new)?)
    }

    fn symlink_at(&mut self, node: Resource<Node>, target: String, path: String) -> FsResult<()> {
        Ok(self.files()?.symlink(self.node(&node)?, &target, &path)?)
    }

    fn unlink_file_at(&mut self, node: Resource<Node>, path: String) -> FsResult<()> {
        Ok(self.files()?.remove_file(self.node(&node)?, &path)?)
    }

    fn is_same_object(&mut self, a: Resource<Node>, b: Resource<Node>) -> Result<bool> {
        let identity = |node: &Resource<Node>| -> Result<_> {
            Ok(self.table.get(node)?.stat().ok().map(|stat| stat.identity))
        };
        let (a, b) = (identity(&a)?, identity(&b)?);
        Ok(a.is_some() && a == b)
    }

    fn metadata_hash(&mut self, node: Resource<Node>) -> FsResult<MetadataHashValue> {
        self.meter.charge(cost::FILE_CALL)?;
        Ok(metadata_hash(&self.node(&node)?.stat()?))
    }

    fn metadata_hash_at(
        &mut self,
        node: Resource<Node>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        let stat = self.files()?.stat_at(self.node(&node)?, &path, follow(flags))?;
        Ok(metadata_hash(&stat))
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
        let stream: DynOutputStream =
            Box::new(FileOutput { file, offset, meter: self.meter.clone() });
        Ok(self.table.push(stream)?)
    }
}

impl types::HostDirectoryEntryStream for State {
    fn read_directory_entry(
        &mut self,
        entries: Resource<Entries>,
    ) -> FsResult<Option<DirectoryEntry>> {
        let entry = self.table.get_mut(&entries)?.next_entry()?;
        Ok(entry.map(|entry| DirectoryEntry { type_: kind(entry.kind), name: entry.name }))
    }

    fn drop(&mut self, entries: Resource<Entries>) -> Result<()> {
        self.table.delete(entries)?;
        Ok(())
    }
}
