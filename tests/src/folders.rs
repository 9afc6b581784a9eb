//! What a tool may be let into.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

/// A folder with files, links and a FIFO in it, and a secret beside it.
pub struct Folders {
    top: TempDir,
}

impl Default for Folders {
    fn default() -> Self {
        Self::new()
    }
}

impl Folders {
    /// Makes both.
    #[must_use]
    pub fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        let folders = Self { top };
        let (inside, outside) = (folders.workspace(), folders.outside());
        fs::create_dir_all(inside.join("sub")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(inside.join("a.txt"), "hello").unwrap();
        fs::write(inside.join("sub/b.txt"), "below").unwrap();
        fs::write(outside.join("secret.txt"), "secret").unwrap();
        for (target, name) in [
            ("/etc", "absolute"),
            ("../outside", "up"),
            ("../outside/secret.txt", "secret"),
            ("a.txt", "link"),
            ("loop", "loop"),
        ] {
            symlink(target, inside.join(name)).unwrap();
        }
        fifo(&inside.join("pipe"));
        folders
    }

    /// What a tool is given.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.top.path().join("workspace")
    }

    /// What it is not given.
    #[must_use]
    pub fn outside(&self) -> PathBuf {
        self.top.path().join("outside")
    }
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}
