//! One priced act over and over: what the benchmark divides.

use std::hint::black_box;

use ringfence_sdk::log;
use ringfence_sdk::memory as buckets;
use ringfence_sdk::prelude::*;
use wasip2::clocks::monotonic_clock;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};
use wasip2::random::random;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Repeat {
    act: Act,
    times: u64,
    /// Bytes of one act, where it has bytes.
    #[serde(default)]
    bytes: u64,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Act {
    /// Arithmetic on registers.
    Compute,
    /// Arithmetic on memory.
    Touch,
    HostCall,
    FileStat,
    FileRead,
    FileWrite,
    PathStat,
    PathOpen,
    Entry,
    Sync,
    Random,
    Log,
    BucketGet,
}

/// Does it so many times.
#[tool(effect = "unsafe")]
pub(crate) fn repeat(args: Repeat) -> Result<String> {
    let failed = |code: ErrorCode| Error::failed(code.name());
    let open = |name: &str, flags| {
        let root = crate::file::root("/workspace").map_err(failed)?;
        root.open_at(PathFlags::empty(), name, OpenFlags::empty(), flags).map_err(failed)
    };
    let each = |act: &mut dyn FnMut() -> std::result::Result<(), ErrorCode>| {
        (0..args.times).try_for_each(|_| act()).map_err(failed)
    };
    match args.act {
        Act::Compute => {
            // A small hash: multiplications, shifts and a branch, as in a parser.
            let mut hash = black_box(0x9e37_79b9_u64);
            for turn in 0..args.times {
                hash = (hash ^ turn).wrapping_mul(0x0100_0000_01b3);
                if hash & 7 == 0 {
                    hash = hash.rotate_left(13);
                }
            }
            black_box(hash);
        }
        Act::Touch => {
            let mut table = vec![0_u32; 1 << 14];
            let mut at = 0_usize;
            for turn in 0..args.times {
                at = (at.wrapping_mul(5).wrapping_add(turn as usize)) & ((1 << 14) - 1);
                table[at] = table[at].wrapping_add(1);
            }
            black_box(&table);
        }
        Act::HostCall => (0..args.times).for_each(|_| {
            black_box(monotonic_clock::now());
        }),
        Act::FileStat => {
            let file = open("a.txt", DescriptorFlags::READ)?;
            each(&mut || file.stat().map(drop))?;
        }
        Act::FileRead => {
            let file = open("a.txt", DescriptorFlags::READ)?;
            each(&mut || file.read(args.bytes, 0).map(drop))?;
        }
        Act::FileWrite => {
            let file = open("b.txt", DescriptorFlags::WRITE)?;
            let bytes = vec![b'x'; args.bytes as usize];
            each(&mut || file.write(&bytes, 0).map(drop))?;
        }
        Act::PathStat => {
            let root = crate::file::root("/workspace").map_err(failed)?;
            each(&mut || root.stat_at(PathFlags::empty(), "a.txt").map(drop))?;
        }
        Act::PathOpen => {
            let root = crate::file::root("/workspace").map_err(failed)?;
            each(&mut || {
                let flags = (PathFlags::empty(), OpenFlags::empty(), DescriptorFlags::READ);
                root.open_at(flags.0, "a.txt", flags.1, flags.2).map(drop)
            })?;
        }
        Act::Entry => {
            let folder = open("many", DescriptorFlags::READ)?;
            let mut left = args.times;
            while left > 0 {
                left = entries(&folder, left).map_err(failed)?;
            }
        }
        Act::Sync => {
            let file = open("b.txt", DescriptorFlags::WRITE)?;
            each(&mut || file.sync_data())?;
        }
        Act::Random => (0..args.times).for_each(|_| {
            black_box(random::get_random_bytes(args.bytes));
        }),
        Act::Log => {
            let text = "x".repeat(args.bytes as usize);
            (0..args.times).for_each(|_| log::info(&text));
        }
        Act::BucketGet => {
            let bucket = buckets::open("user")?;
            for _ in 0..args.times {
                black_box(bucket.get("key")?);
            }
        }
    }
    Ok("done".to_owned())
}

/// Reads at most so many entries; how many are still to be read.
fn entries(folder: &Descriptor, mut left: u64) -> std::result::Result<u64, ErrorCode> {
    let entries = folder.read_directory()?;
    while left > 0 && entries.read_directory_entry()?.is_some() {
        left -= 1;
    }
    Ok(left)
}
