//! A direct call: one function in a sandbox of its own, without an agent.

use std::sync::Arc;

use ringfence::{
    DirectCall, Sink, ToolRef,
    event::{CallResult, Effect, IdempotencyKey, Note, Timestamp},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::tools::{FunctionPath, function_of};
use crate::{
    answer::Shown,
    api::{Api, Operation},
    json::Object,
    problem::{Code, Problem},
    request::{Asked, Json},
    works::Kind,
};

const CALL: Operation = Operation::post(
    "/v1/tools/{tool}/functions/{function}/call",
    "call-function",
    "Calls a function. However the call ended, that is an answer with status 200: see `outcome`.",
)
.makes()
.fails(&[
    Code::NoSuchTool,
    Code::NoSuchFunction,
    Code::ToolUnusable,
    Code::Spent,
    Code::RateLimited,
    Code::QueueFull,
    Code::OutcomeUnknown,
]);

pub(super) fn add(api: Api) -> Api {
    api.add(CALL, call)
}

/// A call that is to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NewCall {
    /// The arguments, one JSON object; `{}` if nothing is said.
    #[serde(default)]
    arguments: Option<Object>,
    /// When nobody waits for the answer any more, in milliseconds since 1970: a call that has not begun by
    /// then does not begin.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_u64))]
    not_after: Option<u64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Leaving {
    /// Whether the call is cancelled if the client goes away before its answer.
    cancel_on_disconnect: bool,
}

async fn call(
    asked: Asked<FunctionPath, Leaving, Json<NewCall>>,
) -> Result<Shown<CallResult>, Problem> {
    let trace = asked.trace();
    let Asked { state, principal, path, query, body: Json(new), until, gone, once, place, .. } =
        asked;
    let effect = function_of(&state, &principal, &path, |function| function.effect)?;
    if once.as_ref().is_some_and(|once| once.again) && effect == Effect::Unsafe {
        let said = "nobody knows how it ended before, and the function may not be called twice";
        return Err(Problem::new(Code::OutcomeUnknown, said));
    }
    let not_after = new.not_after.map(Timestamp);
    if not_after.is_some_and(|end| end <= state.runtime.now()) {
        let said = "nobody waits for the answer any more, as `not-after` says; nothing was begun";
        return Err(Problem::new(Code::TimedOut, said));
    }
    // Nobody is there any more to hear of one that begins later.
    let not_after = Some(not_after.map_or(until.time, |end| end.min(until.time)));
    let arguments = new.arguments.map_or_else(|| "{}".into(), |object| object.0.get().to_owned());
    let call = DirectCall {
        tool: ToolRef::Accepted(path.tool),
        function: Some(path.function),
        arguments,
        // Another user's key of the same name is another key.
        key: once.map(|once| IdempotencyKey(once.resource)),
        trace,
    };
    let work = state.works.begin(Kind::Call, Some(&principal.key.id), principal.tenant());
    let (runtime, caller) = (state.runtime.clone(), principal.caller.clone());
    let cancel = work.cancel.clone();
    place.only_waits();
    let mut task = tokio::spawn(async move {
        let heard = Arc::new(Unheard);
        let done = runtime.call_before(&caller, call, not_after, &work.cancel, heard).await;
        drop(work);
        done
    });
    // Dropped with the answer, this ends nothing any more.
    let _ends = query.cancel_on_disconnect.then(|| CancelIfDropped(cancel.clone()));
    let done = tokio::select! {
        done = &mut task => done,
        () = gone.requested(), if query.cancel_on_disconnect => {
            cancel.cancel();
            task.await
        }
    };
    let done = done.map_err(|error| Problem::internal(error.to_string()))?;
    Ok(Shown(done?))
}

/// Cancels a call when whoever waits for it goes away.
struct CancelIfDropped(ringfence::Cancel);

impl Drop for CancelIfDropped {
    fn drop(&mut self) {
        // After its answer this ends nothing.
        self.0.cancel();
    }
}

/// What a direct call says on the way is in its record; nobody watches it here.
struct Unheard;

impl Sink for Unheard {
    fn note(&self, _: Note) {}
}
