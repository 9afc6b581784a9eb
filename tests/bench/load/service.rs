//! The program that is measured, in a folder of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::ours::root;

/// A service with the tools that it needs.
pub(crate) struct Service {
    folder: TempDir,
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Service {
    /// One with this operator's file, to which the models and tools are added, with `more` lines in the
    /// manifest of `probe`.
    pub(crate) fn start(file: &str, more: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        fs::write(at("ringfence.toml"), format!("{file}\n{MODELS}"))?;
        fs::write(at("greeter.toml"), AGENT)?;
        fs::write(at("script.toml"), SCRIPT)?;
        fs::create_dir(at("files"))?;
        fs::write(at("files/a.txt"), "The quick brown fox.\n")?;
        for (name, more) in [("hello", ""), ("probe", more)] {
            fs::create_dir(at(name))?;
            let manifest = format!("[tool]\nname = \"{name}\"\ncomponent = \"tool.wasm\"\n{more}");
            fs::write(at(&format!("{name}/tool.toml")), manifest)?;
            let guest = root().join(format!("target/guest/{name}.wasm"));
            fs::copy(guest, at(&format!("{name}/tool.wasm")))?;
            run(&folder, &["tool", "add", name])?;
        }
        let mut child = command(&folder, &["serve", "--listen", "127.0.0.1:0"])?
            .stdout(Stdio::piped())
            .stderr(fs::File::create(at("log"))?)
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("a pipe")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening at http://");
        let address = address.with_context(|| {
            format!("{line}{}", fs::read_to_string(at("log")).unwrap_or_default())
        })?;
        Ok(Self { address: address.parse()?, folder, child })
    }

    /// The secret of a new key for all of a tenant.
    pub(crate) fn key(&self, tenant: &str) -> Result<String> {
        let arguments = ["--json", "--tenant", tenant, "key", "create", "--scope", "read,run"];
        let made: serde_json::Value = serde_json::from_slice(&run(&self.folder, &arguments)?)?;
        Ok(made["secret"].as_str().context("a secret")?.to_owned())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // One that has ended by itself is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const MODELS: &str = "
[model.main]
protocol = \"scripted\"
script = \"script.toml\"

[agent.greeter]
file = \"greeter.toml\"
";

const AGENT: &str = "\
name = \"greeter\"
model = { use = \"main\" }
instructions = \"Be brief.\"
[tools]
hello = \"*\"
";

const SCRIPT: &str = "
[[turn]]
when = { step = 1 }
reply = { calls = [{ function = \"hello_greet\", arguments = { name = \"Ann\" } }] }
[[turn]]
reply = { text = \"Done.\" }
";

fn command(folder: &TempDir, arguments: &[&str]) -> Result<Command> {
    let this = std::env::current_exe()?;
    let program: PathBuf = this.parent().context("a program lies in a folder")?.join("ringfence");
    ensure!(
        program.exists(),
        "{} is not there: `cargo build --release -p ringfence-cli` builds it",
        program.display()
    );
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env_clear().env("HOME", folder.path());
    command.stdin(Stdio::null());
    Ok(command)
}

fn run(folder: &TempDir, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = command(folder, arguments)?.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {said}");
    Ok(output.stdout)
}
