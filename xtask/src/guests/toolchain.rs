//! Finds a compiler for guests: the target that is installed, else rustup's, else Debian's. It says
//! which of the three it took.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use super::TARGET;
use super::debian::{self, Debian};
use crate::command::{answers, cargo, program, run, sysroot};
use crate::metadata::Workspace;

/// The variable that chooses where the target comes from, instead of the first that works.
const CHOICE: &str = "RINGFENCE_GUEST_TOOLCHAIN";

/// What compiles guests.
pub(super) enum Toolchain {
    /// The compiler of the host, with the target's standard library from rustup.
    Rustup,
    /// Debian's packages, unpacked below the target folder.
    Debian(Debian),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    FirstThatWorks,
    Rustup,
    Debian,
}

/// Finds a compiler, and installs one if there is none.
pub(super) fn find() -> Result<Toolchain> {
    let choice = choice(env::var(CHOICE).ok().as_deref())?;
    if choice == Choice::Debian {
        return fallback();
    }
    if installed()? {
        eprintln!("guest toolchain: {TARGET} is installed");
        return Ok(Toolchain::Rustup);
    }
    let added = run(&mut program("rustup", ["target", "add", TARGET]));
    match added {
        Ok(()) => {
            if !installed()? {
                bail!("rustup added {TARGET} to another toolchain than the one in use");
            }
            eprintln!("guest toolchain: {TARGET}, added by rustup");
            Ok(Toolchain::Rustup)
        }
        Err(error) if choice == Choice::Rustup => Err(error),
        Err(error) => {
            eprintln!("guest toolchain: {TARGET} is missing and rustup cannot add it: {error:#}");
            fallback()
        }
    }
}

fn fallback() -> Result<Toolchain> {
    let debian = Debian::unpack()?;
    eprintln!(
        "guest toolchain: Debian's packages in {}; these guests go through the preview-1 adapter, \
         are larger and are slower",
        debian::folder().display()
    );
    Ok(Toolchain::Debian(debian))
}

fn choice(variable: Option<&str>) -> Result<Choice> {
    match variable {
        None | Some("") => Ok(Choice::FirstThatWorks),
        Some("rustup") => Ok(Choice::Rustup),
        Some("debian") => Ok(Choice::Debian),
        Some(other) => bail!("{CHOICE}={other}: it is `rustup` or `debian`"),
    }
}

/// The standard library itself is looked for: a compiler that rustup did not install has no other
/// way to tell.
fn installed() -> Result<bool> {
    Ok(sysroot()?.join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

impl Toolchain {
    /// `cargo build` with this compiler.
    pub(super) fn cargo(&self) -> Command {
        match self {
            Self::Rustup => cargo(["build"]),
            Self::Debian(debian) => debian.cargo(),
        }
    }

    /// Whether this is the last resort, which not every guest builds with.
    pub(super) fn is_fallback(&self) -> bool {
        matches!(self, Self::Debian(_))
    }

    /// Where that build ends up.
    pub(super) fn target_folder(&self, workspace: &Workspace) -> PathBuf {
        match self {
            Self::Rustup => workspace.target.clone(),
            Self::Debian(_) => debian::target_folder(),
        }
    }
}

/// Whether every one of these programs is there; an error that names the missing.
pub(super) fn require(programs: &[&str]) -> Result<()> {
    let missing: Vec<&str> =
        programs.iter().copied().filter(|name| !answers(name, ["--version"])).collect();
    if !missing.is_empty() {
        bail!("no way to compile guests on this machine: it has no {}", missing.join(", no "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_one_of_two_words() {
        assert_eq!(choice(None).unwrap(), Choice::FirstThatWorks);
        assert_eq!(choice(Some("debian")).unwrap(), Choice::Debian);
        assert!(choice(Some("Debian")).is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = require(&["no-such-program", "nor-this"]).unwrap_err().to_string();
        assert!(error.ends_with("it has no no-such-program, no nor-this"), "{error}");
    }
}
