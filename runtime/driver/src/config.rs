//! `ringfence.toml`: the one file of the operator. Each crate reads its own part of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ringfence_catalog::LOCK_FILE;
use ringfence_event::{AgentName, ModelName, TenantId};
use ringfence_model::{ModelConfig, ModelTable};
use ringfence_policy::{
    Bytes, ConfigError, Count, Defaults, FlagGrants, GrantSet, Grants, Override, Sink,
    TenantGrants, overlay, parse_file,
};
use ringfence_vault::Vault;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Agent, Clock, Error, Telemetry, telemetry::TelemetryTable};

/// The name of the operator's file.
pub(crate) const CONFIG_FILE: &str = "ringfence.toml";
/// Where state is kept if nothing else is said, beside the operator's file.
const HOME: &str = ".ringfence";
/// Calls that run at one time if nothing else is said: several a core wait for files or the network.
const CONCURRENT_CALLS: u32 = 64;
/// Runs that are driven at one time if nothing else is said: they wait for models and hold a
/// conversation each.
const CONCURRENT_RUNS: u32 = 512;
/// Tools that are compiled at one time if nothing else is said: one takes all processors already, and a
/// second one keeps a slow one from holding up everybody.
const CONCURRENT_COMPILES: u32 = 2;
/// Direct calls and inputs of all tenants that may wait if nothing else is said.
const QUEUE: u32 = 4096;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    host: HostTable,
    model: BTreeMap<ModelName, ModelTable>,
    defaults: Defaults,
    grant_set: BTreeMap<String, GrantSet>,
    tenant: BTreeMap<TenantId, TenantGrants>,
    telemetry: TelemetryTable,
    agent: BTreeMap<AgentName, AgentTable>,
    /// The service's own: whoever runs one reads it.
    #[schemars(with = "serde_json::Value")]
    service: serde::de::IgnoredAny,
}

/// `[agent.NAME]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AgentTable {
    /// Its `agent.toml`, seen from the file's folder.
    #[schemars(with = "PathBuf")]
    file: toml::Spanned<PathBuf>,
}

/// `[host]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct HostTable {
    /// Where state is kept, seen from the file's folder.
    home: Option<PathBuf>,
    /// The most calls that run at one time.
    #[schemars(with = "Option<Count>")]
    concurrent_calls: Option<toml::Spanned<Count>>,
    /// What all running calls together may come to hold.
    #[schemars(with = "Option<Bytes>")]
    memory: Option<toml::Spanned<Bytes>>,
    /// The most runs that are driven at one time.
    #[schemars(with = "Option<Count>")]
    concurrent_runs: Option<toml::Spanned<Count>>,
    /// The most tools that are loaded and compiled at one time.
    #[schemars(with = "Option<Count>")]
    concurrent_compiles: Option<toml::Spanned<Count>>,
    /// How many direct calls and inputs of all tenants may wait.
    #[schemars(with = "Option<Count>")]
    queue: Option<toml::Spanned<Count>>,
}

/// Less than this is room for no tool in a compiled language.
const LEAST_MEMORY: u64 = 16 << 20;

/// What an operator has set.
#[derive(Clone, Debug)]
pub struct Config {
    /// The operator's file; `None` where there is none.
    pub(crate) file: Option<PathBuf>,
    /// The folder that relative paths start from, and where the lock file is.
    pub(crate) folder: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) concurrent_calls: u32,
    /// What all running calls together may hold, in bytes; `None`: half of the machine's memory.
    pub(crate) memory: Option<u64>,
    pub(crate) concurrent_runs: u32,
    pub(crate) concurrent_compiles: u32,
    pub(crate) queue: u32,
    pub(crate) models: BTreeMap<ModelName, ModelConfig>,
    /// The agents that a service offers: their files, and where those stand in the operator's.
    pub(crate) agents: BTreeMap<AgentName, (PathBuf, std::ops::Range<usize>)>,
    pub(crate) grants: Grants,
    pub(crate) telemetry: Telemetry,
    pub(crate) vault: Vault,
    pub(crate) clock: Clock,
    /// The text of the operator's file, to show what is wrong in it.
    pub(crate) text: String,
}

impl Config {
    /// Direct calls and inputs of one tenant that may wait if nothing else is said: what a host with all
    /// slots has done in some tenths of a second.
    pub(crate) const TENANT_QUEUE: u32 = 256;

    /// Reads the operator's file.
    ///
    /// # Errors
    /// When it cannot be read, and the first thing that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::read(path, read_text(path)?)
    }

    /// Reads the operator's file, with other values in place of some of its.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(path: &Path, overrides: &[Override]) -> Result<Self, Error> {
        let text = overlay(&path.display().to_string(), &read_text(path)?, overrides)?;
        Self::read(path, text)
    }

    /// What holds where there is no file, with values from elsewhere.
    ///
    /// # Errors
    /// The first thing that is wrong in those.
    pub fn none_with(folder: &Path, home: &Path, overrides: &[Override]) -> Result<Self, Error> {
        if overrides.is_empty() {
            return Ok(Self::none(folder, home));
        }
        let text = overlay("the environment", "", overrides)?;
        let has_home = overrides.iter().any(|set| set.table == "host" && set.key == "home");
        let read = Self::read(&folder.join("the environment"), text)?;
        let home = if has_home { read.home.clone() } else { home.to_owned() };
        Ok(Self { file: None, home, ..read })
    }

    /// Reads what the operator's file would be.
    pub(crate) fn read(path: &Path, text: String) -> Result<Self, Error> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let name = path.display().to_string();
        let file: File = parse_file(&name, &text)?;
        let number = |key: &str, given: Option<toml::Spanned<Count>>, default: u32, most: u32| {
            let Some(given) = given else { return Ok(default) };
            let number = u32::try_from(given.get_ref().0).ok();
            number.filter(|number| (1..=most).contains(number)).ok_or_else(|| {
                let message = format!("{key} is a number from 1 to {most}");
                ConfigError::at(&name, &text, given.span(), message)
            })
        };
        let host = file.host;
        let concurrent_calls =
            number("concurrent-calls", host.concurrent_calls, CONCURRENT_CALLS, 1_000)?;
        let concurrent_runs =
            number("concurrent-runs", host.concurrent_runs, CONCURRENT_RUNS, 100_000)?;
        let concurrent_compiles =
            number("concurrent-compiles", host.concurrent_compiles, CONCURRENT_COMPILES, 64)?;
        let queue = number("queue", host.queue, QUEUE, 1_000_000)?;
        let memory = match host.memory {
            None => None,
            Some(given) if given.get_ref().0 >= LEAST_MEMORY => Some(given.get_ref().0),
            Some(given) => {
                let message = "memory of all running calls together is at least 16MiB";
                return Err(ConfigError::at(&name, &text, given.span(), message).into());
            }
        };
        let grants =
            Grants::new(&name, &text, &folder, file.defaults, &file.grant_set, file.tenant)?;
        let agent = |(agent, table): (AgentName, AgentTable)| {
            let span = table.file.span();
            (agent, (folder.join(table.file.into_inner()), span))
        };
        let agents: BTreeMap<_, _> = file.agent.into_iter().map(agent).collect();
        let missing = grants
            .tenants()
            .flat_map(|tenant| grants.agents(tenant))
            .find(|(agent, _)| !agents.contains_key(*agent));
        if let Some((agent, span)) = missing {
            let message = format!("there is no agent `{agent}`");
            let help = format!("[agent.{agent}] with `file = \"{agent}.toml\"` sets one up");
            return Err(ConfigError::at(&name, &text, span.clone(), message)
                .with_help(help)
                .into());
        }
        let model = |(model, table): (ModelName, ModelTable)| {
            table.check(&name, &text, &folder).map(|config| (model, config))
        };
        let telemetry = file.telemetry.check(&name, &text, &folder)?;
        let models = file.model.into_iter().map(model).collect::<Result<_, _>>()?;
        Ok(Self {
            home: folder.join(host.home.unwrap_or_else(|| HOME.into())),
            file: Some(path.to_owned()),
            folder,
            concurrent_calls,
            memory,
            concurrent_runs,
            concurrent_compiles,
            queue,
            models,
            agents,
            grants,
            telemetry,
            vault: Vault::new(),
            clock: Clock::system(),
            text,
        })
    }

    /// What holds where there is no file: nothing is granted, state is kept in `home`.
    #[must_use]
    pub fn none(folder: &Path, home: &Path) -> Self {
        Self {
            file: None,
            folder: folder.to_owned(),
            home: home.to_owned(),
            concurrent_calls: CONCURRENT_CALLS,
            memory: None,
            concurrent_runs: CONCURRENT_RUNS,
            concurrent_compiles: CONCURRENT_COMPILES,
            queue: QUEUE,
            models: BTreeMap::new(),
            agents: BTreeMap::new(),
            grants: Grants::none(CONFIG_FILE),
            telemetry: Telemetry::default(),
            vault: Vault::new(),
            clock: Clock::system(),
            text: String::new(),
        }
    }

    /// The same with another home folder.
    #[must_use]
    pub fn with_home(self, home: &Path) -> Self {
        Self { home: home.to_owned(), ..self }
    }

    /// The same with grants typed as flags, for the calls this configuration is opened for.
    ///
    /// # Errors
    /// A flag that cannot be read.
    pub fn with_flags(self, flags: FlagGrants) -> Result<Self, Error> {
        Ok(Self { grants: self.grants.with_flags(flags)?, ..self })
    }

    /// The same with another place to read secrets from. Without it files and the keyring are read,
    /// and no environment: a library does not look into its program's.
    ///
    /// ```
    /// use ringfence::{Config, vault::{Environment, Vault}};
    ///
    /// let variables = Environment::new(|name| std::env::var_os(name));
    /// let config = Config::none(".".as_ref(), ".ringfence".as_ref())
    ///     .with_vault(Vault::new().with_environment(variables));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn with_vault(self, vault: Vault) -> Self {
        Self { vault, ..self }
    }

    /// The same with another clock: for tests of what waits.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Where state is kept.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The operator's file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The text of the operator's file; empty where there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The folder that relative paths start from, and where the lock file is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The tenants that the operator's file names.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.grants.tenants()
    }

    /// What an operator sees of the host.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Where events of tenants go besides the journal.
    pub fn sinks(&self) -> impl Iterator<Item = (&TenantId, &Sink)> {
        self.grants.sinks()
    }

    /// The models, by the names that agents call them.
    pub fn models(&self) -> impl Iterator<Item = (&ModelName, &ModelConfig)> {
        self.models.iter()
    }

    /// Where secrets are read.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Reads the file of an agent that a service offers.
    ///
    /// # Errors
    /// When it cannot be read, the first thing that is wrong in it, or when it has another name.
    pub(crate) fn load_agent(&self, name: &AgentName) -> Result<Option<Agent>, Error> {
        let Some((path, span)) = self.agents.get(name) else { return Ok(None) };
        let agent = Agent::load(path)?;
        if agent.name() != name {
            let file = self.file.as_deref().unwrap_or(Path::new(CONFIG_FILE));
            let message = format!("{} is of the agent `{}`", path.display(), agent.name());
            let error =
                ConfigError::at(&file.display().to_string(), &self.text, span.clone(), message);
            return Err(error.with_help("the table's name is the agent's").into());
        }
        Ok(Some(agent))
    }

    /// The name of the operator's file, to tell somebody where a line belongs.
    pub(crate) fn file_name(&self) -> String {
        file_name(self.file.as_deref())
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        lock_file(&self.folder)
    }
}

/// The name of the operator's file, wherever it lies.
pub(crate) fn file_name(file: Option<&Path>) -> String {
    let name = file.and_then(Path::file_name);
    name.map_or_else(|| CONFIG_FILE.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Where the lock file is, seen from the operator's folder.
pub(crate) fn lock_file(folder: &Path) -> PathBuf {
    folder.join(LOCK_FILE)
}

/// The JSON Schema of the operator's file. What is under `service` is whoever's who runs one.
#[must_use]
pub fn file_schema() -> serde_json::Value {
    schemars::schema_for!(File).to_value()
}

/// A text file of people's.
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::File {
        act: "read",
        path: path.to_owned(),
        source,
    })
}
