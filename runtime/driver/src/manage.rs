//! Tools and grants from the operator's side: add, accept, remove, inspect, grant.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
};

use ringfence_catalog::{Difference, Entry, Lock, ToolFolder, replace_file};
use ringfence_event::{Body, RootName, Stream, TenantId, ToolName};
use ringfence_policy::{ConfigKey, Manifest, Remark, edit_grant, suggest_grant};
use ringfence_store::{Append, Batch, NewEvent};

use crate::{
    Caller, Config, Error, Installed, Runtime,
    config::{CONFIG_FILE, read_text},
    entropy, root,
    tool::Unusable,
};

/// A tool that was added or accepted.
#[derive(Clone, Debug)]
pub struct Added {
    /// Its name.
    pub tool: ToolName,
    /// What the lock says of it now.
    pub entry: Entry,
    /// What was there before, and how it differs.
    pub changed: Option<Difference>,
    /// What was strange.
    pub warnings: Vec<String>,
}

/// A tool as it lies there, whatever the lock says.
pub struct Inspected {
    /// The tool.
    pub installed: Installed,
    /// How it differs from what was accepted; `Ok` if it does not.
    pub accepted: Result<(), Difference>,
}

/// A change of the operator's file that was not made yet.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The operator's file.
    pub file: PathBuf,
    /// The lines that are added, with their table.
    pub lines: Vec<String>,
    /// The configuration keys that the tool asks and is given no value for by these lines.
    pub unset: Vec<ConfigKey>,
    /// The whole text of the file with them.
    pub text: String,
    /// The file's text that they were made for.
    before: String,
    tool: ToolName,
}

impl Runtime {
    /// Looks at a tool as it lies there: a folder or a component.
    ///
    /// # Errors
    /// When it is no tool, with the reason.
    pub async fn inspect(&self, path: &Path) -> Result<Inspected, Error> {
        let folder = ToolFolder::load(path)?;
        let source = self.source(path);
        let manifest = folder.manifest.clone();
        let admit = (&*self.0.admit, &self.0.admit.tenant(&TenantId::local()));
        let installed = Installed::load(&self.0.engine, admit, folder, manifest, &source).await?;
        let name = &installed.manifest.name;
        let accepted = match self.0.tools.accepted().lock.get(name) {
            Some(entry) => entry.compare(name, &installed.entry),
            None => Err(Difference { tool: name.clone(), changes: vec![] }),
        };
        Ok(Inspected { installed, accepted })
    }

    /// What is strange about the grants of a tool, tenant by tenant: of one, or of all that are given
    /// something of it. `home` is the home folder of whoever asks.
    #[must_use]
    pub fn review_grants(
        &self,
        tenant: Option<&TenantId>,
        installed: &Installed,
        home: Option<&Path>,
    ) -> Vec<Remark> {
        let current = self.0.current();
        let grants = &current.grants;
        let name = &installed.manifest.name;
        let given = grants.tenants().filter(|given| {
            tenant.is_none_or(|tenant| tenant == *given)
                && grants.tools(given).any(|tool| tool == name)
        });
        given.flat_map(|tenant| installed.policy(tenant, grants).review(home)).collect()
    }

    /// Where an accepted tool lies.
    ///
    /// # Errors
    /// When nobody added it.
    pub fn source_of(&self, tool: &ToolName) -> Result<PathBuf, Error> {
        match self.0.tools.accepted().lock.get(tool) {
            Some(entry) => Ok(self.0.config.folder.join(&entry.source)),
            None => Err(Error::input(format!("there is no tool `{tool}` in the lock file"))),
        }
    }

    /// Whether a tool in the lock file still is what was accepted.
    ///
    /// # Errors
    /// [`Error::Changed`] when it is not; another when it is not there, or cannot be read.
    pub fn verify(&self, tool: &ToolName) -> Result<(), Error> {
        match self.0.tools.verified(tool) {
            Ok(_) => Ok(()),
            Err(Unusable::Changed(difference)) => Err(difference.into()),
            Err(Unusable::Broken(error)) => Err(error),
            Err(Unusable::NotInstalled) => self.source_of(tool).map(drop),
        }
    }

    /// The accepted tools.
    #[must_use]
    pub fn tools(&self) -> Vec<(ToolName, Entry)> {
        let accepted = self.0.tools.accepted();
        let entries = accepted.lock.entries();
        entries.map(|(name, entry)| (name.clone(), entry.clone())).collect()
    }

    /// Adds a tool to the lock file.
    ///
    /// # Errors
    /// When it is no tool, or another of this name was accepted: then [`Error::Changed`] says how
    /// it differs, and [`Runtime::accept`] takes it all the same.
    pub async fn add(&self, caller: &Caller, path: &Path) -> Result<Added, Error> {
        self.add_inspected(caller, self.inspect(path).await?).await
    }

    /// Adds a tool to the lock file as it was when somebody looked at it.
    ///
    /// # Errors
    /// As [`Runtime::add`].
    pub async fn add_inspected(
        &self,
        caller: &Caller,
        inspected: Inspected,
    ) -> Result<Added, Error> {
        let Inspected { installed, accepted } = inspected;
        if let Err(difference) = accepted
            && !difference.changes.is_empty()
        {
            return Err(difference.into());
        }
        self.enter(caller, installed, None, |tool, component, definitions| Body::ToolAdded {
            tool,
            component,
            definitions,
        })
        .await
    }

    /// Accepts a tool that changed, as it is now.
    ///
    /// # Errors
    /// When it is no tool.
    pub async fn accept(&self, caller: &Caller, path: &Path) -> Result<Added, Error> {
        self.accept_inspected(caller, self.inspect(path).await?).await
    }

    /// Accepts a tool that changed, as it was when somebody looked at it: what is changed again
    /// since then is not accepted with it.
    ///
    /// # Errors
    /// When the lock file cannot be written.
    pub async fn accept_inspected(
        &self,
        caller: &Caller,
        inspected: Inspected,
    ) -> Result<Added, Error> {
        let Inspected { installed, accepted } = inspected;
        self.enter(caller, installed, accepted.err(), |tool, component, definitions| {
            Body::ToolAccepted { tool, component, definitions }
        })
        .await
    }

    async fn enter(
        &self,
        caller: &Caller,
        installed: Installed,
        changed: Option<Difference>,
        body: fn(ToolName, ringfence_event::Digest, ringfence_event::Digest) -> Body,
    ) -> Result<Added, Error> {
        let tool = installed.manifest.name.clone();
        let entry = installed.entry;
        let event = body(tool.clone(), entry.component, entry.definitions);
        self.change_lock(caller, &tool, event, |lock| {
            lock.accept(tool.clone(), entry.clone());
        })
        .await?;
        Ok(Added { tool, entry, changed, warnings: installed.warnings })
    }

    /// Takes a tool out of the lock file.
    ///
    /// # Errors
    /// When it is not in it.
    pub async fn remove(&self, caller: &Caller, tool: &ToolName) -> Result<Entry, Error> {
        let Some(entry) = self.0.tools.accepted().lock.get(tool).cloned() else {
            return Err(Error::input(format!("there is no tool `{tool}` in the lock file")));
        };
        let event = Body::ToolRemoved { tool: tool.clone() };
        self.change_lock(caller, tool, event, |lock| {
            lock.remove(tool);
        })
        .await?;
        Ok(entry)
    }

    /// The lock is read again just before it is written, so that two changes in turn are both kept.
    async fn change_lock(
        &self,
        caller: &Caller,
        tool: &ToolName,
        event: Body,
        change: impl FnOnce(&mut Lock),
    ) -> Result<(), Error> {
        let _changing = self.changing()?;
        let path = self.0.config.lock_file();
        let mut lock = Lock::load(&path)?;
        change(&mut lock);
        lock.save(&path)?;
        self.0.tools.changed(lock, tool);
        self.tell(caller, event).await
    }

    /// What an operator would add to give a tenant all that a tool asks. `roots` says which folder
    /// stands for which root, `values` what is set for which configuration key.
    ///
    /// # Errors
    /// When the tool is not known or does not ask for a key in `values`, or the operator's file is
    /// wrong.
    pub fn propose_grant(
        &self,
        caller: &Caller,
        tool: &ToolName,
        from_needs: bool,
        roots: &BTreeMap<RootName, String>,
        values: &BTreeMap<ConfigKey, String>,
    ) -> Result<Granted, Error> {
        if roots.contains_key(&RootName::scratch()) {
            let message = "the root `scratch` is the session's own: it is granted without a folder";
            return Err(Error::input(message));
        }
        let manifest = ToolFolder::load(&self.source_of(tool)?)?.manifest;
        let manifest = if from_needs { manifest } else { Manifest::bare(tool.clone()) };
        let file = match &self.0.config.file {
            Some(file) => file.clone(),
            None => self.0.config.folder.join(CONFIG_FILE),
        };
        let old = if file.exists() { read_text(&file)? } else { String::new() };
        let asked = manifest.needs.config.iter().flat_map(|need| &need.keys);
        let asked: BTreeSet<&ConfigKey> = asked.collect();
        if let Some(key) = values.keys().find(|key| !asked.contains(key)) {
            return Err(Error::input(format!(
                "tool `{tool}` asks for no configuration key `{key}`"
            )));
        }
        let unset = asked.into_iter().filter(|key| !values.contains_key(*key)).cloned().collect();
        let mut edit = suggest_grant(&manifest, roots);
        edit.config = values.clone();
        let mut lines = vec![format!("[tenant.{}.tool.{tool}]", caller.tenant)];
        lines.extend(edit.lines());
        let name = file.display().to_string();
        let text = edit_grant(&name, &old, &caller.tenant, tool, &edit)?;
        // What would be refused when it is next read is not written.
        root::host(&Config::read(&file, text.clone())?.with_home(&self.0.config.home))?;
        Ok(Granted { file, lines, unset, text, before: old, tool: tool.clone() })
    }

    /// Makes a proposed change of the operator's file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn grant(&self, caller: &Caller, granted: &Granted) -> Result<(), Error> {
        let _changing = self.changing()?;
        let error = |source| Error::File { act: "write", path: granted.file.clone(), source };
        let now = std::fs::read_to_string(&granted.file).unwrap_or_default();
        if now != granted.before {
            return Err(Error::input(format!(
                "{} was changed since the lines were shown: grant again",
                granted.file.display()
            )));
        }
        replace_file(&granted.file, granted.text.as_bytes()).map_err(error)?;
        let (tool, lines) = (granted.tool.clone(), granted.lines.clone());
        self.tell(caller, Body::GrantChanged { tool, lines }).await
    }

    /// The right to change the operator's files, of which one process at a time has one. The store
    /// is there by then: what is changed is told.
    fn changing(&self) -> Result<File, Error> {
        self.0.store()?;
        let path = self.0.config.home.join("changing");
        let error = |source| Error::File { act: "write", path: path.clone(), source };
        let file = File::create(&path).map_err(error)?;
        file.lock().map_err(error)?;
        Ok(file)
    }

    /// Puts a local build in the place of an accepted tool, for this process only.
    ///
    /// # Errors
    /// When it is no tool.
    pub async fn substitute(&self, path: &Path) -> Result<ToolName, Error> {
        let Inspected { installed, .. } = self.inspect(path).await?;
        let name = installed.manifest.name.clone();
        self.0.tools.substitute(installed);
        Ok(name)
    }

    async fn tell(&self, caller: &Caller, body: Body) -> Result<(), Error> {
        let trace = Some(entropy::trace()?.to_string());
        let append = Append {
            stream: Stream::Tenant(caller.tenant.clone()),
            tenant: caller.tenant.clone(),
            user: caller.user.clone(),
            fence: None,
            expected_seq: None,
            events: vec![NewEvent { at: self.0.config.clock.now(), body, cause: None, trace }],
        };
        let batch = Batch { appends: vec![append], ..Batch::default() };
        self.0.store()?.commit(batch).await?;
        Ok(())
    }

    /// A tool's place as the lock writes it: relative to its own folder where it lies beneath.
    fn source(&self, path: &Path) -> String {
        // Both are there, since both were read from; what is not is written as it was given.
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (path, folder) = (real(path), real(&self.0.config.folder));
        relative(&path, &folder).display().to_string()
    }
}

/// `path` as seen from `folder`: with `..` where they part, so that a checkout can be moved.
fn relative(path: &Path, folder: &Path) -> PathBuf {
    let clean = |path: &Path| -> Vec<_> {
        let mut parts = vec![];
        for part in path.components() {
            match part {
                std::path::Component::CurDir => {}
                std::path::Component::ParentDir if parts.len() > 1 => {
                    parts.pop();
                }
                part => parts.push(part.as_os_str().to_owned()),
            }
        }
        parts
    };
    let (path, folder) = (clean(path), clean(folder));
    let shared = path.iter().zip(&folder).take_while(|(a, b)| a == b).count();
    let up = folder.len() - shared;
    let mut seen: PathBuf = std::iter::repeat_n("..", up).collect();
    seen.extend(&path[shared..]);
    if seen.as_os_str().is_empty() { PathBuf::from(".") } else { seen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_seen_from_the_lock() {
        for (path, folder, seen) in [
            ("/a/b/tools/x", "/a/b", "tools/x"),
            ("/a/b", "/a/b", "."),
            ("/a/c/x", "/a/b", "../c/x"),
            ("/a/b/../c/./x", "/a/b/", "../c/x"),
            ("/x", "/a/b", "../../x"),
        ] {
            assert_eq!(relative(path.as_ref(), folder.as_ref()), PathBuf::from(seen), "{path}");
        }
    }
}
