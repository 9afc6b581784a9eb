use serde_json::json;

use crate::service::Service;

#[test]
fn a_session_is_made_said_something_to_and_looked_at() {
    let service = Service::new();
    let ann = service.client("acme", "ann", "run,read");
    let made = ann.post("/v1/sessions", json!({ "agent": "greeter" })).expect(201);
    let session = made.header("location").unwrap().to_owned();
    assert_eq!(made.json()["runs"], json!([]));
    let run = ann.post(&format!("{session}/runs?wait=true"), json!({ "input": "Greet Ann." }));
    let run = run.expect(200).json();
    assert_eq!((&run["status"], &run["answer"]), (&json!("completed"), &json!("Done.")), "{run}");
    let detail = ann.get(&session).expect(200).json();
    assert_eq!(detail["status"], "completed", "{detail}");
    assert_eq!(detail["runs"][0]["input"], "Greet Ann.");
    let steps = ann.get(&format!("{session}/runs/1/steps")).expect(200).json();
    assert_eq!(steps["items"].as_array().unwrap().len(), 2, "{steps}");
    assert_eq!(steps["items"][0]["calls"][0]["result"]["outcome"], "succeeded", "{steps}");
    ann.get(&format!("{session}/runs/1/steps/1")).expect(200);
    ann.get(&format!("{session}/runs/1/steps/9")).fails(404, "no-such-step");
    ann.get(&format!("{session}/runs/9")).fails(404, "no-such-run");
    ann.get(&format!("{session}/runs/x")).fails(404, "no-such-run");
    let call = ann.get(&format!("{session}/calls/r1.s1.c1")).expect(200).json();
    assert_eq!(call["function"], "hello_greet");
    ann.get(&format!("{session}/calls/r1.s1.c2")).fails(404, "no-such-call");
    let usage = ann.get(&format!("{session}/usage")).expect(200).json();
    assert_eq!(usage["totals"]["calls"], 1, "{usage}");
    // And a second one, which nobody waits for.
    let begun = ann.post(&format!("{session}/runs"), json!({ "input": "Again." }));
    assert_eq!(begun.json()["run"], 2);
    ann.stream(&format!("{session}/events?after={}", detail["seq"]), &[]).until("run.completed");
    ann.post(&format!("{session}/runs"), json!({ "input": " " })).fails(422, "empty-input");
    ann.act(&format!("{session}/close")).expect(204);
    ann.post(&format!("{session}/runs"), json!({ "input": "x" })).fails(409, "closed");
    ann.act(&format!("{session}/resume")).fails(409, "no-run");
    ann.post("/v1/sessions", json!({ "agent": "nobody" })).fails(404, "no-such-agent");
    ann.post("/v1/sessions", json!({ "agent": "secret" })).fails(404, "no-such-agent");
}

#[test]
fn a_held_call_is_answered_and_the_run_goes_on_by_itself() {
    let service = Service::new();
    let ann = service.client("globex", "ann", "run,read");
    let boss = service.client("globex", "boss", "approve,read");
    let all = service.client("globex", "", "approve,read");
    let made =
        ann.post("/v1/sessions", json!({ "agent": "greeter", "input": "Greet." })).expect(201);
    let session = made.header("location").unwrap().to_owned();
    let mut stream = ann.stream(&format!("{session}/events"), &[]);
    stream.until("run.waiting");
    let waiting = all.get("/v1/approvals").expect(200).json();
    let shown = waiting["items"][0]["shown"].clone();
    assert_eq!(waiting["items"][0]["call"], "r1.s1.c1", "{waiting}");
    assert_eq!(boss.get("/v1/approvals").expect(200).json()["items"], json!([]), "another user's");
    let approval = format!("{session}/calls/r1.s1.c1/approval");
    let yes = json!({ "decision": "approve", "shown": shown, "reason": "fine" });
    boss.post(&approval, yes.clone()).fails(404, "no-such-session");
    ann.post(&approval, yes.clone()).fails(403, "out-of-scope");
    let stale = json!({ "decision": "approve", "shown": format!("sha256:{}", "0".repeat(64)) });
    all.post(&approval, stale).fails(409, "stale-answer");
    all.post(&approval, json!({ "decision": "maybe" })).fails(422, "invalid");
    all.post(&format!("{session}/calls/r1.s1.c1/answer"), json!({ "value": {} }))
        .fails(409, "not-waiting");
    all.post(&approval, yes.clone()).expect(200);
    let told = stream.until("run.completed");
    let approved = told.iter().find(|told| told.kind == "call.approved").unwrap();
    assert_eq!(approved.data["data"]["by"], "local", "{approved:?}");
    all.post(&approval, yes).fails(409, "not-waiting");
}

/// A session is begun like an input: a tenant makes no more than its rate, and what is refused is not there.
#[test]
fn o2_what_is_refused_makes_no_session() {
    let mut service = Service::folder();
    let file = std::fs::read_to_string(service.path("ringfence.toml")).unwrap();
    let rate = file.replace("[tenant.acme]\n", "[tenant.acme]\nrate = \"2 per h\"\n");
    service.write("ringfence.toml", &rate);
    service.start();
    let ann = service.client("acme", "ann", "run,read");
    let (with, without) =
        (json!({ "agent": "greeter", "input": "Greet." }), json!({ "agent": "greeter" }));
    ann.post("/v1/sessions", with.clone()).expect(201);
    ann.post("/v1/sessions", without.clone()).expect(201);
    for new in [&with, &without] {
        let refused = ann.post("/v1/sessions", new.clone()).fails(429, "rate-limited");
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
    }
    let keyed = [("idempotency-key", "k")];
    let body = with.to_string();
    ann.send("POST", "/v1/sessions", &keyed, Some(body.as_bytes())).fails(429, "rate-limited");
    let made = ann.get("/v1/sessions").expect(200).json();
    assert_eq!(made["items"].as_array().unwrap().len(), 2, "{made}");
    // Another tenant has its own.
    service.client("globex", "", "run").post("/v1/sessions", with).expect(201);
}

/// A page at a time, each call once, and nothing of what was answered.
#[test]
fn what_waits_for_a_person_is_listed_page_by_page() {
    let service = Service::new();
    let all = service.client("globex", "", "run,approve,read");
    let mut made: Vec<String> = (0..3)
        .map(|_| {
            let body = json!({ "agent": "greeter", "input": "Greet." });
            let made = all.post("/v1/sessions", body).expect(201);
            let session = made.header("location").unwrap().to_owned();
            all.stream(&format!("{session}/events"), &[]).until("run.waiting");
            session
        })
        .collect();
    made.sort();
    let list = || {
        let (mut listed, mut query) = (vec![], "?limit=1".to_owned());
        loop {
            let page = all.get(&format!("/v1/approvals{query}")).expect(200).json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 1, "{page}");
            let session = |item: &serde_json::Value| {
                format!("/v1/sessions/{}", item["session"].as_str().unwrap())
            };
            listed.extend(items.iter().map(session));
            let Some(next) = page["next"].as_str() else { return listed };
            query = format!("?limit=1&cursor={next}");
        }
    };
    assert_eq!(list(), made);
    let no = json!({ "decision": "decline" });
    all.post(&format!("{}/calls/r1.s1.c1/approval", made[1]), no).expect(200);
    all.stream(&format!("{}/events", made[1]), &[]).until("run.completed");
    assert_eq!(list(), [made[0].clone(), made[2].clone()]);
}

#[test]
fn i5_a_client_that_goes_away_ends_its_run_only_if_it_asked_for_that() {
    let service = Service::spinning();
    let ann = service.client("acme", "ann", "run,read");
    let start = |query: &str| {
        let made = ann.post("/v1/sessions", json!({ "agent": "spinner" })).expect(201);
        let session = made.header("location").unwrap().to_owned();
        let body = json!({ "input": "Spin." }).to_string();
        let leaving =
            ann.open("POST", &format!("{session}/runs?{query}"), &[], Some(body.as_bytes()));
        let mut stream = ann.stream(&format!("{session}/events"), &[]);
        stream.until("call.started");
        drop(leaving);
        (session, stream)
    };
    let (_, mut ends) = start("wait=true&cancel-on-disconnect=true");
    ends.until("run.cancelled");
    let (stays, mut stream) = start("wait=true");
    // A client that reads the events of a run and asks to end it with that.
    let (_, mut ends) = start("wait=true");
    let run = ann.get(&format!("{stays}/runs/1")).expect(200).json();
    assert_eq!(run["status"], "running", "{run}");
    ann.act(&format!("{stays}/runs/1/cancel")).expect(200);
    stream.until("run.cancelled");
    ann.post(&format!("{stays}/runs?cancel-on-disconnect=true"), json!({ "input": "x" }))
        .fails(400, "bad-query");
    let session = ann.get("/v1/sessions?limit=1").expect(200).json()["items"][0]["id"].clone();
    let sessions = ann.get("/v1/sessions").expect(200).json();
    let open = sessions["items"].as_array().unwrap().iter().find(|one| one["status"] == "running");
    let open =
        open.unwrap_or_else(|| panic!("{session}: {sessions}"))["id"].as_str().unwrap().to_owned();
    drop(ann.stream(&format!("/v1/sessions/{open}/events?cancel-on-disconnect=true"), &[]));
    ends.until("run.cancelled");
}
