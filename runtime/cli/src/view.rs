//! The live view of a run: each event as it becomes durable, on standard error, in the words that
//! `session show` uses too.

use ringfence::event::{
    Body, BudgetLevel, CallId, CallResult, Denial, Event, Limit, ModelReply, Outcome, PlanStatus,
    RunId, SessionId, Spent, StepId, Stream, Timestamp, TokenUsage, Usage, UserId, Wait,
    neutralise_line,
};

use crate::{
    result::{LINE_COLUMNS, outcome_line, outcome_tone, outcome_words, show_denial, show_note},
    screen::{Sheet, Tone},
    text::{count, cut, first_line, micros, millis, moment, several},
};

/// What was seen of a run so far.
#[derive(Default)]
pub(crate) struct View {
    session: Option<SessionId>,
    run: Option<RunId>,
    /// Whether it waited, as far as it was told here, and nothing of it was tried since.
    waits: bool,
    began: Timestamp,
    steps: usize,
    calls: usize,
    denials: usize,
    tokens: TokenUsage,
    usage: Usage,
}

impl View {
    /// A run that waits is gone on with.
    pub(crate) fn waits(&mut self) {
        self.waits = true;
    }

    /// Shows one event.
    pub(crate) fn show(&mut self, event: &Event, sheet: &mut Sheet) {
        // First of all, so that another terminal can show or cancel it.
        if self.session.is_none()
            && let Stream::Session(id) = &event.stream
        {
            self.session = Some(id.clone());
            sheet.line(sheet.paint(Tone::Faint, format!("session {id}")));
        }
        match &event.body {
            Body::RunStarted { run } => self.begin(*run, event),
            Body::RunLeft { .. } => {
                let text = "left for another process to go on with";
                sheet.line(sheet.paint(Tone::Warning, text));
            }
            Body::RunResumed { run } => {
                let waited = self.waits;
                if self.run.is_none() {
                    self.begin(*run, event);
                    self.waits = waited;
                }
                // After a wait that was told here there is nothing more to say.
                if !waited {
                    let text = "going on where an earlier process left off";
                    sheet.line(sheet.paint(Tone::Warning, text));
                }
            }
            Body::RunStopping { limit, .. } => {
                let why = limit.map_or("cancelled".to_owned(), |limit| {
                    format!("the limit of {limit} is reached")
                });
                sheet.line(sheet.paint(Tone::Warning, format!("stopping: {why}")));
            }
            Body::RunWaiting { on, calls, .. } => {
                self.waits = true;
                let calls: Vec<&str> = calls.iter().map(CallId::as_str).collect();
                let calls = calls.join(", ");
                let text = match on {
                    Wait::Approval => format!("waiting for a person: may {calls} run?"),
                    Wait::Input => format!("waiting for a person: {calls} asks something"),
                    Wait::Reconcile => {
                        format!("waiting for a person: nobody knows how {calls} ended")
                    }
                    // Said when it was scheduled.
                    Wait::Retry => return,
                };
                sheet.line(sheet.paint(Tone::Warning, text));
            }
            Body::RunRetryScheduled { step, attempt, at, .. } => {
                let pause = millis(at.0.saturating_sub(event.at.0));
                sheet.line(format!("{} try {attempt} in {pause}", head(*step, sheet)));
            }
            Body::BudgetWarned { limit, spent } => {
                let text = format!("nearly spent: {}", budget(*limit, spent));
                sheet.line(sheet.paint(Tone::Warning, text));
            }
            Body::ConversationCompacted { compaction, .. } => {
                self.tokens.add(compaction.tokens);
                let through = compaction.through;
                let text = match &compaction.failure {
                    None => format!("the conversation up to step {through} is told in short now"),
                    Some(failure) => {
                        let why = neutralise_line(&failure.message);
                        format!("the conversation up to step {through} is left out now: {why}")
                    }
                };
                sheet.line(sheet.paint(Tone::Faint, text));
            }
            Body::RunCompleted { .. } => self.ended(event, "completed", Tone::Good, sheet),
            Body::RunCancelled { .. } => self.ended(event, "cancelled", Tone::Warning, sheet),
            Body::RunFailed { message, .. } => {
                let words = format!("failed: {}", neutralise_line(message));
                self.ended(event, &words, Tone::Bad, sheet);
            }
            Body::RunLimitReached { limit, spent, .. } => {
                let words = match spent {
                    Some(spent) => format!("stopped by {}", budget(*limit, spent)),
                    None => format!("stopped by its limit of {limit}"),
                };
                self.ended(event, &words, Tone::Warning, sheet);
            }
            Body::StepStarted { .. } => {
                self.waits = false;
                self.steps += 1;
            }
            Body::ModelRequested { step, model, .. } => {
                sheet.line(format!("{} asking {model}", head(*step, sheet)));
            }
            Body::ModelCompleted { step, reply, .. } => {
                self.tokens.add(reply.tokens);
                sheet.line(format!("{} {}", head(*step, sheet), reply_line(reply)));
            }
            Body::ModelFailed { step, failure, tokens, .. } => {
                self.tokens.add(*tokens);
                let message = neutralise_line(&failure.message);
                let text = format!("the model did not reply: {message}");
                sheet.line(format!("{} {}", head(*step, sheet), sheet.paint(Tone::Bad, text)));
            }
            Body::CallProposed { call, function, arguments } => {
                self.calls += 1;
                sheet.line(format!("  {call} → {}", proposal_line(function, arguments)));
            }
            Body::CallInvalid { call, failure } => {
                let outcome = Outcome::Invalid { failure: failure.clone() };
                self.call_ended(call, &never_ran(outcome, &[]), sheet);
            }
            Body::CallDenied { call, denials } => {
                self.call_ended(call, &never_ran(Outcome::Denied, denials), sheet);
            }
            Body::CallFinished { call, result }
            | Body::CallReconciled { call, result: Some(result), .. } => {
                self.call_ended(call, result, sheet);
            }
            Body::CallReconciled { call, result: None, .. } => {
                sheet.line(format!("  {call}   did not happen, and is to run"));
            }
            Body::CallHold { call, hold } => {
                let rules: Vec<String> = hold
                    .rules
                    .iter()
                    .map(|rule| neutralise_line(&rule.to_string()).into())
                    .collect();
                sheet.line(format!("  {call}   held by {}", rules.join(", ")));
            }
            Body::CallApproved { call, by, reason, .. } => {
                sheet.line(format!("  {call}   {}", answered("approved", by.as_ref(), reason)));
            }
            Body::CallDeclined { call, by, reason } => {
                sheet.line(format!("  {call} ← {}", answered("declined", by.as_ref(), reason)));
            }
            Body::InputAsked { call, question, .. } => {
                sheet.line(format!("  {call}   asks: {}", neutralise_line(&question.message)));
            }
            Body::InputAnswered { call, by, value } => {
                let said = match value {
                    Some(value) => cut(&value.to_string(), LINE_COLUMNS),
                    None => "nothing".to_owned(),
                };
                sheet.line(format!("  {call}   {by} answered: {said}"));
            }
            Body::CallRetryScheduled { call, attempt, at, result } => {
                let said = outcome_line(&result.outcome);
                let pause = millis(at.0.saturating_sub(event.at.0));
                sheet.line(format!("  {call}   {said}; try {attempt} in {pause}"));
            }
            Body::PlanUpdated { call, plan } => {
                sheet.line(format!("  {call}   the plan is now:"));
                for item in plan {
                    let mark = match item.status {
                        PlanStatus::Pending => ' ',
                        PlanStatus::InProgress => '~',
                        PlanStatus::Done => 'x',
                    };
                    let title = cut(&neutralise_line(&item.title), LINE_COLUMNS);
                    sheet.line(format!("  {call}     [{mark}] {title}"));
                }
            }
            Body::CallOutcomeUnknown { call } => {
                self.call_ended(call, &never_ran(Outcome::OutcomeUnknown, &[]), sheet);
            }
            Body::CallNote { call, note } => show_note(sheet, &format!("  {call}   "), note),
            Body::MemoryWritten { call, scope, key, bytes } => {
                let what = match bytes {
                    Some(bytes) => format!("remembered {bytes} bytes as"),
                    None => "forgot".to_owned(),
                };
                let key = cut(key, LINE_COLUMNS);
                sheet.line(format!("  {call}   {what} {key} ({scope} memory)"));
            }
            Body::CallStarted { .. } => self.waits = false,
            // Said by what comes before or after them, or not of a run.
            Body::SessionCreated { .. }
            | Body::SessionClosed {}
            | Body::MessageAdded { .. }
            | Body::StepFinished { .. }
            | Body::CallIntended { .. }
            | Body::ToolAdded { .. }
            | Body::ToolAccepted { .. }
            | Body::ToolRemoved { .. }
            | Body::GrantChanged { .. }
            | Body::KeyCreated { .. }
            | Body::KeyRevoked { .. } => {}
        }
    }

    fn begin(&mut self, run: RunId, event: &Event) {
        let session = self.session.take();
        *self = Self { session, run: Some(run), began: event.at, ..Self::default() };
    }

    fn call_ended(&mut self, call: &CallId, result: &CallResult, sheet: &mut Sheet) {
        self.denials += result.denials.len();
        self.usage.add(&result.usage);
        show_call_end(call, result, sheet);
    }

    fn ended(&self, event: &Event, words: &str, tone: Tone, sheet: &mut Sheet) {
        let words = sheet.paint(tone, words);
        let spent = spent(self.steps, self.calls, self.denials, self.tokens, &self.usage);
        let took = millis(event.at.0.saturating_sub(self.began.0));
        sheet.line(format!("{words} in {took}: {spent}"));
    }
}

/// What a person said to a call, on one line.
fn answered(what: &str, by: Option<&UserId>, reason: &Option<String>) -> String {
    let by = by.map_or("nobody".to_owned(), ToString::to_string);
    match reason {
        Some(reason) => format!("{what} by {by}: {}", neutralise_line(reason)),
        None => format!("{what} by {by}"),
    }
}

/// A budget and how much of it is spent.
pub(crate) fn budget(limit: Limit, spent: &Spent) -> String {
    let level = match spent.level {
        BudgetLevel::Tenant => "the tenant's",
        BudgetLevel::Session => "the session's",
        BudgetLevel::Run => "its",
        BudgetLevel::Call => "the call's",
    };
    let reopens = match spent.reopens {
        Some(at) => format!(", which reopens {}", moment(at)),
        None => String::new(),
    };
    format!("{level} limit of {limit}, {}{reopens}", spent.words(limit))
}

/// The result of a call of which nobody knows a cost.
fn never_ran(outcome: Outcome, denials: &[Denial]) -> CallResult {
    CallResult { outcome, denials: denials.to_vec(), usage: Usage::default() }
}

/// How a call ended: the outcome, what it cost, and what was refused, each on its own line.
pub(crate) fn show_call_end(call: &CallId, result: &CallResult, sheet: &mut Sheet) {
    let mut text = sheet.paint(outcome_tone(&result.outcome), outcome_words(&result.outcome));
    if result.usage.fuel > 0 {
        let (time, fuel) = (micros(result.usage.wall_us), count(result.usage.fuel_total()));
        text += &sheet.paint(Tone::Faint, format!(", {time}, fuel {fuel}"));
    }
    let said = outcome_line(&result.outcome);
    if !said.is_empty() {
        text += &format!(": {said}");
    }
    sheet.line(format!("  {call} ← {text}"));
    for denial in &result.denials {
        show_denial(sheet, &format!("  {call}   "), denial);
    }
}

/// What a model replied, on one line.
pub(crate) fn reply_line(reply: &ModelReply) -> String {
    let said = first_line(&reply.text, LINE_COLUMNS);
    match reply.calls.len() {
        0 => "answered".to_owned(),
        calls if said.is_empty() => format!("wants {}", several(calls, "call")),
        calls => format!("wants {}: {said}", several(calls, "call")),
    }
}

/// A call as the model proposed it.
pub(crate) fn proposal_line(function: &str, arguments: &str) -> String {
    format!("{} {}", cut(function, LINE_COLUMNS), cut(arguments, LINE_COLUMNS))
}

/// What was spent, on one line.
pub(crate) fn spent(
    steps: usize,
    calls: usize,
    denials: usize,
    tokens: TokenUsage,
    usage: &Usage,
) -> String {
    let mut text = format!("{}, {}", several(steps, "step"), several(calls, "call"));
    if denials > 0 {
        text += &format!(", {}", several(denials, "denial"));
    }
    text + &format!(
        ", {} tokens, fuel {}, host work {}",
        count(tokens.total()),
        count(usage.fuel),
        count(usage.host_work)
    )
}

/// `step 3`
pub(crate) fn head(step: StepId, sheet: &Sheet) -> String {
    sheet.paint(Tone::Strong, format!("step {}", step.step))
}
