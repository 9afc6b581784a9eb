//! When what failed is tried again: exponential pauses with jitter, bounded in number and time,
//! never before the time that the other side asks for.

use ringfence_event::{Digest, RetryRule, Timestamp};

/// When the next try is, or that there is none. `retries`: how many there were, and how long they
/// waited together; `who`: what is tried, from which the jitter comes, so that the same journal
/// gives the same times and a thousand sessions do not come back at one moment.
pub(crate) fn next(
    rule: &RetryRule,
    (retries, waited_ms): (u32, u64),
    now: Timestamp,
    asked_ms: Option<u64>,
    who: &str,
) -> Option<Timestamp> {
    if retries.saturating_add(1) >= rule.attempts {
        return None;
    }
    let doubled = rule.first_ms.saturating_mul(1_u64.checked_shl(retries).unwrap_or(u64::MAX));
    let pause = doubled.min(rule.most_ms);
    // Between half of the pause and all of it.
    let seed = Digest::of(format!("{who}\n{retries}").as_bytes());
    let random = u64::from(u16::from_le_bytes([seed.as_bytes()[0], seed.as_bytes()[1]]));
    let jittered = pause / 2 + pause.div_ceil(2).saturating_mul(random) / 65_535;
    let pause = jittered.max(asked_ms.unwrap_or(0));
    let in_time = waited_ms.saturating_add(pause) <= rule.time_ms;
    in_time.then(|| Timestamp(now.0.saturating_add(pause)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: RetryRule =
        RetryRule { attempts: 4, first_ms: 1_000, most_ms: 3_000, time_ms: 10_000 };

    fn check(retries: (u32, u64), asked: Option<u64>, between: Option<(u64, u64)>) {
        let at = next(&RULE, retries, Timestamp(0), asked, "r1.s1").map(|at| at.0);
        match between {
            None => assert_eq!(at, None, "{retries:?} {asked:?}"),
            Some((least, most)) => {
                assert!(at.is_some_and(|at| (least..=most).contains(&at)), "{at:?}");
            }
        }
    }

    #[test]
    fn pauses_double_and_end() {
        check((0, 0), None, Some((500, 1_000)));
        check((1, 1_000), None, Some((1_000, 2_000)));
        check((2, 3_000), None, Some((1_500, 3_000)));
        check((3, 6_000), None, None);
        // The other side is not asked before it wants to be, and not waited for longer than is allowed.
        check((0, 0), Some(7_000), Some((7_000, 7_000)));
        check((0, 0), Some(10_001), None);
        check((1, 9_500), None, None);
    }

    proptest! {
        #[test]
        fn the_number_and_the_time_are_bounded(
            attempts in 1..20_u32, first_ms: u64, most_ms: u64, time_ms: u64, asked: Option<u64>,
        ) {
            let rule = RetryRule { attempts, first_ms, most_ms, time_ms };
            let (mut retries, mut waited, mut now) = (0, 0_u64, Timestamp(1_000));
            while let Some(at) = next(&rule, (retries, waited), now, asked, "x") {
                waited = waited.saturating_add(at.0 - now.0);
                now = at;
                retries += 1;
                prop_assert!(retries < attempts && waited <= time_ms);
            }
        }
    }
}
