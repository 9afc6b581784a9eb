//! One call: a fresh store, its budget, and one of the ends a call can have.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use futures_util::FutureExt;
use ringfence_capability::{Meter, Opened, memory::Writes};
use ringfence_event::{
    CallId, Denial, FunctionName, IdempotencyKey, Limit, Note, Outcome, Timestamp, Usage,
    neutralise,
};
use wasmtime::{
    CallHook, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, component::ResourceTableError,
};

use crate::{
    Cancel, Tool, bindings, convert,
    host::stdio::Printed,
    room::{NoShare, Share},
    state::State,
};

/// What to call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its id.
    pub id: CallId,
    /// Its idempotency key.
    pub key: IdempotencyKey,
    /// The function; the permit is for it.
    pub function: FunctionName,
    /// Its arguments, one JSON object, checked against the schema.
    pub arguments: String,
    /// When it starts.
    pub start: Timestamp,
    /// What a person answered to the question that an earlier try of it asked.
    pub answer: Option<Answer>,
}

/// A person's answer, and what the tool wants back with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// One JSON object; absent: the person would not.
    pub value: Option<String>,
    /// The question's state.
    pub state: Vec<u8>,
}

/// Hears what a call says while it runs. Called on the call's own thread, so it must not wait.
pub trait Sink: Send + Sync {
    /// A note, already counted against the call's limits, control characters neutralised.
    fn note(&self, note: Note);
}

/// Hears nothing.
pub(crate) struct NoSink;

impl Sink for NoSink {
    fn note(&self, _: Note) {}
}

/// What is left of a call.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// What it asked for and did not get.
    pub denials: Vec<Denial>,
    /// What it cost.
    pub usage: Usage,
    /// What it wrote to memory, to be committed with the outcome. Empty unless the tool itself
    /// ended the call: a call that was stopped leaves memory as it was, and so does one that asks a
    /// question, because it is made again.
    pub writes: Writes,
    /// With [`Outcome::NeedsInput`]: what the tool wants back with the answer.
    pub state: Option<Vec<u8>>,
}

impl Tool {
    /// Makes one call in a fresh instance and returns when it is over, with one outcome. Dropping
    /// the future ends the call too; nobody then learns how it went.
    pub async fn run(
        &self,
        opened: Opened,
        call: Call,
        cancel: &Cancel,
        sink: Arc<dyn Sink>,
    ) -> Ended {
        let began = Instant::now();
        let permit = opened.permit();
        if permit.component() != self.digest() || *permit.function() != call.function {
            let message = "the permit is for another component or function".to_owned();
            let (outcome, (denials, writes, usage)) =
                (Outcome::HostError { message }, opened.close(None));
            return Ended { outcome, denials, usage, writes, state: None };
        }
        let meter = opened.meter().clone();
        let clock = opened.clock();
        let (function, arguments) = (call.function.clone(), call.arguments.clone());
        let seed = opened.seed();
        let state = State::new(Some(opened), meter.clone(), clock, seed, Some(call), sink);
        let mut running = Running::new(self, state, meter);
        let ended = running
            .drive(cancel, async |instance, mut store| {
                let tools = instance.ringfence_tool_tools();
                let returned = tools.call_call(&mut store, function.as_str(), &arguments).await?;
                let (left, meter) = (store.get_fuel()?, &store.data().meter);
                meter.look(left);
                meter.go_on()?;
                meter.output(convert::output_bytes(&returned))?;
                Ok(returned)
            })
            .await;
        running.close(ended, began)
    }
}

/// A store in which a component runs. It outlives the future of the call, so that what was spent
/// can be read after the future was dropped.
pub(crate) struct Running<'a> {
    tool: &'a Tool,
    store: Store<State>,
    meter: Arc<Meter>,
    /// Its place in the pool and its memory, given back after the store: the instance is in there.
    share: Option<Share<'a>>,
}

impl<'a> Running<'a> {
    pub(crate) fn new(tool: &'a Tool, state: State, meter: Arc<Meter>) -> Self {
        let limits = *meter.limits();
        let mut store = Store::new(tool.engine().wasmtime(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(usize::try_from(limits.lift).unwrap_or(usize::MAX));
        store.set_max_component_handles(usize::try_from(limits.handles).unwrap_or(usize::MAX));
        Self { tool, store, meter, share: None }
    }

    /// Instantiates the component and does `act` with it, until that is done, the time is up, or
    /// somebody cancels.
    pub(crate) async fn drive<T>(
        &mut self,
        cancel: &Cancel,
        act: impl AsyncFnOnce(&bindings::Tool, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Outcome> {
        let limits = *self.meter.limits();
        let deadline = Instant::now() + limits.time();
        let timer = tokio::time::sleep_until(deadline.into());
        let engine = self.tool.engine();
        let _attached = cancel.attach(engine.pulse().clone());
        if let Err(error) = arm(&mut self.store, cancel, &self.meter, deadline) {
            return Err(self.stopped(&error, cancel));
        }
        let pre = self.tool.pre();
        let (store, share) = (&mut self.store, &mut self.share);
        let called = async move {
            // A full pool is an error, not a wait, so the wait is here; it counts as the call's time.
            *share = Some(engine.room().share(limits.memory).await?);
            let instance = pre.instantiate_async(&mut *store).await?;
            act(&instance, store).await
        };
        let ended = tokio::select! {
            biased;
            () = cancel.requested() => None,
            ended = AssertUnwindSafe(called).catch_unwind() => Some(ended),
            () = timer => { self.meter.stop(Limit::Time); None }
        };
        match ended {
            Some(Ok(Ok(value))) => Ok(value),
            Some(Ok(Err(error))) => Err(self.stopped(&error, cancel)),
            Some(Err(_panic)) => Err(panicked()),
            None => Err(match self.meter.stopped() {
                Some(limit) if !cancel.is_requested() => Outcome::LimitReached { limit },
                _ => Outcome::Cancelled,
            }),
        }
    }

    /// Why the engine stopped the call.
    fn stopped(&self, error: &wasmtime::Error, cancel: &Cancel) -> Outcome {
        if cancel.is_requested() && error.is::<CancelRequested>() {
            return Outcome::Cancelled;
        }
        if let Some(limit) = self.meter.stopped().or_else(|| limit_of(error)) {
            return Outcome::LimitReached { limit };
        }
        if let Some(NoShare::TooLarge(too_large)) = error.downcast_ref::<NoShare>() {
            return Outcome::HostError { message: too_large.to_string() };
        }
        if error.is::<PoolConcurrencyLimitError>() {
            return Outcome::HostError { message: "there is no room for another call".to_owned() };
        }
        let exited = error.downcast_ref::<wasmtime_wasi::I32Exit>();
        let message = match (error.downcast_ref::<Trap>(), exited) {
            (_, Some(exit)) => format!("the guest exited with code {}", exit.0),
            (Some(trap), None) => trap.to_string(),
            (None, None) => error.root_cause().to_string(),
        };
        let last_words = self.store.data().last_words.text();
        let message = if last_words.is_empty() {
            message
        } else {
            format!("{message}; its last words: {}", neutralise(&last_words))
        };
        Outcome::Trapped { message }
    }

    fn close(mut self, ended: Result<convert::Returned, Outcome>, began: Instant) -> Ended {
        let fuel_left = self.store.get_fuel().ok();
        let peak = self.store.data().limiter.peak();
        let handles_peak = self.store.data_mut().handles_peak();
        let emitted = std::mem::take(&mut self.store.data_mut().emitted);
        let opened = self.store.data_mut().opened.take();
        let printed = &self.store.data().printed;
        let said = catch_unwind(AssertUnwindSafe(|| printed.iter().for_each(Printed::end)));
        // The slot, the handles and whatever still waits for the network go before anybody hears
        // of the outcome.
        drop(self.store);
        drop(self.share);
        let (denials, writes, mut usage) =
            opened.map(|opened| opened.close(fuel_left)).unwrap_or_default();
        usage.memory_peak_bytes = peak;
        usage.handles_peak = handles_peak;
        usage.wall_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut state = None;
        let (outcome, writes) = match (ended, said) {
            (Ok(_), Err(_panic)) => (panicked(), Writes::default()),
            (Ok(returned), Ok(())) => {
                state = convert::state(&returned);
                (convert::outcome(returned, emitted), writes)
            }
            (Err(outcome), _) => (outcome, Writes::default()),
        };
        let asks = matches!(outcome, Outcome::NeedsInput { .. });
        let writes = if asks { Writes::default() } else { writes };
        Ended { outcome, denials, usage, writes, state: state.filter(|_| asks) }
    }
}

/// A bug of the host's own costs the call in which it shows, and nothing else.
fn panicked() -> Outcome {
    Outcome::HostError { message: "a host function panicked".to_owned() }
}

/// Fuel, epoch and the meter's hook.
fn arm(
    store: &mut Store<State>,
    cancel: &Cancel,
    meter: &Arc<Meter>,
    deadline: Instant,
) -> wasmtime::Result<()> {
    store.set_fuel(meter.limits().fuel)?;
    store.set_epoch_deadline(1);
    let (cancel, of_epoch) = (cancel.clone(), meter.clone());
    store.epoch_deadline_callback(move |_| {
        of_epoch.interrupted();
        if cancel.is_requested() {
            return Err(CancelRequested.into());
        }
        if Instant::now() >= deadline {
            return Err(of_epoch.stop(Limit::Time).into());
        }
        Ok(UpdateDeadline::Yield(1))
    });
    store.call_hook(|mut store, hook| {
        match hook {
            CallHook::CallingHost => {
                let left = store.get_fuel()?;
                store.data().meter.enter(left)?;
            }
            CallHook::ReturningFromHost => {
                let left = store.get_fuel()?;
                if let Some(left) = store.data().meter.leave(left)? {
                    store.set_fuel(left)?;
                }
            }
            CallHook::CallingWasm | CallHook::ReturningFromWasm => {}
        }
        Ok(())
    });
    Ok(())
}

/// The epoch's answer to a guest that was cancelled.
#[derive(Debug, thiserror::Error)]
#[error("cancelled")]
struct CancelRequested;

/// The limit behind an error of the engine's own.
fn limit_of(error: &wasmtime::Error) -> Option<Limit> {
    if let Some(Trap::OutOfFuel) = error.downcast_ref::<Trap>() {
        return Some(Limit::Fuel);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return Some(Limit::Handles);
    }
    // The engine has no type for these, so its words have to do; tests hold them.
    let words = error.root_cause().to_string();
    if words.contains("store handle limit exceeded") {
        Some(Limit::Handles)
    } else if words.contains("fuel allocated for hostcalls has been exhausted") {
        Some(Limit::Lift)
    } else if words.contains("resource limit exceeded") {
        Some(Limit::Memory)
    } else {
        None
    }
}
