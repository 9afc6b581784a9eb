//! The engine's epoch. A tick is a question to every running guest ("are you cancelled, is your
//! time up?") and makes it yield once, never one call's timer. A slow tick keeps fairness and
//! deadlines; while a cancelled call is still running it beats fast, so that the cancelled one is
//! soon polled, however many others run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::EngineWeak;

/// Fairness among guests, and how late a deadline may be noticed by one that only computes.
const SLOW: Duration = Duration::from_millis(10);
/// How often a guest that was cancelled is asked again.
const FAST: Duration = Duration::from_micros(100);
/// Slow ticks without a call before the thread sleeps: calls in quick succession never wake it.
const LINGER: u32 = 50;

#[derive(Debug, Default)]
struct State {
    running: AtomicUsize,
    cancelled: AtomicUsize,
    asleep: AtomicBool,
    closed: AtomicBool,
}

/// The thread that ticks.
#[derive(Debug)]
pub(crate) struct Pulse {
    state: Arc<State>,
    thread: Thread,
}

impl Pulse {
    pub(crate) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let of_thread = state.clone();
        let thread = thread::Builder::new()
            .name("ringfence-epoch".into())
            .spawn(move || beat(&of_thread, &engine))?;
        Ok(Self { state, thread: thread.thread().clone() })
    }

    /// A call begins.
    pub(crate) fn begin(&self) {
        self.state.running.fetch_add(1, SeqCst);
        if self.state.asleep.load(SeqCst) {
            self.thread.unpark();
        }
    }

    /// A call is over.
    pub(crate) fn end(&self) {
        self.state.running.fetch_sub(1, SeqCst);
    }

    /// A running call was cancelled: beat fast until [`Pulse::gone`].
    pub(crate) fn hurry(&self) {
        self.state.cancelled.fetch_add(1, SeqCst);
        self.thread.unpark();
    }

    /// A cancelled call is over.
    pub(crate) fn gone(&self) {
        self.state.cancelled.fetch_sub(1, SeqCst);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.state.closed.store(true, SeqCst);
        self.thread.unpark();
    }
}

fn beat(state: &State, engine: &EngineWeak) {
    let mut idle = 0;
    while !state.closed.load(SeqCst) {
        idle = if state.running.load(SeqCst) == 0 { idle + 1 } else { 0 };
        if idle > LINGER {
            state.asleep.store(true, SeqCst);
            // A call that began before it could see the flag is seen here.
            if state.running.load(SeqCst) == 0 && !state.closed.load(SeqCst) {
                thread::park();
            }
            state.asleep.store(false, SeqCst);
            idle = 0;
            continue;
        }
        thread::park_timeout(if state.cancelled.load(SeqCst) > 0 { FAST } else { SLOW });
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
    }
}
