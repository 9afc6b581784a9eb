//! What a run takes of the store.

use std::{fs, path::Path};

use ringfence_event::{Body, RunId, SessionId, TenantId};
use ringfence_store::Store;
use rusqlite::Connection;

use crate::sample::step;
use ringfence_store::kit::{append, batch, created, id, said};

/// A session that runs so many steps, each a commit; `output` says what its calls return.
fn run(store: &Store, session: &SessionId, steps: u32, output: impl Fn(u32) -> String) {
    let local = TenantId::local();
    let add = |bodies| store.commit_blocking(batch(append(&local, session, bodies))).unwrap();
    add(vec![
        created(),
        said("Find out why the build is slow."),
        Body::RunStarted { run: RunId(1) },
    ]);
    for n in 1..=steps {
        add(step(session, n, &output(n)));
    }
    add(vec![Body::RunCompleted { run: RunId(1) }]);
}

/// How long the file is with all that its log holds.
fn bytes(path: &Path) -> u64 {
    let other = Connection::open(path).unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    fs::metadata(path).unwrap().len()
}

fn fresh(home: &tempfile::TempDir, name: &str) -> (std::path::PathBuf, Store) {
    let path = home.path().join(name);
    let store = Store::open(&path).unwrap();
    (path, store)
}

/// How much longer a store becomes by what is done to it.
fn growth(act: impl FnOnce(&Store)) -> u64 {
    let home = tempfile::tempdir().unwrap();
    let (path, store) = fresh(&home, "ringfence.db");
    let before = bytes(&path);
    act(&store);
    bytes(&path) - before
}

/// Text that does not compress much, another for each number.
fn noise(n: u32, bytes: usize) -> String {
    let lines =
        (0_u32..).map(|line| ringfence_event::Digest::of(format!("{n} {line}").as_bytes()).hex());
    let mut text = String::new();
    lines.take(bytes / 64 + 1).for_each(|line| text.push_str(&line));
    text.truncate(bytes);
    text
}

#[test]
fn a_session_of_ten_calls_takes_ten_kibibytes() {
    let sessions = 100;
    let grown = growth(|store| {
        (0..sessions).for_each(|n| run(store, &id(n), 10, |_| "fn main() {}\n".repeat(8)));
    });
    let each = grown / u64::from(sessions);
    assert!(each <= 10 << 10, "{each} bytes");
}

#[test]
fn a_step_is_a_few_rows() {
    let home = tempfile::tempdir().unwrap();
    let (path, store) = fresh(&home, "ringfence.db");
    run(&store, &id(1), 10, |_| "x".into());
    let other = Connection::open(&path).unwrap();
    let count = |table: &str| -> u64 {
        let text = format!("SELECT count(*) FROM {table}");
        other.query_row(&text, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
    };
    assert_eq!(["journal", "stream", "session", "blob"].map(count), [12, 1, 1, 0]);
}

#[test]
fn the_journal_grows_with_what_happened() {
    let grown = |steps| growth(|store| run(store, &id(1), steps, |n| noise(n, 50_000)));
    let (half, whole) = (grown(50), grown(100));
    assert!(whole <= half * 22 / 10, "{half} bytes by 50 calls, {whole} by 100");
}

#[test]
fn what_is_said_twice_is_stored_once() {
    let each = growth(|store| run(store, &id(1), 20, |n| noise(n, 50_000)));
    let same = growth(|store| run(store, &id(1), 20, |_| noise(1, 50_000)));
    let once = growth(|store| run(store, &id(1), 1, |_| noise(1, 50_000)));
    assert!(same < once + 20 * 4_096, "{once} bytes by one, {same} by 20 that are the same");
    assert!(each > once * 15, "and those that are not are all there: {each}");
}
