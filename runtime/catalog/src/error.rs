//! What can be wrong with a tool's folder, its definitions or the lock file.

use std::{io, path::PathBuf};

use ringfence_event::ToolName;
use ringfence_policy::ConfigError;

/// Why a tool cannot be loaded, added or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file has a mistake in it.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is too large.
    #[error("{path} is larger than {bytes_max} bytes")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The most it may have.
        bytes_max: u64,
    },
    /// A file that must be text is not.
    #[error("{path} is not UTF-8")]
    NotText {
        /// Which.
        path: PathBuf,
    },
    /// Neither a folder with a manifest nor a component.
    #[error("{path} is no tool: a folder with tool.toml, or a .wasm file")]
    NotATool {
        /// What was given.
        path: PathBuf,
    },
    /// What the component says of its functions cannot be used.
    #[error("tool `{tool}`: {message}")]
    Definitions {
        /// The tool.
        tool: ToolName,
        /// What is wrong.
        message: String,
    },
    /// The lock file was written by a newer version. It is left as it is.
    #[error("{file} has format {found}, and this version of Ringfence knows {known}")]
    NewerLock {
        /// The file.
        file: String,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The lock file contradicts itself: somebody edited it by hand.
    #[error("{file}: {message}")]
    Lock {
        /// The file.
        file: String,
        /// What is wrong.
        message: String,
    },
}
