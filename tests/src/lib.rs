//! Tests and benchmarks that cross crates: `tests/structure` checks the shape of the workspace itself.

#![forbid(unsafe_code)]
