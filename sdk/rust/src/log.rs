//! Records for the log of the call: one line of text each, with a level.
//!
//! `println!` and `eprintln!` reach the log as well, without one.
//!
//! ```no_run
//! use ringfence_sdk::log;
//!
//! let skipped = 3;
//! log::warn(format_args!("{skipped} files are not text"));
//! ```

use std::fmt::Display;

use crate::bindings::ringfence::tool::context;
use crate::bindings::ringfence::tool::types::Level;

/// What only somebody who follows every step wants to see.
pub fn trace(message: impl Display) {
    context::log(Level::Trace, &message.to_string());
}

/// What the author of the tool wants to see.
pub fn debug(message: impl Display) {
    context::log(Level::Debug, &message.to_string());
}

/// What happened.
pub fn info(message: impl Display) {
    context::log(Level::Info, &message.to_string());
}

/// What may be wrong, though the call goes on.
pub fn warn(message: impl Display) {
    context::log(Level::Warn, &message.to_string());
}

/// What is wrong.
pub fn error(message: impl Display) {
    context::log(Level::Error, &message.to_string());
}
