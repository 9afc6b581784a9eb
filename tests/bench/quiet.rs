//! Whether this process had the machine to itself. Two threads cannot be faster than one where
//! somebody else uses the second processor.

use std::fs;

/// Processor time so far, in ticks of a hundredth of a second.
#[derive(Clone, Copy)]
pub(crate) struct Ticks {
    all: u64,
    own: u64,
    idle: u64,
}

/// What others may use of all processor time, in percent, before a round is not counted.
const OTHERS_MAX: u64 = 4;

impl Ticks {
    /// Now; `None` where the machine does not tell.
    pub(crate) fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let columns = stat.lines().next()?.split_whitespace().skip(1);
        let columns: Vec<u64> = columns.map_while(|column| column.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; guests are in `user` already.
        let idle = columns.get(3)? + columns.get(4)?;
        let own = fs::read_to_string("/proc/self/stat").ok()?;
        // Behind the name, which may hold anything: utime and stime are the 12th and 13th.
        let (_, own) = own.rsplit_once(')')?;
        let own = own.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let own = own.collect::<Result<Vec<_>, _>>().ok()?;
        Some(Self { all: columns.iter().take(8).sum(), own: own.iter().sum(), idle })
    }

    /// The processor time that this process used since then, in seconds.
    pub(crate) fn own_since(self, then: Self) -> f64 {
        (self.own - then.own) as f64 / 100.0
    }

    /// Whether nobody else did much since then.
    pub(crate) fn quiet_since(self, then: Self) -> bool {
        let others =
            (self.all - then.all).saturating_sub(self.idle - then.idle + self.own - then.own);
        others * 100 <= (self.all - then.all) * OTHERS_MAX
    }
}
