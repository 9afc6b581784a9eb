//! `ci`: every check and every test, the quick ones first; the first failure ends it.

use std::time::Instant;

use anyhow::Result;

use crate::command::part;
use crate::{check, deny, generate, test};

pub(crate) fn ci() -> Result<()> {
    let start = Instant::now();
    part("format", check::fmt_check)?;
    part("dependencies", deny::deny)?;
    part("generated code", generate::generate)?;
    part("clippy", check::clippy)?;
    part("documentation", check::doc)?;
    part("tests", || test::test(&[]))?;
    eprintln!("== all passed in {} minutes", start.elapsed().as_secs().div_ceil(60));
    Ok(())
}
