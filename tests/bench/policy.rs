//! What it takes to decide: a call, and within one a request and a bucket, among many functions and
//! many lines. `runtime/policy/tests/allocation.rs` holds that a call and a bucket allocate nothing; a
//! request takes its path apart.

use std::{hint::black_box, time::Instant};

use anyhow::{Result, bail};
use ringfence_event::{Access, CallLimits, Digest, Effect, Scope};
use ringfence_policy::{
    CallRequest, Decision, FlagGrants, Grants, Manifest, Permit, ToolFacts, ToolPolicy,
};
use url::Url;

use crate::{
    measure::{median, us},
    table::{Bound, Table},
};

/// As many decisions are timed together: a clock is read in a third of the time that one takes.
const BLOCK: u32 = 1_000;
const ROUNDS: usize = 301;
/// As many functions has a large tool, and as many hosts a long list.
const FUNCTIONS: usize = 100;
const HOSTS: usize = 20;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let hosts: Vec<String> = (0..HOSTS).map(|n| format!("https://host-{n}.example")).collect();
    let needs: String = hosts
        .iter()
        .map(|host| {
            format!("[needs.http.\"{host}\"]\nmethods = [\"GET\"]\npaths = [\"/repos/**\"]\n")
        })
        .collect();
    let manifest = Manifest::parse(
        "tool.toml",
        &format!(
            "tool = {{ name = \"large\", component = \"large.wasm\" }}\n\
             [needs.fs.workspace]\naccess = \"write\"\n[needs.memory.user]\naccess = \"write\"\n{needs}"
        ),
    )?;
    let facts = ToolFacts {
        name: manifest.name.clone(),
        component: Digest::of(b"component"),
        definitions: Digest::of(b"definitions"),
        functions: (0..FUNCTIONS)
            .map(|n| Ok((format!("f{n}").parse()?, Effect::Read)))
            .collect::<Result<_>>()?,
    };
    let grants = Grants::from_flags(FlagGrants {
        fs: vec![("workspace".parse()?, "/".into(), Access::Read)],
        http: hosts,
        memory: vec![(Scope::User, Access::Read)],
        ..FlagGrants::default()
    })?;
    let policy = ToolPolicy::compile(&"local".parse()?, &facts, &manifest, &grants);
    let (user, function) = ("local".parse()?, "f77".parse()?);
    let limits = Some(&CallLimits::DEFAULT);
    let request = CallRequest { limits, ..CallRequest::new(&user, &function, "{}") };
    let permit = decided(&policy, &request)?;
    let last = Url::parse(&format!("https://host-{}.example/repos/a/b", HOSTS - 1))?;

    let call = each(|| drop(black_box(policy.decide(black_box(&request)))));
    table.bounded("a call, no allocation", call, " µs", Bound::AtMost { aim: 1.0, must: 1.5 });
    let http = each(|| drop(black_box(permit.http("GET", black_box(&last)))));
    table.row("a request", format!("{http:.2} µs"), &format!("the last of {HOSTS} hosts"));
    let bucket = each(|| drop(black_box(permit.bucket(black_box("user"), Access::Read))));
    table.bounded("a bucket, no allocation", bucket, " µs", Bound::AtMost { aim: 1.0, must: 1.5 });
    // What was measured is what was meant.
    if permit.http("GET", &last).is_err() || permit.bucket("user", Access::Read).is_err() {
        bail!("a request that was to be permitted is denied");
    }
    Ok(())
}

fn decided(policy: &ToolPolicy, request: &CallRequest<'_>) -> Result<Permit> {
    match policy.decide(request) {
        Decision::Permit(permit) => Ok(permit),
        other => bail!("{other:?}"),
    }
}

/// The median of one decision, in microseconds.
fn each(mut decide: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            (0..BLOCK).for_each(|_| decide());
            us(began.elapsed()) / f64::from(BLOCK)
        })
        .collect();
    median(&mut times)
}
