//! Ways not to come back, or to come back badly.

use std::hint::black_box;

use ringfence_sdk::http::{Method, Request};
use ringfence_sdk::prelude::*;
use wasip2::clocks::monotonic_clock;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Hold {
    how: How,
    /// Of whatever it is: milliseconds, MiB, handles, an exit code.
    #[serde(default)]
    count: u64,
    /// What is asked for over and over.
    #[serde(default)]
    url: String,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum How {
    Sleep,
    PollNothing,
    Spin,
    Fill,
    Copy,
    HostCalls,
    Panic,
    Exit,
    ExitWell,
    Recurse,
    Abort,
    Handles,
    Pollables,
    Mark,
    MarkAndPanic,
    Search,
    Grow,
    Files,
    Fetch,
}

/// Holds on to something, or fails in one of the ways of a program.
#[tool(effect = "read")]
pub(crate) fn hold(args: Hold) -> Result<String> {
    let count = args.count as usize;
    // Whoever listens knows from here on that the call runs.
    ringfence_sdk::log::info("holding");
    match args.how {
        How::Sleep => monotonic_clock::subscribe_duration(args.count * 1_000_000).block(),
        How::PollNothing => monotonic_clock::subscribe_instant(u64::MAX).block(),
        How::Spin => while black_box(true) {},
        How::Fill => {
            let mut memory = vec![0_u8; count << 20];
            for turn in 0_u8.. {
                memory.fill(black_box(turn));
                if turn == u8::MAX {
                    break;
                }
            }
            black_box(&memory);
        }
        How::Copy => {
            let mut memory = vec![0_u8; count << 20];
            let half = memory.len() / 2;
            for _ in 0..1_000 {
                memory.copy_within(..half, half);
                black_box(&memory);
            }
        }
        How::HostCalls => {
            while black_box(true) {
                black_box(monotonic_clock::now());
            }
        }
        How::Grow => {
            let mut held: Vec<Vec<u8>> = Vec::new();
            while black_box(true) {
                // By the page, and from the beginning once it is enough.
                let pages = held.len() % (count << 4).max(1);
                held.resize(pages, Vec::new());
                held.push(black_box(vec![1; 64 << 10]));
            }
        }
        How::Files => loop {
            let failed = |error: std::io::Error| Error::failed(error.to_string());
            black_box(std::fs::read("/workspace/a.txt").map_err(failed)?);
        },
        How::Fetch => loop {
            let asked = Request::new(Method::Get, args.url.as_str()).send();
            black_box(asked.map_err(|error| Error::failed(error.to_string()))?.status);
        },
        How::Mark => return Ok(marked(count, Some(MARK)).to_string()),
        How::MarkAndPanic => panic!("{} words are marked", marked(count, Some(MARK))),
        How::Search => return Ok(marked(count, None).to_string()),
        How::Panic => panic!("the probe panics as it was told"),
        How::Exit => {
            eprintln!("the probe leaves");
            std::process::exit(args.count as i32);
        }
        How::ExitWell => std::process::exit(0),
        How::Recurse => return Ok(deep(args.count, 7).to_string()),
        How::Abort => std::process::abort(),
        How::Handles => {
            let root = crate::file::root("/workspace")
                .map_err(|code| Error::failed(format!("no root: {}", code.name())))?;
            let open = || {
                root.open_at(PathFlags::empty(), "a.txt", OpenFlags::empty(), DescriptorFlags::READ)
            };
            let held: Vec<_> = (0..count).map(|_| open()).collect();
            let held = held.iter().filter(|handle| handle.is_ok()).count();
            return Ok(format!("holds {held}"));
        }
        How::Pollables => {
            let wait = || monotonic_clock::subscribe_instant(u64::MAX);
            let held: Vec<_> = (0..count).map(|_| wait()).collect();
            return Ok(format!("holds {}", held.len()));
        }
    }
    Ok("done".to_owned())
}

/// What no program has in its memory by chance.
const MARK: u64 = 0xa5c3_96e1_5a3c_691e;

/// Takes so many MiB as they come, writes the mark to all of it if there is one, and says how many
/// words hold it.
fn marked(mib: usize, mark: Option<u64>) -> usize {
    let words = mib << 17;
    let layout = std::alloc::Layout::array::<u64>(words).expect("some MiB");
    // SAFETY: the block is `words` long and aligned. That it is read before it is written is the
    // point: in WebAssembly it holds something, and volatile reads keep the compiler from having an
    // opinion about what.
    #[expect(unsafe_code, reason = "see above")]
    unsafe {
        let block = std::alloc::alloc(layout).cast::<u64>();
        assert!(!block.is_null(), "there is memory");
        if let Some(mark) = mark {
            (0..words).for_each(|at| block.add(at).write_volatile(mark));
        }
        (0..words).filter(|at| block.add(*at).read_volatile() == MARK).count()
    }
}

/// Recursion that no optimiser makes a loop of, and that needs nothing but the engine's own stack.
#[inline(never)]
fn deep(depth: u64, salt: u64) -> u64 {
    if depth == 0 {
        return salt;
    }
    deep(depth - 1, salt ^ depth).wrapping_mul(3) ^ depth
}
