//! A disk that fails under a process that writes: what a wait for it answered with an error is never
//! acknowledged, by no later try either, and a full disk costs nothing but the time that it is full.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ringfence_event::{Stream, TenantId};
use ringfence_store::{
    Batch, Error, FailingKind, MemoryChange, MemoryWrite, Store,
    kit::{append, batch, bucket, id, said},
};
use tokio::task::JoinSet;

use crate::crash::{check, write_one};

/// Name the store, and the files that stand for a full disk and for one that stalls, to the process that meets
/// them.
pub(crate) const STORE: &str = "RINGFENCE_TEST_DISK_STORE";
const FULL: &str = "RINGFENCE_TEST_FULL";
const STALL: &str = "RINGFENCE_TEST_STALL";

/// Waits for the disk that fail, one in each process: the first ones, and some in the middle of later
/// commits and of folding the log into the file.
const FAILS: [u32; 10] = [1, 2, 3, 4, 5, 7, 11, 16, 29, 54];

/// As many rounds as no process that meets a failure comes to.
const ROUNDS: u64 = 80;

pub(crate) fn say(word: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\n{word}").unwrap();
}

#[test]
#[ignore = "the process whose disk fails; started by the tests below"]
fn writes_on_a_disk_that_fails() {
    let path = env::var_os(STORE).expect("only the tests below start this");
    let store = match Store::open(Path::new(&path)) {
        Ok(store) => store,
        Err(_) => return say("not opened"),
    };
    for round in 0..ROUNDS {
        match write_one(&store, round) {
            Ok(()) => say("acknowledged"),
            Err(_) => {
                say("refused");
                // The disk would do it now; what the failed wait has lost it would not bring back.
                for _ in 0..3 {
                    assert!(matches!(write_one(&store, round), Err(Error::Stopped)));
                }
                return say("stopped");
            }
        }
    }
}

#[test]
#[ignore = "the process whose disk is full for a while; started by the test below"]
fn writes_on_a_disk_that_is_full_for_a_while() {
    let path = env::var_os(STORE).expect("only the test below starts this");
    let full = PathBuf::from(env::var_os(FULL).unwrap());
    let store = Store::open(Path::new(&path)).unwrap();
    for round in 0..ROUNDS {
        if round % 5 == 4 {
            fs::write(&full, "").unwrap();
            for _ in 0..=round % 3 {
                assert!(write_one(&store, round).is_err(), "round {round} does not fit");
            }
            assert_eq!(store.failing().unwrap().kind, FailingKind::Full);
            probe(&store).unwrap_err();
            fs::remove_file(&full).unwrap();
            assert!(store.failing().is_some(), "nobody has tried");
            if round % 2 == 0 {
                // Without anybody's work.
                probe(&store).unwrap();
                assert_eq!(store.failing(), None);
            }
        }
        write_one(&store, round).unwrap();
        assert_eq!(store.failing(), None);
        say("acknowledged");
    }
}

/// Whether something can be written, as nobody's work.
fn probe(store: &Store) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.probe())
}

/// While it is there the disk stalls; a test that fails does not leave it stalled.
struct Gate<'a>(&'a Path);

impl<'a> Gate<'a> {
    fn close(path: &'a Path) -> Self {
        fs::write(path, "").unwrap();
        Self(path)
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        fs::remove_file(self.0).unwrap();
    }
}

/// Work that is handed to a store one after the other, until no more of it is taken.
async fn stalled(store: &Arc<Store>, jobs: u64, payload: usize) -> (JoinSet<()>, u64) {
    let mut tasks = JoinSet::new();
    let [begun, told] = [(), ()].map(|()| Arc::new(AtomicU64::new(0)));
    for _ in 0..jobs {
        let (store, begun, told) = (store.clone(), begun.clone(), told.clone());
        let change = MemoryChange::Set(vec![0; payload]);
        let memory = vec![MemoryWrite { bucket: bucket("local", "ann"), key: "k".into(), change }];
        tasks.spawn(async move {
            let appends = vec![append(&TenantId::local(), &id(2), vec![said("x")])];
            begun.fetch_add(1, Ordering::SeqCst);
            store.commit(Batch { appends, memory, ..Batch::default() }).await.unwrap();
            told.fetch_add(1, Ordering::SeqCst);
        });
    }
    // Each task is as far as it comes when all have had their turn.
    while begun.load(Ordering::SeqCst) < jobs {
        tokio::task::yield_now().await;
    }
    assert_eq!(told.load(Ordering::SeqCst), 0, "nobody is told of what is not durable");
    let waiting = store.written().waiting;
    (tasks, waiting)
}

#[tokio::test]
#[ignore = "the process whose disk stalls; started by the test below"]
async fn writes_on_a_disk_that_stalls() {
    let path = env::var_os(STORE).expect("only the test below starts this");
    let gate = PathBuf::from(env::var_os(STALL).unwrap());
    let store = Arc::new(Store::open(Path::new(&path)).unwrap());
    let (local, stream) = (TenantId::local(), Stream::Session(id(2)));
    let first = || store.commit(batch(append(&local, &id(2), vec![said("first")])));
    first().await.unwrap();
    let mut stored = 1;
    // Many that are small, and fewer that are large: 4,096 in all, or 64 MiB.
    for (jobs, payload, most) in [(5_000, 0, 4_096), (100, 1 << 20, 64)] {
        let closed = Gate::close(&gate);
        let (mut tasks, waiting) = stalled(&store, jobs, payload).await;
        assert!(waiting <= most && waiting > most * 9 / 10, "{waiting} of {jobs} wait");
        // Meanwhile whoever reads is not kept.
        assert_eq!(store.last_seq(&local, &stream).unwrap(), stored);
        assert_eq!(store.read(&local, &stream, 1, u32::MAX).unwrap().len() as u64, stored);
        // Who has not been let in can go away, and leaves nothing.
        tasks.shutdown().await;
        drop(closed);
        store.flush().await.unwrap();
        stored += waiting;
        assert_eq!(store.last_seq(&local, &stream).unwrap(), stored);
        // And all goes on.
        first().await.unwrap();
        stored += 1;
        say("acknowledged");
    }
    // Who stays is told when it is durable.
    let closed = Gate::close(&gate);
    let (tasks, waiting) = stalled(&store, 300, 0).await;
    assert_eq!(waiting, 300);
    drop(closed);
    tasks.join_all().await;
    assert_eq!(store.last_seq(&local, &stream).unwrap(), stored + 300);
    assert_eq!(store.written().waiting, 0);
    say("acknowledged");
}

#[test]
fn d12_a_disk_that_stalls_keeps_its_writers_and_nobody_else() {
    let home = tempfile::tempdir().unwrap();
    let (shim, path) = (shim(home.path()), home.path().join("ringfence.db"));
    let gate = home.path().join("stalled");
    let failures = [(STALL, gate.to_str().unwrap())];
    let said = run("disk::writes_on_a_disk_that_stalls", &shim, &path, &failures);
    assert_eq!(count(&said, "acknowledged"), 3);
}

/// Makes the shim of `disk.c`.
pub(crate) fn shim(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/disk.c");
    let library = folder.join("disk.so");
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let made = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}: it needs a C compiler", compiler.display()));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    library
}

/// What a process says that meets these failures.
pub(crate) fn run(test: &str, shim: &Path, store: &Path, failures: &[(&str, &str)]) -> Vec<String> {
    let out = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("LD_PRELOAD", shim)
        .env("RINGFENCE_TEST_NAME", "ringfence.db")
        .env(STORE, store)
        .envs(failures.iter().copied())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect()
}

pub(crate) fn count(said: &[String], word: &str) -> u64 {
    said.iter().filter(|line| *line == word).count() as u64
}

#[test]
fn d4_nothing_is_acknowledged_after_a_wait_for_the_disk_that_failed() {
    let home = tempfile::tempdir().unwrap();
    let (shim, path) = (shim(home.path()), home.path().join("ringfence.db"));
    drop(Store::open(&path).unwrap());
    let mut acknowledged = 0;
    // Each process goes on with the store that the last one left behind.
    for fails in FAILS {
        let fails = fails.to_string();
        let failures = [("RINGFENCE_TEST_SYNC_FAILS", fails.as_str())];
        let said = run("disk::writes_on_a_disk_that_fails", &shim, &path, &failures);
        let here = count(&said, "acknowledged");
        let stopped = count(&said, "stopped") == 1 && count(&said, "refused") == 1;
        assert!(stopped || count(&said, "not opened") == 1, "{fails}: {said:?}");
        acknowledged = check(&path, acknowledged + here);
    }
    // The control: where nothing fails all are acknowledged.
    let said = run("disk::writes_on_a_disk_that_fails", &shim, &path, &[]);
    assert_eq!(count(&said, "acknowledged"), ROUNDS);
    assert_eq!(check(&path, acknowledged + ROUNDS), acknowledged + ROUNDS);
}

#[test]
fn d5_a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let home = tempfile::tempdir().unwrap();
    let (shim, path) = (shim(home.path()), home.path().join("ringfence.db"));
    let full = home.path().join("full");
    let failures = [(FULL, full.to_str().unwrap())];
    let said = run("disk::writes_on_a_disk_that_is_full_for_a_while", &shim, &path, &failures);
    assert_eq!(count(&said, "acknowledged"), ROUNDS);
    // Nothing of what was refused is there.
    assert_eq!(check(&path, ROUNDS), ROUNDS);
}
