//! Asking a person before going on.
//!
//! The call that asks ends; it is made again, with the same arguments and in a fresh instance, once
//! somebody has answered. So whatever stands before the question runs twice.
//!
//! ```no_run
//! use ringfence_sdk::prelude::*;
//! use ringfence_sdk::question::Question;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Confirm {
//!     /// Whether to delete them.
//!     delete: bool,
//! }
//!
//! # fn clean() -> Result<&'static str> {
//! match Question::new("40 files are older than a year. Delete them?").ask::<Confirm>()? {
//!     Some(Confirm { delete: true }) => Ok("deleted"),
//!     Some(_) | None => Ok("kept"),
//! }
//! # }
//! ```

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::bindings::ringfence::tool::{context, types};
use crate::error::{Error, Result};
use crate::schema;

/// What a tool needs to know from a person.
#[derive(Clone, Debug)]
pub struct Question {
    message: String,
    state: Vec<u8>,
}

/// A question on its way to the host.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) message: String,
    schema: String,
    state: Vec<u8>,
}

impl Question {
    /// A question in a sentence or two.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), state: Vec::new() }
    }

    /// What comes back with the answer, at most 64 KiB. It also tells a call's questions apart: an
    /// answer is this question's when its state is.
    #[must_use]
    pub fn state(mut self, state: impl Into<Vec<u8>>) -> Self {
        self.state = state.into();
        self
    }

    /// The answer, or `None` when the person declined. While there is no answer it is an error that
    /// the function must return, with `?`, for the question to reach anybody.
    ///
    /// `T` is a struct whose fields are text, numbers, booleans or enums without data.
    pub fn ask<T: DeserializeOwned + JsonSchema>(self) -> Result<Option<T>> {
        match context::answer() {
            Some(answer) if answer.state == self.state => match answer.value {
                None => Ok(None),
                Some(value) => serde_json::from_str(&value).map(Some).map_err(|error| {
                    Error::failed(format!("the answer does not fit its schema: {error}"))
                }),
            },
            _ => {
                let schema = schema::of_arguments::<T>()
                    .map_err(|_| Error::failed("an answer is a struct with named fields"))?;
                let Self { message, state } = self;
                Err(Error::pending(Pending { message, schema: schema.to_string(), state }))
            }
        }
    }
}

/// The state of the question that was answered last, for a tool that asks several in turn.
#[must_use]
pub fn answered() -> Option<Vec<u8>> {
    context::answer().map(|answer| answer.state)
}

impl From<Pending> for types::Question {
    fn from(question: Pending) -> Self {
        let Pending { message, schema, state } = question;
        Self { message, schema, state }
    }
}
