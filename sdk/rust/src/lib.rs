//! Write a tool for Ringfence in Rust.
//!
//! A function of a tool is an ordinary function. Its name, description, JSON Schema and effect come
//! from the code; [`export!`] makes a component of it.
//!
//! ```
//! use ringfence_sdk::prelude::*;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Greet {
//!     /// Whom to greet.
//!     name: String,
//! }
//!
//! /// Greets somebody by name.
//! #[tool(effect = "pure")]
//! fn greet(args: Greet) -> Result<String> {
//!     if args.name.is_empty() {
//!         return Err(Error::invalid_input("the name is empty: say whom to greet").at("/name"));
//!     }
//!     Ok(format!("Hello, {}!", args.name))
//! }
//!
//! ringfence_sdk::export!(greet);
//! # fn main() {}
//! ```
//!
//! The crate needs `serde` beside `ringfence-sdk`, `crate-type = ["cdylib"]`, and the target
//! `wasm32-wasip2`.
//!
//! Inside a function, files are `std::fs` under the [`roots`] of the call, and `println!` is a line
//! of the log. [`http`], [`memory`], [`config`], [`log`], [`context`] and [`question`] are the rest of the
//! world. What the manifest does not ask for or the operator does not grant is an error of the
//! call that tried, never a panic.
//!
//! A function returns anything with [`IntoOutput`]: text, [`Json`], an [`Output`] put together by
//! hand, or a [`Result`] of one of these. An [`Error`] says which of three things the caller can do.

pub use errno::io_error_kind;
pub use error::{Error, ErrorKind, Result};
pub use output::{Content, IntoOutput, Json, Link, Media, Output};
pub use ringfence_sdk_macros::tool;
pub use roots::{resolve, roots};
pub use schemars;
pub use serde;
pub use serde_json;

mod arguments;
#[doc(hidden)]
#[rustfmt::skip]
#[expect(
    unreachable_pub,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    clippy::uninlined_format_args,
    clippy::unwrap_used,
    reason = "generated from wit/: its style is the generator's"
)]
pub mod bindings;
pub mod config;
pub mod context;
mod errno;
mod error;
#[doc(hidden)]
pub mod export;
pub mod function;
pub mod http;
pub mod log;
pub mod memory;
mod output;
pub mod prelude;
pub mod question;
mod roots;
mod schema;
