//! What is in this process's memory stays there: secrets pass through it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// No core file, no crash handler that is sent one, and no other process of this user that looks
/// into this one's memory.
pub(crate) fn close() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // Neither can fail on Linux: lowering a limit and giving up a right are free to everybody. A
    // kernel that knows no such thing makes no dumps either.
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
