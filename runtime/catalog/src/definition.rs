//! What a component answers when it is asked for its definitions, checked and made safe to show.

use std::{collections::BTreeSet, fmt};

use ringfence_event::{Effect, FunctionName, is_hidden, neutralise};
use ringfence_policy::Manifest;
use serde_json::{Map, Value};

use crate::{
    Error, FUNCTION_NAME_BYTES_MAX, Function,
    function::Stated,
    model_name,
    schema::{self, SCHEMA_BYTES_MAX},
};

/// What the contract says: 1 to 128.
const FUNCTIONS_MAX: usize = 128;

/// A model reads every description in every step.
const DESCRIPTION_BYTES_MAX: usize = 4 << 10;

/// A title is a few words.
const TITLE_BYTES_MAX: usize = 200;

/// All definitions of a tool together.
const TOTAL_BYTES_MAX: usize = 256 << 10;

/// One definition as the component gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawDefinition {
    /// `name`
    pub name: String,
    /// `title`
    pub title: Option<String>,
    /// `description`
    pub description: String,
    /// `input-schema`: JSON as text.
    pub input_schema: String,
    /// `output-schema`: JSON as text.
    pub output_schema: Option<String>,
    /// `effect`
    pub effect: Effect,
}

/// A tool's functions, and what an operator should know about them.
#[derive(Clone, Debug)]
pub struct Described {
    /// The functions, sorted by name.
    pub functions: Vec<Function>,
    /// What was strange enough to say.
    pub warnings: Vec<Warning>,
}

/// Something strange in a definition that does not forbid the tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The function.
    pub function: FunctionName,
    /// What.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function `{}`: {}", self.function, self.message)
    }
}

/// Checks a component's definitions and puts the manifest's words in place of the component's.
///
/// # Errors
/// The first definition that cannot be used, and why.
pub fn describe(manifest: &Manifest, raw: Vec<RawDefinition>) -> Result<Described, Error> {
    let wrong = |message| Error::Definitions { tool: manifest.name.clone(), message };
    if raw.is_empty() || raw.len() > FUNCTIONS_MAX {
        return Err(wrong(format!(
            "it offers {} functions; 1 to {FUNCTIONS_MAX} are allowed",
            raw.len()
        )));
    }
    let total: usize = raw.iter().map(RawDefinition::bytes).sum();
    if total > TOTAL_BYTES_MAX {
        return Err(wrong(format!(
            "its definitions are longer than {} KiB",
            TOTAL_BYTES_MAX >> 10
        )));
    }
    let mut described =
        Described { functions: Vec::with_capacity(raw.len()), warnings: Vec::new() };
    let mut names = BTreeSet::new();
    for definition in raw {
        let function = definition.check(manifest, &mut described.warnings).map_err(wrong)?;
        if !names.insert(function.name.clone()) {
            return Err(wrong(format!("it offers `{}` twice", function.name)));
        }
        described.functions.push(function);
    }
    if let Some((name, entry)) = manifest.functions.iter().find(|(name, _)| !names.contains(*name))
    {
        let offered: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let message = format!(
            "{}:{}:{}: it has no function `{name}`; it offers {}",
            manifest.file,
            entry.line,
            entry.column,
            offered.join(", ")
        );
        return Err(wrong(message));
    }
    described.functions.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(described)
}

impl RawDefinition {
    fn bytes(&self) -> usize {
        self.name.len()
            + self.title.as_ref().map_or(0, String::len)
            + self.description.len()
            + self.input_schema.len()
            + self.output_schema.as_ref().map_or(0, String::len)
    }

    fn check(self, manifest: &Manifest, warnings: &mut Vec<Warning>) -> Result<Function, String> {
        let name: FunctionName = self.name.parse().map_err(|error| format!("{error}"))?;
        if model_name(&manifest.name, &name).len() > FUNCTION_NAME_BYTES_MAX {
            return Err(format!(
                "`{}` is longer than the {FUNCTION_NAME_BYTES_MAX} characters that a model takes",
                model_name(&manifest.name, &name)
            ));
        }
        let entry = manifest.functions.get(&name);
        let description =
            entry.and_then(|entry| entry.description.clone()).unwrap_or(self.description);
        if description.len() > DESCRIPTION_BYTES_MAX {
            return Err(format!(
                "function `{name}`: its description is longer than {} KiB",
                DESCRIPTION_BYTES_MAX >> 10
            ));
        }
        if self.title.as_ref().is_some_and(|title| title.len() > TITLE_BYTES_MAX) {
            return Err(format!(
                "function `{name}`: its title is longer than {TITLE_BYTES_MAX} bytes"
            ));
        }
        let read = |which: &str, text: &str| {
            schema::parse(text).map_err(|why| {
                format!(
                    "function `{name}`: the {which} schema cannot be read: {}",
                    neutralise(&why)
                )
            })
        };
        let input_schema = read("input", &self.input_schema)?;
        let output_schema =
            self.output_schema.as_deref().map(|text| read("output", text)).transpose()?;

        let mut shown = Shown { function: &name, warnings };
        if description.trim().is_empty() {
            shown.warn("it has no description; a model can only guess what it does".to_owned());
        }
        let stated = Stated {
            title: self.title.map(|title| shown.text("its title", &title)),
            description: shown.text("its description", &description),
            input_schema: shown.value("its input schema", input_schema),
            output_schema: output_schema.map(|schema| shown.value("its output schema", schema)),
            effect: manifest.effect(&name, self.effect),
            name: name.clone(),
        };
        let grown = [Some(&stated.input_schema), stated.output_schema.as_ref()];
        if grown.into_iter().flatten().any(|schema| schema.to_string().len() > 2 * SCHEMA_BYTES_MAX)
        {
            return Err(format!("function `{name}`: its schema is mostly hidden characters"));
        }
        Function::compile(stated)
    }
}

/// Neutralises the texts of one function and says where it had to.
struct Shown<'a> {
    function: &'a FunctionName,
    warnings: &'a mut Vec<Warning>,
}

impl Shown<'_> {
    fn warn(&mut self, message: String) {
        let warning = Warning { function: self.function.clone(), message };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn text(&mut self, place: &str, text: &str) -> String {
        if let Some(hidden) = text.chars().find(|character| is_hidden(*character)) {
            let point = u32::from(hidden);
            self.warn(format!(
                "{place} has hidden characters (U+{point:04X}), written out from now on"
            ));
        }
        neutralise(text).into_owned()
    }

    fn value(&mut self, place: &str, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(place, &text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(place, item)).collect(),
            Value::Object(map) => {
                let shown: Map<String, Value> = map
                    .into_iter()
                    .map(|(name, value)| (self.text(place, &name), self.value(place, value)))
                    .collect();
                Value::Object(shown)
            }
            plain => plain,
        }
    }
}
