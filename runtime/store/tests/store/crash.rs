//! Killed in the middle: what was acknowledged is there, what was not is there whole or not at
//! all.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use ringfence_event::{Body, Stream, TenantId};
use ringfence_store::{Batch, Error, MemoryChange, MemoryWrite, Store};

use ringfence_store::kit::{append, bucket, id, said, seqs};

/// Names the store to the process that is to be killed. This file runs itself.
const STORE: &str = "RINGFENCE_TEST_CRASH_STORE";

/// Three events a batch, one of them with a blob, and a counter in memory.
pub(crate) fn write_one(store: &Store, round: u64) -> Result<(), Error> {
    let long = format!("{round} {}", "long ".repeat(2_000));
    let append = append(&TenantId::local(), &id(1), vec![said("a"), said(&long), said("b")]);
    let memory = vec![MemoryWrite {
        bucket: bucket("local", "ann"),
        key: "rounds".into(),
        change: MemoryChange::Increment(1),
    }];
    let batch = Batch { appends: vec![append], memory, ..Batch::default() };
    store.commit_blocking(batch).map(drop)
}

#[test]
#[ignore = "the process that is killed; started by the test below"]
fn writes_until_killed() {
    let path = env::var_os(STORE).expect("only the test below starts this");
    let store = Store::open(Path::new(&path)).unwrap();
    let mut out = std::io::stdout();
    for round in 0.. {
        write_one(&store, round).unwrap();
        writeln!(out, "\nacknowledged").unwrap();
    }
}

#[test]
fn d1_a_killed_process_leaves_no_half_batch() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    let mut acknowledged = 0;
    // Each round goes on with the store that the last one left behind.
    for kill_after in [0, 1, 2, 3, 5, 8, 13, 150] {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "crash::writes_until_killed", "--ignored", "--nocapture"])
            .env(STORE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut here = 0;
        for line in lines.map_while(Result::ok) {
            if line == "acknowledged" {
                here += 1;
            }
            if here == kill_after {
                // Lines that are still in the pipe count as well.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        acknowledged += here;
        acknowledged = check(&path, acknowledged);
    }
}

/// The rounds that are there, all of them whole.
pub(crate) fn check(path: &Path, acknowledged: u64) -> u64 {
    let store = Store::open(path).unwrap();
    let stream = Stream::Session(id(1));
    let events = store.read(&TenantId::local(), &stream, 1, u32::MAX).unwrap();
    let rounds = events.len() as u64 / 3;
    assert_eq!(seqs(&events), (1..=rounds * 3).collect::<Vec<u64>>());
    assert!((acknowledged..=acknowledged + 1).contains(&rounds), "{acknowledged}, {rounds}");
    for whole in events.chunks(3) {
        let text = |n: usize| match &whole[n].body {
            Body::MessageAdded { text, .. } => text.as_str(),
            other => panic!("{other:?}"),
        };
        assert_eq!((text(0), text(1).len() > 10_000, text(2)), ("a", true, "b"));
    }
    let counted = store.memory_get(&bucket("local", "ann"), "rounds").unwrap();
    assert_eq!(counted.unwrap_or(b"0".to_vec()), rounds.to_string().as_bytes());
    rounds
}
