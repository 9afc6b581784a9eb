//! One act on a file, straight through `wasi:filesystem`: what a hostile guest would do, without a
//! library that resolves its paths first.

use ringfence_sdk::prelude::*;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};

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
        Act::Append => {
            let stream = writable()?.append_via_stream()?;
            stream.blocking_write_and_flush(args.text.as_bytes()).map_err(|_| ErrorCode::Io)?;
            Ok("done".to_owned())
        }
        Act::Create => {
            let how = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
            open(stay, how, DescriptorFlags::WRITE).map(|_| "done".to_owned())
        }
        Act::Truncate => {
            open(follow, OpenFlags::TRUNCATE, DescriptorFlags::WRITE).map(|_| "done".to_owned())
        }
        Act::SetSize => writable()?.set_size(1).map(done),
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
        Act::Sync => open(follow, OpenFlags::empty(), DescriptorFlags::READ)?.sync().map(done),
    }
}
