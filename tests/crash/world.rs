//! What the program runs in: tools, grants, an agent, and a script that keeps it busy.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use ringfence::{Caller, Config, Runtime};
use tempfile::TempDir;

/// How many steps with calls a run has: long enough that a kill meets it anywhere.
const STEPS: usize = 8;

/// Where the ledger is, a file an effect.
const PAGES: [&str; 2] = ["workspace/unsafe.txt", "workspace/idempotent.txt"];

const OPERATOR: &str = r#"
[model.main]
protocol = "scripted"
script = "script.toml"
[tenant.local.tool.hello]
[tenant.local.tool.ledger]
fs.workspace = { path = "workspace", access = "write" }
[tenant.local.tool.memory]
memory.session = "write"
"#;

const AGENT: &str = r#"
name = "clerk"
model = { use = "main" }
instructions = "Keep the ledger."
[tools]
hello = "*"
ledger = "*"
memory = "*"
"#;

/// One operator's folder, with a home of its own.
pub(crate) struct World(TempDir);

impl World {
    pub(crate) fn new(tokio: &tokio::runtime::Runtime) -> Result<Self> {
        let world = Self(tempfile::tempdir()?);
        fs::create_dir(world.path("workspace"))?;
        fs::write(world.path("ringfence.toml"), OPERATOR)?;
        fs::write(world.path("agent.toml"), AGENT)?;
        fs::write(world.path("script.toml"), script())?;
        for source in ["examples/hello", "tools/memory", "tests/guests/ledger"] {
            let tool = world.tool(source)?;
            // Opened anew: each sees what the one before has written.
            tokio.block_on(world.runtime()?.accept(&Caller::local(), &tool))?;
        }
        Ok(world)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn runtime(&self) -> Result<Runtime> {
        open(self.0.path())
    }

    /// What the ledger says, a line each.
    pub(crate) fn ledger(&self) -> Result<Vec<String>> {
        let mut lines = vec![];
        for page in PAGES {
            let path = self.path(page);
            if path.exists() {
                let text = fs::read_to_string(&path).context("the ledger")?;
                lines.extend(text.lines().map(str::to_owned));
            }
        }
        Ok(lines)
    }

    /// An empty ledger, for the next session.
    pub(crate) fn turn_page(&self) -> Result<()> {
        Ok(PAGES.iter().try_for_each(|page| fs::write(self.path(page), ""))?)
    }

    fn tool(&self, source: &str) -> Result<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let name = source.rsplit('/').next().unwrap_or(source);
        let folder = self.path(&format!("tools/{name}"));
        fs::create_dir_all(&folder)?;
        let manifest = fs::read_to_string(root.join(source).join("tool.toml"))?;
        let manifest = manifest.replace(&format!("../../target/guest/{name}.wasm"), "tool.wasm");
        fs::write(folder.join("tool.toml"), manifest)?;
        let guest = root.join("target/guest").join(format!("{name}.wasm"));
        fs::copy(&guest, folder.join("tool.wasm"))
            .with_context(|| format!("{}: `cargo xtask guests` builds it", guest.display()))?;
        Ok(folder)
    }
}

/// The runtime of a world's folder.
pub(crate) fn open(folder: &Path) -> Result<Runtime> {
    Ok(Runtime::open(Config::load(&folder.join("ringfence.toml"))?)?)
}

fn script() -> String {
    let step = |step: usize| {
        let calls = [
            format!("{{ function = \"hello_greet\", arguments = {{ name = \"{step}\" }} }}"),
            format!("{{ function = \"ledger_note\", arguments = {{ what = \"note{step}\" }} }}"),
            format!("{{ function = \"ledger_pay\", arguments = {{ what = \"pay{step}\" }} }}"),
            "{ function = \"ledger_count\" }".to_owned(),
            format!(
                "{{ function = \"memory_remember\", arguments = {{ key = \"k{step}\", text = \"t\", \
                 scope = \"session\" }} }}"
            ),
        ];
        let calls = calls.join(", ");
        format!("[[turn]]\nwhen = {{ step = {step} }}\nreply = {{ calls = [{calls}] }}\n")
    };
    let steps: String = (1..=STEPS).map(step).collect();
    format!("{steps}[[turn]]\nreply = {{ text = \"Done.\" }}\n")
}
