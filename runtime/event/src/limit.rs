//! What may be spent. Counters are spent, gauges are held and given back; DESIGN of budgets:
//! a call's limits are concrete numbers, fixed when it is decided and recorded with its intent.

use std::{fmt, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The one enumeration of limits: what a call or a run can end by.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Steps of a run.
    Steps,
    /// Calls of a run.
    Calls,
    /// Tokens of a run.
    Tokens,
    /// Money of a run or a tenant.
    Money,
    /// Fuel: guest work and host work together.
    Fuel,
    /// Linear memories, tables and instances of a call, together.
    Memory,
    /// Wall-clock time, awaited host work included.
    Time,
    /// Bytes of content that a call returns and emits.
    Output,
    /// Bytes that a call logs or prints.
    Logs,
    /// Bytes that a call sends to the network.
    Egress,
    /// Resource handles that a call holds at one time.
    Handles,
    /// HTTP requests that a call makes, connections that it opens, and peers that it sends datagrams to.
    Requests,
    /// Bytes in a root or a memory bucket.
    Storage,
    /// Random bytes that a call draws.
    Random,
    /// Bytes and elements lifted out of the guest in one host call, and HTTP header fields.
    Lift,
}

impl Limit {
    /// The word, as it is written in events and manifests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Calls => "calls",
            Self::Tokens => "tokens",
            Self::Money => "money",
            Self::Fuel => "fuel",
            Self::Memory => "memory",
            Self::Time => "time",
            Self::Output => "output",
            Self::Logs => "logs",
            Self::Egress => "egress",
            Self::Handles => "handles",
            Self::Requests => "requests",
            Self::Storage => "storage",
            Self::Random => "random",
            Self::Lift => "lift",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one call may spend and hold. Every field is enforced; there is no "unlimited".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CallLimits {
    /// Units of fuel over guest work and host work.
    pub fuel: u64,
    /// Bytes of linear memory and tables, over all instances of the component.
    pub memory: u64,
    /// Wall-clock time, in milliseconds.
    pub time: u64,
    /// Bytes of output, `emit` included.
    pub output: u64,
    /// Bytes of log records, standard output and standard error.
    pub logs: u64,
    /// Bytes sent to the network, headers included.
    pub egress: u64,
    /// Resource handles held at one time.
    pub handles: u64,
    /// HTTP requests, connections of sockets, and peers of datagrams.
    pub requests: u64,
    /// Bytes that one call may write to memory buckets.
    pub storage: u64,
    /// Random bytes drawn.
    pub random: u64,
    /// Bytes lifted out of the guest in one host call; also the most that HTTP header fields take.
    pub lift: u64,
}

impl CallLimits {
    /// What a call gets when neither manifest nor operator says anything, and the ceiling when the
    /// operator sets none. Sizes are chosen so that a Rust, Python or JavaScript tool starts, one
    /// call cannot hurt a small machine, and a mistake ends within half a minute.
    pub const DEFAULT: Self = Self {
        fuel: 10_000_000_000, // about a second of the simplest loop
        memory: 128 << 20,    // a JavaScript engine takes 9 MiB, a Python one 13
        time: 30_000,         // a slow page, not a hang
        output: 1 << 20,      // more than a model can read
        logs: 256 << 10,      // two thousand lines
        egress: 1 << 20,      // requests are small; an upload asks for more
        handles: 256,         // a tree walk holds its depth, not its breadth
        requests: 32,         // a page and its redirects
        storage: 1 << 20,     // notes, not files
        random: 1 << 20,      // keys and hash seeds, not streams
        lift: 8 << 20,        // one whole file in one host call
    };

    /// No limit of its own: the neutral element of [`CallLimits::min`], for a level that bounds one
    /// field and not the others.
    pub const UNBOUNDED: Self = Self {
        fuel: u64::MAX,
        memory: u64::MAX,
        time: u64::MAX,
        output: u64::MAX,
        logs: u64::MAX,
        egress: u64::MAX,
        handles: u64::MAX,
        requests: u64::MAX,
        storage: u64::MAX,
        random: u64::MAX,
        lift: u64::MAX,
    };

    /// The wall-clock limit as a duration.
    #[must_use]
    pub fn time(&self) -> Duration {
        Duration::from_millis(self.time)
    }

    /// The lower of both, field by field.
    #[must_use]
    pub fn min(&self, other: &Self) -> Self {
        Self {
            fuel: self.fuel.min(other.fuel),
            memory: self.memory.min(other.memory),
            time: self.time.min(other.time),
            output: self.output.min(other.output),
            logs: self.logs.min(other.logs),
            egress: self.egress.min(other.egress),
            handles: self.handles.min(other.handles),
            requests: self.requests.min(other.requests),
            storage: self.storage.min(other.storage),
            random: self.random.min(other.random),
            lift: self.lift.min(other.lift),
        }
    }
}
