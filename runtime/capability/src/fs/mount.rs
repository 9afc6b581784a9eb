//! What kind of file system a root lies on, and which ones are mounted below it: files of the
//! kernel's own are no root, and what may wait for a network or another program is not done in
//! place.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, fstatfs};

use super::identity::{Id, step};

/// Folders that are the kernel's, and what they are called.
const PLACES: [&str; 3] = ["/proc", "/sys", "/dev"];

/// File systems whose files are switches and windows of the kernel.
const SPECIAL: [(&str, u64); 23] = [
    ("proc", 0x9fa0),
    ("sysfs", 0x6265_6572),
    ("devpts", 0x1cd1),
    ("cgroup", 0x27_e0eb),
    ("cgroup2", 0x6367_7270),
    ("debugfs", 0x6462_6720),
    ("tracefs", 0x7472_6163),
    ("securityfs", 0x7363_6673),
    ("bpf", 0xcafe_4a11),
    ("configfs", 0x6265_6570),
    ("pstore", 0x6165_676c),
    ("efivarfs", 0xde5e_81e4),
    ("fusectl", 0x6573_5543),
    ("mqueue", 0x1980_0202),
    ("binfmt_misc", 0x4249_4e4d),
    ("hugetlbfs", 0x9584_58f6),
    ("selinuxfs", 0xf97c_ff8c),
    ("smackfs", 0x4341_5d53),
    ("nsfs", 0x6e73_6673),
    ("rpc_pipefs", 0x6759_6969),
    ("resctrl", 0x0765_5821),
    ("openpromfs", 0x9fa1),
    // Told by its name alone: its number is that of every file system in memory.
    ("devtmpfs", 0),
];

/// File systems that answer from memory or a device of this machine. Any other may wait.
const LOCAL: [(&str, u64); 18] = [
    ("ext4", 0xef53),
    ("ext3", 0xef53),
    ("ext2", 0xef53),
    ("xfs", 0x5846_5342),
    ("btrfs", 0x9123_683e),
    ("bcachefs", 0xca45_1a4e),
    ("f2fs", 0xf2f5_2010),
    ("zfs", 0x2fc1_2fc1),
    ("tmpfs", 0x0102_1994),
    ("ramfs", 0x8584_58f6),
    ("overlay", 0x794c_7630),
    ("squashfs", 0x7371_7368),
    ("erofs", 0xe0f5_e1e2),
    ("jfs", 0x3153_464a),
    ("vfat", 0x4d44),
    ("exfat", 0x2011_bab0),
    ("ntfs3", 0x7366_746e),
    ("iso9660", 0x9660),
];

/// What a root lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// Answers at once.
    Local,
    /// May wait for a network or another program.
    Slow,
    /// Is the kernel's, or holds something that is; where.
    Special(String),
}

/// What an open folder lies on. `chain` is it and all that it lies in.
pub(super) fn ground(dir: &cap_std::fs::Dir, chain: &[Id]) -> std::io::Result<Ground> {
    for place in PLACES {
        let Ok(id) = step(CWD, OsStr::new(place)).and_then(Id::of_handle) else { continue };
        if chain.contains(&id) {
            return Ok(Ground::Special(place.to_owned()));
        }
    }
    // The sign comes from a narrower type on some machines.
    let kind = fstatfs(dir)?.f_type as u64 & 0xffff_ffff;
    if let Some((name, _)) = SPECIAL.iter().find(|(_, number)| *number == kind && kind != 0) {
        return Ok(Ground::Special(format!("a file system of the kind {name}")));
    }
    let mut slow = !LOCAL.iter().any(|(_, number)| *number == kind);
    for (at, kind) in below(dir) {
        if SPECIAL.iter().any(|(name, _)| *name == kind) {
            return Ok(Ground::Special(at.display().to_string()));
        }
        slow |= !LOCAL.iter().any(|(name, _)| *name == kind);
    }
    Ok(if slow { Ground::Slow } else { Ground::Local })
}

/// Where something is mounted below a folder, and its kind. Nothing where the kernel does not say.
fn below(dir: &cap_std::fs::Dir) -> Vec<(PathBuf, String)> {
    use std::os::fd::AsRawFd as _;
    let name = format!("/proc/self/fd/{}", dir.as_raw_fd());
    let (Ok(root), Ok(mounts)) = (std::fs::read_link(name), std::fs::read("/proc/self/mountinfo"))
    else {
        return Vec::new();
    };
    mounts.split(|byte| *byte == b'\n').filter_map(|line| mounted(line, &root)).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`: see proc_pid_mountinfo(5).
fn mounted(line: &[u8], root: &Path) -> Option<(PathBuf, String)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let at = PathBuf::from(OsStr::from_bytes(&unescape(fields.nth(4)?)));
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    let lies_below = at != root && at.starts_with(root);
    lies_below.then(|| (at, String::from_utf8_lossy(kind).into_owned()))
}

/// Undoes `\040` and the like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut at = 0;
    while let Some(byte) = field.get(at) {
        let octal = field.get(at + 1..at + 4).filter(|_| *byte == b'\\');
        let code = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                plain.push(code);
                at += 4;
            }
            None => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_a_folder_are_found() {
        let line = br"36 35 98:0 / /srv/a\040b/proc rw,noatime shared:1 master:2 - proc proc rw";
        let check = |root: &str| mounted(line, Path::new(root)).map(|(_, kind)| kind);
        assert_eq!(check("/srv"), Some("proc".to_owned()));
        assert_eq!(check("/srv/a b"), Some("proc".to_owned()));
        assert_eq!(check("/srv/a"), None);
        assert_eq!(check("/srv/a b/proc"), None);
    }

    #[test]
    fn the_kernels_own_folders_are_told_from_others() {
        let check = |path: &str| {
            let dir = cap_std::fs::Dir::open_ambient_dir(path, cap_std::ambient_authority());
            let dir = dir.unwrap();
            ground(&dir, &super::super::identity::chain(&dir).unwrap()).unwrap()
        };
        for path in ["/proc", "/proc/self", "/sys", "/dev", "/"] {
            assert!(matches!(check(path), Ground::Special(_)), "{path}");
        }
        assert!(!matches!(check(env!("CARGO_MANIFEST_DIR")), Ground::Special(_)));
    }
}
