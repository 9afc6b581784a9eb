//! JSON Schemas from tools: compiled once, never fetched from anywhere, bounded in what checking a
//! value against them can cost.

use std::collections::BTreeSet;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use ringfence_event::neutralise_line;
use serde_json::{Map, Value};

use crate::json;

/// More than a person would write; a generated schema of a large API has a few thousand bytes.
pub(crate) const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// The most subschemas that one value may have to be checked against. An `allOf` of an `allOf` of
/// references doubles with each level; real schemas have dozens.
const SUBSCHEMAS_MAX: u64 = 1024;

/// The most that one compiled pattern takes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The longest message about a value.
const MESSAGE_CHARS_MAX: usize = 500;

/// Other ways to refer, which a count over paths would not see.
const REFERENCES_REFUSED: [&str; 5] =
    ["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef"];

/// Reads the text of a schema.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(format!("it is longer than {} KiB", SCHEMA_BYTES_MAX >> 10));
    }
    json::parse(text)
}

/// Compiles a schema.
pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
    let Some(map) = schema.as_object() else { return Err("it is not a JSON object".to_owned()) };
    if let Some(dialect) = map.get("$schema") {
        let known = [
            "https://json-schema.org/draft/2020-12/schema",
            "https://json-schema.org/draft/2020-12/schema#",
        ];
        if !dialect.as_str().is_some_and(|dialect| known.contains(&dialect)) {
            return Err("its `$schema` is not JSON Schema 2020-12".to_owned());
        }
    }
    check_references(schema, true)?;
    let mut walk = Walk { root: schema, path: BTreeSet::new() };
    walk.subschemas(schema)?;
    let patterns =
        PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| cut(&error.to_string()))
}

/// Whether the schema's top describes an object, as arguments are.
pub(crate) fn is_object_schema(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object")
}

/// What is wrong with a value, without repeating the value itself.
pub(crate) fn message(error: &ValidationError<'_>) -> String {
    cut(&error.masked_with("the value").to_string())
}

fn cut(text: &str) -> String {
    let text = neutralise_line(text);
    if text.chars().count() <= MESSAGE_CHARS_MAX {
        return text.into_owned();
    }
    text.chars().take(MESSAGE_CHARS_MAX).chain(['…']).collect()
}

/// References out of the document, or by names that other documents could take over, are refused
/// wherever they stand, also where no check would follow them.
fn check_references(value: &Value, top: bool) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_references(item, false)),
        Value::Object(map) => {
            for (name, inner) in map {
                match inner {
                    Value::String(target)
                        if name == "$ref" && target != "#" && !target.starts_with("#/") =>
                    {
                        return Err(format!("`$ref` leads out of the schema: {}", cut(target)));
                    }
                    Value::String(_) if REFERENCES_REFUSED.contains(&name.as_str()) => {
                        return Err(format!("`{name}` is not offered; use `$ref` with a path"));
                    }
                    Value::String(_) if name == "$id" && !top => {
                        return Err("`$id` may stand only at the top".to_owned());
                    }
                    inner => check_references(inner, false)?,
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Counts how many subschemas one value is checked against where it stands, following references.
struct Walk<'a> {
    root: &'a Value,
    /// The references that are being followed: one that comes again without having gone into the
    /// value would never end.
    path: BTreeSet<&'a str>,
}

impl<'a> Walk<'a> {
    /// Counts at the schema itself and at everything below it.
    fn subschemas(&mut self, schema: &'a Value) -> Result<(), String> {
        self.here(schema, 0)?;
        match schema {
            Value::Object(map) => map.values().try_for_each(|inner| self.subschemas(inner)),
            Value::Array(items) => items.iter().try_for_each(|inner| self.subschemas(inner)),
            _ => Ok(()),
        }
    }

    fn here(&mut self, schema: &'a Value, counted: u64) -> Result<u64, String> {
        let Some(map) = schema.as_object() else { return Ok(1) };
        if counted > SUBSCHEMAS_MAX {
            return Err(format!(
                "one value would be checked against more than {SUBSCHEMAS_MAX} subschemas"
            ));
        }
        let mut count = 1;
        for inner in in_place(map) {
            count += self.here(inner, counted + count)?;
        }
        if let Some(target) = map.get("$ref").and_then(Value::as_str) {
            if self.path.len() == json::DEPTH_MAX {
                return Err(format!("`$ref` leads through more than {} others", json::DEPTH_MAX));
            }
            if !self.path.insert(target) {
                return Err(format!("`$ref` {} leads back to itself", cut(target)));
            }
            let pointer = target.strip_prefix('#').unwrap_or(target);
            let inner = self.root.pointer(pointer);
            let inner = inner.ok_or_else(|| format!("`$ref` {} leads nowhere", cut(target)))?;
            count += self.here(inner, counted + count)?;
            self.path.remove(target);
        }
        Ok(count)
    }
}

/// The subschemas that are applied to the same value, not to a part of it.
pub(crate) fn in_place(map: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let lists = ["allOf", "anyOf", "oneOf"]
        .into_iter()
        .filter_map(|name| map.get(name)?.as_array())
        .flatten();
    let single = ["not", "if", "then", "else"].into_iter().filter_map(|name| map.get(name));
    let by_name = map
        .get("dependentSchemas")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|map| map.values());
    lists.chain(single).chain(by_name)
}
