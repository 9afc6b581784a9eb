//! One step of a run: one model reply and the calls it asked for.

use std::sync::Arc;

use ringfence_event::{CallId, ModelReply, StepId};

use crate::{Call, error::Illegal};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The model is to be asked.
    Started,
    /// The model was asked.
    Requested,
    /// It did not reply.
    Failed(String),
    /// It replied, and the calls run.
    Replied(Arc<ModelReply>),
    /// The calls all have their outcome.
    Finished(Arc<ModelReply>),
}

/// One step, as the journal tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    id: StepId,
    phase: Phase,
    pub(crate) calls: Vec<Call>,
    /// The place of the last event that the step's next one follows from.
    pub(crate) seq: u64,
}

impl Step {
    pub(crate) fn started(id: StepId) -> Self {
        Self { id, phase: Phase::Started, calls: vec![], seq: 0 }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> StepId {
        self.id
    }

    /// What the model replied, once it did.
    #[must_use]
    pub fn reply(&self) -> Option<&ModelReply> {
        match &self.phase {
            Phase::Replied(reply) | Phase::Finished(reply) => Some(reply),
            _ => None,
        }
    }

    /// Why the model did not reply.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match &self.phase {
            Phase::Failed(message) => Some(message),
            _ => None,
        }
    }

    /// The calls, in the order of proposal.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Whether the model's reply is what it waits for.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Started | Phase::Requested)
    }

    /// Whether all is done.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished(_))
    }

    pub(crate) fn illegal(&self) -> Illegal {
        let phase = match self.phase {
            Phase::Started => "waits for its request",
            Phase::Requested => "waits for the model",
            Phase::Failed(_) => "has no reply",
            Phase::Replied(_) => "has its reply",
            Phase::Finished(_) => "is finished",
        };
        Illegal(format!("step {} {phase}", self.id))
    }

    pub(crate) fn request(&mut self) -> Result<(), Illegal> {
        if self.phase != Phase::Started {
            return Err(self.illegal());
        }
        self.phase = Phase::Requested;
        Ok(())
    }

    pub(crate) fn complete(&mut self, reply: &ModelReply) -> Result<(), Illegal> {
        if self.phase != Phase::Requested {
            return Err(self.illegal());
        }
        self.phase = Phase::Replied(Arc::new(reply.clone()));
        Ok(())
    }

    pub(crate) fn fail(&mut self, message: &str) -> Result<(), Illegal> {
        if self.phase != Phase::Requested {
            return Err(self.illegal());
        }
        self.phase = Phase::Failed(message.to_owned());
        Ok(())
    }

    /// The host died: what was asked is asked again.
    pub(crate) fn resume(&mut self) -> Result<(), Illegal> {
        if self.phase == Phase::Requested {
            self.phase = Phase::Started;
        }
        self.calls.iter_mut().try_for_each(Call::repeat)
    }

    /// The proposal that is to be recorded next, with its id.
    pub(crate) fn unrecorded(&self) -> Option<(CallId, &ringfence_event::ProposedCall)> {
        let Phase::Replied(reply) = &self.phase else { return None };
        let proposal = reply.calls.get(self.calls.len())?;
        let place = u32::try_from(self.calls.len() + 1).ok()?;
        Some((CallId::in_step(self.id, place), proposal))
    }

    pub(crate) fn propose(
        &mut self,
        id: &CallId,
        function: &str,
        arguments: &str,
    ) -> Result<&mut Call, Illegal> {
        let expected = self.unrecorded().is_some_and(|(expected, proposal)| {
            expected == *id && proposal.function == function && proposal.arguments == arguments
        });
        if !expected {
            return Err(self.illegal());
        }
        self.calls.push(Call::proposed(id.clone(), function, arguments));
        self.calls.last_mut().ok_or_else(|| Illegal(format!("step {} has no call", self.id)))
    }

    pub(crate) fn finish(&mut self) -> Result<(), Illegal> {
        match &self.phase {
            Phase::Replied(reply)
                if reply.calls.len() == self.calls.len()
                    && self.calls.iter().all(|call| !call.status().is_open()) =>
            {
                self.phase = Phase::Finished(reply.clone());
                Ok(())
            }
            _ => Err(self.illegal()),
        }
    }
}
