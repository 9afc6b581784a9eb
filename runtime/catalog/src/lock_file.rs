//! `ringfence.lock`: the lock as a file that people read in a review. Sorted, one line a thing.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use ringfence_event::{Digest, Effect, FunctionName, ToolName};
use ringfence_policy::parse_file;
use serde::{Deserialize, Serialize};

use crate::{
    Entry, Error, Function, Lock, definitions_digest, folder::read, function::Stated, json,
};

/// The name of the file.
pub const LOCK_FILE: &str = "ringfence.lock";

/// The format that this version writes, and the only one that it reads.
const FORMAT: i64 = 1;

/// Some hundred tools with long definitions.
const LOCK_BYTES_MAX: u64 = 64 << 20;

const HEAD: &str = "# Written by `ringfence tool add` and `ringfence tool accept`: what somebody looked at and accepted.\n# Keep it under version control; do not edit it.\n";

impl Lock {
    /// Reads a lock file's text. `file` is the name that errors carry.
    ///
    /// # Errors
    /// A newer format, a mistake, or an entry that its own digests contradict.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        // The format before all else: a newer one may have keys that look like mistakes.
        let table: toml::Table = parse_file(file, text)?;
        match table.get("format").and_then(toml::Value::as_integer) {
            Some(found) if found > FORMAT => {
                return Err(Error::NewerLock { file: file.to_owned(), found, known: FORMAT });
            }
            _ => {}
        }
        let read: LockFile = parse_file(file, text)?;
        let wrong = |message| Error::Lock { file: file.to_owned(), message };
        if read.format != FORMAT {
            return Err(wrong(format!("there is no format {}", read.format)));
        }
        let mut tools = BTreeMap::new();
        for (name, entry) in read.tool {
            let entry = entry.check().map_err(|why| wrong(format!("tool `{name}`: {why}")))?;
            tools.insert(name, entry);
        }
        Ok(Self { tools })
    }

    /// The file's text.
    #[must_use]
    pub fn render(&self) -> String {
        let tool = self.tools.iter().map(|(name, entry)| (name.clone(), EntryTable::of(entry)));
        let file = LockFile { format: FORMAT, tool: tool.collect() };
        let text = toml::to_string_pretty(&file).expect("a lock is tables with string keys");
        format!("{HEAD}{text}")
    }

    /// Loads a lock file; a file that does not exist is an empty lock.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), or a file that cannot be read.
    pub fn load(path: &Path) -> Result<Self, Error> {
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            _ => {}
        }
        let bytes = read(path, LOCK_BYTES_MAX)?;
        let text =
            String::from_utf8(bytes).map_err(|_| Error::NotText { path: path.to_owned() })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Saves a lock file: whoever reads it, even after a crash, finds the old one or the new one.
    /// A file there that cannot be read as a lock, such as one of a newer format, is left untouched.
    ///
    /// # Errors
    /// A file that cannot be written, or must not be.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        // What cannot be read may be somebody's merge, or a newer version's: not ours to replace.
        Self::load(path)?;
        replace_file(path, self.render().as_bytes())
            .map_err(|source| Error::Write { path: path.to_owned(), source })
    }
}

/// Replaces a file of people's: whole or not at all, durable when this returns, its rights and a link
/// to it kept.
///
/// # Errors
/// When it cannot be written; then it is as it was.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut new = tempfile::Builder::new().prefix(".ringfence.").tempfile_in(folder)?;
    new.write_all(bytes)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // A temporary file is private; this one is shared with whoever shares the folder.
        let mode = path.metadata().map_or(0o644, |old| old.permissions().mode() & 0o777);
        new.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    // The rename itself must survive a crash too.
    File::open(folder)?.sync_all()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LockFile {
    format: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tool: BTreeMap<ToolName, EntryTable>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct EntryTable {
    source: String,
    component: Digest,
    definitions: Digest,
    manifest: Digest,
    asks: Vec<String>,
    function: BTreeMap<FunctionName, FunctionTable>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FunctionTable {
    effect: Effect,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    description: String,
    input_schema: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_schema: Option<String>,
}

impl EntryTable {
    fn of(entry: &Entry) -> Self {
        let function = entry.functions.iter().map(|function| {
            let table = FunctionTable {
                effect: function.effect,
                title: function.title.clone(),
                description: function.description.clone(),
                input_schema: json::canonical(&function.input_schema),
                output_schema: function.output_schema.as_ref().map(json::canonical),
            };
            (function.name.clone(), table)
        });
        Self {
            source: entry.source.clone(),
            component: entry.component,
            definitions: entry.definitions,
            manifest: entry.manifest,
            asks: entry.asks.clone(),
            function: function.collect(),
        }
    }

    fn check(self) -> Result<Entry, String> {
        let functions = self.function.into_iter().map(|(name, table)| table.check(name));
        let functions: Vec<Function> = functions.collect::<Result<_, _>>()?;
        if definitions_digest(&functions) != self.definitions {
            return Err("its functions are not those of its `definitions` digest".to_owned());
        }
        if Digest::of(self.asks.join("\n").as_bytes()) != self.manifest {
            return Err("what it asks is not that of its `manifest` digest".to_owned());
        }
        Ok(Entry {
            source: self.source,
            component: self.component,
            definitions: self.definitions,
            manifest: self.manifest,
            asks: self.asks,
            functions,
        })
    }
}

impl FunctionTable {
    fn check(self, name: FunctionName) -> Result<Function, String> {
        let read = |text: &str| {
            json::parse(text).map_err(|why| format!("function `{name}`: its schema: {why}"))
        };
        let input_schema = read(&self.input_schema)?;
        let output_schema = self.output_schema.as_deref().map(read).transpose()?;
        let Self { effect, title, description, .. } = self;
        Function::compile(Stated { name, title, description, input_schema, output_schema, effect })
    }
}
