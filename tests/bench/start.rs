//! From the start of the program to its exit with the result of one call, the tool's code being
//! compiled already; beside a program that does nothing.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};

use crate::{
    measure::{interleaved, us},
    ours::root,
    table::{Bound, Table},
};

const ROUNDS: usize = 100;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let program = program()?;
    let what = "process start to result";
    if !program.exists() {
        let why = format!(
            "{} is not there: `cargo build --release -p ringfence-cli` builds it",
            program.display()
        );
        table.missing(what, &why);
        return Ok(());
    }
    let (home, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    std::fs::write(folder.path().join("a.txt"), "The quick brown fox.\n")?;
    let call = || {
        let mut call = Command::new(&program);
        call.args(["call", "--home"]).arg(home.path());
        call.arg(root().join("tools/files")).args(["read", r#"{"path":"a.txt"}"#]);
        call.arg("--fs").arg(format!("workspace={}", folder.path().display()));
        call
    };
    // The first one compiles the tool and shows that the call works.
    let first = call().output()?;
    ensure!(first.stdout.starts_with(b"The quick brown fox."), "{first:?}");
    let time = |mut command: Command| {
        let began = Instant::now();
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "it worked before");
        us(began.elapsed()) / 1_000.0
    };
    let pair = interleaved(ROUNDS, || vec![time(call())], || vec![time(Command::new("true"))]);
    table.bounded(what, pair.ours, " ms", Bound::AtMost { aim: 10.0, must: 20.0 });
    table.row("a program that does nothing", format!("{:.2} ms", pair.baseline), "for comparison");
    Ok(())
}

/// The program as it was built beside this one.
fn program() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    Ok(this.parent().context("a program lies in a folder")?.join("ringfence"))
}
