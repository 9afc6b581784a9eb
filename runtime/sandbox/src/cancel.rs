//! Cancelling a call from outside.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use tokio::sync::Notify;

use crate::pulse::Pulse;

/// A request to stop a call, or several, which may come before, during or after it. Cheap to clone;
/// all clones are one request.
///
/// From [`Cancel::cancel`] until the call's one outcome at most the time of one bulk memory
/// operation passes, which grows with the memory limit: a guest that computes is asked every 100 µs,
/// one that waits in the host is dropped at once.
#[derive(Clone, Default)]
pub struct Cancel(Arc<State>);

#[derive(Default)]
struct State {
    requested: AtomicBool,
    notify: Notify,
    /// The calls that run under this request, and the pulses of their engines.
    running: Mutex<Vec<Running>>,
    next: AtomicU64,
    /// The request for all of several calls that this one is for one of.
    above: Option<Cancel>,
}

struct Running {
    id: u64,
    pulse: Arc<Pulse>,
    hurried: bool,
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_requested()).finish()
    }
}

impl Cancel {
    /// A request nobody has made yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request for one of the calls that this one is for: made when this one is, or by itself.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(Arc::new(State { above: Some(self.clone()), ..State::default() }))
    }

    /// Asks for the call to stop. Asking again changes nothing.
    pub fn cancel(&self) {
        self.0.requested.store(true, SeqCst);
        self.0.notify.notify_waiters();
        self.hurry();
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.requested.load(SeqCst) || self.0.above.as_ref().is_some_and(Self::is_requested)
    }

    /// Waits until somebody asks.
    pub async fn requested(&self) {
        let notified = self.0.notify.notified();
        tokio::pin!(notified);
        // Listening first, looking second: a request in between is heard.
        notified.as_mut().enable();
        if self.is_requested() {
            return;
        }
        match &self.0.above {
            None => notified.await,
            Some(above) => tokio::select! {
                () = notified => {}
                () = Box::pin(above.requested()) => {}
            },
        }
    }

    /// Ties the request to a call that begins now.
    pub(crate) fn attach(&self, pulse: Arc<Pulse>) -> Attached<'_> {
        let above = self.0.above.as_ref().map(|above| Box::new(above.attach(pulse.clone())));
        pulse.begin();
        let id = self.0.next.fetch_add(1, SeqCst);
        self.running().push(Running { id, pulse, hurried: false });
        if self.0.requested.load(SeqCst) {
            self.hurry();
        }
        Attached { cancel: self, id, _above: above }
    }

    fn hurry(&self) {
        for running in self.running().iter_mut().filter(|running| !running.hurried) {
            running.hurried = true;
            running.pulse.hurry();
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Vec<Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that runs and can be cancelled; dropped when it is over, however it ends.
pub(crate) struct Attached<'a> {
    cancel: &'a Cancel,
    id: u64,
    _above: Option<Box<Self>>,
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        let mut running = self.cancel.running();
        if let Some(index) = running.iter().position(|running| running.id == self.id) {
            let over = running.swap_remove(index);
            if over.hurried {
                over.pulse.gone();
            }
            over.pulse.end();
        }
    }
}
