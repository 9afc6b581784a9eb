//! The machine under a driver that is played: scenarios with their journals (`scenario`), the
//! table of state changes (`table`), what holds whatever happens (`property`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod property;
mod scenario;
mod table;
mod world;
