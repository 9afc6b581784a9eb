//! How a call of unknown outcome ended, as a person says it: the one outcome that does not come from the
//! sandbox.

use ringfence_event::{CallResult, Failure, FailureKind, Outcome, Output, Usage};

/// How a call of unknown outcome is to be reconciled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconciliation {
    /// It happened, and this is what it returned.
    Happened(String),
    /// It did not happen, and is to run.
    RunIt,
    /// Nobody can say: the model is told so, and the run goes on.
    GiveUp,
}

impl Reconciliation {
    /// The result of the call; `None`: it has none yet. What it cost nobody knows.
    pub(crate) fn result(self) -> Option<Box<CallResult>> {
        let outcome = match self {
            Self::Happened(text) => Outcome::Succeeded { output: Output::text(text) },
            Self::RunIt => return None,
            Self::GiveUp => Outcome::Failed {
                failure: Failure {
                    kind: FailureKind::Failed,
                    message: "the host died while this ran, and nobody can say whether it was done"
                        .to_owned(),
                    path: None,
                    retry_after_ms: None,
                },
            },
        };
        Some(Box::new(CallResult { outcome, denials: vec![], usage: Usage::default() }))
    }
}
