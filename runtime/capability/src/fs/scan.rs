//! What lies in a folder: its entries and the sizes of its files. A guest can build a tree of any
//! depth, so the walk holds one handle at a time and does not recurse.

use std::{
    collections::HashSet, ffi::OsString, io, os::fd::OwnedFd, os::unix::ffi::OsStringExt as _,
};

use rustix::{
    fd::AsFd,
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat},
    io::Errno,
};

use super::identity::Id;

/// How much lies in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The sizes of its files and the texts of its links; a file with several names counts once.
    pub bytes: u64,
    /// Its entries, those of folders below included; each name of a file counts.
    pub files: u64,
}

/// A folder that the walk is in.
struct Level {
    id: Id,
    /// Folders in it that are still to be entered.
    folders: Vec<OsString>,
}

/// Counts what lies in a folder. `skip` says what is the host's own and does not count.
pub(super) fn scan(top: impl AsFd, skip: impl Fn(Id, &str) -> bool) -> io::Result<Held> {
    let mut held = Held::default();
    let mut seen = HashSet::new();
    let mut at = enter(top, ".".into())?;
    let mut levels = vec![level(&at, &mut held, &mut seen, &skip)?];
    while let Some(Level { folders, .. }) = levels.last_mut() {
        if let Some(name) = folders.pop() {
            match enter(&at, name) {
                Ok(below) => {
                    at = below;
                    levels.push(level(&at, &mut held, &mut seen, &skip)?);
                }
                // Removed meanwhile, or not for this process to read, and so not for a tool.
                Err(error) if is_nothing(&error) => {}
                Err(error) => return Err(error),
            }
            continue;
        }
        levels.pop();
        if let Some(above) = levels.last() {
            at = enter(&at, "..".into())?;
            if Id::of_handle(&at)? != above.id {
                // The host moved it: the walk would count what lies elsewhere.
                return Err(Errno::AGAIN.into());
            }
        }
    }
    Ok(held)
}

fn enter(dir: impl AsFd, name: OsString) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(&dir, &name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => Ok(openat(&dir, &name, flags, Mode::empty())?),
        opened => Ok(opened?),
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

/// Counts the entries of one folder.
fn level(
    dir: &OwnedFd,
    held: &mut Held,
    seen: &mut HashSet<Id>,
    skip: &impl Fn(Id, &str) -> bool,
) -> io::Result<Level> {
    let mut folders = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        let id = Id { device: stat.st_dev, inode: stat.st_ino };
        if skip(id, &name.to_string_lossy()) {
            continue;
        }
        held.files += 1;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => folders.push(OsString::from_vec(name.to_bytes().to_vec())),
            FileType::RegularFile | FileType::Symlink if stat.st_nlink <= 1 || seen.insert(id) => {
                held.bytes = held.bytes.saturating_add(size(&stat));
            }
            _ => {}
        }
    }
    Ok(Level { id: Id::of_handle(dir)?, folders })
}

/// A size is never negative, whatever the type says.
fn size(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_tree_is_counted_by_its_names_and_its_files() {
        let top = tempfile::tempdir().unwrap();
        let at = |path: &str| top.path().join(path);
        fs::create_dir_all(at("a/b/c")).unwrap();
        fs::write(at("a/x"), "12345").unwrap();
        fs::hard_link(at("a/x"), at("a/b/y")).unwrap();
        std::os::unix::fs::symlink("xyz", at("link")).unwrap();
        fs::File::create(at("sparse")).unwrap().set_len(1 << 40).unwrap();
        let dir = fs::File::open(top.path()).unwrap();
        let held = scan(&dir, |_, _| false).unwrap();
        assert_eq!(held, Held { bytes: 5 + 3 + (1 << 40), files: 7 });
        let held = scan(&dir, |_, name| name == "a" || name == "sparse").unwrap();
        assert_eq!(held, Held { bytes: 3, files: 1 });
    }

    /// A tree so deep that no path reaches its end.
    #[test]
    fn a_deep_tree_holds_one_handle() {
        let top = tempfile::tempdir().unwrap();
        let mut at = OwnedFd::from(fs::File::open(top.path()).unwrap());
        for _ in 0..5_000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = enter(&at, "d".into()).unwrap();
        }
        let dir = fs::File::open(top.path()).unwrap();
        assert_eq!(scan(&dir, |_, _| false).unwrap(), Held { bytes: 0, files: 5_000 });
        super::super::removal::remove_tree(top.path()).unwrap();
        assert!(!top.path().exists());
    }
}
