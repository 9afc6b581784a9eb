//! What is there without a permit: clocks, random bytes, the process's environment, the call.

use ringfence_sdk::prelude::*;
use ringfence_sdk::{context, log};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::random::{insecure, insecure_seed, random};

#[derive(Serialize, JsonSchema)]
pub(crate) struct Seen {
    /// Wall clock in milliseconds, twice, with some work in between.
    wall_ms: [u64; 2],
    monotonic_ns: [u64; 2],
    random: Vec<u64>,
    insecure: u64,
    seed: (u64, u64),
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    call: String,
    key: String,
    time_left_ms: u64,
}

/// Looks at everything that a call is given unasked.
#[tool(effect = "pure")]
pub(crate) fn ambient() -> Json<Seen> {
    let wall = || {
        let now = wall_clock::now();
        now.seconds * 1_000 + u64::from(now.nanoseconds) / 1_000_000
    };
    let (wall_before, monotonic_before) = (wall(), monotonic_clock::now());
    // Some microseconds of host work, which a clock that runs will show.
    for turn in 0..20 {
        log::debug(turn);
    }
    Json(Seen {
        monotonic_ns: [monotonic_before, monotonic_clock::now()],
        wall_ms: [wall_before, wall()],
        random: (0..4).map(|_| random::get_random_u64()).collect(),
        insecure: insecure::get_insecure_random_u64(),
        seed: insecure_seed::insecure_seed(),
        arguments: std::env::args().collect(),
        environment: std::env::vars().collect(),
        call: context::call_id(),
        key: context::idempotency_key(),
        time_left_ms: context::time_left().as_millis() as u64,
    })
}
