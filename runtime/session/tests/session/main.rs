//! The machine under a driver that is played: scenarios with their journals (`scenario`), what questions
//! to a model spend (`spending`), the table of state changes (`table`), what holds whatever happens
//! (`property`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod property;
mod scenario;
mod spending;
mod table;
mod world;
