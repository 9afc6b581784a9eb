//! Policy at its boundary: texts in, permits and denials out.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by its panic")]

mod config;
mod denial;
mod explain;
mod hold;
mod permit;
mod scene;
mod secret;
mod taken;
mod widening;
