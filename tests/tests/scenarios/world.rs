//! An operator's folder made for one test: tools, grants, an agent and a script.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ringfence::{
    Agent, Caller, Cancel, Config, Input, RunEnded, Runtime, Session, Sink,
    event::{Body, CallResult, Event, Note},
};
use tempfile::TempDir;

/// One operator's folder.
pub(crate) struct World {
    folder: TempDir,
}

/// A run that is over: what the driver says, what the journal says, and its events.
pub(crate) struct Over {
    pub(crate) ended: RunEnded,
    pub(crate) session: Session,
    pub(crate) events: Vec<Event>,
}

impl World {
    /// A folder with a workspace of two files, and nothing granted.
    pub(crate) fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        world.write("workspace/README.md", "# Hello\n\nA small project.\n");
        world.write("workspace/src/main.rs", "fn main() {}\n");
        world.write("private/plans.txt", "the plans\n");
        world.grants("");
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file")
    }

    /// The operator's file: a scripted model, and these grants.
    pub(crate) fn grants(&self, grants: &str) {
        let model = "[model.main]\nprotocol = \"scripted\"\nscript = \"script.toml\"\n";
        self.write("ringfence.toml", &format!("{model}{grants}"));
    }

    /// What the model decides.
    pub(crate) fn script(&self, script: &str) {
        self.write("script.toml", script);
    }

    /// Puts a tool of the repository into the folder, its manifest changed by `edit`.
    pub(crate) fn tool(&self, source: &str, edit: impl Fn(String) -> String) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let name = source.rsplit('/').next().expect("a name");
        let guest = root.join("target/guest").join(format!("{name}.wasm"));
        let manifest = root.join(source).join("tool.toml");
        let manifest = fs::read_to_string(&manifest).expect("a manifest");
        let manifest = manifest.replace(&format!("../../target/guest/{name}.wasm"), "tool.wasm");
        self.write(&format!("tools/{name}/tool.toml"), &edit(manifest));
        let component = self.path(&format!("tools/{name}/tool.wasm"));
        fs::copy(&guest, &component).unwrap_or_else(|error| {
            panic!("{}: {error}; `cargo xtask guests` builds it", guest.display())
        });
        self.path(&format!("tools/{name}"))
    }

    pub(crate) fn runtime(&self) -> Runtime {
        self.runtime_with(|config| config)
    }

    pub(crate) fn runtime_with(&self, with: impl FnOnce(Config) -> Config) -> Runtime {
        Runtime::open(with(self.config())).expect("a runtime")
    }

    /// The operator's file as it is now.
    pub(crate) fn config(&self) -> Config {
        Config::load(&self.path("ringfence.toml")).expect("a configuration")
    }

    /// Adds the spinning tool, which asks for more than any test lets it spend.
    pub(crate) async fn add_spin(&self) {
        let asks = |manifest: String| {
            let (tool, _) = manifest.split_once("[limits]").unwrap_or((&manifest, ""));
            format!("{tool}[limits]\nfuel = \"1000000G\"\ntime = \"1000s\"\n")
        };
        let path = self.tool("examples/spin", asks);
        self.runtime().accept(&Caller::local(), &path).await.expect("a tool");
    }

    /// Adds tools as they are in the repository.
    pub(crate) async fn add(&self, sources: &[&str]) {
        let paths: Vec<PathBuf> =
            sources.iter().map(|source| self.tool(source, |manifest| manifest)).collect();
        for path in paths {
            // Opened anew: each sees what the one before has written.
            self.runtime().accept(&Caller::local(), &path).await.expect("a tool");
        }
    }

    pub(crate) fn agent(&self, tools: &str, limits: &str) -> Agent {
        let text = format!(
            "name = \"tester\"\nmodel = {{ use = \"main\" }}\ninstructions = \"Do it.\"\n\
             [tools]\n{tools}\n[limits]\n{limits}\n"
        );
        self.write("agent.toml", &text);
        Agent::load(&self.path("agent.toml")).expect("an agent")
    }

    /// Runs the agent once in a new session.
    pub(crate) async fn run(&self, agent: &Agent) -> Over {
        self.run_with(&self.runtime(), agent, &Cancel::new(), |_| {}).await
    }

    pub(crate) async fn run_with(
        &self,
        runtime: &Runtime,
        agent: &Agent,
        cancel: &Cancel,
        mut show: impl FnMut(&Event) + Send,
    ) -> Over {
        let mut events = vec![];
        let input = Input::new("Go.");
        let caller = Caller::local();
        let ended = runtime
            .run(&caller, agent, input, cancel, &mut |event| {
                show(event);
                events.push(event.clone());
            })
            .await
            .expect("a run");
        let session = runtime.session(&caller, &ended.session).expect("a session");
        check_history(&session, &events);
        Over { ended, session, events }
    }
}

impl Over {
    /// The results of all calls, in the order of proposal.
    pub(crate) fn results(&self) -> Vec<(String, CallResult)> {
        let calls = self.session.runs().iter().flat_map(|run| run.calls());
        calls
            .map(|call| {
                let result = CallResult {
                    outcome: call.outcome().expect("an outcome").clone(),
                    denials: call.denials().to_vec(),
                    usage: call.usage(),
                };
                (call.function().to_owned(), result)
            })
            .collect()
    }

    /// The kinds of all events, in order.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.events.iter().map(|event| event.body.kind()).collect()
    }
}

/// What holds for every run: the journal is what was shown, each proposed call has one end, and the
/// conversation has one result for each.
fn check_history(session: &Session, events: &[Event]) {
    assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), "without gaps");
    let again = Session::fold(session.id().clone(), events).expect("the events fold");
    assert_eq!(again.runs(), session.runs(), "what was shown is what is stored");
    for run in session.runs() {
        for call in run.calls() {
            let ends = events.iter().filter(|event| match &event.body {
                Body::CallFinished { call: id, .. }
                | Body::CallDenied { call: id, .. }
                | Body::CallInvalid { call: id, .. } => id == call.id(),
                _ => false,
            });
            assert_eq!(ends.count(), 1, "{} ends once", call.id());
        }
    }
    let proposed: usize = session.runs().iter().map(|run| run.calls().count()).sum();
    let results = session.messages();
    let results =
        results.iter().filter(|m| matches!(***m, ringfence::event::Message::Result { .. })).count();
    assert_eq!(results, proposed, "one result a call");
}

/// Keeps what a direct call says.
#[derive(Default)]
pub(crate) struct Heard(pub(crate) std::sync::Mutex<Vec<Note>>);

impl Sink for Heard {
    fn note(&self, note: Note) {
        self.0.lock().expect("nobody panicked").push(note);
    }
}

pub(crate) fn heard() -> Arc<Heard> {
    Arc::default()
}

/// A script of one call and an end.
pub(crate) fn one_call(function: &str, arguments: &str) -> String {
    format!(
        "[[turn]]\nwhen = {{ step = 1 }}\nreply = {{ calls = [{{ function = \"{function}\", \
         arguments = {arguments} }}] }}\n[[turn]]\nreply = {{ text = \"Done.\" }}\n"
    )
}
