//! Stores of earlier formats are brought up to this one, whole or not at all.

use std::{fs, path::Path, thread};

use ringfence_event::{
    Body, Digest, Event, FORMAT, Limit, RunId, Stream, TenantId, Timestamp, UserId, Wait,
};
use ringfence_store::{Error, STORE_FORMAT, Store};
use rusqlite::Connection;

use ringfence_store::kit::{self, append, batch, bucket, created, id, said};

/// A store as format 2 made it.
fn format_2(path: &Path) -> Connection {
    let old = Connection::open(path).unwrap();
    old.execute_batch(include_str!("format_2.sql")).unwrap();
    old
}

/// Writes an event as format 2 did.
fn write(old: &Connection, event: &Event) {
    let Event { format, tenant, user, stream, seq, at, body, cause, trace } = event;
    let (at, kind, body) = (at.0, body.kind(), serde_json::to_string(body).unwrap());
    let digest = Digest::of(body.as_bytes());
    let all = format!(
        "{format}\n{tenant}\n{user}\n{stream}\n{seq}\n{at}\n{digest}\n{cause:?}\n{trace:?}"
    );
    let (sum, is_short) = (Digest::of(all.as_bytes()), body.len() <= 4096);
    let tenant = tenant.as_str();
    if !is_short {
        old.execute(
            "INSERT INTO blob VALUES (?1, ?2, ?3)",
            (tenant, digest.as_bytes(), body.as_bytes()),
        )
        .unwrap();
    }
    old.execute(
        "INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        (
            tenant,
            stream.to_string(),
            *seq as i64,
            format,
            user.as_str(),
            at as i64,
            kind,
            is_short.then_some(&body),
            (!is_short).then_some(digest.as_bytes()),
            cause.map(|cause| cause as i64),
            trace,
            sum.as_bytes(),
        ),
    )
    .unwrap();
}

/// Writes a list as format 2 did, with its heads.
fn write_list(old: &Connection, n: u8, bodies: Vec<Body>) -> Vec<Event> {
    let stream = Stream::Session(id(n));
    old.execute(
        "INSERT INTO stream VALUES ('local', ?1, ?2, 7, 'worker')",
        (stream.to_string(), bodies.len() as i64),
    )
    .unwrap();
    old.execute(
        "INSERT INTO session VALUES ('local', ?1, 'ann', 'coder', 1000, 1000, 'waiting', 'x')",
        [id(n).as_str()],
    )
    .unwrap();
    let event = |(seq, body)| Event {
        format: FORMAT,
        tenant: TenantId::local(),
        // Two people in one list.
        user: if seq % 3 == 0 { UserId::local() } else { "ann".parse().unwrap() },
        stream: stream.clone(),
        seq,
        at: Timestamp(2_000 - seq),
        body,
        cause: (seq > 1).then_some(1),
        trace: (seq == 2).then(|| "0af7651916cd43dd8448eb211c80319c".to_owned()),
    };
    let events: Vec<Event> = (1..).zip(bodies).map(event).collect();
    events.iter().for_each(|event| write(old, event));
    events
}

#[tokio::test]
async fn d11_events_of_the_second_format_are_all_there() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    let old = format_2(&path);
    let (local, two) = (TenantId::local(), RunId(2));
    let mut bodies = vec![created(), said("x"), Body::RunCompleted { run: RunId(1) }];
    bodies.extend((0..100).map(|n| said(&"long ".repeat(n * 20))));
    bodies.push(Body::RunStarted { run: two });
    bodies.push(Body::RunWaiting { run: two, on: Wait::Reconcile, calls: vec![] });
    let whole = write_list(&old, 1, bodies);
    let damaged = write_list(&old, 2, vec![created(), said("a"), said("b"), said("c")]);
    old.execute_batch(&format!(
        "UPDATE event SET at = at + 1 WHERE stream LIKE '%{}' AND seq = 3; PRAGMA wal_checkpoint;",
        id(2)
    ))
    .unwrap();
    drop(old);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| Store::open(&path).unwrap());
        }
    });
    assert_eq!(fs::read(&path).unwrap()[63], STORE_FORMAT as u8, "an earlier version sees it");
    let store = Store::open(&path).unwrap();
    let stream = Stream::Session(id(1));
    assert_eq!(store.read(&local, &stream, 1, u32::MAX).unwrap(), whole);
    assert_eq!(store.read(&local, &stream, 70, 3).unwrap(), whole[69..72]);
    let row = store.session(&local, &id(1)).unwrap();
    assert_eq!((row.status.as_deref(), row.waits), (Some("waiting"), Some(Wait::Reconcile)));
    assert_eq!(row.title.as_deref(), Some("x"));
    // A claim of before is as stale as ever.
    let without = store.commit(batch(append(&local, &id(1), vec![said("x")]))).await;
    assert!(matches!(without, Err(Error::Conflict(_))), "{without:?}");
    store.claim(&local, &id(1), "one").await.unwrap();
    // The damaged one is named, and whole up to the damage.
    let found = store.quarantined().unwrap();
    assert_eq!((found.len(), &found[0].stream, found[0].seq), (1, &damaged[0].stream, 3));
    assert_eq!(store.read(&local, &damaged[0].stream, 1, 2).unwrap(), damaged[..2]);
    let claim = store.claim(&local, &id(2), "one").await;
    assert!(matches!(claim, Err(Error::Quarantined { seq: 3, .. })), "{claim:?}");
}

/// What the first format did not count is counted once, by whoever opens it first.
#[test]
fn memory_of_the_first_format_is_counted() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    let old = format_2(&path);
    old.execute_batch(
        "DROP TABLE memory_total; ALTER TABLE bucket DROP COLUMN keys;
         INSERT INTO memory VALUES ('a', 'user', 'ann', 'k', x'0102'), ('a', 'user', 'ann', 'l', x''),
             ('a', 'user', 'bob', 'k', x'01'), ('b', 'user', 'ann', 'k', x'');
         INSERT INTO bucket VALUES ('a', 'user', 'ann', 4), ('a', 'user', 'bob', 2), ('b', 'user', 'ann', 1);
         PRAGMA user_version = 1; PRAGMA wal_checkpoint(TRUNCATE);",
    )
    .unwrap();
    drop(old);
    assert_eq!(fs::read(&path).unwrap()[63], 1);
    let store = Store::open(&path).unwrap();
    for (of, owner, held) in
        [("a", "ann", [4, 2, 6]), ("a", "bob", [2, 1, 6]), ("b", "ann", [1, 1, 1])]
    {
        let used = store.memory_used(&bucket(of, owner)).unwrap();
        assert_eq!([used.bytes, used.keys, used.tenant_bytes], held, "{of} {owner}");
    }
}

/// What stood in rows without a checksum has one, and nothing else is changed.
#[tokio::test]
async fn d11_a_store_of_the_third_format_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("format_3.sql")).unwrap();
    let (one, two) = (id(1), id(2));
    old.execute_batch(&format!(
        "INSERT INTO stream VALUES (1, 'local', 'session/{one}', 0, 7, 'worker', NULL),
             (2, 'local', 'session/{two}', 3, 0, NULL, 2);
         INSERT INTO quarantine VALUES ('local', 'session/{two}', 2, 'its checksum does not fit');
         INSERT INTO session VALUES ('local', '{one}', 'ann', 'coder', 1000, 2000, 'waiting', 'x',
             '1:approval', 'approval', 70, 0);
         INSERT INTO inbox VALUES (4, 'local', '{one}', 5, '{{}}'), (9, 'local', '{one}', 5, '[]');
         DELETE FROM inbox WHERE id = 9;
         INSERT INTO inbox_key VALUES ('local', '{one}', 'k', 9, x'00');
         INSERT INTO memory VALUES ('a', 'user', 'ann', 'k', x'0102');
         INSERT INTO bucket VALUES ('a', 'user', 'ann', 3, 1);
         INSERT INTO memory_total VALUES ('a', 3);
         INSERT INTO budget VALUES ('a', 'tokens', 1, 20, 30);
         INSERT INTO reservation VALUES ('a', 'tokens', 1, 'one', 30);
         INSERT INTO blob VALUES ('a', x'00', x'00', NULL);
         PRAGMA wal_checkpoint(TRUNCATE);"
    ))
    .unwrap();
    drop(old);
    let store = Store::open(&path).unwrap();
    let (local, a) = (TenantId::local(), kit::tenant("a"));
    let row = store.session(&local, &one).unwrap();
    assert_eq!((row.waits, row.wake), (Some(Wait::Approval), Some(Timestamp(70))));
    assert_eq!(row.title.as_deref(), Some("x"));
    assert_eq!(store.waiting(&local, None, None).unwrap(), std::slice::from_ref(&row));
    assert_eq!(store.unfinished(None, 9).unwrap().len(), 1);
    let without = store.commit(batch(append(&local, &one, vec![said("x")]))).await;
    assert!(matches!(without, Err(Error::Conflict(_))), "{without:?}");
    assert_eq!(store.inbox(&local, &one).unwrap()[0].command, "{}");
    // The number of a command that was done is not given again.
    let put = store.inbox_put(&local, &one, Timestamp(6), "{}".into(), None).await.unwrap();
    let reused = store.inbox_put(&local, &one, Timestamp(6), "{}".into(), Some("k")).await;
    assert!(matches!(reused, Err(Error::KeyReused { .. })), "{reused:?}");
    assert!(format!("{put:?}").contains("id: 10"), "{put:?}");
    assert_eq!(store.quarantined().unwrap()[0].seq, 2);
    let claim = store.claim(&local, &two, "one").await;
    assert!(matches!(claim, Err(Error::Quarantined { seq: 2, .. })), "{claim:?}");
    assert_eq!(store.memory_get(&bucket("a", "ann"), "k").unwrap().unwrap(), [1, 2]);
    assert_eq!(store.memory_used(&bucket("a", "ann")).unwrap().tenant_bytes, 3);
    let state = store.budget(&a, Limit::Tokens, Timestamp(1)).unwrap();
    assert_eq!((state.spent, state.reserved), (20, 30));
    // And it is what a new one is.
    drop(store);
    Store::open(&path).unwrap();
}

/// There are API keys and answered requests from then on; what was there is there.
#[tokio::test]
async fn d11_a_store_of_the_fourth_format_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("format_4.sql")).unwrap();
    old.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(old);
    assert_eq!(fs::read(&path).unwrap()[63], 4);
    let local = TenantId::local();
    let store = Store::open(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap()[63], STORE_FORMAT as u8);
    store.commit(batch(append(&local, &id(1), vec![created(), said("x")]))).await.unwrap();
    assert_eq!(store.keys(&local).unwrap(), []);
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.read(&local, &Stream::Session(id(1)), 1, 9).unwrap().len(), 2);
}
