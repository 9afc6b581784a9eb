//! The check of a call's arguments: text from a model becomes a JSON object that fits the schema,
//! or a failure that says how to mend it.

use ringfence_event::{Failure, neutralise_line};
use serde_json::Value;

use crate::{Function, json, schema, work};

/// More than a model writes in one reply.
const ARGUMENTS_BYTES_MAX: usize = 1 << 20;

impl Function {
    /// Checks the arguments of one call.
    ///
    /// # Errors
    /// The failure to hand back: `invalid-input`, with the place that is at fault.
    pub fn check_arguments(&self, text: &str) -> Result<Value, Failure> {
        if text.len() > ARGUMENTS_BYTES_MAX {
            let message =
                format!("the arguments are longer than {} MiB", ARGUMENTS_BYTES_MAX >> 20);
            return Err(Failure::invalid(message, None));
        }
        let value = json::parse(text).map_err(|why| {
            let why = neutralise_line(&why).chars().take(300).collect::<String>();
            Failure::invalid(format!("the arguments are not JSON that can be used: {why}"), None)
        })?;
        if !value.is_object() {
            return Err(Failure::invalid("the arguments must be one JSON object", None));
        }
        if !work::is_affordable(&self.input_schema, &value) {
            let message =
                "the arguments are too large or too deep to be checked against the schema";
            return Err(Failure::invalid(message, None));
        }
        match self.input().validate(&value) {
            Ok(()) => Ok(value),
            Err(error) => {
                let path = error.instance_path().to_string();
                let at = match path.as_str() {
                    "" => "the arguments".to_owned(),
                    path => {
                        format!("`{}`", neutralise_line(path).chars().take(200).collect::<String>())
                    }
                };
                Err(Failure::invalid(format!("{at}: {}", schema::message(&error)), Some(path)))
            }
        }
    }
}
