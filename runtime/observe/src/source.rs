//! Where events come from: the store of a runtime, as far as it is observed.

use std::pin::Pin;

use ringfence_event::{CommitPage, Event, Followed, Stream, TenantId};

/// The store cannot be read, with what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A runtime, as far as it is observed. Methods look at what is durable and may take as long as a disk
/// does; they are called on threads that may wait.
pub trait Source: Send + Sync + 'static {
    /// The place of the last commit, by whichever process.
    ///
    /// # Errors
    /// When it cannot be read.
    fn position(&self) -> Result<u64, SourceError>;

    /// What was committed behind a place, by whichever process: of all tenants or of one, in order, from
    /// at most `limit` rows.
    ///
    /// # Errors
    /// When it cannot be read.
    fn committed(
        &self,
        after: u64,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<CommitPage, SourceError>;

    /// Up to `limit` events of one list from a place on.
    ///
    /// # Errors
    /// When they cannot be read.
    fn recorded(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        from: u64,
        limit: u32,
    ) -> Result<Vec<Event>, SourceError>;

    /// Follows what this process commits from now on.
    ///
    /// # Errors
    /// When it cannot be followed.
    fn follow(&self) -> Result<Box<dyn Follow>, SourceError>;

    /// Lets a tenant begin nothing new for this reason; `None`: begin again.
    fn suspend(&self, tenant: &TenantId, why: Option<String>);
}

/// Commits while they are made.
pub trait Follow: Send {
    /// The next one. Dropped before it is done, nothing is lost.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Followed> + Send + '_>>;
}
