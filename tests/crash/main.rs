//! The program, killed with SIGKILL at random moments of a busy run, and started again until the run
//! is over: what was shown is in the journal, what must not happen twice did not, and nothing happened
//! that the journal does not know. `crash [--runs N] [--seed N]`: so many kills.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod chance;
mod check;
mod lane;
mod life;
mod world;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

/// How many kills where nobody says: what CI has time for.
const RUNS: u32 = 200;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((verb, rest)) if verb == "resume" => life::resume(rest),
        _ => start(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crash: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &[String]) -> Result<()> {
    let (mut runs, mut seed) = (RUNS, None);
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { bail!("`{}` needs a number", pair.join(" ")) };
        let number: u64 = value.parse().with_context(|| format!("{name} {value}"))?;
        match name.as_str() {
            "--runs" => runs = u32::try_from(number).context("so many runs take too long")?,
            "--seed" => seed = Some(number),
            _ => bail!("unknown `{name}`; there are --runs N and --seed N"),
        }
    }
    let seed = seed.map_or_else(chance::fresh_seed, Ok)?;
    let lanes = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    println!("{runs} kills from seed {seed}, {lanes} at a time");
    let share = |lane: u32| runs / lanes + u32::from(lane < runs % lanes);
    let ends: Vec<Result<lane::Tally>> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes)
            .map(|lane| scope.spawn(move || lane::run(share(lane), seed + u64::from(lane))))
            .collect();
        lanes
            .into_iter()
            .map(|lane| lane.join().unwrap_or_else(|_| bail!("a lane panicked")))
            .collect()
    });
    let again = || format!("`cargo xtask crash --runs {runs} --seed {seed}` tries it again");
    let mut all = lane::Tally::default();
    for end in ends {
        all += end.with_context(again)?;
    }
    println!("{all}");
    Ok(())
}
