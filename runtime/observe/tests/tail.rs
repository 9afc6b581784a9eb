//! A sink behind a source that is faster than it, fails, and is another process's too.

#![expect(clippy::unwrap_used, reason = "all of this is for tests, which are to fail")]

use std::{
    fs,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use ringfence_event::{
    Body, Commit, CommitPage, Event, FORMAT, Followed, RunId, SessionId, Stream, TenantId,
    Timestamp, UserId,
};
use ringfence_observe::{
    Config, Cursors, FileConfig, FileCursors, Follow, Observer, SinkConfig, Source, SourceError,
    Target,
};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(60);

/// A journal in memory: some tenants, an event a commit.
#[derive(Default)]
struct Memory {
    commits: Mutex<Vec<Commit>>,
    followers: Mutex<Vec<mpsc::UnboundedSender<Followed>>>,
    broken: Mutex<bool>,
    suspended: Mutex<Vec<(TenantId, Option<String>)>>,
}

impl Memory {
    /// Commits an event of a tenant; told to whoever follows, or only to be read.
    fn commit(&self, tenant: &str, is_told: bool) {
        let mut commits = self.commits.lock().unwrap();
        let position = commits.len() as u64 + 1;
        let event = Event {
            format: FORMAT,
            tenant: tenant.parse().unwrap(),
            user: UserId::local(),
            stream: Stream::Session(SessionId::from_random([7; 16])),
            seq: position,
            at: Timestamp(position),
            body: Body::RunStarted { run: RunId(1) },
            cause: None,
            trace: None,
        };
        let commit = Commit { position, events: Arc::new([event]) };
        commits.push(commit.clone());
        if is_told {
            for follower in self.followers.lock().unwrap().iter() {
                let _ = follower.send(Followed::Commit(commit.clone()));
            }
        }
    }

    fn lag(&self) {
        for follower in self.followers.lock().unwrap().iter() {
            let _ = follower.send(Followed::Lagged);
        }
    }

    fn check(&self) -> Result<(), SourceError> {
        match *self.broken.lock().unwrap() {
            true => Err(SourceError("the disk is gone".to_owned())),
            false => Ok(()),
        }
    }
}

struct Shared(Arc<Memory>);

impl Source for Shared {
    fn position(&self) -> Result<u64, SourceError> {
        self.0.check()?;
        Ok(self.0.commits.lock().unwrap().len() as u64)
    }

    fn committed(
        &self,
        after: u64,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<CommitPage, SourceError> {
        self.0.check()?;
        let commits = self.0.commits.lock().unwrap();
        let end = (after + u64::from(limit)).min(commits.len() as u64);
        let page = &commits[usize::try_from(after).unwrap()..usize::try_from(end).unwrap()];
        let mine =
            |commit: &&Commit| tenant.is_none_or(|tenant| commit.events[0].tenant == *tenant);
        Ok(CommitPage {
            commits: page.iter().filter(mine).cloned().collect(),
            damaged: vec![],
            position: end,
            is_last: end == commits.len() as u64,
        })
    }

    fn recorded(
        &self,
        _: &TenantId,
        _: &Stream,
        _: u64,
        _: u32,
    ) -> Result<Vec<Event>, SourceError> {
        self.0.check().map(|()| vec![])
    }

    fn follow(&self) -> Result<Box<dyn Follow>, SourceError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.followers.lock().unwrap().push(sender);
        Ok(Box::new(Following(receiver)))
    }

    fn suspend(&self, tenant: &TenantId, why: Option<String>) {
        self.0.suspended.lock().unwrap().push((tenant.clone(), why));
    }
}

struct Following(mpsc::UnboundedReceiver<Followed>);

impl Follow for Following {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Followed> + Send + '_>> {
        Box::pin(async {
            match self.0.recv().await {
                Some(followed) => followed,
                None => std::future::pending().await,
            }
        })
    }
}

async fn observe(memory: &Arc<Memory>, folder: &Path, tenants: &[&str]) -> Observer {
    let sink = |tenant: &&str| SinkConfig {
        tenant: tenant.parse().unwrap(),
        name: "all".to_owned(),
        events: vec![],
        required: false,
        target: Target::File(FileConfig {
            path: folder.join(tenant),
            sync: false,
            rotate_bytes: None,
            keep: 0,
        }),
    };
    let config = Config { sinks: tenants.iter().map(sink).collect(), ..Config::default() };
    let source = Arc::new(Shared(memory.clone()));
    Observer::start(config, source, Arc::new(FileCursors::new(folder))).await.unwrap()
}

/// The places that arrived.
fn arrived(folder: &Path, tenant: &str) -> Vec<u64> {
    let text = fs::read_to_string(folder.join(tenant)).unwrap_or_default();
    let place = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["sequence"].as_str().unwrap().parse().unwrap()
    };
    text.lines().map(place).collect()
}

fn every(from: u64, to: u64, step: usize) -> Vec<u64> {
    (from..=to).step_by(step).collect()
}

#[tokio::test]
async fn what_comes_faster_than_it_is_taken_is_read_again() {
    let (memory, folder) = (Arc::<Memory>::default(), tempfile::tempdir().unwrap());
    let observer = observe(&memory, folder.path(), &["a", "b", "c"]).await;
    for _ in 0..1_000 {
        // Nobody else runs in between, so that most of it does not fit.
        memory.commit("a", true);
        memory.commit("b", true);
    }
    // These were left out on the way.
    for _ in 0..10 {
        memory.commit("a", false);
        memory.commit("b", false);
    }
    memory.lag();
    let metrics = observer.metrics().clone();
    assert!(observer.stop(PATIENCE).await);
    assert_eq!(arrived(folder.path(), "a"), every(1, 2_020, 2));
    assert_eq!(arrived(folder.path(), "b"), every(2, 2_020, 2));
    assert_eq!(arrived(folder.path(), "c"), Vec::<u64>::new());
    assert!(metrics.render().contains("ringfence_observer_lagged_total"), "{}", metrics.render());
}

/// What another process committed is found, and what nobody told of.
#[tokio::test]
async fn what_others_commit_is_found() {
    let (memory, folder) = (Arc::<Memory>::default(), tempfile::tempdir().unwrap());
    memory.commit("a", false);
    let observer = observe(&memory, folder.path(), &["a"]).await;
    memory.commit("a", false);
    while arrived(folder.path(), "a") != [2] {
        tokio::task::yield_now().await;
    }
    assert!(observer.stop(PATIENCE).await);
    // The next one goes on from there.
    memory.commit("a", false);
    assert!(observe(&memory, folder.path(), &["a"]).await.stop(PATIENCE).await);
    assert_eq!(arrived(folder.path(), "a"), [2, 3]);
}

#[tokio::test]
async fn a_source_that_fails_is_asked_again() {
    let (memory, folder) = (Arc::<Memory>::default(), tempfile::tempdir().unwrap());
    let observer = observe(&memory, folder.path(), &["a"]).await;
    *memory.broken.lock().unwrap() = true;
    memory.commit("a", false);
    memory.lag();
    tokio::task::yield_now().await;
    *memory.broken.lock().unwrap() = false;
    while arrived(folder.path(), "a") != [1] {
        tokio::task::yield_now().await;
    }
    assert!(observer.stop(PATIENCE).await);
}

/// A sink is one process's at a time, and the next takes it when that is gone.
#[tokio::test]
async fn two_processes_deliver_once() {
    let (memory, folder) = (Arc::<Memory>::default(), tempfile::tempdir().unwrap());
    let first = observe(&memory, folder.path(), &["a"]).await;
    memory.commit("a", true);
    while arrived(folder.path(), "a") != [1] {
        tokio::task::yield_now().await;
    }
    let second = observe(&memory, folder.path(), &["a"]).await;
    memory.commit("a", true);
    assert!(first.stop(PATIENCE).await);
    memory.commit("a", true);
    while arrived(folder.path(), "a").len() < 3 {
        tokio::task::yield_now().await;
    }
    assert!(second.stop(PATIENCE).await);
    assert_eq!(arrived(folder.path(), "a"), [1, 2, 3]);
}

/// A store that was put back to an earlier day has no such place: it goes on from where it is now.
#[tokio::test]
async fn a_place_that_is_not_there_is_left() {
    let (memory, folder) = (Arc::<Memory>::default(), tempfile::tempdir().unwrap());
    memory.commit("a", false);
    FileCursors::new(folder.path()).save("a.all", 99).unwrap();
    let observer = observe(&memory, folder.path(), &["a"]).await;
    memory.commit("a", true);
    while arrived(folder.path(), "a") != [2] {
        tokio::task::yield_now().await;
    }
    assert!(observer.stop(PATIENCE).await);
}

#[tokio::test]
async fn two_sinks_of_one_name_are_refused() {
    let (memory, folder) = (Arc::<Memory>::default(), tempfile::tempdir().unwrap());
    let source = Arc::new(Shared(memory));
    let file = FileConfig { path: "x".into(), sync: false, rotate_bytes: None, keep: 0 };
    let sink = SinkConfig {
        tenant: TenantId::local(),
        name: "all".to_owned(),
        events: vec![],
        required: false,
        target: Target::File(file),
    };
    let config = Config { sinks: vec![sink.clone(), sink], ..Config::default() };
    let started = Observer::start(config, source, Arc::new(FileCursors::new(folder.path()))).await;
    let error = started.unwrap_err().to_string();
    assert_eq!(error, "sink `all` of tenant `local`: there is another of this name");
}
