//! A folder to run the program in, and what came of it.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::redact::redact;

/// A working folder and a home, both empty and away from everybody's.
pub(crate) struct Scene {
    root: TempDir,
}

/// What came of the program.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    /// Both outputs and the exit code, with `~` for the scene's folder.
    pub(crate) exact: String,
    /// The same with everything that differs between two runs taken out.
    pub(crate) shown: String,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("work")).unwrap();
        Self { root }
    }

    /// One with an agent, a scripted model and the tool `hello`, added and granted.
    pub(crate) fn with_agent(script: &str) -> Self {
        let scene = Self::new();
        scene.file("ringfence.toml", &format!("{MODEL}[tenant.local.tool.hello]\n"));
        scene.file("script.toml", script);
        scene.file("agent.toml", AGENT);
        scene.tool("hello", "hello", "");
        scene.run(&["tool", "add", "hello"]).expect(0);
        scene
    }

    /// Everything: the working folder and the home.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    pub(crate) fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A tool's folder: the guest under a name, with a manifest that says more.
    pub(crate) fn tool(&self, name: &str, guest: &str, more: &str) {
        self.file(
            &format!("{name}/tool.toml"),
            &format!("[tool]\nname = \"{name}\"\ncomponent = \"tool.wasm\"\n{more}"),
        );
        self.component(&format!("{name}/tool.wasm"), guest);
    }

    /// A guest's component.
    pub(crate) fn component(&self, name: &str, guest: &str) {
        fs::copy(component(guest), self.path(name)).unwrap();
    }

    /// The program, to be started in the working folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command
            .args(arguments)
            .current_dir(self.work())
            .env_clear()
            .env("HOME", self.root.path().join("home"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program with nothing on standard input.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.ended(self.command(arguments).spawn().unwrap())
    }

    /// Runs the program with a text on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        self.ended(child)
    }

    /// Runs the program at a terminal at which somebody types this; `None` where there is no
    /// `script` to make one. What the program shows comes on standard output.
    pub(crate) fn run_at_terminal(&self, arguments: &[&str], typed: &str) -> Option<Ran> {
        let shown = self.command(arguments);
        let words = [shown.get_program()].into_iter().chain(shown.get_args());
        let words: Vec<String> =
            words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let mut command = Command::new("/usr/bin/script");
        command
            .args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"])
            .current_dir(self.work())
            .env_clear()
            .env("HOME", self.root.path().join("home"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => panic!("{error}"),
        };
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        Some(self.ended(child))
    }

    /// What came of a program that was started.
    pub(crate) fn ended(&self, child: Child) -> Ran {
        let output = child.wait_with_output().unwrap();
        let code = output.status.code().unwrap_or(-1);
        let out = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        let mut said = String::new();
        for (name, text) in [("stdout", &out), ("stderr", &err)] {
            if !text.is_empty() {
                said += &format!("-- {name}\n{}\n", self.at_home(text).trim_end());
            }
        }
        let shown = format!("exit {code}\n{}", redact(&said));
        Ran { code, out, err, shown, exact: format!("exit {code}\n{said}") }
    }

    fn at_home(&self, text: &str) -> String {
        let root = self.root.path();
        let real = fs::canonicalize(root).unwrap();
        let text = text.replace(&real.display().to_string(), "~");
        text.replace(&root.display().to_string(), "~")
    }
}

impl Ran {
    /// The same, if it exited with this.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// The same, if standard error has this in it.
    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Self {
        assert!(self.err.contains(part), "{part}\n--\n{}", self.err);
        self
    }

    /// Standard output as JSON, if it is one line of it.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.out.trim_end().lines().count(), 1, "{}", self.out);
        serde_json::from_str(&self.out).unwrap()
    }
}

/// The operator's model, which a script plays.
pub(crate) const MODEL: &str =
    "[model.main]\nprotocol = \"scripted\"\nscript = \"script.toml\"\n\n";

const AGENT: &str = "\
name = \"greeter\"
model = { use = \"main\" }
instructions = \"Be brief.\"

[tools]
hello = \"*\"
";

fn component(guest: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("target/guest").join(format!("{guest}.wasm"));
    assert!(path.exists(), "{}: `cargo xtask guests` builds it", path.display());
    path
}
