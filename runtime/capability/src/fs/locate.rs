//! Where a path ends: the folder that holds its last name, and that name. Who changes something, or
//! may meet what is the host's own, does it there and nowhere else.

use std::{io, ops::Deref};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::{fs::OFlags, io::Errno};

/// Links at the end of one path: as many as the kernel follows.
pub(super) const LINKS_MAX: usize = 40;

/// The end of a path.
#[derive(Debug)]
pub(super) struct Spot<'a> {
    pub(super) dir: Parent<'a>,
    /// The last name, with whatever stood behind it: `/` and `/.` say that it is a folder.
    pub(super) last: String,
    /// Where it is, as the guest sees it, if that was asked for.
    pub(super) at: Option<String>,
}

/// The folder of the last name.
#[derive(Debug)]
pub(super) enum Parent<'a> {
    /// The one the path starts from.
    Start(&'a Dir),
    /// One below it.
    Below(Dir),
}

impl Deref for Parent<'_> {
    type Target = Dir;
    fn deref(&self) -> &Dir {
        match self {
            Self::Start(dir) => dir,
            Self::Below(dir) => dir,
        }
    }
}

impl Spot<'_> {
    /// The last name alone.
    pub(super) fn name(&self) -> &str {
        &self.last[..name_end(&self.last)]
    }
}

/// Finds the end of a path beneath `start`. A link there is followed if `follow` says so, or if it
/// is to be a folder.
pub(super) fn locate<'a>(start: &'a Dir, path: &str, follow: bool) -> io::Result<Spot<'a>> {
    let mut path = path.to_owned();
    for _ in 0..=LINKS_MAX {
        let (base, last) = split(&path);
        let dir = match base {
            "" => Parent::Start(start),
            base => Parent::Below(folder(start, base)?),
        };
        let name = &last[..name_end(last)];
        let may_follow = follow || name.len() < last.len();
        let is_link = || match dir.symlink_metadata(name) {
            Ok(found) => Ok(found.is_symlink()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        };
        if !may_follow || name.is_empty() || name == "." || !is_link()? {
            let last = last.to_owned();
            return Ok(Spot { dir, last, at: None });
        }
        // Refuses a target that starts at the top.
        let target = dir.read_link(name)?;
        let target = target.to_str().ok_or(io::ErrorKind::InvalidData)?;
        path = format!("{base}{target}{}", &last[name.len()..]);
    }
    Err(Errno::LOOP.into())
}

/// A folder as a place to go on from: that needs no right to list it.
fn folder(start: &Dir, path: &str) -> io::Result<Dir> {
    let mut options = OpenOptions::new();
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    options.read(true).custom_flags(flags.bits().cast_signed());
    Ok(Dir::from_std_file(start.open_with(path, &options)?.into_std()))
}

/// Where the name ends in what stands last.
pub(super) fn name_end(last: &str) -> usize {
    let mut end = last.len();
    loop {
        let trimmed = last[..end].trim_end_matches('/');
        let shorter = trimmed.strip_suffix("/.").unwrap_or(trimmed);
        if shorter.len() == end {
            return end;
        }
        end = shorter.len();
    }
}

/// A path as what comes before its last name, and the rest.
fn split(path: &str) -> (&str, &str) {
    let end = name_end(path);
    let start = path[..end].rfind('/').map_or(0, |slash| slash + 1);
    match &path[start..end] {
        // Where that leads nobody knows before it was walked.
        ".." => (path, "."),
        _ => path.split_at(start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_before_their_last_name() {
        for (path, base, last, name) in [
            ("a", "", "a", "a"),
            ("a/", "", "a/", "a"),
            ("a/.//./", "", "a/.//./", "a"),
            ("a/b", "a/", "b", "b"),
            ("./b/.", "./", "b/.", "b"),
            ("a/..", "a/..", ".", "."),
            ("..", "..", ".", "."),
            (".", "", ".", "."),
            ("", "", "", ""),
            ("/a", "/", "a", "a"),
            ("/", "", "/", ""),
            (".a", "", ".a", ".a"),
            ("a/.b", "a/", ".b", ".b"),
        ] {
            assert_eq!(split(path), (base, last), "{path}");
            assert_eq!(&last[..name_end(last)], name, "{path}");
        }
    }

    #[test]
    fn a_link_at_the_end_is_followed_beneath_the_start_alone() {
        use std::os::unix::fs::symlink;
        let top = tempfile::tempdir().unwrap();
        let start = top.path().join("start");
        std::fs::create_dir_all(start.join("sub/deep")).unwrap();
        for (target, name) in [
            ("sub", "folder"),
            ("deep/../../a.txt", "sub/link"),
            ("link", "sub/second"),
            ("../../outside", "sub/out"),
            ("/etc", "absolute"),
            ("round", "round"),
        ] {
            symlink(target, start.join(name)).unwrap();
        }
        let dir = Dir::open_ambient_dir(&start, cap_std::ambient_authority()).unwrap();
        let check = |path: &str, follow: bool, said: Result<&str, io::ErrorKind>| {
            let found = locate(&dir, path, follow).map(|spot| spot.last);
            match (found, said) {
                (Ok(last), Ok(said)) => assert_eq!(last, said, "{path}"),
                (Err(error), Err(kind)) => assert_eq!(error.kind(), kind, "{path}"),
                (found, _) => panic!("{path}: {found:?}"),
            }
        };
        check("a.txt", true, Ok("a.txt"));
        check("folder", false, Ok("folder"));
        check("folder", true, Ok("sub"));
        check("folder/", false, Ok("sub/"));
        check("folder/new", false, Ok("new"));
        check("sub/link", true, Ok("a.txt"));
        check("sub/second", true, Ok("a.txt"));
        check("folder/second", true, Ok("a.txt"));
        check("absolute/", false, Err(io::ErrorKind::PermissionDenied));
        check("sub/out", true, Err(io::ErrorKind::PermissionDenied));
        check("../x", false, Err(io::ErrorKind::PermissionDenied));
        check("nothing/x", false, Err(io::ErrorKind::NotFound));
        let round = locate(&dir, "round", true).unwrap_err();
        assert_eq!(Errno::from_io_error(&round), Some(Errno::LOOP));
    }
}
