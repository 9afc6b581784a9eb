//! How a session stands: its plan, what is told in short, what of its limits is spent, what each call
//! waits for, and what goes on with it.

use anyhow::Result;
use ringfence::{
    Call, CallStatus, Caller, Ending, Run, RunStatus, Runtime, Session, Waiting,
    event::{
        BudgetLevel, Hold, Limit, Money, OnExpiry, PlanItem, PlanStatus, Spent, Wait,
        neutralise_line,
    },
};

use crate::{
    answer::show_verbs,
    result::LINE_COLUMNS,
    screen::{Sheet, Tone},
    text::{count, cut, first_line, millis, moment, several},
    view::budget,
};

/// The agent's plan.
pub(crate) fn show_plan(plan: &[PlanItem], sheet: &mut Sheet) {
    if plan.is_empty() {
        return;
    }
    sheet.line("");
    sheet.line("the plan:");
    for item in plan {
        let mark = match item.status {
            PlanStatus::Pending => ' ',
            PlanStatus::InProgress => '~',
            PlanStatus::Done => 'x',
        };
        sheet.line(format!("  [{mark}] {}", cut(&item.title, LINE_COLUMNS)));
    }
}

/// What of the conversation the model is told in short.
pub(crate) fn show_compaction(session: &Session, sheet: &mut Sheet) {
    let Some(compaction) = session.compaction() else { return };
    let through = compaction.through;
    let text = match (&compaction.summary, &compaction.failure) {
        (Some(summary), _) => {
            let summary = first_line(summary, LINE_COLUMNS);
            format!("the conversation up to step {through} is told in short: {summary}")
        }
        (None, Some(failure)) => {
            let why = neutralise_line(&failure.message);
            format!("the conversation up to step {through} is left out: {why}")
        }
        (None, None) => format!("the conversation up to step {through} is left out"),
    };
    sheet.line("");
    sheet.line(text);
}

/// What is spent of each limit that holds.
pub(crate) fn show_spending(
    runtime: &Runtime,
    caller: &Caller,
    session: &Session,
    sheet: &mut Sheet,
) -> Result<()> {
    let spending = runtime.spending(caller, session)?;
    if spending.is_empty() {
        return Ok(());
    }
    let run = session.run().or_else(|| session.runs().last().map(AsRef::as_ref));
    sheet.line("");
    for level in [BudgetLevel::Run, BudgetLevel::Session, BudgetLevel::Tenant] {
        let of_level = spending.iter().filter(|(_, spent)| spent.level == level);
        let parts: Vec<String> = of_level.map(|(limit, spent)| part(*limit, spent)).collect();
        let whose = match (level, run) {
            (BudgetLevel::Run, Some(run)) => format!("run {}", run.id()),
            (BudgetLevel::Tenant, _) => format!("tenant {}", caller.tenant),
            _ => "the session".to_owned(),
        };
        if !parts.is_empty() {
            sheet.line(format!("limits of {whose}: {}", parts.join(", ")));
        }
    }
    Ok(())
}

/// How much of a limit is spent.
fn part(limit: Limit, spent: &Spent) -> String {
    let text = format!("{limit} {} of {}", amount(limit, spent.spent), amount(limit, spent.of));
    match spent.reopens {
        Some(at) => format!("{text} until {}", moment(at)),
        None => text,
    }
}

fn amount(limit: Limit, amount: u64) -> String {
    match limit {
        Limit::Money => dollars(Money::from_nanos(amount)),
        Limit::Time => millis(amount),
        _ => count(amount),
    }
}

/// An amount of money.
pub(crate) fn dollars(money: Money) -> String {
    format!("${money}")
}

/// What a call waits for that has no end, a line each.
pub(crate) fn waits_for(call: &Call) -> Vec<String> {
    match call.status() {
        CallStatus::Waiting(Wait::Approval) => {
            call.hold().map(|hold| held(hold)).unwrap_or_default()
        }
        CallStatus::Waiting(Wait::Input) => {
            let Some(inquiry) = call.inquiry() else { return vec![] };
            let schema = cut(&inquiry.question.schema.to_string(), LINE_COLUMNS);
            vec![
                format!("asks: {}", neutralise_line(&inquiry.question.message)),
                format!("the answer fits {schema}"),
            ]
        }
        CallStatus::Waiting(Wait::Retry) => {
            let when = call.retry_at().map(moment).unwrap_or_default();
            vec![format!("failed in a way that passes; it is made again at {when}")]
        }
        status => vec![format!("{status}, without an end")],
    }
}

fn held(hold: &Hold) -> Vec<String> {
    let mut lines = vec!["waits for a person to let it run".to_owned()];
    let rules = hold.rules.iter().map(|rule| format!("held by {rule}"));
    lines.extend(rules.map(|rule| neutralise_line(&rule).into_owned()));
    if let Some(at) = hold.expires {
        let then = match hold.on_expiry {
            OnExpiry::Decline => "declined",
            OnExpiry::Approve => "approved",
        };
        lines.push(format!("if nobody answers it is {then} at {}", moment(at)));
    }
    lines
}

/// Why a run was ended before its answer, if a limit was reached.
pub(crate) fn stopped_by(run: &Run) -> Option<String> {
    match run.stopping()? {
        Ending::LimitReached(limit, Some(spent)) => {
            Some(format!("stopped by {}", budget(limit, &spent)))
        }
        Ending::LimitReached(limit, None) => Some(format!("stopped by its limit of {limit}")),
        Ending::Cancelled => None,
    }
}

/// What goes on with a session in which something is unfinished, and who has to do what first.
pub(crate) fn show_next(
    runtime: &Runtime,
    caller: &Caller,
    session: &Session,
    sheet: &mut Sheet,
) -> Result<()> {
    let Some(run) = session.run() else { return Ok(()) };
    let (id, resume) = (session.id(), format!("`ringfence session resume {}`", session.id()));
    sheet.line("");
    let waiting = Waiting::of(session);
    show_verbs(&waiting, sheet);
    let text = match run.status() {
        _ if runtime.is_driven(caller, id)? => {
            format!("a process drives it now; `ringfence session cancel {id}` ends its run")
        }
        _ if !waiting.is_empty() => String::new(),
        RunStatus::Waiting(_) => format!("{resume} waits until its time and goes on"),
        _ => format!("nobody drives it: {resume} goes on with it"),
    };
    if !text.is_empty() {
        sheet.line(sheet.paint(Tone::Warning, text));
    }
    let queued = session.queued().count();
    if queued > 0 {
        let inputs = several(queued, "input");
        sheet.line(format!("behind run {} {inputs} wait for their turn", run.id()));
    }
    Ok(())
}
