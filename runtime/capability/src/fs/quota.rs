//! What a tenant's folders hold, counted before it lands there. A folder is counted once when it is
//! first needed; from then on each call that adds something reserves it first and gives back what
//! did not come of it. One lock a folder makes looking and doing one step.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use ringfence_policy::{Full, Quota};

use super::{identity::Id, scan::Held};

/// What a tenant holds over all its folders.
#[derive(Debug, Default)]
pub(super) struct Total {
    bytes: AtomicU64,
    files: AtomicU64,
}

impl Total {
    /// Adds what is there, whatever bounds it.
    pub(super) fn found(&self, held: Held) {
        let add = |sum: u64, more: u64| Some(sum.saturating_add(more));
        let _ = self.bytes.fetch_update(Relaxed, Relaxed, |sum| add(sum, held.bytes));
        let _ = self.files.fetch_update(Relaxed, Relaxed, |sum| add(sum, held.files));
    }

    fn reserve(&self, more: Held, quota: &Quota) -> Result<(), Full> {
        let fits = |most: Option<u64>, more: u64| {
            move |held: u64| held.checked_add(more).filter(|sum| more == 0 || within(*sum, most))
        };
        let bytes = self.bytes.fetch_update(Relaxed, Relaxed, fits(quota.bytes, more.bytes));
        bytes.map_err(|_| Full::TenantBytes)?;
        let files = self.files.fetch_update(Relaxed, Relaxed, fits(quota.files, more.files));
        files.map(drop).map_err(|_| {
            self.give_back(Held { files: 0, ..more });
            Full::TenantFiles
        })
    }

    pub(super) fn give_back(&self, less: Held) {
        let take = |sum: u64, less: u64| Some(sum.saturating_sub(less));
        let _ = self.bytes.fetch_update(Relaxed, Relaxed, |sum| take(sum, less.bytes));
        let _ = self.files.fetch_update(Relaxed, Relaxed, |sum| take(sum, less.files));
    }
}

/// A folder that is counted: one in which no other folder of the tenant's is counted.
#[derive(Debug)]
pub(super) struct Area {
    counts: Mutex<Counts>,
    total: Arc<Total>,
}

#[derive(Debug, Default)]
struct Counts {
    held: Held,
    /// Open files: one that has lost its last name takes room until it is closed.
    open: HashMap<Id, u32>,
}

impl Area {
    pub(super) fn new(held: Held, total: Arc<Total>) -> Self {
        total.found(held);
        Self { counts: Mutex::new(Counts { held, open: HashMap::new() }), total }
    }

    pub(super) fn held(&self) -> Held {
        self.lock().held
    }

    /// What it holds, which from then on is for somebody else to count.
    pub(super) fn take(&self) -> Held {
        std::mem::take(&mut self.lock().held)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may still come into an area through one root of one call.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    pub(super) area: Arc<Area>,
    /// The root's own quota.
    pub(super) root: Quota,
    /// The tenant's.
    pub(super) tenant: Quota,
}

impl Budget {
    /// The area, to look at and to change: nobody else of this host changes it meanwhile.
    pub(super) fn lock(&self) -> Counting<'_> {
        Counting { counts: self.area.lock(), budget: self }
    }
}

/// An area while one call changes it.
pub(super) struct Counting<'a> {
    counts: MutexGuard<'a, Counts>,
    budget: &'a Budget,
}

impl Counting<'_> {
    /// Takes room for what is about to come.
    pub(super) fn reserve(&mut self, more: Held) -> Result<(), Full> {
        let Budget { root, tenant, area } = self.budget;
        let held = self.counts.held;
        let bytes = held.bytes.checked_add(more.bytes).ok_or(Full::RootBytes)?;
        let files = held.files.checked_add(more.files).ok_or(Full::RootFiles)?;
        if more.bytes > 0 && !within(bytes, root.bytes) {
            return Err(Full::RootBytes);
        }
        if more.files > 0 && !within(files, root.files) {
            return Err(Full::RootFiles);
        }
        area.total.reserve(more, tenant)?;
        self.counts.held = Held { bytes, files };
        Ok(())
    }

    /// Room that is free again.
    pub(super) fn give_back(&mut self, less: Held) {
        let held = &mut self.counts.held;
        // What the host put there itself was never counted, so no more is given back than was.
        let less = Held { bytes: less.bytes.min(held.bytes), files: less.files.min(held.files) };
        held.bytes -= less.bytes;
        held.files -= less.files;
        self.budget.area.total.give_back(less);
    }

    /// Takes room for what `act` adds and does it; if that fails, it took none.
    pub(super) fn adding<T, E: From<Full>>(
        &mut self,
        more: Held,
        act: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.reserve(more)?;
        act().inspect_err(|_| self.give_back(more))
    }

    pub(super) fn opened(&mut self, id: Id) {
        *self.counts.open.entry(id).or_default() += 1;
    }

    /// Says whether it was the last handle.
    pub(super) fn closed(&mut self, id: Id) -> bool {
        let Some(handles) = self.counts.open.get_mut(&id) else { return true };
        *handles -= 1;
        let last = *handles == 0;
        if last {
            self.counts.open.remove(&id);
        }
        last
    }

    pub(super) fn is_open(&self, id: Id) -> bool {
        self.counts.open.contains_key(&id)
    }
}

fn within(sum: u64, most: Option<u64>) -> bool {
    most.is_none_or(|most| sum <= most)
}

/// How many files and folders are open at one time, over the process and over each tenant.
#[derive(Debug)]
pub(super) struct Handles {
    open: AtomicU64,
    most: u64,
}

impl Handles {
    pub(super) fn new(most: u64) -> Self {
        Self { open: AtomicU64::new(0), most }
    }

    fn take(&self, most: u64) -> bool {
        let fits = |open: u64| (open < most).then_some(open + 1);
        self.open.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    fn give_back(&self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

/// A place among the open handles.
#[derive(Debug)]
pub(super) struct Slot {
    process: Arc<Handles>,
    tenant: Arc<Handles>,
}

impl Slot {
    /// A place, if there is one: `most` is what the tenant may have open.
    pub(super) fn take(
        process: &Arc<Handles>,
        tenant: &Arc<Handles>,
        most: Option<u64>,
    ) -> Result<Self, Full> {
        if !process.take(process.most) {
            return Err(Full::Handles);
        }
        if !tenant.take(most.unwrap_or(tenant.most)) {
            process.give_back();
            return Err(Full::Handles);
        }
        Ok(Self { process: process.clone(), tenant: tenant.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.process.give_back();
        self.tenant.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_taken_anywhere() {
        let total = Arc::new(Total::default());
        let area = Arc::new(Area::new(Held { bytes: 10, files: 1 }, total.clone()));
        let other = Arc::new(Area::new(Held { bytes: 5, files: 5 }, total));
        let budget = |area: &Arc<Area>, bytes| Budget {
            area: area.clone(),
            root: Quota { bytes: Some(bytes), files: Some(3) },
            tenant: Quota { bytes: Some(30), files: Some(9) },
        };
        let (one, two) = (budget(&area, 20), budget(&other, 1_000));
        let held = |bytes, files| Held { bytes, files };
        for (budget, more, said) in [
            (&one, held(10, 0), Ok(())),
            (&one, held(1, 0), Err(Full::RootBytes)),
            (&one, held(0, 3), Err(Full::RootFiles)),
            (&two, held(6, 0), Err(Full::TenantBytes)),
            (&two, held(5, 0), Ok(())),
            (&two, held(0, 0), Ok(())),
            (&one, held(0, 2), Ok(())),
            (&one, held(u64::MAX, 0), Err(Full::RootBytes)),
        ] {
            assert_eq!(budget.lock().reserve(more), said, "{more:?}");
        }
        assert_eq!((area.held(), other.held()), (held(20, 3), held(10, 5)));
        one.lock().give_back(held(100, 100));
        assert_eq!(area.held(), held(0, 0));
        assert_eq!(two.lock().reserve(held(20, 0)), Ok(()));
    }

    #[test]
    fn a_place_among_the_handles_is_free_again_when_it_is_dropped() {
        let process = Arc::new(Handles::new(3));
        let tenants = [Arc::new(Handles::new(2)), Arc::new(Handles::new(2))];
        let take = |tenant: usize, most| Slot::take(&process, &tenants[tenant], most);
        let one = take(0, None).unwrap();
        let two = take(0, None).unwrap();
        assert!(take(0, None).is_err(), "the tenant's share");
        let three = take(1, None).unwrap();
        assert!(take(1, None).is_err(), "the process's");
        drop(two);
        assert!(take(1, Some(1)).is_err(), "what the operator says");
        drop((one, three));
        assert!(take(0, Some(1)).is_ok());
    }
}
