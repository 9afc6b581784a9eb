//! Sessions written as a file and read again elsewhere, and everything unfinished gone on with.

use std::{
    fs,
    io::{BufReader, Read},
    time::Duration,
};

use ringfence::{
    Agent, Caller, Cancel, Clock, Config, Error, Input, Resumed, RunStatus, Runtime,
    event::{Digest, Event, Limit, SessionId, Timestamp, Wait},
};
use serde_json::{Value, json};

use crate::world::World;

/// A model that plans, remembers, and ends.
const SCRIPT: &str = r#"
[[turn]]
when = { step = 1 }
reply = { calls = [
    { function = "plan_write", arguments = { items = [{ title = "one", status = "done" }, { title = "two" }] } },
    { function = "memory_remember", arguments = { key = "word", text = "heather", scope = "session" } },
    { function = "memory_remember", arguments = { key = "animal", text = "otter", scope = "session" } },
] }
[[turn]]
reply = { text = "Done." }
"#;

/// The same, and asks in between.
const ASKS: &str = r#"
[[turn]]
when = { step = 2 }
reply = { calls = [{ function = "probe_ask", arguments = { question = "Go on?" } }] }
"#;

const AGENT: &str = "name = \"tester\"\nmodel = { use = \"main\" }\ninstructions = \"Do it.\"\n\
                     [tools]\nmemory = \"*\"\nplan = \"*\"\n";

fn caller(tenant: &str, user: &str) -> Caller {
    Caller { tenant: tenant.parse().expect("a name"), user: user.parse().expect("a name") }
}

/// A folder in which these tenants may do what the agent does.
async fn world(tenants: &[&str], more: &str) -> World {
    let world = World::new();
    world.add(&["tools/memory", "tools/plan"]).await;
    let grants = tenants.iter().map(|tenant| {
        format!(
            "[tenant.{tenant}.tool.memory]\nmemory.session = \"write\"\n\
             [tenant.{tenant}.tool.plan]\nmemory.session = \"write\"\n[tenant.{tenant}.tool.probe]\n"
        )
    });
    world.grants(&(grants.collect::<String>() + more));
    world.script(SCRIPT);
    world
}

/// Adds the probe, which is no tool of the repository's.
async fn add_probe(world: &World) {
    let manifest = "[tool]\nname = \"probe\"\ncomponent = \"tool.wasm\"\n";
    world.write("tools/probe/tool.toml", manifest);
    fs::write(world.path("tools/probe/tool.wasm"), ringfence_tests::guest("probe"))
        .expect("a file");
    let folder = world.path("tools/probe");
    world.runtime().accept(&Caller::local(), &folder).await.expect("a tool");
}

fn agent(more: &str) -> Agent {
    Agent::parse("agent.toml", &format!("{AGENT}{more}")).expect("an agent")
}

/// A runtime whose time stands still until the test turns it on.
fn at_rest(world: &World) -> (Runtime, Clock) {
    let clock = Clock::manual(Timestamp(1_700_000_000_000));
    let config = Config::load(&world.path("ringfence.toml")).expect("a configuration");
    (Runtime::open(config.with_clock(clock.clone())).expect("a runtime"), clock)
}

async fn run(
    runtime: &Runtime,
    caller: &Caller,
    agent: &Agent,
    input: Input,
    mut show: impl FnMut(&Event) + Send,
) -> ringfence::RunEnded {
    let cancel = Cancel::new();
    runtime.run(caller, agent, input, &cancel, &mut show).await.expect("a run")
}

fn export(runtime: &Runtime, caller: &Caller, id: &SessionId) -> String {
    let mut file = vec![];
    runtime.export(caller, id, &mut file).expect("exported");
    String::from_utf8(file).expect("a text")
}

async fn import(runtime: &Runtime, caller: &Caller, file: &str) -> Result<SessionId, Error> {
    read_in(runtime, caller, std::io::Cursor::new(file.to_owned().into_bytes())).await
}

async fn read_in(
    runtime: &Runtime,
    caller: &Caller,
    file: impl Read + Send + 'static,
) -> Result<SessionId, Error> {
    let (runtime, caller) = (runtime.clone(), caller.clone());
    let importing =
        tokio::task::spawn_blocking(move || runtime.import(&caller, &mut BufReader::new(file)));
    importing.await.expect("nobody panicked")
}

async fn resume(runtime: &Runtime, caller: &Caller, id: &SessionId) -> ringfence::RunEnded {
    runtime.resume(caller, id, &Cancel::new(), &mut |_| {}).await.expect("gone on with")
}

/// The file without its last line, and as if it were `caller`'s.
fn as_of(file: &str, caller: &Caller) -> Vec<String> {
    let owner = format!("\"tenant\":\"{}\",\"user\":\"{}\"", caller.tenant, caller.user);
    let lines = file.lines().filter(|line| !line.starts_with("{\"end\""));
    lines.map(|line| line.replace("\"tenant\":\"local\",\"user\":\"local\"", &owner)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_on_elsewhere_as_it_stood() {
    let (here, there) = (world(&["local"], "").await, world(&["acme"], "").await);
    for world in [&here, &there] {
        add_probe(world).await;
        world.script(&format!("{ASKS}{SCRIPT}"));
    }
    let (local, ann) = (Caller::local(), caller("acme", "ann"));
    let (first, second) = (here.runtime(), there.runtime());
    let agent = agent("probe = \"*\"\n[session-limits]\ncalls = 20\n");
    let input = || Input { key: Some("order-7".into()), ..Input::new("Go.") };
    let ended = run(&first, &local, &agent, input(), |_| {}).await;
    assert_eq!(ended.status, RunStatus::Waiting(Wait::Input));
    let id = &ended.session;

    let file = export(&first, &local, id);
    assert_eq!(&import(&second, &ann, &file).await.expect("imported"), id);
    let (left, came) = (
        first.session(&local, id).expect("a session"),
        second.session(&ann, id).expect("a session"),
    );
    assert_eq!(left.runs(), came.runs());
    assert_eq!(
        (left.plan(), left.source(), left.totals(), left.seq(), left.last_at()),
        (came.plan(), came.source(), came.totals(), came.seq(), came.last_at())
    );
    let again = export(&second, &ann, id);
    assert_eq!(as_of(&file, &ann), as_of(&again, &ann), "what came is what was sent");
    let list = |runtime: &Runtime, caller: &Caller| {
        let mut summary = runtime.sessions(caller, 9).expect("a list").remove(0);
        summary.user = ann.user.clone();
        summary
    };
    assert_eq!(list(&first, &local), list(&second, &ann), "the same row");
    // What is spent counts on: for the session, and not for whoever it is now.
    let spent = second.spending(&ann, &came).expect("spent");
    let calls =
        |level| spent.iter().find(|(limit, spent)| *limit == Limit::Calls && spent.level == level);
    let of_session = calls(ringfence::event::BudgetLevel::Session).expect("a limit");
    assert_eq!((of_session.1.spent, of_session.1.of), (4, 20));

    // A question is answered there, with the state that its tool has left.
    let waiting = second.waiting(&ann).expect("a list").remove(0);
    second
        .answer(&ann, id, &waiting.call, Some(json!({ "go": true })), None)
        .await
        .expect("an answer");
    let ended = resume(&second, &ann, id).await;
    assert_eq!((ended.status, ended.answer.as_deref()), (RunStatus::Completed, Some("Done.")));
    let session = second.session(&ann, id).expect("a session");
    let result = format!("{:?}", session.messages());
    assert!(result.contains("go: true, times: 0"), "{result}");
    // What was said under a key is not said again.
    let more = Input { session: Some(id.clone()), ..input() };
    assert_eq!(run(&second, &ann, &agent, more, |_| {}).await.run, ended.run);
    assert_eq!(first.session(&local, id).expect("a session").seq(), left.seq(), "it is left alone");
}

/// Exported in the middle of a call by whoever is told that it began, while its process goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_unfinished_after_the_import() {
    let (here, there) = (world(&["local"], "").await, world(&["acme", "local"], "").await);
    let (runtime, local) = (here.runtime(), Caller::local());
    let mut file = None;
    let (exporter, who) = (runtime.clone(), local.clone());
    let ended = run(&runtime, &local, &agent(""), Input::new("Go."), |event| {
        if event.body.kind() == "call.started" && file.is_none() {
            let ringfence::event::Stream::Session(id) = &event.stream else { return };
            file = Some(export(&exporter, &who, id));
        }
    })
    .await;
    assert_eq!(ended.status, RunStatus::Completed);
    let (file, id) = (file.expect("a file"), &ended.session);

    let second = there.runtime();
    let (ann, eve) = (caller("acme", "ann"), caller("acme", "eve"));
    for caller in [&ann, &local] {
        import(&second, caller, &file).await.expect("imported");
    }
    let unfinished = second.unfinished().expect("a list");
    assert_eq!(unfinished.len(), 2, "one of each tenant: {unfinished:?}");
    assert_eq!(&second.newest_unfinished(&ann).expect("one"), id);
    let none = second.newest_unfinished(&eve).expect_err("it is ann's");
    assert_eq!(none.code(), "nothing-unfinished");

    let mut told = vec![];
    second
        .resume_all(1, &Cancel::new(), &mut |open, resumed| {
            let Resumed::Ended(ended) = resumed else { panic!("{resumed:?}") };
            told.push((open.user.to_string(), ended.status));
        })
        .await
        .expect("all");
    let done = |user: &str| (user.to_owned(), RunStatus::Completed);
    assert_eq!(told, [done("ann"), done("local")]);
    // The call that was under way runs again for the tenant whose policy it was decided by, and for
    // no other.
    for (caller, denied) in [(&local, false), (&ann, true)] {
        let session = second.session(caller, id).expect("a session");
        let call = session.runs()[0].calls().next().expect("a call");
        let outcome = call.outcome().expect("an outcome");
        assert_eq!(matches!(outcome, ringfence::event::Outcome::Denied), denied, "{outcome:?}");
    }
    let file = export(&second, &local, id);
    assert!(file.contains("\"key\":\"note:animal\""), "{file}");
    assert!(second.unfinished().expect("a list").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_be_gone_on_with_does_not_stop_the_others() {
    let (here, there) = (world(&["local"], "").await, world(&["acme", "other"], "").await);
    let hold = "[[tenant.local.hold]]\ntool = \"memory\"\nexpires = \"1h\"\n";
    here.grants(&format!(
        "[model.missing]\nprotocol = \"scripted\"\nscript = \"script.toml\"\n\
         [tenant.local.tool.memory]\nmemory.session = \"write\"\n[tenant.local.tool.plan]\n\
         memory.session = \"write\"\n{hold}"
    ));
    let ((first, _), local) = (at_rest(&here), Caller::local());
    let missing = agent("").with_model("missing".parse().expect("a name"));
    let (second, clock) = at_rest(&there);
    for (agent, caller) in [(missing, caller("acme", "ann")), (agent(""), caller("other", "bob"))] {
        let ended = run(&first, &local, &agent, Input::new("Go."), |_| {}).await;
        assert_eq!(ended.status, RunStatus::Waiting(Wait::Approval));
        let file = export(&first, &local, &ended.session);
        import(&second, &caller, &file).await.expect("imported");
    }
    assert_eq!(second.unfinished().expect("a list").len(), 0, "they wait for a person");
    // The time at which nobody has answered came with them.
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(second.unfinished().expect("a list").len(), 2);
    let mut told = vec![];
    let mut tell = |open: &ringfence::OpenSession, resumed: Resumed| {
        told.push((
            open.tenant.to_string(),
            match resumed {
                Resumed::Ended(ended) => ended.status.to_string(),
                Resumed::Elsewhere => "elsewhere".to_owned(),
                Resumed::Left => "left".to_owned(),
                Resumed::Failed(error) => error.to_string(),
            },
        ));
    };
    second.resume_all(8, &Cancel::new(), &mut tell).await.expect("all");
    told.sort();
    let missing = "there is no model `missing`: [model.missing] in ringfence.toml sets one up";
    let expected = [("acme", missing), ("other", "completed")];
    assert_eq!(told, expected.map(|(tenant, how)| (tenant.to_owned(), how.to_owned())));
}

/// A file with its last line made anew, so that what is behind the digest is looked at.
fn sealed(lines: &[String]) -> String {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let (count, digest) = (lines.len(), Digest::of(text.as_bytes()));
    format!("{text}{{\"end\":{{\"lines\":{count},\"digest\":\"{digest}\"}}}}\n")
}

/// A line of JSON, changed.
fn changed(line: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut value = serde_json::from_str(line).expect("JSON");
    change(&mut value);
    value.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_whole_session_is_refused_and_nothing_is_stored() {
    let here = world(&["local"], "").await;
    let (first, local) = (here.runtime(), Caller::local());
    let ended = run(&first, &local, &agent(""), Input::new("Go."), |_| {}).await;
    let (file, id) = (export(&first, &local, &ended.session), ended.session);

    let there = World::new();
    there.grants("[tenant.acme]\n[tenant.small.quota]\nmemory = \"8KiB\"\n");
    let second = there.runtime();
    let (ann, small) = (caller("acme", "ann"), caller("small", "ann"));
    // Whose, what, and what is told of which line.
    let mut cases: Vec<(&Caller, String, usize, &str)> = vec![];
    let all: Vec<String> = file.lines().map(str::to_owned).collect();
    let (end, lines) = (all.last().expect("a line"), &all[..all.len() - 1]);
    let place = |kind: &str| {
        lines.iter().position(|line| line.contains(kind)).unwrap_or_else(|| panic!("no {kind}"))
    };
    assert_eq!(sealed(lines), file, "the test seals as the library does");

    // Cut, at each line and within some.
    for count in 1..all.len() {
        let cut: String = all[..count].iter().map(|line| format!("{line}\n")).collect();
        cases.push((&ann, cut, count + 1, "the file ends here"));
    }
    cases.push((&ann, file[..file.len() - 1].to_owned(), all.len(), "cut off"));
    let begins = file.find('\n').expect("a line") + 40;
    cases.push((&ann, file[..begins].to_owned(), 2, "cut off"));
    // One bit of each line.
    for (number, line) in (1..).zip(&all) {
        let start: usize = all[..number - 1].iter().map(|line| line.len() + 1).sum();
        let mut bytes = file.clone().into_bytes();
        bytes[start + line.len() * 2 / 3] ^= 1;
        let flipped = read_in(&second, &ann, std::io::Cursor::new(bytes)).await;
        assert_eq!(flipped.expect_err("a bit").code(), "bad-export", "line {number}");
    }
    // No file of ours, or of a version to come.
    for text in ["", "\n", "hello\n", "{}\n", "{\"session\":{\"format\":1}}\n"] {
        cases.push((&ann, text.to_owned(), 1, "no exported session"));
    }
    let with = |place: usize, line: String| {
        let mut lines = lines.to_vec();
        lines[place] = line;
        sealed(&lines)
    };
    let change = |place: usize, change: &dyn Fn(&mut Value)| {
        with(place, changed(&lines[place], |value| change(value)))
    };
    let event =
        |place: usize, what: &dyn Fn(&mut Value)| change(place, &|line| what(&mut line["event"]));
    let head = |key: &str, value: Value| change(0, &|line| line["session"][key] = value.clone());
    cases.push((&ann, head("format", 2.into()), 1, "its format is 2"));
    cases.push((&ann, head("more", 2.into()), 1, "unknown field `more`"));
    cases.push((&ann, head("last-seq", 2.into()), place("{\"memory\"") + 1, "2 events"));
    cases.push((&ann, head("agent", "other".into()), place("{\"memory\"") + 1, "names agent"));
    let other = "f".repeat(32);
    cases.push((&ann, head("id", other.clone().into()), 2, "belongs to session"));

    // Events out of place, or of somebody else.
    let started = place("step.started");
    let without = |place: usize| {
        let mut lines = lines.to_vec();
        lines.remove(place);
        sealed(&lines)
    };
    let twice = |place: usize| {
        let mut lines = lines.to_vec();
        lines.insert(place, lines[place].clone());
        sealed(&lines)
    };
    let swapped = |a: usize, b: usize| {
        let mut lines = lines.to_vec();
        lines.swap(a, b);
        sealed(&lines)
    };
    cases.push((&ann, swapped(started, started + 1), started + 1, "stands where"));
    cases.push((&ann, without(started), started + 1, "stands where"));
    cases.push((&ann, twice(started), started + 2, "stands where"));
    let stream = format!("session/{other}");
    let of_other = event(started, &|event| event["stream"] = stream.clone().into());
    cases.push((&ann, of_other, started + 1, "belongs to session"));
    let of_bob = event(started, &|event| event["user"] = "bob".into());
    cases.push((&ann, of_bob, started + 1, "another tenant or user"));
    let newer = event(started, &|event| event["format"] = 99.into());
    cases.push((&ann, newer, started + 1, "format 99"));
    let finished = event(started, &|event| event["kind"] = "step.finished".into());
    cases.push((&ann, finished, started + 1, "cannot happen"));
    let unknown = event(started, &|event| event["kind"] = "step.sung".into());
    cases.push((&ann, unknown, started + 1, "step.sung"));
    let more = event(started, &|event| event["data"]["step"]["mood"] = "good".into());
    cases.push((&ann, more, started + 1, "`event.data.step.mood`"));
    let early = event(started, &|event| event["at"] = 7.into());
    cases.push((&ann, early, started + 1, "before the one before it"));
    let late = event(started, &|event| event["at"] = u64::MAX.into());
    cases.push((&ann, late, started + 1, "has not come"));
    let cause = event(started, &|event| event["cause"] = 1_000.into());
    cases.push((&ann, cause, started + 1, "follows from"));
    let trace = event(started, &|event| event["trace"] = "x".into());
    cases.push((&ann, trace, started + 1, "trace"));

    // Blobs and memory.
    let (blob, memory) = (place("{\"blob\""), place("{\"memory\""));
    let bytes = change(blob, &|line| line["blob"]["bytes"] = "aGVsbG8=".into());
    cases.push((&ann, bytes, blob + 1, "is not the one"));
    let no_base64 = change(blob, &|line| line["blob"]["bytes"] = "?".into());
    cases.push((&ann, no_base64, blob + 1, "no base64"));
    cases.push((&ann, without(blob), blob + 1, "is missing"));
    cases.push((&ann, twice(blob), blob + 2, "no event has named"));
    let unnamed = json!({ "blob": { "digest": Digest::of(b"hello"), "bytes": "aGVsbG8=" } });
    let behind = |place: usize, line: &Value| {
        let mut lines = lines.to_vec();
        lines.insert(place, line.to_string());
        sealed(&lines)
    };
    cases.push((&ann, behind(started, &unnamed), started + 2, "does not name the blob"));
    cases.push((&ann, behind(lines.len(), &unnamed), lines.len() + 1, "not behind memory"));
    cases.push((&ann, swapped(memory, memory + 1), memory + 2, "in their order"));
    cases.push((&ann, twice(memory), memory + 2, "in their order"));
    let nameless = change(memory, &|line| line["memory"]["key"] = "".into());
    cases.push((&ann, nameless, memory + 1, "1 to 256 bytes"));
    let large = json!({ "memory": { "key": "zz", "value": "A".repeat(4_096) } });
    let over = behind(lines.len(), &large);
    cases.push((&small, over.clone(), lines.len() + 1, "[tenant.small.quota]"));

    // The end, and what is behind it.
    let short = file.replace(end, &changed(end, |end| end["end"]["lines"] = 1.into()));
    cases.push((&ann, short, all.len(), "1 lines"));
    cases.push((&ann, format!("{file}{end}\n"), all.len() + 1, "behind the last line"));
    cases.push((&ann, twice(0), 2, "a second head"));

    // What would hurt a reader.
    let deep = format!("{{\"event\":{}", "[".repeat(1_000_000));
    cases.push((&ann, with(started, deep), started + 1, "nested deeper"));
    let endless = format!("{}\n", lines[0]);
    let endless = std::io::Cursor::new(endless.into_bytes()).chain(std::io::repeat(b'x'));
    let endless = read_in(&second, &ann, endless).await.expect_err("it has no end");
    assert_eq!(endless.to_string(), "line 2: it is longer than 64 MiB");

    let mut wrong = vec![];
    for (caller, text, line, says) in cases {
        let told = match import(&second, caller, &text).await {
            Err(Error::Import { line, message }) => format!("line {line}: {message}"),
            other => format!("{other:?}"),
        };
        if !told.starts_with(&format!("line {line}: ")) || !told.contains(says) {
            wrong.push(format!("line {line}, {says}, but {told}"));
        }
        assert!(second.sessions(caller, 9).expect("a list").is_empty(), "{says}");
        second.session(caller, &id).expect_err("nothing is stored");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // As it was it is taken, and so is what fits where it fits; and once.
    import(&second, &ann, &over).await.expect("it fits here");
    import(&second, &small, &file).await.expect("imported");
    for caller in [&ann, &caller("acme", "eve")] {
        let again = import(&second, caller, &file).await.expect_err("it is there");
        assert!(matches!(&again, Error::SessionExists { session } if *session == id), "{again}");
    }
    // It is nobody else's to export.
    for caller in [caller("acme", "eve"), Caller::local()] {
        let mut out = vec![];
        let error = second.export(&caller, &id, &mut out).expect_err("it is ann's");
        assert_eq!((error.code(), out.len()), ("no-such-session", 0));
    }
}
