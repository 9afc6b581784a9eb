//! `write`: a file, whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ringfence_sdk::prelude::*;
use ringfence_sdk::{context, resolve};

use crate::fault::fault;

/// How much of the idempotency key goes into a file's name: enough to be no other call's.
const KEY_CHARS: usize = 24;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Write {
    /// The file, absolute or relative to the first root. Folders that are missing are made.
    path: String,
    /// All that will be in the file.
    text: String,
}

/// Writes a text file whole: makes it, or replaces what was in it. To change a part of a file, use
/// `edit`.
#[tool(effect = "idempotent")]
pub(crate) fn write(args: Write) -> Result<String> {
    let path = resolve(&args.path).map_err(|error| error.at("/path"))?;
    let at_path = |error| fault(&path, error).at("/path");
    if path.is_dir() {
        return Err(at_path(io::ErrorKind::IsADirectory.into()));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        fs::create_dir_all(folder).map_err(|error| fault(folder, error).at("/path"))?;
    }
    let verb = if path.exists() { "replaced" } else { "made" };
    replace(&path, args.text.as_bytes()).map_err(at_path)?;
    Ok(format!("{verb} `{}`, {} bytes", path.display(), args.text.len()))
}

/// Makes `bytes` all that is in the file. A file that is there stays the same file, with its mode,
/// its other names and links to it: WASI cannot give those to another one in its place. A new file
/// appears whole or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.is_symlink() || path.exists() {
        return overwrite(path, bytes);
    }
    let beside = beside(path, &context::idempotency_key());
    let replaced = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if replaced.is_err() {
        // The first error is the one to tell; what cannot be removed may never have been made.
        let _ = fs::remove_file(&beside);
    }
    replaced
}

/// Writes over what is there and cuts off what is left of it. It is not emptied first: whoever stops
/// the call in between leaves more than nothing behind.
fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Made only where a link points to nothing yet.
    let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)
}

/// A name in the same folder that a retry of this call finds again, and no other call uses.
fn beside(path: &Path, key: &str) -> PathBuf {
    let key: String = key.chars().filter(char::is_ascii_alphanumeric).take(KEY_CHARS).collect();
    path.with_file_name(format!(".ringfence-{key}.tmp"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_beside_is_a_retrys_and_nobody_elses() {
        let check = |path: &str, key: &str, expected: &str| {
            assert_eq!(beside(Path::new(path), key), Path::new(expected));
        };
        check("/workspace/a.txt", "k1", "/workspace/.ringfence-k1.tmp");
        check("/workspace/b/c", "sha256:ab/../cd", "/workspace/b/.ringfence-sha256abcd.tmp");
    }

    #[test]
    fn a_file_that_is_there_stays_the_same_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("run.sh"), folder.path().join("other"));
        fs::write(&path, "a long first text").expect("a file");
        let mode = fs::Permissions::from_mode(0o751);
        fs::set_permissions(&path, mode).expect("a mode");
        fs::hard_link(&path, &other).expect("another name");
        for text in ["short", "a text that is longer than the first one", ""] {
            replace(&path, text.as_bytes()).expect("written");
            assert_eq!(fs::read_to_string(&other).expect("a file"), text);
            let found = fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(found & 0o777, 0o751);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "nothing beside it");
    }

    #[test]
    fn a_link_stays_a_link_even_to_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        std::os::unix::fs::symlink("file", &link).expect("a link");
        for text in ["new", "newer"] {
            replace(&link, text.as_bytes()).expect("written");
            assert!(link.is_symlink());
            assert_eq!(fs::read_to_string(&file).expect("a file"), text);
        }
    }
}
