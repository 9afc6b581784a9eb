//! The conversation as the model is sent it: rebuilt from the fold, stored nowhere. What a finished step
//! adds to it is made once.

use std::{borrow::Cow, collections::HashSet, sync::OnceLock};

use ringfence_event::{
    Limit, Message, ModelReply, ModelRequest, Parameters, ProposedCall, RunId, Shared, StepId,
    TokenUsage, estimated_tokens,
};

use crate::{Call, Definition, ModelChoice, Run, RunStatus, Session, Step, budget, result_text};

/// Which part of the conversation.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// All that the model sees of it.
    All,
    /// Up to the end of this step.
    Through(StepId),
}

impl Part {
    fn has_run(self, run: RunId) -> bool {
        match self {
            Self::All => true,
            Self::Through(through) => run <= through.run,
        }
    }

    fn has(self, step: StepId) -> bool {
        match self {
            Self::All => true,
            Self::Through(through) => step <= through,
        }
    }
}

impl Session {
    /// What the model is asked next. The same in every process that folded the same events.
    #[must_use]
    pub fn request(&self, definition: &Definition) -> ModelRequest {
        if let Some(through) = self.compaction_due(definition) {
            return self.summary_request(definition, through);
        }
        let choice = self.model_choice(definition);
        let request = ModelRequest {
            model: choice.name.clone(),
            instructions: definition.instructions.clone(),
            functions: definition.functions.clone(),
            messages: self.messages(),
            parameters: choice.parameters,
        };
        self.within_budget(definition, choice, request)
    }

    /// The model that is asked next: the agent's, or the other one once that has failed as often as
    /// the rule says.
    pub(crate) fn model_choice<'d>(&self, definition: &'d Definition) -> &'d ModelChoice {
        let step = self.run().and_then(|run| run.steps().last());
        match (&definition.fallback, step) {
            (Some(fallback), Some(step)) if fallback.applies(&definition.model.name, step) => {
                &fallback.model
            }
            _ => &definition.model,
        }
    }

    /// The request with a reply that fits, beside it, into what the run and the session have left of tokens
    /// and money.
    pub(crate) fn within_budget(
        &self,
        definition: &Definition,
        choice: &ModelChoice,
        request: ModelRequest,
    ) -> ModelRequest {
        let Some((_, most)) = self.room(definition, choice, &request) else { return request };
        let output_tokens = match request.parameters.output_tokens {
            Some(own) => Some(own.min(most).max(1)),
            // A number where the operator set none could be above what the model takes; a small one
            // is not.
            None => (most < SMALL_REPLY).then_some(most.max(1)),
        };
        ModelRequest { parameters: Parameters { output_tokens }, ..request }
    }

    /// How long a reply may be beside this request, in tokens, and what limits it; `None`: nothing does.
    fn room(
        &self,
        definition: &Definition,
        choice: &ModelChoice,
        request: &ModelRequest,
    ) -> Option<(Limit, u64)> {
        let left = |limit| budget::left(self, definition, limit);
        let (tokens, money) = (left(Limit::Tokens), left(Limit::Money));
        if (tokens, money) == (u64::MAX, u64::MAX) {
            return None;
        }
        let input = estimated_tokens(request.bytes());
        let by_tokens = (Limit::Tokens, tokens.saturating_sub(input));
        let Some(price) = choice.price.filter(|price| price.output.nanos() > 0) else {
            return Some(by_tokens);
        };
        let sent = price.of(TokenUsage { input, ..Default::default() });
        let money = u128::from(money.saturating_sub(sent.nanos()));
        let affordable = money * 1_000_000 / u128::from(price.output.nanos());
        let by_money = (Limit::Money, u64::try_from(affordable).unwrap_or(u64::MAX));
        Some(if by_money.1 < by_tokens.1 { by_money } else { by_tokens })
    }

    /// The budget that keeps replies shorter than the agent would have them, or than any model's are.
    pub(crate) fn cut_short_by(&self, definition: &Definition) -> Option<Limit> {
        let choice = self.model_choice(definition);
        let own = choice.parameters.output_tokens;
        let (limit, most) = self.room(definition, choice, &self.request(definition))?;
        (most < own.unwrap_or(SMALL_REPLY)).then_some(limit)
    }

    /// The conversation as the model sees it. Each call that a model proposed has exactly one
    /// result, right behind the message that proposed it and in the order of proposal. Where it was
    /// told in short, the summary stands in the place of its beginning.
    #[must_use]
    pub fn messages(&self) -> Vec<Shared<Message>> {
        self.messages_of(Part::All)
    }

    pub(crate) fn messages_of(&self, part: Part) -> Vec<Shared<Message>> {
        let mut messages = vec![];
        let mut ids = CallIds::default();
        let (done, summary) = self.summary().unzip();
        messages.extend(summary.map(Shared::new));
        for run in self.runs() {
            let is_told = done.is_some_and(|done| run.id() < done.run || is_all_told(run, done));
            if is_told || !part.has_run(run.id()) || run.status() == RunStatus::Queued {
                continue;
            }
            // Also where a part of the run is told in short: what follows is an answer to it.
            messages.push(Shared::new(Message::User { text: run.input().to_owned() }));
            let steps = run.steps().iter().filter(|step| done.is_none_or(|done| step.id() > done));
            for step in steps.filter(|step| part.has(step.id())) {
                push_step(&mut messages, &mut ids, step);
            }
        }
        messages
    }
}

/// Whether a run has ended, and nothing of it comes behind this step.
fn is_all_told(run: &Run, done: StepId) -> bool {
    !run.status().is_open() && run.steps().last().is_some_and(|step| step.id() <= done)
}

/// A reply of so many tokens every model can give.
const SMALL_REPLY: u64 = 4_096;

/// What a finished step adds to the conversation, made when it is first asked for. A copy of the step,
/// which may go another way, makes its own.
#[derive(Debug, Default)]
pub(crate) struct Said(OnceLock<Vec<Shared<Message>>>);

impl Clone for Said {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Said {
    fn eq(&self, _: &Self) -> bool {
        // It follows from the step.
        true
    }
}

impl Eq for Said {}

fn push_step<'a>(messages: &mut Vec<Shared<Message>>, ids: &mut CallIds<'a>, step: &'a Step) {
    let Some(reply) = step.reply() else { return };
    // Not before each call has its result: a history without them is refused by model vendors.
    if !step.is_finished() || (reply.text.is_empty() && reply.calls.is_empty()) {
        return;
    }
    let calls = reply.calls.iter().zip(step.calls());
    let sent: Vec<_> =
        calls.map(|(proposal, call)| ids.unique(&proposal.id, call.id().as_str())).collect();
    if sent.iter().all(|id| matches!(id, Cow::Borrowed(_))) {
        messages.extend_from_slice(step.said.0.get_or_init(|| said(reply, step, &sent)));
    } else {
        messages.extend(said(reply, step, &sent));
    }
}

/// The reply and what came of its calls, under the ids that they are sent with.
fn said(reply: &ModelReply, step: &Step, ids: &[Cow<'_, str>]) -> Vec<Shared<Message>> {
    let mut calls = vec![];
    let mut results = vec![];
    for ((proposal, call), id) in reply.calls.iter().zip(step.calls()).zip(ids) {
        let Some(result) = call.result() else { continue };
        results.push(Shared::new(Message::Result {
            id: id.clone().into_owned(),
            function: proposal.function.clone(),
            outcome: result.outcome.as_str().to_owned(),
            text: text_of(call, result),
        }));
        calls.push(ProposedCall { id: id.clone().into_owned(), ..proposal.clone() });
    }
    let reply = Shared::new(Message::Assistant { text: reply.text.clone(), calls });
    std::iter::once(reply).chain(results).collect()
}

/// What the model reads of a call, with the words of the person who let it run.
fn text_of(call: &Call, result: &ringfence_event::CallResult) -> String {
    let text = result_text(result);
    match call.approval().and_then(|approval| approval.reason.as_ref()) {
        None => text,
        Some(reason) => crate::render::with_approval(&text, reason),
    }
}

/// The ids of proposed calls as they are sent back: a model's own, unless it gave none or one that
/// the conversation has already.
#[derive(Default)]
struct CallIds<'a>(HashSet<Cow<'a, str>>);

impl<'a> CallIds<'a> {
    /// The proposed one as it is; another one is made.
    fn unique(&mut self, proposed: &'a str, call: &str) -> Cow<'a, str> {
        if !proposed.is_empty() && self.0.insert(Cow::Borrowed(proposed)) {
            return Cow::Borrowed(proposed);
        }
        // Model vendors take letters, digits, `-` and `_`.
        let mut own = call.replace('.', "-");
        while !self.0.insert(Cow::Owned(own.clone())) {
            own.push('x');
        }
        Cow::Owned(own)
    }
}
