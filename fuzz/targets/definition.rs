//! What a component says about itself, and what a model says to it: definitions are checked or
//! refused, arguments fit their schema or a failure says why, and all of it can be shown.
#![no_main]

use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use ringfence_catalog::{RawDefinition, describe};
use ringfence_event::Effect;
use ringfence_policy::Manifest;

#[derive(Arbitrary, Debug)]
struct Said {
    name: Option<String>,
    title: Option<String>,
    description: String,
    /// What follows `{"type":"object"`, or all of it.
    input_schema: (bool, String),
    output_schema: Option<String>,
    arguments: Vec<String>,
}

fuzz_target!(|said: Said| {
    let manifest = Manifest::bare("tool".parse().expect("a name"));
    let (wrapped, schema) = said.input_schema;
    let raw = RawDefinition {
        name: said.name.unwrap_or_else(|| "f".to_owned()),
        title: said.title,
        description: said.description,
        input_schema: if wrapped { format!("{{\"type\":\"object\"{schema}}}") } else { schema },
        output_schema: said.output_schema,
        effect: Effect::Pure,
    };
    let described = match describe(&manifest, vec![raw]) {
        Ok(described) => described,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for warning in &described.warnings {
        assert!(!warning.to_string().is_empty());
    }
    for function in &described.functions {
        for arguments in said.arguments.iter().take(8) {
            match function.check_arguments(arguments) {
                Ok(value) => {
                    let text = value.to_string();
                    assert_eq!(function.check_arguments(&text), Ok(value), "{text}");
                }
                Err(failure) => {
                    let shown = failure.message.chars().count();
                    assert!(shown > 0 && shown < 4_000, "{shown}");
                }
            }
        }
    }
});
