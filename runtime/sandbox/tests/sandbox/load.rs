//! What becomes a tool.

use ringfence_sandbox::{Error, Refusal, Tool};
use ringfence_tests::{ENGINE, guest};

#[tokio::test]
async fn what_is_no_tool_is_refused() {
    let check = |bytes: &[u8], refusal: fn(&Refusal) -> bool| match Tool::load(&ENGINE, bytes) {
        Err(Error::Refused(found)) => assert!(refusal(&found), "{found:?}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("loaded"),
    };
    check(b"#!/bin/sh", |r| matches!(r, Refusal::NotWebAssembly));
    check(b"", |r| matches!(r, Refusal::NotWebAssembly));
    check(b"\0asm\x01\0\0\0", |r| matches!(r, Refusal::CoreModule));
    check(b"\0asm\x0d\0\x01\0\xff\xff", |r| matches!(r, Refusal::Invalid { .. }));
    let hello = guest("hello");
    check(&hello[..hello.len() / 2], |r| matches!(r, Refusal::Invalid { .. }));
    check(b"\0asm\x0d\0\x01\0", |r| matches!(r, Refusal::NoTools { .. }));
    assert!(Tool::load(&ENGINE, &hello).is_ok());
}

#[tokio::test]
async fn definitions_are_asked_with_nothing_open() {
    let tool = Tool::load(&ENGINE, &guest("probe")).unwrap();
    let definitions = tool.definitions().await.unwrap();
    let names: Vec<_> = definitions.iter().map(|definition| definition.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "ambient", "ask", "file", "flood", "print", "hold", "http", "memory", "repeat", "shut",
            "sockets", "tell"
        ]
    );
    assert_eq!(tool.definitions().await.unwrap(), definitions);
}
