//! What was made durable, of all sessions and tenants, in the one order in which it was.

use std::sync::Arc;

use crate::Event;

/// Events that became durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its place among all commits of the store: a later one has a higher number. Numbers may be left out.
    pub position: u64,
    /// The events, those of one list in their order.
    pub events: Arc<[Event]>,
}

/// A part of what was made durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitPage {
    /// What was found, in order.
    pub commits: Vec<Commit>,
    /// What cannot be read, in words.
    pub damaged: Vec<String>,
    /// Up to which place was looked: the next page begins behind it.
    pub position: u64,
    /// Whether there was nothing behind it.
    pub is_last: bool,
}

/// What whoever follows the commits is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The next one.
    Commit(Commit),
    /// Some were left out, because what waited had become too much. They stand in the store.
    Lagged,
}
