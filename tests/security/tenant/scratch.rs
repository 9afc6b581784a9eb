//! The root `scratch`: one session's, shared by its tools, or one direct call's; nobody else's, and gone
//! with what it belongs to.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
};

use ringfence::{
    Agent, Caller, Cancel, Input, Runtime, Sink,
    event::{DenialCode, Note, Outcome, SessionId},
};
use ringfence_tests::{Notes, guest};
use serde_json::{Value, json};

use super::library::{Gate, Operator, call, caller, direct_call, said};

/// An id that no session and no call has.
const NOBODYS: &str = "0123456789abcdef0123456789abcdef";

fn granted(tenant: &str, more: &str) -> String {
    format!("[tenant.{tenant}.tool.probe]\nfs.scratch = {{ access = \"write\" }}\n{more}")
}

fn act(act: &str, path: &str, text: &str) -> Value {
    json!({ "act": act, "root": "/scratch", "path": path, "to": text, "text": text })
}

/// A turn in which something that is said leads to one act.
fn turn(said: &str, function: &str, arguments: &Value) -> String {
    format!(
        "[[turn]]\nwhen = {{ contains = \"{said}\" }}\nreply = {{ calls = [{{ function = \
         \"{function}\", arguments = '{arguments}' }}] }}\n"
    )
}

const DONE: &str = "[[turn]]\nreply = { text = \"Done.\" }\n";

/// Says something in a session; what came of the act that it leads to.
async fn say(
    (runtime, agent, caller): (&Runtime, &Agent, &Caller),
    session: Option<&SessionId>,
    text: &str,
) -> (SessionId, String) {
    let input = Input { text: text.to_owned(), session: session.cloned(), ..Input::default() };
    let ended = runtime.run(caller, agent, input, &Cancel::new(), &mut |_| {}).await.unwrap();
    let session = runtime.session(caller, &ended.session).unwrap();
    let acts = session.runs().last().unwrap().calls().next().unwrap();
    (ended.session, said(acts.result().unwrap()).to_owned())
}

async fn direct(runtime: &Runtime, caller: &Caller, arguments: Value) -> String {
    let sink = Arc::new(Notes::default());
    said(&call(runtime, caller, "file", arguments, sink).await).to_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

/// F15: everybody leaves a mark in its scratch and finds it when it comes back, and nobody else's by
/// no path; with its session it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_scratch_is_one_sessions_and_goes_with_it() {
    let wide = "fs.workspace = { path = \".\" }\n";
    let grants = [granted("a", wide), granted("b", "")].concat();
    let operator = Operator::new(&grants).await;
    let mut visitors = vec![];
    for tenant in ["a", "b"] {
        for user in ["ann", "bob"] {
            visitors.extend(["1", "2"].map(|session| [tenant, user, session]));
        }
    }
    let mut script = turn("read.", "probe_file", &act("read", "mark", ""));
    script += &turn("link.", "probe_file", &act("symbolic-link", "way", "../../../../script.toml"));
    for who in &visitors {
        let name = who.join("-");
        script += &turn(&format!("mark {name}."), "probe_file", &act("write", "mark", &name));
    }
    operator.write("script.toml", &format!("{script}{DONE}"));
    let (runtime, agent) = (operator.runtime(), operator.agent("x"));
    let mut sessions: BTreeMap<[&str; 3], SessionId> = BTreeMap::new();
    for again in [false, true] {
        for who in &visitors {
            let (caller, name) = (caller(who[0], who[1]), who.join("-"));
            let me = (&runtime, &agent, &caller);
            let (id, found) = say(me, sessions.get(who), "read.").await;
            assert_eq!(found, if again { name.as_str() } else { "error: no-entry" }, "{who:?}");
            let (_, wrote) = say(me, Some(&id), &format!("mark {name}.")).await;
            assert_eq!(wrote, format!("wrote {}", name.len()));
            sessions.insert(*who, id);
            // A direct call has one of its own, and the next call another.
            assert_eq!(direct(&runtime, &caller, act("read", "mark", "")).await, "error: no-entry");
            assert_eq!(direct(&runtime, &caller, act("write", "mark", "direct")).await, "wrote 6");
            assert_eq!(direct(&runtime, &caller, act("list", ".", "")).await, "");
        }
    }
    let scratch = operator.path(".ringfence/scratch");
    for tenant in ["a", "b"] {
        let of_tenant = sessions.iter().filter(|(who, _)| who[0] == tenant);
        let mut ids: Vec<String> = of_tenant.map(|(_, id)| id.to_string()).collect();
        ids.sort();
        assert_eq!(names(&scratch.join(tenant)), ids, "one a session, and none of a direct call");
        let mode = fs::metadata(scratch.join(tenant).join(&ids[0])).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    let (ann, victim) = (caller("a", "ann"), &sessions[&["a", "bob", "1"]]);
    let theirs = format!("{victim}/mark");
    for (root, path, found) in [
        ("/scratch", format!("../{theirs}"), "error: not-permitted"),
        ("/scratch", format!("../../a/{theirs}"), "error: not-permitted"),
        ("/workspace", format!(".ringfence/scratch/a/{theirs}"), "error: no-entry"),
        ("/workspace", "script.toml".to_owned(), script.as_str()),
    ] {
        let read = json!({ "act": "read", "root": root, "path": path });
        let met = direct(&runtime, &ann, read).await;
        assert!(met.starts_with(found), "{root} {path}: {met}");
    }
    let me = (&runtime, &agent, &ann);
    let mine = &sessions[&["a", "ann", "1"]];
    assert_eq!(say(me, Some(mine), "link.").await.1, "done");

    let stranger = runtime.close_session(&caller("b", "ann"), mine).await.unwrap_err().to_string();
    let never = runtime.close_session(&ann, &NOBODYS.parse().unwrap()).await.unwrap_err();
    // The same words, but for the id that was asked for.
    assert_eq!(stranger.replace(mine.as_str(), NOBODYS), never.to_string());
    for _ in 0..2 {
        runtime.close_session(&ann, mine).await.unwrap();
        assert!(!scratch.join("a").join(mine.as_str()).exists());
    }
    assert!(operator.path("script.toml").exists(), "what a link leads to is nobody's scratch");
    assert!(runtime.session(&ann, mine).unwrap().closed_at().is_some());
    let input = Input { text: "read.".into(), session: Some(mine.clone()), ..Input::default() };
    let refused = runtime.run(&ann, &agent, input, &Cancel::new(), &mut |_| {}).await.unwrap_err();
    assert_eq!(refused.to_string(), "the session is closed");
    let other = &sessions[&["a", "ann", "2"]];
    assert_eq!(say(me, Some(other), "read.").await.1, "a-ann-2");
}

/// One session has one, whatever tool of it looks, also for the next process that goes on with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scratch_is_shared_by_a_sessions_tools_and_survives_a_restart() {
    let twin = "[tenant.a.tool.twin]\nfs.scratch = { access = \"read\" }\n";
    let operator = Operator::new(&format!("{}{twin}", granted("a", ""))).await;
    let manifest = "tool = { name = \"twin\", component = \"twin.wasm\" }\n\
        needs.fs.scratch = { access = \"write\" }\n";
    operator.write("twin/tool.toml", manifest);
    fs::write(operator.path("twin/twin.wasm"), guest("probe")).unwrap();
    operator.runtime().add(&Caller::local(), &operator.path("twin")).await.unwrap();
    let agent = operator.agent_with("x", "probe = \"*\"\ntwin = \"*\"\n");
    let turns = [
        turn("write.", "probe_file", &act("write", "mark", "left")),
        turn("read.", "twin_file", &act("read", "mark", "")),
        turn("change.", "twin_file", &act("write", "mark", "x")),
    ];
    operator.write("script.toml", &format!("{}{DONE}", turns.concat()));
    let ann = caller("a", "ann");
    let (id, wrote) = say((&operator.runtime(), &agent, &ann), None, "write.").await;
    assert_eq!(wrote, "wrote 4");
    let runtime = operator.runtime();
    assert_eq!(say((&runtime, &agent, &ann), Some(&id), "read.").await.1, "left");
    assert_eq!(say((&runtime, &agent, &ann), Some(&id), "change.").await.1, "error: read-only");
}

/// Looks into a folder when a call says its first word, and may cancel the call then.
struct Look {
    folder: PathBuf,
    met: Mutex<usize>,
    cancel: Option<Cancel>,
}

impl Sink for Look {
    fn note(&self, _: Note) {
        *self.met.lock().unwrap() = names(&self.folder).len();
        self.cancel.iter().for_each(Cancel::cancel);
    }
}

/// F15: however a direct call ends, its scratch ends with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_the_scratch_of_a_direct_call_ends_with_it() {
    let limits = "limits.fuel = \"200M\"\n";
    let operator = Operator::new(&granted("a", limits)).await;
    let (runtime, ann) = (operator.runtime(), caller("a", "ann"));
    let folder = operator.path(".ringfence/scratch/a");
    for (how, ends, stops) in [
        ("sleep", "succeeded", false),
        ("panic", "trapped", false),
        ("spin", "limit-reached", false),
        ("poll-nothing", "cancelled", true),
    ] {
        let cancel = Cancel::new();
        let stop = stops.then(|| cancel.clone());
        let look = Arc::new(Look { folder: folder.clone(), met: Mutex::default(), cancel: stop });
        let call = direct_call("hold", json!({ "how": how }));
        let result = runtime.call(&ann, call, &cancel, look.clone()).await.unwrap();
        assert_eq!(result.outcome.as_str(), ends, "{how}: {result:?}");
        assert_eq!(*look.met.lock().unwrap(), 1, "{how}: it had one");
        assert_eq!(names(&folder), [""; 0], "{how}");
    }
    // Whoever waited went away: then it is removed beside everything else.
    let (started, mut wait) = tokio::sync::mpsc::unbounded_channel();
    struct Tell(PathBuf, tokio::sync::mpsc::UnboundedSender<fs::File>);
    impl Sink for Tell {
        fn note(&self, _: Note) {
            let [name] = &names(&self.0)[..] else { panic!("it has one") };
            self.1.send(fs::File::open(self.0.join(name)).unwrap()).unwrap();
        }
    }
    let call = direct_call("hold", json!({ "how": "poll-nothing" }));
    let cancel = Cancel::new();
    let left = tokio::select! {
        ended = runtime.call(&ann, call, &cancel, Arc::new(Tell(folder.clone(), started))) => {
            panic!("{ended:?}")
        }
        there = wait.recv() => there.unwrap(),
    };
    // It is locked until it is removed.
    tokio::task::spawn_blocking(move || left.lock().unwrap()).await.unwrap();
    assert_eq!(names(&folder), [""; 0]);
}

/// F15: what a process left that died goes at the next start; what is anybody's stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn f15_what_is_left_over_is_swept_and_nothing_else() {
    let operator = Operator::new(&granted("a", "")).await;
    let turns = [
        turn("write.", "probe_file", &act("write", "mark", "left")),
        turn("read.", "probe_file", &act("read", "mark", "")),
    ];
    operator.write("script.toml", &format!("{}{DONE}", turns.concat()));
    let (runtime, agent, ann) = (operator.runtime(), operator.agent("x"), caller("a", "ann"));
    let (open, _) = say((&runtime, &agent, &ann), None, "write.").await;
    let (closed, _) = say((&runtime, &agent, &ann), None, "write.").await;
    runtime.close_session(&ann, &closed).await.unwrap();
    let (reached, waiting) = mpsc::channel();
    let (let_go, go) = mpsc::channel();
    let gate = Arc::new(Gate { reached: Mutex::new(reached), go: Mutex::new(go) });
    let under_way = {
        let (runtime, ann) = (runtime.clone(), ann.clone());
        tokio::spawn(async move {
            call(&runtime, &ann, "hold", json!({ "how": "sleep", "count": 1 }), gate).await
        })
    };
    tokio::task::spawn_blocking(move || waiting.recv().unwrap()).await.unwrap();
    let folder = operator.path(".ringfence/scratch/a");
    let mut expected = names(&folder);
    assert_eq!(expected.len(), 2, "of the open session and of the call under way");
    for leftover in [closed.as_str(), NOBODYS, &format!("d-{NOBODYS}"), "the-hosts-own"] {
        operator.write(&format!(".ringfence/scratch/a/{leftover}/deep/er"), "");
    }
    expected.push("the-hosts-own".to_owned());
    expected.sort();
    drop(operator.runtime());
    assert_eq!(names(&folder), expected);
    let_go.send(()).unwrap();
    assert_eq!(said(&under_way.await.unwrap()), "done");
    assert_eq!(names(&folder).len(), 2, "the call's is gone with it");
    let next = operator.runtime();
    assert_eq!(say((&next, &agent, &ann), Some(&open), "read.").await.1, "left");
}

/// F10: it counts as any root does: towards its own quota, and the tenant's over all its sessions, also
/// over those that nobody has open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_scratch_counts_until_it_is_gone() {
    let grants = "[tenant.a.quota]\nbytes = \"150B\"\n[tenant.a.tool.probe]\n\
        fs.scratch = { access = \"write\", bytes = \"100B\" }\n";
    let operator = Operator::new(grants).await;
    let write = |name: &str, bytes: usize| {
        turn(&format!("{bytes} as {name}."), "probe_file", &act("write", name, &"x".repeat(bytes)))
    };
    let turns = [write("one", 80), write("two", 30), write("two", 60), write("two", 10)];
    operator.write("script.toml", &format!("{}{DONE}", turns.concat()));
    let (agent, ann) = (operator.agent("x"), caller("a", "ann"));
    let (runtime, full) = (operator.runtime(), "error: quota");
    let me = (&runtime, &agent, &ann);
    let (first, wrote) = say(me, None, "80 as one.").await;
    assert_eq!(wrote, "wrote 80");
    // The root is full.
    assert_eq!(say(me, Some(&first), "30 as two.").await.1, full);
    let session = runtime.session(&ann, &first).unwrap();
    let [denial] = session.runs()[1].calls().next().unwrap().denials() else { panic!("one") };
    assert_eq!(denial.code, DenialCode::QuotaFull);
    assert!(denial.to_string().contains("fs.scratch = { access = \"write\", bytes = \"…\" }"));
    // The tenant is, with what the other session holds.
    let (second, wrote) = say(me, None, "80 as one.").await;
    assert_eq!(wrote, full);
    assert_eq!(say(me, Some(&second), "60 as two.").await.1, "wrote 60");
    drop(runtime);
    // The next process finds both.
    let runtime = operator.runtime();
    let me = (&runtime, &agent, &ann);
    let (third, wrote) = say(me, None, "30 as two.").await;
    assert_eq!(wrote, full);
    assert_eq!(say(me, Some(&third), "10 as two.").await.1, "wrote 10");
    assert_eq!(say(me, Some(&second), "80 as one.").await.1, full);
    // What was not open here is counted once when it is, and not at all when it is gone.
    runtime.close_session(&ann, &second).await.unwrap();
    assert_eq!(say(me, Some(&third), "80 as one.").await.1, full);
    runtime.close_session(&ann, &first).await.unwrap();
    assert_eq!(say(me, Some(&third), "80 as one.").await.1, "wrote 80");
    // A direct call's counts as long as it is there.
    let ended = direct(&runtime, &ann, act("write", "mark", &"x".repeat(61))).await;
    assert_eq!(ended, full);
    for _ in 0..3 {
        let ended = direct(&runtime, &ann, act("write", "mark", &"x".repeat(60))).await;
        assert_eq!(ended, "wrote 60");
    }
}

/// A session is not closed in the middle of a run.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_in_whose_run_a_call_is_under_way_is_not_closed() {
    let operator = Operator::new(&granted("a", "")).await;
    let script = turn("hold.", "probe_hold", &json!({ "how": "poll-nothing" }));
    operator.write("script.toml", &format!("{script}{DONE}"));
    let (runtime, agent, ann) = (operator.runtime(), operator.agent("x"), caller("a", "ann"));
    let (started, mut wait) = tokio::sync::mpsc::unbounded_channel();
    let closing = {
        let (runtime, ann) = (runtime.clone(), ann.clone());
        tokio::spawn(async move {
            let id: SessionId = wait.recv().await.unwrap();
            let refused = runtime.close_session(&ann, &id).await.unwrap_err().to_string();
            runtime.cancel_session(&ann, &id).await.unwrap();
            refused
        })
    };
    let mut show = |event: &ringfence::event::Event| {
        if let ("call.started", ringfence::event::Stream::Session(id)) =
            (event.body.kind(), &event.stream)
        {
            let _ = started.send(id.clone());
        }
    };
    let input = Input::new("hold.");
    let ended = runtime.run(&ann, &agent, input, &Cancel::new(), &mut show).await.unwrap();
    let refused = closing.await.unwrap();
    assert!(refused.contains("session cancel"), "{refused}");
    let session = runtime.session(&ann, &ended.session).unwrap();
    let held = session.runs()[0].calls().next().unwrap();
    assert_eq!(held.result().unwrap().outcome, Outcome::Cancelled);
    runtime.close_session(&ann, &ended.session).await.unwrap();
    assert_eq!(names(&operator.path(".ringfence/scratch/a")), [""; 0]);
}
