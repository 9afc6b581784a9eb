//! What holds on every store (`kits`, with `plain`, a store to compare with), what holds on this one (`file`), how stores of earlier
//! formats are read (`upgrade`), what a run takes (`size`), what a
//! disk leaves of it (`fault`, `flip`, `power`) and does under it (`disk`), and what is left of it when
//! its process is killed (`crash`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod committed;
mod crash;
mod disk;
mod fault;
mod file;
mod flip;
mod key;
mod kits;
mod plain;
mod power;
mod sample;
mod size;
mod upgrade;
