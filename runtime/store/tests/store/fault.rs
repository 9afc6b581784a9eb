//! What a disk does to the files: a log that is cut or overwritten at its end, and a byte that is another
//! one in the middle.

use std::{collections::BTreeSet, fs, path::Path};

use ringfence_event::{Digest, Stream, TenantId};
use ringfence_store::{Error, Store};

use ringfence_store::kit::{append, batch, id, said, seqs};

/// How many places are tried; more of them by this variable.
const PLACES: &str = "RINGFENCE_TEST_FAULTS";

/// Numbers that are the same each time, below `end`.
fn places(seed: &str, end: u64) -> BTreeSet<usize> {
    let count: u64 = std::env::var(PLACES).ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let place = |n: u64| {
        let digest = Digest::of(format!("{seed} {n}").as_bytes());
        u64::from_le_bytes(digest.as_bytes()[..8].try_into().unwrap()) % end
    };
    (0..count).map(|n| usize::try_from(place(n)).unwrap()).collect()
}

/// A text that is found in the file again, by session and number.
fn text(session: u8, n: u64) -> String {
    format!("{:02x}-{n:04}-{}", session, "payload ".repeat(20))
}

async fn write(store: &Store, session: u8, n: u64) {
    let append = append(&TenantId::local(), &id(session), vec![said(&text(session, n))]);
    store.commit(batch(append)).await.unwrap();
}

#[tokio::test]
async fn d3_a_torn_tail_is_cut_and_what_came_before_it_is_there() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    let log = home.path().join("ringfence.db-wal");
    let store = Store::open(&path).unwrap();
    // How long the log is with each commit in it; the log is never folded here.
    let mut ends = vec![];
    for n in 1..=30 {
        write(&store, 1, n).await;
        ends.push(fs::metadata(&log).unwrap().len());
    }
    let (file, log) = (fs::read(&path).unwrap(), fs::read(&log).unwrap());
    for at in places("tail", log.len() as u64) {
        let whole = ends.iter().filter(|end| **end <= at as u64).count() as u64;
        let mut zeroed = log.clone();
        zeroed[at..].fill(0);
        for (name, log) in [("cut", &log[..at]), ("zeroed", &zeroed)] {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("ringfence.db");
            fs::write(&path, &file).unwrap();
            fs::write(home.path().join("ringfence.db-wal"), log).unwrap();
            let store = Store::open(&path).unwrap();
            let stream = Stream::Session(id(1));
            let found = store.read(&TenantId::local(), &stream, 1, u32::MAX).unwrap();
            assert_eq!(seqs(&found), (1..=whole).collect::<Vec<u64>>(), "{name} at {at}");
            // And it goes on from there.
            write(&store, 1, whole + 1).await;
            assert_eq!(store.last_seq(&TenantId::local(), &stream).unwrap(), whole + 1);
        }
    }
}

#[tokio::test]
async fn d3_a_flipped_byte_is_found_and_keeps_nobody_else() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    {
        let store = Store::open(&path).unwrap();
        for n in 1..=20 {
            write(&store, 1, n).await;
            write(&store, 2, n).await;
        }
        let other = rusqlite::Connection::open(&path).unwrap();
        other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }
    let file = fs::read(&path).unwrap();
    let local = TenantId::local();
    let length = text(1, 1).len();
    for (round, at) in places("flip", 20 * length as u64).into_iter().enumerate() {
        let (seq, within) = (at / length + 1, at % length);
        let needle = text(1, seq as u64);
        let mut flipped = file.clone();
        // In what the database moved and has not overwritten yet, too.
        for start in find(&file, needle.as_bytes()) {
            flipped[start + within] ^= 1 << (round % 8);
        }
        let path = home.path().join(format!("{round}.db"));
        check_flipped(&path, &flipped, &local, seq as u64).await;
    }
}

async fn check_flipped(path: &Path, file: &[u8], local: &TenantId, seq: u64) {
    fs::write(path, file).unwrap();
    let store = Store::open(path).unwrap();
    let [bad, good] = [1, 2].map(|session| Stream::Session(id(session)));
    match store.read(local, &bad, 1, u32::MAX) {
        Err(Error::Corrupt { stream, seq: found, .. }) => assert_eq!((stream, found), (bad, seq)),
        other => panic!("event {seq}: {other:?}"),
    }
    let claim = store.claim(local, &id(1), "one").await;
    assert!(matches!(claim, Err(Error::Quarantined { .. })), "{claim:?}");
    assert_eq!(store.quarantined().unwrap()[0].seq, seq);
    assert_eq!(store.read(local, &good, 1, u32::MAX).unwrap().len(), 20);
    write(&store, 2, 21).await;
}

fn find(file: &[u8], needle: &[u8]) -> Vec<usize> {
    let found: Vec<usize> = file
        .windows(needle.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == needle)
        .map(|(at, _)| at)
        .collect();
    assert!(!found.is_empty());
    found
}
