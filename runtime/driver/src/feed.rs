//! What an embedder follows: everything that is committed, of all sessions and tenants, and the same to be
//! read again. Who follows may be slow or gone; who commits does not wait for them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use ringfence_event::{CommitPage, Event, Stream, TenantId};
use ringfence_store::Follower;

use crate::{Caller, Error, Runtime};

impl Runtime {
    /// Follows what this process commits from now on, of all tenants, each commit once it is durable. A
    /// bounded number waits; beyond, [`Followed::Lagged`](crate::event::Followed) says that some are left out,
    /// which [`committed`](Self::committed) reads.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn follow(&self) -> Result<Follower, Error> {
        Ok(self.0.store()?.follow())
    }

    /// The place of the last commit, by whichever process; 0 when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub fn position(&self) -> Result<u64, Error> {
        Ok(self.0.store()?.position()?)
    }

    /// What was committed behind a place, by whichever process, in order: of all tenants or of one. At
    /// most `limit` rows of the store are looked at, whosever they are.
    ///
    /// # Errors
    /// When the store fails. What is damaged is no error: it is named and left out.
    pub fn committed(
        &self,
        after: u64,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<CommitPage, Error> {
        Ok(self.0.store()?.committed(after, tenant, limit)?)
    }

    /// Up to `limit` events of a list from a place on, whosever it is: for who observes all of them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn recorded(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        from: u64,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        Ok(self.0.store()?.read(tenant, stream, from, limit)?)
    }

    /// Lets a tenant begin nothing new, neither a run nor a direct call, until it is called with `None`:
    /// what would happen could not be kept where it must be. What is under way goes on.
    pub fn suspend(&self, tenant: &TenantId, why: Option<String>) {
        self.0.suspended.set(tenant, why);
    }
}

/// The tenants that may begin nothing, and why.
#[derive(Default)]
pub(crate) struct Suspended(Mutex<HashMap<TenantId, String>>);

impl Suspended {
    fn set(&self, tenant: &TenantId, why: Option<String>) {
        let mut suspended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_suspended = suspended.contains_key(tenant);
        match why {
            Some(why) => {
                if !is_suspended {
                    tracing::warn!(%tenant, why, "a tenant may begin nothing new");
                }
                suspended.insert(tenant.clone(), why);
            }
            None => {
                if is_suspended {
                    tracing::warn!(%tenant, "a tenant may begin again");
                }
                suspended.remove(tenant);
            }
        }
    }

    /// An error if the caller's tenant is among them.
    pub(crate) fn admit(&self, caller: &Caller) -> Result<(), Error> {
        let suspended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match suspended.get(&caller.tenant) {
            None => Ok(()),
            Some(why) => Err(Error::Suspended { tenant: caller.tenant.clone(), why: why.clone() }),
        }
    }
}
