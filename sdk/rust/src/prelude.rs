//! What nearly every tool uses: `use ringfence_sdk::prelude::*;`.

pub use crate::{Error, IntoOutput, Json, Output, Result, tool};
// The derive of `JsonSchema` writes paths that begin with `schemars`.
pub use schemars::{self, JsonSchema};
pub use serde::{Deserialize, Serialize};
