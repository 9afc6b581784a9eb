//! The way of a request from its head to its answer, the same for every operation: whose it is, whether
//! there is room, what it says, whether it came before, and how long it may take.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{Request, header};
use ringfence::{
    Cancel,
    event::{Digest, Timestamp},
};
use serde::de::DeserializeOwned;
use tokio::{runtime::Handle, time::Instant};

use crate::{
    answer::{Answer, Reply, Whole},
    api::Operation,
    keys::Principal,
    once::{self, Turn},
    problem::{Code, Problem},
    request::{self, Asked, RequestBody, Until, words},
    room::NoPlace,
    state::State,
};

/// How long a client is asked to wait where everything is in use.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// Answers a request.
pub(crate) async fn serve<P, Q, B, R, H, F>(
    state: State,
    operation: Operation,
    handler: H,
    request: Request<Body>,
) -> Response
where
    P: DeserializeOwned + Send + 'static,
    Q: DeserializeOwned + Send + 'static,
    B: RequestBody + 'static,
    R: Answer + Send + 'static,
    H: Fn(Asked<P, Q, B>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<R, Problem>> + Send + 'static,
{
    let answering = answered(&state, operation, handler, request);
    // A panic is the host's own fault: this request ends by it, and no other.
    match AssertUnwindSafe(answering).catch_unwind().await {
        Ok(Ok(reply)) => reply.response(),
        Ok(Err(problem)) => {
            if let Some(why) = &problem.internal {
                state.log.failed(operation.id, why);
            }
            problem.into_response()
        }
        Err(_) => {
            state.log.failed(operation.id, "it panicked");
            Problem::internal("it panicked").into_response()
        }
    }
}

async fn answered<P, Q, B, R, H, F>(
    state: &State,
    operation: Operation,
    handler: H,
    request: Request<Body>,
) -> Result<Reply, Problem>
where
    P: DeserializeOwned + Send + 'static,
    Q: DeserializeOwned + Send + 'static,
    B: RequestBody + 'static,
    R: Answer + Send + 'static,
    H: Fn(Asked<P, Q, B>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<R, Problem>> + Send + 'static,
{
    let (mut parts, body) = request.into_parts();
    let principal = principal(state, &parts.headers).await?;
    principal.require(operation.scope)?;
    if state.is_draining() {
        let said = "the service is about to end; another one answers, or this one soon again";
        return Err(Problem::new(Code::Draining, said).retry_after(FULL_RETRY));
    }
    let place = Arc::new(state.room.take(principal.tenant()).map_err(full)?);
    let path = request::path(&mut parts).await?;
    let query = request::query(&parts)?;
    let key = if operation.makes { once::key_of(&parts.headers)? } else { None };
    let (body, bytes) = B::read(state, &parts.headers, body).await?;
    let most = state.config.request_time;
    let most_ms = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    let until = Until {
        at: Instant::now() + most,
        time: Timestamp(state.runtime.now().0.saturating_add(most_ms)),
    };
    let gone = Gone(Cancel::new());
    let mut asked = Asked {
        state: state.clone(),
        principal: principal.clone(),
        path,
        query,
        body,
        headers: parts.headers,
        until,
        gone: gone.0.clone(),
        once: None,
        place: place.clone(),
    };
    let digest = key.as_ref().map(|_| digest(&parts.method, &parts.uri, &bytes));
    let work = async {
        let (Some(key), Some(digest)) = (key, digest) else {
            let answering = async move { handler(asked).await?.reply() };
            if operation.method != "get" {
                return answering.await;
            }
            // All that it does is to read, and how long that takes is the journal's length.
            let here = Handle::current();
            let tenant = principal.tenant();
            return state.reading.read(tenant, move || here.block_on(answering)).await?;
        };
        let (once, held) = match once::claim(state, &principal, key, digest, &place).await? {
            Turn::Answered(whole) => return Ok(Reply::Whole(whole)),
            Turn::Ours(once, held) => (once, held),
        };
        asked.once = Some(once.clone());
        // Whoever claimed it carries it out to its end, whether or not the client waits.
        let (state, principal) = (state.clone(), principal.clone());
        let carried = handler(asked);
        let task = tokio::spawn(async move {
            let done = AssertUnwindSafe(carried).catch_unwind().await;
            let done = done.unwrap_or_else(|_| Err(Problem::internal("it panicked")));
            let whole = done.and_then(R::reply).and_then(whole);
            once::settle(&state, &principal, &once, &whole).await?;
            drop(held);
            whole
        });
        let done = task.await.map_err(|error| Problem::internal(error.to_string()))?;
        done.map(Reply::Whole)
    };
    match tokio::time::timeout_at(until.at, work).await {
        Ok(reply) => reply,
        Err(_) => Err(too_long(state)),
    }
}

/// What takes longer than a request may. What has begun goes on, and is looked at where it is.
pub(crate) fn too_long(state: &State) -> Problem {
    let said = format!("it takes longer than {}", words(state.config.request_time));
    Problem::new(Code::TimedOut, said)
}

/// Whom there is no room for.
fn full(why: NoPlace) -> Problem {
    let (code, said) = match why {
        NoPlace::OfTenant => {
            (Code::Overloaded, "the tenant has as many requests under way as it may")
        }
        NoPlace::OfService => (Code::ServiceFull, "the service answers as many requests as it can"),
    };
    Problem::new(code, said).retry_after(FULL_RETRY)
}

/// Whose request this is.
async fn principal(state: &State, headers: &http::HeaderMap) -> Result<Principal, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let first = given.next().map(http::HeaderValue::as_bytes);
    if given.next().is_some() {
        let said = "the request has several `authorization` headers";
        return Err(Problem::new(Code::Unauthenticated, said));
    }
    state.keys.principal(&state.runtime, first, state.runtime.now()).await
}

fn whole(reply: Reply) -> Result<Whole, Problem> {
    match reply {
        Reply::Whole(whole) => Ok(whole),
        Reply::Going(_) => Err(Problem::internal("a stream is nothing to keep")),
    }
}

/// What all of a request says.
fn digest(method: &http::Method, uri: &http::Uri, body: &[u8]) -> Digest {
    let head = format!("{method} {}\n", uri.path_and_query().map_or("", |path| path.as_str()));
    Digest::of(&[head.as_bytes(), body].concat())
}

/// Says so when the client goes away: then this is dropped. So it is with the answer, too, after which
/// there is nothing left to end.
struct Gone(Cancel);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
