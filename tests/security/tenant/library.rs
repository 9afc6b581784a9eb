//! Two tenants with two users each, over one runtime: whatever one does, the others find what they
//! would have found without.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
};

use ringfence::{
    Agent, Caller, Cancel, Config, DirectCall, Input, Runtime, Sink, ToolRef,
    event::{CallResult, Content, DenialCode, Event, Limit, Note, Outcome, SessionId},
};
use ringfence_tests::{Notes, guest};
use serde_json::{Value, json};
use tempfile::TempDir;

/// An operator's folder with the probe in it, which asks for all of memory, for a workspace and for
/// scratch.
pub(super) struct Operator {
    folder: TempDir,
}

const MANIFEST: &str = "tool = { name = \"probe\", component = \"probe.wasm\" }\n\
    needs.memory.session = { access = \"write\" }\nneeds.memory.user = { access = \"write\" }\n\
    needs.memory.agent = { access = \"write\" }\nneeds.memory.tenant = { access = \"write\" }\n\
    needs.fs.scratch = { access = \"write\" }\nneeds.fs.workspace = { access = \"read\" }\n";

impl Operator {
    pub(super) async fn new(tenants: &str) -> Self {
        let operator = Self { folder: tempfile::tempdir().unwrap() };
        let model = "[model.main]\nprotocol = \"scripted\"\nscript = \"script.toml\"\n";
        operator.write("ringfence.toml", &format!("{model}{tenants}"));
        operator.write("probe/tool.toml", MANIFEST);
        fs::write(operator.path("probe/probe.wasm"), guest("probe")).unwrap();
        operator.runtime().add(&Caller::local(), &operator.path("probe")).await.unwrap();
        operator
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn runtime(&self) -> Runtime {
        Runtime::open(Config::load(&self.path("ringfence.toml")).unwrap()).unwrap()
    }

    pub(super) fn agent(&self, name: &str) -> Agent {
        self.agent_with(name, "probe = \"*\"\n")
    }

    pub(super) fn agent_with(&self, name: &str, tools: &str) -> Agent {
        let text = format!(
            "name = \"{name}\"\nmodel = {{ use = \"main\" }}\ninstructions = \"Go.\"\n[tools]\n{tools}"
        );
        self.write(&format!("{name}.toml"), &text);
        Agent::load(&self.path(&format!("{name}.toml"))).unwrap()
    }
}

pub(super) fn caller(tenant: &str, user: &str) -> Caller {
    Caller { tenant: tenant.parse().unwrap(), user: user.parse().unwrap() }
}

pub(super) fn direct_call(function: &str, arguments: Value) -> DirectCall {
    DirectCall {
        tool: ToolRef::Accepted("probe".parse().unwrap()),
        function: Some(function.parse().unwrap()),
        arguments: arguments.to_string(),
        key: None,
        trace: None,
    }
}

pub(super) async fn call(
    runtime: &Runtime,
    caller: &Caller,
    function: &str,
    arguments: Value,
    sink: Arc<dyn Sink>,
) -> CallResult {
    runtime.call(caller, direct_call(function, arguments), &Cancel::new(), sink).await.unwrap()
}

pub(super) fn said(result: &CallResult) -> &str {
    match &result.outcome {
        Outcome::Succeeded { output } => match &output.content[..] {
            [Content::Text { text }] => text,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}: {:?}", result.denials),
    }
}

const SCOPES: [&str; 4] = ["session", "user", "agent", "tenant"];

/// Looks who was there before, and leaves a mark.
fn visit(scope: &str, who: &str) -> Value {
    json!({ "scope": scope, "acts": [{ "get": "mark" }, { "set": ["mark", who] }] })
}

fn granted(tenants: &[&str]) -> String {
    let table = |tenant: &&str| {
        let lines: String = SCOPES.map(|scope| format!("memory.{scope} = \"write\"\n")).concat();
        format!("[tenant.{tenant}.tool.probe]\n{lines}")
    };
    tenants.iter().map(table).collect()
}

/// S4: each scope is shared by those whom it is named for, across tenants, users, agents, sessions
/// and direct calls: everybody leaves marks, and finds the last one of those it shares with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s4_a_bucket_is_seen_by_those_who_share_it() {
    let operator = Operator::new(&granted(&["a", "b"])).await;
    let mut visitors = vec![];
    for tenant in ["a", "b"] {
        for user in ["ann", "bob"] {
            for agent in ["x", "y", "direct"] {
                let sessions: &[&str] = if agent == "direct" { &["0"] } else { &["1", "2"] };
                visitors.extend(sessions.iter().map(|session| [tenant, user, agent, session]));
            }
        }
    }
    let mut script = String::new();
    for who in &visitors {
        let calls = SCOPES.map(|scope| {
            let text = visit(scope, &who.join("-")).to_string();
            format!("{{ function = \"probe_memory\", arguments = '{text}' }}")
        });
        let calls = calls.join(", ");
        script += &format!(
            "[[turn]]\nwhen = {{ contains = \"go {}.\" }}\nreply = {{ calls = [{calls}] }}\n",
            who.join("-")
        );
    }
    operator.write("script.toml", &format!("{script}[[turn]]\nreply = {{ text = \"Done.\" }}\n"));
    let runtime = operator.runtime();
    let agents = BTreeMap::from(["x", "y"].map(|name| (name, operator.agent(name))));
    let mut sessions: BTreeMap<[&str; 4], SessionId> = BTreeMap::new();
    let mut marks: BTreeMap<String, String> = BTreeMap::new();
    // Twice, so that everybody comes back to what it left itself.
    for (turn, who) in visitors.iter().chain(&visitors).enumerate() {
        let [tenant, user, agent, _] = *who;
        let (caller, name) = (caller(tenant, user), who.join("-"));
        let found: Vec<String> = if agent == "direct" {
            let mut found = vec![];
            for scope in SCOPES {
                let sink = Arc::new(Notes::default());
                let result = call(&runtime, &caller, "memory", visit(scope, &name), sink).await;
                found.push(said(&result).to_owned());
            }
            found
        } else {
            let input = Input {
                text: format!("go {name}."),
                session: sessions.get(who).cloned(),
                ..Input::default()
            };
            let (cancel, agent) = (Cancel::new(), &agents[agent]);
            let ended = runtime.run(&caller, agent, input, &cancel, &mut |_| {}).await;
            let id = ended.unwrap().session;
            let session = runtime.session(&caller, &id).unwrap();
            sessions.insert(*who, id);
            let last = session.runs().last().unwrap();
            last.calls().map(|call| said(call.result().unwrap()).to_owned()).collect()
        };
        let owners = [
            // A direct call's session ends with it.
            if agent == "direct" { format!("session {turn}") } else { format!("session {name}") },
            format!("user {tenant} {user}"),
            format!("agent {tenant} {agent}"),
            format!("tenant {tenant}"),
        ];
        let expected = owners.map(|owner| {
            let before = marks.insert(owner, name.clone());
            format!("{}; set", before.unwrap_or("none".to_owned()))
        });
        assert_eq!(found, expected, "{who:?}");
    }
}

/// S4: whoever names a session that is not its own gets what it would get for one that nobody has,
/// by its id, by the beginning of it, and whatever it wants with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s4_a_session_of_another_is_as_one_that_does_not_exist() {
    let operator = Operator::new(&granted(&["a", "b"])).await;
    operator.write("script.toml", "[[turn]]\nreply = { text = \"Done.\" }\n");
    let (runtime, agent) = (operator.runtime(), operator.agent("x"));
    let owner = caller("a", "ann");
    let run = async |caller: &Caller, session: Option<&SessionId>| {
        let input = Input { text: "Hello.".into(), session: session.cloned(), ..Input::default() };
        runtime.run(caller, &agent, input, &Cancel::new(), &mut |_| {}).await
    };
    let theirs = run(&owner, None).await.unwrap().session;
    let nobodys: SessionId = "0123456789abcdef0123456789abcdef".parse().unwrap();
    let driven = operator.path(".ringfence/driven");
    let before = fs::read_dir(&driven).unwrap().count();
    for stranger in [caller("a", "bob"), caller("b", "ann"), caller("c", "ann")] {
        let tried = async |id: &SessionId| {
            let text = |error: ringfence::Error| {
                let debug = format!("{error:?}");
                format!("{error} {debug}")
                    .replace(id.as_str(), "ID")
                    .replace(&id.as_str()[..8], "ID")
            };
            [
                text(runtime.session(&stranger, id).unwrap_err()),
                text(runtime.events(&stranger, id, 1, 10).unwrap_err()),
                text(runtime.cancel_session(&stranger, id).await.unwrap_err()),
                text(runtime.close_session(&stranger, id).await.unwrap_err()),
                text(run(&stranger, Some(id)).await.unwrap_err()),
                text(runtime.find_session(&stranger, id.as_str()).unwrap_err()),
                text(runtime.find_session(&stranger, &id.as_str()[..8]).unwrap_err()),
            ]
        };
        assert_eq!(tried(&theirs).await, tried(&nobodys).await, "{stranger:?}");
        assert_eq!(runtime.sessions(&stranger, 10).unwrap(), []);
        // Not even an empty beginning tells that there is one.
        assert!(
            runtime.find_session(&stranger, "").unwrap_err().to_string().contains("no session")
        );
    }
    assert_eq!(fs::read_dir(&driven).unwrap().count(), before, "nothing was taken to be driven");
    // The owner still has it, and nobody has left anything in it.
    let session = runtime.session(&owner, &theirs).unwrap();
    assert_eq!(session.runs().len(), 1);
    assert_eq!(runtime.find_session(&owner, &theirs.as_str()[..8]).unwrap(), theirs);
    assert_eq!(run(&owner, Some(&theirs)).await.unwrap().session, theirs);
    assert_eq!(runtime.sessions(&owner, 10).unwrap().len(), 1);
}

/// S8: what one tenant has compiled, decided and stored changes nothing of what another is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s8_nothing_that_is_kept_tells_of_another_tenant() {
    let operator = Operator::new(&granted(&["a"])).await;
    let runtime = operator.runtime();
    let arguments = || visit("user", "mark");
    let told = async |caller: &Caller, function: &str| {
        let result =
            call(&runtime, caller, function, arguments(), Arc::new(Notes::default())).await;
        assert_eq!(result.outcome, Outcome::Denied);
        assert_eq!(result.denials[0].code, DenialCode::NotGranted);
        result.denials[0].to_string()
    };
    let (ann, bob) = (caller("a", "ann"), caller("b", "bob"));
    let before = told(&bob, "memory").await;
    let result = call(&runtime, &ann, "memory", arguments(), Arc::new(Notes::default())).await;
    assert_eq!(said(&result), "none; set");
    assert_eq!(told(&bob, "memory").await, before);
    assert_eq!(
        told(&caller("never-heard-of", "bob"), "memory").await,
        before.replace(".b.", ".never-heard-of.")
    );
    // No line of the one tenant's is in what the other is told.
    assert!(!before.contains("tenant.a") && !before.contains("ringfence.toml:"), "{before}");
    // Two users of one tenant share the grants, and nothing else.
    let other = caller("a", "bob");
    let result = call(&runtime, &other, "memory", arguments(), Arc::new(Notes::default())).await;
    assert_eq!(said(&result), "none; set");
}

/// Holds a call up where it says its first word, until it is let go.
pub(super) struct Gate {
    pub(super) reached: Mutex<mpsc::Sender<()>>,
    pub(super) go: Mutex<mpsc::Receiver<()>>,
}

impl Sink for Gate {
    fn note(&self, _: Note) {
        self.reached.lock().unwrap().send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
    }
}

/// F10: two calls look, both find room, and there is room for one: the other one is ended by its
/// limit when its memory is to be stored, and nothing of what it wrote is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn f10_memory_that_filled_meanwhile_ends_the_call() {
    let quota = "[tenant.a.quota]\nmemory = \"4KiB\"\n";
    let operator = Operator::new(&format!("{}{quota}", granted(&["a", "b"]))).await;
    let arguments = |key: &str| json!({ "scope": "tenant", "acts": [{ "fill": [key, 600] }, { "say": "written" }] });
    operator.write(
        "script.toml",
        &format!(
            "[[turn]]\nwhen = {{ step = 1 }}\nreply = {{ calls = [{{ function = \"probe_memory\", arguments = '{}' }}] }}\n\
             [[turn]]\nreply = {{ text = \"Done.\" }}\n",
            json!({ "scope": "tenant", "acts": [{ "fill": ["run", 600] }, { "get": "never" }] })
        ),
    );
    let runtime = operator.runtime();
    let ann = caller("a", "ann");
    let (reached, waiting) = mpsc::channel();
    let (let_go, go) = mpsc::channel();
    let gate = Arc::new(Gate { reached: Mutex::new(reached), go: Mutex::new(go) });
    let held = {
        let (runtime, ann, arguments) = (runtime.clone(), ann.clone(), arguments("held"));
        tokio::spawn(async move { call(&runtime, &ann, "memory", arguments, gate).await })
    };
    tokio::task::spawn_blocking(move || waiting.recv().unwrap()).await.unwrap();
    let quiet = || Arc::new(Notes::default());
    let first = call(&runtime, &ann, "memory", arguments("first"), quiet()).await;
    assert_eq!(said(&first), "set; said");
    let_go.send(()).unwrap();
    let held = held.await.unwrap();
    assert_eq!(held.outcome, Outcome::LimitReached { limit: Limit::Storage }, "{held:?}");
    let [denial] = &held.denials[..] else { panic!("{held:?}") };
    assert_eq!(denial.code, DenialCode::QuotaFull);
    assert!(
        denial.to_string().contains("memory = \"…\"` under [tenant.a.quota] in ringfence.toml:")
    );
    let list = json!({ "scope": "tenant", "acts": ["list"] });
    let keys = call(&runtime, &ann, "memory", list.clone(), quiet()).await;
    assert_eq!(said(&keys), "first");
    // Whoever looks now is told at once; another tenant has its own room.
    let late = call(&runtime, &ann, "memory", arguments("late"), quiet()).await;
    assert_eq!(said(&late), "error: memory: the memory is full; said");
    assert_eq!(late.denials[0].code, DenialCode::QuotaFull);
    let other = call(&runtime, &caller("b", "ann"), "memory", arguments("first"), quiet()).await;
    assert_eq!(said(&other), "set; said");
    // What a session's call wrote is stored with its end, or not at all.
    let clear = json!({ "scope": "tenant", "acts": [{ "delete": "first" }] });
    assert_eq!(said(&call(&runtime, &ann, "memory", clear, quiet()).await), "deleted");
    let input = Input::new("Go.");
    let mut kinds = vec![];
    let (agent, cancel) = (operator.agent("x"), Cancel::new());
    let mut show = |event: &Event| kinds.push(event.body.kind());
    let ended = runtime.run(&ann, &agent, input, &cancel, &mut show).await.unwrap();
    let session = runtime.session(&ann, &ended.session).unwrap();
    let result = session.runs()[0].calls().next().unwrap().result().unwrap().clone();
    assert_eq!(said(&result), "set; none");
    let at = |kind| kinds.iter().position(|known| *known == kind);
    assert_eq!(at("memory.written").map(|at| at + 1), at("call.finished"), "{kinds:?}");
    let keys = call(&runtime, &ann, "memory", list, quiet()).await;
    assert_eq!(said(&keys), "run");
}
