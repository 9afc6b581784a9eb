//! Folders of the host that are given as roots, each looked at and opened once and held as a handle:
//! what happens to its path afterwards changes nothing.

mod reclaim;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use cap_std::{ambient_authority, fs::Dir};
use ringfence_event::{Access, RootName, TenantId};
use ringfence_policy::{Full, Permit, Quota};

use super::{
    FsError, Held, Pool,
    identity::{Id, chain},
    kept::{Keep, Kept, is_operators},
    mount::{Ground, ground},
    quota::{Area, Budget, Handles, Slot, Total},
    scan::scan,
    scratch::Scratch,
};
use crate::DenialLog;

/// The share of the files that the process may open which calls may have open at one time: the rest
/// is for sockets, the store and whoever embeds this.
const HANDLES_SHARE: u64 = 2;
/// The share of those that one tenant has if nothing else is said.
const TENANT_SHARE: u64 = 2;
/// Files that a process may open where the system sets no limit: many, and not all there are.
const OPEN_FILES: u64 = 1 << 16;

/// How often a folder is counted again that changes while it is counted.
const SCANS_MAX: usize = 8;

/// A folder that a tenant is to get as a root.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Who.
    pub tenant: &'a TenantId,
    /// The folder.
    pub path: &'a Path,
    /// How far it is to be open.
    pub access: Access,
    /// What may lie in it.
    pub quota: Quota,
}

/// Why a folder is no root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It cannot be opened.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The call was given no folder for its `scratch`.
    #[error("the host has no folder for it")]
    NoScratch,
    /// Another process has the `scratch` of this session open.
    #[error("another process has it open")]
    InUse,
    /// It is the kernel's, or something that is lies in it.
    #[error("it is, holds or lies in the kernel's own {place}")]
    Special {
        /// What is.
        place: String,
    },
    /// The store lies there.
    #[error("it lies in the folder where Ringfence keeps its store")]
    Store,
    /// It is, holds, or lies in a folder of another tenant.
    #[error("it overlaps a folder that another tenant is given")]
    OtherTenant {
        /// Who has it.
        tenant: TenantId,
    },
    /// A quota that another root would go around.
    #[error(
        "a root with a quota would lie in another of the tenant that is given for writing, and what \
         is written through that would not count"
    )]
    QuotaInside,
}

/// A folder that is held.
#[derive(Debug)]
pub(super) struct Folder {
    tenant: TenantId,
    dir: Arc<Dir>,
    /// It, and all that it lies in.
    chain: Vec<Id>,
    /// Whether files in it can be read without a trace.
    untraced: AtomicBool,
    written: AtomicBool,
    bounded: AtomicBool,
    area: Mutex<Option<Arc<Area>>>,
    /// If what it lies on may not answer.
    pool: Option<Pool>,
}

impl Folder {
    /// A folder of the host's own making. It lies in nothing, as far as anybody is concerned: the
    /// store's folder, in which it is, is hidden in every root.
    pub(super) fn apart(tenant: &TenantId, dir: Dir) -> io::Result<Self> {
        let chain = vec![Id::of_handle(&dir)?];
        // What lies in it counts, also while only reading is granted.
        Ok(Self { written: AtomicBool::new(true), ..Self::new(tenant, dir, chain) })
    }

    fn new(tenant: &TenantId, dir: Dir, chain: Vec<Id>) -> Self {
        Self {
            tenant: tenant.clone(),
            dir: Arc::new(dir),
            chain,
            untraced: AtomicBool::new(true),
            written: AtomicBool::new(false),
            bounded: AtomicBool::new(false),
            area: Mutex::new(None),
            pool: None,
        }
    }

    pub(super) fn id(&self) -> Id {
        self.chain[0]
    }

    fn lies_in(&self, other: &Self) -> bool {
        self.chain.contains(&other.id())
    }
}

/// What a tenant has.
#[derive(Debug)]
struct Tenant {
    by_path: HashMap<PathBuf, Arc<Folder>>,
    total: Arc<Total>,
    handles: Arc<Handles>,
    /// Where its folders are looked through, when they are first counted.
    counting: Pool,
    /// What lies in scratch folders that nothing here has open; `None` until it is asked for.
    resting: Option<HashMap<Id, Held>>,
}

/// The folders that this process has opened as roots.
#[derive(Debug)]
pub struct Roots {
    opened: Mutex<Opened>,
    handles: Arc<Handles>,
}

#[derive(Debug)]
struct Opened {
    folders: Vec<Arc<Folder>>,
    tenants: HashMap<TenantId, Tenant>,
    /// How many files one tenant may have open, if nothing else is said.
    share: u64,
    keep: Arc<Keep>,
}

impl Opened {
    fn tenant(&mut self, id: &TenantId) -> &mut Tenant {
        let share = self.share;
        self.tenants.entry(id.clone()).or_insert_with(|| Tenant {
            by_path: HashMap::new(),
            total: Arc::default(),
            handles: Arc::new(Handles::new(share)),
            counting: Pool::default(),
            resting: None,
        })
    }

    fn by_path(&self, tenant: &TenantId, path: &Path) -> Option<Arc<Folder>> {
        self.tenants.get(tenant)?.by_path.get(path).cloned()
    }

    /// The folders that are counted if anything of a tenant's is: those through which it writes, but
    /// none that lies in another one.
    fn counted(&self, tenant: &TenantId) -> Vec<Arc<Folder>> {
        let of_tenant = self.folders.iter().filter(|folder| folder.tenant == *tenant);
        let written: Vec<_> = of_tenant.filter(|folder| folder.written.load(Relaxed)).collect();
        let outermost = |folder: &&&Arc<Folder>| {
            !written.iter().any(|other| folder.id() != other.id() && folder.lies_in(other))
        };
        written.iter().filter(outermost).map(|folder| Arc::clone(folder)).collect()
    }

    /// Whether a permit's roots can be opened without looking through a folder first.
    fn is_counted(&self, permit: &Permit) -> bool {
        let (tenant, quota) = (permit.tenant(), permit.tenant_quota());
        let mut of_tenant = self.folders.iter().filter(|folder| folder.tenant == *tenant);
        let bounded = !quota.held.is_none()
            || permit.roots().iter().any(|root| !root.quota.is_none())
            || of_tenant.any(|folder| folder.bounded.load(Relaxed));
        if !bounded {
            return true;
        }
        let resting = self.tenants.get(tenant).is_some_and(|tenant| tenant.resting.is_some());
        // What is the session's own is counted whenever it is opened again.
        let known = |path: &Path| self.by_path(tenant, path).is_some();
        permit.roots().iter().all(|root| root.path.as_deref().is_some_and(known))
            && (resting || quota.held.is_none())
            // Locked, it is being counted.
            && self.counted(tenant).iter().all(|folder| {
                folder.area.try_lock().is_ok_and(|area| area.is_some())
            })
    }
}

impl Default for Roots {
    fn default() -> Self {
        Self::holding(Keep::default())
    }
}

impl Roots {
    /// No folder yet.
    ///
    /// # Errors
    /// When what is kept cannot be looked at.
    pub fn keeping(kept: &Kept) -> io::Result<Self> {
        Ok(Self::holding(Keep::new(kept)?))
    }

    fn holding(keep: Keep) -> Self {
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let handles = most.unwrap_or(OPEN_FILES).min(OPEN_FILES) / HANDLES_SHARE;
        let opened = Opened {
            folders: Vec::new(),
            tenants: HashMap::new(),
            share: handles / TENANT_SHARE,
            keep: Arc::new(keep),
        };
        Self { opened: Mutex::new(opened), handles: Arc::new(Handles::new(handles)) }
    }

    /// Looks at a folder and opens it, if this is the first time; from then on it is this folder,
    /// whatever its path leads to.
    ///
    /// # Errors
    /// When it cannot be opened, or is none that a tenant may have.
    pub fn register(&self, claim: &Claim<'_>) -> Result<(), RootError> {
        self.folder(&mut self.lock(), claim).map(drop)
    }

    /// What a folder of a tenant holds, if that is counted.
    #[must_use]
    pub fn held(&self, tenant: &TenantId, path: &Path) -> Option<Held> {
        let folder = self.lock().by_path(tenant, path);
        let area = folder?.area.lock().unwrap_or_else(PoisonError::into_inner).clone();
        area.map(|area| area.held())
    }

    fn lock(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, opened: &mut Opened, claim: &Claim<'_>) -> Result<Arc<Folder>, RootError> {
        if let Some(folder) = opened.by_path(claim.tenant, claim.path) {
            self.claim(opened, &folder, claim)?;
            return Ok(folder);
        }
        // Also where nothing is yet: no tool is to put there what the host would open next time.
        Arc::make_mut(&mut opened.keep).pin(claim.path)?;
        let dir = Dir::open_ambient_dir(claim.path, ambient_authority())?;
        let chain = chain(&dir)?;
        let pool = match ground(&dir, &chain)? {
            Ground::Special(place) => return Err(RootError::Special { place }),
            Ground::Slow => Some(Pool::default()),
            Ground::Local => None,
        };
        if opened.keep.hides_root(&chain) {
            return Err(RootError::Store);
        }
        let of_other = opened.folders.iter().find(|other| {
            let overlaps = chain.contains(&other.id()) || other.chain.contains(&chain[0]);
            overlaps && other.tenant != *claim.tenant
        });
        if let Some(other) = of_other {
            return Err(RootError::OtherTenant { tenant: other.tenant.clone() });
        }
        let same = opened.folders.iter().find(|folder| folder.id() == chain[0]).cloned();
        let folder = same.unwrap_or_else(|| {
            let folder = Folder::new(claim.tenant, dir, chain);
            Arc::new(Folder { pool, ..folder })
        });
        self.claim(opened, &folder, claim)?;
        if !opened.folders.iter().any(|known| Arc::ptr_eq(known, &folder)) {
            opened.folders.push(folder.clone());
        }
        opened.tenant(claim.tenant).by_path.insert(claim.path.to_owned(), folder.clone());
        Ok(folder)
    }

    /// Notes how a folder is used. A quota holds only if nothing comes in past it.
    fn claim(&self, opened: &Opened, folder: &Folder, claim: &Claim<'_>) -> Result<(), RootError> {
        let (writes, bounds) = (claim.access == Access::Write, !claim.quota.is_none());
        let around = opened.folders.iter().any(|other| {
            let goes_around = |inner: &Folder, bounded: bool, outer: &Folder, written: bool| {
                bounded && written && inner.id() != outer.id() && inner.lies_in(outer)
            };
            goes_around(folder, bounds, other, other.written.load(Relaxed))
                || goes_around(other, other.bounded.load(Relaxed), folder, writes)
        });
        if around {
            return Err(RootError::QuotaInside);
        }
        folder.written.fetch_or(writes, Relaxed);
        folder.bounded.fetch_or(bounds, Relaxed);
        Ok(())
    }

    /// Has a folder of a tenant's among those that count.
    pub(super) fn hold(&self, folder: &Arc<Folder>) {
        let mut opened = self.lock();
        opened.folders.push(folder.clone());
        let of_tenant = opened.tenants.get_mut(&folder.tenant);
        if let Some(Tenant { total, resting: Some(resting), .. }) = of_tenant
            && let Some(held) = resting.remove(&folder.id())
        {
            // It is counted again when it is needed.
            total.give_back(held);
        }
    }

    /// Lets a folder go that stays where it is, and so goes on to count.
    pub(super) fn let_go(&self, folder: &Arc<Folder>) {
        let mut opened = self.lock();
        let Some(area) = opened.take(folder.id()) else { return };
        match opened.tenants.get_mut(&folder.tenant) {
            Some(Tenant { resting: Some(resting), .. }) => {
                resting.insert(folder.id(), area.take());
            }
            Some(Tenant { total, .. }) => total.give_back(area.take()),
            None => {}
        }
    }

    /// Forgets a folder that is gone, and what it held.
    pub(super) fn forget(&self, tenant: &TenantId, id: Id) {
        let mut opened = self.lock();
        let area = opened.take(id);
        let Some(of_tenant) = opened.tenants.get_mut(tenant) else { return };
        let rested = of_tenant.resting.as_mut().and_then(|resting| resting.remove(&id));
        for held in area.map(|area| area.take()).into_iter().chain(rested) {
            of_tenant.total.give_back(held);
        }
    }

    /// Counts, once, what lies in the tenant's scratch folders that nothing here has open.
    fn count_resting(&self, tenant: &TenantId, scratch: &Scratch) -> io::Result<()> {
        let is_counted = |opened: &Opened| {
            opened.tenants.get(tenant).is_none_or(|tenant| tenant.resting.is_some())
        };
        if is_counted(&self.lock()) {
            return Ok(());
        }
        let found = scratch.of_sessions()?;
        let mut opened = self.lock();
        if is_counted(&opened) {
            return Ok(());
        }
        let Opened { tenants, folders, .. } = &mut *opened;
        let Some(of_tenant) = tenants.get_mut(tenant) else { return Ok(()) };
        let is_open = |id: &Id| folders.iter().any(|folder| folder.id() == *id);
        let resting: HashMap<Id, Held> = found.into_iter().filter(|(id, _)| !is_open(id)).collect();
        resting.values().for_each(|held| of_tenant.total.found(*held));
        of_tenant.resting = Some(resting);
        Ok(())
    }

    /// The threads on which a permit's roots are to be opened, if a folder has to be looked through
    /// for it: that may take long, and on some file systems for ever.
    pub(crate) fn counting(&self, permit: &Permit) -> Option<Pool> {
        let mut opened = self.lock();
        let counted = opened.is_counted(permit);
        (!counted).then(|| opened.tenant(permit.tenant()).counting.clone())
    }

    /// Opens the roots of one call. `scratch` is where the root of that name lies.
    pub(crate) fn open(
        &self,
        permit: &Arc<Permit>,
        denials: &Arc<DenialLog>,
        scratch: Option<&Scratch>,
    ) -> Result<Vec<Arc<OpenRoot>>, (RootName, PathBuf, RootError)> {
        let (tenant, quota) = (permit.tenant(), permit.tenant_quota());
        let mut roots = Vec::with_capacity(permit.roots().len());
        for root in permit.roots() {
            let own = scratch.map_or(Path::new(root.name.as_str()), Scratch::path);
            let path = root.path.as_deref().unwrap_or(own);
            let failed = |error| (root.name.clone(), path.to_owned(), error);
            let claim = Claim { tenant, path, access: root.access, quota: root.quota };
            let own = match (&root.path, scratch) {
                (Some(_), _) => None,
                (None, Some(scratch)) => Some(scratch.open().map_err(failed)?),
                (None, None) => return Err(failed(RootError::NoScratch)),
            };
            let mut opened = self.lock();
            let folder = match own {
                None => self.folder(&mut opened, &claim).map_err(failed)?,
                Some(folder) => {
                    self.claim(&opened, &folder, &claim).map_err(failed)?;
                    folder
                }
            };
            let of_tenant = opened.tenant(tenant);
            let (total, handles) = (of_tenant.total.clone(), of_tenant.handles.clone());
            let of_tenant = || opened.folders.iter().filter(|folder| folder.tenant == *tenant);
            let counts =
                !quota.held.is_none() || of_tenant().any(|folder| folder.bounded.load(Relaxed));
            // The outermost folder through which anything is written.
            let place = |outer: &&Arc<Folder>| {
                folder.chain.iter().position(|id| *id == outer.id()).unwrap_or(0)
            };
            let counted = of_tenant()
                .filter(|outer| folder.lies_in(outer) && outer.written.load(Relaxed))
                .max_by_key(place)
                .filter(|_| counts)
                .cloned();
            let written = if counts { opened.counted(tenant) } else { Vec::new() };
            let keep = opened.keep.clone();
            drop(opened);
            if let Some(scratch) = scratch.filter(|_| !quota.held.is_none()) {
                self.count_resting(tenant, scratch).map_err(|error| failed(error.into()))?;
            }
            // All that the tenant may write is counted, for its quota is over all of it.
            for folder in &written {
                area(folder, &keep, &total).map_err(|error| failed(error.into()))?;
            }
            let area = match &counted {
                Some(folder) => {
                    Some(area(folder, &keep, &total).map_err(|error| failed(error.into()))?)
                }
                None => None,
            };
            let budget = area.map(|area| Budget { area, root: root.quota, tenant: quota.held });
            roots.push(Arc::new(OpenRoot {
                name: root.name.clone(),
                access: root.access,
                guarded: keep.is_below(folder.id()),
                folder,
                keep,
                budget,
                process: self.handles.clone(),
                handles,
                handles_max: quota.handles,
                permit: permit.clone(),
                denials: denials.clone(),
            }));
        }
        Ok(roots)
    }
}

impl Opened {
    /// Takes a folder out, with what was counted in it.
    fn take(&mut self, id: Id) -> Option<Arc<Area>> {
        let place = self.folders.iter().position(|folder| folder.id() == id)?;
        let folder = self.folders.swap_remove(place);
        folder.area.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The count of a folder; made now if this is the first time it is asked for.
fn area(folder: &Folder, keep: &Keep, total: &Arc<Total>) -> io::Result<Arc<Area>> {
    let mut area = folder.area.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(area) = &*area {
        return Ok(area.clone());
    }
    let mut scans = 0;
    let held = loop {
        scans += 1;
        // What is the host's own comes and goes without anybody counting it.
        match scan(&*folder.dir, |id, name| keep.hides(id) || is_operators(name)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && scans < SCANS_MAX => {}
            held => break held?,
        }
    };
    Ok(area.insert(Arc::new(Area::new(held, total.clone()))).clone())
}

/// One root as one call has it.
pub struct OpenRoot {
    name: RootName,
    access: Access,
    folder: Arc<Folder>,
    keep: Arc<Keep>,
    /// Whether anything of the host's own lies below it.
    guarded: bool,
    budget: Option<Budget>,
    process: Arc<Handles>,
    handles: Arc<Handles>,
    handles_max: Option<u64>,
    permit: Arc<Permit>,
    denials: Arc<DenialLog>,
}

impl std::fmt::Debug for OpenRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenRoot").field("name", &self.name).finish_non_exhaustive()
    }
}

impl OpenRoot {
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

    pub(super) fn dir(&self) -> &Arc<Dir> {
        &self.folder.dir
    }

    pub(super) fn id(&self) -> Id {
        self.folder.id()
    }

    pub(super) fn pool(&self) -> Option<&Pool> {
        self.folder.pool.as_ref()
    }

    pub(super) fn keep(&self) -> &Keep {
        &self.keep
    }

    pub(super) fn is_guarded(&self) -> bool {
        self.guarded
    }

    pub(super) fn budget(&self) -> Option<&Budget> {
        self.budget.as_ref()
    }

    /// Whether reading is to leave no trace: who may only look does not change the time of it.
    pub(super) fn reads_untraced(&self) -> bool {
        self.access == Access::Read && self.folder.untraced.load(Relaxed)
    }

    /// Only a file's owner may read it without a trace, and this process is not.
    pub(super) fn leaves_traces(&self) {
        self.folder.untraced.store(false, Relaxed);
    }

    /// A place among the open handles.
    pub(super) fn slot(&self, path: &str, access: Access) -> Result<Slot, FsError> {
        let slot = Slot::take(&self.process, &self.handles, self.handles_max);
        slot.map_err(|full| self.full(path, access, full))
    }

    /// Puts on record that a quota is full.
    pub(super) fn full(&self, path: &str, access: Access, full: Full) -> FsError {
        self.denials.record(self.permit.deny_quota(&self.name, path, access, full));
        FsError::Full
    }

    /// Puts on record that something is the host's own.
    pub(super) fn protected(&self, path: &str, access: Access) -> FsError {
        self.denials.record(self.permit.deny_protected(path, access));
        FsError::Denied
    }
}
