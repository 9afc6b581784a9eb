//! `make`, `move` and `remove`: where things are, not what is in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ringfence_sdk::prelude::*;
use ringfence_sdk::{resolve, roots};

use crate::fault::fault;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Make {
    /// The folder, absolute or relative to the first root.
    path: String,
}

/// Makes a folder, with the folders above it where they are missing. One that is there already
/// stays as it is.
#[tool(effect = "idempotent")]
pub(crate) fn make(args: Make) -> Result<String> {
    let path = resolve(&args.path).map_err(|error| error.at("/path"))?;
    if path.is_dir() {
        return Ok(format!("`{}` was there already", path.display()));
    }
    if path.exists() {
        let message =
            format!("`{}` is a file: choose another name, or move the file away", path.display());
        return Err(Error::invalid_input(message).at("/path"));
    }
    fs::create_dir_all(&path).map_err(|error| fault(&path, error).at("/path"))?;
    Ok(format!("made `{}`", path.display()))
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Relocate {
    /// What to move: a file or a folder, absolute or relative to the first root.
    from: String,
    /// Its new path, its name included.
    to: String,
    /// Whether a file that is there already may be replaced.
    #[serde(default)]
    overwrite: bool,
}

/// Moves or renames a file or a folder.
#[tool(name = "move", effect = "unsafe")]
pub(crate) fn relocate(args: Relocate) -> Result<String> {
    let from = movable(&args.from).map_err(|error| error.at("/from"))?;
    let to = movable(&args.to).map_err(|error| error.at("/to"))?;
    fs::symlink_metadata(&from).map_err(|error| fault(&from, error).at("/from"))?;
    if to.starts_with(&from) {
        let message = format!("`{}` cannot be moved to itself or into itself", from.display());
        return Err(Error::invalid_input(message).at("/to"));
    }
    if to.is_dir() {
        let message = format!(
            "`{}` is a folder: give the new name as well, such as `{0}/NAME`",
            to.display()
        );
        return Err(Error::invalid_input(message).at("/to"));
    }
    if to.exists() && !args.overwrite {
        let message =
            format!("`{}` is there already: choose another name, or set `overwrite`", to.display());
        return Err(Error::invalid_input(message).at("/to"));
    }
    if let Some(folder) = to.parent().filter(|folder| !folder.is_dir()) {
        let message = format!("the folder `{}` does not exist: make it first", folder.display());
        return Err(Error::invalid_input(message).at("/to"));
    }
    fs::rename(&from, &to).map_err(|error| fault(&to, error).at("/to"))?;
    Ok(format!("moved `{}` to `{}`", from.display(), to.display()))
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Remove {
    /// A file or a folder, absolute or relative to the first root.
    path: String,
    /// Whether to remove a folder with all that is in it.
    #[serde(default)]
    recursive: bool,
}

/// Removes a file or an empty folder, or with `recursive` a folder and all that is in it. What is
/// not there needs no removing: that is no error.
#[tool(effect = "idempotent")]
pub(crate) fn remove(args: Remove) -> Result<String> {
    let path = movable(&args.path).map_err(|error| error.at("/path"))?;
    match removed(&path, args.recursive) {
        Ok(()) => Ok(format!("removed `{}`", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(format!("`{}` was not there", path.display()))
        }
        Err(error) => Err(fault(&path, error).at("/path")),
    }
}

fn removed(path: &Path, recursive: bool) -> io::Result<()> {
    // A link to a folder is a link: what it points to stays.
    if !fs::symlink_metadata(path)?.is_dir() {
        fs::remove_file(path)
    } else if recursive {
        fs::remove_dir_all(path)
    } else {
        fs::remove_dir(path)
    }
}

/// What an argument means, unless it is a root: those are the host's.
fn movable(argument: &str) -> Result<PathBuf> {
    let path = resolve(argument)?;
    if roots().contains(&path) {
        let message = format!("`{}` is a root, which stays: name something in it", path.display());
        return Err(Error::invalid_input(message));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_whole_only_when_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("full/deep")).expect("a folder");
        fs::create_dir(path("empty")).expect("a folder");
        fs::write(path("full/deep/a.txt"), "").expect("a file");
        fs::write(path("b.txt"), "").expect("a file");
        let check = |name: &str, recursive: bool, expected: Option<io::ErrorKind>| {
            let found = removed(&path(name), recursive).map_err(|error| error.kind());
            assert_eq!(found.err(), expected, "{name}");
            assert_eq!(
                path(name).exists(),
                expected == Some(io::ErrorKind::DirectoryNotEmpty),
                "{name}"
            );
        };
        check("b.txt", false, None);
        check("b.txt", false, Some(io::ErrorKind::NotFound));
        check("empty", false, None);
        check("full", false, Some(io::ErrorKind::DirectoryNotEmpty));
        check("full", true, None);
    }
}
