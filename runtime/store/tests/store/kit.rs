//! The conformance kit: functions over a place where a store is opened, so that another database
//! can be put under the same questions.

use ringfence_event::{
    Body, Digest, Event, Limit, ModelReply, RunId, Scope, SessionId, StepId, Stream, TenantId,
    Timestamp, UserId, Wait,
};
use ringfence_store::{
    Append, Batch, BlobWrite, BucketId, BudgetChange, BudgetState, Conflict, Error, MemoryChange,
    MemoryLimits, MemoryWrite, NewEvent, OpenSession, Resolved, Store, Wake,
};

pub(crate) fn id(byte: u8) -> SessionId {
    SessionId::from_random([byte; 16])
}

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub(crate) fn created() -> Body {
    Body::SessionCreated { agent: "coder".parse().unwrap(), agent_digest: Digest::of(b"coder") }
}

pub(crate) fn said(text: &str) -> Body {
    Body::MessageAdded { run: RunId(1), text: text.into(), key: None, not_after: None, agent: None }
}

pub(crate) fn append(tenant: &TenantId, session: &SessionId, bodies: Vec<Body>) -> Append {
    let event = |body| NewEvent { at: Timestamp(1_000), body, cause: None, trace: None };
    Append {
        stream: Stream::Session(session.clone()),
        tenant: tenant.clone(),
        user: UserId::local(),
        fence: None,
        expected_seq: None,
        events: bodies.into_iter().map(event).collect(),
    }
}

pub(crate) fn batch(append: Append) -> Batch {
    Batch { appends: vec![append], ..Batch::default() }
}

pub(crate) fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

fn conflict<T: std::fmt::Debug>(result: Result<T, Error>) -> Conflict {
    match result {
        Err(Error::Conflict(conflict)) => conflict,
        other => panic!("no conflict but {other:?}"),
    }
}

/// Runs every question on a fresh store each.
pub(crate) async fn check_all(mut fresh: impl FnMut() -> Store) {
    events_are_read_as_they_were_written(&fresh()).await;
    places_are_checked(&fresh()).await;
    a_newer_claim_fences_the_older(&fresh()).await;
    batches_together_fail_apart(&fresh()).await;
    memory_changes_with_its_events(&fresh()).await;
    full_memory_takes_nothing_more(&fresh()).await;
    keys_come_in_pages(&fresh()).await;
    blobs_are_kept_by_digest(&fresh()).await;
    tenants_are_apart(&fresh()).await;
    sessions_are_listed_and_found(&fresh()).await;
    commands_are_done_once(&fresh()).await;
    a_command_with_a_key_comes_once(&fresh()).await;
    budgets_are_held(&fresh()).await;
    what_is_open_is_found(&fresh()).await;
    later_is_durable_after_a_flush(&fresh()).await;
    changes_are_seen(&fresh()).await;
}

async fn events_are_read_as_they_were_written(store: &Store) {
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

    let all: Vec<Event> = committed.events.into_iter().chain(more.events).collect();
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

async fn places_are_checked(store: &Store) {
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

async fn a_newer_claim_fences_the_older(store: &Store) {
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

async fn batches_together_fail_apart(store: &Store) {
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

async fn join_all<F: Future + Send>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(done.iter_mut().map(|done| done.take().unwrap()).collect())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

pub(crate) fn bucket(of: &str, owner: &str) -> BucketId {
    BucketId { tenant: tenant(of), scope: Scope::User, owner: owner.into() }
}

fn write(bucket: &BucketId, key: &str, change: MemoryChange) -> MemoryWrite {
    MemoryWrite { bucket: bucket.clone(), key: key.into(), change }
}

async fn memory_changes_with_its_events(store: &Store) {
    let mine = bucket("local", "ann");
    let commit = |memory, expected_seq| {
        let append = append(&TenantId::local(), &id(1), vec![said("x")]);
        let appends = vec![Append { expected_seq, ..append }];
        store.commit(Batch { appends, memory, ..Batch::default() })
    };
    let set = |key: &str, value: &str| write(&mine, key, MemoryChange::Set(value.into()));
    let add = |key: &str, by| write(&mine, key, MemoryChange::Increment(by));
    commit(vec![set("a", "12345"), set("b", "x"), set("b", "xyz")], Some(0)).await.unwrap();
    assert_eq!(store.memory_get(&mine, "b").unwrap().unwrap(), b"xyz");
    assert_eq!(used(store, &mine), [10, 2, 10]);

    conflict(commit(vec![set("a", "lost")], Some(0)).await);
    let counted = commit(vec![add("n", 5), add("n", 7), add("b", 1)], None).await.unwrap();
    assert_eq!(counted.counters, [5, 12], "what is no number has no sum");
    assert_eq!(store.memory_get(&mine, "n").unwrap().unwrap(), b"12");
    assert_eq!(store.memory_get(&mine, "b").unwrap().unwrap(), b"xyz", "and stays");
    let most = commit(vec![add("n", u64::MAX)], None).await.unwrap();
    assert_eq!(most.counters, [u64::MAX]);
    assert_eq!(store.memory_get(&mine, "a").unwrap().unwrap(), b"12345");
    assert_eq!(store.last_seq(&TenantId::local(), &Stream::Session(id(1))).unwrap(), 3);

    let delete = |key| write(&mine, key, MemoryChange::Delete);
    commit(vec![delete("a"), delete("n"), delete("never")], None).await.unwrap();
    assert_eq!(store.memory_entries(&mine).unwrap(), [("b".to_owned(), b"xyz".to_vec())]);
    assert!(!store.memory_exists(&mine, "a").unwrap() && store.memory_exists(&mine, "b").unwrap());
    assert_eq!(used(store, &mine), [4, 1, 4]);
}

/// Bytes and keys of a bucket, and the bytes of its tenant.
fn used(store: &Store, bucket: &BucketId) -> [u64; 3] {
    let used = store.memory_used(bucket).unwrap();
    [used.bytes, used.keys, used.tenant_bytes]
}

async fn full_memory_takes_nothing_more(store: &Store) {
    let (mine, yours, other) = (bucket("a", "ann"), bucket("a", "bob"), bucket("b", "ann"));
    let limits = MemoryLimits { bucket_bytes: 10, bucket_keys: 3, tenant_bytes: 15 };
    let commit = |memory: Vec<MemoryWrite>, memory_limits| {
        let appends = vec![append(&tenant("a"), &id(1), vec![said("x")])];
        store.commit(Batch { appends, memory, memory_limits, ..Batch::default() })
    };
    let set = |bucket: &BucketId, key: &str, bytes: usize| {
        write(bucket, key, MemoryChange::Set(vec![b'x'; bytes]))
    };
    let delete = |bucket: &BucketId, key: &str| write(bucket, key, MemoryChange::Delete);
    commit(vec![set(&mine, "a", 8), set(&mine, "b", 0)], Some(limits)).await.unwrap();
    let seq = |n| (n, store.last_seq(&tenant("a"), &Stream::Session(id(1))).unwrap());
    for (memory, held) in [
        // One byte more in the bucket; one more key; one more of the tenant.
        (vec![set(&mine, "b", 1)], [10, 2, 10]),
        (vec![set(&mine, "a", 0), set(&mine, "c", 0), set(&mine, "d", 0)], [10, 2, 10]),
        (vec![set(&yours, "a", 5)], [10, 2, 10]),
        (vec![delete(&mine, "b"), set(&yours, "a", 6)], [10, 2, 10]),
    ] {
        let refused = commit(memory, Some(limits)).await;
        assert!(matches!(refused, Err(Error::MemoryFull { .. })), "{refused:?}");
        assert_eq!(used(store, &mine), held);
        let (found, stands) = seq(1);
        assert_eq!(found, stands, "nothing of the batch is stored");
    }
    // What fits in the end fits, whatever is in between.
    commit(vec![set(&mine, "b", 9), set(&mine, "a", 0), delete(&mine, "b")], Some(limits))
        .await
        .unwrap();
    assert_eq!(used(store, &mine), [1, 1, 1]);
    commit(vec![set(&mine, "a", 9)], Some(limits)).await.unwrap();
    // Two that each looked before: one of them is first.
    let race = [set(&yours, "one", 2), set(&yours, "two", 2)]
        .map(|write| commit(vec![write], Some(limits)));
    let results = join_all(race.into_iter()).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    // Another tenant has its own, and a lowered limit takes what does not grow.
    let appends = vec![append(&tenant("b"), &id(2), vec![said("x")])];
    let memory = vec![set(&other, "a", 9)];
    let batch = Batch { appends, memory, memory_limits: Some(limits), ..Batch::default() };
    store.commit(batch).await.unwrap();
    assert_eq!(used(store, &other), [10, 1, 10]);
    let lower = MemoryLimits { bucket_bytes: 2, bucket_keys: 0, tenant_bytes: 2 };
    commit(vec![set(&mine, "a", 8)], Some(lower)).await.unwrap();
    assert!(commit(vec![set(&mine, "a", 9)], Some(lower)).await.is_err());
}

async fn keys_come_in_pages(store: &Store) {
    let mine = bucket("local", "ann");
    let keys: Vec<String> = (0..25).map(|n| format!("k{n:02}ä")).collect();
    let memory = keys.iter().map(|key| write(&mine, key, MemoryChange::Set(vec![]))).collect();
    store.commit(Batch { memory, ..Batch::default() }).await.unwrap();
    for size in [1, 7, 25, 100] {
        let (mut seen, mut cursor) = (vec![], None::<String>);
        loop {
            let page = store.memory_keys(&mine, cursor.as_deref(), size).unwrap();
            seen.extend(page.keys);
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, keys, "in pages of {size}");
    }
}

async fn blobs_are_kept_by_digest(store: &Store) {
    let bytes = vec![7; 100_000];
    let blobs = vec![BlobWrite { tenant: tenant("one"), bytes: bytes.clone() }; 2];
    store.commit(Batch { blobs, ..Batch::default() }).await.unwrap();
    let digest = Digest::of(&bytes);
    assert_eq!(store.blob(&tenant("one"), &digest).unwrap().unwrap(), bytes);
    assert_eq!(store.blob(&tenant("two"), &digest).unwrap(), None);
    assert_eq!(store.blob(&tenant("one"), &Digest::of(b"other")).unwrap(), None);
}

async fn tenants_are_apart(store: &Store) {
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

async fn sessions_are_listed_and_found(store: &Store) {
    let local = TenantId::local();
    let ids: Vec<SessionId> = ["ab10", "ab20", "cd00"]
        .map(|start| format!("{start}{}", "0".repeat(28)).parse().unwrap())
        .to_vec();
    for (n, session) in ids.iter().enumerate() {
        let mut append = append(&local, session, vec![created()]);
        append.user = if n == 2 { "bob" } else { "ann" }.parse().unwrap();
        append.events[0].at = Timestamp(100 + n as u64);
        store.commit(batch(append)).await.unwrap();
    }
    let lines = format!("\n  fix the {}\nsecond line", "very ".repeat(40));
    let run = RunId(1);
    let bodies = vec![said(&lines), Body::RunStarted { run }];
    store.commit(batch(append(&local, &ids[0], bodies))).await.unwrap();
    let row = store.session(&local, &ids[0]).unwrap();
    assert_eq!(row.status.as_deref(), Some("running"));
    assert_eq!(row.title.as_ref().map(|title| title.chars().count()), Some(80));
    assert!(row.title.unwrap().starts_with("fix the very"));
    assert_eq!((row.created_at, row.last_at), (Timestamp(100), Timestamp(1_000)));
    let bodies = vec![said("again"), Body::RunCancelled { run }];
    store.commit(batch(append(&local, &ids[0], bodies))).await.unwrap();
    assert_eq!(store.session(&local, &ids[0]).unwrap().status.as_deref(), Some("cancelled"));
    store.commit(batch(append(&local, &ids[1], vec![Body::SessionClosed {}]))).await.unwrap();
    assert_eq!(store.session(&local, &ids[1]).unwrap().status.as_deref(), Some("closed"));

    let listed = |user: Option<&str>| {
        let user: Option<UserId> = user.map(|user| user.parse().unwrap());
        let rows = store.sessions(&local, user.as_ref(), 10).unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let [a, b, c] = [0, 1, 2].map(|n: usize| ids[n].clone());
    assert_eq!(listed(None), [a.clone(), b.clone(), c.clone()]);
    assert_eq!(listed(Some("bob")), ids[2..]);
    assert_eq!(listed(Some("eve")), []);
    for (user, prefix, found) in [
        ("bob", "c", Resolved::One(c.clone())),
        ("bob", c.clone().as_str(), Resolved::One(c.clone())),
        ("ann", "ab2", Resolved::One(b.clone())),
        ("ann", "ab", Resolved::Ambiguous(vec![a.clone(), b])),
        // Of others nothing is told, and nothing of theirs makes a prefix ambiguous.
        ("ann", "", Resolved::Ambiguous(ids[..2].to_vec())),
        ("bob", "", Resolved::One(c.clone())),
        ("bob", "ab", Resolved::None),
        ("ann", c.as_str(), Resolved::None),
        ("ann", "ee", Resolved::None),
        ("ann", "AB", Resolved::None),
        ("ann", "%", Resolved::None),
        ("ann", "ab' OR 1=1 --", Resolved::None),
    ] {
        let user: UserId = user.parse().unwrap();
        assert_eq!(store.resolve_session(&local, &user, prefix).unwrap(), found, "{user} {prefix}");
    }
}

async fn commands_are_done_once(store: &Store) {
    let (tenant, session) = (TenantId::local(), id(1));
    store.commit(batch(append(&tenant, &session, vec![created()]))).await.unwrap();
    for command in [r#"{"a":1}"#, r#"{"a":2}"#] {
        store.inbox_put(&tenant, &session, Timestamp(5), command.into(), None).await.unwrap();
    }
    let waiting = store.inbox(&tenant, &session).unwrap();
    let commands: Vec<&str> = waiting.iter().map(|entry| entry.command.as_str()).collect();
    assert_eq!(commands, [r#"{"a":1}"#, r#"{"a":2}"#]);
    let done = || {
        let inbox_done = vec![waiting[0].id.clone()];
        let appends = vec![append(&tenant, &session, vec![said("x")])];
        store.commit(Batch { appends, inbox_done, ..Batch::default() })
    };
    done().await.unwrap();
    assert_eq!(conflict(done().await), Conflict::InboxDone);
    assert_eq!(store.last_seq(&tenant, &Stream::Session(session.clone())).unwrap(), 2);
    assert_eq!(store.inbox(&tenant, &session).unwrap(), waiting[1..]);
}

async fn a_command_with_a_key_comes_once(store: &Store) {
    let (tenant, session) = (TenantId::local(), id(1));
    for session in [&session, &id(2)] {
        store.commit(batch(append(&tenant, session, vec![created()]))).await.unwrap();
    }
    let put = |session: &SessionId, command: &str, key| {
        let (session, command) = (session.clone(), command.to_owned());
        let tenant = &tenant;
        async move { store.inbox_put(tenant, &session, Timestamp(5), command, key).await }
    };
    let first = put(&session, "{}", Some("k")).await.unwrap();
    assert_eq!(put(&session, "{}", Some("k")).await.unwrap(), first);
    assert_eq!(store.inbox(&tenant, &session).unwrap().len(), 1);
    let reused = put(&session, "[]", Some("k")).await;
    assert!(matches!(&reused, Err(Error::KeyReused { key }) if key == "k"), "{reused:?}");
    // Another key, none, and another session's.
    for other in [
        put(&session, "{}", Some("l")).await,
        put(&session, "{}", None).await,
        put(&id(2), "[]", Some("k")).await,
    ] {
        assert_ne!(other.unwrap(), first);
    }
    let done = Batch { inbox_done: vec![first.clone()], ..Batch::default() };
    store.commit(done).await.unwrap();
    assert_eq!(put(&session, "{}", Some("k")).await.unwrap(), first, "also after it was done");
    assert_eq!(store.inbox(&tenant, &session).unwrap().len(), 2);
    let nowhere = put(&id(9), "{}", Some("k")).await;
    assert!(matches!(nowhere, Err(Error::NoSuchSession)), "{nowhere:?}");
}

async fn budgets_are_held(store: &Store) {
    let of = Some(100);
    let change = |owner: &str, window, spent, reserved, of| BudgetChange {
        tenant: tenant("a"),
        limit: Limit::Tokens,
        window_start: Timestamp(window),
        owner: owner.into(),
        spent,
        reserved,
        of,
    };
    let commit = |change: BudgetChange| {
        let appends = vec![append(&tenant("a"), &id(1), vec![said("x")])];
        store.commit(Batch { appends, budgets: vec![change], ..Batch::default() })
    };
    let stands = |window| {
        let state = store.budget(&tenant("a"), Limit::Tokens, Timestamp(window)).unwrap();
        [state.spent, state.reserved]
    };
    let seq = || store.last_seq(&tenant("a"), &Stream::Session(id(1))).unwrap();
    assert_eq!(stands(1), [0, 0]);
    let mut stored = 0;
    for (change, expected) in [
        (change("one", 1, 0, 60, of), Ok([0, 60])),
        (change("two", 1, 0, 40, of), Ok([0, 100])),
        (change("three", 1, 0, 1, of), Err([0, 100])),
        // An owner's reservation is what it is now, not one more.
        (change("two", 1, 0, 40, of), Ok([0, 100])),
        (change("two", 1, 0, 41, of), Err([0, 100])),
        // Settling goes through, whatever was spent.
        (change("one", 1, 70, 0, of), Ok([70, 40])),
        (change("one", 1, 10, 0, of), Ok([80, 40])),
        (change("two", 1, 0, 20, of), Ok([80, 20])),
        (change("three", 1, 0, 1, of), Err([80, 20])),
        (change("three", 1, 0, 1, None), Ok([80, 21])),
        // What is reserved in a window is void in the next, what was spent stays known.
        (change("three", 2, 0, 100, of), Ok([0, 100])),
        (change("two", 1, 5, 0, of), Ok([85, 0])),
        (change("three", 2, u64::MAX, 0, of), Ok([i64::MAX as u64, 0])),
    ] {
        let (window, asked) = (change.window_start.0, format!("{change:?}"));
        match (commit(change).await, expected) {
            (Ok(committed), Ok([spent, reserved])) => {
                stored += 1;
                let state = BudgetState { limit: Limit::Tokens, spent, reserved };
                assert_eq!(committed.budgets, [state], "{asked}");
                assert_eq!(stands(window), [spent, reserved], "{asked}");
            }
            (Err(Error::BudgetSpent { limit, spent, reserved, of }), Err(found)) => {
                assert_eq!((limit, [spent, reserved], of), (Limit::Tokens, found, 100), "{asked}");
            }
            (other, _) => panic!("{asked}: {other:?}"),
        }
        assert_eq!(seq(), stored, "all of a batch or nothing: {asked}");
    }
    // Of two that each fit alone the first is in; another tenant and another limit have their own.
    let race = ["x", "y"].map(|owner| commit(change(owner, 3, 0, 60, of)));
    let results = join_all(race.into_iter()).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let other = BudgetChange { tenant: tenant("b"), ..change("x", 3, 0, 100, of) };
    commit(other).await.unwrap();
    commit(BudgetChange { limit: Limit::Fuel, ..change("x", 3, 0, 100, of) }).await.unwrap();
}

async fn what_is_open_is_found(store: &Store) {
    let (one, two) = (RunId(1), RunId(2));
    let say =
        |run| Body::MessageAdded { run, text: "x".into(), key: None, not_after: None, agent: None };
    let wait = |on| Body::RunWaiting { run: one, on, calls: vec![] };
    let begin = vec![created(), say(one), Body::RunStarted { run: one }];
    for (of, n, more) in [
        ("a", 1, vec![wait(Wait::Approval), say(two)]),
        ("a", 2, vec![wait(Wait::Input)]),
        ("b", 1, vec![wait(Wait::Reconcile)]),
        ("b", 3, vec![Body::RunCompleted { run: one }]),
        ("b", 4, vec![]),
    ] {
        let mut append = append(&tenant(of), &id(n), [begin.clone(), more].concat());
        append.user = if n == 2 { "bob" } else { "ann" }.parse().unwrap();
        store.commit(batch(append)).await.unwrap();
    }
    let names = |open: Vec<OpenSession>| -> Vec<(String, SessionId)> {
        open.into_iter().map(|open| (open.tenant.to_string(), open.session)).collect()
    };
    let [a1, a2, b1, b4] =
        [("a", 1), ("a", 2), ("b", 1), ("b", 4)].map(|(of, n)| (of.to_owned(), id(n)));
    let all = store.unfinished(None, 10).unwrap();
    assert_eq!((all[0].status.as_deref(), all[0].waits), (Some("waiting"), Some(Wait::Approval)));
    assert_eq!((all[0].user.as_str(), all[0].agent.as_str()), ("ann", "coder"));
    assert_eq!(names(all), [a1.clone(), a2.clone(), b1.clone(), b4.clone()]);
    assert_eq!(names(store.unfinished(None, 2).unwrap()), [a1.clone(), a2.clone()]);
    let rest = store.unfinished(Some((&tenant("a"), &id(2))), 10).unwrap();
    assert_eq!(names(rest), [b1, b4]);

    let waiting = |of, user: Option<&str>, on| -> Vec<SessionId> {
        let user: Option<UserId> = user.map(|user| user.parse().unwrap());
        let rows = store.waiting(&tenant(of), user.as_ref(), on).unwrap();
        rows.into_iter().map(|row| row.id).collect()
    };
    assert_eq!(waiting("a", None, None), [id(1), id(2)]);
    assert_eq!(waiting("a", Some("bob"), None), [id(2)]);
    assert_eq!(waiting("a", None, Some(Wait::Approval)), [id(1)]);
    assert_eq!(waiting("a", Some("bob"), Some(Wait::Approval)), []);
    assert_eq!(waiting("b", None, Some(Wait::Reconcile)), [id(1)]);

    // What waits goes on and ends; then the run behind it is what is left.
    for (body, status, left) in [
        (Body::RunResumed { run: one }, "running", vec![]),
        (wait(Wait::Retry), "waiting", vec![id(1)]),
        (Body::RunCancelled { run: one }, "queued", vec![]),
        (Body::RunStarted { run: two }, "running", vec![]),
        (Body::RunCompleted { run: two }, "completed", vec![]),
    ] {
        store.commit(batch(append(&tenant("a"), &id(1), vec![body]))).await.unwrap();
        let row = store.session(&tenant("a"), &id(1)).unwrap();
        assert_eq!(row.status.as_deref(), Some(status));
        assert_eq!(waiting("a", Some("ann"), None), left);
    }
    assert_eq!(names(store.unfinished(None, 1).unwrap())[0], a2);

    let wake = |of: &str, n, at: Option<u64>| {
        let wake = Wake { tenant: tenant(of), session: id(n), at: at.map(Timestamp) };
        store.commit(Batch { wake: Some(wake), ..Batch::default() })
    };
    assert_eq!(store.next_wake().unwrap(), None);
    wake("a", 2, Some(70)).await.unwrap();
    wake("b", 1, Some(60)).await.unwrap();
    wake("b", 4, Some(80)).await.unwrap();
    assert_eq!(store.next_wake().unwrap(), Some(Timestamp(60)));
    let due = |now| names(store.due(Timestamp(now), 10).unwrap());
    let b1 = ("b".to_owned(), id(1));
    assert_eq!(due(59), []);
    assert_eq!(due(70), [b1.clone(), a2.clone()]);
    assert_eq!(names(store.due(Timestamp(99), 1).unwrap()), [b1]);
    wake("b", 1, None).await.unwrap();
    assert_eq!(due(70), [a2]);
    // With its last open run a session's time is forgotten, unless the same batch says another.
    let end = |wake| Batch {
        wake,
        ..batch(append(&tenant("a"), &id(2), vec![Body::RunCompleted { run: one }]))
    };
    store.commit(end(None)).await.unwrap();
    assert_eq!(due(70), []);
    let nowhere = wake("b", 9, Some(1)).await;
    assert!(matches!(nowhere, Err(Error::NoSuchSession)), "{nowhere:?}");
}

async fn later_is_durable_after_a_flush(store: &Store) {
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

async fn changes_are_seen(store: &Store) {
    let before = store.data_version().unwrap();
    assert_eq!(store.data_version().unwrap(), before);
    store.commit(batch(append(&TenantId::local(), &id(1), vec![said("x")]))).await.unwrap();
    assert_ne!(store.data_version().unwrap(), before);
}
