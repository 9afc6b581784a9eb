//! What holds on SQLite: the file, its format, and damage to it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, thread};

use ringfence_event::{Stream, TenantId};
use ringfence_store::{Error, STORE_FORMAT, Store};

use crate::kit::{self, append, batch, created, id, said, seqs};

#[tokio::test]
async fn the_kit_holds() {
    let home = tempfile::tempdir().unwrap();
    let mut count = 0;
    kit::check_all(|| {
        count += 1;
        Store::open(&home.path().join(format!("{count}.db"))).unwrap()
    })
    .await;
}

#[test]
fn only_its_owner_reads_it() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("a/b");
    let store = Store::open(&folder.join("ringfence.db")).unwrap();
    store.commit_blocking(batch(append(&TenantId::local(), &id(1), vec![created()]))).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut names = vec![];
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["ringfence.db", "ringfence.db-shm", "ringfence.db-wal"]);
}

#[test]
fn what_was_written_is_there_when_opened_again() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    for n in 1..=3 {
        let store = Store::open(&path).unwrap();
        store.commit_blocking(batch(append(&TenantId::local(), &id(1), vec![said("x")]))).unwrap();
        let events = store.read(&TenantId::local(), &Stream::Session(id(1)), 1, 10).unwrap();
        assert_eq!(seqs(&events), (1..=n).collect::<Vec<u64>>());
    }
}

#[test]
fn many_can_make_it_and_write_at_the_same_time() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let store = Store::open(&path).unwrap();
                for _ in 0..20 {
                    let append = append(&TenantId::local(), &id(1), vec![said("x")]);
                    store.commit_blocking(batch(append)).unwrap();
                }
            });
        }
    });
    let store = Store::open(&path).unwrap();
    let events = store.read(&TenantId::local(), &Stream::Session(id(1)), 1, 1_000).unwrap();
    assert_eq!(seqs(&events), (1..=120).collect::<Vec<u64>>());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3, "nothing is left of the making");
}

#[test]
fn what_is_not_for_this_version_is_not_touched() {
    let check = |name: &str, change: &dyn Fn(&mut Vec<u8>), expected: &dyn Fn(&Error) -> bool| {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ringfence.db");
        drop(Store::open(&path).unwrap());
        fs::remove_file(path.with_extension("db-wal")).ok();
        fs::remove_file(path.with_extension("db-shm")).ok();
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(expected(&error), "{name}: {error}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name}: the file is as it was");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "{name}: nothing is beside it");
    };
    let newer = STORE_FORMAT + 1;
    check(
        "newer",
        &|bytes| bytes[60..64].copy_from_slice(&newer.to_be_bytes()),
        &|error| matches!(error, Error::NewerFormat { found, .. } if *found == newer),
    );
    let is_none = |error: &Error| matches!(error, Error::NotAStore { .. });
    check("another database", &|bytes| bytes[68..72].fill(0), &is_none);
    check("a text", &|bytes| *bytes = b"[tenant.acme]\n".repeat(20), &is_none);
    check("empty", &Vec::clear, &is_none);
}

/// What the first format did not count is counted once, by whoever opens it first.
#[test]
fn an_earlier_format_is_brought_up_to_this_one() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    drop(Store::open(&path).unwrap());
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(
        "DROP INDEX session_open; DROP INDEX session_waits; DROP INDEX session_wake;
         ALTER TABLE session DROP COLUMN open; ALTER TABLE session DROP COLUMN waits;
         ALTER TABLE session DROP COLUMN wake;
         DROP TABLE inbox_key; DROP TABLE budget; DROP TABLE reservation;
         DROP TABLE memory_total; ALTER TABLE bucket DROP COLUMN keys;
         INSERT INTO memory VALUES ('a', 'user', 'ann', 'k', x'0102'), ('a', 'user', 'ann', 'l', x''),
             ('a', 'user', 'bob', 'k', x'01'), ('b', 'user', 'ann', 'k', x'');
         INSERT INTO bucket VALUES ('a', 'user', 'ann', 4), ('a', 'user', 'bob', 2), ('b', 'user', 'ann', 1);
         PRAGMA user_version = 1; PRAGMA wal_checkpoint(TRUNCATE);",
    )
    .unwrap();
    drop(old);
    assert_eq!(fs::read(&path).unwrap()[63], 1);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| Store::open(&path).unwrap());
        }
    });
    assert_eq!(fs::read(&path).unwrap()[63], STORE_FORMAT as u8, "an earlier version sees it");
    let store = Store::open(&path).unwrap();
    for (of, owner, held) in
        [("a", "ann", [4, 2, 6]), ("a", "bob", [2, 1, 6]), ("b", "ann", [1, 1, 1])]
    {
        let used = store.memory_used(&kit::bucket(of, owner)).unwrap();
        assert_eq!([used.bytes, used.keys, used.tenant_bytes], held, "{of} {owner}");
    }
}

#[test]
fn a_newer_format_is_seen_before_it_reached_the_file() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("odd ?#%20 name.db");
    drop(Store::open(&path).unwrap());
    // Held open, so that the log is not folded into the file.
    let other = rusqlite::Connection::open(&path).unwrap();
    let newer = STORE_FORMAT + 1;
    other.execute_batch(&format!("PRAGMA user_version = {newer}")).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found, .. } if found == newer), "{error}");
}

#[test]
fn damage_is_named_and_nothing_is_left_out() {
    let long = "long ".repeat(2_000);
    let check = |sql: &str, seq: u64| {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ringfence.db");
        let store = Store::open(&path).unwrap();
        let bodies = vec![created(), said("short"), said(&long), said("last")];
        store.commit_blocking(batch(append(&TenantId::local(), &id(1), bodies))).unwrap();
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}")).unwrap();
        let stream = Stream::Session(id(1));
        match store.read(&TenantId::local(), &stream, 1, 10) {
            Err(Error::Corrupt { stream: found, seq: place, .. }) => {
                assert_eq!((found, place), (stream, seq), "{sql}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    };
    check("UPDATE event SET body = replace(body, 'short', 'shorn') WHERE seq = 2", 2);
    check("UPDATE event SET body = substr(body, 2) WHERE seq = 2", 2);
    check("UPDATE event SET at = at + 1 WHERE seq = 4", 4);
    check("UPDATE event SET user = 'eve' WHERE seq = 1", 1);
    check("UPDATE event SET format = 99 WHERE seq = 2", 2);
    check("DELETE FROM event WHERE seq = 2", 2);
    check("DELETE FROM event WHERE seq = 4", 4);
    check("DELETE FROM blob", 3);
    check("UPDATE blob SET bytes = x'00'", 3);
}
