//! The project's numbers. Each is taken beside its own baseline or price, in one run, so that the
//! ratio means something on whatever machine this is; `BENCHMARKS.md` says how to read it.
//!
//! Without arguments everything is measured but the service under load; with arguments the parts that are
//! named.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod baseline;
mod cancel;
mod durable;
mod fresh_call;
mod host_work;
mod http;
mod load;
mod measure;
mod ours;
mod peers;
mod policy;
mod quiet;
mod start;
mod store;
mod table;
mod threads;

use std::process::ExitCode;

use anyhow::{Result, bail};
use table::Table;

/// A part: its name, and what it adds to the table.
type Part = (&'static str, fn(&mut Table) -> Result<()>);

const PARTS: &[Part] = &[
    ("fresh-call", fresh_call::measure),
    ("threads", threads::measure),
    ("policy", policy::measure),
    ("http", http::measure),
    ("start", start::measure),
    ("host-work", host_work::measure),
    ("cancel", cancel::measure),
    ("durable", durable::measure),
    ("store", store::measure),
    ("peers", peers::measure),
];

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<ExitCode> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    // What this program starts itself, to measure the memory of a process that does nothing else.
    if let [store::HOLD, path] = wanted.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return store::hold(path.as_ref()).map(|()| ExitCode::SUCCESS);
    }
    // What the service is measured beside.
    if let [load::SERVE, which] = wanted.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return load::serve(which).map(|()| ExitCode::SUCCESS);
    }
    let all = || PARTS.iter().chain(load::PARTS);
    if let Some(unknown) = wanted.iter().find(|name| all().all(|(part, _)| part != name)) {
        let names: Vec<&str> = all().map(|(part, _)| *part).collect();
        bail!("there is no part `{unknown}`: the parts are {}", names.join(", "));
    }
    let mut missed = 0;
    let unnamed = if wanted.is_empty() { PARTS } else { &[] };
    let named = all().filter(|(name, _)| wanted.iter().any(|wanted| wanted == name));
    for (name, part) in unnamed.iter().chain(named) {
        let mut table = Table::new(name);
        let done = part(&mut table);
        // What was measured is told, whatever came of the rest.
        println!("\n{table}");
        done?;
        missed += table.missed();
    }
    if missed > 0 {
        println!("{missed} numbers miss what they must reach");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
