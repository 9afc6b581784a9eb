//! `crash`: the program killed over and over in the middle of its work, built for release.

use anyhow::Result;

use crate::command::{c_compiler, cargo, program, run};
use crate::guests;
use crate::metadata::Workspace;

pub(crate) fn crash(arguments: &[String]) -> Result<()> {
    c_compiler()?;
    guests::guests()?;
    let package = ["--package", "ringfence-tests", "--bin", "crash"];
    let ringfence = ["--package", "ringfence-cli", "--bin", "ringfence"];
    run(cargo(["build", "--release"]).args(package).args(ringfence))?;
    let crash = Workspace::load()?.target.join("release/crash");
    run(&mut program(crash, arguments.iter().map(String::as_str)))
}
