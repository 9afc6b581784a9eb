//! What a model is to the rest of the host, and those that this version offers: OpenAI and whoever
//! speaks its protocols, Anthropic, and scripts. Knows nothing of sessions, tools or permits; a model
//! only ever proposes.
//!
//! ```
//! use ringfence_event::{Message, ModelRequest};
//! use ringfence_model::{Model, NoDeltas, ScriptedModel};
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
//!     instructions: "".into(),
//!     functions: vec![].into(),
//!     messages: vec![Message::User { text: "hello there".into() }.into()],
//!     parameters: Default::default(),
//! };
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! assert_eq!(model.complete(&request, &NoDeltas).await?.text, "Good morning.");
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! One behind HTTP is set up by a table of `ringfence.toml`; [`ModelTable`] lists its keys.
//!
//! ```
//! use ringfence_model::{KeySource, ModelSource, ModelTable, VendorModel};
//!
//! let text = r#"
//!     protocol = "openai-chat"
//!     url = "http://127.0.0.1:11434/v1"
//!     name = "llama3.2"
//! "#;
//! let table: ModelTable = ringfence_policy::parse_file("ringfence.toml", text)?;
//! let config = table.check("ringfence.toml", text, ".".as_ref())?;
//! let ModelSource::Vendor(vendor) = &config.source else { panic!("a script") };
//! let model = VendorModel::new(vendor, config.limits, KeySource::none());
//! # let _ = model;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod config;
mod key;
mod limits;
mod model;
mod script;
mod scripted;
mod vendor;

pub use config::{ModelConfig, ModelSource, ModelTable, VendorConfig, VendorProtocol};
pub use key::KeySource;
pub use limits::TokenLimits;
pub use model::{Completion, Deltas, Model, ModelError, NoDeltas};
pub use script::ScriptError;
pub use scripted::ScriptedModel;
pub use vendor::{NoCertificate, VendorModel};
