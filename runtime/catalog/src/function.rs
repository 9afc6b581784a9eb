//! One function of an installed tool, its schemas compiled.

use std::{fmt, sync::Arc};

use jsonschema::Validator;
use ringfence_event::{Digest, Effect, FunctionName};
use serde_json::{Value, json};

use crate::{json::canonical, schema, work};

/// How a component offers a function. The list grows when components that export plain typed
/// functions, or whole programs, are taken as tools; nothing above the sandbox looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// By the tool contract: `definitions` and `call`.
    #[default]
    Contract,
}

/// One function. Cheap to clone.
#[derive(Clone)]
pub struct Function {
    /// Its name.
    pub name: FunctionName,
    /// A short name for people.
    pub title: Option<String>,
    /// What it does, for a model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
    /// JSON Schema of the structured output.
    pub output_schema: Option<Value>,
    /// What calling it twice would do.
    pub effect: Effect,
    /// How the component offers it.
    pub via: Via,
    input: Arc<Validator>,
    output: Option<Arc<Validator>>,
}

/// The parts of a function that a tool and its manifest state.
pub(crate) struct Stated {
    pub(crate) name: FunctionName,
    pub(crate) title: Option<String>,
    pub(crate) description: String,
    pub(crate) input_schema: Value,
    pub(crate) output_schema: Option<Value>,
    pub(crate) effect: Effect,
}

impl Function {
    /// Compiles the schemas; says in words which one cannot be used, and why.
    pub(crate) fn compile(stated: Stated) -> Result<Self, String> {
        let Stated { name, title, description, input_schema, output_schema, effect } = stated;
        if !schema::is_object_schema(&input_schema) {
            return Err(format!(
                "function `{name}`: the input schema must have \"type\": \"object\" at its top"
            ));
        }
        let compile = |which: &str, schema: &Value| {
            let compiled = schema::compile(schema).map(Arc::new);
            compiled.map_err(|why| {
                format!("function `{name}`: the {which} schema cannot be used: {why}")
            })
        };
        let input = compile("input", &input_schema)?;
        let output = output_schema.as_ref().map(|schema| compile("output", schema)).transpose()?;
        let via = Via::default();
        Ok(Self {
            name,
            title,
            description,
            input_schema,
            output_schema,
            effect,
            via,
            input,
            output,
        })
    }

    /// Whether structured output fits the schema that the function promises. Without a schema,
    /// anything fits.
    ///
    /// # Errors
    /// What does not fit, and where.
    pub fn check_structured(&self, value: Option<&Value>) -> Result<(), String> {
        let (Some(output), Some(schema)) = (&self.output, &self.output_schema) else {
            return Ok(());
        };
        let Some(value) = value else { return Err("there is no structured output".to_owned()) };
        if !work::is_affordable(schema, value) {
            return Err("it is too large or too deep to be checked against the schema".to_owned());
        }
        output.validate(value).map_err(|error| {
            let path = error.instance_path().to_string();
            let at = if path.is_empty() { String::new() } else { format!("{path}: ") };
            format!("{at}{}", schema::message(&error))
        })
    }

    pub(crate) fn input(&self) -> &Validator {
        &self.input
    }

    /// Everything that an operator accepts of it, in one text.
    pub(crate) fn canonical(&self) -> String {
        canonical(&json!({
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "input-schema": self.input_schema,
            "output-schema": self.output_schema,
            "effect": self.effect,
        }))
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

/// The digest of a tool's definitions. Their order does not count.
#[must_use]
pub fn definitions_digest(functions: &[Function]) -> Digest {
    let mut lines: Vec<String> = functions.iter().map(Function::canonical).collect();
    lines.sort();
    Digest::of(lines.join("\n").as_bytes())
}
