//! Running other programs: every one is shown before it starts, and a failure names it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The folder of the root `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    // This crate lies one folder below the root.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate's folder has a parent")
}

/// The cargo that started this program, in the root folder.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    program(cargo_path(), arguments)
}

/// Cargo says its own path to what it runs.
pub(crate) fn cargo_path() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Any program, in the root folder.
pub(crate) fn program<'a>(
    program: impl Into<OsString>,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Command {
    let mut command = Command::new(program.into());
    command.args(arguments).current_dir(root());
    command
}

/// Shows the command, runs it with this terminal, and fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs the command quietly and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({})\n{}", output.status, said.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed no text"))
}

/// Whether the program is there: it starts and ends well with these arguments.
pub(crate) fn answers<'a>(
    name: impl Into<OsString>,
    arguments: impl IntoIterator<Item = &'a str>,
) -> bool {
    program(name, arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// SQLite and the TLS provider are C: without a compiler the build ends far away with a long error.
pub(crate) fn c_compiler() -> Result<()> {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    // The variable may hold a launcher and arguments: `ccache gcc`.
    let mut words = compiler.split_whitespace();
    let name = words.next().unwrap_or("cc");
    if !answers(name, words.chain(["--version"])) {
        bail!("no C compiler: `{compiler}` does not run. Install gcc or clang, or name one in CC");
    }
    Ok(())
}

/// Where the compiler in use keeps its libraries.
pub(crate) fn sysroot() -> Result<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = output(&mut program(rustc, ["--print", "sysroot"]))?;
    Ok(PathBuf::from(printed.trim_end()))
}

/// Prints a heading, does the work, and prints how long it took.
pub(crate) fn part(title: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("== {title}");
    let start = Instant::now();
    let done = work().with_context(|| title.to_owned());
    let end = if done.is_ok() { "done" } else { "FAILED" };
    eprintln!("== {title}: {end} in {}\n", elapsed(start.elapsed()));
    done
}

fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}m{:02}s", seconds / 60, seconds % 60)
}

fn show(command: &Command) -> String {
    // The full path of cargo says nothing that its name does not.
    let program = Path::new(command.get_program());
    let program = program.file_stem().unwrap_or(program.as_os_str());
    let mut words = vec![program.to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_program() {
        let error = run(&mut program("no-such-program", ["--there"])).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `no-such-program --there`");
        let error = run(&mut cargo(["no-such-verb"])).unwrap_err();
        assert!(error.to_string().starts_with("`cargo no-such-verb` failed"), "{error}");
    }

    #[test]
    fn time_is_read_at_a_glance() {
        assert_eq!(elapsed(Duration::from_millis(61_900)), "1m01s");
    }
}
