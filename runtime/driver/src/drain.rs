//! The end of a service: nothing new is taken, what runs may end by itself for some time, and what still
//! runs then is left so that it can be gone on with.

use std::time::Duration;

use crate::{Error, Runtime, admit::Phase};

/// How long what was told to end has for that: calls end within milliseconds, and what came of them is stored. One
/// that has not ended by then never may.
const ENDING: Duration = Duration::from_secs(10);

/// What became of the work that was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// How many direct calls and runs ended by themselves in time, or had nothing under way.
    pub ended: u32,
    /// How many were broken off: direct calls as cancelled, runs so that
    /// [`resume_all`](Runtime::resume_all) goes on with them.
    pub left: u32,
}

impl Runtime {
    /// Takes no new work from now on: it is refused as [`Refusal::Draining`](crate::Refusal::Draining), what
    /// only waits for its turn too. Returns when all that is under way has ended, is left, and is durable.
    ///
    /// Until `within` is over what runs goes on. A run of which nothing is under way, because it waits for
    /// another try, is left at once. After it, calls that run are ended as
    /// [`Cancelled`](ringfence_event::Outcome::Cancelled), which is recorded, models that are asked are
    /// left alone, and whoever drives a run gets [`Error::Left`]: what happened by then is recorded, and
    /// whoever resumes the run goes on from there as after a crash. What has not ended ten seconds later is not
    /// waited for.
    ///
    /// # Errors
    /// When something could not be stored.
    pub async fn drain(&self, within: Duration) -> Result<Drained, Error> {
        let admit = &self.0.admit;
        admit.set_phase(Phase::Draining);
        let under_way = admit.inside();
        let in_time = tokio::time::timeout(within, admit.empty()).await.is_ok();
        let left = if in_time { 0 } else { admit.inside() };
        if !in_time {
            admit.set_phase(Phase::Leaving);
            self.0.calls.end_all();
            // A call that a file system or a library holds does not hear of that.
            let _ = tokio::time::timeout(ENDING, admit.empty()).await;
        }
        // A store that nobody has asked for has nothing to keep.
        if self.0.opened_store().is_some() {
            self.flush().await?;
        }
        Ok(Drained { ended: under_way.saturating_sub(left), left })
    }
}
