//! Whose turn it is where tenants wait for the same thing: start-time fair queueing. Each tenant has a
//! line of its own. The first of a line has the virtual time at which its turn begins; the least goes
//! next, and a turn puts its tenant's next one back by what it cost, divided by the tenant's weight. So
//! tenants that wait all the time get turns in the ratio of their weights, and one that comes late waits
//! for about one turn of each of the others, however long their lines are. Knows no clock and no lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A turn of cost one and weight one in virtual time: fine enough for every weight that can be written.
const TURN: u128 = 1 << 32;

/// A tenant, by its number.
pub(super) type Who = u32;

/// The lines of all tenants that wait. Each act takes the logarithm of their number.
#[derive(Debug)]
pub(super) struct Fair<T> {
    /// One for each tenant that waits, or has had more than its share.
    lines: HashMap<Who, Line<T>>,
    /// Whose first may go, by when its turn begins and how long it is in this set.
    ready: BTreeSet<(u128, u64, Who)>,
    /// Who waits for nothing and has had turns beyond this time: forgotten when it comes.
    ahead: BTreeSet<(u128, Who)>,
    now: u128,
    next: u64,
    waiting: usize,
}

#[derive(Debug)]
struct Line<T> {
    waiting: BTreeMap<u64, Waiter<T>>,
    weight: u32,
    /// When the turn of its first begins.
    start: u128,
    /// Its place among those that are ready; `None` while its own limit holds it, or nothing waits.
    ready: Option<u64>,
}

#[derive(Debug)]
struct Waiter<T> {
    cost: u32,
    item: T,
}

impl<T> Default for Fair<T> {
    fn default() -> Self {
        Self {
            lines: HashMap::new(),
            ready: BTreeSet::new(),
            ahead: BTreeSet::new(),
            now: 0,
            next: 0,
            waiting: 0,
        }
    }
}

impl<T> Fair<T> {
    /// Puts something at the end of a tenant's line, and gives back what it is found by.
    pub(super) fn push(&mut self, who: Who, weight: u32, cost: u32, item: T) -> u64 {
        let ticket = self.number();
        let line = self.lines.entry(who).or_insert_with(|| Line {
            waiting: BTreeMap::new(),
            weight: 1,
            start: self.now,
            ready: None,
        });
        line.weight = weight.max(1);
        let is_first = line.waiting.is_empty();
        line.waiting.insert(ticket, Waiter { cost: cost.max(1), item });
        self.waiting += 1;
        if is_first {
            let start = line.start;
            self.ahead.remove(&(start, who));
            self.free(who);
        }
        ticket
    }

    /// Takes something out of its line, wherever it stands there.
    pub(super) fn remove(&mut self, who: Who, ticket: u64) -> Option<T> {
        let line = self.lines.get_mut(&who)?;
        let waiter = line.waiting.remove(&ticket)?;
        self.waiting -= 1;
        if line.waiting.is_empty() {
            self.rest(who);
        }
        Some(waiter.item)
    }

    /// Who goes next, and what; nobody if all that wait are held by their own limits.
    pub(super) fn first(&self) -> Option<(Who, &T)> {
        let (_, _, who) = self.ready.first()?;
        self.first_of(*who).map(|item| (*who, item))
    }

    /// The first of a tenant's line.
    pub(super) fn first_of(&self, who: Who) -> Option<&T> {
        self.lines.get(&who)?.waiting.values().next().map(|waiter| &waiter.item)
    }

    /// Gives a turn to who goes next.
    pub(super) fn pop(&mut self) -> Option<(Who, T)> {
        let (start, _, who) = self.ready.pop_first()?;
        let line = self.lines.get_mut(&who)?;
        line.ready = None;
        let (_, waiter) = line.waiting.pop_first()?;
        self.waiting -= 1;
        self.now = self.now.max(start);
        line.start = start + u128::from(waiter.cost) * TURN / u128::from(line.weight);
        match line.waiting.is_empty() {
            true => self.rest(who),
            false => self.free(who),
        }
        self.forget();
        Some((who, waiter.item))
    }

    /// A tenant's own limit holds its first: others go before it.
    pub(super) fn hold(&mut self, who: Who) {
        let Some(line) = self.lines.get_mut(&who) else { return };
        if let Some(place) = line.ready.take() {
            self.ready.remove(&(line.start, place, who));
        }
    }

    /// A tenant's own limit holds it no longer. For the time that it was held it gets nothing.
    pub(super) fn free(&mut self, who: Who) {
        let place = self.number();
        let Some(line) = self.lines.get_mut(&who) else { return };
        if line.ready.is_some() || line.waiting.is_empty() {
            return;
        }
        line.start = line.start.max(self.now);
        line.ready = Some(place);
        self.ready.insert((line.start, place, who));
    }

    /// Nobody waits and nothing is taken: what was is of no account any more.
    pub(super) fn idle(&mut self) {
        if self.waiting == 0 && !self.lines.is_empty() {
            *self = Self { next: self.next, ..Self::default() };
        }
    }

    /// Whether some that wait are held by nothing of their own.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How much of a tenant's waits.
    pub(super) fn waiting(&self, who: Who) -> usize {
        self.lines.get(&who).map_or(0, |line| line.waiting.len())
    }

    /// How much waits.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// A tenant waits for nothing any more.
    fn rest(&mut self, who: Who) {
        self.hold(who);
        let Some(line) = self.lines.get(&who) else { return };
        if line.start <= self.now {
            self.lines.remove(&who);
        } else {
            // Else it could go to the end of its turns by coming again.
            self.ahead.insert((line.start, who));
        }
    }

    /// Forgets who has no more than its share by now.
    fn forget(&mut self) {
        while let Some((start, who)) = self.ahead.first().copied().filter(|(at, _)| *at <= self.now)
        {
            self.ahead.remove(&(start, who));
            self.lines.remove(&who);
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What arrives and goes, in any order.
    #[derive(Clone, Debug)]
    enum Act {
        Push {
            who: Who,
            cost: u32,
        },
        /// So many turns.
        Turns(u8),
        /// One of those that wait goes away.
        Leave(usize),
        Hold(Who),
        Free(Who),
    }

    const TENANTS: u32 = 5;
    const COST_MAX: u32 = 4;

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            6 => (0..TENANTS, 1..=COST_MAX).prop_map(|(who, cost)| Act::Push { who, cost }),
            4 => (1_u8..4).prop_map(Act::Turns),
            1 => any::<usize>().prop_map(Act::Leave),
            1 => (0..TENANTS).prop_map(Act::Hold),
            1 => (0..TENANTS).prop_map(Act::Free),
        ];
        proptest::collection::vec(act, 1..400)
    }

    /// The queue under trial, beside one that takes the first who came.
    trait Choice {
        fn push(&mut self, who: Who, weight: u32, cost: u32, item: u64);
        fn pop(&mut self) -> Option<(Who, u64)>;
        fn leave(&mut self, who: Who, item: u64);
        fn hold(&mut self, who: Who);
        fn free(&mut self, who: Who);
    }

    #[derive(Default)]
    struct Ours {
        fair: Fair<u64>,
        tickets: HashMap<u64, u64>,
    }

    impl Choice for Ours {
        fn push(&mut self, who: Who, weight: u32, cost: u32, item: u64) {
            let ticket = self.fair.push(who, weight, cost, item);
            self.tickets.insert(item, ticket);
        }
        fn pop(&mut self) -> Option<(Who, u64)> {
            self.fair.pop()
        }
        fn leave(&mut self, who: Who, item: u64) {
            assert_eq!(self.fair.remove(who, self.tickets[&item]), Some(item));
        }
        fn hold(&mut self, who: Who) {
            self.fair.hold(who);
        }
        fn free(&mut self, who: Who) {
            self.fair.free(who);
        }
    }

    /// The first who came goes first.
    #[derive(Default)]
    struct Unfair(Vec<(Who, u64)>, BTreeSet<Who>);

    impl Choice for Unfair {
        fn push(&mut self, who: Who, _: u32, _: u32, item: u64) {
            self.0.push((who, item));
        }
        fn pop(&mut self) -> Option<(Who, u64)> {
            let at = self.0.iter().position(|(who, _)| !self.1.contains(who))?;
            Some(self.0.remove(at))
        }
        fn leave(&mut self, _: Who, item: u64) {
            self.0.retain(|(_, waiting)| *waiting != item);
        }
        fn hold(&mut self, who: Who) {
            self.1.insert(who);
        }
        fn free(&mut self, who: Who) {
            self.1.remove(&who);
        }
    }

    /// Two tenants that wait all the while, and are held by nothing of their own: what they got since
    /// both do differs by no more than a turn of each, in the measure of their weights.
    struct Watch {
        since: BTreeSet<Who>,
        got: HashMap<Who, u128>,
    }

    impl Watch {
        fn check(&self, weights: &[u32]) -> Result<(), String> {
            let worth = |who: Who| {
                self.got.get(&who).map_or(0, |got| *got) / u128::from(weights[who as usize])
            };
            for a in &self.since {
                for b in &self.since {
                    let turn = |who: &Who| {
                        u128::from(COST_MAX) * TURN / u128::from(weights[*who as usize])
                    };
                    // Two turns of each: what both had when the later one came, and the one under way.
                    let slack = 2 * (turn(a) + turn(b));
                    if worth(*a) > worth(*b) + slack {
                        return Err(format!("tenant {a} {} tenant {b} {}", worth(*a), worth(*b)));
                    }
                }
            }
            Ok(())
        }
    }

    /// Plays the acts, and says the first time that somebody who waits gets less than its share.
    fn play(queue: &mut impl Choice, weights: &[u32], acts: &[Act]) -> Result<(), String> {
        let mut waiting: Vec<(Who, u64, u32)> = vec![];
        let mut held: BTreeSet<Who> = BTreeSet::new();
        let mut watch = Watch { since: BTreeSet::new(), got: HashMap::new() };
        let mut items = 0;
        for act in acts {
            match act {
                Act::Push { who, cost } => {
                    items += 1;
                    waiting.push((*who, items, *cost));
                    queue.push(*who, weights[*who as usize], *cost, items);
                    // Held by its own limit means that its first is, whoever comes behind.
                    if held.contains(who) {
                        queue.hold(*who);
                    }
                }
                Act::Turns(turns) => {
                    for _ in 0..*turns {
                        let Some((who, item)) = queue.pop() else {
                            let all_held = waiting.iter().all(|(who, ..)| held.contains(who));
                            assert!(all_held, "somebody waits and nobody gets a turn");
                            break;
                        };
                        let at = waiting.iter().position(|(_, waits, _)| *waits == item);
                        let (of, _, cost) = waiting.remove(at.expect("one that waits"));
                        assert_eq!(of, who);
                        assert!(!held.contains(&who), "its own limit holds it");
                        *watch.got.entry(who).or_default() += u128::from(cost) * TURN;
                    }
                }
                Act::Leave(which) if !waiting.is_empty() => {
                    let (who, item, _) = waiting.remove(which % waiting.len());
                    queue.leave(who, item);
                }
                Act::Leave(_) => {}
                Act::Hold(who) => {
                    held.insert(*who);
                    queue.hold(*who);
                }
                Act::Free(who) => {
                    held.remove(who);
                    queue.free(*who);
                }
            }
            // Whoever begins or ceases to wait begins a new count of all.
            let now: BTreeSet<Who> = (0..TENANTS)
                .filter(|who| !held.contains(who) && waiting.iter().any(|(of, ..)| of == who))
                .collect();
            if now != watch.since {
                watch = Watch { since: now, got: HashMap::new() };
            }
            watch.check(weights)?;
        }
        Ok(())
    }

    proptest! {
        /// Whatever arrives, leaves and is held: each tenant that waits gets its share.
        #[test]
        fn whoever_waits_gets_its_share(
            acts in acts(),
            weights in proptest::collection::vec(1_u32..6, TENANTS as usize),
        ) {
            prop_assert_eq!(play(&mut Ours::default(), &weights, &acts), Ok(()));
        }

        /// When nobody waits any more and all turns are over, nothing is left of anybody.
        #[test]
        fn whoever_waits_for_nothing_costs_nothing(acts in acts()) {
            let mut ours = Ours::default();
            play(&mut ours, &[1; TENANTS as usize], &acts).expect("a fair queue");
            (0..TENANTS).for_each(|who| ours.free(who));
            while ours.pop().is_some() {}
            ours.fair.idle();
            prop_assert!(ours.fair.lines.is_empty() && ours.fair.ready.is_empty());
            prop_assert!(ours.fair.ahead.is_empty() && ours.fair.len() == 0);
        }
    }

    /// The check sees a queue that is not fair: one tenant came with a hundred before another with one.
    #[test]
    fn a_queue_that_takes_the_first_who_came_is_found_unfair() {
        let mut acts = vec![Act::Push { who: 0, cost: 1 }; 100];
        acts.extend(vec![Act::Push { who: 1, cost: 1 }; 10]);
        acts.push(Act::Turns(50));
        assert!(play(&mut Unfair::default(), &[1; TENANTS as usize], &acts).is_err());
        assert_eq!(play(&mut Ours::default(), &[1; TENANTS as usize], &acts), Ok(()));
    }

    /// A tenant whose line is never longer than one, beside one with a long line.
    #[test]
    fn whoever_comes_again_and_again_goes_before_nobody() {
        let mut fair = Fair::default();
        (0..100).for_each(|_| {
            fair.push(0, 1, 1, ());
        });
        let mut turns = [0, 0];
        fair.push(1, 1, 1, ());
        for _ in 0..100 {
            let (who, ()) = fair.pop().expect("somebody waits");
            turns[who as usize] += 1;
            if who == 1 {
                fair.push(1, 1, 1, ());
            }
        }
        assert_eq!(turns, [50, 50]);
    }

    /// O2: ten thousand of one tenant's wait; another one's goes within two turns, whenever it comes.
    #[test]
    fn o2_a_long_line_keeps_nobody_else_waiting() {
        let mut fair = Fair::default();
        (0..10_000).for_each(|_| {
            fair.push(0, 1, 1, ());
        });
        for _ in 0..1_000 {
            fair.pop();
            fair.push(1, 1, 1, ());
            let waited = (1..).find(|_| fair.pop().is_some_and(|(who, ())| who == 1));
            assert!(waited.is_some_and(|turns| turns <= 2), "{waited:?}");
        }
    }

    #[test]
    fn turns_are_given_in_the_ratio_of_weights() {
        let mut fair = Fair::default();
        for (who, weight) in [(0, 1), (1, 2), (2, 5)] {
            (0..1_000).for_each(|_| {
                fair.push(who, weight, 1, ());
            });
        }
        let mut turns = [0; 3];
        (0..800).for_each(|_| turns[fair.pop().expect("one that waits").0 as usize] += 1);
        assert_eq!(turns, [100, 200, 500]);
    }
}
