//! Where files are, and which of them an argument means.

use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};

/// The folders that this call may touch, in the host's order: root `workspace` is `/workspace`.
///
/// What a call with the effect `read` finds here is read-only; one with `pure` finds nothing.
#[must_use]
pub fn roots() -> Vec<PathBuf> {
    wasip2::filesystem::preopens::get_directories()
        .into_iter()
        .map(|(_, path)| PathBuf::from(path))
        // The host also opens `/`, which holds nothing but the roots.
        .filter(|path| path != Path::new("/"))
        .collect()
}

/// The file or folder that an argument means: an absolute path, or one relative to the first of the
/// [`roots`]. `.` and `..` are resolved.
///
/// A path outside every root is not refused here: the host denies it when it is opened, and only
/// the host can say which line would allow it.
pub fn resolve(argument: &str) -> Result<PathBuf> {
    resolve_in(&roots(), argument)
}

fn resolve_in(roots: &[PathBuf], argument: &str) -> Result<PathBuf> {
    match roots.first() {
        Some(first) => Ok(normal(&first.join(argument))),
        None if Path::new(argument).is_absolute() => Ok(normal(Path::new(argument))),
        None => Err(Error::failed("no folder is open to this call: the operator has to grant one")),
    }
}

/// The path without `.` and `..`, by its text alone.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_means_a_path_in_a_root() {
        let check = |roots: &[&str], argument: &str, expected: &str| {
            let roots: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
            let found = match resolve_in(&roots, argument) {
                Ok(path) => path.display().to_string(),
                Err(error) => error.to_string(),
            };
            assert!(found.contains(expected), "{argument}: {found}");
            assert!(found.starts_with('/') == expected.starts_with('/'), "{argument}: {found}");
        };
        let two = ["/workspace", "/notes"];
        check(&two, "a.txt", "/workspace/a.txt");
        check(&two, "/workspace/a.txt", "/workspace/a.txt");
        check(&two, "/notes/b/../c.txt", "/notes/c.txt");
        check(&two, "./b/./c.txt", "/workspace/b/c.txt");
        check(&two, "", "/workspace");
        check(&two, ".", "/workspace");
        check(&two, "../notes/a", "/notes/a");
        check(&two, "../etc/passwd", "/etc/passwd");
        check(&two, "/workspace/../../etc/passwd", "/etc/passwd");
        check(&[], "/etc/passwd", "/etc/passwd");
        check(&[], "a.txt", "no folder is open");
    }
}
