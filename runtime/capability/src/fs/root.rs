//! Roots of the host, each opened once and held as a handle: what happens to its path afterwards
//! changes nothing.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use cap_std::{ambient_authority, fs::Dir};
use ringfence_event::{Access, RootName};

/// One root as one call has it.
#[derive(Debug)]
pub struct OpenRoot {
    name: RootName,
    access: Access,
    dir: Arc<Dir>,
}

impl OpenRoot {
    pub(crate) fn new(name: RootName, access: Access, dir: Arc<Dir>) -> Self {
        Self { name, access, dir }
    }

    /// The name; the guest sees `/NAME`.
    #[must_use]
    pub fn name(&self) -> &RootName {
        &self.name
    }

    /// How far it is open.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    pub(crate) fn dir(&self) -> &Arc<Dir> {
        &self.dir
    }
}

/// The handles of all roots this process has opened, by path.
#[derive(Debug, Default)]
pub struct Roots(Mutex<HashMap<PathBuf, Arc<Dir>>>);

impl Roots {
    /// The handle of a root; opened now if this is the first time it is asked for.
    pub fn handle(&self, path: &Path) -> io::Result<Arc<Dir>> {
        let mut handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dir) = handles.get(path) {
            return Ok(dir.clone());
        }
        let dir = Arc::new(Dir::open_ambient_dir(path, ambient_authority())?);
        handles.insert(path.to_owned(), dir.clone());
        Ok(dir)
    }
}
