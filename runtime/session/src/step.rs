//! One step of a run: one model reply and the calls it asked for.

use std::sync::Arc;

use ringfence_event::{
    CallId, Digest, ModelFailure, ModelFailureClass, ModelName, ModelReply, Money, StepId,
    Timestamp, TokenUsage,
};

use crate::{Call, error::Illegal, history::Said};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The model is to be asked.
    Started,
    /// The model was asked; the digest of what.
    Requested(ModelName, Digest),
    /// It did not reply to that.
    Failed(Arc<ModelFailure>, Digest),
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
    /// Which models failed so far, and how; those that were asked for a summary too.
    failures: Vec<(ModelName, ModelFailureClass)>,
    /// How often a model was asked again, and how long was waited for that together.
    retries: u32,
    waited_ms: u64,
    tokens: TokenUsage,
    cost: Money,
    /// What it adds to the conversation once it is finished.
    pub(crate) said: Said,
    /// The place of the last event that the step's next one follows from.
    pub(crate) seq: u64,
}

impl Step {
    pub(crate) fn started(id: StepId) -> Self {
        Self {
            id,
            phase: Phase::Started,
            calls: vec![],
            failures: vec![],
            retries: 0,
            waited_ms: 0,
            tokens: TokenUsage::default(),
            cost: Money::ZERO,
            said: Said::default(),
            seq: 0,
        }
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
    pub fn failure(&self) -> Option<&ModelFailure> {
        match &self.phase {
            Phase::Failed(failure, _) => Some(failure),
            _ => None,
        }
    }

    /// The digest of what the model was asked last, as long as there is no reply.
    pub(crate) fn request_digest(&self) -> Option<Digest> {
        match &self.phase {
            Phase::Requested(_, request) | Phase::Failed(_, request) => Some(*request),
            _ => None,
        }
    }

    /// The calls, in the order of proposal.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Tokens over all that was asked in it.
    #[must_use]
    pub fn tokens(&self) -> TokenUsage {
        self.tokens
    }

    /// What those cost, as far as their models have a price.
    #[must_use]
    pub fn cost(&self) -> Money {
        self.cost
    }

    /// Whether the model's reply is what it waits for.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Started | Phase::Requested(..))
    }

    /// Whether all is done.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished(_))
    }

    /// The models that failed in it, and how.
    pub(crate) fn failures(&self) -> &[(ModelName, ModelFailureClass)] {
        &self.failures
    }

    pub(crate) fn retries(&self) -> (u32, u64) {
        (self.retries, self.waited_ms)
    }

    /// The model that was asked and has not replied.
    pub(crate) fn asked(&self) -> Option<&ModelName> {
        match &self.phase {
            Phase::Requested(model, _) => Some(model),
            _ => None,
        }
    }

    pub(crate) fn illegal(&self) -> Illegal {
        let phase = match self.phase {
            Phase::Started => "waits for its request",
            Phase::Requested(..) => "waits for the model",
            Phase::Failed(..) => "has no reply",
            Phase::Replied(_) => "has its reply",
            Phase::Finished(_) => "is finished",
        };
        Illegal(format!("step {} {phase}", self.id))
    }

    pub(crate) fn request(&mut self, model: &ModelName, request: Digest) -> Result<(), Illegal> {
        if self.phase != Phase::Started {
            return Err(self.illegal());
        }
        self.phase = Phase::Requested(model.clone(), request);
        Ok(())
    }

    pub(crate) fn complete(
        &mut self,
        reply: &ModelReply,
        cost: Option<Money>,
    ) -> Result<(), Illegal> {
        self.spend(reply.tokens, cost)?;
        self.phase = Phase::Replied(Arc::new(reply.clone()));
        Ok(())
    }

    pub(crate) fn fail(
        &mut self,
        failure: &ModelFailure,
        tokens: TokenUsage,
        cost: Option<Money>,
    ) -> Result<(), Illegal> {
        let Phase::Requested(model, request) = &self.phase else { return Err(self.illegal()) };
        let (model, request) = (model.clone(), *request);
        self.spend(tokens, cost)?;
        self.failures.push((model, failure.class));
        self.phase = Phase::Failed(Arc::new(failure.clone()), request);
        Ok(())
    }

    /// The conversation was told in short; now to the reply itself. Also when there is no summary:
    /// that was told with the failure.
    pub(crate) fn compacted(
        &mut self,
        tokens: TokenUsage,
        cost: Option<Money>,
    ) -> Result<(), Illegal> {
        match self.phase {
            Phase::Requested(..) => self.spend(tokens, cost)?,
            Phase::Failed(..) => {}
            _ => return Err(self.illegal()),
        }
        self.phase = Phase::Started;
        self.failures.clear();
        Ok(())
    }

    /// Asked again at this time.
    pub(crate) fn schedule(
        &mut self,
        attempt: u32,
        since: Timestamp,
        at: Timestamp,
    ) -> Result<(), Illegal> {
        let next = self.retries.saturating_add(2) == attempt;
        if !matches!(self.phase, Phase::Failed(..)) || !next {
            return Err(self.illegal());
        }
        self.phase = Phase::Started;
        self.retries += 1;
        self.waited_ms = self.waited_ms.saturating_add(at.0.saturating_sub(since.0));
        Ok(())
    }

    fn spend(&mut self, tokens: TokenUsage, cost: Option<Money>) -> Result<(), Illegal> {
        if !matches!(self.phase, Phase::Requested(..)) {
            return Err(self.illegal());
        }
        self.tokens.add(tokens);
        self.cost = self.cost.plus(cost.unwrap_or_default());
        Ok(())
    }

    /// The host died: what was asked is asked again.
    pub(crate) fn resume(&mut self) -> Result<(), Illegal> {
        if matches!(self.phase, Phase::Requested(..)) {
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
