//! Asking a person before something is written.

use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::{Context as _, Result};

use crate::{failure::Usage, screen::Screen};

/// Whether it is to be done: `--yes` says so, or a person at the terminal.
///
/// # Errors
/// When there is nobody to ask.
pub(crate) fn agreed(question: &str, yes: bool, screen: &mut Screen) -> Result<bool> {
    if yes {
        return Ok(true);
    }
    if screen.json || !screen.err.is_terminal() || !io::stdin().is_terminal() {
        return Err(Usage::error("nothing was changed: there is nobody to ask, and no --yes"));
    }
    screen.err.prompt(&format!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    let agreed = matches!(answer.trim(), "y" | "Y" | "yes");
    if !agreed {
        screen.err.line("nothing was changed");
    }
    Ok(agreed)
}
