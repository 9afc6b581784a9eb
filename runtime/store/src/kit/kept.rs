//! Cases of what is kept beside events: memory, blobs, budgets.

use ringfence_event::{Digest, Limit, Stream, TenantId, Timestamp};

use super::{Subject, append, bucket, conflict, id, join_all, said, tenant, write};
use crate::{
    Append, Batch, BlobWrite, BucketId, BudgetChange, BudgetState, Error, MemoryChange,
    MemoryLimits, MemoryWrite,
};

pub(super) async fn memory_changes_with_its_events(store: &impl Subject) {
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
fn used(store: &impl Subject, bucket: &BucketId) -> [u64; 3] {
    let used = store.memory_used(bucket).unwrap();
    [used.bytes, used.keys, used.tenant_bytes]
}

pub(super) async fn full_memory_takes_nothing_more(store: &impl Subject) {
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

pub(super) async fn keys_come_in_pages(store: &impl Subject) {
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

pub(super) async fn blobs_are_kept_by_digest(store: &impl Subject) {
    let bytes = vec![7; 100_000];
    let blobs = vec![BlobWrite { tenant: tenant("one"), bytes: bytes.clone() }; 2];
    store.commit(Batch { blobs, ..Batch::default() }).await.unwrap();
    let digest = Digest::of(&bytes);
    assert_eq!(store.blob(&tenant("one"), &digest).unwrap().unwrap(), bytes);
    assert_eq!(store.blob(&tenant("two"), &digest).unwrap(), None);
    assert_eq!(store.blob(&tenant("one"), &Digest::of(b"other")).unwrap(), None);
}

pub(super) async fn budgets_are_held(store: &impl Subject) {
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
