//! Where a path ends in a root of which hold rules shut a part: found name by name, each folder held
//! while the next name is looked up in it. So what is decided on is what was reached, whatever links
//! lead there and whatever is moved meanwhile. Slower than [`super::locate`], and only done there.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
    path::PathBuf,
};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::{fs::OFlags, io::Errno};

use super::{
    OpenRoot,
    locate::{LINKS_MAX, Parent, Spot, name_end},
};

/// How deep one path goes: each folder on the way is open while it is walked.
const FOLDERS_MAX: usize = 128;

/// How long what is left of a path may grow with the links on it: as long as the kernel takes one.
const PATH_MAX: usize = 4096;

/// What stopped a walk.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) error: io::Error,
    /// Where it was, as the guest sees it: the name that was looked up last, and all that was to
    /// come.
    pub(super) at: String,
}

/// Where a folder of a root lies now, as the guest sees it; `None` if that is not in the root.
pub(super) fn place(root: &OpenRoot, dir: &Dir) -> Option<String> {
    let (top, here) = (path_of(root.dir().as_ref())?, path_of(dir)?);
    let below = here.strip_prefix(top).ok()?;
    // A name that is not UTF-8 is one that no rule can name.
    Some(format!("/{}/{}", root.name(), below.to_string_lossy()))
}

/// What the kernel says of a handle: its path now, without links.
fn path_of(dir: &Dir) -> Option<PathBuf> {
    let name = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
    std::fs::read_link(name).ok()
}

/// Finds the end of a path beneath `start`, which lies at `place`. A link there is followed if
/// `follow` says so, or if it is to be a folder. The spot says where it is.
pub(super) fn walk<'a>(
    (start, place): (&'a Dir, &str),
    path: &str,
    follow: bool,
) -> Result<Spot<'a>, Stopped> {
    let mut folders: Vec<(String, Dir)> = Vec::new();
    let mut left = path.to_owned();
    let mut links = 0;
    loop {
        let at = |left: &str| {
            let names = folders.iter().map(|(name, _)| name.as_str());
            let names = [place].into_iter().chain(names).chain([left]);
            names.collect::<Vec<_>>().join("/")
        };
        let stopped = |error: io::Error| Stopped { error, at: at(&left) };
        if left.starts_with('/') {
            return Err(stopped(leads_out()));
        }
        if left.len() > PATH_MAX || folders.len() > FOLDERS_MAX {
            return Err(stopped(Errno::NAMETOOLONG.into()));
        }
        let here = folders.last().map_or(start, |(_, dir)| dir);
        let end = left.find('/').unwrap_or(left.len());
        let (name, rest) = left.split_at(end);
        let more = rest.trim_start_matches('/');
        let is_last = name_end(&left) <= end;
        match name {
            // Also what is left after `..` at the end of a path.
            "" | "." if is_last => {
                let (last, at) = (left.clone(), Some(at("")));
                return Ok(Spot { dir: parent(start, folders), last, at });
            }
            "." => {
                left = more.to_owned();
                continue;
            }
            ".." => {
                if folders.is_empty() {
                    return Err(stopped(leads_out()));
                }
                left = if more.is_empty() { ".".to_owned() } else { more.to_owned() };
                folders.pop();
                continue;
            }
            _ => {}
        }
        let follows = !is_last || follow || !rest.is_empty();
        let found = match here.symlink_metadata(name) {
            Ok(found) => Some(found),
            Err(error) if is_last && error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(stopped(error)),
        };
        if follows && found.is_some_and(|found| found.is_symlink()) {
            links += 1;
            if links > LINKS_MAX {
                return Err(stopped(Errno::LOOP.into()));
            }
            let target = here.read_link(name).map_err(stopped)?;
            let target = target.to_str().ok_or(io::ErrorKind::InvalidData);
            left = format!("{}{rest}", target.map_err(|kind| stopped(kind.into()))?);
            continue;
        }
        if is_last {
            let (last, at) = (left.clone(), Some(at(name)));
            return Ok(Spot { dir: parent(start, folders), last, at });
        }
        // A link that is put there just now is not followed.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits().cast_signed());
        let next = here.open_with(name, &options).map_err(stopped)?;
        let next = (name.to_owned(), Dir::from_std_file(next.into_std()));
        left = more.to_owned();
        folders.push(next);
    }
}

fn parent(start: &Dir, mut folders: Vec<(String, Dir)>) -> Parent<'_> {
    folders.pop().map_or(Parent::Start(start), |(_, dir)| Parent::Below(dir))
}

/// As cap-std says it.
fn leads_out() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the path leads out of its root")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_known_by_where_it_ends() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(top.path().join("a/b")).unwrap();
        for (target, name) in [
            ("a/b", "short"),
            ("../a", "a/round"),
            ("b/../../a/b/key", "a/link"),
            ("short/gone/x", "dangling"),
            ("../../out", "a/out"),
            ("/etc", "absolute"),
            ("loop", "loop"),
            ("short", "second"),
        ] {
            symlink(target, top.path().join(name)).unwrap();
        }
        let dir = Dir::open_ambient_dir(top.path(), cap_std::ambient_authority()).unwrap();
        let check = |path: &str, follow: bool, said: Result<&str, io::ErrorKind>| {
            let found = walk((&dir, "/w"), path, follow);
            match (found, said) {
                (Ok(spot), Ok(said)) => {
                    assert_eq!(spot.at.as_deref(), Some(said), "{path}");
                    assert!(spot.name().is_empty() || !spot.name().contains('/'), "{path}");
                }
                (Err(stopped), Err(kind)) => assert_eq!(stopped.error.kind(), kind, "{path}"),
                (found, _) => panic!("{path}: {found:?}"),
            }
        };
        check("a/b/key", false, Ok("/w/a/b/key"));
        check("./a//./b/key", false, Ok("/w/a/b/key"));
        check("a/b/../new", false, Ok("/w/a/new"));
        check("short", false, Ok("/w/short"));
        check("short", true, Ok("/w/a/b"));
        check("short/", false, Ok("/w/a/b"));
        check("second/.", false, Ok("/w/a/b"));
        check("short/key", false, Ok("/w/a/b/key"));
        check("short/..", false, Ok("/w/a/"));
        check("short/../b/./", false, Ok("/w/a/b"));
        check("a/round/round/link", true, Ok("/w/a/b/key"));
        check(".", false, Ok("/w/"));
        check("", false, Ok("/w/"));
        check("a/..", false, Ok("/w/"));
        check("..", false, Err(io::ErrorKind::PermissionDenied));
        check("a/../../x", false, Err(io::ErrorKind::PermissionDenied));
        check("a/out", true, Err(io::ErrorKind::PermissionDenied));
        check("absolute/x", false, Err(io::ErrorKind::PermissionDenied));
        check("/a", false, Err(io::ErrorKind::PermissionDenied));
        check("gone/x", false, Err(io::ErrorKind::NotFound));
        check("dangling", false, Ok("/w/dangling"));
        check("dangling", true, Err(io::ErrorKind::NotFound));
        let stopped = walk((&dir, "/w"), "dangling", true).unwrap_err();
        assert_eq!(stopped.at, "/w/a/b/gone/x", "where nothing is has a place too");
        let stopped = walk((&dir, "/w"), "loop/x", false).unwrap_err();
        assert_eq!(Errno::from_io_error(&stopped.error), Some(Errno::LOOP));
        let deep = "a/round/".repeat(LINKS_MAX + 1);
        walk((&dir, "/w"), &deep, false).unwrap_err();
    }
}
