//! The open runs of a session, as its events tell them: one that goes on or waits, and those queued
//! behind it. From them follows the status word of the session's row.

use ringfence_event::{Body, CallId, RunId, Wait};

/// The status word of a session that takes nothing more.
pub(crate) const CLOSED: &str = "closed";

/// How far an open run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Queued,
    Running,
    Waiting(Wait),
}

/// The open runs, and the word of what ended last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    open: Vec<(RunId, Stage)>,
    ended: Option<String>,
}

impl Runs {
    /// What [`open`](Self::open) and [`status`](Self::status) said when the row was written.
    pub(crate) fn parse(open: Option<&str>, status: Option<String>) -> Option<Self> {
        let Some(open) = open else { return Some(Self { open: vec![], ended: status }) };
        let open = open.split(' ').map(|entry| {
            let (run, stage) = entry.split_once(':')?;
            Some((RunId(run.parse().ok()?), stage_of(stage)?))
        });
        Some(Self { open: open.collect::<Option<_>>()?, ended: None })
    }

    /// The open runs as one text, `1:approval 2:queued`; none when no run is open.
    pub(crate) fn open(&self) -> Option<String> {
        let entries = self.open.iter().map(|(run, stage)| format!("{}:{}", run.0, word(*stage)));
        (!self.open.is_empty()).then(|| entries.collect::<Vec<_>>().join(" "))
    }

    /// The session's word: that of the run that goes on or waits; `queued` when none does and one is
    /// to; otherwise how the last one ended.
    pub(crate) fn status(&self) -> Option<&str> {
        match self.current() {
            Some(Stage::Running) => Some("running"),
            Some(Stage::Waiting(_)) => Some("waiting"),
            Some(Stage::Queued) => Some("queued"),
            None => self.ended.as_deref(),
        }
    }

    /// What the session waits for.
    pub(crate) fn waits(&self) -> Option<Wait> {
        match self.current() {
            Some(Stage::Waiting(on)) => Some(on),
            _ => None,
        }
    }

    fn current(&self) -> Option<Stage> {
        let mut stages = self.open.iter().map(|(_, stage)| *stage);
        stages.clone().find(|stage| *stage != Stage::Queued).or_else(|| stages.next())
    }

    /// Takes one more event in.
    pub(crate) fn follow(&mut self, body: &Body) {
        match body {
            Body::SessionClosed {} => {
                self.open.clear();
                self.ended = Some(CLOSED.to_owned());
            }
            // A message to a run that is under way does not queue it again.
            Body::MessageAdded { run, .. } => self.queue(*run),
            Body::RunStarted { run } | Body::RunResumed { run } => self.set(*run, Stage::Running),
            Body::RunWaiting { run, on, .. } => self.set(*run, Stage::Waiting(*on)),
            Body::RunRetryScheduled { run, .. } => self.set(*run, Stage::Waiting(Wait::Retry)),
            Body::RunCompleted { run } => self.end(*run, "completed"),
            Body::RunFailed { run, .. } => self.end(*run, "failed"),
            Body::RunCancelled { run } => self.end(*run, "cancelled"),
            Body::RunLimitReached { run, .. } => self.end(*run, "limit-reached"),
            // Work of a run that waited ends its waiting.
            Body::StepStarted { step } | Body::ModelRequested { step, .. } => {
                self.goes_on(step.run);
            }
            Body::CallStarted { call } => {
                if let Some(run) = run_of(call) {
                    self.goes_on(run);
                }
            }
            _ => {}
        }
    }

    fn stage(&mut self, run: RunId) -> Option<&mut Stage> {
        self.open.iter_mut().find(|(open, _)| *open == run).map(|(_, stage)| stage)
    }

    fn queue(&mut self, run: RunId) {
        if self.stage(run).is_none() {
            self.open.push((run, Stage::Queued));
        }
    }

    fn set(&mut self, run: RunId, stage: Stage) {
        match self.stage(run) {
            Some(known) => *known = stage,
            None => self.open.push((run, stage)),
        }
    }

    fn goes_on(&mut self, run: RunId) {
        if let Some(stage) = self.stage(run) {
            *stage = Stage::Running;
        }
    }

    fn end(&mut self, run: RunId, word: &str) {
        self.open.retain(|(open, _)| *open != run);
        self.ended = Some(word.to_owned());
    }
}

fn run_of(call: &CallId) -> Option<RunId> {
    let (run, _) = call.as_str().strip_prefix('r')?.split_once('.')?;
    run.parse().ok().map(RunId)
}

fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Queued => "queued",
        Stage::Running => "running",
        Stage::Waiting(on) => on.as_str(),
    }
}

fn stage_of(word: &str) -> Option<Stage> {
    match word {
        "queued" => Some(Stage::Queued),
        "running" => Some(Stage::Running),
        _ => wait_of(word).map(Stage::Waiting),
    }
}

/// What a word of the database says is waited for.
pub(crate) fn wait_of(word: &str) -> Option<Wait> {
    [Wait::Approval, Wait::Input, Wait::Reconcile, Wait::Retry]
        .into_iter()
        .find(|wait| wait.as_str() == word)
}

#[cfg(test)]
mod tests {
    use ringfence_event::{StepId, Timestamp};

    use super::*;

    #[test]
    fn the_word_is_that_of_the_run_that_goes_on() {
        let (one, two) = (RunId(1), RunId(2));
        let step = StepId { run: one, step: 1 };
        let said = |run| Body::MessageAdded {
            run,
            text: "x".into(),
            key: None,
            not_after: None,
            agent: None,
            api_key: None,
        };
        let waits = |on| Body::RunWaiting { run: one, on, calls: vec![] };
        let call = CallId::in_step(step, 1);
        let retry = Body::RunRetryScheduled { run: one, step, attempt: 1, at: Timestamp(9) };
        let events = [
            (said(one), "queued", None),
            (Body::RunStarted { run: one }, "running", None),
            (said(two), "running", None),
            (waits(Wait::Approval), "waiting", Some(Wait::Approval)),
            (said(one), "waiting", Some(Wait::Approval)),
            (Body::CallStarted { call }, "running", None),
            (retry, "waiting", Some(Wait::Retry)),
            (Body::StepStarted { step }, "running", None),
            (waits(Wait::Input), "waiting", Some(Wait::Input)),
            (Body::RunResumed { run: one }, "running", None),
            (Body::RunCancelled { run: two }, "running", None),
            (said(RunId(3)), "running", None),
            (Body::RunCompleted { run: one }, "queued", None),
            (Body::RunFailed { run: RunId(3), message: "x".into() }, "failed", None),
            (said(RunId(4)), "queued", None),
            (Body::SessionClosed {}, "closed", None),
        ];
        let mut runs = Runs::default();
        for (body, status, waits) in events {
            runs.follow(&body);
            assert_eq!((runs.status(), runs.waits()), (Some(status), waits), "{body:?}");
            let open = runs.open();
            let read = Runs::parse(open.as_deref(), runs.status().map(str::to_owned)).unwrap();
            assert_eq!((read.open(), read.status()), (open, runs.status()), "{body:?}");
        }
        assert_eq!(runs.open(), None);
    }
}
