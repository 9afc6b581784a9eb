//! `fmt`, `lint` and `doc`: what rustfmt, clippy and rustdoc have to say.

use anyhow::Result;

use crate::command::{cargo, run};

pub(crate) fn fmt() -> Result<()> {
    run(&mut cargo(["fmt", "--all"]))
}

pub(crate) fn fmt_check() -> Result<()> {
    run(&mut cargo(["fmt", "--all", "--check"]))
}

pub(crate) fn clippy() -> Result<()> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    run(&mut cargo(arguments))
}

pub(crate) fn lint() -> Result<()> {
    fmt_check()?;
    clippy()
}

pub(crate) fn doc() -> Result<()> {
    // Through the environment, because flags in `.cargo/config.toml` would hold for every build.
    run(cargo(["doc", "--no-deps", "--workspace"]).env("RUSTDOCFLAGS", "-D warnings"))
}
