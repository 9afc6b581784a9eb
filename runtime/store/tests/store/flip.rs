//! A byte that is another one, anywhere in the file: every question is answered with the truth or with an
//! error that names what is damaged, and never with anything else.

use std::{collections::BTreeMap, fs, path::Path};

use ringfence_event::{
    Body, Digest, Key, KeyId, KeyScope, Limit, RunId, SessionId, Stream, TenantId, Timestamp,
    UserId, Wait,
};
use ringfence_store::{
    Batch, BlobWrite, BudgetChange, Error, KeyChange, MemoryChange, MemoryWrite, Store, StoredKey,
    Wake,
};

use crate::sample::step;
use ringfence_store::kit::{append, batch, bucket, created, id, said, tenant};

/// How many bytes are flipped, one in each file; more of them by this variable.
const FLIPS: &str = "RINGFENCE_TEST_FLIPS";

fn random(n: u64) -> u64 {
    let digest = Digest::of(format!("flip {n}").as_bytes());
    u64::from_le_bytes(digest.as_bytes()[..8].try_into().unwrap())
}

/// Sessions that have something in every table, of two tenants.
async fn fill(store: &Store) {
    let commit = async |batch| drop(store.commit(batch).await.unwrap());
    for n in 0..12 {
        let of = tenant(if n % 3 == 0 { "b" } else { "a" });
        let mut first = append(
            &of,
            &id(n),
            vec![created(), said("Find out."), Body::RunStarted { run: RunId(1) }],
        );
        first.user = if n % 2 == 0 { "ann" } else { "bob" }.parse().unwrap();
        first.events[0].at = Timestamp(u64::from(n) * 100_000);
        commit(batch(first)).await;
        for number in 1..=u32::from(n) {
            commit(batch(append(&of, &id(n), step(&id(n), number, "fn main() {}")))).await;
        }
        let end = match n % 4 {
            0 => Body::RunCompleted { run: RunId(1) },
            1 => Body::RunWaiting { run: RunId(1), on: Wait::Approval, calls: vec![] },
            2 => Body::RunWaiting { run: RunId(1), on: Wait::Input, calls: vec![] },
            _ => said(&"long ".repeat(2_000)),
        };
        let wake = Wake { tenant: of.clone(), session: id(n), at: Some(Timestamp(n.into())) };
        let memory = (0..6).map(|key| MemoryWrite {
            bucket: bucket(of.as_str(), if n % 2 == 0 { "ann" } else { "bob" }),
            key: format!("{n}-{key}"),
            change: MemoryChange::Set(vec![b'v'; 40 * key]),
        });
        let budgets = vec![BudgetChange {
            tenant: of.clone(),
            limit: if n % 2 == 0 { Limit::Tokens } else { Limit::Fuel },
            window_start: Timestamp(5),
            owner: id(n).to_string(),
            spent: 10,
            reserved: u64::from(n),
            of: None,
        }];
        commit(Batch {
            memory: memory.collect(),
            budgets,
            wake: (n % 4 != 0).then_some(wake),
            blobs: vec![BlobWrite { tenant: of.clone(), bytes: vec![n; 3_000] }],
            ..batch(append(&of, &id(n), vec![end]))
        })
        .await;
    }
}

async fn put(store: &Store) {
    for n in 0..12 {
        let of = tenant(if n % 3 == 0 { "b" } else { "a" });
        for key in [None, Some("k")] {
            let command = format!("{{\"a\":{n}}}");
            store.inbox_put(&of, &id(n), Timestamp(9), command, key).await.unwrap();
        }
    }
    store.claim(&tenant("a"), &id(1), "one").await.unwrap();
    for n in 0..6 {
        let key = StoredKey {
            key: Key {
                id: KeyId::from_random([n; 16]),
                tenant: tenant(if n % 3 == 0 { "b" } else { "a" }),
                user: None,
                scopes: vec![KeyScope::Run],
                name: Some(format!("key {n}")),
                created: Timestamp(n.into()),
                expires: None,
                revoked: None,
                replaces: None,
            },
            secret: Digest::of(&[n]),
        };
        let keys = vec![KeyChange::Create(Box::new(key))];
        store.commit(Batch { keys, ..Batch::default() }).await.unwrap();
    }
}

/// What a question is answered with: as a text, or why not.
type Answers = BTreeMap<String, Result<String, Error>>;

/// Every question that a store can be asked.
fn ask(store: &Store) -> Answers {
    let mut answers = Answers::new();
    let mut tell = |what: String, answer: Result<String, Error>| drop(answers.insert(what, answer));
    fn text<T: std::fmt::Debug>(answer: Result<T, Error>) -> Result<String, Error> {
        answer.map(|answer| format!("{answer:?}"))
    }
    let tenants: Vec<TenantId> = vec![tenant("a"), tenant("b")];
    for of in &tenants {
        // Sessions that are not there, too.
        for n in 0..14 {
            let stream = Stream::Session(id(n));
            let each = |what: &str| format!("{what} {of} {n}");
            tell(each("read"), text(store.read(of, &stream, 1, u32::MAX)));
            tell(each("from 3"), text(store.read(of, &stream, 3, 2)));
            tell(each("last"), text(store.last_seq(of, &stream)));
            let session = match store.session(of, &id(n)) {
                Err(Error::NoSuchSession) => Ok(None),
                session => session.map(Some),
            };
            tell(each("session"), text(session));
            tell(each("inbox"), text(store.inbox(of, &id(n))));
            let digest = Digest::of(&vec![n; 3_000]);
            tell(each("blob"), text(store.blob(of, &digest)));
        }
        for user in ["ann", "bob"] {
            let each = |what: &str| format!("{what} {of} {user}");
            let id: UserId = user.parse().unwrap();
            for limit in [2, 5, 99] {
                let listed = store.sessions(of, Some(&id), limit);
                tell(format!("{} {limit}", each("sessions")), text(listed));
            }
            tell(each("waiting"), text(store.waiting(of, Some(&id), None)));
            tell(each("approval"), text(store.waiting(of, None, Some(Wait::Approval))));
            tell(each("resolve"), text(store.resolve_session(of, &id, "0")));
            let bucket = bucket(of.as_str(), user);
            tell(each("entries"), text(store.memory_entries(&bucket)));
            tell(each("used"), text(store.memory_used(&bucket)));
            tell(each("keys"), text(store.memory_keys(&bucket, Some("1"), 4)));
            for key in ["1-3", "2-0", "4-5", "nowhere"] {
                tell(format!("{} {key}", each("memory")), text(store.memory_get(&bucket, key)));
                tell(format!("{} {key}", each("size")), text(store.memory_size(&bucket, key)));
            }
        }
        tell(format!("keys {of}"), text(store.keys(of)));
        tell(format!("sessions {of}"), text(store.sessions(of, None, 4)));
        for limit in [Limit::Tokens, Limit::Fuel, Limit::Calls] {
            let state = store.budget(of, limit, Timestamp(5));
            tell(format!("budget {of} {limit}"), text(state));
        }
    }
    tell("unfinished".into(), text(store.unfinished(None, 99)));
    tell("unfinished, some".into(), text(store.unfinished(Some((&tenant("a"), &id(5))), 3)));
    tell("due".into(), text(store.due(Timestamp(6), 99)));
    tell("next wake".into(), text(store.next_wake()));
    tell("quarantined".into(), text(store.quarantined()));
    answers
}

/// What must hold of an answer: it is the true one, or none.
fn check(at: usize, what: &str, truth: &str, answer: &Result<String, Error>) -> bool {
    match answer {
        Ok(answer) => {
            // A session's row that was damaged is made from its events again, and looked at at once.
            let at_once = |text: &str| {
                let mut parts = text.split("wake: Some(");
                let first = parts.next().unwrap_or_default().to_owned();
                parts.fold(first, |all, part| {
                    all + part.split_once(')').map_or("", |(_, rest)| rest)
                })
            };
            let is_true = answer == truth
                || answer.contains("wake: Some(Timestamp(0))") && at_once(answer) == at_once(truth);
            assert!(is_true, "byte {at}: {what}\n  is {truth}\n not {answer}");
            true
        }
        Err(
            Error::Corrupt { .. }
            | Error::Damaged { .. }
            | Error::CorruptBlob
            | Error::Quarantined { .. },
        ) => false,
        Err(Error::Database(source)) => panic!("byte {at}: {what}: {source}"),
        Err(other) => panic!("byte {at}: {what}: {other}"),
    }
}

#[tokio::test]
async fn d3_no_byte_of_the_file_makes_it_lie() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    let truth = {
        let store = Store::open(&path).unwrap();
        fill(&store).await;
        put(&store).await;
        ask(&store)
    };
    assert!(truth.values().all(Result::is_ok), "{truth:?}");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(other);
    let file = fs::read(&path).unwrap();
    let count = std::env::var(FLIPS).ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let (mut told, mut withheld, mut refused) = (0_u64, 0_u64, 0_u64);
    for n in 0..count {
        // Half of them among what is read first: the header, the tables, the roots.
        let end = if n % 4 == 0 { 4_096 } else { file.len() as u64 };
        let at = usize::try_from(random(n) % end).unwrap();
        let mut flipped = file.clone();
        flipped[at] ^= 1 << (random(n + count) % 8);
        match check_flipped(&home.path().join(format!("{n}.db")), &flipped, at, &truth).await {
            Some((some, others)) => {
                told += some;
                withheld += others;
            }
            None => refused += 1,
        }
    }
    // One byte does not take much with it: what is near, or the file where it is the header.
    assert!(withheld * 20 < told, "{withheld} of {told} are not told");
    assert!(refused * 4 < count, "{refused} of {count} are not opened");
}

/// How many answers are told and are not; none if the store cannot be opened.
async fn check_flipped(path: &Path, file: &[u8], at: usize, truth: &Answers) -> Option<(u64, u64)> {
    fs::write(path, file).unwrap();
    let store = match Store::open(path) {
        Ok(store) => store,
        Err(error) => {
            assert!(!matches!(error, Error::Stopped), "byte {at}");
            return None;
        }
    };
    let answers = ask(&store);
    let mut told = 0;
    for (what, answer) in &answers {
        let Ok(truth) = &truth[what] else { panic!("{what}") };
        // The questions before this one may have found the damage.
        if what != "quarantined" && check(at, what, truth, answer) {
            told += 1;
        }
    }
    goes_on(&store, at).await;
    Some((told, answers.len() as u64 - told))
}

/// What is acknowledged can be read, whatever else is damaged.
async fn goes_on(store: &Store, at: usize) {
    let sessions: [SessionId; 3] = [id(2), id(5), id(13)];
    for session in sessions {
        let of = tenant("a");
        if let Ok(added) = store.commit(batch(append(&of, &session, vec![said("more")]))).await {
            let stream = Stream::Session(session);
            let last = added.events[0].seq;
            let found = store.read(&of, &stream, last, 1).unwrap();
            assert_eq!(found[..], added.events[..], "byte {at}: what was acknowledged");
        }
    }
}
