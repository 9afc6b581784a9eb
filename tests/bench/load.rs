//! The service under load: the real program in a process of its own, asked over real connections.

mod baseline;
mod calls;
mod client;
mod neighbour;
mod overload;
mod process;
mod service;
mod soak;
mod streams;

use crate::Part;

pub(crate) use baseline::{SERVE, serve};

/// The parts, which are measured when they are named: together they take a quarter of an hour.
pub(crate) const PARTS: &[Part] = &[
    ("load-calls", calls::measure),
    ("load-streams", streams::measure),
    ("load-overload", overload::measure),
    ("load-neighbour", neighbour::measure),
    ("load-soak", soak::measure),
];
