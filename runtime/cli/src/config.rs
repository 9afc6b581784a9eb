//! Which configuration holds: a file that is named, one found from the working directory upward, or
//! none.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use ringfence::{
    Caller, Config, LogLevel,
    event::{TenantId, TraceContext},
    policy::Override,
    vault::{Environment, Vault},
};

use crate::{args::Global, failure::Usage, log};

/// The operator's file.
const FILE: &str = "ringfence.toml";

/// The configuration of this process.
///
/// # Errors
/// When the file cannot be read, or there is neither a file nor a place to keep state.
pub(crate) fn load(global: &Global) -> Result<Config> {
    let config = read(global)?;
    // People who type read what is shown; the log is for who asks for it.
    log::start(config.telemetry().log.unwrap_or(LogLevel::Off));
    Ok(config)
}

/// The same, without beginning a log.
///
/// # Errors
/// As for [`load`].
pub(crate) fn read(global: &Global) -> Result<Config> {
    // Asked for one name at a time: nothing of it is copied until a request needs it.
    let environment = Environment::new(|name| env::var_os(name));
    Ok(find_config(global)?.with_vault(Vault::new().with_environment(environment)))
}

fn find_config(global: &Global) -> Result<Config> {
    let file = match (&global.config, env::var_os(CONFIG_VARIABLE)) {
        (Some(file), _) => Some(file.clone()),
        (None, Some(file)) => Some(file.into()),
        (None, None) => find()?,
    };
    let overrides = overrides()?;
    let Some(file) = file else {
        let home = match &global.home {
            Some(home) => home.clone(),
            None => state_folder()?,
        };
        // Relative, as everything that is typed: it is shown as it was typed.
        return Ok(Config::none_with(Path::new("."), &home, &overrides)?);
    };
    let config = Config::load_with(&file, &overrides)?;
    Ok(match &global.home {
        Some(home) => config.with_home(home),
        None => config,
    })
}

/// Names the operator's file, where no flag does.
const CONFIG_VARIABLE: &str = "RINGFENCE_CONFIG";

/// Variables that go before the file: what an operator sets from outside, of a process and not of what
/// it grants. `RINGFENCE_SERVICE_BODY_TIME` is `body-time` under `[service]`.
const OVERRIDES: [(&str, &str); 2] =
    [("RINGFENCE_SERVICE_", "service"), ("RINGFENCE_HOST_", "host")];

fn overrides() -> Result<Vec<Override>> {
    let mut found = vec![];
    for (name, value) in env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let of =
            OVERRIDES.iter().find_map(|(prefix, table)| Some((*table, name.strip_prefix(prefix)?)));
        let Some((table, key)) = of else { continue };
        let value = value.into_string();
        let value = value.map_err(|_| Usage::error(format!("the value of {name} is not UTF-8")))?;
        let key = key.to_ascii_lowercase().replace('_', "-");
        found.push(Override { table: table.into(), key, value, from: name.to_owned() });
    }
    // In one order, whatever order the system has them in.
    found.sort_by(|a, b| a.from.cmp(&b.from));
    Ok(found)
}

/// The file of this folder or the nearest above it, as a path that a person reads: `../FILE`.
fn find() -> Result<Option<PathBuf>> {
    let here = env::current_dir().context("the working directory cannot be read")?;
    let mut folder = PathBuf::new();
    for _ in here.ancestors() {
        let file = folder.join(FILE);
        // One that is there and cannot be read is an error, and not one to be passed by.
        if file.symlink_metadata().is_ok() {
            return Ok(Some(file));
        }
        folder.push("..");
    }
    Ok(None)
}

/// The trace that whoever started this is in, as programs tell each other. What is none is passed over, as
/// its specification says.
pub(crate) fn trace() -> Option<TraceContext> {
    let given = env::var("TRACEPARENT").ok()?;
    TraceContext::from_traceparent(&given).ok()
}

/// Where whoever runs this has a home, if they have one.
pub(crate) fn home_folder() -> Option<PathBuf> {
    env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

fn state_folder() -> Result<PathBuf> {
    // The specification says of relative ones: ignore them.
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state =
        folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("ringfence")).ok_or_else(|| {
        Usage::error("there is no home folder to keep state in: --home FOLDER names one")
    })
}

/// Whose work it is.
pub(crate) fn caller(global: &Global) -> Caller {
    let local = Caller::local();
    Caller {
        tenant: global.tenant.clone().unwrap_or(local.tenant),
        user: global.user.clone().unwrap_or(local.user),
    }
}

/// Whose work it is, where that must be somebody the operator's file knows: a name that is typed
/// wrong is told, rather than refused everything.
///
/// # Errors
/// When the file names tenants, and not this one.
pub(crate) fn known_caller(global: &Global, config: &Config) -> Result<Caller> {
    let caller = caller(global);
    let Some(file) = config.file() else { return Ok(caller) };
    let known: Vec<&str> = config.tenants().map(TenantId::as_str).collect();
    if global.tenant.is_none()
        || caller.tenant == TenantId::local()
        || known.contains(&caller.tenant.as_str())
    {
        return Ok(caller);
    }
    let known = match known.is_empty() {
        true => "it has none".to_owned(),
        false => format!("it has {}", known.join(", ")),
    };
    let (tenant, file) = (&caller.tenant, file.display());
    Err(Usage::error(format!("there is no tenant `{tenant}` in {file}; {known}")))
}
