//! A copy of an example, with the tools beside it where its commands look for them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// A server of an example, which people start in a terminal of its own.
pub(crate) struct Service {
    /// Its program in the example's folder; the port is its one argument.
    pub(crate) program: &'static str,
    /// The address that the example's files name.
    pub(crate) address: &'static str,
}

/// The copy; what it started ends with it.
pub(crate) struct Stage {
    root: TempDir,
    name: String,
    running: Vec<Child>,
    addresses: Vec<(String, String)>,
}

impl Stage {
    pub(crate) fn new(name: &str, services: &[Service]) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let ours = repository();
        let mut stage = Self { root, name: name.into(), running: vec![], addresses: vec![] };
        let to = stage.root.path().canonicalize().expect("a path");
        copy(&ours.join("examples").join(name), &to.join("examples").join(name));
        for tools in ["tools", "examples"] {
            for tool in fs::read_dir(ours.join(tools)).expect("a folder") {
                let tool = tool.expect("an entry").file_name();
                let manifest = Path::new(tools).join(&tool).join("tool.toml");
                if ours.join(&manifest).exists() {
                    let folder = to.join(tools).join(&tool);
                    fs::create_dir_all(&folder).expect("a folder");
                    fs::copy(ours.join(&manifest), to.join(&manifest)).expect("a manifest");
                }
            }
        }
        let guests = to.join("target/guest");
        fs::create_dir_all(&guests).expect("a folder");
        let built = fs::read_dir(ours.join("target/guest"));
        for guest in built.expect("`cargo xtask guests` builds what the examples run") {
            let guest = guest.expect("an entry").path();
            if guest.extension().is_some_and(|end| end == "wasm") {
                let name = guest.file_name().expect("a name");
                fs::copy(&guest, guests.join(name)).expect("a component");
            }
        }
        services.iter().for_each(|service| stage.start(service));
        stage
    }

    /// The copy of the example.
    pub(crate) fn folder(&self) -> PathBuf {
        let root = self.root.path().canonicalize().expect("a path");
        root.join("examples").join(&self.name)
    }

    /// Starts a server on a free port, and has the copy's files name that.
    fn start(&mut self, service: &Service) {
        let mut child = Command::new("python3")
            .args([service.program, "0"])
            .current_dir(self.folder())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example's server needs python3");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        self.running.push(child);
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().rsplit('/').next().expect("an address").to_owned();
        for file in fs::read_dir(self.folder()).expect("a folder") {
            let file = file.expect("an entry").path();
            self.rename(&file, service.address, &address);
            if file.is_dir() && file.join("tool.toml").exists() {
                self.rename(&file.join("tool.toml"), service.address, &address);
            }
        }
        self.addresses.push((address, service.address.to_owned()));
    }

    fn rename(&self, file: &Path, from: &str, to: &str) {
        if file.extension().is_some_and(|end| end == "toml") {
            let text = fs::read_to_string(file).expect("a text");
            fs::write(file, text.replace(from, to)).expect("a file");
        }
    }

    /// A command with the addresses that the servers really have.
    fn renamed(&self, command: &str) -> String {
        let addresses = self.addresses.iter();
        addresses.fold(command.to_owned(), |text, (real, shown)| text.replace(shown, real))
    }

    /// Types a command; what it prints on both outputs, as if it were said in the repository.
    pub(crate) fn typed(&self, command: &str) -> String {
        let program = std::env::current_exe().expect("a path");
        let program = program.ancestors().nth(2).expect("the folder of the build");
        assert!(
            program.join("ringfence").exists(),
            "the program is not built; `cargo test --workspace` does it"
        );
        let path = std::env::var("PATH").expect("a PATH");
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{}", self.renamed(command))])
            .current_dir(self.folder())
            .env("PATH", format!("{0}:{0}/examples:{path}", program.display()))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .expect("a shell");
        let text = String::from_utf8(output.stdout).expect("text");
        let folder = self.folder().display().to_string();
        let text = text.replace(&folder, &format!("/checkout/examples/{}", self.name));
        self.addresses.iter().fold(text, |text, (real, shown)| text.replace(real, shown))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in &mut self.running {
            // One that has ended by itself is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_str().expect("text");
        // What somebody's own run left in the checkout.
        if [".ringfence", "ringfence.lock"].contains(&name) {
            continue;
        }
        match path.is_dir() {
            true => copy(&path, &to.join(name)),
            false => drop(fs::copy(&path, to.join(name)).expect("a file")),
        }
    }
}
