//! API keys, and requests that are carried out once.

use ringfence_event::{Digest, Key, KeyId, KeyScope, TenantId, Timestamp, UserId};
use ringfence_store::{Batch, Claim, Claimed, Error, KeyChange, RequestAnswer, Store, StoredKey};

use ringfence_store::kit::tenant;

fn key(n: u8, of: &TenantId) -> StoredKey {
    let key = Key {
        id: KeyId::from_random([n; 16]),
        tenant: of.clone(),
        user: n.is_multiple_of(2).then(UserId::local),
        scopes: vec![KeyScope::Read, KeyScope::Run],
        name: Some(format!("key {n}")),
        created: Timestamp(1),
        expires: n.is_multiple_of(3).then_some(Timestamp(100)),
        revoked: None,
        replaces: None,
    };
    StoredKey { key, secret: Digest::of(&[n]) }
}

async fn change(store: &Store, change: KeyChange) -> Result<(), Error> {
    store.commit(Batch { keys: vec![change], ..Batch::default() }).await.map(drop)
}

#[tokio::test]
async fn a_key_is_kept_ended_and_shortened() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("ringfence.db")).unwrap();
    let (a, b) = (tenant("a"), tenant("b"));
    for n in 1..=4 {
        let of = if n == 4 { &b } else { &a };
        change(&store, KeyChange::Create(Box::new(key(n, of)))).await.unwrap();
    }
    assert_eq!(store.keys(&a).unwrap(), [key(1, &a), key(2, &a), key(3, &a)]);
    assert_eq!(store.all_keys().unwrap().len(), 4);
    let id = |n: u8| KeyId::from_random([n; 16]);
    let revoke = |of: &TenantId, n: u8| {
        let (tenant, key) = (of.clone(), id(n));
        KeyChange::Revoke { tenant, key, at: Timestamp(50) }
    };
    change(&store, revoke(&a, 1)).await.unwrap();
    // Twice, another tenant's, and none at all.
    for (of, n) in [(&a, 1), (&b, 2), (&a, 9)] {
        let done = change(&store, revoke(of, n)).await;
        assert!(matches!(done, Err(Error::NoSuchKey { .. })), "{n}: {done:?}");
    }
    let expire = |n: u8, at: u64| {
        let (tenant, key) = (a.clone(), id(n));
        KeyChange::Expire { tenant, key, now: Timestamp(50), at: Timestamp(at) }
    };
    change(&store, expire(2, 70)).await.unwrap();
    change(&store, expire(3, 200)).await.unwrap();
    let keys = store.keys(&a).unwrap();
    let ends: Vec<_> = keys.iter().map(|kept| (kept.key.revoked, kept.key.expires)).collect();
    let at = |at: u64| Some(Timestamp(at));
    assert_eq!(ends, [(at(50), None), (None, at(70)), (None, at(100))], "no later than before");
}

#[tokio::test]
async fn i11_a_request_is_claimed_once_and_answered_from_then_on() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("ringfence.db")).unwrap();
    let claim = |key: &str, body: &str, worker: &str, at: u64, gone: &[&str]| Claim {
        tenant: tenant("a"),
        user: UserId::local(),
        key: key.to_owned(),
        digest: Digest::of(body.as_bytes()),
        resource: format!("by {worker} at {at}"),
        worker: worker.to_owned(),
        at: Timestamp(at),
        forget_before: Timestamp(at.saturating_sub(100)),
        gone: gone.iter().map(|gone| (*gone).to_owned()).collect(),
    };
    let yours = |resource: &str, again| Claimed::Yours { resource: resource.to_owned(), again };
    let ask = async |asked: Claim| store.claim_request(asked).await.unwrap();
    assert_eq!(ask(claim("k", "x", "one", 1, &[])).await, yours("by one at 1", false));
    assert_eq!(ask(claim("k", "x", "two", 2, &[])).await, Claimed::Busy { worker: "one".into() });
    assert_eq!(ask(claim("k", "y", "two", 2, &[])).await, Claimed::Other);
    // Its worker is gone: the next one goes on under the same name.
    assert_eq!(ask(claim("k", "x", "two", 3, &["one"])).await, yours("by one at 1", true));
    let answer = RequestAnswer { status: 201, body: b"made".to_vec() };
    let (a, local) = (tenant("a"), UserId::local());
    store.answer_request(&a, &local, "k", Some(answer.clone())).await.unwrap();
    assert_eq!(ask(claim("k", "x", "three", 4, &[])).await, Claimed::Answered(answer));
    assert_eq!(ask(claim("k", "y", "three", 4, &[])).await, Claimed::Other);
    // Nothing came of it: it may be sent again, with whatever.
    ask(claim("l", "x", "one", 5, &[])).await;
    store.answer_request(&a, &local, "l", None).await.unwrap();
    assert_eq!(ask(claim("l", "y", "one", 6, &[])).await, yours("by one at 6", false));
    // And after its time nobody remembers.
    assert_eq!(ask(claim("k", "y", "one", 200, &[])).await, yours("by one at 200", false));
}
