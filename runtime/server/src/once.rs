//! Requests that are carried out once, however often they are sent: what came under an idempotency key is
//! claimed in the store, and answered from there.

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::HeaderMap;
use ringfence::{
    Claimed, Request, RequestAnswer,
    event::{Digest, TenantId, UserId},
};
use tokio::sync::Notify;

use crate::{
    answer::Whole,
    keys::Principal,
    problem::{Code, Problem},
    request::Once,
    room::Place,
    state::State,
};

/// The longest key: longer than a UUID with a name before it.
const KEY_MAX: usize = 200;

/// What stands in the place of the status of a request whose end nobody knows.
const LOST: u16 = 0;

/// This process, as claims name it: whoever finds one sees by its lock whether it still lives.
pub(crate) struct Worker {
    name: String,
    folder: PathBuf,
    _lock: File,
    under_way: Mutex<HashMap<Name, Digest>>,
    answered: Notify,
}

/// Whose key, and the key.
type Name = (TenantId, UserId, String);

/// A key under which this process carries something out, or is about to; dropped when it is over.
pub(crate) struct Held {
    state: State,
    name: Name,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.state.worker.under_way().remove(&self.name);
        self.state.worker.answered.notify_waiters();
    }
}

/// What is to be done with a request.
pub(crate) enum Turn {
    /// Carry it out, and hold this until it is settled.
    Ours(Once, Held),
    /// It was answered like this.
    Answered(Whole),
}

impl Worker {
    /// Makes a name for this process, and holds its lock.
    pub(crate) fn new(home: &Path) -> io::Result<Self> {
        let folder = home.join("serving");
        fs::create_dir_all(&folder)?;
        sweep(&folder);
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let name = format!("{:032x}", u128::from_be_bytes(bytes));
        let lock = File::create(folder.join(&name))?;
        lock.try_lock().map_err(io::Error::from)?;
        let (under_way, answered) = (Mutex::default(), Notify::new());
        Ok(Self { name, folder, _lock: lock, under_way, answered })
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Name, Digest>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process of this name is gone.
    fn is_gone(&self, name: &str) -> bool {
        if name == self.name {
            return false;
        }
        match File::open(self.folder.join(name)) {
            Ok(file) => file.try_lock().is_ok(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // What stays behind is swept at the next start.
        let _ = fs::remove_file(self.folder.join(&self.name));
    }
}

/// Removes what processes that died have left.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(file) = File::open(entry.path()) else { continue };
        match file.try_lock() {
            Ok(()) => drop(fs::remove_file(entry.path())),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

/// The idempotency key of a request, if it has one.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all("idempotency-key").iter();
    let Some(first) = given.next() else { return Ok(None) };
    let is_key = |text: &&str| {
        (1..=KEY_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match first.to_str().ok().filter(is_key).filter(|_| given.next().is_none()) {
        Some(key) => Ok(Some(key.to_owned())),
        None => {
            let said = format!(
                "`idempotency-key` is one name of 1 to {KEY_MAX} visible characters without spaces"
            );
            Err(Problem::new(Code::BadHeader, said))
        }
    }
}

/// Whose turn it is. A request that is being carried out is waited for.
pub(crate) async fn claim(
    state: &State,
    principal: &Principal,
    key: String,
    digest: Digest,
    place: &Place,
) -> Result<Turn, Problem> {
    let reused = || {
        let said =
            "another request came under this `idempotency-key`: a new one needs one of its own";
        Problem::new(Code::KeyReused, said)
    };
    let name = (principal.caller.tenant.clone(), principal.caller.user.clone(), key.clone());
    let held = loop {
        let answered = state.worker.answered.notified();
        tokio::pin!(answered);
        // Listening first, looking second: what is over in between is heard.
        answered.as_mut().enable();
        let other = {
            let mut under_way = state.worker.under_way();
            match under_way.get(&name) {
                None => {
                    under_way.insert(name.clone(), digest);
                    break Held { state: state.clone(), name };
                }
                Some(other) => *other,
            }
        };
        if other != digest {
            return Err(reused());
        }
        place.only_waits();
        answered.await;
    };
    let mut gone = vec![];
    loop {
        let request = Request {
            key: key.clone(),
            digest,
            worker: state.worker.name.clone(),
            gone: std::mem::take(&mut gone),
        };
        match state.runtime.claim_request(&principal.caller, request).await? {
            Claimed::Yours { resource, again } => {
                return Ok(Turn::Ours(Once { key, resource, again }, held));
            }
            Claimed::Answered(RequestAnswer { status: LOST, .. }) => {
                let said = "nobody knows how this ended, and it may not be done twice";
                return Err(Problem::new(Code::OutcomeUnknown, said));
            }
            Claimed::Answered(RequestAnswer { status, body }) => {
                return Ok(Turn::Answered(Whole::from_kept(status, &body)));
            }
            Claimed::Other => return Err(reused()),
            // This process carries out nothing under it, so it could not be settled.
            Claimed::Busy { worker } if worker == state.worker.name => gone.push(worker),
            Claimed::Busy { worker } if state.worker.is_gone(&worker) => gone.push(worker),
            Claimed::Busy { .. } => {
                let said = "another process carries out the request of this `idempotency-key`";
                let wait = std::time::Duration::from_secs(1);
                return Err(Problem::new(Code::InProgress, said).retry_after(wait));
            }
        }
    }
}

/// What becomes of a claim.
#[derive(Debug, PartialEq, Eq)]
enum Settled {
    /// It is answered like this from now on.
    Answered(RequestAnswer),
    /// Nothing came of it: what is sent under the key next is another request.
    Dropped,
    /// It stays open: who sends it again takes it over, under the same name, as from a process that died
    /// in the middle of it.
    Open,
}

impl Settled {
    /// An answer is kept, and one error that will not be another the next time. What certainly did not begin
    /// may be sent again, unless it was taken over: then it may have begun before.
    fn of(once: &Once, answer: &Result<Whole, Problem>) -> Self {
        match answer {
            Ok(whole) => Self::Answered(RequestAnswer { status: whole.status, body: whole.kept() }),
            Err(problem) if problem.code == Code::OutcomeUnknown => {
                Self::Answered(RequestAnswer { status: LOST, body: vec![] })
            }
            Err(problem) if problem.may_have_begun || once.again => Self::Open,
            Err(_) => Self::Dropped,
        }
    }
}

/// Keeps what came of a request.
pub(crate) async fn settle(
    state: &State,
    principal: &Principal,
    once: &Once,
    answer: &Result<Whole, Problem>,
) -> Result<(), Problem> {
    let kept = match Settled::of(once, answer) {
        Settled::Answered(answer) => Some(answer),
        Settled::Dropped => None,
        Settled::Open => return Ok(()),
    };
    Ok(state.runtime.answer_request(&principal.caller, &once.key, kept).await?)
}

#[cfg(test)]
mod tests {
    use ringfence::Error;

    use super::*;

    /// A function that may not be called twice is called again only if it certainly did not begin.
    #[test]
    fn i11_a_claim_is_dropped_only_if_nothing_began() {
        let lost = || Error::Lost { source: None };
        let refused = || Error::Input { message: "no such function".into() };
        let check = |again: bool, answer: Result<Whole, Problem>, expected: Settled| {
            let once = Once { key: "k".into(), resource: "r".into(), again };
            assert_eq!(Settled::of(&once, &answer), expected, "{again} {answer:?}");
        };
        for again in [false, true] {
            let whole = Whole { status: 200, location: None, body: b"x".to_vec() };
            let kept = RequestAnswer { status: 200, body: whole.kept() };
            check(again, Ok(whole), Settled::Answered(kept));
            let unknown = Problem::new(Code::OutcomeUnknown, "");
            let kept = RequestAnswer { status: LOST, body: vec![] };
            check(again, Err(unknown), Settled::Answered(kept));
            check(again, Err(lost().into()), Settled::Open);
            check(again, Err(Error::Shared(lost().into()).into()), Settled::Open);
            check(again, Err(Problem::internal("it panicked")), Settled::Open);
        }
        check(false, Err(refused().into()), Settled::Dropped);
        check(false, Err(Problem::new(Code::RateLimited, "")), Settled::Dropped);
        // A process that died may have carried it out by then.
        check(true, Err(refused().into()), Settled::Open);
    }
}
