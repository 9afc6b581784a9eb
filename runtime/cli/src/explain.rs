//! `ringfence explain`: which line of which file allows or denies something.

use anyhow::Result;
use ringfence::{
    Runtime,
    event::{Access, FunctionName, Remedy, neutralise_line},
    policy::{Answer, Explanation, Request},
};
use serde_json::{Value, json};

use crate::{
    args::{ExplainArguments, Global},
    call, config,
    exit::Exit,
    failure::Usage,
    screen::{Screen, Sheet, Tone},
};

/// Explains, and exits as a call would that is allowed or denied.
pub(crate) async fn explain(
    global: &Global,
    arguments: ExplainArguments,
    screen: &mut Screen,
) -> Result<Exit> {
    let config = config::load(global)?;
    let caller = config::known_caller(global, &config)?;
    let runtime = Runtime::open(config)?;
    let tool = call::tool(&arguments.tool)?;
    let functions = runtime.functions(&tool).await?;
    let (function, request) = words(&arguments.words, &functions)?;
    let said = request.is_some().then(|| {
        let words = &arguments.words[usize::from(function.is_some())..];
        words.join(" ")
    });
    let explained = runtime.explain(&caller, &tool, function.as_ref(), request.as_ref()).await?;
    let allowed =
        |explained: &Explanation| explained.asked.as_ref().unwrap_or(&explained.call).is_allowed();
    let exit = if explained.iter().any(allowed) { Exit::Done } else { Exit::Ended(3) };
    if screen.json {
        screen.out.json(&json!({
            "tool": arguments.tool,
            "tenant": caller.tenant,
            "user": caller.user,
            "request": said,
            "functions": explained.iter().map(as_json).collect::<Vec<_>>(),
        }));
        return Ok(exit);
    }
    let sheet = &mut screen.out;
    for explained in &explained {
        show(explained, said.as_deref(), sheet);
    }
    Ok(exit)
}

/// The function and the request that the words after the tool name.
fn words(
    words: &[String],
    functions: &[FunctionName],
) -> Result<(Option<FunctionName>, Option<Request>)> {
    let Some((first, rest)) = words.split_first() else { return Ok((None, None)) };
    if let Some(function) = functions.iter().find(|function| function.as_str() == first) {
        let request = if rest.is_empty() { None } else { Some(request(rest)?) };
        return Ok((Some(function.clone()), request));
    }
    if KINDS.contains(&first.as_str()) {
        return Ok((None, Some(request(words)?)));
    }
    let names: Vec<&str> = functions.iter().map(FunctionName::as_str).collect();
    Err(Usage::error(format!(
        "`{first}` is neither a function of the tool ({}) nor the first word of a request ({})",
        names.join(", "),
        KINDS.join(", ")
    )))
}

/// The first words of requests.
const KINDS: [&str; 5] = ["fs", "http", "memory", "config", "socket"];

fn request(words: &[String]) -> Result<Request> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let access = |word: &str| match word {
        "read" => Ok(Access::Read),
        "write" => Ok(Access::Write),
        other => Err(Usage::error(format!("`{other}` is neither `read` nor `write`"))),
    };
    Ok(match words[..] {
        ["fs", word, path] => {
            if !path.starts_with('/') {
                return Err(Usage::error(format!(
                    "`{path}` does not begin with `/`: it is a path in the guest, such as /workspace/a.txt"
                )));
            }
            Request::File { access: access(word)?, path: path.to_owned() }
        }
        ["http", method, url] => {
            let url =
                url.parse().map_err(|error| Usage::error(format!("`{url}` is no URL: {error}")))?;
            Request::Http { method: method.to_owned(), url }
        }
        ["memory", word, scope] => {
            Request::Memory { access: access(word)?, bucket: scope.to_owned() }
        }
        ["config", key] => Request::Config { key: key.to_owned() },
        ["socket", to] => {
            Request::Socket { to: to.parse().map_err(|error| Usage::error(format!("{error}")))? }
        }
        _ => {
            return Err(Usage::error(
                "a request is `fs read|write PATH`, `http METHOD URL`, `memory read|write SCOPE`, \
                 `config KEY` or `socket HOST:PORT`",
            ));
        }
    })
}

fn show(explained: &Explanation, request: Option<&str>, sheet: &mut Sheet) {
    let name = sheet.paint(Tone::Strong, &explained.function);
    match explained.effect {
        Some(effect) => sheet.line(format!("{name} ({effect})")),
        None => sheet.line(name),
    }
    match (&explained.asked, request) {
        (Some(answer), Some(request)) => show_answer(request, answer, sheet),
        _ => show_answer("call it", &explained.call, sheet),
    }
    for rule in &explained.holds {
        let label = sheet.paint(Tone::Warning, "may be held");
        let rule = neutralise_line(&rule.to_string()).into_owned();
        sheet.line(format!("  {label} until a person says yes, by {rule}"));
    }
    for opening in &explained.open {
        show_allowed(&opening.what, &opening.by, None, sheet);
    }
    for denial in &explained.shut {
        show_denied(&denial.to_string(), sheet);
    }
}

fn show_answer(what: &str, answer: &Answer, sheet: &mut Sheet) {
    match answer {
        Answer::Allowed { by, provided } => show_allowed(what, by, *provided, sheet),
        Answer::Denied(denial) => show_denied(&denial.to_string(), sheet),
    }
}

fn show_allowed(what: &str, by: &[Remedy], provided: Option<&str>, sheet: &mut Sheet) {
    let label = sheet.paint(Tone::Good, "allowed");
    let provided = provided.map_or(String::new(), |fact| format!(", provided that {fact}"));
    sheet.line(format!("  {label}: {}{provided}", neutralise_line(what)));
    for line in by {
        sheet.line(format!("    by {}", neutralise_line(&line.to_string())));
    }
}

fn show_denied(denial: &str, sheet: &mut Sheet) {
    let text = sheet.paint(Tone::Bad, neutralise_line(denial));
    sheet.line(format!("  {text}"));
}

fn as_json(explained: &Explanation) -> Value {
    let answer = |answer: &Answer| match answer {
        Answer::Allowed { by, provided } => {
            json!({ "allowed": true, "by": by, "provided": provided })
        }
        Answer::Denied(denial) => json!({ "allowed": false, "denial": denial }),
    };
    let open: Vec<Value> = explained
        .open
        .iter()
        .map(|opening| json!({ "what": opening.what, "by": opening.by }))
        .collect();
    json!({
        "function": explained.function,
        "effect": explained.effect,
        "holds": explained.holds,
        "call": answer(&explained.call),
        "answer": explained.asked.as_ref().map(answer),
        "open": open,
        "shut": explained.shut,
    })
}
