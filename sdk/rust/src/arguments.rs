//! From the JSON of a call to the struct of a function. The host has checked it against the schema;
//! what a schema cannot say shows here.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use crate::error::{Error, Result};

pub(crate) fn parse<T: DeserializeOwned>(json: &str) -> Result<T> {
    let mut unknown: Option<String> = None;
    let mut note = |path: serde_ignored::Path<'_>| {
        unknown.get_or_insert_with(|| ignored_pointer(&path));
    };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let arguments = serde_path_to_error::deserialize(serde_ignored::Deserializer::new(
        &mut deserializer,
        &mut note,
    ))
    .map_err(|error| {
        let path = pointer(error.path());
        Error::invalid_input(without_position(error.inner())).at(path)
    })?;
    match unknown {
        None => Ok(arguments),
        Some(path) => {
            Err(Error::invalid_input("the function has no such argument: leave it out").at(path))
        }
    }
}

/// Line and column are of no use to a model, which wrote an object and not lines.
fn without_position(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message,
    }
}

/// RFC 6901.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => push(&mut pointer, &index.to_string()),
            Segment::Map { key } => push(&mut pointer, key),
            // A variant's name is no step in the JSON, and what is unknown has no name.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

fn ignored_pointer(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => ignored_pointer(parent) + "/" + &index.to_string(),
        Path::Map { parent, key } => {
            let mut pointer = ignored_pointer(parent);
            push(&mut pointer, key);
            pointer
        }
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => ignored_pointer(parent),
    }
}

fn push(pointer: &mut String, step: &str) {
    pointer.push('/');
    for c in step.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}
