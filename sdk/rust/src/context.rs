//! The call that runs: who it is, how long it may take, and what it says before it ends.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::bindings::ringfence::tool::context;
use crate::output::Content;

/// This call's id, unique in its session.
#[must_use]
pub fn call_id() -> String {
    context::call_id()
}

/// Equal for every try of this call, whatever crashes in between, and for no other call: what to
/// send as an `Idempotency-Key` to a service that takes one.
#[must_use]
pub fn idempotency_key() -> String {
    context::idempotency_key()
}

/// When the host will stop the call.
#[must_use]
pub fn deadline() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(context::deadline())
}

/// How long the call may still take. In a `pure` function the clock stands still, so this is how
/// long it had when it began.
#[must_use]
pub fn time_left() -> Duration {
    deadline().duration_since(SystemTime::now()).unwrap_or(Duration::ZERO)
}

/// Says how far the work is: `done` of `total`, in whatever unit the tool counts.
pub fn progress(done: u64, total: impl Into<Option<u64>>) {
    context::progress(done, total.into(), None);
}

/// Says how far the work is, and what the tool is doing.
pub fn progress_with(done: u64, total: impl Into<Option<u64>>, message: &str) {
    context::progress(done, total.into(), Some(message));
}

/// Hands over one part of the result early. It stands before what the function returns.
pub fn emit(content: impl Into<Content>) {
    context::emit(&content.into().into());
}
