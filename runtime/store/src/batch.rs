//! What is stored together or not at all.

use std::sync::Arc;

use ringfence_event::{Body, Event, Limit, Scope, SessionId, Stream, TenantId, Timestamp, UserId};

use crate::{InboxId, KeyChange};

/// One transaction.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Events, by the list they are added to.
    pub appends: Vec<Append>,
    /// Changes of memory buckets, in order.
    pub memory: Vec<MemoryWrite>,
    /// What the buckets that grow by this may hold; absent: anything.
    pub memory_limits: Option<MemoryLimits>,
    /// Bytes to keep under their digest.
    pub blobs: Vec<BlobWrite>,
    /// Commands that are done with this.
    pub inbox_done: Vec<InboxId>,
    /// What is spent and reserved of budgets of tenants, in order.
    pub budgets: Vec<BudgetChange>,
    /// When a session is to be looked at again; absent: that stays as it is.
    pub wake: Option<Wake>,
    /// API keys that are made or ended, in order.
    pub keys: Vec<KeyChange>,
}

/// Events that are added to one list. A session's row in [`Store::sessions`](crate::Store::sessions)
/// follows from them.
#[derive(Clone, Debug)]
pub struct Append {
    /// The list.
    pub stream: Stream,
    /// Whose it is.
    pub tenant: TenantId,
    /// On whose behalf.
    pub user: UserId,
    /// The claim under which it is written. A list that was claimed takes none without.
    pub fence: Option<Fence>,
    /// Where the writer takes the list to stand: the place of its last event, 0 for an empty one.
    pub expected_seq: Option<u64>,
    /// The events, in order.
    pub events: Vec<NewEvent>,
}

/// An event without its place, which the store gives.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// When it is recorded.
    pub at: Timestamp,
    /// What happened.
    pub body: Body,
    /// The place of the event that led to it.
    pub cause: Option<u64>,
    /// The trace id of the request that led to it.
    pub trace: Option<String>,
}

/// A worker's claim to a session. A later claim makes it stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub(crate) u64);

impl Fence {
    /// The claim with this number, for another store; each claim of a session has a higher one.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }
}

/// One change of one bucket.
#[derive(Clone, Debug)]
pub struct MemoryWrite {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: String,
    /// What to do with it.
    pub change: MemoryChange,
}

/// A memory bucket: whose, how widely shared, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BucketId {
    /// Whose.
    pub tenant: TenantId,
    /// How widely it is shared.
    pub scope: Scope,
    /// The session's or call's id, the user, the agent, or for the tenant's own bucket its name.
    pub owner: String,
}

/// What to do with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryChange {
    /// Give it this value.
    Set(Vec<u8>),
    /// Take it out; nothing happens if it is not there.
    Delete,
    /// Add to the decimal number it holds, up to [`u64::MAX`]; one that is not there holds 0. What
    /// is no number stays: whoever adds saw one, so it was set in between, and setting it after the
    /// sum comes to the same.
    Increment(u64),
}

/// How much memory buckets may hold. Bytes are those of keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes of one bucket.
    pub bucket_bytes: u64,
    /// Keys of one bucket.
    pub bucket_keys: u64,
    /// Bytes of all buckets of a tenant.
    pub tenant_bytes: u64,
}

/// How much a memory bucket holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUsed {
    /// Bytes of its keys and values.
    pub bytes: u64,
    /// Its keys.
    pub keys: u64,
    /// Bytes of all buckets of its tenant.
    pub tenant_bytes: u64,
}

/// Bytes to keep under their digest.
#[derive(Clone, Debug)]
pub struct BlobWrite {
    /// Whose.
    pub tenant: TenantId,
    /// What.
    pub bytes: Vec<u8>,
}

/// When a session is to be looked at again. It is kept until the next one, and forgotten when the
/// last open run of the session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Whose.
    pub tenant: TenantId,
    /// The session.
    pub session: SessionId,
    /// When; absent: not by itself.
    pub at: Option<Timestamp>,
}

/// A change of what a tenant has spent and reserved of one limit within one window of time. Amounts
/// are in the limit's own unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetChange {
    /// Whose.
    pub tenant: TenantId,
    /// The limit.
    pub limit: Limit,
    /// When the window began. With the first change of a later window all reservations of earlier
    /// ones are void.
    pub window_start: Timestamp,
    /// Who reserves: equal for the same work after a restart, so that it finds its own again.
    pub owner: String,
    /// What was spent since the owner's last change.
    pub spent: u64,
    /// What the owner has reserved from now on, in all.
    pub reserved: u64,
    /// How much may be spent and reserved together, by all owners. It is held against this change
    /// only if the owner's reservation grows by it, so that settling never fails. Absent: anything.
    pub of: Option<u64>,
}

/// How a budget of a tenant stands, in the limit's own unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetState {
    /// The limit.
    pub limit: Limit,
    /// What is spent within the window.
    pub spent: u64,
    /// What all owners together have reserved.
    pub reserved: u64,
}

/// What a durable batch became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its events with their places, in the order of the appends.
    pub events: Arc<[Event]>,
    /// The new value for each [`MemoryChange::Increment`] of a number, in order.
    pub counters: Vec<u64>,
    /// How each budget stands after its [`BudgetChange`], in their order.
    pub budgets: Vec<BudgetState>,
}
