//! Cases of sessions: how they are listed and found, what waits, and their inboxes.

use ringfence_event::{Body, RunId, SessionId, Stream, TenantId, Timestamp, UserId, Wait};

use super::{Subject, append, batch, conflict, created, id, said, tenant};
use crate::{Batch, Conflict, Error, OpenSession, Resolved, Wake};

pub(super) async fn sessions_are_listed_and_found(store: &impl Subject) {
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

pub(super) async fn commands_are_done_once(store: &impl Subject) {
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

pub(super) async fn a_command_with_a_key_comes_once(store: &impl Subject) {
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

pub(super) async fn what_is_open_is_found(store: &impl Subject) {
    let (one, two) = (RunId(1), RunId(2));
    let say = |run| Body::MessageAdded {
        run,
        text: "x".into(),
        key: None,
        not_after: None,
        agent: None,
        api_key: None,
    };
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
