//! The same direct call, said again under its key while it is under way: one call, and everybody who said
//! it learns of its end. What is said again after that is another call, with the same key for its tool.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringfence_event::{CallResult, Digest, IdempotencyKey, Note, TenantId, Timestamp, UserId};
use ringfence_sandbox::{Cancel, Sink};
use tokio::sync::watch;

use crate::{Caller, DirectCall, Error, Runtime, ToolRef};

/// Who calls it so.
type Name = (TenantId, UserId, IdempotencyKey);

/// How a call ended that several wait for.
type Told = Result<CallResult, Arc<Error>>;

/// The calls with a key that are under way.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Name, Arc<Flight>>>);

/// One of them.
struct Flight {
    /// What is called, with what.
    what: Digest,
    told: watch::Sender<Option<Told>>,
    cancel: Cancel,
    sinks: Arc<Sinks>,
    waiting: Mutex<usize>,
}

/// All who hear what the call says.
#[derive(Default)]
struct Sinks(Mutex<Vec<Arc<dyn Sink>>>);

impl Sink for Sinks {
    fn note(&self, note: Note) {
        lock(&self.0).iter().for_each(|sink| sink.note(note.clone()));
    }
}

impl Runtime {
    /// Makes a call, or joins the one that is under way by that key. Whoever cancels it cancels it for all,
    /// for all say the same; whoever goes away only leaves, and the last one ends it.
    pub(crate) async fn call_once(
        &self,
        caller: &Caller,
        key: IdempotencyKey,
        call: DirectCall,
        not_after: Option<Timestamp>,
        cancel: &Cancel,
        sink: Arc<dyn Sink>,
    ) -> Result<CallResult, Error> {
        let name = (caller.tenant.clone(), caller.user.clone(), key);
        let what = what(&call);
        let (flight, is_new) = self.0.flights.join(&name, what, sink);
        let flight = flight.ok_or_else(|| {
            Error::Store(ringfence_store::Error::KeyReused { key: name.2.0.clone() })
        })?;
        let mut told = flight.told.subscribe();
        if is_new {
            let (runtime, caller, flight) = (self.clone(), caller.clone(), flight.flight.clone());
            // Apart from whoever said it first: who goes away takes it from nobody else.
            tokio::spawn(async move {
                let landing = Landing { runtime: &runtime, name, flight: &flight };
                let sinks = flight.sinks.clone();
                let called =
                    runtime.call_now(&caller, call, not_after, &flight.cancel, sinks).await;
                landing.tell(called.map_err(Arc::new));
            });
        }
        let end = async {
            // The sender is in `flight`, so it is there for as long as this waits.
            let ended = told.wait_for(Option::is_some).await;
            ended.ok().and_then(|told| told.clone())
        };
        tokio::pin!(end);
        let told = tokio::select! {
            biased;
            told = &mut end => told,
            () = cancel.requested() => {
                flight.cancel.cancel();
                end.await
            }
        };
        match told {
            Some(Ok(result)) => Ok(result),
            Some(Err(error)) => Err(Error::shared(error)),
            None => Err(Error::Lost { source: None }),
        }
    }
}

/// What is called, whoever calls it.
fn what(call: &DirectCall) -> Digest {
    let tool = match &call.tool {
        ToolRef::Accepted(name) => format!("accepted {name}"),
        ToolRef::Local(path) => format!("local {}", path.display()),
    };
    let function = call.function.as_ref().map_or("", |function| function.as_str());
    Digest::of(format!("{tool}\n{function}\n{}", call.arguments).as_bytes())
}

impl Flights {
    /// One more waits for a call by this name. The flight, unless the name stands for another call; and
    /// whether it is new, and somebody has to make the call.
    fn join(&self, name: &Name, what: Digest, sink: Arc<dyn Sink>) -> (Option<Waits>, bool) {
        let mut all = lock(&self.0);
        let (flight, is_new) = match all.get(name) {
            Some(flight) if flight.what != what => return (None, false),
            // One that everybody has left ends now: it is not joined.
            Some(flight) if *lock(&flight.waiting) > 0 => (flight.clone(), false),
            _ => {
                let flight = Arc::new(Flight {
                    what,
                    told: watch::Sender::new(None),
                    cancel: Cancel::new(),
                    sinks: Arc::default(),
                    waiting: Mutex::new(0),
                });
                all.insert(name.clone(), flight.clone());
                (flight, true)
            }
        };
        lock(&flight.sinks.0).push(sink);
        *lock(&flight.waiting) += 1;
        (Some(Waits { flight }), is_new)
    }
}

/// The end of a flight, also if the host fails in it.
struct Landing<'a> {
    runtime: &'a Runtime,
    name: Name,
    flight: &'a Arc<Flight>,
}

impl Landing<'_> {
    fn tell(self, told: Told) {
        self.flight.told.send_replace(Some(told));
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut all = lock(&self.runtime.0.flights.0);
        if all.get(&self.name).is_some_and(|flight| Arc::ptr_eq(flight, self.flight)) {
            all.remove(&self.name);
        }
        drop(all);
        self.flight.told.send_if_modified(|told| {
            let lost = told.is_none();
            if lost {
                *told = Some(Err(Arc::new(Error::Lost { source: None })));
            }
            lost
        });
    }
}

/// Somebody who waits for a flight; the last who leaves ends it.
struct Waits {
    flight: Arc<Flight>,
}

impl std::ops::Deref for Waits {
    type Target = Flight;

    fn deref(&self) -> &Flight {
        &self.flight
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut waiting = lock(&self.flight.waiting);
        *waiting -= 1;
        if *waiting == 0 {
            self.flight.cancel.cancel();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
