//! What was accepted: by tool, the digests, needs and functions that somebody looked at.

use std::collections::BTreeMap;

use ringfence_event::{Digest, FunctionName, ToolName};
use ringfence_policy::{ToolFacts, widened};

use crate::{Difference, Function, ToolFolder, definitions_digest, difference::Comparison};

/// The accepted tools.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lock {
    pub(crate) tools: BTreeMap<ToolName, Entry>,
}

/// One accepted tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where it was added from: a path, relative to the lock file's folder where that is possible.
    pub source: String,
    /// The component's digest.
    pub component: Digest,
    /// The digest of its functions.
    pub definitions: Digest,
    /// The digest of [`asks`](Self::asks).
    pub manifest: Digest,
    /// What its manifest asks, line by line; see [`Manifest::asks`](ringfence_policy::Manifest::asks).
    pub asks: Vec<String>,
    /// Its functions, sorted by name.
    pub functions: Vec<Function>,
}

impl Entry {
    /// The entry for a tool as it lies there now. `source` is what to write as its place.
    #[must_use]
    pub fn new(folder: &ToolFolder, source: &str, functions: Vec<Function>) -> Self {
        let mut functions = functions;
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            source: source.to_owned(),
            component: folder.digest,
            definitions: definitions_digest(&functions),
            manifest: folder.manifest.asks_digest(),
            asks: folder.manifest.asks(),
            functions,
        }
    }

    /// The function of this name.
    #[must_use]
    pub fn function(&self, name: &FunctionName) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == *name)
    }

    /// What policy needs to know of the tool.
    #[must_use]
    pub fn facts(&self, name: &ToolName) -> ToolFacts {
        ToolFacts {
            name: name.clone(),
            component: self.component,
            definitions: self.definitions,
            functions: self.functions.iter().map(|f| (f.name.clone(), f.effect)).collect(),
        }
    }

    /// How another entry for the same tool differs.
    ///
    /// # Errors
    /// The difference, if there is any.
    pub fn compare(&self, tool: &ToolName, new: &Self) -> Result<(), Difference> {
        let mut comparison = Comparison::default();
        comparison.text("source", &self.source, &new.source);
        self.compare_files(&mut comparison, new.component, &new.asks);
        comparison.functions(&self.functions, &new.functions);
        comparison.of(tool)
    }

    fn compare_files(&self, comparison: &mut Comparison, component: Digest, asks: &[String]) {
        comparison.text("component", &self.component.to_string(), &component.to_string());
        let more = widened(&self.asks, asks).join("\n");
        comparison.text("the manifest asks to do more than was accepted", "", &more);
        comparison.text("what the manifest asks", &self.asks.join("\n"), &asks.join("\n"));
    }
}

impl Lock {
    /// The entry of a tool.
    #[must_use]
    pub fn get(&self, tool: &ToolName) -> Option<&Entry> {
        self.tools.get(tool)
    }

    /// All entries, sorted by name.
    pub fn entries(&self) -> impl Iterator<Item = (&ToolName, &Entry)> {
        self.tools.iter()
    }

    /// Adds a tool. One of this name that is already there must be equal.
    ///
    /// # Errors
    /// How it differs from the one that was accepted; the lock is unchanged.
    pub fn add(&mut self, tool: ToolName, entry: Entry) -> Result<(), Difference> {
        if let Some(accepted) = self.tools.get(&tool) {
            accepted.compare(&tool, &entry)?;
        }
        self.tools.insert(tool, entry);
        Ok(())
    }

    /// Accepts a tool as it is now, whatever it was; gives what it was.
    pub fn accept(&mut self, tool: ToolName, entry: Entry) -> Option<Entry> {
        self.tools.insert(tool, entry)
    }

    /// Forgets a tool.
    pub fn remove(&mut self, tool: &ToolName) -> Option<Entry> {
        self.tools.remove(tool)
    }

    /// Whether a tool is still what was accepted: its component byte by byte, its needs line by
    /// line. Its functions follow from both, so they are not asked for again.
    ///
    /// # Errors
    /// What changed; without any change in it, the tool was never added.
    pub fn verify(&self, folder: &ToolFolder) -> Result<&Entry, Difference> {
        let tool = &folder.manifest.name;
        let Some(entry) = self.tools.get(tool) else {
            return Err(Difference { tool: tool.clone(), changes: Vec::new() });
        };
        let mut comparison = Comparison::default();
        entry.compare_files(&mut comparison, folder.digest, &folder.manifest.asks());
        comparison.of(tool)?;
        Ok(entry)
    }
}
