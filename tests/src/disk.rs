//! A disk that can be full.

use std::{fs, io::Write as _, path::Path, process::Command};

use tempfile::TempDir;

/// A disk of its own, in memory; no longer when it is dropped.
pub struct Disk(TempDir);

impl Disk {
    /// Mounts one of this size, such as `3m`.
    ///
    /// # Errors
    ///
    /// Why that cannot be done here: it takes the right to mount.
    ///
    /// # Panics
    ///
    /// When no folder can be made for it.
    pub fn mount(size: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "ringfence-full"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(folder)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until nothing more fits.
    ///
    /// # Panics
    ///
    /// When nothing can be written to begin with.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.path().join("full")).unwrap();
        let piece = [1; 512];
        while file.write_all(&piece).is_ok() {}
    }

    /// Gives back what [`fill`](Self::fill) took.
    ///
    /// # Panics
    ///
    /// When it took nothing.
    pub fn empty(&self) {
        fs::remove_file(self.path().join("full")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What stays mounted is seen by whoever looks at the machine.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
