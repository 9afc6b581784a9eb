//! All lists in the one order in which they were written, told and read again.

use ringfence_event::{
    Body, CommitPage, Followed, RunId, SessionId, Stream, TenantId, Timestamp, UserId,
};
use ringfence_store::{Append, Batch, Follower, NewEvent, Store};
use rusqlite::Connection;

fn append(tenant: &str, session: u8, count: u32) -> Append {
    let event = |run| NewEvent {
        at: Timestamp(1),
        body: Body::RunStarted { run: RunId(run) },
        cause: None,
        trace: None,
    };
    Append {
        stream: Stream::Session(SessionId::from_random([session; 16])),
        tenant: tenant.parse().unwrap(),
        user: UserId::local(),
        fence: None,
        expected_seq: None,
        events: (0..count).map(event).collect(),
    }
}

fn commit(store: &Store, tenant: &str, session: u8, count: u32) {
    let batch = Batch { appends: vec![append(tenant, session, count)], ..Batch::default() };
    store.commit_blocking(batch).unwrap();
}

/// Tenant, place of the commit, and how many events.
fn shown(page: &CommitPage) -> Vec<(String, u64, usize)> {
    let commits = page.commits.iter();
    let shown =
        commits.map(|one| (one.events[0].tenant.to_string(), one.position, one.events.len()));
    shown.collect()
}

/// Everything that waits for a follower.
fn told(follower: &mut Follower) -> Vec<u64> {
    let next = std::iter::from_fn(|| follower.try_next());
    next.map(|followed| match followed {
        Followed::Commit(commit) => commit.position,
        Followed::Lagged => 0,
    })
    .collect()
}

#[test]
fn commits_of_all_tenants_are_told_and_read_in_one_order() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("ringfence.db")).unwrap();
    let mut follower = store.follow();
    assert_eq!(store.position().unwrap(), 0);
    assert!(store.committed(0, None, 10).unwrap().is_last);
    for (tenant, session) in [("acme", 1), ("other", 2), ("acme", 1), ("acme", 3)] {
        commit(&store, tenant, session, 2);
    }
    // More than a row holds.
    commit(&store, "other", 2, 70);
    let last = store.position().unwrap();
    assert_eq!(told(&mut follower), [1, 2, 3, 4, last]);
    let all = store.committed(0, None, 100).unwrap();
    let of = |tenant: &str, position, count| (tenant.to_owned(), position, count);
    assert_eq!(
        shown(&all),
        [
            of("acme", 1, 2),
            of("other", 2, 2),
            of("acme", 3, 2),
            of("acme", 4, 2),
            of("other", 5, 64),
            of("other", 6, 6)
        ]
    );
    assert!(all.is_last && all.position == last && last == 6);
    // A page at a time, of one tenant: what is not theirs counts as looked at.
    let acme: TenantId = "acme".parse().unwrap();
    let page = store.committed(0, Some(&acme), 2).unwrap();
    assert_eq!((shown(&page), page.position, page.is_last), (vec![of("acme", 1, 2)], 2, false));
    let page = store.committed(page.position, Some(&acme), 2).unwrap();
    assert_eq!(shown(&page), [of("acme", 3, 2), of("acme", 4, 2)]);
    let page = store.committed(page.position, Some(&acme), 100).unwrap();
    assert_eq!((shown(&page), page.position, page.is_last), (vec![], 6, true));
}

/// Another process is not told of, and is read all the same.
#[test]
fn what_another_process_commits_is_read() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    let (ours, theirs) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
    let mut follower = ours.follow();
    commit(&theirs, "acme", 1, 1);
    commit(&ours, "acme", 2, 1);
    assert_eq!(told(&mut follower), [2]);
    assert_eq!(ours.committed(0, None, 10).unwrap().commits.len(), 2);
}

/// What is damaged is named, and what stands behind it arrives.
#[test]
fn a_damaged_row_is_named_and_passed_over() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ringfence.db");
    let store = Store::open(&path).unwrap();
    for session in 1..=3 {
        commit(&store, "acme", session, 1);
    }
    let connection = Connection::open(&path).unwrap();
    connection.execute("UPDATE journal SET events = x'00' WHERE id = 2", []).unwrap();
    let page = store.committed(0, None, 10).unwrap();
    assert_eq!((page.commits.len(), page.damaged.len(), page.position), (2, 1, 3));
    connection.execute("UPDATE stream SET tenant = 'other' WHERE id = 1", []).unwrap();
    let page = store.committed(0, Some(&"other".parse().unwrap()), 10).unwrap();
    assert_eq!(
        (page.commits.len(), page.damaged.len()),
        (0, 1),
        "nobody is told what is not theirs"
    );
    assert!(page.damaged[0].contains("row 1"), "{:?}", page.damaged);
}
