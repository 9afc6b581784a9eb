//! Other folders for the tenants while calls run: the operator's file was read again.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
};

use ringfence_event::TenantId;

use super::{Claim, Folder, Opened, RootError, Roots, Tenant};

impl Roots {
    /// From now on these are the tenants' folders, and no others; or nothing is changed. Each path is
    /// looked at anew. A folder that stays its tenant's keeps what was counted in it.
    ///
    /// # Errors
    /// The first claim that cannot be, by its place in the list, and why.
    pub(crate) fn reclaim(&self, claims: &[Claim<'_>]) -> Result<(), (usize, RootError)> {
        let mut opened = self.lock();
        let mut fresh = Opened {
            folders: opened.scratches(),
            tenants: opened
                .tenants
                .iter()
                .map(|(id, tenant)| (id.clone(), tenant.bare()))
                .collect(),
            share: opened.share,
            keep: opened.keep.clone(),
        };
        for (at, claim) in claims.iter().enumerate() {
            match self.folder(&mut fresh, claim) {
                // What cannot be opened now may be there when it is called for.
                Ok(_) | Err(RootError::Io(_)) => {}
                Err(error) => return Err((at, error)),
            }
        }
        for old in opened.folders.iter() {
            let of_tenant =
                |folder: &&mut Arc<Folder>| folder.id() == old.id() && folder.tenant == old.tenant;
            match fresh.folders.iter_mut().find(of_tenant) {
                Some(folder) if Arc::ptr_eq(folder, old) => {}
                Some(folder) => fresh_as(old, folder, &mut fresh.tenants),
                None => {
                    // It counts no longer.
                    let area = old.area.lock().unwrap_or_else(PoisonError::into_inner).take();
                    if let (Some(area), Some(tenant)) = (area, fresh.tenants.get(&old.tenant)) {
                        tenant.total.give_back(area.take());
                    }
                }
            }
        }
        *opened = fresh;
        Ok(())
    }
}

/// A folder that stays goes on with what was counted; one that is being counted just now stays as it is.
fn fresh_as(old: &Arc<Folder>, folder: &mut Arc<Folder>, tenants: &mut HashMap<TenantId, Tenant>) {
    folder.untraced.store(old.untraced.load(Relaxed), Relaxed);
    if let Ok(area) = old.area.try_lock() {
        *folder.area.lock().unwrap_or_else(PoisonError::into_inner) = area.clone();
        return;
    }
    old.written.fetch_or(folder.written.load(Relaxed), Relaxed);
    old.bounded.fetch_or(folder.bounded.load(Relaxed), Relaxed);
    if let Some(tenant) = tenants.get_mut(&old.tenant) {
        tenant.by_path.values_mut().filter(|known| Arc::ptr_eq(known, folder)).for_each(|known| {
            *known = old.clone();
        });
    }
    *folder = old.clone();
}

impl Opened {
    /// The folders that are no root of the operator's: those of sessions and direct calls.
    fn scratches(&self) -> Vec<Arc<Folder>> {
        let is_named = |folder: &Arc<Folder>| {
            self.tenants.get(&folder.tenant).is_some_and(|tenant| {
                tenant.by_path.values().any(|known| Arc::ptr_eq(known, folder))
            })
        };
        self.folders.iter().filter(|folder| !is_named(folder)).cloned().collect()
    }
}

impl Tenant {
    /// The same tenant with no folders.
    fn bare(&self) -> Self {
        Self {
            by_path: HashMap::new(),
            total: self.total.clone(),
            handles: self.handles.clone(),
            counting: self.counting.clone(),
            resting: self.resting.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ringfence_event::Access;
    use ringfence_policy::Quota;

    use super::*;

    /// A folder goes from one tenant to another, all of it or nothing.
    #[test]
    fn folders_change_hands_all_or_none() {
        let root = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| root.path().join(name));
        paths.iter().for_each(|path| std::fs::create_dir(path).unwrap());
        let tenants = ["one", "two"].map(|name| name.parse().unwrap());
        let claim = |tenant: usize, path: usize| Claim {
            tenant: &tenants[tenant],
            path: &paths[path],
            access: Access::Write,
            quota: Quota::default(),
        };
        let roots = Roots::default();
        roots.register(&claim(0, 0)).unwrap();
        roots.register(&claim(1, 1)).unwrap();
        let other =
            |claim: &Claim<'_>| matches!(roots.register(claim), Err(RootError::OtherTenant { .. }));
        assert!(other(&claim(1, 0)));
        let refused = roots.reclaim(&[claim(1, 0), claim(0, 0), claim(1, 1)]);
        assert!(matches!(refused, Err((1, RootError::OtherTenant { .. }))), "{refused:?}");
        assert!(other(&claim(1, 0)) && other(&claim(0, 1)), "nothing has changed");
        roots.reclaim(&[claim(1, 0), claim(0, 1)]).unwrap();
        assert!(other(&claim(0, 0)) && other(&claim(1, 1)), "all of it has");
        // What is nobody's any more can be anybody's; what is not there is no mistake.
        roots.reclaim(&[]).unwrap();
        roots.register(&claim(0, 0)).unwrap();
        std::fs::remove_dir(&paths[1]).unwrap();
        roots.reclaim(&[claim(0, 0), claim(1, 1)]).unwrap();
    }
}
