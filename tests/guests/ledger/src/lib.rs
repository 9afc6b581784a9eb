//! Leaves a line behind for each time that it did something, with the key of the call: whoever reads
//! the files counts what happened, whatever became of the host meanwhile.

use std::fs::File;
use std::io::Write as _;

use ringfence_sdk::context;
use ringfence_sdk::prelude::*;

/// The root of the files, one an effect: calls of one step run at the same time, and where two of them
/// append to one file, one may write over the other.
const ROOT: &str = "/workspace";

#[derive(Deserialize, JsonSchema)]
struct Entry {
    /// What the line is about.
    what: String,
}

/// Writes a line that may be there twice, under the same key.
#[tool(effect = "idempotent")]
fn note(args: Entry) -> Result<String> {
    append("idempotent", &args)
}

/// Writes a line that must not be there twice.
#[tool(effect = "unsafe")]
fn pay(args: Entry) -> Result<String> {
    append("unsafe", &args)
}

/// Counts the lines that may be there twice.
#[tool(effect = "read")]
fn count(_: Nothing) -> Result<String> {
    let text = std::fs::read_to_string(format!("{ROOT}/idempotent.txt")).unwrap_or_default();
    Ok(format!("{} lines", text.lines().count()))
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

/// One line in one piece: a host that dies leaves it whole or not at all.
fn append(effect: &str, entry: &Entry) -> Result<String> {
    let line = format!("{effect} {} {}\n", context::idempotency_key(), entry.what);
    let path = format!("{ROOT}/{effect}.txt");
    let failed = |error: std::io::Error| Error::failed(format!("{path}: {error}"));
    let mut file = File::options().append(true).create(true).open(&path).map_err(failed)?;
    file.write_all(line.as_bytes()).map_err(failed)?;
    Ok(line)
}

ringfence_sdk::export!(note, pay, count);
