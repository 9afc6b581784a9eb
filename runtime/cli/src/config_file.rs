//! `ringfence config`: whether the operator's file can be used, and what an editor needs to know of it.

use anyhow::Result;
use ringfence::Runtime;
use ringfence_server::ServiceConfig;
use serde_json::json;

use crate::{
    args::{ConfigVerb, Global},
    config,
    exit::Exit,
    failure::Usage,
    screen::Screen,
    text::several,
};

/// Checks the file, or writes its schema.
pub(crate) async fn config(global: &Global, verb: ConfigVerb, screen: &mut Screen) -> Result<Exit> {
    match verb {
        ConfigVerb::Check => check(global, screen),
        ConfigVerb::Schema => {
            screen.out.foreign(&ringfence_server::config_schema());
            Ok(Exit::Done)
        }
    }
}

/// Reads everything that a start of the service would read, and opens what it would open, but for the
/// port.
fn check(global: &Global, screen: &mut Screen) -> Result<Exit> {
    let config = config::load(global)?;
    let Some(file) = config.file().map(ToOwned::to_owned) else {
        return Err(Usage::error(
            "there is no ringfence.toml here or above: --config FILE names one",
        ));
    };
    let service = ServiceConfig::of(&config)?;
    let tenants = config.tenants().count();
    let runtime = Runtime::open(config)?;
    let tools = runtime.tools();
    for (tool, _) in &tools {
        runtime.verify(tool)?;
    }
    let agents = runtime.check_agents()?;
    match screen.json {
        true => screen.out.json(&json!({
            "file": file, "tenants": tenants, "tools": tools.len(), "agents": agents,
            "listen": service.listen.to_string(),
        })),
        false => {
            let parts = [
                several(tenants, "tenant"),
                several(tools.len(), "tool"),
                several(agents, "agent"),
            ];
            screen.out.line(format!("{} is fine: {}", file.display(), parts.join(", ")));
        }
    }
    Ok(Exit::Done)
}
