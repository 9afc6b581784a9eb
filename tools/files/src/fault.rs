//! What went wrong with a path, in words that say how to mend it.

use std::io::{self, ErrorKind};
use std::path::Path;

use ringfence_sdk::{Error, io_error_kind};

/// What `error` means for whoever named `path`.
pub(crate) fn fault(path: &Path, error: io::Error) -> Error {
    let path = path.display();
    match io_error_kind(&error) {
        ErrorKind::NotFound => Error::invalid_input(format!(
            "`{path}` does not exist: list its folder to see what does"
        )),
        ErrorKind::IsADirectory => {
            Error::invalid_input(format!("`{path}` is a folder: name a file in it"))
        }
        ErrorKind::NotADirectory => Error::invalid_input(format!(
            "`{path}` is no folder, or leads through a file as if it were one"
        )),
        ErrorKind::DirectoryNotEmpty => Error::invalid_input(format!(
            "the folder `{path}` is not empty: set `recursive` to remove it whole"
        )),
        ErrorKind::CrossesDevices => Error::invalid_input(format!(
            "`{path}` is in another root: read the file, write it there, and remove it here"
        )),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Error::failed(format!(
            "`{path}` may not be used this way: the operator did not grant it ({error})"
        )),
        ErrorKind::QuotaExceeded | ErrorKind::StorageFull => {
            Error::failed(format!("there is no room for `{path}`: the root's quota is used up"))
        }
        _ => Error::from(error).context(format_args!("`{path}`")),
    }
}
