//! `ringfence.toml`: the one file of the operator. Each crate reads its own part of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ringfence_catalog::LOCK_FILE;
use ringfence_event::{ModelName, TenantId};
use ringfence_model::{ModelConfig, ModelTable};
use ringfence_policy::{
    Bytes, ConfigError, Count, Defaults, FlagGrants, GrantSet, Grants, TenantGrants, parse_file,
};
use ringfence_vault::Vault;
use serde::Deserialize;

use crate::{Clock, Error};

/// The name of the operator's file.
pub(crate) const CONFIG_FILE: &str = "ringfence.toml";
/// Where state is kept if nothing else is said, beside the operator's file.
const HOME: &str = ".ringfence";
/// Calls that run at one time if nothing else is said: several a core wait for files or the network.
const CONCURRENT_CALLS: u32 = 64;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    host: HostTable,
    model: BTreeMap<ModelName, ModelTable>,
    defaults: Defaults,
    grant_set: BTreeMap<String, GrantSet>,
    tenant: BTreeMap<TenantId, TenantGrants>,
}

/// `[host]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct HostTable {
    /// Where state is kept, seen from the file's folder.
    home: Option<PathBuf>,
    /// The most calls that run at one time.
    concurrent_calls: Option<toml::Spanned<Count>>,
    /// What all running calls together may come to hold.
    memory: Option<toml::Spanned<Bytes>>,
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
    pub(crate) models: BTreeMap<ModelName, ModelConfig>,
    pub(crate) grants: Grants,
    pub(crate) vault: Vault,
    pub(crate) clock: Clock,
    /// The text of the operator's file, to show what is wrong in it.
    pub(crate) text: String,
}

impl Config {
    /// Reads the operator's file.
    ///
    /// # Errors
    /// When it cannot be read, and the first thing that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::read(path, read_text(path)?)
    }

    /// Reads what the operator's file would be.
    pub(crate) fn read(path: &Path, text: String) -> Result<Self, Error> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let name = path.display().to_string();
        let file: File = parse_file(&name, &text)?;
        let concurrent_calls = match file.host.concurrent_calls {
            None => CONCURRENT_CALLS,
            Some(given) => u32::try_from(given.get_ref().0)
                .ok()
                .filter(|calls| (1..=1000).contains(calls))
                .ok_or_else(|| {
                    let message = "concurrent-calls is a number from 1 to 1000";
                    ConfigError::at(&name, &text, given.span(), message)
                })?,
        };
        let memory = match file.host.memory {
            None => None,
            Some(given) if given.get_ref().0 >= LEAST_MEMORY => Some(given.get_ref().0),
            Some(given) => {
                let message = "memory of all running calls together is at least 16MiB";
                return Err(ConfigError::at(&name, &text, given.span(), message).into());
            }
        };
        let grants =
            Grants::new(&name, &text, &folder, file.defaults, &file.grant_set, file.tenant)?;
        let model = |(model, table): (ModelName, ModelTable)| {
            table.check(&name, &text, &folder).map(|config| (model, config))
        };
        let models = file.model.into_iter().map(model).collect::<Result<_, _>>()?;
        Ok(Self {
            home: folder.join(file.host.home.unwrap_or_else(|| HOME.into())),
            file: Some(path.to_owned()),
            folder,
            concurrent_calls,
            memory,
            models,
            grants,
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
            models: BTreeMap::new(),
            grants: Grants::none(CONFIG_FILE),
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

    /// The folder that relative paths start from, and where the lock file is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The tenants that the operator's file names.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.grants.tenants()
    }

    /// The name of the operator's file, to tell somebody where a line belongs.
    pub(crate) fn file_name(&self) -> String {
        let name = self.file.as_deref().and_then(Path::file_name);
        name.map_or_else(|| CONFIG_FILE.to_owned(), |name| name.to_string_lossy().into_owned())
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.folder.join(LOCK_FILE)
    }
}

/// A text file of people's.
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::File {
        act: "read",
        path: path.to_owned(),
        source,
    })
}
