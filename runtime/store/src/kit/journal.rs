//! Cases of events: their places, claims, what fails together and what apart.

use ringfence_event::{
    Body, Event, ModelReply, RunId, StepId, Stream, TenantId, Timestamp, UserId,
};

use super::{
    Harness, Subject, append, batch, bucket, conflict, created, id, join_all, said, seqs, tenant,
    write,
};
use crate::{Append, Batch, Conflict, Error, MemoryChange, MemoryWrite, Resolved};

pub(super) async fn events_are_read_as_they_were_written(store: &impl Subject) {
    let (tenant, session) = (TenantId::local(), id(1));
    let stream = Stream::Session(session.clone());
    let step = StepId { run: RunId(1), step: 1 };
    // Bodies below and above what is kept in the row, and around the edge.
    let long = |bytes: usize| Body::ModelCompleted {
        step,
        reply: ModelReply { text: "ä\u{0}".repeat(bytes / 3), ..ModelReply::default() },
        cost: None,
    };
    let bodies = vec![created(), said("hello"), long(3_900), long(4_200), long(1_000_000)];
    let mut first = append(&tenant, &session, bodies);
    first.events[1].cause = Some(1);
    first.events[1].trace = Some("0af7651916cd43dd8448eb211c80319c".into());
    let committed = store.commit(batch(first)).await.unwrap();
    assert_eq!(seqs(&committed.events), [1, 2, 3, 4, 5]);
    let more = store.commit(batch(append(&tenant, &session, vec![said("more")]))).await.unwrap();
    assert_eq!(seqs(&more.events), [6]);

    let all: Vec<Event> = committed.events.iter().chain(&*more.events).cloned().collect();
    assert_eq!(store.read(&tenant, &stream, 1, u32::MAX).unwrap(), all);
    for (from, limit, expected) in [
        (0, 2, vec![1, 2]),
        (2, 2, vec![2, 3]),
        (5, 9, vec![5, 6]),
        (7, 9, vec![]),
        (u64::MAX >> 1, 9, vec![]),
        (1, 0, vec![]),
    ] {
        assert_eq!(seqs(&store.read(&tenant, &stream, from, limit).unwrap()), expected);
    }
    assert_eq!(store.last_seq(&tenant, &stream).unwrap(), 6);
}

pub(super) async fn places_are_checked(store: &impl Subject) {
    let (tenant, session) = (TenantId::local(), id(1));
    let at = |expected| Append {
        expected_seq: Some(expected),
        ..append(&tenant, &session, vec![said("x")])
    };
    store.commit(batch(at(0))).await.unwrap();
    store.commit(batch(at(1))).await.unwrap();
    for stale in [0, 1, 3] {
        let found = conflict(store.commit(batch(at(stale))).await);
        let stream = Stream::Session(session.clone());
        assert_eq!(found, Conflict::WrongSeq { stream, expected: stale, found: 2 });
    }
    // Two writers that saw the same state: one of them is first.
    let (one, two) = tokio::join!(store.commit(batch(at(2))), store.commit(batch(at(2))));
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|ok| **ok).count(), 1);
}

pub(super) async fn a_newer_claim_fences_the_older(store: &impl Subject) {
    let (tenant, session) = (TenantId::local(), id(1));
    let under = |fence| Append { fence, ..append(&tenant, &session, vec![said("x")]) };
    let older = store.claim(&tenant, &session, "one").await.unwrap();
    store.commit(batch(under(Some(older)))).await.unwrap();
    let newer = store.claim(&tenant, &session, "two").await.unwrap();
    assert!(newer > older);
    for stale in [Some(older), None] {
        let stream = Stream::Session(session.clone());
        let found = conflict(store.commit(batch(under(stale))).await);
        assert_eq!(found, Conflict::StaleFence { stream });
    }
    store.commit(batch(under(Some(newer)))).await.unwrap();
    assert_eq!(store.last_seq(&tenant, &Stream::Session(session)).unwrap(), 2);
}

pub(super) async fn batches_together_fail_apart(store: &impl Subject) {
    let tenant = TenantId::local();
    let commits = (0..40_u8).map(|n| {
        let mut append = append(&tenant, &id(n), vec![created(), said("x")]);
        // Every fourth is wrong about the place.
        append.expected_seq = Some(u64::from(n % 4 == 3));
        let bucket = bucket("local", "all");
        let change = MemoryChange::Increment(1);
        let write = MemoryWrite { bucket, key: "count".into(), change };
        let batch = Batch { appends: vec![append], memory: vec![write], ..Batch::default() };
        store.commit(batch)
    });
    let results = join_all(commits).await;
    for (n, result) in results.iter().enumerate() {
        let stream = Stream::Session(id(u8::try_from(n).unwrap()));
        let stored = store.last_seq(&tenant, &stream).unwrap();
        assert_eq!((result.is_ok(), stored), if n % 4 == 3 { (false, 0) } else { (true, 2) });
    }
    let count = store.memory_get(&bucket("local", "all"), "count").unwrap().unwrap();
    assert_eq!(count, b"30", "a failed batch leaves no memory behind");
}

pub(super) async fn tenants_are_apart(store: &impl Subject) {
    let (mine, other, session) = (tenant("one"), tenant("two"), id(1));
    let stream = Stream::Session(session.clone());
    let written = vec![created(), said(&"long ".repeat(2_000))];
    store.commit(batch(append(&mine, &session, written))).await.unwrap();
    let memory = vec![write(&bucket("one", "ann"), "k", MemoryChange::Set(b"v".to_vec()))];
    store.commit(Batch { memory, ..Batch::default() }).await.unwrap();
    let put = store.inbox_put(&mine, &session, Timestamp(1), "{}".into(), None).await.unwrap();

    assert!(store.read(&other, &stream, 1, 10).unwrap().is_empty());
    assert!(store.sessions(&other, None, 10).unwrap().is_empty());
    assert!(store.inbox(&other, &session).unwrap().is_empty());
    assert_eq!(store.memory_get(&bucket("two", "ann"), "k").unwrap(), None);
    assert!(store.memory_keys(&bucket("two", "ann"), None, 10).unwrap().keys.is_empty());
    assert_eq!(
        store.resolve_session(&other, &UserId::local(), session.as_str()).unwrap(),
        Resolved::None
    );
    // A foreign session and one that is nowhere are told apart by nothing.
    let foreign =
        store.inbox_put(&other, &session, Timestamp(1), "{}".into(), None).await.unwrap_err();
    let nowhere =
        store.inbox_put(&other, &id(9), Timestamp(1), "{}".into(), None).await.unwrap_err();
    assert_eq!(format!("{foreign:?}"), format!("{nowhere:?}"));
    let foreign = store.session(&other, &session).unwrap_err();
    assert_eq!(format!("{foreign:?}"), format!("{nowhere:?}"));
    // The same id is another session in another tenant, and claiming it fences nobody.
    store.claim(&other, &session, "thief").await.unwrap();
    store.commit(batch(append(&mine, &session, vec![said("mine")]))).await.unwrap();
    assert_eq!(store.inbox(&mine, &session).unwrap()[0].id, put);
    assert_eq!(store.last_seq(&other, &stream).unwrap(), 0);
}

pub(super) async fn later_is_durable_after_a_flush(store: &impl Subject) {
    let (tenant, session) = (TenantId::local(), id(1));
    for _ in 0..100 {
        store.commit_later(batch(append(&tenant, &session, vec![said("x")]))).await;
    }
    store.flush().await.unwrap();
    assert_eq!(store.last_seq(&tenant, &Stream::Session(session.clone())).unwrap(), 100);
    let wrong = Append { expected_seq: Some(7), ..append(&tenant, &session, vec![said("x")]) };
    store.commit_later(batch(wrong)).await;
    assert!(matches!(store.flush().await, Err(Error::Conflict(_))));
    store.flush().await.unwrap();
}

pub(super) async fn changes_are_seen(store: &impl Subject) {
    let before = store.data_version().unwrap();
    assert_eq!(store.data_version().unwrap(), before);
    store.commit(batch(append(&TenantId::local(), &id(1), vec![said("x")]))).await.unwrap();
    assert_ne!(store.data_version().unwrap(), before);
}

pub(super) async fn what_is_acknowledged_is_there_when_opened_again<H: Harness>(harness: &mut H) {
    let (tenant, session) = (TenantId::local(), id(1));
    let stream = Stream::Session(session.clone());
    let mut store = harness.fresh();
    let mut all = vec![];
    for round in 0..3 {
        let text = "long ".repeat(round * 2_000);
        let memory = vec![write(&bucket("local", "ann"), "n", MemoryChange::Increment(1))];
        let appends = vec![append(&tenant, &session, vec![created(), said(&text)])];
        let batch = Batch { appends, memory, ..Batch::default() };
        all.extend(store.commit(batch).await.unwrap().events.iter().cloned());
        store.inbox_put(&tenant, &session, Timestamp(1), "{}".into(), None).await.unwrap();
        store = harness.reopen(store);
        assert_eq!(store.read(&tenant, &stream, 1, u32::MAX).unwrap(), all);
        assert_eq!(store.inbox(&tenant, &session).unwrap().len(), round + 1);
        let count = store.memory_get(&bucket("local", "ann"), "n").unwrap().unwrap();
        assert_eq!(count, (round + 1).to_string().as_bytes());
    }
    // A claim holds beyond the process that made it.
    let fence = store.claim(&tenant, &session, "one").await.unwrap();
    let store = harness.reopen(store);
    let under = |fence| Append { fence, ..append(&tenant, &session, vec![said("x")]) };
    conflict(store.commit(batch(under(None))).await);
    store.commit(batch(under(Some(fence)))).await.unwrap();
}
