//! More and more of one thing: what the limits are tried on.

use std::io::Write as _;

use ringfence_sdk::prelude::*;
use ringfence_sdk::{context, log};
use wasip2::random::random;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Flood {
    what: What,
    /// How much, in bytes.
    bytes: usize,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum What {
    Stdout,
    Stderr,
    Log,
    Progress,
    Emit,
    Output,
    Structured,
    Random,
    Insecure,
    Memory,
}

/// The most that goes into one host call.
const PIECE: usize = 1 << 10;

/// Makes so much of it.
#[tool(effect = "pure")]
pub(crate) fn flood(args: Flood) -> Result<Output> {
    let pieces = || {
        let whole = std::iter::repeat_n(PIECE, args.bytes / PIECE);
        whole.chain((!args.bytes.is_multiple_of(PIECE)).then_some(args.bytes % PIECE))
    };
    match args.what {
        What::Stdout => {
            let mut stdout = std::io::stdout().lock();
            for piece in pieces() {
                // Its newline is part of the piece.
                stdout.write_all("x".repeat(piece - 1).as_bytes())?;
                stdout.write_all(b"\n")?;
            }
        }
        What::Stderr => {
            for piece in pieces() {
                std::io::stderr().write_all("x".repeat(piece).as_bytes())?;
            }
        }
        What::Log => pieces().for_each(|piece| log::info("x".repeat(piece))),
        What::Progress => {
            pieces().for_each(|piece| context::progress_with(1, 2, &"x".repeat(piece)));
        }
        What::Emit => {
            pieces().for_each(|piece| {
                context::emit(ringfence_sdk::Content::Text("x".repeat(piece)));
            });
            return Ok(Output::new());
        }
        What::Output => return Ok(Output::new().text("x".repeat(args.bytes))),
        What::Structured => {
            // A JSON string: the two quotes count.
            let text = "x".repeat(args.bytes - 2);
            return Ok(Output::new().structured(text.into()));
        }
        What::Random => pieces().for_each(|piece| drop(random::get_random_bytes(piece as u64))),
        What::Insecure => {
            let draw = wasip2::random::insecure::get_insecure_random_bytes;
            pieces().for_each(|piece| drop(draw(piece as u64)));
        }
        What::Memory => {
            let mut held: Vec<Vec<u8>> = Vec::new();
            // By the page, so that what is held grows as slowly as memory does.
            for _ in 0..args.bytes / (64 << 10) {
                held.push(std::hint::black_box(vec![1; 64 << 10]));
            }
        }
    }
    Ok(Output::new().text("done"))
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Print {
    /// Standard error instead of standard output.
    #[serde(default)]
    error: bool,
    /// Bytes, each part with a write of its own.
    parts: Vec<Vec<u8>>,
    /// How often all of it.
    #[serde(default = "once")]
    times: usize,
}

fn once() -> usize {
    1
}

/// Prints bytes as they are.
#[tool(effect = "pure")]
pub(crate) fn print(args: Print) -> Result<String> {
    let (stdout, stderr) = (wasip2::cli::stdout::get_stdout(), wasip2::cli::stderr::get_stderr());
    let stream = if args.error { stderr } else { stdout };
    for part in (0..args.times).flat_map(|_| &args.parts) {
        // The contract takes no more at once.
        for piece in part.chunks(4096) {
            let written = stream.blocking_write_and_flush(piece);
            written.map_err(|error| Error::failed(format!("{error:?}")))?;
        }
    }
    Ok("printed".to_owned())
}
