//! Deciding what is permitted allocates nothing: it happens once a call, on the way of every one of
//! them, and once for each bucket.

#![expect(unsafe_code, reason = "counting allocations takes an allocator")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
};

use ringfence_event::{Access, CallLimits, Digest, Effect, Money, Scope};
use ringfence_policy::{
    CallRequest, Decision, FlagGrants, Grants, HoldRules, Manifest, ToolFacts, ToolPolicy,
};

struct Counting;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is handed to the system's allocator; the counter itself allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MANIFEST: &str = r#"
tool = { name = "files", component = "files.wasm" }
[needs.memory.user]
access = "read"
"#;

#[test]
fn permitting_allocates_nothing() {
    let manifest = Manifest::parse("tool.toml", MANIFEST).unwrap();
    let tool = ToolFacts {
        name: manifest.name.clone(),
        component: Digest::of(b"component"),
        definitions: Digest::of(b"definitions"),
        functions: (0..100).map(|n| (format!("f{n}").parse().unwrap(), Effect::Read)).collect(),
    };
    let grants = Grants::from_flags(FlagGrants {
        memory: vec![(Scope::User, Access::Read)],
        ..FlagGrants::default()
    });
    let grants = grants.unwrap();
    let policy = ToolPolicy::compile(&"local".parse().unwrap(), &tool, &manifest, &grants);
    let (user, function) = ("local".parse().unwrap(), "f77".parse().unwrap());
    let rules = HoldRules::default();
    let request = CallRequest {
        user: &user,
        function: &function,
        arguments: Digest::of(b"{}"),
        arguments_text: "{}",
        limits: Some(&CallLimits::DEFAULT),
        rules: Some(&rules),
        spent: Money::ZERO,
        approval: None,
    };
    let before = ALLOCATED.get();
    let decision = black_box(policy.decide(black_box(&request)));
    assert_eq!(ALLOCATED.get() - before, 0);
    let Decision::Permit(permit) = decision else { panic!("{decision:?}") };
    let before = ALLOCATED.get();
    let bucket = black_box(permit.bucket(black_box("user"), Access::Read));
    assert_eq!(ALLOCATED.get() - before, 0);
    assert_eq!(bucket, Ok(Scope::User));
    assert!(ALLOCATED.get() > 0, "the counter counts");
}
