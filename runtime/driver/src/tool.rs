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

use crate::Error;

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

    /// Loads a tool as it lies there, whatever the lock says, and asks it what it offers.
    pub(crate) async fn load(
        engine: &Engine,
        folder: &ToolFolder,
        manifest: Manifest,
        source: &str,
    ) -> Result<Self, Error> {
        let tool = compile(engine, folder, &manifest)?;
        let error = |source| Error::Tool { tool: manifest.name.clone(), source };
        let definitions = tool.definitions().await.map_err(error)?;
        let described = describe(&manifest, definitions.into_iter().map(raw).collect())?;
        Ok(Self {
            entry: Entry::new(folder, source, described.functions),
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

    /// What a tool offers: as it was substituted, or else as it was accepted. Loads nothing.
    pub(crate) fn entry(&self, name: &ToolName) -> Option<Entry> {
        match self.loaded(name) {
            Some(installed) => Some(installed.entry.clone()),
            None => self.accepted().lock.get(name).cloned(),
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
        name: &ToolName,
    ) -> Result<Arc<Installed>, Unusable> {
        let cell = self.cells().entry(name.clone()).or_default().clone();
        let load = async || {
            let (accepted, engine, name) = (self.accepted(), engine.clone(), name.clone());
            let loading = tokio::task::spawn_blocking(move || accepted.load(&engine, &name));
            match loading.await {
                Ok(loaded) => loaded.map(Arc::new),
                Err(_) => Err(Unusable::Broken(Error::input("loading it failed in the host"))),
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
