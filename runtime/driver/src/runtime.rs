//! The runtime: what one process holds for all its sessions and calls.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
    thread::JoinHandle,
};

use ringfence_capability::{Host, fs::Scratches};
use ringfence_catalog::Lock;
use ringfence_event::{Digest, ModelName, SessionId, TenantId, Timestamp, ToolName, UserId};
use ringfence_model::{KeySource, Model, ModelConfig, ModelSource, ScriptedModel, VendorModel};
use ringfence_policy::ToolPolicy;
use ringfence_sandbox::{Engine, EngineConfig};
use ringfence_store::Store;
use ringfence_vault::Vault;

use crate::{
    Clock, Config, Error, Installed,
    admit::{Admission, Entry},
    coalesce::Flights,
    config::{self, read_text},
    delta,
    feed::Suspended,
    load::Probe,
    revoke::Calls,
    root,
    tend::Tended,
    tool::{Tools, Unusable},
};

/// Whose work it is, and on whose behalf: from the credential, or the command line; never from a
/// model or a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose.
    pub tenant: TenantId,
    /// On whose behalf.
    pub user: UserId,
}

impl Caller {
    /// Tenant and user when nobody says.
    #[must_use]
    pub fn local() -> Self {
        Self { tenant: TenantId::local(), user: UserId::local() }
    }
}

/// An open runtime. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(pub(crate) Arc<Inner>);

/// What a policy is compiled of, beside the grants: when those change, all are compiled anew.
type PolicyKey = (TenantId, ToolName, [Digest; 3]);

pub(crate) struct Inner {
    /// What stays as it is while the runtime is open.
    pub(crate) config: Fixed,
    /// The operator's file as it was read last.
    pub(crate) current: RwLock<Arc<Config>>,
    /// Held by whoever reads that again.
    pub(crate) reloading: tokio::sync::Mutex<()>,
    /// What every piece of work passes.
    pub(crate) admit: Arc<Admission>,
    pub(crate) engine: Engine,
    pub(crate) host: Host,
    pub(crate) scratches: Scratches,
    pub(crate) tools: Tools,
    /// The calls that run.
    pub(crate) calls: Calls,
    /// The tenants that may begin nothing.
    pub(crate) suspended: Suspended,
    /// Who hears the pieces of replies.
    pub(crate) deltas: delta::Told,
    store: Arc<LazyStore>,
    /// The direct calls with a key that are under way.
    pub(crate) flights: Flights,
    /// The sessions that are driven here.
    pub(crate) tended: Tended,
    /// When it was tried last, if it failed.
    pub(crate) probe: Probe,
    _sweep: Option<Sweep>,
    pub(crate) policies: Mutex<HashMap<PolicyKey, ToolPolicy>>,
    pub(crate) models: Mutex<HashMap<ModelName, Arc<dyn Model>>>,
}

/// What stays as it is while a runtime is open.
pub(crate) struct Fixed {
    pub(crate) file: Option<PathBuf>,
    pub(crate) folder: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) vault: Vault,
    pub(crate) clock: Clock,
}

impl Fixed {
    /// The name of the operator's file, to tell somebody where a line belongs.
    pub(crate) fn file_name(&self) -> String {
        config::file_name(self.file.as_deref())
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        config::lock_file(&self.folder)
    }
}

impl Runtime {
    /// Opens the runtime: the engine, the lock file, and the store in the home folder.
    ///
    /// # Errors
    /// When one of them cannot be opened.
    pub fn open(config: Config) -> Result<Self, Error> {
        let host = root::host(&config)?.with_vault(config.vault.clone());
        let store = Arc::new(LazyStore::start(config.home.join("journal.db")));
        let scratch = config.home.join("scratch");
        let is_there = scratch.exists();
        let scratches = host.scratches(scratch);
        let sweep = is_there.then(|| Sweep::start(scratches.clone(), store.clone()));
        let engine = Engine::new(&EngineConfig {
            concurrent_calls: config.concurrent_calls,
            memory: config.memory,
            cache: Some(config.home.join("compiled")),
        })?;
        let lock = Lock::load(&config.lock_file())?;
        let tools = Tools::new(lock, &config.folder);
        tracing::info!(home = %config.home.display(), "the runtime is open");
        let fixed = Fixed {
            file: config.file.clone(),
            folder: config.folder.clone(),
            home: config.home.clone(),
            vault: config.vault.clone(),
            clock: config.clock.clone(),
        };
        let config = Arc::new(config);
        Ok(Self(Arc::new(Inner {
            config: fixed,
            admit: Arc::new(Admission::new(config.clone(), engine.memory())),
            current: RwLock::new(config),
            reloading: tokio::sync::Mutex::default(),
            engine,
            host,
            scratches,
            tools,
            calls: Calls::default(),
            suspended: Suspended::default(),
            deltas: delta::Told::default(),
            store,
            flights: Flights::default(),
            tended: Tended::default(),
            probe: Probe::default(),
            _sweep: sweep,
            policies: Mutex::default(),
            models: Mutex::default(),
        })))
    }

    /// What it was opened with, or [reloaded](Self::reload) with last.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.0.current()
    }

    /// Waits until everything recorded so far is durable. To be called before the process ends.
    ///
    /// # Errors
    /// When something could not be stored.
    pub async fn flush(&self) -> Result<(), Error> {
        Ok(self.0.store()?.flush().await?)
    }
}

impl Inner {
    /// The operator's file as it was read last.
    pub(crate) fn current(&self) -> Arc<Config> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes work from outside, or refuses it.
    pub(crate) fn enter(
        &self,
        tenant: &TenantId,
        not_after: Option<Timestamp>,
    ) -> Result<Entry, Error> {
        self.check_store()?;
        Ok(self.admit.enter(tenant, not_after)?)
    }

    /// The store, if anybody has asked for it before.
    pub(crate) fn opened_store(&self) -> Option<&Arc<Store>> {
        self.store.store.get().and_then(|store| store.as_ref().ok())
    }

    pub(crate) fn store(&self) -> Result<&Arc<Store>, Error> {
        self.store.get()
    }

    /// The policy of one tool for one tenant, compiled once. Another build of the tool has digests of
    /// its own, and so a policy of its own.
    pub(crate) fn policy(&self, tenant: &TenantId, installed: &Installed) -> ToolPolicy {
        let entry = &installed.entry;
        let of_tool = [entry.component, entry.definitions, entry.manifest];
        let key = (tenant.clone(), installed.manifest.name.clone(), of_tool);
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        let compile = || {
            let policy = installed.policy(tenant, &self.current().grants);
            match self.calls.is_revoked(tenant, &installed.manifest.name) {
                true => policy.revoke(),
                false => policy,
            }
        };
        policies.entry(key).or_insert_with(compile).clone()
    }

    /// Lets the policies of a tool for a tenant be compiled again.
    pub(crate) fn forget_policies(&self, tenant: &TenantId, tool: &ToolName) {
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        policies.retain(|(of_tenant, of_tool, _), _| (of_tenant, of_tool) != (tenant, tool));
    }

    /// A tool by name, accepted and verified. If it has to be loaded, that waits for its turn.
    pub(crate) async fn tool(
        &self,
        tenant: &TenantId,
        name: &ToolName,
    ) -> Result<Arc<Installed>, Unusable> {
        match self.tools.loaded(name) {
            Some(installed) => Ok(installed),
            None => {
                self.tools.get(&self.engine, &self.admit, &self.admit.tenant(tenant), name).await
            }
        }
    }

    /// A model by its name in the operator's file.
    pub(crate) fn model(&self, name: &ModelName) -> Result<Arc<dyn Model>, Error> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = models.get(name) {
            return Ok(model.clone());
        }
        let current = self.current();
        let Some(config) = current.models.get(name) else {
            return Err(Error::input(format!(
                "there is no model `{name}`: [model.{name}] in {} sets one up",
                self.config.file_name()
            )));
        };
        let model = self.make_model(config)?;
        models.insert(name.clone(), model.clone());
        Ok(model)
    }

    /// A model as it is set up.
    pub(crate) fn make_model(&self, config: &ModelConfig) -> Result<Arc<dyn Model>, Error> {
        Ok(match &config.source {
            ModelSource::Script { file } => {
                let path = self.config.folder.join(file);
                let script = ScriptedModel::parse(&read_text(&path)?, &path.display().to_string())?;
                Arc::new(script.with_limits(config.limits))
            }
            ModelSource::Vendor(vendor) => {
                let vault = self.config.vault.clone();
                let key = match vendor.key.clone() {
                    None => KeySource::none(),
                    Some(place) => KeySource::new(move || vault.value(&place)),
                };
                Arc::new(VendorModel::new(vendor, config.limits, key))
            }
        })
    }
}

/// The removal of what processes that died have left in `scratch`, beside everything else: nobody
/// waits for it but the end of the runtime, so that it comes to its own.
struct Sweep(Option<JoinHandle<()>>);

impl Sweep {
    fn start(scratches: Scratches, store: Arc<LazyStore>) -> Self {
        Self(Some(std::thread::spawn(move || {
            let Ok(store) = store.get() else { return };
            let is_over =
                |tenant: &TenantId, session: &SessionId| match store.session(tenant, session) {
                    Ok(session) => session.is_closed(),
                    Err(error) => matches!(error, ringfence_store::Error::NoSuchSession),
                };
            // What cannot be removed is tried again at the next start.
            let _ = scratches.sweep(is_over);
        })))
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if let Some(sweeping) = self.0.take() {
            // A panic in it has cost nobody anything.
            let _ = sweeping.join();
        }
    }
}

/// The store, opened beside the engine: neither waits for the other.
struct LazyStore {
    opening: Mutex<Option<JoinHandle<Result<Store, ringfence_store::Error>>>>,
    store: OnceLock<Result<Arc<Store>, ringfence_store::Error>>,
}

impl LazyStore {
    fn start(path: PathBuf) -> Self {
        let opening = std::thread::spawn(move || Store::open(&path));
        Self { opening: Mutex::new(Some(opening)), store: OnceLock::new() }
    }

    fn get(&self) -> Result<&Arc<Store>, Error> {
        let store = self.store.get_or_init(|| {
            let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
            // The handle is there: it is taken only here, and this runs once.
            let opened = opening.take().map(JoinHandle::join);
            if let Some(Ok(Err(error))) = &opened {
                tracing::error!(%error, "the store cannot be opened");
            }
            match opened {
                Some(Ok(opened)) => opened.map(Arc::new),
                Some(Err(_)) | None => Err(ringfence_store::Error::Stopped),
            }
        });
        store.as_ref().map_err(|error| error.clone().into())
    }
}

/// Opening it is not broken off in the middle: a home folder that is just being made would be left
/// with half of a store beside its place.
impl Drop for LazyStore {
    fn drop(&mut self) {
        let opening = self.opening.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(opening) = opening.take() {
            // Nobody asked for the store, so nobody is to hear why there is none.
            let _ = opening.join();
        }
    }
}
