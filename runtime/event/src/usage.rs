//! What a call cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one call, or several together, spent. Complete also for a call that was cancelled, trapped
/// or stopped by a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Usage {
    /// Guest work, in units of fuel.
    pub fuel: u64,
    /// Host work on the guest's behalf, in units of fuel. Drawn from the same budget.
    pub host_work: u64,
    /// The most that linear memories and tables took at one time, in bytes.
    pub memory_peak_bytes: u64,
    /// The most resources that the host held for it at one time: open files, folders, streams,
    /// requests and the like. Handles that a component makes for itself are limited with them and
    /// not counted here.
    pub handles_peak: u64,
    /// From the start of the call until its end, in microseconds.
    pub wall_us: u64,
    /// Host functions called.
    pub host_calls: u64,
    /// Bytes read from files, memory buckets and the network.
    pub bytes_read: u64,
    /// Bytes written to files and memory buckets.
    pub bytes_written: u64,
    /// Bytes written to memory buckets, keys included; `bytes-written` has them too.
    pub storage_bytes: u64,
    /// Bytes sent to the network, headers included.
    pub egress_bytes: u64,
    /// Bytes of output, emitted content included.
    pub output_bytes: u64,
    /// Bytes logged and printed.
    pub log_bytes: u64,
    /// HTTP requests made.
    pub requests: u64,
    /// Random bytes drawn.
    pub random_bytes: u64,
}

impl Usage {
    /// Guest and host work together: what the fuel limit is about.
    #[must_use]
    pub fn fuel_total(&self) -> u64 {
        self.fuel.saturating_add(self.host_work)
    }

    /// Adds another call's usage: counters are summed, of a peak the higher one stands.
    pub fn add(&mut self, other: &Self) {
        let Self {
            fuel,
            host_work,
            memory_peak_bytes,
            handles_peak,
            wall_us,
            host_calls,
            bytes_read,
            bytes_written,
            storage_bytes,
            egress_bytes,
            output_bytes,
            log_bytes,
            requests,
            random_bytes,
        } = *other;
        self.fuel = self.fuel.saturating_add(fuel);
        self.host_work = self.host_work.saturating_add(host_work);
        self.memory_peak_bytes = self.memory_peak_bytes.max(memory_peak_bytes);
        self.handles_peak = self.handles_peak.max(handles_peak);
        self.wall_us = self.wall_us.saturating_add(wall_us);
        self.host_calls = self.host_calls.saturating_add(host_calls);
        self.bytes_read = self.bytes_read.saturating_add(bytes_read);
        self.bytes_written = self.bytes_written.saturating_add(bytes_written);
        self.storage_bytes = self.storage_bytes.saturating_add(storage_bytes);
        self.egress_bytes = self.egress_bytes.saturating_add(egress_bytes);
        self.output_bytes = self.output_bytes.saturating_add(output_bytes);
        self.log_bytes = self.log_bytes.saturating_add(log_bytes);
        self.requests = self.requests.saturating_add(requests);
        self.random_bytes = self.random_bytes.saturating_add(random_bytes);
    }
}
