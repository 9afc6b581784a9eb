//! `generate`: the code in the tree that a program writes, written again; it fails when what was
//! there was out of date, so that nobody edits it by hand.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command::{answers, cargo, program, root, run};

/// The version that `wit-bindgen` in the root manifest belongs to: generated code and its runtime
/// are made for each other.
const WIT_BINDGEN: &str = "0.63.0";

/// What writes [`BINDINGS`]. The contract comes first, because the SDK's world is made of it.
const ARGUMENTS: &[&str] = &[
    "rust",
    "wit",
    "sdk/rust/wit",
    "--world",
    "ringfence:sdk/bindings",
    "--generate-all",
    "--format",
    "--out-dir",
    "sdk/rust/src",
    "--default-bindings-module",
    "ringfence_sdk::bindings",
    "--export-macro-name",
    "export_tools",
    "--pub-export-macro",
];

const BINDINGS: &str = "sdk/rust/src/bindings.rs";

pub(crate) fn generate() -> Result<()> {
    run(&mut program(wit_bindgen()?, ARGUMENTS.iter().copied()))?;
    run(&mut program("git", ["diff", "--exit-code", "--", BINDINGS])).with_context(|| {
        format!("{BINDINGS} was not what wit/ says; it has been written again: commit it")
    })
}

/// The path of the generator, installed when it is not there in this version.
fn wit_bindgen() -> Result<PathBuf> {
    let tools = root().join("target/tools");
    let installed = tools.join("bin/wit-bindgen");
    let stamp = tools.join(format!("wit-bindgen-{WIT_BINDGEN}"));
    if !(stamp.exists() && answers(&installed, ["--version"])) {
        eprintln!("wit-bindgen {WIT_BINDGEN} is not in target/tools: installing it, once");
        let install = ["install", "wit-bindgen-cli", "--locked", "--version", WIT_BINDGEN];
        run(cargo(install)
            .args(["--no-default-features", "--features", "rust", "--root"])
            .arg(&tools))?;
        std::fs::write(&stamp, "").with_context(|| stamp.display().to_string())?;
    }
    Ok(installed)
}
