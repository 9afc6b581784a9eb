//! Tests and benchmarks that cross crates: `security` attacks the sandbox, `tests/structure` checks
//! the shape of the workspace, `tests/scenarios` makes whole runs. Here is what they, and the
//! sandbox's own tests, try things with: guests by name, a [`Scene`] in which one is called, folders
//! and a web server to be let into or not.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "all of this is for tests, which are to fail")]

pub mod coded;
mod disk;
mod folders;
mod heard;
mod holders;
mod internet;
pub mod mirror;
mod scene;
mod slow;
mod stored;
pub mod web;

use std::path::{Path, PathBuf};

pub use disk::Disk;
pub use folders::Folders;
pub use heard::{Notes, Started};
pub use holders::Holders;
pub use internet::Internet;
pub use scene::{ENGINE, SEED, SLOTS, START, Scene, binding, engine, text};
pub use slow::Slow;
pub use stored::Stored;

/// The root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A guest component by name.
///
/// # Panics
///
/// If it was not built.
#[must_use]
pub fn guest(name: &str) -> Vec<u8> {
    let path = root().join("target/guest").join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo xtask guests` builds it", path.display())
    })
}
