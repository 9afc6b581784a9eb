//! What a process holds, as the system tells it.

use std::fs;

use anyhow::{Context, Result};

/// At one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Its memory, in MiB: what is resident of its own and nobody else's.
    pub(crate) memory: f64,
    /// Open files.
    pub(crate) files: usize,
    pub(crate) threads: usize,
}

pub(crate) fn held(pid: u32) -> Result<Held> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let number = |name: &str| -> Result<f64> {
        let line = status.lines().find(|line| line.starts_with(name)).context("it is told")?;
        Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
    };
    Ok(Held {
        memory: number("RssAnon:")? / 1024.0,
        files: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        threads: number("Threads:")? as usize,
    })
}
