//! Removing a tree that a guest built. It can be of any depth, so nothing recurses: what lies deep
//! is first moved up, and so nothing ever lies deeper than two folders.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt as _},
    path::Path,
};

use rustix::{
    fd::AsFd,
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, renameat, unlinkat},
    io::Errno,
};

/// Removes a folder and all that lies in it. What is not there is removed.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let top = match open(CWD, path.as_os_str()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    // Names that the guest gave are not met again: each folder that is moved up gets a number that
    // no entry has, or the next one.
    let mut number = 0_u64;
    loop {
        let folders = empty_of_files(&top)?;
        if folders.is_empty() {
            break;
        }
        for folder in folders {
            let dir = open(&top, &folder)?;
            for inner in empty_of_files(&dir)? {
                loop {
                    let name = format!("removed-{number}");
                    number += 1;
                    match rustix::fs::statat(&top, &name, AtFlags::SYMLINK_NOFOLLOW) {
                        Err(Errno::NOENT) => {
                            renameat(&dir, &inner, &top, &name)?;
                            break;
                        }
                        taken => taken.map(drop)?,
                    }
                }
            }
            unlinkat(&top, &folder, AtFlags::REMOVEDIR)?;
        }
    }
    match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        removed => Ok(removed?),
    }
}

fn open(dir: impl AsFd, name: &std::ffi::OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

/// Removes the files of a folder; says which folders are left.
fn empty_of_files(dir: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut folders = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        if kind == FileType::Directory {
            folders.push(OsString::from_vec(name.to_bytes().to_vec()));
        } else {
            unlinkat(dir, name, AtFlags::empty())?;
        }
    }
    Ok(folders)
}
