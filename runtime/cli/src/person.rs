//! Whoever sits at the terminal, asked for what a run waits for: whether a held call may run, what a
//! tool wants to know, how a call of unknown outcome ended. An empty answer leaves it waiting.

use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::{Context as _, Result};
use ringfence::{
    Caller, Cancel, Error, Reconciliation, Runtime, Waiting,
    event::{ApprovalScope, Hold, OnExpiry, Question, Wait, neutralise, neutralise_line},
};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::{
    screen::{Screen, Tone},
    text::{cut, moment},
};

/// How much of the arguments is shown before somebody asks for all of them, in bytes: some forty
/// lines.
const ARGUMENTS: usize = 3_200;
/// What is typed by who does not want to answer a tool's question.
const DECLINE: &str = "/decline";

/// A person at the terminal.
pub(crate) struct Person(());

/// What was typed.
enum Typed {
    Line(String),
    /// Nothing more will be.
    Over,
    /// Ctrl-C.
    Cancel,
}

/// What was said to one call.
enum Answer {
    Approve(ApprovalScope, Option<String>),
    Decline(Option<String>),
    Input(Option<Value>),
    Reconcile(Reconciliation),
    /// It stays as it is.
    Later,
    /// The run is to end.
    Cancel,
}

impl Person {
    /// The one who reads standard error and types, if there is one.
    pub(crate) fn at(screen: &Screen) -> Option<Self> {
        let there = !screen.json && screen.err.is_terminal() && io::stdin().is_terminal();
        there.then_some(Self(()))
    }

    /// Asks for each call that waits. Whether there is something to go on with: an answer, or that the
    /// run is to end.
    pub(crate) async fn answers(
        &self,
        runtime: &Runtime,
        caller: &Caller,
        waiting: &[Waiting],
        cancel: &Cancel,
        screen: &mut Screen,
    ) -> Result<bool> {
        let mut something = false;
        for one in waiting {
            let answer = match one.wait {
                Wait::Approval => self.may_run(one, cancel, screen).await?,
                Wait::Input => self.question(one, cancel, screen).await?,
                Wait::Reconcile => self.how_ended(one, cancel, screen).await?,
                Wait::Retry => continue,
            };
            let (id, call) = (&one.session, &one.call);
            let said = match answer {
                Answer::Later => continue,
                Answer::Cancel => return Ok(true),
                Answer::Approve(scope, reason) => {
                    runtime.approve(caller, id, call, scope, reason, one.shown).await
                }
                Answer::Decline(reason) => {
                    runtime.decline(caller, id, call, reason, one.shown).await
                }
                Answer::Input(value) => runtime.answer(caller, id, call, value, one.shown).await,
                Answer::Reconcile(how) => runtime.reconcile(caller, id, call, how).await,
            };
            match said {
                Ok(_) => something = true,
                // Too late, somebody else was faster, or it does not fit: it is looked at again.
                Err(error @ (Error::Refused(_) | Error::UnfitAnswer { .. })) => {
                    let text = neutralise_line(&error.to_string()).into_owned();
                    screen.err.line(screen.err.paint(Tone::Warning, text));
                    something = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(something)
    }

    /// Whether a held call may run.
    async fn may_run(&self, one: &Waiting, cancel: &Cancel, screen: &mut Screen) -> Result<Answer> {
        self.call(one, screen);
        let hold = one.hold.as_ref();
        hold.into_iter().for_each(|hold| show_hold(hold, screen));
        let wide = hold.is_some_and(|hold| hold.scope == ApprovalScope::Session);
        let always = if wide { ", a: yes, always in this session" } else { "" };
        let cut_off = one.arguments.len() > ARGUMENTS;
        let all = if cut_off { ", v: show all of it" } else { "" };
        loop {
            let question = format!("may it run? [y: yes, n: no{always}{all}, Enter: later] ");
            let typed = match self.ask(&question, cancel, screen).await? {
                Typed::Line(line) => line,
                Typed::Over => return Ok(Answer::Later),
                Typed::Cancel => return Ok(Answer::Cancel),
            };
            // What stands behind the word is why.
            let (word, reason) = match typed.trim().split_once(char::is_whitespace) {
                Some((word, reason)) => (word.to_owned(), Some(reason.trim().to_owned())),
                None => (typed.trim().to_owned(), None),
            };
            match word.to_lowercase().as_str() {
                "" => return Ok(Answer::Later),
                "y" | "yes" => return Ok(Answer::Approve(ApprovalScope::Call, reason)),
                "a" | "always" if wide => {
                    return Ok(Answer::Approve(ApprovalScope::Session, reason));
                }
                "n" | "no" if reason.is_some() => return Ok(Answer::Decline(reason)),
                "n" | "no" => {
                    let why = self.ask("why? [Enter: no reason] ", cancel, screen).await?;
                    return Ok(match why {
                        Typed::Line(why) if why.trim().is_empty() => Answer::Decline(None),
                        Typed::Line(why) => Answer::Decline(Some(why.trim().to_owned())),
                        Typed::Over => Answer::Decline(None),
                        Typed::Cancel => Answer::Cancel,
                    });
                }
                "v" if cut_off => screen.err.line(neutralise(&one.arguments)),
                _ => screen.err.line("one of the letters, and a reason behind it if there is one"),
            }
        }
    }

    /// What a tool wants to know, property by property.
    async fn question(
        &self,
        one: &Waiting,
        cancel: &Cancel,
        screen: &mut Screen,
    ) -> Result<Answer> {
        self.call(one, screen);
        let Some(Question { message, schema }) = &one.question else { return Ok(Answer::Later) };
        screen.err.line(format!("    asks: {}", neutralise_line(message)));
        let required = |name: &str| {
            let names = schema.get("required").and_then(Value::as_array);
            names.is_some_and(|names| names.iter().any(|one| one == name))
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut value = Map::new();
        screen.err.line(format!("    ({DECLINE}: it gets no answer; Ctrl-D: later)"));
        if properties.is_none_or(Map::is_empty) {
            return Ok(match self.ask("go on? [y: yes, Enter: later] ", cancel, screen).await? {
                Typed::Line(line) if line.trim() == DECLINE => Answer::Input(None),
                Typed::Line(line) if matches!(line.trim(), "y" | "yes") => {
                    Answer::Input(Some(Value::Object(value)))
                }
                Typed::Line(_) | Typed::Over => Answer::Later,
                Typed::Cancel => Answer::Cancel,
            });
        }
        for (name, property) in properties.into_iter().flatten() {
            let field = Field { name, property, required: required(name) };
            loop {
                let typed = match self.ask(&field.question(), cancel, screen).await? {
                    Typed::Line(line) => line,
                    Typed::Over => return Ok(Answer::Later),
                    Typed::Cancel => return Ok(Answer::Cancel),
                };
                if typed.trim() == DECLINE {
                    return Ok(Answer::Input(None));
                }
                match field.read(typed.trim()) {
                    Ok(None) => break,
                    Ok(Some(read)) => {
                        value.insert(name.clone(), read);
                        break;
                    }
                    Err(why) => screen.err.line(screen.err.paint(Tone::Warning, why)),
                }
            }
        }
        Ok(Answer::Input(Some(Value::Object(value))))
    }

    /// How a call ended of which nobody knows.
    async fn how_ended(
        &self,
        one: &Waiting,
        cancel: &Cancel,
        screen: &mut Screen,
    ) -> Result<Answer> {
        self.call(one, screen);
        screen.err.line("    the host died while it ran: nobody knows whether it happened");
        loop {
            let question = "how did it end? [h: it happened, r: it did not, run it, g: give up, Enter: later] ";
            let typed = match self.ask(question, cancel, screen).await? {
                Typed::Line(line) => line,
                Typed::Over => return Ok(Answer::Later),
                Typed::Cancel => return Ok(Answer::Cancel),
            };
            match typed.trim().to_lowercase().as_str() {
                "" => return Ok(Answer::Later),
                "r" => return Ok(Answer::Reconcile(Reconciliation::RunIt)),
                "g" => return Ok(Answer::Reconcile(Reconciliation::GiveUp)),
                "h" => {
                    let question = "with which result, as the model is told it? ";
                    return Ok(match self.ask(question, cancel, screen).await? {
                        Typed::Line(text) => {
                            Answer::Reconcile(Reconciliation::Happened(text.trim().to_owned()))
                        }
                        Typed::Over => Answer::Later,
                        Typed::Cancel => Answer::Cancel,
                    });
                }
                _ => screen.err.line("one of the letters h, r and g"),
            }
        }
    }

    /// The call in question, with the beginning of its arguments, and how much of them is not shown.
    fn call(&self, one: &Waiting, screen: &mut Screen) {
        let name = screen.err.paint(Tone::Strong, neutralise_line(&one.function));
        screen.err.line(format!("  {} {name}", one.call));
        let arguments = &one.arguments;
        let end = arguments.floor_char_boundary(ARGUMENTS);
        screen.err.line(format!("    with {}", neutralise_line(&arguments[..end])));
        if end < arguments.len() {
            let text = format!("    and {} bytes more", arguments.len() - end);
            screen.err.line(screen.err.paint(Tone::Warning, text));
        }
    }

    /// A line that is typed after a question. It is read in a thread of its own, which nobody waits for
    /// when the process ends meanwhile.
    async fn ask(&self, question: &str, cancel: &Cancel, screen: &mut Screen) -> Result<Typed> {
        screen.err.prompt(question);
        let (typed, line) = oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = io::stdin().lock().read_line(&mut line).map(|bytes| (bytes, line));
            // Nobody listens after Ctrl-C.
            let _ = typed.send(read);
        });
        tokio::select! {
            read = line => {
                let (bytes, line) = read
                    .context("whoever reads the answer is gone")?
                    .context("cannot read the answer")?;
                if bytes == 0 {
                    screen.err.line("");
                    return Ok(Typed::Over);
                }
                Ok(Typed::Line(line))
            }
            () = cancel.requested() => {
                screen.err.line("");
                Ok(Typed::Cancel)
            }
        }
    }
}

/// Which lines hold a call, and until when.
fn show_hold(hold: &Hold, screen: &mut Screen) {
    for rule in &hold.rules {
        screen.err.line(format!("    held by {}", neutralise_line(&rule.to_string())));
    }
    if let Some(expires) = hold.expires {
        let then = match hold.on_expiry {
            OnExpiry::Decline => "is declined",
            OnExpiry::Approve => "runs",
        };
        screen.err.line(format!("    without an answer it {then} at {}", moment(expires)));
    }
}

/// One property of an answer.
struct Field<'a> {
    name: &'a str,
    property: &'a Value,
    required: bool,
}

/// How much of what a schema says about a property is shown.
const FIELD_COLUMNS: usize = 200;

impl Field<'_> {
    fn kind(&self) -> &str {
        self.property.get("type").and_then(Value::as_str).unwrap_or("string")
    }

    fn choices(&self) -> Option<&[Value]> {
        let choices = self.property.get("enum").and_then(Value::as_array).map(Vec::as_slice);
        choices.or_else(|| self.property.get("const").map(std::slice::from_ref))
    }

    /// What is asked for it.
    fn question(&self) -> String {
        let text = |key: &str| self.property.get(key).and_then(Value::as_str);
        let mut question = format!("    {}", cut(self.name, FIELD_COLUMNS));
        for said in [text("title"), text("description")].into_iter().flatten() {
            question += &format!(", {}", cut(said, FIELD_COLUMNS));
        }
        let what = match self.choices() {
            Some(choices) => {
                let shown: Vec<String> = choices.iter().map(plain).collect();
                shown.join(" | ")
            }
            None if self.kind() == "boolean" => "y | n".to_owned(),
            None => self.kind().to_owned(),
        };
        let without = match self.property.get("default") {
            Some(default) => format!(", Enter: {}", plain(default)),
            None if self.required => String::new(),
            None => ", Enter: left out".to_owned(),
        };
        format!("{question} [{}{without}]: ", cut(&what, FIELD_COLUMNS))
    }

    /// The value that was typed; none if it is left out.
    fn read(&self, typed: &str) -> Result<Option<Value>, String> {
        if typed.is_empty() {
            return match self.property.get("default") {
                Some(default) => Ok(Some(default.clone())),
                // An empty text is a text.
                None if self.required && self.kind() == "string" && self.choices().is_none() => {
                    Ok(Some(Value::from("")))
                }
                None if self.required => Err("this one is needed".to_owned()),
                None => Ok(None),
            };
        }
        if let Some(choices) = self.choices() {
            let chosen = choices.iter().find(|choice| plain(choice) == cut(typed, FIELD_COLUMNS));
            return match chosen {
                Some(chosen) => Ok(Some(chosen.clone())),
                None => Err("one of those that are shown".to_owned()),
            };
        }
        match self.kind() {
            "boolean" => match typed.to_lowercase().as_str() {
                "y" | "yes" | "true" => Ok(Some(Value::Bool(true))),
                "n" | "no" | "false" => Ok(Some(Value::Bool(false))),
                _ => Err("y or n".to_owned()),
            },
            "integer" | "number" => match serde_json::from_str(typed) {
                Ok(Value::Number(number)) => Ok(Some(Value::Number(number))),
                _ => Err(format!("this is no {}", self.kind())),
            },
            _ => Ok(Some(Value::from(typed))),
        }
    }
}

/// A value as it is typed: a text without its quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => cut(text, FIELD_COLUMNS),
        other => cut(&other.to_string(), FIELD_COLUMNS),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(property: &Value, required: bool, typed: &str, expected: Result<Option<Value>, &str>) {
        let field = Field { name: "a", property, required };
        assert_eq!(field.read(typed), expected.map_err(str::to_owned));
    }

    #[test]
    fn what_is_typed_becomes_the_type_that_is_asked_for() {
        let boolean = json!({ "type": "boolean" });
        check(&boolean, true, "y", Ok(Some(json!(true))));
        check(&boolean, true, "No", Ok(Some(json!(false))));
        check(&boolean, true, "perhaps", Err("y or n"));
        check(&boolean, true, "", Err("this one is needed"));
        check(&boolean, false, "", Ok(None));
        let integer = json!({ "type": "integer", "default": 3 });
        check(&integer, true, "", Ok(Some(json!(3))));
        check(&integer, true, "-7", Ok(Some(json!(-7))));
        check(&integer, true, "seven", Err("this is no integer"));
        check(&json!({ "type": "number" }), true, "1e3", Ok(Some(json!(1000.0))));
        let choice = json!({ "enum": ["red", 2, true] });
        check(&choice, true, "red", Ok(Some(json!("red"))));
        check(&choice, true, "2", Ok(Some(json!(2))));
        check(&choice, true, "blue", Err("one of those that are shown"));
        let text = json!({ "type": "string" });
        check(&text, true, "12", Ok(Some(json!("12"))));
        check(&text, true, "", Ok(Some(json!(""))));
        check(&text, false, "", Ok(None));
    }

    #[test]
    fn a_property_is_asked_for_with_what_can_be_typed() {
        let check = |property: Value, required: bool, expected: &str| {
            assert_eq!(Field { name: "a", property: &property, required }.question(), expected);
        };
        check(json!({ "type": "boolean", "title": "Sure?" }), true, "    a, Sure? [y | n]: ");
        check(json!({ "enum": ["red", 2], "default": 2 }), true, "    a [red | 2, Enter: 2]: ");
        check(json!({ "type": "string" }), false, "    a [string, Enter: left out]: ");
        // Nothing that a tool says moves the cursor.
        check(
            json!({ "type": "string", "title": "\u{1b}[2J" }),
            true,
            "    a, \\u{1b}[2J [string]: ",
        );
    }
}
