//! The root `scratch`: a folder that is nobody's but one session's, or one direct call's. It is made
//! when a call first opens it, for this user of the machine alone, and removed with what it belongs
//! to. As long as anything of a process has it open it is locked, so that what a process left that
//! died is told from what another one uses.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
};

use cap_std::fs::Dir;
use ringfence_event::{CallId, SessionId, TenantId};
use rustix::fs::OFlags;

use super::{
    RootError, Roots,
    identity::Id,
    removal::remove_tree,
    root::Folder,
    scan::{Held, scan},
};

/// The file that whoever makes such a folder shares, until it has locked it, and whoever looks for
/// leftovers has alone: what is found without a lock is nobody's. No tenant has this name.
const MAKING: &str = ".making";

/// Where such folders are: one a tenant, and in it one a session or direct call, named by its id.
#[derive(Clone, Debug)]
pub struct Scratches {
    folder: PathBuf,
    roots: Arc<Roots>,
    /// Those of sessions that are in use here.
    used: Arc<Mutex<HashMap<PathBuf, Weak<Scratch>>>>,
}

impl Scratches {
    pub(crate) fn new(folder: PathBuf, roots: Arc<Roots>) -> Self {
        Self { folder, roots, used: Arc::default() }
    }

    /// The folder of a session. It stays when this is dropped.
    #[must_use]
    pub fn of_session(&self, tenant: &TenantId, session: &SessionId) -> Arc<Scratch> {
        let path = self.folder.join(tenant.as_str()).join(session.as_str());
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // A call that is being broken off may still have it.
        if let Some(scratch) = used.get(&path).and_then(Weak::upgrade) {
            return scratch;
        }
        let scratch = Arc::new(self.scratch(tenant, path.clone(), false));
        used.retain(|_, scratch| scratch.strong_count() > 0);
        used.insert(path, Arc::downgrade(&scratch));
        scratch
    }

    /// The folder of a direct call. It is removed when this is dropped, if nobody did before.
    #[must_use]
    pub fn of_call(&self, tenant: &TenantId, call: &CallId) -> Arc<Scratch> {
        let path = self.folder.join(tenant.as_str()).join(call.as_str());
        Arc::new(self.scratch(tenant, path, true))
    }

    fn scratch(&self, tenant: &TenantId, path: PathBuf, ends_with_call: bool) -> Scratch {
        Scratch {
            making: self.folder.join(MAKING),
            tenant: tenant.clone(),
            roots: self.roots.clone(),
            open: Mutex::default(),
            path,
            ends_with_call,
        }
    }

    /// Removes what processes that died have left: the folders of direct calls, and those of sessions
    /// of which `is_over` says so. What somebody has open stays.
    ///
    /// # Errors
    /// When something of it cannot be removed; the rest is.
    pub fn sweep(&self, is_over: impl Fn(&TenantId, &SessionId) -> bool) -> io::Result<()> {
        let mut swept = Ok(());
        for (tenant, path, locked) in self.leftovers(is_over)? {
            swept = remove_tree(&path).and(swept);
            self.roots.forget(&tenant, Id::of_handle(&locked)?);
        }
        swept
    }

    /// What is nobody's, locked.
    fn leftovers(
        &self,
        is_over: impl Fn(&TenantId, &SessionId) -> bool,
    ) -> io::Result<Vec<(TenantId, PathBuf, File)>> {
        let making = match File::open(self.folder.join(MAKING)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            making => making?,
        };
        making.lock()?;
        let mut leftovers = Vec::new();
        for of_tenant in fs::read_dir(&self.folder)? {
            let of_tenant = of_tenant?;
            let Some(tenant) = named::<TenantId>(&of_tenant) else { continue };
            for found in fs::read_dir(of_tenant.path())? {
                let found = found?;
                let of_session = named::<SessionId>(&found);
                let is_leftover = match &of_session {
                    Some(session) => is_over(&tenant, session),
                    None => named::<CallId>(&found).is_some(),
                };
                if is_leftover && let Some(locked) = locked(&found.path())? {
                    leftovers.push((tenant.clone(), found.path(), locked));
                }
            }
        }
        Ok(leftovers)
    }
}

/// What a folder's name says it belongs to. What has another name nobody here made.
fn named<T: FromStr>(found: &fs::DirEntry) -> Option<T> {
    found.file_name().to_str()?.parse().ok()
}

fn is_going(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock)
}

/// A folder with the lock that says it is in use; `None` if somebody else has that, or if there is no
/// such folder.
fn locked(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let folder = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// One such folder.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    making: PathBuf,
    tenant: TenantId,
    ends_with_call: bool,
    roots: Arc<Roots>,
    open: Mutex<Option<Arc<Folder>>>,
}

impl Scratch {
    /// Where it is, or will be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a call has opened it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Folder>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens it, and makes it if it is not there.
    pub(super) fn open(&self) -> Result<Arc<Folder>, RootError> {
        let mut open = self.lock();
        if let Some(folder) = &*open {
            return Ok(folder.clone());
        }
        let private = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        let of_tenant = self.path.parent().unwrap_or(&self.path);
        private(of_tenant)?;
        let making = File::create(&self.making)?;
        making.lock_shared()?;
        private(&self.path)?;
        let locked = locked(&self.path)?.ok_or(RootError::InUse)?;
        // The lock goes where the handle goes, so it lasts as long as any call has the folder.
        let folder = Arc::new(Folder::apart(&self.tenant, Dir::from_std_file(locked))?);
        self.roots.hold(&folder);
        Ok(open.insert(folder).clone())
    }

    /// What lies in those of the tenant's sessions. One that is removed meanwhile holds nothing.
    pub(super) fn of_sessions(&self) -> io::Result<Vec<(Id, Held)>> {
        let Some(Ok(all)) = self.path.parent().map(fs::read_dir) else { return Ok(vec![]) };
        let mut held = Vec::new();
        for found in all {
            let found = found?;
            if named::<SessionId>(&found).is_none() {
                continue;
            }
            let weighed = File::open(found.path())
                .and_then(|folder| Ok((Id::of_handle(&folder)?, scan(&folder, |_, _| false)?)));
            match weighed {
                // What is being removed is moved about on the way.
                Err(error) if is_going(&error) => {}
                weighed => held.push(weighed?),
            }
        }
        Ok(held)
    }

    /// Removes it. Where there is none, nothing happens.
    ///
    /// # Errors
    /// When somebody else has it open, or something in it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        let mut open = self.lock();
        let folder = match open.take() {
            Some(folder) => folder,
            None => match locked(&self.path)? {
                Some(locked) => Arc::new(Folder::apart(&self.tenant, Dir::from_std_file(locked))?),
                None if self.path.exists() => return Err(io::ErrorKind::ResourceBusy.into()),
                None => return Ok(()),
            },
        };
        // Locked as long as `folder` is there.
        let removed = remove_tree(&self.path);
        self.roots.forget(&self.tenant, folder.id());
        removed
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(folder) = open.take() else { return };
        if !self.ends_with_call {
            self.roots.let_go(&folder);
            return;
        }
        // Whoever waited for the call went away. There may be much in it, and nobody is to wait now.
        self.roots.forget(&self.tenant, folder.id());
        let path = self.path.clone();
        let removing = thread::Builder::new().name("remove scratch".into());
        // What is not removed here is removed at the next start.
        let _ = removing.spawn(move || {
            let _ = remove_tree(&path);
            drop(folder);
        });
    }
}
