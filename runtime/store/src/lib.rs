//! The journal, the inbox, memory and blobs, in one transaction: the only crate that knows a
//! database. What it stores it does not judge; who may read or write what is decided above, except
//! for the tenant, which every key begins with.
//!
//! ```
//! use ringfence_event::{Body, Digest, SessionId, Stream, TenantId, Timestamp, UserId};
//! use ringfence_store::{Append, Batch, NewEvent, Store};
//!
//! let home = tempfile::tempdir()?;
//! let store = Store::open(&home.path().join("ringfence.db"))?;
//! let stream = Stream::Session(SessionId::from_random([7; 16]));
//! let created = Body::SessionCreated { agent: "coder".parse()?, agent_digest: Digest::of(b"") };
//! let committed = store.commit_blocking(Batch {
//!     appends: vec![Append {
//!         stream: stream.clone(),
//!         tenant: TenantId::local(),
//!         user: UserId::local(),
//!         fence: None,
//!         expected_seq: Some(0),
//!         events: vec![NewEvent { at: Timestamp(1), body: created, cause: None, trace: None }],
//!     }],
//!     ..Batch::default()
//! })?;
//! assert_eq!(committed.events[0].seq, 1);
//! assert_eq!(store.read(&TenantId::local(), &stream, 1, 100)?[..], committed.events[..]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod append;
mod batch;
mod blob;
mod budget;
mod check;
mod committed;
mod dictionary;
mod error;
mod feed;
mod head;
mod health;
mod inbox;
mod journal;
mod key;
#[cfg(feature = "kit")]
pub mod kit;
mod mail;
mod memory;
mod migrate;
mod open;
mod pack;
mod quarantine;
mod record;
mod request;
mod runs;
mod schema;
mod session;
mod squeeze;
mod store;
mod writer;
mod writing;

pub use batch::{
    Append, Batch, BlobWrite, BucketId, BudgetChange, BudgetState, Committed, Fence, MemoryChange,
    MemoryLimits, MemoryUsed, MemoryWrite, NewEvent, Wake,
};
pub use error::{Conflict, Error};
pub use feed::Follower;
pub use health::{Failing, FailingKind};
pub use inbox::{InboxId, Inboxed};
pub use key::{KeyChange, StoredKey};
pub use memory::KeyPage;
pub use open::STORE_FORMAT;
pub use quarantine::Quarantined;
pub use request::{Claim, Claimed, RequestAnswer};
pub use session::{OpenSession, Resolved, SessionSummary};
pub use store::Store;
pub use writer::Written;
