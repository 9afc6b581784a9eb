//! A tool that never comes back: what a limit and a cancel are tried on.
use std::hint::black_box;

use ringfence_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
struct Spin {
    /// How many turns to make; absent: for ever.
    turns: Option<u64>,
}

/// Counts, for ever unless it is told how far. Only a limit or a cancel ends it then.
#[tool(effect = "pure")]
fn spin(args: Spin) -> String {
    let mut turns = 0_u64;
    // Opaque to the optimiser, which would otherwise see that nobody looks at the count.
    while args.turns.is_none_or(|last| turns < last) {
        turns = black_box(turns.wrapping_add(1));
    }
    format!("stopped after {turns} turns")
}

ringfence_sdk::export!(spin);
