//! Which error of the file system an error is.

use std::io::{self, ErrorKind};

/// The kind of an I/O error. `io::Error::kind` knows few of WASI's own: on `wasm32-wasip2` a folder
/// that is not empty and a file system that is read-only are both "uncategorized" to it.
#[must_use]
pub fn io_error_kind(error: &io::Error) -> ErrorKind {
    match error.raw_os_error() {
        Some(errno) if cfg!(target_os = "wasi") => wasi_kind(errno).unwrap_or(error.kind()),
        _ => error.kind(),
    }
}

/// The numbers are those of wasi-libc.
fn wasi_kind(errno: i32) -> Option<ErrorKind> {
    Some(match errno {
        10 => ErrorKind::ResourceBusy,
        19 => ErrorKind::QuotaExceeded,
        22 => ErrorKind::FileTooLarge,
        25 => ErrorKind::InvalidData,
        31 => ErrorKind::IsADirectory,
        37 => ErrorKind::InvalidFilename,
        51 => ErrorKind::StorageFull,
        54 => ErrorKind::NotADirectory,
        55 => ErrorKind::DirectoryNotEmpty,
        69 => ErrorKind::ReadOnlyFilesystem,
        75 => ErrorKind::CrossesDevices,
        // Capability missing: the path leads out of its root.
        76 => ErrorKind::PermissionDenied,
        _ => return None,
    })
}
