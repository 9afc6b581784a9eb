//! JSON Schemas as a model and a host like them: draft 2020-12, nothing but what the arguments
//! need, and no key that the type does not have.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

/// The schema of a function's arguments, or why they cannot be arguments.
pub(crate) fn of_arguments<T: JsonSchema>() -> Result<Value, String> {
    let settings = settings().for_deserialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    forbid_unknown_keys(&mut schema);
    if schema.get("type") != Some(&json!("object")) {
        return Err("its arguments are not an object: take a struct with named fields".to_owned());
    }
    Ok(schema.to_value())
}

/// The schema of a structured result.
pub(crate) fn of_output<T: JsonSchema>() -> Value {
    settings().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.meta_schema = None;
            settings.inline_subschemas = true;
        })
        .with_transform(RecursiveTransform(remove_noise))
}

/// A type's name says nothing to a model, and `format: uint32` is no format of the standard: some
/// vendors refuse a schema that has it.
fn remove_noise(schema: &mut Schema) {
    schema.remove("title");
    let is_number = |format: &str| {
        ["int", "uint", "float", "double"].iter().any(|kind| format.starts_with(kind))
    };
    if schema.get("format").and_then(Value::as_str).is_some_and(is_number) {
        schema.remove("format");
    }
}

fn forbid_unknown_keys(schema: &mut Schema) {
    let is_struct =
        schema.get("properties").is_some() || schema.get("type") == Some(&json!("object"));
    // An object behind `allOf` sees its neighbours' keys as unknown ones.
    if is_struct && schema.get("additionalProperties").is_none() && schema.get("allOf").is_none() {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
    transform_subschemas(&mut forbid_unknown_keys, schema);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only their schema is looked at")]
    struct Find {
        /// What to look for.
        pattern: String,
        /// At most so many.
        count_max: Option<u32>,
        #[serde(default)]
        range: Range,
    }

    #[derive(Default, Deserialize, serde::Serialize, JsonSchema)]
    struct Range {
        start: u64,
    }

    #[test]
    fn a_schema_says_what_the_type_says() {
        let schema = of_arguments::<Find>().expect("a struct");
        assert_eq!(
            schema,
            json!({
                "type": "object",
                "properties": {
                    "pattern": {"type": "string", "description": "What to look for."},
                    "count_max": {
                        "type": ["integer", "null"],
                        "minimum": 0,
                        "description": "At most so many."
                    },
                    "range": {
                        "type": "object",
                        "properties": {"start": {"type": "integer", "minimum": 0}},
                        "required": ["start"],
                        "additionalProperties": false,
                        "default": {"start": 0}
                    }
                },
                "required": ["pattern"],
                "additionalProperties": false
            })
        );
    }

    #[test]
    fn arguments_are_an_object() {
        let check =
            |found: Result<Value, String>, ok: bool| assert_eq!(found.is_ok(), ok, "{found:?}");
        check(of_arguments::<Find>(), true);
        check(of_arguments::<crate::function::NoArguments>(), true);
        check(of_arguments::<String>(), false);
        check(of_arguments::<Vec<Find>>(), false);
        check(of_arguments::<()>(), false);
    }
}
