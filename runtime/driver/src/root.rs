//! Granted folders, looked at when they are granted: the kernel's own, the store's and another
//! tenant's are none. What is the operator's stays the operator's, wherever a root lies.

use std::{os::unix::fs::DirBuilderExt as _, path::Path};

use ringfence_capability::{
    Host,
    fs::{Claim, Kept, RootError},
};
use ringfence_event::TenantId;
use ringfence_policy::{COMMAND_LINE, ConfigError, GrantedRoot};

use crate::{Config, Error};

/// A host that holds every folder the operator's file gives to anybody.
///
/// # Errors
/// The first folder that is none to give.
pub(crate) fn host(config: &Config) -> Result<Host, Error> {
    // It must be there to be known again. Where it cannot be made, the store says so when it is
    // asked for; until then nobody can make it in its place.
    let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.home);
    let mut sealed = vec![config.lock_file()];
    sealed.extend(config.file.clone());
    // What was said of a tool is not the tool's to change.
    sealed.extend(config.grants.sinks().filter_map(|(_, sink)| sink.file()).map(Path::to_owned));
    let kept = Kept { hidden: vec![config.home.clone()], sealed };
    let failed = |source| Error::File { act: "read", path: config.home.clone(), source };
    let host = Host::keeping(&kept).map_err(failed)?;
    for root in config.grants.roots() {
        if let Some(tenant) = root.tenant {
            register(&host, config, tenant, &root)?;
        }
    }
    Ok(host)
}

/// Looks at the folders that flags give, now that it is known to whom.
///
/// # Errors
/// The first folder that is none to give.
pub(crate) fn register_flags(host: &Host, config: &Config, tenant: &TenantId) -> Result<(), Error> {
    let mut flags = config.grants.flag_roots();
    flags.try_for_each(|root| register(host, config, tenant, &root))
}

fn register(
    host: &Host,
    config: &Config,
    tenant: &TenantId,
    root: &GrantedRoot<'_>,
) -> Result<(), Error> {
    let GrantedRoot { path, access, quota, .. } = *root;
    match host.register(&Claim { tenant, path, access, quota }) {
        Ok(()) => Ok(()),
        // A folder that cannot be opened now may be there when it is called for.
        Err(RootError::Io(_)) => Ok(()),
        Err(error) => Err(is_none(config, root, error)),
    }
}

/// A folder that is none to give, as whoever gave it is told.
pub(crate) fn is_none(config: &Config, root: &GrantedRoot<'_>, error: RootError) -> Error {
    let path = root.path;
    let message = format!("`{}` is no root: {error}", shown(path, config));
    let error_here = match (root.span, &config.file) {
        (Some(span), Some(file)) => {
            ConfigError::at(&file.display().to_string(), &config.text, span.clone(), message)
        }
        _ => ConfigError::new(COMMAND_LINE, message),
    };
    match (error, root.span) {
        // Who the others are is the operator's to know, and nobody's who types a flag.
        (RootError::OtherTenant { tenant }, Some(_)) => {
            error_here.with_help(format!("tenant `{tenant}` has it: give each a folder of its own"))
        }
        (RootError::QuotaInside, Some(_)) => {
            error_here.with_help("put the quota on the outer root, or give that for reading alone")
        }
        _ => error_here,
    }
    .into()
}

/// A folder as the operator wrote it.
fn shown(path: &Path, config: &Config) -> String {
    let path = path.strip_prefix(&config.folder).unwrap_or(path).display().to_string();
    if path.is_empty() { ".".to_owned() } else { path }
}
