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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// What a link of a guest's leads to is not the guest's.
    #[test]
    fn what_a_link_leads_to_stays() {
        let top = tempfile::tempdir().unwrap();
        let at = |path: &str| top.path().join(path);
        fs::create_dir_all(at("kept/below")).unwrap();
        fs::write(at("kept/below/a"), "text").unwrap();
        fs::create_dir_all(at("tree/deep/removed-0/er")).unwrap();
        for folder in ["tree", "tree/deep", "tree/deep/removed-0/er"] {
            symlink(at("kept"), at(folder).join("folder")).unwrap();
            symlink(at("kept/below/a"), at(folder).join("file")).unwrap();
            fs::hard_link(at("kept/below/a"), at(folder).join("name")).unwrap();
        }
        symlink(at("tree"), at("way")).unwrap();
        assert!(remove_tree(&at("way")).is_err(), "not even its own last name");
        remove_tree(&at("tree")).unwrap();
        remove_tree(&at("tree")).unwrap();
        assert!(!at("tree").exists());
        assert_eq!(fs::read_to_string(at("kept/below/a")).unwrap(), "text");
    }
}
