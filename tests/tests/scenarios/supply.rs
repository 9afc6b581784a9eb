//! What was accepted is what runs: a changed component, manifest or definition is refused until
//! somebody accepts it.

use std::fs;

use ringfence::{
    Caller, Error,
    event::{DenialCode, Outcome},
};

use crate::world::{World, one_call};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x1_x7_a_changed_tool_is_refused_until_it_is_accepted() {
    let world = World::new();
    world.add(&["examples/hello"]).await;
    world.grants("[tenant.local.tool.hello]\n");
    world.script(&one_call("hello_greet", "{ name = \"Ann\" }"));
    let agent = world.agent("hello = \"*\"", "");
    let outcome = async |world: &World| world.run(&agent).await.results().remove(0).1;
    assert!(matches!(outcome(&world).await.outcome, Outcome::Succeeded { .. }));

    let component = world.path("tools/hello/tool.wasm");
    let original = fs::read(&component).expect("a component");
    // A custom section more: another digest, the same behaviour.
    let changed = [&original[..], b"\0\x05\x04more"].concat();
    type Change<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let changes: [Change<'_>; 2] = [
        ("component", Box::new(|| fs::write(&component, &changed).expect("written"))),
        (
            "manifest asks",
            Box::new(|| {
                world.tool("examples/hello", |manifest| {
                    format!("{manifest}\n[needs.fs.workspace]\naccess = \"write\"\n")
                });
            }),
        ),
    ];
    for (what, change) in changes {
        change();
        let result = outcome(&world).await;
        assert_eq!(result.outcome, Outcome::Denied, "{what}");
        assert_eq!(result.denials[0].code, DenialCode::NotAccepted, "{what}");
        let folder = world.path("tools/hello");
        let refused = world.runtime().add(&Caller::local(), &folder).await;
        let Err(Error::Changed(difference)) = refused else { panic!("{what}: added") };
        assert!(difference.to_string().contains(what), "{difference}");
        world.runtime().accept(&Caller::local(), &folder).await.expect("accepted");
        assert!(matches!(outcome(&world).await.outcome, Outcome::Succeeded { .. }), "{what}");
    }
}
