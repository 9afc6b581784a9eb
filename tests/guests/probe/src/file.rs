//! One act on a file, straight through `wasi:filesystem`: what a hostile guest would do, without a
//! library that resolves its paths first.

use ringfence_sdk::prelude::*;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
    filesystem_error_code,
};
use wasip2::io::streams::{OutputStream, StreamError};

#[derive(Deserialize, JsonSchema)]
pub(crate) struct File {
    act: Act,
    /// The preopened directory to start from.
    #[serde(default = "workspace")]
    root: String,
    /// Taken as it is.
    path: String,
    /// The other end of a link or a move.
    #[serde(default = "workspace")]
    to_root: String,
    #[serde(default)]
    to: String,
    #[serde(default)]
    text: String,
    /// A size in bytes, or how often.
    #[serde(default = "one")]
    size: u64,
}

fn one() -> u64 {
    1
}

fn workspace() -> String {
    "/workspace".to_owned()
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Act {
    Read,
    ReadNoFollow,
    Stat,
    StatNoFollow,
    List,
    ReadLink,
    Hash,
    Write,
    Append,
    WriteStream,
    Create,
    Truncate,
    SetSize,
    SetTimes,
    SetTimesOpen,
    MakeFolder,
    RemoveFolder,
    RemoveFile,
    Link,
    SymbolicLink,
    Rename,
    Sync,
    /// Counts the entries of a folder.
    Count,
    /// Removes each file of a folder as it is met.
    Empty,
    /// Opens a file over and over and closes none.
    Hoard,
    /// Makes folders, each in the one before.
    Dig,
    /// Makes files until there is no room.
    Fill,
    /// Writes a file, removes it while it is open, and writes another before and after it is closed.
    Orphan,
    /// Holds a folder open and tries over and over to get out of it.
    Climb,
}

/// Does the act and says what came of it, or the error's code.
#[tool(effect = "unsafe")]
pub(crate) fn file(args: File) -> String {
    match act(&args) {
        Ok(said) => said,
        Err(code) => format!("error: {}", code.name()),
    }
}

pub(crate) fn root(name: &str) -> Result<Descriptor, ErrorCode> {
    let found = get_directories().into_iter().find(|(_, path)| path == name);
    found.map(|(root, _)| root).ok_or(ErrorCode::BadDescriptor)
}

fn act(args: &File) -> Result<String, ErrorCode> {
    let root = root(&args.root)?;
    let path = args.path.as_str();
    let follow = PathFlags::SYMLINK_FOLLOW;
    let stay = PathFlags::empty();
    let done = |()| "done".to_owned();
    let open = |flags, how, access| root.open_at(flags, path, how, access);
    let writable = || open(follow, OpenFlags::empty(), DescriptorFlags::WRITE);
    match args.act {
        Act::Read | Act::ReadNoFollow => {
            let flags = if matches!(args.act, Act::Read) { follow } else { stay };
            let file = open(flags, OpenFlags::empty(), DescriptorFlags::READ)?;
            let (bytes, _) = file.read(1 << 16, 0)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        Act::Stat | Act::StatNoFollow => {
            let flags = if matches!(args.act, Act::Stat) { follow } else { stay };
            let stat = root.stat_at(flags, path)?;
            Ok(format!("{:?} {}", stat.type_, stat.size))
        }
        Act::List => {
            let folder = open(follow, OpenFlags::DIRECTORY, DescriptorFlags::READ)?;
            let entries = folder.read_directory()?;
            let mut names = Vec::new();
            while let Some(entry) = entries.read_directory_entry()? {
                names.push(entry.name);
            }
            names.sort();
            Ok(names.join(","))
        }
        Act::ReadLink => root.readlink_at(path),
        Act::Hash => root.metadata_hash_at(follow, path).map(|hash| format!("{hash:?}")),
        Act::Write => {
            let file = open(follow, OpenFlags::CREATE, DescriptorFlags::WRITE)?;
            file.write(args.text.as_bytes(), 0).map(|count| format!("wrote {count}"))
        }
        Act::Append => stream(&writable()?.append_via_stream()?, &args.text),
        Act::WriteStream => stream(&writable()?.write_via_stream(args.size)?, &args.text),
        Act::Create => {
            let how = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
            open(stay, how, DescriptorFlags::WRITE).map(|_| "done".to_owned())
        }
        Act::Truncate => {
            open(follow, OpenFlags::TRUNCATE, DescriptorFlags::WRITE).map(|_| "done".to_owned())
        }
        Act::SetSize => writable()?.set_size(args.size).map(done),
        Act::SetTimes => {
            root.set_times_at(follow, path, NewTimestamp::Now, NewTimestamp::Now).map(done)
        }
        Act::SetTimesOpen => {
            // Through a handle that was opened for reading: CVE-2026-47261.
            let file = open(follow, OpenFlags::empty(), DescriptorFlags::READ)?;
            file.set_times(NewTimestamp::Now, NewTimestamp::Now).map(done)
        }
        Act::MakeFolder => root.create_directory_at(path).map(done),
        Act::RemoveFolder => root.remove_directory_at(path).map(done),
        Act::RemoveFile => root.unlink_file_at(path).map(done),
        Act::Link => root.link_at(stay, path, &self::root(&args.to_root)?, &args.to).map(done),
        Act::SymbolicLink => root.symlink_at(&args.to, path).map(done),
        Act::Rename => root.rename_at(path, &self::root(&args.to_root)?, &args.to).map(done),
        Act::Count | Act::Empty => {
            let folder = open(follow, OpenFlags::DIRECTORY, DescriptorFlags::READ)?;
            let entries = folder.read_directory()?;
            let mut met = 0;
            while let Some(entry) = entries.read_directory_entry()? {
                if matches!(args.act, Act::Empty) {
                    folder.unlink_file_at(&entry.name)?;
                }
                met += 1;
            }
            Ok(met.to_string())
        }
        Act::Hoard => {
            let mut held = Vec::new();
            while (held.len() as u64) < args.size {
                match open(stay, OpenFlags::empty(), DescriptorFlags::READ) {
                    Ok(file) => held.push(file),
                    Err(code) => return Ok(format!("{}, then {}", held.len(), code.name())),
                }
            }
            Ok(held.len().to_string())
        }
        Act::Dig => {
            let mut at = open(follow, OpenFlags::DIRECTORY, DescriptorFlags::READ)?;
            for _ in 0..args.size {
                at.create_directory_at("deeper")?;
                at = at.open_at(stay, "deeper", OpenFlags::DIRECTORY, DescriptorFlags::READ)?;
            }
            Ok("done".to_owned())
        }
        Act::Fill => {
            let how = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
            for made in 0..args.size {
                let name = format!("{path}/{made}");
                if let Err(code) = root.open_at(stay, &name, how, DescriptorFlags::WRITE) {
                    return Ok(format!("{made}, then {}", code.name()));
                }
            }
            Ok(args.size.to_string())
        }
        Act::Orphan => {
            let how = OpenFlags::CREATE;
            let file = open(stay, how, DescriptorFlags::WRITE)?;
            file.write(args.text.as_bytes(), 0)?;
            root.unlink_file_at(path)?;
            let other = root.open_at(stay, "other", how, DescriptorFlags::WRITE)?;
            let full = match other.write(args.text.as_bytes(), 0) {
                Ok(_) => "done",
                Err(code) => code.name(),
            };
            let full = full.to_owned();
            drop(file);
            other.write(args.text.as_bytes(), 0)?;
            Ok(format!("{full}, then done"))
        }
        Act::Climb => {
            let folder = open(follow, OpenFlags::DIRECTORY, DescriptorFlags::READ)?;
            for _ in 0..args.size {
                let from_root = format!("{path}/../{}", args.to);
                for (from, to) in [(&root, &from_root), (&folder, &format!("../{}", args.to))] {
                    let reading = DescriptorFlags::READ;
                    if let Ok(file) = from.open_at(follow, to, OpenFlags::empty(), reading) {
                        let (bytes, _) = file.read(1 << 16, 0)?;
                        return Ok(String::from_utf8_lossy(&bytes).into_owned());
                    }
                }
            }
            Ok("never".to_owned())
        }
        Act::Sync => open(follow, OpenFlags::empty(), DescriptorFlags::READ)?.sync().map(done),
    }
}

/// Writes through a stream; what its error stands for in the file system is the code.
fn stream(stream: &OutputStream, text: &str) -> Result<String, ErrorCode> {
    match stream.blocking_write_and_flush(text.as_bytes()) {
        Ok(()) => Ok("done".to_owned()),
        Err(StreamError::Closed) => Err(ErrorCode::Pipe),
        Err(StreamError::LastOperationFailed(error)) => {
            Err(filesystem_error_code(&error).unwrap_or(ErrorCode::Io))
        }
    }
}
