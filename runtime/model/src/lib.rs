//! What a model is to the rest of the host, and the one that this version offers: a script. Knows
//! nothing of sessions, tools or permits; a model only ever proposes.
//!
//! ```
//! use ringfence_event::{Message, ModelRequest};
//! use ringfence_model::{Model, ScriptedModel};
//!
//! let model = ScriptedModel::parse(
//!     r#"
//!     [[turn]]
//!     when = { contains = "hello" }
//!     reply = { text = "Good morning." }
//!     "#,
//!     "morning.toml",
//! )?;
//! let request = ModelRequest {
//!     model: "main".parse()?,
//!     instructions: String::new(),
//!     functions: vec![],
//!     messages: vec![Message::User { text: "hello there".into() }],
//!     parameters: Default::default(),
//! };
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! assert_eq!(model.complete(&request).await?.text, "Good morning.");
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod config;
mod model;
mod script;
mod scripted;

pub use config::{ModelConfig, Protocol};
pub use model::{Completion, Model, ModelError};
pub use script::ScriptError;
pub use scripted::ScriptedModel;
