//! What a large store costs: until it is ready, for sessions that do nothing, for a session of ten calls, for
//! a very long session, and for one step by the effect of its call.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use ringfence_event::{
    Body, CallId, CallLimits, CallResult, Digest, Effect, IdempotencyKey, Intent, ModelReply,
    Outcome, Output, ProposedCall, RequestParts, RunId, SessionId, StepId, Stream, TenantId,
    Timestamp, TokenUsage, Usage, UserId,
};
use ringfence_store::{Append, Batch, NewEvent, Store, Written};

use crate::{
    measure::median,
    ours::root,
    table::{Bound, Table},
};

/// The argument with which this program holds a store open, and nothing else.
pub(crate) const HOLD: &str = "hold-store";

/// Sessions of a hundred events each: twelve steps of eight, and what begins and ends a run.
const SESSIONS: u32 = 10_000;
const STEPS: u32 = 12;

/// Sessions that a process holds which do nothing.
const IDLE: u32 = 100_000;

/// Events of one long session, and how many are read at a time.
const LONG: u64 = 1_000_000;
const PAGE: u32 = 256;

/// Sessions begin a second apart.
const APART_MS: u64 = 1_000;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir_in(root().join("target"))?;
    let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    tokio.block_on(async {
        effects(table, &folder.path().join("effects.db")).await?;
        let path = folder.path().join("ringfence.db");
        sessions(table, &path).await?;
        ready(table, &path).await?;
        idle(table, &path).await?;
        long(table, &folder.path().join("long.db")).await
    })
}

fn id(n: u32) -> SessionId {
    let mut random = [0; 16];
    random[..4].copy_from_slice(&n.to_be_bytes());
    SessionId::from_random(random)
}

fn batch(session: &SessionId, at: u64, bodies: Vec<Body>) -> Batch {
    let event = |body| NewEvent { at: Timestamp(at), body, cause: None, trace: None };
    let append = Append {
        stream: Stream::Session(session.clone()),
        tenant: TenantId::local(),
        user: UserId::local(),
        fence: None,
        expected_seq: None,
        events: bodies.into_iter().map(event).collect(),
    };
    Batch { appends: vec![append], ..Batch::default() }
}

/// What begins a session and its first run.
fn begin() -> Result<Vec<Body>> {
    let (text, run) = ("Find out why the build is slow.".into(), RunId(1));
    Ok(vec![
        Body::SessionCreated { agent: "coder".parse()?, agent_digest: Digest::of(b"coder") },
        Body::MessageAdded { run, text, key: None, not_after: None, agent: None, api_key: None },
        Body::RunStarted { run },
    ])
}

/// Waits for the disk, and rows, of one step by the effect of its call: what is recorded before a call starts
/// is another commit if it may not be lost.
async fn effects(table: &mut Table, path: &Path) -> Result<()> {
    let store = Store::open(path)?;
    for (n, effect) in (0..).zip([Effect::Pure, Effect::Read, Effect::Idempotent, Effect::Unsafe]) {
        let session = id(n);
        store.commit(batch(&session, 1, begin()?)).await?;
        let steps = 20;
        // The first ones give numbers to what comes again.
        let mut before = Written::default();
        for number in 1..=2 * steps {
            if number == steps + 1 {
                store.flush().await?;
                before = store.written();
            }
            let mut first = step(&session, number, effect, "x")?;
            // Up to the intent and the start of the call.
            let rest = if effect >= Effect::Idempotent { first.split_off(6) } else { vec![] };
            for part in [first, rest].into_iter().filter(|part| !part.is_empty()) {
                store.commit(batch(&session, 1, part)).await?;
            }
        }
        let after = store.written();
        let each =
            |count: fn(&Written) -> u64| (count(&after) - count(&before)) as f64 / f64::from(steps);
        let what = format!("a step, {effect} call: rows");
        let bound = Bound::AtMost { aim: 6.0, must: 6.0 };
        table.bounded(&what, each(|written| written.rows), "", bound);
        let what = format!("a step, {effect} call: waits for the disk");
        let must = if effect >= Effect::Idempotent { 2.0 } else { 1.0 };
        table.bounded(
            &what,
            each(|written| written.transactions),
            "",
            Bound::AtMost { aim: must, must },
        );
    }
    Ok(())
}

/// Makes the large store.
async fn sessions(table: &mut Table, path: &Path) -> Result<()> {
    let store = Store::open(path)?;
    let began = Instant::now();
    for n in 0..SESSIONS {
        let (session, at) = (id(n), u64::from(n) * APART_MS);
        store.commit_later(batch(&session, at, begin()?)).await;
        for number in 1..=STEPS {
            let bodies = step(&session, number, Effect::Read, &"fn main() {}\n".repeat(8))?;
            store.commit_later(batch(&session, at, bodies)).await;
        }
        let end = vec![Body::RunCompleted { run: RunId(1) }];
        store.commit_later(batch(&session, at, end)).await;
    }
    store.flush().await?;
    let took = began.elapsed().as_secs_f64();
    let events = f64::from(SESSIONS) * 100.0;
    table.row(
        "1,000,000 events written",
        format!("{:.0} a second", events / took),
        "later, together",
    );
    // What the log holds is not in the file yet: a hundredth of all.
    let bytes = fs::metadata(path)?.len() as f64;
    let each = bytes / f64::from(SESSIONS) * 10.0 / f64::from(STEPS) / 1024.0;
    let bound = Bound::AtMost { aim: 10.0, must: 10.0 };
    table.bounded("a session of ten calls", each, " KiB", bound);
    Ok(())
}

/// Until a store is opened, its sessions are listed, and a first event is durable. The file is in the page
/// cache: it was written before.
async fn ready(table: &mut Table, path: &Path) -> Result<()> {
    let mut times = vec![];
    for n in 0..7 {
        let began = Instant::now();
        let store = Store::open(path)?;
        let listed = store.sessions(&TenantId::local(), None, 50)?;
        ensure!(listed.len() == 50, "{} sessions", listed.len());
        ensure!(store.unfinished(None, 50)?.is_empty(), "all runs have ended");
        let more = vec![Body::RunStarted { run: RunId(2) }, Body::RunCompleted { run: RunId(2) }];
        store.commit(batch(&id(n), u64::from(n) * APART_MS, more)).await?;
        times.push(began.elapsed().as_secs_f64());
    }
    let bound = Bound::AtMost { aim: 1.0, must: 1.0 };
    let what = "1,000,000 events in 10,000 sessions: ready (warm)";
    table.bounded(what, median(&mut times), " s", bound);
    Ok(())
}

/// The memory of a process that has opened the store and listed its sessions.
async fn idle(table: &mut Table, path: &Path) -> Result<()> {
    let store = Store::open(path)?;
    for n in SESSIONS..IDLE {
        let mut bodies = begin()?;
        bodies.push(Body::RunCompleted { run: RunId(1) });
        store.commit_later(batch(&id(n), u64::from(n) * APART_MS, bodies)).await;
    }
    store.flush().await?;
    drop(store);
    let began = Instant::now();
    let held = Command::new(std::env::current_exe()?).arg(HOLD).arg(path).output()?;
    ensure!(held.status.success(), "{}", String::from_utf8_lossy(&held.stderr));
    let took = began.elapsed().as_secs_f64();
    let bytes: f64 = String::from_utf8(held.stdout)?.trim().parse()?;
    let bound = Bound::AtMost { aim: 256.0, must: 256.0 };
    let what = "100,000 idle sessions, opened and listed: resident";
    table.bounded(what, bytes / 1024.0 / 1024.0, " MiB", bound);
    table.row("the same: until all are listed", format!("{took:.2} s"), "a process of its own");
    Ok(())
}

/// Opens a store, lists all its sessions, holds the list, and says how many bytes of memory that takes.
pub(crate) fn hold(path: &Path) -> Result<()> {
    let store = Store::open(path)?;
    let listed = store.sessions(&TenantId::local(), None, u32::MAX)?;
    ensure!(listed.len() == IDLE as usize, "{} sessions", listed.len());
    writeln!(std::io::stdout(), "{}", resident("VmRSS")?)?;
    Ok(())
}

/// A number of bytes of this process, as the kernel calls it.
fn resident(name: &str) -> Result<u64> {
    let status = fs::read_to_string(PathBuf::from("/proc/self/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("VmRSS")?;
    Ok(kib.parse::<u64>()? * 1024)
}

/// A session of a million events: read page by page, as a host that goes on with it does.
async fn long(table: &mut Table, path: &Path) -> Result<()> {
    let (store, session) = (Store::open(path)?, id(1));
    store.commit(batch(&session, 1, begin()?)).await?;
    let mut written = 3;
    while written < LONG {
        let number = u32::try_from(written)?;
        let bodies = step(&session, number, Effect::Read, "x")?;
        written += bodies.len() as u64;
        store.commit_later(batch(&session, 1, bodies)).await;
    }
    store.flush().await?;
    drop(store);
    let store = Store::open(path)?;
    let (before, began) = (resident("VmRSS")?, Instant::now());
    let (stream, mut next, mut most) = (Stream::Session(session), 1, before);
    loop {
        let page = store.read(&TenantId::local(), &stream, next, PAGE)?;
        next += page.len() as u64;
        if next % 64_000 < u64::from(PAGE) {
            most = most.max(resident("VmRSS")?);
        }
        if page.len() < PAGE as usize {
            break;
        }
    }
    ensure!(next > LONG, "{next} events");
    let each = began.elapsed().as_secs_f64() * 1e6 / next as f64;
    table.row("a session of 1,000,000 events, read: each event", format!("{each:.2} us"), "by 256");
    let grown = most.saturating_sub(before) as f64 / 1024.0 / 1024.0;
    let bound = Bound::AtMost { aim: 16.0, must: 32.0 };
    table.bounded("the same: memory that reading takes", grown, " MiB", bound);
    Ok(())
}

/// The eight events of a step with one call that returns this text.
fn step(session: &SessionId, step: u32, effect: Effect, output: &str) -> Result<Vec<Body>> {
    let step = StepId { run: RunId(1), step };
    let call = CallId::in_step(step, 1);
    let of = |what: &str| Digest::of(what.as_bytes());
    // What is another at each step, and what is the same at all of them.
    let own = |what: &str| of(&format!("{session} {step} {what}"));
    let arguments = format!(r#"{{"path":"/project/src/part-{}.rs","lines":200}}"#, step.step);
    let usage = Usage {
        fuel: 1_234_567 + u64::from(step.step) * 977,
        host_work: 45_678,
        memory_peak_bytes: 1_179_648,
        handles_peak: 3,
        wall_us: 812 + u64::from(step.step) * 13,
        host_calls: 9,
        bytes_read: 4_096,
        output_bytes: output.len() as u64,
        ..Usage::default()
    };
    let intent = Intent {
        tool: "files".parse()?,
        function: "read".parse()?,
        effect,
        arguments: of(&arguments),
        key: IdempotencyKey::derive(session, &call, &of(&arguments)),
        component: of("component"),
        definitions: of("definitions"),
        policy: of("policy"),
        engine: of("engine"),
        limits: CallLimits::DEFAULT,
        seed: u64::from_le_bytes(own("seed").as_bytes()[..8].try_into()?),
        start: Timestamp(1_764_000_000_000 + u64::from(step.step) * 1_700),
    };
    let proposed = ProposedCall {
        id: format!("call_{}", &own("id").hex()[..24]),
        function: "files_read".into(),
        arguments: arguments.clone(),
    };
    Ok(vec![
        Body::StepStarted { step },
        Body::ModelRequested {
            step,
            model: "fast".parse()?,
            request: own("request"),
            parts: RequestParts {
                instructions: of("instructions"),
                functions: of("functions"),
                messages: own("messages"),
                parameters: of("parameters"),
            },
        },
        Body::ModelCompleted {
            step,
            reply: ModelReply {
                text: "I look at the next part.".into(),
                calls: vec![proposed],
                tokens: TokenUsage { input: 2_113, cached: 0, output: 61 },
            },
            cost: None,
        },
        Body::CallProposed { call: call.clone(), function: "files_read".into(), arguments },
        Body::CallIntended { call: call.clone(), intent: Box::new(intent) },
        Body::CallStarted { call: call.clone() },
        Body::CallFinished {
            call,
            result: Box::new(CallResult {
                outcome: Outcome::Succeeded { output: Output::text(output) },
                denials: vec![],
                usage,
            }),
        },
        Body::StepFinished { step },
    ])
}
