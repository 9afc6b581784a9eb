//! How far each sink has come, kept for the next process.

use std::{
    any::Any,
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// What a sink must hold to be the only one that delivers, in whatever process; dropped, another may.
pub type Held = Box<dyn Any + Send + Sync>;

/// Where it is kept how far sinks have come. Methods may wait for a disk.
pub trait Cursors: Send + Sync + 'static {
    /// Takes a sink; `None` while another process has it.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn hold(&self, name: &str) -> io::Result<Option<Held>>;

    /// Up to which place a sink has delivered everything; `None` for a new one.
    ///
    /// # Errors
    /// When it cannot be read, or what is there is no place.
    fn load(&self, name: &str) -> io::Result<Option<u64>>;

    /// A sink has delivered everything up to this place. A crash may take it back, and then it is
    /// delivered again; it may not leave anything else in its place.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn save(&self, name: &str, position: u64) -> io::Result<()>;
}

/// A folder with a file for each sink.
#[derive(Clone, Debug)]
pub struct FileCursors(PathBuf);

impl FileCursors {
    /// In this folder, which is made when it is needed.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    fn path(&self, name: &str, ending: &str) -> PathBuf {
        self.0.join(format!("{name}.{ending}"))
    }
}

impl Cursors for FileCursors {
    fn hold(&self, name: &str) -> io::Result<Option<Held>> {
        fs::create_dir_all(&self.0)?;
        let file = File::create(self.path(name, "lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn load(&self, name: &str) -> io::Result<Option<u64>> {
        let path = self.path(name, "position");
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| {
                let path = path.display();
                io::Error::other(format!(
                    "{path} does not say how far the sink has come; without the file it goes on from now"
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn save(&self, name: &str, position: u64) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        writeln!(file, "{position}")?;
        // Whole before it has its name: a crash leaves the one or the other.
        file.as_file().sync_data()?;
        file.persist(self.path(name, "position")).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_found_again_and_a_broken_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let cursors = FileCursors::new(&folder.path().join("observe"));
        assert_eq!(cursors.load("acme.audit").unwrap(), None);
        cursors.save("acme.audit", 7).unwrap();
        cursors.save("acme.audit", 9).unwrap();
        assert_eq!(cursors.load("acme.audit").unwrap(), Some(9));
        assert_eq!(cursors.load("other").unwrap(), None);
        fs::write(folder.path().join("observe/acme.audit.position"), "x").unwrap();
        let error = cursors.load("acme.audit").unwrap_err().to_string();
        assert!(error.contains("goes on from now"), "{error}");
    }

    #[test]
    fn one_at_a_time_holds_a_sink() {
        let folder = tempfile::tempdir().unwrap();
        let cursors = FileCursors::new(folder.path());
        let held = cursors.hold("a").unwrap();
        assert!(held.is_some() && cursors.hold("a").unwrap().is_none());
        assert!(cursors.hold("b").unwrap().is_some());
        drop(held);
        assert!(cursors.hold("a").unwrap().is_some());
    }
}
