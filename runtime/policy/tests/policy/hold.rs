//! Which calls a person is asked about, what an answer is for, and what stays shut without one.

use proptest::prelude::*;
use ringfence_event::{
    Access, ApprovalScope, Binding, DenialCode, Digest, FileOwner, FunctionName, Money, OnExpiry,
    UserId,
};
use ringfence_policy::{
    Approval, CallRequest, Decision, Held, HoldRules, HoldTable, Permit, Protocol, ToolPolicy,
    parse_file,
};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use crate::scene::{grants, policy};

const MANIFEST: &str = r#"[tool]
name = "files"
component = "files.wasm"

[needs.fs.workspace]
access = "write"

[needs.http."https://*"]
methods = ["GET", "POST"]

[needs.sockets."db.example:5432"]

[needs.sockets."cache.example:6379"]

[function.look]
effect = "read"
"#;

const GRANTS: &str = r#"[tenant.acme.tool.files]
fs.workspace = { path = "/srv/work", access = "write" }
http = ["https://*"]
sockets = [{ to = "db.example:5432", address = "10.0.0.5" }, "cache.example:6379"]
"#;

fn with_holds(rules: &str) -> ToolPolicy {
    policy(MANIFEST, &grants(&format!("{GRANTS}{rules}")).unwrap())
}

fn tenant(rule: &str) -> ToolPolicy {
    with_holds(&format!("[[tenant.acme.hold]]\n{rule}\n"))
}

fn agent(text: &str) -> HoldRules {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        hold: Vec<Spanned<HoldTable>>,
    }
    let file: File = parse_file("agent.toml", text).unwrap();
    HoldRules::read("agent.toml", text, FileOwner::AgentAuthor, "[[hold]]", file.hold).unwrap()
}

fn decide(
    policy: &ToolPolicy,
    rules: Option<&HoldRules>,
    (function, text, spent): (&str, &str, &str),
    approval: Option<Approval<'_>>,
) -> Decision {
    let (user, function): (UserId, FunctionName) =
        ("ann@example.com".parse().unwrap(), function.parse().unwrap());
    policy.decide(&CallRequest {
        user: &user,
        function: &function,
        arguments: Digest::of(text.as_bytes()),
        arguments_text: text,
        limits: None,
        rules,
        spent: spent.parse().unwrap_or(Money::ZERO),
        approval,
    })
}

fn held(decision: Decision) -> Held {
    match decision {
        Decision::Hold(_, held) => *held,
        other => panic!("{other:?}"),
    }
}

fn permitted(decision: Decision) -> Permit {
    match decision {
        Decision::Permit(permit) => permit,
        other => panic!("{other:?}"),
    }
}

/// Each rule holds what it names, as a tenant's and as an agent's, and nothing else.
#[test]
fn rules_hold_what_they_name() {
    let check = |rule: &str, call: (&str, &str, &str), expected: bool| {
        let by_agent = agent(&format!("[[hold]]\n{rule}"));
        for (policy, rules) in [(tenant(rule), None), (with_holds(""), Some(&by_agent))] {
            let decision = decide(&policy, rules, call, None);
            let holds = matches!(decision, Decision::Hold(..));
            assert_eq!(holds, expected, "{rule}: {call:?}: {decision:?}");
            if let Decision::Hold(_, held) = decision {
                let given = Some(Approval::Call(&held.binding));
                assert!(matches!(decide(&policy, rules, call, given), Decision::Permit(_)));
            }
        }
    };
    check("tool = 'files'", ("send", "{}", "0"), true);
    check("tool = 'mail'", ("send", "{}", "0"), false);
    check("tool = 'files'\nfunction = 'send'", ("send", "{}", "0"), true);
    check("tool = 'files'\nfunction = 'send'", ("look", "{}", "0"), false);
    check("effect = 'unsafe'", ("send", "{}", "0"), true);
    check("effect = ['idempotent', 'unsafe']", ("write", "{}", "0"), true);
    check("effect = ['idempotent', 'unsafe']", ("look", "{}", "0"), false);
    check("spent = '0.20'", ("look", "{}", "0.20"), true);
    check("spent = '0.20'", ("look", "{}", "0.1999"), false);
    let amount = "argument = { at = '/order/amount', matches = '*000' }";
    check(amount, ("send", r#"{"order":{"amount":"5000"}}"#, "0"), true);
    check(amount, ("send", r#"{"order":{"amount":5000}}"#, "0"), true);
    check(amount, ("send", r#"{"order":{"amount":50}}"#, "0"), false);
    check(amount, ("send", r#"{"order":{"amount":5000,"amount":1}}"#, "0"), true);
    check(amount, ("send", r#"{"amount":5000}"#, "0"), false);
    check("argument = { at = '/to/0', matches = '*' }", ("send", r#"{"to":[""]}"#, "0"), true);
    check("argument = { at = '/to/0', matches = '*' }", ("send", r#"{"to":[]}"#, "0"), false);
    check("argument = { at = '/a~1b', matches = '[1,*' }", ("send", r#"{"a/b":[1,2]}"#, "0"), true);
    // What cannot be read may be anything.
    check(amount, ("send", "{", "0"), true);
    let host = "host = 'pay.example'";
    check(host, ("send", r#"{"a":[{"url":"https://PAY.example:8443/x"}]}"#, "0"), true);
    check(host, ("send", r#"{"url":"https://pay.example","url":"https://a.example"}"#, "0"), true);
    check(host, ("send", r#"{"host":"pay.example"}"#, "0"), true);
    check(host, ("send", r#"{"url":"https://a.example"}"#, "0"), false);
    check("host = 'pay.example'\ntool = 'mail'", ("send", r#"["pay.example"]"#, "0"), false);
    check("host = 'pay.example'\nspent = '1'", ("send", r#"["pay.example"]"#, "0.5"), false);
    check("host = 'pay.example'\nspent = '1'", ("send", r#"["pay.example"]"#, "1"), true);
    let path = "path = '/workspace/secrets/**'";
    check(path, ("look", r#"{"path":"/workspace/a/..//secrets/key"}"#, "0"), true);
    check(path, ("look", r#"{"path":"secrets/key"}"#, "0"), true);
    check(path, ("look", r#"{"path":"workspace/secrets"}"#, "0"), true);
    check(path, ("look", r#"{"path":"/workspace/secret"}"#, "0"), false);
}

/// What a rule names by host or path is shut without an answer and open with one.
#[test]
fn what_is_not_approved_is_shut() {
    let policy = with_holds(
        "[[tenant.acme.hold]]\nhost = '*.pay.example'\n[[tenant.acme.hold]]\nhost = '10.0.0.5'\n\
         [[tenant.acme.hold]]\npath = '/workspace/secrets/**'\n",
    );
    let url = |text: &str| Url::parse(text).unwrap();
    let call = ("send", "{}", "0");
    let shut = permitted(decide(&policy, None, call, None));
    let binding = Binding {
        user: shut.user().clone(),
        tool: shut.tool().clone(),
        function: shut.function().clone(),
        component: shut.component(),
        definitions: shut.definitions(),
        policy: shut.version(),
        rules: HoldRules::default().digest(),
        arguments: shut.arguments(),
    };
    let by_call = permitted(decide(&policy, None, call, Some(Approval::Call(&binding))));
    let by_session = permitted(decide(&policy, None, call, Some(Approval::Session(&binding))));
    for address in
        ["https://a.pay.example/x", "https://A.PAY.example./", "https://a.b.pay.example/"]
    {
        let denial = shut.http("GET", &url(address)).unwrap_err();
        assert_eq!(denial.code, DenialCode::NeedsApproval);
        assert_eq!(denial.remedies[0].line, Some(5));
        assert!(by_call.http("GET", &url(address)).is_ok());
        assert!(by_session.http("GET", &url(address)).is_ok());
    }
    assert!(shut.http("GET", &url("https://b.example/")).is_ok());
    assert_eq!(
        shut.http("PUT", &url("https://a.pay.example/x")).unwrap_err().code,
        DenialCode::NotNeeded
    );
    let file = |permit: &Permit, path: &str| {
        permit.file(path, Access::Read).map(drop).map_err(|denial| denial.code)
    };
    for path in ["/workspace/secrets", "/workspace/./x/../secrets/key"] {
        assert_eq!(file(&shut, path), Err(DenialCode::NeedsApproval), "{path}");
        assert_eq!(file(&by_call, path), Ok(()), "{path}");
    }
    assert_eq!(file(&shut, "/workspace/notes"), Ok(()));
    assert!(shut.shuts_paths() && !by_call.shuts_paths());
    // A folder that is moved takes along what is in it.
    assert!(shut.check_path("/workspace", Access::Write).is_ok());
    assert!(shut.check_move("/workspace", Access::Write).is_err());
    assert!(shut.check_move("/workspace/notes", Access::Write).is_ok());
    assert!(by_call.check_move("/workspace", Access::Write).is_ok());
    assert_eq!((shut.sockets().len(), by_call.sockets().len()), (1, 2));
    let to = "10.0.0.5:5432".parse().unwrap();
    let denial = shut.deny_socket(Protocol::Tcp, to, Some("db.example"));
    assert_eq!(denial.code, DenialCode::NeedsApproval);
    assert_eq!(shut.deny_name("db.example").code, DenialCode::NeedsApproval);
    assert_eq!(shut.deny_name("other.example").code, DenialCode::NotNeeded);
    insta::assert_snapshot!(denial, @r#"denied: connect to 10.0.0.5:5432 by tcp: a person must say yes before the call begins; what would allow it: `host = "10.0.0.5"` under [[tenant.acme.hold]] in ringfence.toml:7 (the operator's file)"#);
}

/// An answer for one call is no answer for the session where a rule says so.
#[test]
fn a_rule_may_ask_each_time() {
    let check = |rule: &str, session: bool| {
        let policy = tenant(rule);
        let held = held(decide(&policy, None, ("send", "{}", "0"), None));
        let scope = if session { ApprovalScope::Session } else { ApprovalScope::Call };
        assert_eq!(held.scope, scope);
        let other = ("send", r#"{"a":1}"#, "0");
        let decision = decide(&policy, None, other, Some(Approval::Session(&held.binding)));
        assert_eq!(matches!(decision, Decision::Permit(_)), session, "{rule}");
    };
    check("effect = 'unsafe'", true);
    check("effect = 'unsafe'\nanswer = 'session'", true);
    check("effect = 'unsafe'\nanswer = 'call'", false);
}

#[test]
fn a_denial_goes_before_a_hold() {
    let policy = tenant("tool = 'files'");
    assert!(matches!(decide(&policy, None, ("gone", "{}", "0"), None), Decision::Denial(_)));
    assert!(matches!(decide(&policy, None, ("look", "{}", "0"), None), Decision::Hold(..)));
}

#[test]
fn the_digest_is_of_what_rules_say() {
    let one = agent("[[hold]]\neffect = 'unsafe'\n[[hold]]\nhost = 'a.example'");
    let same = agent("# Why\n[[hold]]\nhost = 'A.example'\n\n[[hold]]\neffect = ['unsafe']\n");
    assert_eq!(one.digest(), same.digest());
    for other in ["", "[[hold]]\neffect = 'unsafe'", "[[hold]]\neffect = 'unsafe'\nanswer = 'call'"]
    {
        assert_ne!(one.digest(), agent(other).digest(), "{other}");
    }
    assert_ne!(tenant("effect = 'unsafe'").version(), with_holds("").version());
    // Of a rule for another tool nothing depends here.
    assert_eq!(tenant("tool = 'mail'").version(), with_holds("").version());
}

proptest! {
    /// Whatever the order of rules and whoever states them, the strictest of each kind counts.
    #[test]
    fn the_strictest_wins(
        rules in prop::collection::vec(
            (any::<bool>(), prop::option::of(1..100_u64), any::<bool>(), any::<bool>()), 1..6,
        ),
    ) {
        let (mut of_tenant, mut of_agent) = (String::new(), String::new());
        for (mine, expires, approve, each) in &rules {
            let (text, table) = match mine {
                true => (&mut of_agent, "[[hold]]"),
                false => (&mut of_tenant, "[[tenant.acme.hold]]"),
            };
            *text += &format!("{table}\neffect = 'unsafe'\n");
            if let Some(expires) = expires {
                let word = if *approve { "approve" } else { "decline" };
                *text += &format!("expires = '{expires}s'\non-expiry = '{word}'\n");
            }
            if *each {
                *text += "answer = 'call'\n";
            }
        }
        let (policy, own) = (with_holds(&of_tenant), agent(&of_agent));
        let held = held(decide(&policy, Some(&own), ("send", "{}", "0"), None));
        let shortest = rules.iter().filter_map(|rule| rule.1).min().map(|seconds| seconds * 1000);
        prop_assert_eq!(held.expires_ms, shortest);
        let approve = rules.iter().all(|rule| rule.1.is_some() && rule.2);
        prop_assert_eq!(held.on_expiry == OnExpiry::Approve, approve);
        prop_assert_eq!(held.scope == ApprovalScope::Call, rules.iter().any(|rule| rule.3));
        prop_assert_eq!(held.rules.len(), rules.len());
    }

    /// An answer for anything else counts for nothing.
    #[test]
    fn an_answer_for_something_else_permits_nothing(field in 0..8_u8, session in any::<bool>()) {
        let policy = tenant("effect = 'unsafe'");
        let held = held(decide(&policy, None, ("send", "{}", "0"), None));
        let mut binding = held.binding.clone();
        let other = Digest::of(b"other");
        match field {
            0 => binding.user = "bob@example.com".parse().unwrap(),
            1 => binding.tool = "mail".parse().unwrap(),
            2 => binding.function = "write".parse().unwrap(),
            3 => binding.component = other,
            4 => binding.definitions = other,
            5 => binding.policy = other,
            6 => binding.rules = other,
            _ => binding.arguments = other,
        }
        let give = |binding| match session {
            true => Approval::Session(binding),
            false => Approval::Call(binding),
        };
        let right = decide(&policy, None, ("send", "{}", "0"), Some(give(&held.binding)));
        prop_assert!(matches!(right, Decision::Permit(_)));
        let wrong = decide(&policy, None, ("send", "{}", "0"), Some(give(&binding)));
        // For a session, the arguments are not part of it.
        let same = session && field == 7;
        prop_assert_eq!(matches!(wrong, Decision::Permit(_)), same, "{:?}", wrong);
    }
}
