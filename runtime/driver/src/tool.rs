//! Tools on their way from disk to a call: loaded, held against the lock, compiled, asked.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use ringfence_catalog::{Difference, Entry, Lock, RawDefinition, ToolFolder, describe};
use ringfence_event::{TenantId, ToolName};
use ringfence_policy::{Grants, Manifest, ToolPolicy};
use ringfence_sandbox::{Definition, Engine, Tool};
use tokio::sync::OnceCell;

use crate::{
    Error,
    admit::{Admission, Tenant},
};

/// A tool that can be called.
#[derive(Clone)]
pub struct Installed {
    /// What the lock says of it, or would.
    pub entry: Entry,
    /// What it asks.
    pub manifest: Manifest,
    /// What was strange in its definitions.
    pub warnings: Vec<String>,
    pub(crate) tool: Tool,
}

impl Installed {
    /// What it imports.
    #[must_use]
    pub fn imports(&self) -> &[ringfence_sandbox::Import] {
        self.tool.imports()
    }

    pub(crate) fn policy(&self, tenant: &TenantId, grants: &Grants) -> ToolPolicy {
        let facts = self.entry.facts(&self.manifest.name);
        ToolPolicy::compile(tenant, &facts, &self.manifest, grants)
    }

    /// Loads a tool as it lies there, whatever the lock says, and asks it what it offers. That waits for
    /// its turn among the tenants.
    pub(crate) async fn load(
        engine: &Engine,
        (admit, tenant): (&Admission, &Arc<Tenant>),
        folder: ToolFolder,
        manifest: Manifest,
        source: &str,
    ) -> Result<Self, Error> {
        let slot = admit.compile(tenant).await;
        // Beside the threads that run guests: it may take long.
        let (engine, of_tool) = (engine.clone(), manifest.clone());
        let compiling = tokio::task::spawn_blocking(move || {
            // Whoever wanted it may go away, and it goes on: the slot is taken as long as it does.
            compile(&engine, &folder, &of_tool).map(|tool| (tool, folder, slot))
        });
        let (tool, folder, _slot) = compiling.await.unwrap_or_else(|_| Err(host_failed()))?;
        let error = |source| Error::Tool { tool: manifest.name.clone(), source };
        let definitions = tool.definitions().await.map_err(error)?;
        let described = describe(&manifest, definitions.into_iter().map(raw).collect())?;
        Ok(Self {
            entry: Entry::new(&folder, source, described.functions),
            warnings: described.warnings.iter().map(ToString::to_string).collect(),
            manifest,
            tool,
        })
    }
}

fn compile(engine: &Engine, folder: &ToolFolder, manifest: &Manifest) -> Result<Tool, Error> {
    Tool::load(engine, &folder.component)
        .map_err(|source| Error::Tool { tool: manifest.name.clone(), source })
}

fn host_failed() -> Error {
    Error::input("loading it failed in the host")
}

fn raw(definition: Definition) -> RawDefinition {
    RawDefinition {
        name: definition.name,
        title: definition.title,
        description: definition.description,
        input_schema: definition.input_schema,
        output_schema: definition.output_schema,
        effect: definition.effect,
    }
}

/// The accepted tools of a lock file, each loaded when it is first used.
pub(crate) struct Tools {
    /// Another one as soon as this process changes the lock file.
    accepted: RwLock<Arc<Accepted>>,
    loaded: Mutex<HashMap<ToolName, Arc<Loading>>>,
}

type Loading = OnceCell<Arc<Installed>>;

/// What was accepted, and where it lies.
pub(crate) struct Accepted {
    pub(crate) lock: Lock,
    /// Where the lock's paths start.
    folder: PathBuf,
}

/// Why an installed tool cannot be called.
pub(crate) enum Unusable {
    /// Nobody added it.
    NotInstalled,
    /// It is not what was accepted.
    Changed(Difference),
    /// It cannot be loaded.
    Broken(Error),
}

impl Tools {
    pub(crate) fn new(lock: Lock, folder: &Path) -> Self {
        let accepted = Accepted { lock, folder: folder.to_owned() };
        Self { accepted: RwLock::new(Arc::new(accepted)), loaded: Mutex::default() }
    }

    pub(crate) fn accepted(&self) -> Arc<Accepted> {
        self.accepted.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the lock file as it is now, after a change of one tool: what was loaded of that is not used
    /// again, a substitute of it neither.
    pub(crate) fn changed(&self, lock: Lock, tool: &ToolName) {
        let folder = self.accepted().folder.clone();
        let accepted = Arc::new(Accepted { lock, folder });
        *self.accepted.write().unwrap_or_else(PoisonError::into_inner) = accepted;
        self.cells().remove(tool);
    }

    /// Takes the lock file as it is now, whatever others changed in it: what was loaded of tools that are
    /// not what they were is not used again. What is substituted stays.
    pub(crate) fn reload(&self, lock: Lock) {
        let before = self.accepted();
        let changed = |name: &ToolName| lock.get(name) != before.lock.get(name);
        let mut cells = self.cells();
        cells.retain(|name, cell| {
            let is_substitute = cell.get().is_some_and(|installed| {
                before.lock.get(name).is_none_or(|entry| !same_build(entry, &installed.entry))
            });
            is_substitute || !changed(name)
        });
        let folder = before.folder.clone();
        *self.accepted.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Accepted { lock, folder });
    }

    /// What a tool offers: as it was substituted, or else as it was accepted. Loads nothing.
    pub(crate) fn entry(&self, name: &ToolName) -> Option<Entry> {
        match self.loaded(name) {
            Some(installed) => Some(installed.entry.clone()),
            None => self.accepted().lock.get(name).cloned(),
        }
    }

    /// What `look` sees in what the lock says of a tool, or of one that is substituted: nothing of it is copied.
    pub(crate) fn look<T>(&self, name: &ToolName, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        match self.loaded(name) {
            Some(installed) => Some(look(&installed.entry)),
            None => self.accepted().lock.get(name).map(look),
        }
    }

    /// A tool that was loaded or substituted before.
    pub(crate) fn loaded(&self, name: &ToolName) -> Option<Arc<Installed>> {
        self.cells().get(name).and_then(|cell| cell.get().cloned())
    }

    /// An accepted tool, verified against the lock: what runs is the bytes that were verified. Loaded
    /// once, beside the threads that run guests, and nobody but those who want this tool waits. What
    /// cannot be loaded now is tried again when it is next asked for.
    pub(crate) async fn get(
        &self,
        engine: &Engine,
        admit: &Admission,
        tenant: &Arc<Tenant>,
        name: &ToolName,
    ) -> Result<Arc<Installed>, Unusable> {
        let cell = self.cells().entry(name.clone()).or_default().clone();
        let load = async || {
            let slot = admit.compile(tenant).await;
            let (accepted, engine, name) = (self.accepted(), engine.clone(), name.clone());
            // Whoever wants it may go away, and loading goes on: the slot is taken as long as it does.
            let loading = tokio::task::spawn_blocking(move || {
                let _slot = slot;
                accepted.load(&engine, &name)
            });
            match loading.await {
                Ok(loaded) => loaded.map(Arc::new),
                Err(_) => Err(Unusable::Broken(host_failed())),
            }
        };
        cell.get_or_try_init(load).await.cloned()
    }

    /// What was accepted of a tool, and its folder, which still is that.
    pub(crate) fn verified(&self, name: &ToolName) -> Result<(Entry, ToolFolder), Unusable> {
        self.accepted().verified(name)
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<ToolName, Arc<Loading>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a local build in the place of an accepted tool, for this process only.
    pub(crate) fn substitute(&self, installed: Installed) {
        let name = installed.manifest.name.clone();
        self.cells().insert(name, Arc::new(OnceCell::new_with(Some(Arc::new(installed)))));
    }
}

/// Whether two entries are of one build that asks the same.
pub(crate) fn same_build(one: &Entry, other: &Entry) -> bool {
    let of = |entry: &Entry| (entry.component, entry.definitions, entry.manifest);
    of(one) == of(other)
}

impl Accepted {
    fn load(&self, engine: &Engine, name: &ToolName) -> Result<Installed, Unusable> {
        let (entry, folder) = self.verified(name)?;
        let tool = compile(engine, &folder, &folder.manifest).map_err(Unusable::Broken)?;
        Ok(Installed { entry, manifest: folder.manifest, warnings: vec![], tool })
    }

    fn verified(&self, name: &ToolName) -> Result<(Entry, ToolFolder), Unusable> {
        let entry = self.lock.get(name).ok_or(Unusable::NotInstalled)?;
        let folder = ToolFolder::load(&self.folder.join(&entry.source))
            .map_err(|error| Unusable::Broken(error.into()))?;
        if folder.manifest.name != *name {
            return Err(Unusable::Broken(Error::input(format!(
                "{} now holds a tool named `{}`",
                entry.source, folder.manifest.name
            ))));
        }
        let entry = self.lock.verify(&folder).map_err(Unusable::Changed)?.clone();
        Ok((entry, folder))
    }
}
