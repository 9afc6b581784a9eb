//! A service in a folder of its own: the real program, started and ended.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;

/// Two tenants and a third that has nothing, the tool `hello` for all and `probe` for one.
const FILE: &str = r#"
[model.main]
protocol = "scripted"
script = "script.toml"

[agent.greeter]
file = "greeter.toml"

[agent.secret]
file = "secret.toml"

[tenant.acme]
agents = ["greeter"]
[tenant.acme.tool.hello]
[tenant.acme.tool.probe]
limits = { time = "60s", fuel = "1000G" }
memory.tenant = "write"

[tenant.globex]
agents = ["greeter", "secret"]
[tenant.globex.tool.hello]
[[tenant.globex.hold]]
tool = "hello"
effect = "pure"

[tenant.initech]
"#;

const AGENT: &str = "\
name = \"greeter\"
model = { use = \"main\" }
instructions = \"Be brief.\"
[tools]
hello = \"*\"
";

/// What the model does: greets with a call, and says what came of it.
const SCRIPT: &str = r#"
[[turn]]
when = { step = 1 }
reply = { calls = [{ function = "hello_greet", arguments = { name = "Ann" } }] }
[[turn]]
reply = { text = "Done." }
"#;

const SPINNER: &str = "\
name = \"spinner\"
model = { use = \"spin\" }
instructions = \"x\"
[tools]
probe = \"*\"
[limits]
fuel = \"100000G\"
";

const SPIN: &str = r#"
[[turn]]
when = { step = 1 }
reply = { calls = [{ function = "probe_hold", arguments = { how = "spin" } }] }
[[turn]]
reply = { text = "Done." }
"#;

/// The folder, and the program that serves it.
pub(crate) struct Service {
    folder: TempDir,
    running: Option<Running>,
}

struct Running {
    child: Child,
    address: SocketAddr,
}

impl Service {
    /// A folder in which nothing runs.
    pub(crate) fn folder() -> Self {
        let service = Self { folder: tempfile::tempdir().unwrap(), running: None };
        service.write("ringfence.toml", FILE);
        service.write("greeter.toml", AGENT);
        service.write("secret.toml", &AGENT.replace("greeter", "secret"));
        service.write("script.toml", SCRIPT);
        for (name, more) in [
            ("hello", ""),
            // Of a call with this effect it is told that it began while it runs.
            (
                "probe",
                "[needs.memory.tenant]\naccess = \"write\"\n[limits]\ntime = \"60s\"\nfuel = \"1000G\"\n\
                 [function.hold]\neffect = \"idempotent\"\n",
            ),
        ] {
            let manifest = format!("[tool]\nname = \"{name}\"\ncomponent = \"tool.wasm\"\n{more}");
            service.write(&format!("{name}/tool.toml"), &manifest);
            fs::copy(guest(name), service.path(&format!("{name}/tool.wasm"))).unwrap();
            service.run(&["tool", "add", name]);
        }
        service
    }

    /// One that serves.
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// One that serves with an agent of each tenant whose calls never end by themselves. Those of `globex` are
    /// held.
    pub(crate) fn spinning() -> Self {
        let mut service = Self::folder();
        let file = FILE.replace("agents = [\"greeter\"", "agents = [\"spinner\", \"greeter\"");
        let more = r#"
[tenant.globex.tool.probe]
limits = { time = "60s", fuel = "1000G" }
memory.tenant = "write"
[[tenant.globex.hold]]
tool = "probe"
[agent.spinner]
file = "spinner.toml"
[model.spin]
protocol = "scripted"
script = "spin.toml"
"#;
        service.write("ringfence.toml", &format!("{file}{more}"));
        service.write("spinner.toml", SPINNER);
        service.write("spin.toml", SPIN);
        service.start();
        service
    }

    /// One that serves with these lines under `[service]`.
    pub(crate) fn with(lines: &str) -> Self {
        let mut service = Self::folder();
        service.write("ringfence.toml", &format!("{FILE}\n[service]\n{lines}\n"));
        service.start();
        service
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a verb to its end, which is a good one.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        output
    }

    /// Starts the program.
    pub(crate) fn start(&mut self) {
        self.start_at("127.0.0.1:0");
    }

    /// The same, listening there.
    pub(crate) fn start_at(&mut self, listen: &str) {
        let mut child = self
            .command(&["serve", "--listen", listen])
            .stderr(fs::File::create(self.path("log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening at http://");
        let address = address.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        self.running = Some(Running { child, address });
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running().address
    }

    /// Asks it to end, once.
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.running().child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// What it has logged since it was started.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Waits until it has ended; its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let mut running = self.running.take().unwrap();
        running.child.wait().unwrap().code()
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    /// A client without a key.
    pub(crate) fn nobody(&self) -> Client {
        Client { address: self.address(), key: None }
    }

    /// A client with a new key for a user of a tenant; `""`: for the whole tenant.
    pub(crate) fn client(&self, tenant: &str, user: &str, scopes: &str) -> Client {
        Client { address: self.address(), key: Some(self.key(tenant, user, scopes).1) }
    }

    /// A new key: its id and its secret.
    pub(crate) fn key(&self, tenant: &str, user: &str, scopes: &str) -> (String, String) {
        let mut arguments = vec!["--json", "--tenant", tenant, "key", "create", "--scope", scopes];
        if !user.is_empty() {
            arguments.extend(["--user", user]);
        }
        let output = self.run(&arguments);
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["key"]["id"]), text(&made["secret"]))
    }
}

impl Drop for Service {
    #[expect(clippy::print_stderr, reason = "where a test fails, it helps to know what was logged")]
    fn drop(&mut self) {
        if std::thread::panicking() && self.path("log").exists() {
            eprintln!("the service's log:\n{}", self.log());
        }
        if let Some(running) = &mut self.running {
            // One that has ended by itself is what is wanted.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

fn guest(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("target/guest").join(format!("{name}.wasm"));
    assert!(path.exists(), "{}: `cargo xtask guests` builds it", path.display());
    path
}
