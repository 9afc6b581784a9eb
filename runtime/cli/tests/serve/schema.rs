//! What somebody else's tool makes of the document, against the service itself.

use std::{path::Path, process::Command};

use serde_json::json;

use crate::service::Service;

#[test]
#[ignore = "needs schemathesis, which `cargo xtask schemathesis` installs"]
fn schemathesis_finds_no_server_error_and_no_undocumented_answer() {
    let service = Service::new();
    let (_, key) = service.key("acme", "ann", "admin");
    let ann = service.client("acme", "ann", "run,read");
    // Something to find.
    ann.post("/v1/sessions", json!({ "agent": "greeter", "input": "Greet." })).expect(201);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let program = root.join("target/schemathesis/bin/schemathesis");
    // A stream does not end by itself, so it is asked for in its own tests.
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
         response_headers_conformance,response_schema_conformance,ignored_auth,unsupported_method";
    let output = Command::new(&program)
        .current_dir(service.path(""))
        .args(["run", &format!("http://{}/v1/openapi.json", service.address())])
        .args(["--header", &format!("Authorization: Bearer {key}")])
        .args(["--checks", checks, "--exclude-operation-id", "session-events"])
        .args(["--exclude-operation-id", "tenant-events", "--max-examples", "25", "--seed", "1"])
        .args(["--generation-deterministic", "--no-color", "--suppress-health-check", "all"])
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{errors}");
    service.nobody().get("/readyz").expect(200);
}
