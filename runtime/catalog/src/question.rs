//! What a tool asks a person: its schema is looked at when it asks, the answer when somebody gives it.

use serde_json::Value;

use crate::schema;

/// The types a property of an answer can have: what a form or a terminal can ask for.
const PRIMITIVES: [&str; 4] = ["string", "number", "integer", "boolean"];

/// Whether people can be asked for what a schema describes: a flat object of primitive properties.
///
/// # Errors
/// Why not, in words.
pub fn check_question(schema: &Value) -> Result<(), String> {
    if !schema::is_object_schema(schema) {
        return Err("the schema of its answer describes no object".to_owned());
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let kind = property.get("type").and_then(Value::as_str);
        let is_choice = property.get("enum").is_some() || property.get("const").is_some();
        if !is_choice && !kind.is_some_and(|kind| PRIMITIVES.contains(&kind)) {
            return Err(format!("`{name}` of its answer is none of {}", PRIMITIVES.join(", ")));
        }
    }
    schema::compile(schema).map(drop)
}

/// Whether an answer fits the question's schema.
///
/// # Errors
/// What is wrong, and where.
pub fn check_answer(schema: &Value, answer: &Value) -> Result<(), String> {
    let validator = schema::compile(schema)?;
    match validator.iter_errors(answer).next() {
        None => Ok(()),
        Some(error) => {
            let at = error.instance_path().to_string();
            let at = if at.is_empty() { "the answer".to_owned() } else { format!("`{at}`") };
            Err(format!("{at}: {}", schema::message(&error)))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_are_asked_for_flat_objects() {
        let check = |schema: Value, usable: bool| {
            assert_eq!(check_question(&schema).is_ok(), usable, "{schema}");
        };
        let object = |property: Value| json!({ "type": "object", "properties": { "a": property } });
        check(json!({ "type": "object" }), true);
        check(object(json!({ "type": "boolean" })), true);
        check(object(json!({ "enum": ["red", "green"] })), true);
        check(object(json!({ "type": "object" })), false);
        check(object(json!({ "type": "array" })), false);
        check(object(json!({})), false);
        check(json!({ "type": "string" }), false);
        check(json!({}), false);
    }

    #[test]
    fn an_answer_fits_or_is_told_where_it_does_not() {
        let schema = json!({
            "type": "object",
            "properties": { "delete": { "type": "boolean" } },
            "required": ["delete"],
        });
        assert_eq!(check_answer(&schema, &json!({ "delete": true })), Ok(()));
        for (answer, place) in [(json!({ "delete": 1 }), "`/delete`"), (json!({}), "the answer")] {
            let error = check_answer(&schema, &answer).unwrap_err();
            assert!(error.starts_with(place), "{error}");
        }
    }
}
