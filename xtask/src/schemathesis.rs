//! `schemathesis`: somebody else's tool asks the service everything that its document allows, and much that
//! it does not, and looks for answers that are not in it.

use anyhow::Result;

use crate::command::{program, root, run};
use crate::test;

/// The version whose verdict is known.
const PACKAGE: &str = "schemathesis==4.32.5";

pub(crate) fn schemathesis() -> Result<()> {
    let folder = root().join("target/schemathesis");
    let python = folder.join("bin/python");
    if !python.exists() {
        run(program("python3", ["-m", "venv"]).arg(&folder))?;
    }
    run(&mut program(python, ["-m", "pip", "install", "--quiet", PACKAGE]))?;
    // A test like any other, apart from that it needs this.
    let chosen = ["--run-ignored", "only", "-E", "test(schemathesis)"];
    test::test(&chosen.map(str::to_owned))
}
