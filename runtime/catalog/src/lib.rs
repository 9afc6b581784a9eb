//! Installed tools: their folders, their functions with compiled schemas, and the lock file that
//! says which of them somebody accepted. Reads and writes only paths that it is handed.
//!
//! ```
//! use ringfence_catalog::{RawDefinition, describe};
//! use ringfence_event::Effect;
//! use ringfence_policy::Manifest;
//!
//! let manifest = Manifest::bare("files".parse()?);
//! let described = describe(&manifest, vec![RawDefinition {
//!     name: "read".into(),
//!     title: None,
//!     description: "Reads one file.".into(),
//!     input_schema: r#"{
//!         "type": "object",
//!         "properties": { "path": { "type": "string" } },
//!         "required": ["path"]
//!     }"#.into(),
//!     output_schema: None,
//!     effect: Effect::Read,
//! }])?;
//! let read = &described.functions[0];
//! assert!(read.check_arguments(r#"{"path": "/workspace/a.txt"}"#).is_ok());
//! assert_eq!(read.check_arguments(r#"{"path": 7}"#).unwrap_err().path.as_deref(), Some("/path"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod definition;
mod difference;
mod error;
mod folder;
mod function;
mod json;
mod lock;
mod lock_file;
mod name;
mod question;
mod schema;
mod work;

pub use definition::{Described, RawDefinition, Warning, describe};
pub use difference::{Change, Difference};
pub use error::Error;
pub use folder::ToolFolder;
pub use function::{Function, Via, definitions_digest};
pub use lock::{Entry, Lock};
pub use lock_file::{LOCK_FILE, replace_file};
pub use name::{FUNCTION_NAME_BYTES_MAX, model_name, resolve};
pub use question::{check_answer, check_question};
