//! What is checked in is what the code says. `INSTA_UPDATE=always` writes it anew.

#![forbid(unsafe_code)]

use std::{fs, path::Path};

#[track_caller]
fn check(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        fs::write(&path, expected).expect("it can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{file} is not what the code says: INSTA_UPDATE=always writes it");
}

#[test]
fn the_openapi_document_is_what_the_code_says() {
    check("openapi.json", &ringfence_server::openapi());
}

#[test]
fn the_schema_of_the_operators_file_is_what_the_code_says() {
    check("ringfence.schema.json", &ringfence_server::config_schema());
}

/// Every operation has a name of its own, an answer, and the errors that all have.
#[test]
fn every_operation_is_described() {
    let document: serde_json::Value = serde_json::from_str(&ringfence_server::openapi()).unwrap();
    let mut names = std::collections::BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name}");
            let responses = operation["responses"].as_object().unwrap();
            let good = responses.keys().filter(|status| status.starts_with('2'));
            assert!(good.count() > 0, "{method} {path}");
            for status in ["401", "403", "500", "503"] {
                let content = &responses[status]["content"];
                assert!(
                    content["application/problem+json"].is_object(),
                    "{method} {path} {status}"
                );
            }
            for status in ["429", "503"] {
                let header = &responses[status]["headers"]["retry-after"];
                assert!(header.is_object(), "{method} {path} {status}");
            }
            // Each page of a list may be asked for with a cursor that is none.
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let has_cursor = parameters.clone().any(|parameter| parameter["name"] == "cursor");
            let said = responses["400"]["description"].as_str().unwrap();
            assert_eq!(has_cursor, said.contains("bad-cursor"), "{method} {path}");
            let named = path.matches('{').count();
            let given = parameters.filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(named, given, "{method} {path}");
        }
    }
    assert!(names.len() > 25, "{names:?}");
}
