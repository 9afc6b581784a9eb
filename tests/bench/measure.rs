//! How a number is taken: in small blocks, this one and its baseline in turn, so that whatever else
//! the machine does meets both; the median of many rounds.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The middle of the values, or of the two in the middle the upper one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    percentile(values, 50)
}

/// The value below which `percent` of all lie.
pub(crate) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = values.len() * percent / 100;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

pub(crate) fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The processor time that this thread has used, in nanoseconds: what a busy machine does not
/// change, where nothing is waited for.
pub(crate) fn processor_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Two ways of the same work, measured against each other.
pub(crate) struct Pair {
    /// Median of the one.
    pub(crate) ours: f64,
    /// Median of the other.
    pub(crate) baseline: f64,
    /// Median over the rounds of the ratio of their medians.
    pub(crate) ratio: f64,
}

/// Measures two blocks in turn, which each return one number a piece of work; who begins alternates.
pub(crate) fn interleaved(
    rounds: usize,
    mut ours: impl FnMut() -> Vec<f64>,
    mut baseline: impl FnMut() -> Vec<f64>,
) -> Pair {
    let (mut all_ours, mut all_baseline, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let (mut a, mut b) = if round % 2 == 0 {
            let a = ours();
            (a, baseline())
        } else {
            let b = baseline();
            (ours(), b)
        };
        ratios.push(median(&mut a) / median(&mut b));
        all_ours.append(&mut a);
        all_baseline.append(&mut b);
    }
    Pair {
        ours: median(&mut all_ours),
        baseline: median(&mut all_baseline),
        ratio: median(&mut ratios),
    }
}

/// The times of `count` repetitions, in microseconds.
pub(crate) async fn times(count: usize, mut act: impl AsyncFnMut()) -> Vec<f64> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        act().await;
        times.push(us(began.elapsed()));
    }
    times
}
