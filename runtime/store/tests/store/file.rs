//! What holds on SQLite: the file, its format, and damage to it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, thread};

use ringfence_event::{Stream, TenantId};
use ringfence_store::{Append, Batch, Conflict, Error, Fence, STORE_FORMAT, Store};

use ringfence_store::kit::{append, batch, created, id, said, seqs};

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

/// A store remembers what it wrote last, but not longer than it is so.
#[tokio::test]
async fn what_another_process_wrote_and_what_failed_is_not_remembered() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    let local = TenantId::local();
    let (one, other) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
    let add = async |store: &Store, fence: Option<Fence>, seqs: &[u64]| {
        let of = |(n, seq): (u8, &u64)| Append {
            fence: fence.filter(|_| n == 1),
            expected_seq: Some(*seq),
            ..append(&local, &id(n), vec![if *seq == 0 { created() } else { said("x") }])
        };
        let appends = (1..).zip(seqs).map(of).collect();
        store.commit(Batch { appends, ..Batch::default() }).await
    };
    let session = Stream::Session(id(1));
    let mut seq = 0;
    for (mine, theirs) in [(&one, &other), (&other, &one), (&one, &other)] {
        let fence = Some(mine.claim(&local, &id(1), "mine").await.unwrap());
        for _ in 0..2 {
            add(mine, fence, &[seq]).await.unwrap();
            seq += 1;
        }
        // Half of a batch is nothing, and what is remembered is what was before it.
        add(mine, fence, &[seq, 9]).await.unwrap_err();
        add(mine, fence, &[seq]).await.unwrap();
        seq += 1;
        let newer = Some(theirs.claim(&local, &id(1), "theirs").await.unwrap());
        let stale = add(mine, fence, &[seq]).await.unwrap_err();
        assert!(matches!(stale, Error::Conflict(Conflict::StaleFence { .. })), "{stale}");
        add(theirs, newer, &[seq]).await.unwrap();
        seq += 1;
        let told = |store: &Store| format!("{:?}", store.session(&local, &id(1)).unwrap());
        assert_eq!(told(mine), told(theirs));
    }
    let events = one.read(&local, &session, 1, 100).unwrap();
    assert_eq!(seqs(&events), (1..=seq).collect::<Vec<_>>());
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
fn d11_what_is_not_for_this_version_is_not_touched() {
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

#[test]
fn d11_a_newer_format_is_seen_before_it_reached_the_file() {
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
        for body in [created(), said("short"), said(&long), said("last")] {
            store.commit_blocking(batch(append(&TenantId::local(), &id(1), vec![body]))).unwrap();
        }
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch(sql).unwrap();
        let stream = Stream::Session(id(1));
        match store.read(&TenantId::local(), &stream, 1, 10) {
            Err(Error::Corrupt { stream: found, seq: place, .. }) => {
                assert_eq!((found, place), (stream, seq), "{sql}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    };
    check(
        "UPDATE journal SET events = CAST(replace(events, 'short', 'shorn') AS BLOB) WHERE id = 2",
        2,
    );
    check("UPDATE journal SET events = CAST(substr(events, 2) AS BLOB) WHERE id = 2", 2);
    check("UPDATE journal SET events = x'' WHERE id = 2", 2);
    check("UPDATE journal SET checksum = x'00' WHERE id = 1", 1);
    check("UPDATE journal SET size = 7 WHERE id = 4", 4);
    check("UPDATE journal SET first = first + 10 WHERE id = 2", 2);
    check("UPDATE journal SET events = (SELECT events FROM journal WHERE id = 2) WHERE id = 4", 4);
    check("DELETE FROM journal WHERE id = 1", 1);
    check("DELETE FROM journal WHERE id = 2", 2);
    check("DELETE FROM journal WHERE id = 4", 4);
    check("DELETE FROM blob", 3);
    check("UPDATE blob SET bytes = x'00'", 3);
    check("UPDATE blob SET size = NULL", 3);
}

/// What is damaged is named, in this process and the next, and keeps nobody else.
#[tokio::test]
async fn a_damaged_session_is_quarantined_and_others_go_on() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    let (local, stream) = (TenantId::local(), Stream::Session(id(1)));
    let is_quarantined = |error: Error| match error {
        Error::Quarantined { stream: found, seq } => (found, seq) == (stream.clone(), 2),
        _ => false,
    };
    {
        let store = Store::open(&path).unwrap();
        for (n, body) in [(1, created()), (1, said("short")), (1, said("last")), (2, created())] {
            store.commit(batch(append(&local, &id(n), vec![body]))).await.unwrap();
        }
        store.claim(&local, &id(1), "one").await.unwrap();
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("UPDATE journal SET checksum = x'00' WHERE id = 2").unwrap();
        assert_eq!(store.quarantined().unwrap(), []);
        assert!(store.read(&local, &stream, 1, 10).is_err());
        assert!(is_quarantined(store.claim(&local, &id(1), "two").await.unwrap_err()));
    }
    let store = Store::open(&path).unwrap();
    let found = store.quarantined().unwrap();
    assert_eq!((&found[0].tenant, &found[0].stream, found[0].seq), (&local, &stream, 2));
    assert_eq!(found[0].what, "its checksum does not fit");
    assert!(is_quarantined(store.claim(&local, &id(1), "two").await.unwrap_err()));
    let append_to = |n| store.commit(batch(append(&local, &id(n), vec![said("x")])));
    assert!(is_quarantined(append_to(1).await.unwrap_err()));
    assert_eq!(seqs(&store.read(&local, &stream, 1, 1).unwrap()), [1]);
    assert_eq!(seqs(&store.read(&local, &stream, 3, 9).unwrap()), [3]);
    store.claim(&local, &id(2), "two").await.unwrap();
    assert!(matches!(append_to(2).await, Err(Error::Conflict(_))), "its fence is checked as ever");
    store.commit(batch(append(&local, &id(3), vec![created()]))).await.unwrap();
}
