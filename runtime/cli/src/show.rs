//! `ringfence session show`: a session told again from its journal.

use anyhow::Result;
use ringfence::{
    Caller, Run, RunStatus, Runtime,
    event::{Money, SessionId, Usage, neutralise_line},
};

use crate::{
    exit::Exit,
    screen::{Screen, Sheet, Tone},
    state::{dollars, show_compaction, show_next, show_plan, show_spending, stopped_by, waits_for},
    table::Table,
    text::{bytes, count, cut, micros, millis, moment},
    view::{head, proposal_line, reply_line, show_call_end, spent},
};

/// How many events are read at a time.
const PAGE: u32 = 1000;

/// Shows a session; as JSON its events.
pub(crate) fn show(
    runtime: &Runtime,
    caller: &Caller,
    id: &SessionId,
    screen: &mut Screen,
) -> Result<Exit> {
    if screen.json {
        return events(runtime, caller, id, screen);
    }
    let session = runtime.session(caller, id)?;
    let sheet = &mut screen.out;
    sheet.line(sheet.paint(Tone::Strong, format!("session {id}")));
    if let Some((agent, digest)) = session.agent() {
        sheet.line(format!("  agent    {agent} ({digest})"));
    }
    sheet.line(format!("  tenant   {}, user {}", caller.tenant, caller.user));
    if let Some(first) = runtime.events(caller, id, 1, 1)?.first() {
        sheet.line(format!("  created  {}", moment(first.at)));
    }
    if let Some(at) = session.closed_at() {
        sheet.line(format!("  closed   {}", moment(at)));
    }
    sheet.line(format!("  journal  {}, {} events", journal(runtime), session.seq()));
    show_plan(session.plan(), sheet);
    show_compaction(&session, sheet);
    for run in session.runs() {
        show_run(run, sheet);
    }
    show_spending(runtime, caller, &session, sheet)?;
    show_next(runtime, caller, &session, sheet)?;
    Ok(Exit::Done)
}

/// Where the journal lies.
fn journal(runtime: &Runtime) -> String {
    let home = runtime.config().home().to_owned();
    let home = std::path::absolute(&home).unwrap_or(home);
    home.join("journal.db").display().to_string()
}

/// What stands below a run that was shown while it went on: what its calls came to, and where it can
/// be read again.
pub(crate) fn show_calls(
    runtime: &Runtime,
    caller: &Caller,
    id: &SessionId,
    sheet: &mut Sheet,
) -> Result<()> {
    let session = runtime.session(caller, id)?;
    if let Some(run) = session.runs().last().filter(|run| run.calls().next().is_some()) {
        sheet.line("");
        calls(run).lines().iter().for_each(|line| sheet.line(line));
        sheet.line("");
    }
    let begins: String = id.as_str().chars().take(12).collect();
    sheet.line(format!(
        "{}, {} events; `ringfence session show {begins}` shows them again",
        journal(runtime),
        session.seq()
    ));
    Ok(())
}

fn events(runtime: &Runtime, caller: &Caller, id: &SessionId, screen: &mut Screen) -> Result<Exit> {
    let mut from = 1;
    loop {
        let page = runtime.events(caller, id, from, PAGE)?;
        page.iter().for_each(|event| screen.out.json(event));
        match page.last() {
            Some(last) if page.len() == PAGE as usize => from = last.seq + 1,
            _ => return Ok(Exit::Done),
        }
    }
}

fn show_run(run: &Run, sheet: &mut Sheet) {
    sheet.line("");
    let status = sheet.paint(tone(run.status()), run.status());
    let took = match (run.started_at(), run.ended_at()) {
        (Some(began), Some(ended)) => format!(" in {}", millis(ended.0.saturating_sub(began.0))),
        _ => String::new(),
    };
    sheet.line(format!("run {}: {status}{took}", run.id()));
    for line in run.input().lines() {
        sheet.line(format!("> {}", neutralise_line(line)));
    }
    for step in run.steps() {
        let said = match (step.reply(), step.failure()) {
            (Some(reply), _) => reply_line(reply),
            (None, Some(failure)) => {
                format!("the model did not reply: {}", neutralise_line(&failure.message))
            }
            (None, None) => "the model has not replied".to_owned(),
        };
        sheet.line(format!("{} {said}", head(step.id(), sheet)));
        for call in step.calls() {
            let id = call.id();
            sheet.line(format!("  {id} → {}", proposal_line(call.function(), call.arguments())));
            match call.result() {
                Some(result) => show_call_end(id, result, sheet),
                None => {
                    waits_for(call).iter().for_each(|line| sheet.line(format!("  {id}   {line}")));
                }
            }
        }
    }
    if let Some(at) = run.retry_at().filter(|_| run.status().is_open()) {
        sheet.line(format!("the model is asked again at {}", moment(at)));
    }
    if run.calls().next().is_some() {
        sheet.line("");
        calls(run).lines().iter().for_each(|line| sheet.line(line));
    }
    let calls = run.calls().count();
    let denials = run.calls().map(|call| call.denials().len()).sum();
    let mut spent = spent(run.steps().len(), calls, denials, run.tokens(), &run.usage());
    let cost = run.totals().cost;
    if cost > Money::ZERO {
        spent += &format!(", {}", dollars(cost));
    }
    sheet.line("");
    sheet.line(format!("together: {spent}"));
    show_end(run, sheet);
}

fn show_end(run: &Run, sheet: &mut Sheet) {
    if let Some(failure) = run.failure() {
        sheet.line(sheet.paint(Tone::Bad, format!("failed: {}", neutralise_line(failure))));
    }
    if let Some(answer) = run.answer() {
        sheet.line("");
        sheet.foreign(answer);
    }
    if let Some(why) = stopped_by(run) {
        sheet.line(sheet.paint(Tone::Warning, why));
    }
}

fn calls(run: &Run) -> Table {
    let mut table = Table::new(&[
        "CALL",
        "FUNCTION",
        "OUTCOME",
        ">DENIALS",
        ">FUEL",
        ">HOST WORK",
        ">MEMORY",
        ">TIME",
    ]);
    let cost = |usage: &Usage| {
        [
            count(usage.fuel),
            count(usage.host_work),
            bytes(usage.memory_peak_bytes),
            micros(usage.wall_us),
        ]
    };
    for call in run.calls() {
        let what = [
            call.id().to_string(),
            cut(call.function(), 40),
            call.status().to_string(),
            call.denials().len().to_string(),
        ];
        table.row(what.into_iter().chain(cost(&call.usage())));
    }
    let denials: usize = run.calls().map(|call| call.denials().len()).sum();
    let all = ["all".to_owned(), String::new(), String::new(), denials.to_string()];
    table.row(all.into_iter().chain(cost(&run.usage())));
    table
}

fn tone(status: RunStatus) -> Tone {
    match status {
        RunStatus::Completed => Tone::Good,
        RunStatus::Failed => Tone::Bad,
        _ => Tone::Warning,
    }
}
