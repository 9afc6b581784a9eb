//! What `#[tool]` writes down about a function, and the table that [`export!`](crate::export)
//! makes of several. A tool's author has no need to name anything here.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::arguments;
use crate::bindings::ringfence::tool::types;
use crate::error::Result;
use crate::output::{IntoOutput, Output};
use crate::schema;

/// What calling a function twice with the same arguments would do to the world. The host opens
/// nothing that the effect excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Depends on its arguments alone.
    Pure,
    /// Looks, changes nothing.
    Read,
    /// Doing it twice with the same idempotency key leaves the same state as doing it once.
    Idempotent,
    /// Anything else.
    Unsafe,
}

/// A function of a tool, as the attribute reads it from the code.
pub trait Function {
    /// Unique in the tool.
    const NAME: &'static str;
    /// A short name for people.
    const TITLE: Option<&'static str>;
    /// The doc comment.
    const DESCRIPTION: &'static str;
    /// What calling it twice would do.
    const EFFECT: Effect;
    /// The struct it takes.
    type Arguments: DeserializeOwned + schemars::JsonSchema;
    /// What it returns.
    type Output: IntoOutput;

    /// Calls the function itself.
    fn call(arguments: Self::Arguments) -> Self::Output;
}

/// The arguments of a function without a parameter.
#[derive(Clone, Copy, Debug, Default, Deserialize, schemars::JsonSchema)]
pub struct NoArguments {}

/// One row of a tool's table: a [`Function`] without its types.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub(crate) name: &'static str,
    definition: fn() -> std::result::Result<types::Definition, String>,
    call: fn(&str) -> Result<Output>,
}

impl Entry {
    /// The row of `F`.
    pub const fn of<F: Function>() -> Self {
        Self { name: F::NAME, definition: definition::<F>, call: call::<F> }
    }

    pub(crate) fn definition(&self) -> std::result::Result<types::Definition, String> {
        (self.definition)()
    }

    pub(crate) fn call(&self, arguments: &str) -> Result<Output> {
        (self.call)(arguments)
    }
}

fn definition<F: Function>() -> std::result::Result<types::Definition, String> {
    let input =
        schema::of_arguments::<F::Arguments>().map_err(|why| format!("`{}`: {why}", F::NAME))?;
    Ok(types::Definition {
        name: F::NAME.to_owned(),
        title: F::TITLE.map(str::to_owned),
        description: F::DESCRIPTION.to_owned(),
        input_schema: input.to_string(),
        output_schema: F::Output::output_schema().map(|schema| schema.to_string()),
        effect: match F::EFFECT {
            Effect::Pure => types::Effect::Pure,
            Effect::Read => types::Effect::Read,
            Effect::Idempotent => types::Effect::Idempotent,
            Effect::Unsafe => types::Effect::Unsafe,
        },
    })
}

fn call<F: Function>(json: &str) -> Result<Output> {
    F::call(arguments::parse(json)?).into_output()
}
