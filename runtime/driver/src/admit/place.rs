//! One thing that all tenants share: so many slots, and for calls so many bytes. Whoever comes while
//! nobody waits and something is free takes it; the rest wait in [`Fair`] lines, of which one tenant's
//! own limit holds nobody else's. What was taken comes back when it is dropped, however that comes about.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Instant,
};

use tokio::sync::oneshot;

use super::{
    fair::{Fair, Who},
    tenant::{Tenant, lock},
};

/// Which limit of a tenant's holds here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Calls,
    Runs,
    /// Requests to a model, and compiling: no tenant has a limit of its own.
    Other,
}

/// How long a slot is held, in microseconds, until that is known.
const HELD_US: u64 = 20_000;

/// A shared thing.
#[derive(Debug)]
pub(crate) struct Place {
    kind: Kind,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    slots: u32,
    taken: u32,
    bytes: u64,
    bytes_taken: u64,
    fair: Fair<Waiter>,
    held: HashMap<Who, Held>,
    /// How long a slot is held: each one counts an eighth.
    held_us: u64,
}

/// What one tenant holds. Gone as soon as it holds nothing and was refused nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    slots: u32,
    bytes: u64,
    refused: u64,
}

#[derive(Debug)]
struct Waiter {
    tenant: Arc<Tenant>,
    bytes: u64,
    tell: oneshot::Sender<Slot>,
}

/// What a tenant may hold here at most.
struct Cap {
    slots: u32,
    bytes: u64,
}

/// What is taken of a place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    place: Arc<Place>,
    tenant: Arc<Tenant>,
    bytes: u64,
    since: Instant,
}

/// How a place stands with one tenant, or with all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaceLoad {
    /// How much runs.
    pub running: u32,
    /// How much waits for a turn.
    pub waiting: u32,
    /// How much was refused here, since the runtime was opened.
    pub refused: u64,
}

impl Place {
    pub(super) fn new(kind: Kind, slots: u32, bytes: u64) -> Arc<Self> {
        let state = State {
            slots: slots.max(1),
            taken: 0,
            bytes,
            bytes_taken: 0,
            fair: Fair::default(),
            held: HashMap::new(),
            held_us: HELD_US,
        };
        Arc::new(Self { kind, state: Mutex::new(state) })
    }

    /// Takes a slot if one is free and nobody waits who could have it.
    pub(super) fn try_take(self: &Arc<Self>, tenant: &Arc<Tenant>, bytes: u64) -> Option<Slot> {
        let mut state = lock(&self.state);
        let bytes = bytes.min(state.bytes);
        if state.fair.is_ready() || state.fair.waiting(tenant.who) > 0 {
            return None;
        }
        let free =
            state.fits(bytes) && state.is_within(&self.cap(&state, tenant), tenant.who, bytes);
        free.then(|| self.take(&mut state, tenant, bytes))
    }

    /// Waits for a slot, behind what else of the tenant's waits. Dropped, it waits no longer.
    pub(super) fn wait(self: &Arc<Self>, tenant: &Arc<Tenant>, bytes: u64) -> Waiting {
        let (tell, told) = oneshot::channel();
        let mut state = lock(&self.state);
        let bytes = bytes.min(state.bytes);
        let cost = state.cost(bytes);
        let weight = tenant.limits().share.weight.unwrap_or(1);
        let waiter = Waiter { tenant: tenant.clone(), bytes, tell };
        let ticket = state.fair.push(tenant.who, weight, cost, waiter);
        let waiting = Waiting { place: self.clone(), who: tenant.who, ticket, told };
        self.dispatch(state);
        waiting
    }

    /// In how many milliseconds something may come to be free for what is behind so much else: of one
    /// tenant's, which has so many slots at most, or of all.
    pub(super) fn expected_ms(&self, tenant: Option<&Tenant>, behind: u32) -> u64 {
        let state = lock(&self.state);
        let own = tenant.map_or(u32::MAX, |tenant| self.cap(&state, tenant).slots);
        let (slots, turns) = (state.slots.min(own), u64::from(behind) + 1);
        turns.saturating_mul(state.held_us).div_ceil(u64::from(slots)).div_ceil(1_000)
    }

    pub(super) fn count_refused(&self, who: Who) {
        lock(&self.state).held.entry(who).or_default().refused += 1;
    }

    pub(super) fn resize(self: &Arc<Self>, slots: u32) {
        let mut state = lock(&self.state);
        state.slots = slots.max(1);
        self.dispatch(state);
    }

    /// The tenants' own limits are others now.
    pub(super) fn look_again<'a>(self: &Arc<Self>, tenants: impl Iterator<Item = &'a Arc<Tenant>>) {
        let mut state = lock(&self.state);
        tenants.for_each(|tenant| state.fair.free(tenant.who));
        self.dispatch(state);
    }

    pub(crate) fn load_of(&self, tenant: &Tenant) -> PlaceLoad {
        let (state, who) = (lock(&self.state), tenant.who);
        let held = state.held.get(&who).copied().unwrap_or_default();
        let waiting = u32::try_from(state.fair.waiting(who)).unwrap_or(u32::MAX);
        PlaceLoad { running: held.slots, waiting, refused: held.refused }
    }

    /// How many slots there are, and how it stands with all tenants.
    pub(crate) fn load(&self) -> (u32, PlaceLoad) {
        let state = lock(&self.state);
        let waiting = u32::try_from(state.fair.len()).unwrap_or(u32::MAX);
        let refused = state.held.values().map(|held| held.refused).sum();
        (state.slots, PlaceLoad { running: state.taken, waiting, refused })
    }

    /// One tenant of several gets no more than three quarters if nobody says otherwise: whoever comes
    /// while another one's calls take their time finds something free.
    fn cap(&self, state: &State, tenant: &Tenant) -> Cap {
        let limits = tenant.limits();
        let own = match self.kind {
            Kind::Calls => limits.share.calls,
            Kind::Runs => limits.share.runs,
            Kind::Other => None,
        };
        match (own, limits.is_one_of_several) {
            (Some((slots, _)), _) => Cap { slots, bytes: state.bytes },
            (None, true) => Cap {
                slots: (state.slots - state.slots.div_ceil(4)).max(1),
                bytes: state.bytes - state.bytes / 4,
            },
            (None, false) => Cap { slots: u32::MAX, bytes: state.bytes },
        }
    }

    fn take(self: &Arc<Self>, state: &mut State, tenant: &Arc<Tenant>, bytes: u64) -> Slot {
        state.taken += 1;
        state.bytes_taken += bytes;
        let held = state.held.entry(tenant.who).or_default();
        held.slots += 1;
        held.bytes += bytes;
        Slot { place: self.clone(), tenant: tenant.clone(), bytes, since: Instant::now() }
    }

    /// Gives out what is free. Whoever is told is told without the lock: a slot that nobody takes any
    /// more comes back at once, through here.
    fn dispatch(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut told = vec![];
        while let Some((who, waiter)) = state.fair.first() {
            let (bytes, tenant) = (waiter.bytes, waiter.tenant.clone());
            if !state.is_within(&self.cap(&state, &tenant), who, bytes) {
                state.fair.hold(who);
                continue;
            }
            // A large one is not overtaken for ever by small ones: the rest waits with it.
            if !state.fits(bytes) {
                break;
            }
            let Some((_, waiter)) = state.fair.pop() else { break };
            told.push((self.take(&mut state, &tenant, bytes), waiter.tell));
        }
        drop(state);
        for (slot, tell) in told {
            // Whoever has gone away leaves the slot here.
            drop(tell.send(slot));
        }
    }
}

impl State {
    fn fits(&self, bytes: u64) -> bool {
        self.taken < self.slots && bytes <= self.bytes.saturating_sub(self.bytes_taken)
    }

    /// Whether a tenant may hold so much more. One that holds nothing may have any call that fits.
    fn is_within(&self, cap: &Cap, who: Who, bytes: u64) -> bool {
        let Some(held) = self.held.get(&who) else { return true };
        held.slots < cap.slots && (held.bytes == 0 || held.bytes.saturating_add(bytes) <= cap.bytes)
    }

    /// What a turn costs: as many slots as the bytes are worth, for who takes half of the memory takes
    /// half of the slots.
    fn cost(&self, bytes: u64) -> u32 {
        let slots = u128::from(bytes) * u128::from(self.slots) / u128::from(self.bytes.max(1));
        u32::try_from(slots).unwrap_or(u32::MAX).max(1)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = lock(&self.place.state);
        let who = self.tenant.who;
        state.taken -= 1;
        state.bytes_taken -= self.bytes;
        if let Some(held) = state.held.get_mut(&who) {
            held.slots -= 1;
            held.bytes -= self.bytes;
            if held.slots == 0 && held.refused == 0 {
                state.held.remove(&who);
            }
        }
        let us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        state.held_us = state.held_us - state.held_us / 8 + us / 8;
        if state.fair.len() == 0 {
            state.fair.idle();
            return;
        }
        state.fair.free(who);
        self.place.dispatch(state);
    }
}

/// A place in a line; left when it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    place: Arc<Place>,
    who: Who,
    ticket: u64,
    told: oneshot::Receiver<Slot>,
}

impl Future for Waiting {
    type Output = Option<Slot>;

    /// `None` never comes: what waits is told, or is taken out by who waits.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Slot>> {
        Pin::new(&mut self.told).poll(context).map(Result::ok)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = lock(&self.place.state);
        let Some(gone) = state.fair.remove(self.who, self.ticket) else { return };
        // Who stands behind it may ask for less.
        state.fair.free(self.who);
        self.place.dispatch(state);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use ringfence_policy::TenantShare;

    use super::{super::tenant::Limits, *};

    fn tenant(who: Who, share: TenantShare, is_one_of_several: bool) -> Arc<Tenant> {
        let id = format!("t{who}").parse().expect("a name");
        Arc::new(Tenant::new(id, who, Limits { share, queue: 64, is_one_of_several }))
    }

    fn alone(who: Who) -> Arc<Tenant> {
        tenant(who, TenantShare::default(), false)
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_free_is_taken_at_once_and_comes_back() {
        let place = Place::new(Kind::Calls, 2, 100 * MIB);
        let one = alone(1);
        let first = place.try_take(&one, 60 * MIB).expect("a slot");
        assert!(place.try_take(&one, 41 * MIB).is_none(), "no memory");
        let second = place.try_take(&one, 40 * MIB).expect("a slot");
        assert!(place.try_take(&one, 0).is_none(), "no slot");
        let mut waiting = place.wait(&one, 60 * MIB);
        assert!((&mut waiting).now_or_never().is_none());
        drop(second);
        assert!((&mut waiting).now_or_never().is_none(), "there is no memory yet");
        assert!(place.try_take(&one, 0).is_none(), "it is not overtaken");
        drop(first);
        let third = waiting.now_or_never().flatten().expect("a slot");
        drop(third);
        assert_eq!(place.load(), (2, PlaceLoad::default()));
        // More than there is takes all of it: whoever has it says that it is too much.
        let all = place.try_take(&one, 1_000 * MIB).expect("a slot");
        assert!(place.try_take(&one, 1).is_none());
        drop(all);
    }

    #[test]
    fn whoever_goes_away_leaves_its_place_in_the_line() {
        let place = Place::new(Kind::Calls, 1, 100);
        let (one, two) = (alone(1), alone(2));
        let held = place.try_take(&one, 0).expect("a slot");
        let gone = place.wait(&one, 0);
        let mut stays = place.wait(&two, 0);
        assert_eq!(place.load().1.waiting, 2);
        drop(gone);
        assert_eq!(place.load().1.waiting, 1);
        drop(held);
        let slot = (&mut stays).now_or_never().flatten().expect("a slot");
        // Told and not looked at: it comes back too.
        let unseen = place.wait(&one, 0);
        drop(slot);
        assert_eq!(place.load().1.running, 1);
        drop(unseen);
        assert_eq!(place.load(), (1, PlaceLoad::default()));
    }

    /// A large call that nobody has room for goes away: those behind it go on.
    #[test]
    fn what_waited_behind_who_goes_away_goes_on() {
        let place = Place::new(Kind::Calls, 8, 100);
        let (one, two) = (alone(1), alone(2));
        let _held = place.try_take(&one, 60).expect("a slot");
        let large = place.wait(&alone(3), 80);
        let mut small = place.wait(&two, 10);
        assert!((&mut small).now_or_never().is_none());
        drop(large);
        assert!(small.now_or_never().flatten().is_some());
    }

    #[test]
    fn a_tenants_own_limit_holds_nobody_else() {
        let share = TenantShare { calls: Some((2, 7)), ..TenantShare::default() };
        let place = Place::new(Kind::Calls, 8, 800);
        let (one, two) = (tenant(1, share, true), alone(2));
        let mut held: Vec<_> = (0..2).map(|_| place.try_take(&one, 0).expect("a slot")).collect();
        assert!(place.try_take(&one, 0).is_none());
        let mut waiting = place.wait(&one, 0);
        assert!((&mut waiting).now_or_never().is_none());
        let other = place.try_take(&two, 0).expect("a slot, whoever waits for its own limit");
        drop(other);
        held.pop();
        assert!(waiting.now_or_never().flatten().is_some());
        // A limit that is raised is looked at anew.
        let _held = place.try_take(&one, 0).expect("a slot");
        let mut waiting = place.wait(&one, 0);
        assert!((&mut waiting).now_or_never().is_none());
        let share = TenantShare { calls: Some((3, 7)), ..TenantShare::default() };
        one.set_limits(Limits { share, queue: 64, is_one_of_several: true });
        place.look_again([&one].into_iter());
        assert!(waiting.now_or_never().flatten().is_some());
    }

    #[test]
    fn one_of_several_leaves_a_quarter_to_the_others() {
        for (slots, most) in [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6), (64, 48)] {
            let place = Place::new(Kind::Other, slots, 0);
            let greedy = tenant(1, TenantShare::default(), true);
            let held: Vec<_> = std::iter::from_fn(|| place.try_take(&greedy, 0)).collect();
            assert_eq!(held.len(), most, "{slots}");
            let other = place.try_take(&tenant(2, TenantShare::default(), true), 0);
            assert_eq!(other.is_some(), slots > 1);
        }
    }

    /// Who asks for half of the memory gets a turn where others get many.
    #[test]
    fn a_turn_costs_what_it_takes() {
        let place = Place::new(Kind::Calls, 10, 100);
        let (large, small) = (alone(1), alone(2));
        let all = place.try_take(&small, 100).expect("a slot");
        let mut larges: Vec<_> = (0..4).map(|_| place.wait(&large, 50)).collect();
        let mut smalls: Vec<_> = (0..30).map(|_| place.wait(&small, 10)).collect();
        drop(all);
        let mut order = vec![];
        for _ in 0..34 {
            // One at a time, as it is told.
            let told = |waiting: &mut Vec<Waiting>| {
                let at = waiting.iter_mut().position(|one| one.told.try_recv().is_ok());
                at.map(|at| drop(waiting.remove(at))).is_some()
            };
            if told(&mut larges) {
                order.push('L');
            } else if told(&mut smalls) {
                order.push('s');
            }
        }
        let before_third: usize = order
            .iter()
            .scan(0, |larges, who| {
                *larges += usize::from(*who == 'L');
                Some((*larges, *who))
            })
            .filter(|(larges, who)| *larges <= 2 && *who == 's')
            .count();
        assert!(before_third >= 5, "{order:?}");
    }

    #[derive(Clone, Debug)]
    enum Act {
        Try(Who, u64),
        Wait(Who, u64),
        DropSlot(usize),
        DropWaiting(usize),
        Hear,
        Resize(u32),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            (0_u32..4, 0_u64..120).prop_map(|(who, bytes)| Act::Try(who, bytes)),
            (0_u32..4, 0_u64..120).prop_map(|(who, bytes)| Act::Wait(who, bytes)),
            any::<usize>().prop_map(Act::DropSlot),
            any::<usize>().prop_map(Act::DropWaiting),
            Just(Act::Hear),
            (1_u32..6).prop_map(Act::Resize),
        ];
        proptest::collection::vec(act, 1..200)
    }

    proptest! {
        /// Whatever comes, goes and is dropped: never more is taken than there is, nobody waits while
        /// all is free, and in the end all of it is there again.
        #[test]
        fn every_slot_comes_back(acts in acts()) {
            let place = Place::new(Kind::Calls, 4, 100);
            let share = TenantShare { calls: Some((2, 1)), ..TenantShare::default() };
            let tenants: Vec<_> = (0..4).map(|who| {
                let share = if who == 0 { share } else { TenantShare::default() };
                tenant(who, share, who % 2 == 1)
            }).collect();
            let (mut slots, mut waiting) = (vec![], vec![]);
            for act in acts {
                match act {
                    Act::Try(who, bytes) => slots.extend(place.try_take(&tenants[who as usize], bytes)),
                    Act::Wait(who, bytes) => waiting.push(place.wait(&tenants[who as usize], bytes)),
                    Act::DropSlot(at) if !slots.is_empty() => drop(slots.remove(at % slots.len())),
                    Act::DropWaiting(at) if !waiting.is_empty() => {
                        drop(waiting.remove(at % waiting.len()));
                    }
                    Act::Hear => {
                        let mut still = vec![];
                        for mut one in waiting {
                            match one.told.try_recv() {
                                Ok(slot) => slots.push(slot),
                                Err(_) => still.push(one),
                            }
                        }
                        waiting = still;
                    }
                    Act::Resize(size) => place.resize(size),
                    Act::DropSlot(_) | Act::DropWaiting(_) => {}
                }
                let state = lock(&place.state);
                prop_assert!(state.bytes_taken <= 100);
                let first = state.held.get(&0).copied().unwrap_or_default();
                prop_assert!(first.slots <= 2);
                if state.taken == 0 {
                    prop_assert!(state.fair.len() == 0, "all is free, and somebody waits");
                }
            }
            drop((slots, waiting));
            prop_assert_eq!(place.load().1, PlaceLoad::default());
            prop_assert!(lock(&place.state).held.is_empty());
        }
    }
}
