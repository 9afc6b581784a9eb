//! `write`: a file, whole.

use std::fs;
use std::io;
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

/// Puts `bytes` in the place of what is there, so that nobody ever reads half of them.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.is_symlink() {
        // Renaming would put a file in the place of the link.
        return fs::write(path, bytes);
    }
    let beside = beside(path, &context::idempotency_key());
    let replaced = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if replaced.is_err() {
        // The first error is the one to tell; what cannot be removed may never have been made.
        let _ = fs::remove_file(&beside);
    }
    replaced
}

/// A name in the same folder that a retry of this call finds again, and no other call uses.
fn beside(path: &Path, key: &str) -> PathBuf {
    let key: String = key.chars().filter(char::is_ascii_alphanumeric).take(KEY_CHARS).collect();
    path.with_file_name(format!(".ringfence-{key}.tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_beside_is_a_retrys_and_nobody_elses() {
        let check = |path: &str, key: &str, expected: &str| {
            assert_eq!(beside(Path::new(path), key), Path::new(expected));
        };
        check("/workspace/a.txt", "k1", "/workspace/.ringfence-k1.tmp");
        check("/workspace/b/c", "sha256:ab/../cd", "/workspace/b/.ringfence-sha256abcd.tmp");
    }
}
