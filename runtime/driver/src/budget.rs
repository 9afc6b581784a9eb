//! What a tenant may spend in a window of time: reserved before something is begun, in a commit of its
//! own, and settled in the commit of what came of it. A reservation belongs to a session or a direct
//! call, so that it is found again after a restart, and is void when its window ends.

use std::collections::BTreeMap;

use ringfence_event::{BudgetLevel, Limit, Spent, TenantId, Timestamp};
use ringfence_policy::{BudgetEntry, TenantBudget};
use ringfence_session::Totals;
use ringfence_store::{Batch, BudgetChange, BudgetState, Store};

use crate::{Caller, Error, runtime::Inner};

/// Of a hundred, when it is told that a budget is nearly spent.
const WARN_PERCENT: u128 = 80;

/// What something that is about to begin may come to spend.
pub(crate) type Amounts = BTreeMap<Limit, u64>;

/// The account of one session or direct call with its tenant.
pub(crate) struct Ledger {
    tenant: TenantId,
    owner: String,
    entries: Vec<BudgetEntry>,
    /// What is under way, by what it is: a step or a call.
    reserved: BTreeMap<String, Amounts>,
    /// What was told the store of what the owner spent.
    settled: Totals,
    /// Something was given back that the store does not know of yet.
    owes: bool,
}

/// What became of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserved {
    /// It stands, or there is no budget that it would be of.
    Done,
    /// It fits into what is not spent, and not beside what others have reserved: they give some back.
    Later(Stopped),
    /// It does not fit into what is not spent.
    Spent(Stopped),
}

impl Ledger {
    /// `settled`: what the owner has spent so far, which stands in the store already.
    pub(crate) fn new(
        tenant: &TenantId,
        owner: &str,
        budget: Option<&TenantBudget>,
        settled: Totals,
    ) -> Self {
        let entries = budget.map(|budget| budget.entries.clone()).unwrap_or_default();
        let (tenant, owner) = (tenant.clone(), owner.to_owned());
        Self { tenant, owner, entries, reserved: BTreeMap::new(), settled, owes: false }
    }

    /// The budget is another one. What was reserved stays so.
    pub(crate) fn set_budget(&mut self, budget: Option<&TenantBudget>) {
        self.entries = budget.map(|budget| budget.entries.clone()).unwrap_or_default();
    }

    /// Whether the tenant has a budget at all.
    pub(crate) fn is_open(&self) -> bool {
        !self.entries.is_empty()
    }

    /// The first budget that is spent, if one is.
    fn spent(&self, store: &Store, now: Timestamp) -> Result<Option<Stopped>, Error> {
        for entry in &self.entries {
            let state = self.state(store, entry, now)?;
            if state.spent >= entry.of {
                return Ok(Some(stopped(entry, now, state.spent, 0)));
            }
        }
        Ok(None)
    }

    /// Whether more calls were proposed than there may be: a proposal is counted when it is made, so
    /// nothing of it is reserved.
    pub(crate) fn has_too_many_calls(
        &self,
        store: &Store,
        totals: &Totals,
        now: Timestamp,
    ) -> Result<Option<Stopped>, Error> {
        let new = totals.calls.saturating_sub(self.settled.calls);
        for entry in self.entries.iter().filter(|entry| entry.limit == Limit::Calls) {
            let spent = self.state(store, entry, now)?.spent.saturating_add(new);
            if spent > entry.of {
                return Ok(Some(stopped(entry, now, spent, spent - entry.of)));
            }
        }
        Ok(None)
    }

    /// What nobody has spent or reserved of a limit; [`u64::MAX`] where there is no budget of it.
    pub(crate) fn left(&self, store: &Store, limit: Limit, now: Timestamp) -> Result<u64, Error> {
        let mut left = u64::MAX;
        for entry in self.entries.iter().filter(|entry| entry.limit == limit) {
            let state = self.state(store, entry, now)?;
            left = left.min(entry.of.saturating_sub(state.spent).saturating_sub(state.reserved));
        }
        Ok(left)
    }

    /// Reserves what something may come to spend; durable when this returns. What does not fit is an
    /// answer, and then nothing is reserved.
    pub(crate) async fn reserve(
        &mut self,
        store: &Store,
        what: &str,
        amounts: Amounts,
        now: Timestamp,
    ) -> Result<Reserved, Error> {
        if !self.entries.iter().any(|entry| amounts.contains_key(&entry.limit)) {
            return Ok(Reserved::Done);
        }
        // Asked again and again while others have it: then nothing is written.
        for entry in &self.entries {
            let Some(wanted) = amounts.get(&entry.limit).copied() else { continue };
            let state = self.state(store, entry, now)?;
            let reserved = state.reserved.saturating_sub(self.reserved_of(entry.limit, Some(what)));
            if let Some(stopped) = unfit(entry, now, BudgetState { reserved, ..state }, wanted) {
                return Ok(stopped);
            }
        }
        let before = self.reserved.insert(what.to_owned(), amounts);
        let budgets = self.entries.iter().map(|entry| self.change(entry, 0, Some(entry.of), now));
        let batch = Batch { budgets: budgets.collect(), ..Batch::default() };
        match store.commit(batch).await {
            Ok(_) => Ok(Reserved::Done),
            Err(ringfence_store::Error::BudgetSpent { limit, spent, reserved, of }) => {
                let amounts = match before {
                    Some(before) => self.reserved.insert(what.to_owned(), before),
                    None => self.reserved.remove(what),
                };
                let wanted = amounts.and_then(|amounts| amounts.get(&limit).copied()).unwrap_or(0);
                let mut entries = self.entries.iter();
                let entry = entries.find(|entry| (entry.limit, entry.of) == (limit, of));
                let state = BudgetState { limit, spent, reserved };
                let unfit = entry.and_then(|entry| unfit(entry, now, state, wanted));
                let spent = ringfence_store::Error::BudgetSpent { limit, spent, reserved, of };
                unfit.ok_or_else(|| spent.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Something is over: what it had reserved is given back with the next settlement.
    pub(crate) fn release(&mut self, what: &str) {
        self.owes |= self.reserved.remove(what).is_some();
    }

    /// Whether the store is to be told of something although nothing was spent.
    pub(crate) fn owes(&self) -> bool {
        self.owes
    }

    /// What the next commit is to tell the store, when the owner has spent so much in all.
    pub(crate) fn settlement(&self, totals: &Totals, now: Timestamp) -> Vec<BudgetChange> {
        let spent = |limit| totals.counted(limit).saturating_sub(self.settled.counted(limit));
        let changes = self.entries.iter();
        changes.map(|entry| self.change(entry, spent(entry.limit), None, now)).collect()
    }

    /// That commit is durable.
    pub(crate) fn settled(&mut self, totals: &Totals) {
        (self.settled, self.owes) = (*totals, false);
    }

    /// The budgets that are four fifths spent, of those that a commit told of.
    pub(crate) fn warnings(&self, states: &[BudgetState], now: Timestamp) -> Vec<Stopped> {
        let near = |(entry, state): &(&BudgetEntry, &BudgetState)| {
            u128::from(state.spent) * 100 >= u128::from(entry.of) * WARN_PERCENT
        };
        let states = self.entries.iter().zip(states).filter(near);
        states.map(|(entry, state)| stopped(entry, now, state.spent, 0)).collect()
    }

    fn change(
        &self,
        entry: &BudgetEntry,
        spent: u64,
        of: Option<u64>,
        now: Timestamp,
    ) -> BudgetChange {
        BudgetChange {
            tenant: self.tenant.clone(),
            limit: entry.limit,
            window_start: entry.window.of(now).0,
            owner: self.owner.clone(),
            spent,
            reserved: self.reserved_of(entry.limit, None),
            of,
        }
    }

    /// What the owner has reserved of a limit, for this or for everything.
    fn reserved_of(&self, limit: Limit, what: Option<&str>) -> u64 {
        let meant = self.reserved.iter().filter(|(of, _)| what.is_none_or(|what| what == *of));
        let amounts = meant.filter_map(|(_, amounts)| amounts.get(&limit));
        amounts.fold(0, |sum: u64, amount| sum.saturating_add(*amount))
    }

    fn state(
        &self,
        store: &Store,
        entry: &BudgetEntry,
        now: Timestamp,
    ) -> Result<BudgetState, Error> {
        Ok(store.budget(&self.tenant, entry.limit, entry.window.of(now).0)?)
    }
}

/// A budget, and how much of it is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped {
    pub(crate) limit: Limit,
    pub(crate) spent: Spent,
    /// The line of the operator's file.
    pub(crate) line: u32,
}

/// Whether a tenant has anything left to begin something new with.
pub(crate) fn admit(inner: &Inner, caller: &Caller) -> Result<(), Error> {
    inner.suspended.admit(caller)?;
    let current = inner.current();
    let Some(budget) = current.grants.tenant_budget(&caller.tenant) else { return Ok(()) };
    let ledger = Ledger::new(&caller.tenant, "", Some(budget), Totals::default());
    match ledger.spent(inner.store()?, inner.config.clock.now())? {
        None => Ok(()),
        Some(stopped) => Err(stopped.error(inner, caller)),
    }
}

impl Stopped {
    /// As whoever wants to begin something is told.
    pub(crate) fn error(self, inner: &Inner, caller: &Caller) -> Error {
        let Self { limit, spent, line } = self;
        let (tenant, file) = (caller.tenant.clone(), inner.config.file_name());
        Error::Spent { tenant, limit, spent, file, line }
    }
}

/// Why so much more cannot be reserved.
fn unfit(entry: &BudgetEntry, now: Timestamp, state: BudgetState, wanted: u64) -> Option<Reserved> {
    let BudgetState { spent, reserved, .. } = state;
    if spent.saturating_add(wanted) > entry.of {
        return Some(Reserved::Spent(stopped(entry, now, spent, wanted)));
    }
    let taken = spent.saturating_add(reserved);
    let over = taken.saturating_add(wanted) > entry.of;
    over.then(|| Reserved::Later(stopped(entry, now, taken, wanted)))
}

fn stopped(entry: &BudgetEntry, now: Timestamp, spent: u64, asked: u64) -> Stopped {
    let (of, reopens) = (entry.of, Some(entry.window.of(now).1));
    // A proposal that was refused for it is counted like any other, and was not spent.
    let spent = if entry.limit == Limit::Calls { spent.min(of) } else { spent };
    let spent = Spent { level: BudgetLevel::Tenant, spent, asked, of, reopens };
    Stopped { limit: entry.limit, spent, line: entry.line }
}
