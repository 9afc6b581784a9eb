use serde_json::{Value, json};

use crate::service::Service;

const GREET: &str = "/v1/tools/hello/functions/greet/call";

#[test]
fn a_function_is_called_and_its_end_is_an_answer() {
    let service = Service::new();
    let ann = service.client("acme", "ann", "run,read");
    let done = ann.post(GREET, json!({ "arguments": { "name": "Ann" } })).expect(200).json();
    assert_eq!(done["outcome"], "succeeded", "{done}");
    assert_eq!(done["output"]["content"][0]["text"], "Hello, Ann!");
    assert!(done["usage"]["fuel"].as_u64().unwrap() > 0);
    let done = ann.post(GREET, json!({ "arguments": { "name": 1 } })).expect(200).json();
    assert_eq!(done["outcome"], "invalid", "{done}");
    let hold = "/v1/tools/probe/functions/hold/call";
    let done = ann.post(hold, json!({ "arguments": { "how": "panic" } })).expect(200).json();
    assert_eq!(done["outcome"], "trapped", "{done}");
    ann.post(GREET, json!({ "not-after": 1 })).fails(504, "timed-out");
    let later = json!({ "arguments": { "name": "Ann" }, "not-after": 9_007_199_254_740_991_u64 });
    ann.post(GREET, later).expect(200);
}

#[test]
fn what_there_is_can_be_looked_at() {
    let service = Service::new();
    let ann = service.client("acme", "ann", "read");
    let names = |path: &str, name: &str| -> Vec<String> {
        let page = ann.get(path).expect(200).json();
        let items = page["items"].as_array().unwrap().iter();
        let text = |item: &Value| item[name].as_str().or(item.as_str()).unwrap().to_owned();
        items.map(text).collect()
    };
    assert_eq!(names("/v1/tools", "name"), ["hello", "probe"]);
    assert_eq!(names("/v1/tools?limit=1", "name"), ["hello"]);
    assert_eq!(names("/v1/agents", "name"), ["greeter"]);
    assert_eq!(names("/v1/tools/hello/functions", "name"), ["greet"]);
    let function = ann.get("/v1/tools/hello/functions/greet").expect(200).json();
    assert_eq!(function["effect"], "pure");
    assert_eq!(function["input-schema"]["type"], "object");
    let agent = ann.get("/v1/agents/greeter").expect(200).json();
    assert_eq!(agent["functions"], json!(["hello_greet"]));
    let grants = ann.get("/v1/grants").expect(200).json();
    let hello = grants["items"].as_array().unwrap().iter().find(|grant| grant["tool"] == "hello");
    assert_eq!(hello.unwrap()["call"], "allowed");
    let globex = service.client("globex", "", "read");
    let grants = globex.get("/v1/grants").expect(200).json();
    assert_eq!(grants["items"][0]["call"], "held", "{grants}");
    // What all users spend is not for the key of one.
    ann.get("/v1/usage").fails(403, "out-of-scope");
    assert_eq!(globex.get("/v1/usage").expect(200).json(), json!({ "budgets": [] }));
}

/// One that lies there no more is told as such, and hides nothing of the others.
#[test]
fn a_tool_that_cannot_be_loaded_leaves_the_grants_of_others() {
    let service = Service::new();
    std::fs::remove_file(service.path("probe/tool.wasm")).unwrap();
    let ann = service.client("acme", "ann", "run,read");
    let grants = ann.get("/v1/grants").expect(200).json();
    let call = |tool: &str| {
        let items = grants["items"].as_array().unwrap().iter();
        let mut of: Vec<_> = items.filter(|grant| grant["tool"] == tool).collect();
        of.remove(0)["call"].clone()
    };
    assert_eq!((call("hello"), call("probe")), (json!("allowed"), json!("unusable")), "{grants}");
    let hold = json!({ "arguments": { "how": "sleep" } });
    ann.post("/v1/tools/probe/functions/hold/call", hold).fails(503, "tool-unusable");
}
