//! What is another tenant's or another user's is answered like what is not there, to the byte.

use serde_json::json;

use crate::service::Service;

#[test]
fn s4_what_is_others_is_as_what_is_not_there() {
    let service = Service::new();
    let ann = service.client("acme", "ann", "admin");
    let session =
        ann.post("/v1/sessions", json!({ "agent": "greeter", "input": "Greet." })).expect(201);
    let session = session.header("location").unwrap().to_owned();
    ann.stream(&format!("{session}/events"), &[]).until("run.completed");
    let id = session.rsplit('/').next().unwrap();
    let absent = "0123456789abcdef0123456789abcdef";
    let others = [
        service.client("acme", "bob", "admin"),
        service.client("globex", "ann", "admin"),
        service.client("globex", "", "admin"),
        service.client("initech", "", "admin"),
    ];
    let paths = [
        ("GET", "", None),
        ("GET", "/runs", None),
        ("GET", "/runs/1", None),
        ("GET", "/runs/1/steps", None),
        ("GET", "/runs/1/steps/1", None),
        ("GET", "/calls", None),
        ("GET", "/calls/r1.s1.c1", None),
        ("GET", "/usage", None),
        ("GET", "/events", None),
        ("POST", "/runs", Some(json!({ "input": "x" }))),
        ("POST", "/runs/1/cancel", None),
        ("POST", "/resume", None),
        ("POST", "/close", None),
        ("POST", "/calls/r1.s1.c1/approval", Some(json!({ "decision": "approve" }))),
        ("POST", "/calls/r1.s1.c1/answer", Some(json!({ "value": null }))),
        ("POST", "/calls/r1.s1.c1/reconcile", Some(json!({ "how": "give-up" }))),
    ];
    for client in &others {
        for (method, path, body) in &paths {
            let body = body.as_ref().map(ToString::to_string);
            let ask = |id: &str| {
                let path = format!("/v1/sessions/{id}{path}");
                let answer = client.send(method, &path, &[], body.as_deref().map(str::as_bytes));
                let answer = answer.fails(404, "no-such-session");
                String::from_utf8(answer.body).unwrap().replace(id, "ID")
            };
            assert_eq!(ask(id), ask(absent), "{method} {path}");
        }
        let listed = client.get("/v1/sessions").expect(200).json();
        assert_eq!(listed["items"], json!([]));
    }
    // Tools and agents too: those of others are as those that nobody has.
    let globex = &others[1];
    for (path, code) in [
        ("/v1/tools/NAME", "no-such-tool"),
        ("/v1/tools/NAME/functions", "no-such-tool"),
        ("/v1/tools/NAME/functions/hold", "no-such-tool"),
    ] {
        let ask = |name: &str| {
            let answer = globex.get(&path.replace("NAME", name)).fails(404, code);
            String::from_utf8(answer.body).unwrap().replace(name, "NAME")
        };
        assert_eq!(ask("probe"), ask("absent"));
    }
    globex.post("/v1/tools/probe/functions/hold/call", json!({})).fails(404, "no-such-tool");
    // The positive control: the tenant's own key sees all of its users'.
    let acme = service.client("acme", "", "admin");
    acme.get(&session).expect(200);
    assert_eq!(acme.get("/v1/sessions").expect(200).json()["items"][0]["user"], "ann");
    assert_eq!(service.client("acme", "ann", "read").get(&session).expect(200).json()["id"], id);
}

/// Neither the body, nor the query, nor a header says whose it is.
#[test]
fn whose_a_request_is_comes_from_its_key_alone() {
    let service = Service::new();
    let ann = service.client("acme", "ann", "run,read");
    ann.post("/v1/sessions", json!({ "agent": "greeter", "tenant": "globex" }))
        .fails(422, "invalid");
    ann.post("/v1/sessions", json!({ "agent": "greeter", "user": "bob" })).fails(422, "invalid");
    ann.get("/v1/sessions?tenant=globex").fails(400, "bad-query");
    ann.get("/v1/sessions?user=bob").fails(400, "bad-query");
    let headers = [("x-tenant", "globex"), ("x-user", "bob")];
    let body = json!({ "agent": "greeter" }).to_string();
    let made = ann.send("POST", "/v1/sessions", &headers, Some(body.as_bytes())).expect(201);
    assert_eq!(made.json()["user"], "ann");
}

#[test]
fn i12_a_cursor_is_good_for_whom_it_was_shown() {
    let service = Service::new();
    let (ann, bob) =
        (service.client("acme", "ann", "run,read"), service.client("acme", "bob", "read"));
    for _ in 0..5 {
        ann.post("/v1/sessions", json!({ "agent": "greeter" })).expect(201);
    }
    let mut ids = vec![];
    let mut path = "/v1/sessions?limit=2".to_owned();
    let mut cursors = vec![];
    loop {
        let page = ann.get(&path).expect(200).json();
        ids.extend(page["items"].as_array().unwrap().iter().map(|one| one["id"].to_string()));
        let Some(next) = page["next"].as_str() else { break };
        cursors.push(next.to_owned());
        path = format!("/v1/sessions?limit=2&cursor={next}");
    }
    let all = ann.get("/v1/sessions").expect(200).json();
    let all: Vec<String> =
        all["items"].as_array().unwrap().iter().map(|one| one["id"].to_string()).collect();
    assert_eq!(ids, all);
    assert_eq!((ids.len(), cursors.len()), (5, 2));
    let cursor = &cursors[0];
    bob.get(&format!("/v1/sessions?cursor={cursor}")).fails(400, "bad-cursor");
    ann.get(&format!("/v1/tools?cursor={cursor}")).fails(400, "bad-cursor");
    ann.get(&format!("/v1/sessions?cursor={cursor}x")).fails(400, "bad-cursor");
    ann.get("/v1/sessions?cursor=").fails(400, "bad-cursor");
    ann.get("/v1/sessions?limit=0").fails(400, "bad-query");
    ann.get("/v1/sessions?limit=201").fails(400, "bad-query");
}
