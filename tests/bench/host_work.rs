//! What each priced act takes, beside its price: both in nanoseconds, by the scale of the prices.

use std::{fs, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use ringfence_capability::cost;
use ringfence_event::{Access, Effect, Outcome, Scope, Usage};
use ringfence_policy::{Bytes, FlagGrants, Fuel, LimitTable};
use ringfence_sandbox::{Cancel, Engine};

use crate::{
    measure::{median, processor_ns},
    ours::{Nothing, Ours, config, guest},
    table::Table,
};

const MANIFEST: &str = r#"
tool = { name = "probe", component = "probe.wasm" }
[needs.fs.workspace]
access = "write"
[needs.memory.user]
access = "write"
"#;

/// An act of the probe's, how often, with how many bytes, and its price.
struct Act {
    what: &'static str,
    act: &'static str,
    times: u64,
    bytes: u64,
    price: u64,
}

const ROUNDS: usize = 15;
const CHUNK: u64 = 64 << 10;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("a.txt"), vec![b'x'; CHUNK as usize])?;
    fs::write(folder.path().join("b.txt"), "")?;
    fs::create_dir(folder.path().join("many"))?;
    for number in 0..1_000 {
        fs::write(folder.path().join(format!("many/{number}.txt")), "")?;
    }
    let grants = FlagGrants {
        fs: vec![("workspace".parse()?, folder.path().to_owned(), Access::Write)],
        memory: vec![(Scope::User, Access::Write)],
        limits: LimitTable {
            fuel: Some(Fuel(1 << 50)),
            random: Some(Bytes(1 << 40)),
            logs: Some(Bytes(1 << 40)),
            ..LimitTable::default()
        },
        ..FlagGrants::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let engine = Engine::new(&config())?;
    let function = ("repeat", Effect::Unsafe);
    let probe = Ours::new(&engine, &guest("probe")?, function, "{}", MANIFEST, grants)?;
    let mut taken = |act: &str, times: u64, bytes: u64| -> Result<(f64, Usage)> {
        let arguments = format!(r#"{{"act":"{act}","times":{times},"bytes":{bytes}}}"#);
        let cancel = Cancel::new();
        let (began, used) = (Instant::now(), processor_ns());
        let call = probe.call_with(&arguments, &cancel, Arc::new(Nothing));
        let ended = runtime.block_on(call)?;
        // A disk is waited for; everything else is done on this thread.
        let ns = match act {
            "sync" => began.elapsed().as_secs_f64() * 1e9,
            _ => processor_ns() - used,
        };
        ensure!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{act}: {ended:?}");
        Ok((ns, ended.usage))
    };
    for (what, act) in [("guest: arithmetic", "compute"), ("guest: memory", "touch")] {
        let (ns, fuel) = each(&mut taken, act, 2_000_000, 0)?;
        let note = format!("{fuel:.0} units and {ns:.1} ns a turn");
        table.row(what, format!("{:.1} units/ns", fuel / ns), &note);
    }
    for Act { what, act, times, bytes, price } in acts() {
        let (ns, _) = each(&mut taken, act, times, bytes)?;
        row(table, what, ns, price as f64);
    }
    for (what, act, price) in [
        ("file byte, read", "file-read", cost::BYTE),
        ("file byte, written", "file-write", cost::BYTE),
        ("random byte", "random", cost::RANDOM_BYTE),
        ("log byte", "log", cost::TEXT_BYTE),
    ] {
        let times = if act == "log" { 300 } else { 1_000 };
        let bytes = if act == "log" { CHUNK / 8 } else { CHUNK };
        let (one, _) = each(&mut taken, act, times, 1)?;
        let (all, _) = each(&mut taken, act, times, bytes)?;
        row(table, what, (all - one) / (bytes - 1) as f64, price as f64);
    }
    Ok(())
}

fn acts() -> [Act; 9] {
    let act = |what, act, times, bytes, price| Act {
        what,
        act,
        times,
        bytes,
        price: price + cost::HOST_CALL,
    };
    [
        act("host call", "host-call", 20_000, 0, 0),
        act("call on an open file", "file-stat", 5_000, 0, cost::FILE_CALL),
        act("read of one byte", "file-read", 5_000, 1, cost::FILE_CALL + cost::BYTE),
        act("path looked up", "path-stat", 3_000, 0, cost::PATH_CALL),
        // Its handle is dropped by a host call of its own.
        act("path opened and closed", "path-open", 3_000, 0, cost::PATH_CALL + cost::HOST_CALL),
        act("directory entry", "entry", 5_000, 0, cost::DIRECTORY_ENTRY),
        act("file made durable", "sync", 20, 0, cost::SYNC),
        act("log record, nobody listening", "log", 2_000, 1, cost::NOTE + cost::TEXT_BYTE),
        act("bucket read, nothing stored", "bucket-get", 3_000, 0, cost::BUCKET_CALL),
    ]
}

/// Nanoseconds and units of guest fuel of one more act.
fn each(
    taken: &mut impl FnMut(&str, u64, u64) -> Result<(f64, Usage)>,
    act: &str,
    times: u64,
    bytes: u64,
) -> Result<(f64, f64)> {
    let (mut ns, mut fuel) = (Vec::new(), 0.0);
    for _ in 0..ROUNDS {
        let (few_ns, few) = taken(act, times / 10, bytes)?;
        let (many_ns, many) = taken(act, times, bytes)?;
        let more = (times - times / 10) as f64;
        ns.push((many_ns - few_ns) / more);
        fuel = (many.fuel - few.fuel) as f64 / more;
    }
    Ok((median(&mut ns), fuel))
}

fn row(table: &mut Table, what: &str, ns: f64, price: f64) {
    let scale = cost::UNITS_PER_NS as f64;
    let paid = price / scale;
    let note = format!("paid as {paid:.1} ns ({price:.0} units): {:.1} times as much", paid / ns);
    table.row(what, format!("{ns:.2} ns"), &note);
}
