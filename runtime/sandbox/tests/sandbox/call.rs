//! A call that does what it was made for.

use ringfence_event::{Effect, Outcome, Output};
use ringfence_sandbox::{ImportClass, Tool};
use ringfence_tests::{ENGINE, Scene, guest};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_says_hello() {
    let tool = Tool::load(&ENGINE, &guest("hello")).unwrap();
    let definitions = tool.definitions().await.unwrap();
    assert_eq!(definitions.len(), 1);
    assert_eq!(definitions[0].name, "greet");
    assert_eq!(definitions[0].effect, Effect::Pure);
    assert!(tool.imports().iter().all(|import| import.class != ImportClass::Unknown));

    let hello = Scene::of(tool, Effect::Pure);
    let ended = hello.run("greet", json!({ "name": "Ann" })).await;
    let Outcome::Succeeded { output } = &ended.outcome else { panic!("{ended:?}") };
    assert_eq!(*output, Output::text("Hello, Ann!"));
    assert!(ended.usage.fuel > 0 && ended.usage.memory_peak_bytes > 0, "{:?}", ended.usage);
    assert_eq!(ended.usage.output_bytes, 11);

    let again = hello.run("greet", json!({ "name": "Ann" })).await;
    assert_eq!(again.usage.fuel, ended.usage.fuel, "the same work costs the same");
    assert_eq!(again.usage.host_work, ended.usage.host_work);
}
