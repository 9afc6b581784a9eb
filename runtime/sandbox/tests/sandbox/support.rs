//! What these tests share: an engine, guests by name, permits from real manifests and grants, and a
//! sink and a memory that remember.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
};

use ringfence_capability::{
    Host, Opened,
    memory::{BoxFuture, Buckets, Unavailable},
};
use ringfence_event::{
    CallId, Digest, Effect, FunctionName, IdempotencyKey, Note, Outcome, Scope, TenantId, Timestamp,
};
use ringfence_policy::{
    CallRequest, Decision, Defaults, GrantSet, Grants, Manifest, Permit, TenantGrants, ToolFacts,
    ToolPolicy, parse_file,
};
use ringfence_sandbox::{Call, Cancel, Ended, Engine, EngineConfig, Sink, Tool};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// When every call of these tests starts.
pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000);
/// What its random bytes follow from.
pub(crate) const SEED: u64 = 7;
/// How many calls run at one time in [`ENGINE`].
pub(crate) const SLOTS: u32 = 8;

/// A guest component by name.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path: PathBuf = root.join("target/guest").join(format!("{name}.wasm"));
    fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo xtask guests` builds it", path.display())
    })
}

/// An engine of its own. The compiled code is shared with the other tests, in cargo's own folder.
pub(crate) fn engine() -> Engine {
    let cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    Engine::new(&EngineConfig { concurrent_calls: SLOTS, cache }).unwrap()
}

/// The engine of all tests that need none of their own: whatever one call does, the next one must
/// find it well.
pub(crate) static ENGINE: LazyLock<Engine> = LazyLock::new(engine);
static PROBE: LazyLock<Tool> = LazyLock::new(|| Tool::load(&ENGINE, &guest("probe")).unwrap());

/// The part of `ringfence.toml` that is policy's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OperatorFile {
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    grant_set: BTreeMap<String, GrantSet>,
    #[serde(default)]
    tenant: BTreeMap<TenantId, TenantGrants>,
}

fn grants(text: &str) -> Grants {
    let file: OperatorFile = parse_file("ringfence.toml", text).unwrap();
    let folder = Path::new("/");
    Grants::new("ringfence.toml", text, folder, file.defaults, &file.grant_set, file.tenant)
        .unwrap()
}

/// A tool with what it needs and what it is given. Called again and again, each time with another
/// function or other arguments.
pub(crate) struct Scene {
    tool: Tool,
    effect: Effect,
    needs: String,
    grants: String,
    host: Host,
    pub(crate) stored: Arc<Stored>,
    pub(crate) notes: Arc<Notes>,
}

impl Scene {
    /// The probe, which needs and is given nothing.
    pub(crate) fn new(effect: Effect) -> Self {
        Self::of(PROBE.clone(), effect)
    }

    pub(crate) fn of(tool: Tool, effect: Effect) -> Self {
        Self {
            tool,
            effect,
            needs: String::new(),
            grants: String::new(),
            host: Host::new(),
            stored: Arc::default(),
            notes: Arc::default(),
        }
    }

    pub(crate) fn tool(&self) -> &Tool {
        &self.tool
    }

    /// Lines for the tool's manifest.
    pub(crate) fn needs(mut self, lines: &str) -> Self {
        self.needs += &format!("{lines}\n");
        self
    }

    /// Lines for the operator's table of this tool.
    pub(crate) fn grants(mut self, lines: &str) -> Self {
        self.grants += &format!("{lines}\n");
        self
    }

    /// A root that the manifest needs for writing and the operator gives as far as `access`.
    pub(crate) fn root(self, name: &str, path: &Path, access: &str) -> Self {
        let path = path.display();
        self.needs(&format!("[needs.fs.{name}]\naccess = \"write\""))
            .grants(&format!("fs.{name} = {{ path = \"{path}\", access = \"{access}\" }}"))
    }

    /// The tool's policy for one of its functions.
    pub(crate) fn policy(&self, function: &str) -> ToolPolicy {
        let manifest =
            format!("tool = {{ name = \"probe\", component = \"probe.wasm\" }}\n{}", self.needs);
        let manifest = Manifest::parse("tool.toml", &manifest).unwrap();
        let facts = ToolFacts {
            name: manifest.name.clone(),
            component: self.tool.digest(),
            definitions: Digest::of(b"definitions"),
            functions: vec![(function.parse().unwrap(), self.effect)],
        };
        let grants = grants(&format!("[tenant.local.tool.probe]\n{}", self.grants));
        ToolPolicy::compile(&"local".parse().unwrap(), &facts, &manifest, &grants)
    }

    fn permit(&self, function: &FunctionName, arguments: &str) -> Permit {
        let decision = self.policy(function.as_str()).decide(&CallRequest {
            user: &"local".parse().unwrap(),
            function,
            arguments: Digest::of(arguments.as_bytes()),
            limits: None,
        });
        match decision {
            Decision::Permit(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn open(&self, function: &str, arguments: &Value) -> (Opened, Call) {
        let (function, arguments): (FunctionName, _) =
            (function.parse().unwrap(), arguments.to_string());
        let permit = self.permit(&function, &arguments);
        let opened = self.host.open(permit, START, SEED, self.stored.clone()).unwrap();
        let key = IdempotencyKey("key".into());
        let call = Call { id: CallId::direct([1; 16]), key, function, arguments, start: START };
        (opened, call)
    }

    pub(crate) async fn run(&self, function: &str, arguments: Value) -> Ended {
        self.run_until(function, arguments, &Cancel::new(), self.notes.clone()).await
    }

    pub(crate) async fn run_until(
        &self,
        function: &str,
        arguments: Value,
        cancel: &Cancel,
        sink: Arc<dyn Sink>,
    ) -> Ended {
        let (opened, call) = self.open(function, &arguments);
        self.tool.run(opened, call, cancel, sink).await
    }

    /// One act of the probe's on files.
    pub(crate) async fn file(&self, act: &str, path: &str) -> Ended {
        self.run("file", json!({ "act": act, "path": path, "text": "new text" })).await
    }

    /// A call that just works, to see that whatever was before left nothing behind.
    pub(crate) async fn works(&self) {
        let ended = self.run("hold", json!({ "how": "sleep", "count": 1 })).await;
        assert_eq!(text(&ended), "done", "{ended:?}");
    }
}

/// The text that a call which succeeded returned.
pub(crate) fn text(ended: &Ended) -> String {
    let Outcome::Succeeded { output } = &ended.outcome else { panic!("{ended:?}") };
    match &output.content[..] {
        [ringfence_event::Content::Text { text }] => text.clone(),
        other => panic!("{other:?}"),
    }
}

/// A folder with files, links and a FIFO in it, and a secret beside it.
pub(crate) struct Folders {
    top: TempDir,
}

impl Folders {
    pub(crate) fn new() -> Self {
        use std::os::unix::fs::symlink;
        let top = tempfile::tempdir().unwrap();
        let folders = Self { top };
        let (inside, outside) = (folders.workspace(), folders.outside());
        fs::create_dir_all(inside.join("sub")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(inside.join("a.txt"), "hello").unwrap();
        fs::write(inside.join("sub/b.txt"), "below").unwrap();
        fs::write(outside.join("secret.txt"), "secret").unwrap();
        for (target, name) in [
            ("/etc", "absolute"),
            ("../outside", "up"),
            ("../outside/secret.txt", "secret"),
            ("a.txt", "link"),
            ("loop", "loop"),
        ] {
            symlink(target, inside.join(name)).unwrap();
        }
        let (kind, mode) =
            (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR);
        rustix::fs::mknodat(rustix::fs::CWD, inside.join("pipe"), kind, mode, 0).unwrap();
        folders
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.top.path().join("workspace")
    }

    pub(crate) fn outside(&self) -> PathBuf {
        self.top.path().join("outside")
    }
}

/// What was stored before the call.
#[derive(Default)]
pub(crate) struct Stored(pub(crate) Mutex<BTreeMap<(Scope, String), Vec<u8>>>);

impl Buckets for Stored {
    fn get<'a>(
        &'a self,
        scope: Scope,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Unavailable>> {
        Box::pin(async move { Ok(self.0.lock().unwrap().get(&(scope, key.to_owned())).cloned()) })
    }

    fn keys<'a>(
        &'a self,
        scope: Scope,
        after: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<String>, Unavailable>> {
        let stored = self.0.lock().unwrap();
        let keys = stored
            .keys()
            .filter(|(of, key)| *of == scope && after.is_none_or(|after| key.as_str() > after));
        let page =
            keys.map(|(_, key)| key.clone()).take(ringfence_capability::memory::PAGE).collect();
        Box::pin(async { Ok(page) })
    }
}

#[derive(Default)]
pub(crate) struct Notes(pub(crate) Mutex<Vec<Note>>);

impl Sink for Notes {
    fn note(&self, note: Note) {
        self.0.lock().unwrap().push(note);
    }
}
