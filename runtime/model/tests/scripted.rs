//! Scripts against conversations.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Mutex;

use ringfence_event::{
    Message, ModelFailureClass, ModelReply, ModelRequest, Parameters, ProposedCall,
};
use ringfence_model::{Deltas, Model, ModelError, NoDeltas, ScriptedModel, TokenLimits};

fn user(text: &str) -> Message {
    Message::User { text: text.into() }
}

fn assistant(text: &str) -> Message {
    Message::Assistant { text: text.into(), calls: vec![] }
}

fn result(outcome: &str, text: &str) -> Message {
    let (id, function) = ("1".into(), "files_read".into());
    Message::Result { id, function, outcome: outcome.into(), text: text.into() }
}

fn ask(
    script: &str,
    messages: &[Message],
    output_tokens: Option<u64>,
) -> Result<ModelReply, ModelError> {
    ask_with(TokenLimits::default(), script, messages, output_tokens)
}

fn ask_with(
    limits: TokenLimits,
    script: &str,
    messages: &[Message],
    output_tokens: Option<u64>,
) -> Result<ModelReply, ModelError> {
    let request = ModelRequest {
        model: "main".parse().unwrap(),
        instructions: "Be brief.".into(),
        functions: vec![].into(),
        messages: messages.iter().cloned().map(Into::into).collect(),
        parameters: Parameters { output_tokens },
    };
    let model = ScriptedModel::parse(script, "script.toml").unwrap().with_limits(limits);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let heard = Heard::default();
    let reply = runtime.block_on(model.complete(&request, &heard));
    assert_eq!(reply, runtime.block_on(model.complete(&request, &NoDeltas)), "the same each time");
    let said = reply.as_ref().map(|reply| reply.text.clone()).unwrap_or_default();
    assert_eq!(*heard.0.lock().unwrap(), said);
    reply
}

#[derive(Default)]
struct Heard(Mutex<String>);

impl Deltas for Heard {
    fn text(&self, part: &str) {
        self.0.lock().unwrap().push_str(part);
    }
}

#[test]
fn the_first_turn_that_fits_is_taken() {
    let script = r#"
        [[turn]]
        when = { contains = "red", step = 1 }
        reply = { text = "red first" }
        [[turn]]
        when = { outcome = "denied", contains = "red" }
        reply = { text = "red denied" }
        [[turn]]
        when = { outcome = "denied" }
        reply = { text = "denied" }
        [[turn]]
        when = { step = 3 }
        reply = { text = "third" }
        [[turn]]
        reply = { text = "otherwise" }
    "#;
    let check = |messages: &[Message], text: &str| {
        assert_eq!(ask(script, messages, None).unwrap().text, text);
    };
    check(&[user("a red one")], "red first");
    check(&[user("a blue one")], "otherwise");
    check(&[user("red"), assistant("?"), result("denied", "red")], "red denied");
    check(&[user("red"), assistant("?"), result("denied", "blue")], "denied");
    // What came before the last reply is not looked at.
    let old = [user("red"), assistant("a"), result("denied", "x"), assistant("b"), user("go")];
    check(&old, "third");
    check(&[user("x"), assistant("red"), result("succeeded", "denied")], "otherwise");
    check(&[user("no"), result("failed", ""), result("denied", "")], "denied");
}

#[test]
fn calls_carry_what_was_returned_last() {
    let script = r#"
        [[turn]]
        reply = { text = "so: {{last}}", calls = [
            { function = "files_write", arguments = { path = "r.md", text = "<{{last}}>", deep = [{ a = "{{last}}", n = 1.5 }] } },
            { function = "time_now" },
            { function = "broken", arguments = "{not json" },
        ] }
    "#;
    let nasty = "a \"quote\" \\ and {{last}}\n\u{0}";
    let messages = [result("succeeded", "older"), result("succeeded", nasty), user("go on")];
    let reply = ask(script, &messages, None).unwrap();
    assert_eq!(reply.text, format!("so: {nasty}"), "what is put in is not looked at again");
    let [write, now, broken] = &reply.calls[..] else { panic!("{reply:?}") };
    let arguments: serde_json::Value = serde_json::from_str(&write.arguments).unwrap();
    assert_eq!(
        arguments,
        serde_json::json!({ "path": "r.md", "text": format!("<{nasty}>"), "deep": [{ "a": nasty, "n": 1.5 }] })
    );
    let expected =
        ProposedCall { id: "call-1-2".into(), function: "time_now".into(), arguments: "{}".into() };
    assert_eq!(*now, expected);
    assert_eq!(broken.arguments, "{not json");

    let long = ask(script, &[result("succeeded", &"ä".repeat(20_000))], None).unwrap();
    assert_eq!(long.text.len(), "so: ".len() + (16 << 10));
    assert_eq!(ask(script, &[user("x")], None).unwrap().text, "so: ");
}

#[test]
fn tokens_are_counted_and_bounded() {
    let script = "[[turn]]\nreply = { text = \"12345\" }";
    let short = ask(script, &[user("x")], None).unwrap().tokens;
    assert_eq!(short.output, 2);
    assert!(ask(script, &[user("x")], Some(2)).is_ok());
    assert!(ask(script, &[user(&"x".repeat(400))], None).unwrap().tokens.input >= short.input + 99);
    let check = |limits: TokenLimits, of_request: Option<u64>, is_ok: bool| {
        let asked = ask_with(limits, script, &[user("x")], of_request);
        let class = asked.as_ref().err().map(|error| error.failure.class);
        assert_eq!(class, (!is_ok).then_some(ModelFailureClass::TooLong), "{limits:?}");
    };
    let none = TokenLimits::default();
    check(none, Some(1), false);
    check(TokenLimits { output: Some(1), ..none }, None, false);
    check(TokenLimits { output: Some(1), ..none }, Some(2), false);
    check(TokenLimits { output: Some(2), ..none }, Some(3), true);
    check(TokenLimits { context: Some(short.input), ..none }, None, true);
    check(TokenLimits { context: Some(short.input - 1), ..none }, None, false);
}

#[test]
fn a_script_plays_failures() {
    let script = r#"
        [[turn]]
        when = { contains = "busy" }
        reply = { fail = { class = "rate-limited", message = "later", retry-after = "2s" } }
        [[turn]]
        when = { contains = "gone" }
        reply = { fail = { class = "unavailable" } }
        [[turn]]
        reply = { text = "here" }
    "#;
    let busy = ask(script, &[user("busy")], None).unwrap_err().failure;
    assert_eq!(
        (busy.class, busy.message.as_str(), busy.retry_after_ms),
        (ModelFailureClass::RateLimited, "later", Some(2_000))
    );
    let gone = ask(script, &[user("gone")], None).unwrap_err().failure;
    assert_eq!((gone.class, gone.retry_after_ms), (ModelFailureClass::Unavailable, None));
    assert_eq!(ask(script, &[user("x")], None).unwrap().text, "here");
}

#[test]
fn no_turn_is_an_error_that_shows_what_there_was() {
    let script = "[[turn]]\nwhen = { step = 1 }\nreply = { text = \"x\" }";
    let messages = [user("a"), assistant("b"), result("trapped", "c\u{1b}d"), user("e")];
    let error = ask(script, &messages, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no turn of the script fits step 2; files_read trapped: c\\u{1b}d; the user said: e"
    );
    assert_eq!(error.failure.class, ModelFailureClass::NoTurn);
}

#[test]
fn mistakes_are_shown_with_their_place() {
    let check = |script: &str, place: &str, part: &str| {
        let error = ScriptedModel::parse(script, "s.toml").unwrap_err().to_string();
        assert!(error.starts_with(&format!("s.toml:{place}: ")), "{error}");
        assert!(error.contains(part), "{error}");
    };
    check(
        "[[turn]]\nreply = { tex = \"x\" }",
        "2:11",
        "unknown key `tex`; known keys here: `text`, `calls`, `fail`; a turn is such as `[[turn]]`",
    );
    check(
        "[[turn]]\nonce = true\nreply = { text = \"x\" }",
        "2:1",
        "unknown key `once`; known keys here: `when`, `reply`;",
    );
    check(
        "[[turn]]\nreply = { text = \"x\" }\nwhen = { outcome = \"ok\" }",
        "3:20",
        "unknown word `ok`; it may be: `succeeded`, ",
    );
    check(
        "[[turn]]\nreply = { text = \"ä\", calls = [{ function = \"f\", arguments = 3 }] }",
        "2:62",
        "a table, such as `{ path = ",
    );
    check(
        "[[turn]]\nreply = { calls = [{ function = \"f\", arguments = { x = inf } }] }",
        "2:50",
        "`inf`",
    );
    check(
        "[[turn]]\nreply = {}",
        "2:9",
        "a reply needs `text`, `calls` or both, or a `fail`, such as `reply = { text",
    );
    check(
        "[[turn]]\nreply = { fail = { class = \"cut\" }, text = \"x\" }",
        "2:9",
        "a reply that is to `fail` has no `text`",
    );
    check("[[turn]]\nreply = { fail = { class = \"slow\" } }", "2:28", "unknown word `slow`");
    check("[[turn]]\nwhen = {}", "1:1", "the key `reply` is missing; a turn is such as `[[turn]]`");
    check("turn = 3", "1:8", "expected a list; a turn is such as `[[turn]]`");
    check("", "1:1", "the key `turn` is missing; a turn is such as `[[turn]]`");
    check("[[turn]\n", "1:8", "; a turn is such as `[[turn]]`");
}
