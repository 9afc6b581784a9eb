//! What can go wrong with a store, and what one writer finds that another did first.

use std::{io, path::PathBuf, sync::Arc};

use ringfence_event::{KeyId, Limit, Scope, Stream};
use rusqlite::ErrorCode;

/// Why the store did not do it. Cheap to clone: a group of batches can share one cause.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The file or its folder cannot be made or read.
    #[error("cannot open the store {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// The file is something else.
    #[error("{} is no store of Ringfence", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// A later version wrote it. It was not touched.
    #[error(
        "the store {} has format {found}; this version of Ringfence reads up to {newest}",
        path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this version knows.
        newest: u32,
    },
    /// Somebody else was first. Nothing of the batch was stored.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// What is stored is not what was written.
    #[error("{stream}, event {seq}, is damaged: {what}")]
    Corrupt {
        /// The list.
        stream: Stream,
        /// The place in it.
        seq: u64,
        /// What is wrong.
        what: String,
    },
    /// Damage was found in this list before. Nothing more is added to it, and nobody can claim it; what
    /// stands before the damage can be read. Other lists are not touched by it.
    #[error("{stream} is quarantined: its event {seq} is damaged")]
    Quarantined {
        /// The list.
        stream: Stream,
        /// The first place at which damage was found.
        seq: u64,
    },
    /// A row or an index is not what was written. What is told with its help is not told; the rest is.
    #[error("{what} is damaged in the store")]
    Damaged {
        /// What.
        what: String,
    },
    /// A blob is not what its digest says.
    #[error("a stored blob is damaged")]
    CorruptBlob,
    /// This tenant has no such session. Says nothing of other tenants.
    #[error("no such session")]
    NoSuchSession,
    /// A bucket, or all of its tenant's together, would hold more than the batch allows. Nothing of
    /// the batch was stored.
    #[error("the memory of scope `{scope}` is full")]
    MemoryFull {
        /// The scope of the bucket that does not take what was written.
        scope: Scope,
    },
    /// A reservation does not fit into a tenant's budget any more. Nothing of the batch was stored.
    #[error(
        "the tenant's budget of {limit} is spent: {spent} spent and {reserved} reserved of {of}"
    )]
    BudgetSpent {
        /// The limit.
        limit: Limit,
        /// What is spent within the window, in the limit's own unit.
        spent: u64,
        /// What is reserved, by all owners.
        reserved: u64,
        /// How much there is.
        of: u64,
    },
    /// The idempotency key of a command came before with another command. Nothing was stored.
    #[error(
        "the key `{key}` came before with another command; a new command needs a key of its own"
    )]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The tenant has no such API key that is valid still. Nothing was stored.
    #[error("there is no valid key `{key}`")]
    NoSuchKey {
        /// Which.
        key: KeyId,
    },
    /// The database refused.
    #[error("the database failed")]
    Database(#[source] Arc<rusqlite::Error>),
    /// A write failed in a way that leaves open what reached the disk. Nothing more is written
    /// until the store is opened again.
    #[error("the store has stopped writing after a failure of the disk")]
    Stopped,
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as Cause;
        match &error {
            // Rows hold what this code wrote, so what it cannot read is another thing.
            Cause::InvalidColumnType(..)
            | Cause::IntegralValueOutOfRange(..)
            | Cause::FromSqlConversionFailure(..)
            | Cause::Utf8Error(..) => Self::Damaged { what: "a row".to_owned() },
            _ if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { what: "a page of the file".to_owned() }
            }
            _ => Self::Database(Arc::new(error)),
        }
    }
}

impl Error {
    /// Whether only the one batch is at fault, so that others of its group can be stored.
    pub(crate) fn is_of_batch(&self) -> bool {
        matches!(
            self,
            Self::Conflict(_)
                | Self::NoSuchSession
                | Self::MemoryFull { .. }
                | Self::BudgetSpent { .. }
                | Self::KeyReused { .. }
                | Self::NoSuchKey { .. }
                | Self::Corrupt { .. }
                | Self::Quarantined { .. }
                | Self::Damaged { .. }
        )
    }
}

/// Somebody else was first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Another worker claimed the session later, so this one must let go of it.
    #[error("{stream} was claimed by another worker")]
    StaleFence {
        /// The list.
        stream: Stream,
    },
    /// Events were added that the writer has not seen.
    #[error("{stream} stands at {found}, not at {expected}")]
    WrongSeq {
        /// The list.
        stream: Stream,
        /// Where the writer took it to stand.
        expected: u64,
        /// Where it stands.
        found: u64,
    },
    /// The command was done before.
    #[error("the inbox has no such command any more")]
    InboxDone,
}
