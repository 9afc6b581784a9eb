//! A tool as Ringfence calls it: decided, opened, run, closed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use ringfence_capability::{
    Host,
    memory::{BoxFuture, Buckets, Unavailable, Used},
};
use ringfence_event::{
    CallId, Digest, Effect, FunctionName, IdempotencyKey, Note, Scope, Timestamp, UserId,
};
use ringfence_policy::{
    CallRequest, Decision, FlagGrants, Grants, Manifest, ToolFacts, ToolPolicy,
};
use ringfence_sandbox::{Call, Cancel, Ended, Engine, EngineConfig, Sink, Tool};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A guest component by name.
pub(crate) fn guest(name: &str) -> Result<Vec<u8>> {
    let path = root().join("target/guest").join(format!("{name}.wasm"));
    std::fs::read(&path)
        .with_context(|| format!("{} is not there: `cargo xtask guests` builds it", path.display()))
}

/// The engine's settings, for both sides.
pub(crate) fn config() -> EngineConfig {
    EngineConfig { concurrent_calls: 64, ..EngineConfig::default() }
}

/// A function of a tool, ready to be called over and over.
#[derive(Clone)]
pub(crate) struct Ours(Arc<Inner>);

struct Inner {
    tool: Tool,
    policy: ToolPolicy,
    host: Host,
    user: UserId,
    function: FunctionName,
    arguments: String,
    key: IdempotencyKey,
}

impl Ours {
    pub(crate) fn new(
        engine: &Engine,
        component: &[u8],
        (function, effect): (&str, Effect),
        arguments: &str,
        manifest: &str,
        grants: FlagGrants,
    ) -> Result<Self> {
        let tool = Tool::load(engine, component)?;
        let manifest = Manifest::parse("tool.toml", manifest)?;
        let function: FunctionName = function.parse()?;
        let facts = ToolFacts {
            name: manifest.name.clone(),
            component: tool.digest(),
            definitions: Digest::of(b"definitions"),
            functions: vec![(function.clone(), effect)],
        };
        let grants = Grants::from_flags(grants)?;
        let policy = ToolPolicy::compile(&"local".parse()?, &facts, &manifest, &grants);
        Ok(Self(Arc::new(Inner {
            tool,
            policy,
            host: Host::new(),
            user: "local".parse()?,
            function,
            arguments: arguments.to_owned(),
            key: IdempotencyKey("key".to_owned()),
        })))
    }

    /// One call, from the decision to the outcome.
    pub(crate) async fn call(&self) -> Result<Ended> {
        self.call_with(&self.0.arguments, &Cancel::new(), Arc::new(Nothing)).await
    }

    pub(crate) async fn call_with(
        &self,
        arguments: &str,
        cancel: &Cancel,
        sink: Arc<dyn Sink>,
    ) -> Result<Ended> {
        let inner = &self.0;
        let decision =
            inner.policy.decide(&CallRequest::new(&inner.user, &inner.function, arguments));
        let Decision::Permit(permit) = decision else { bail!("{decision:?}") };
        let start = Timestamp(1_700_000_000_000);
        let opened = inner.host.open(permit, start, 7, Arc::new(Nothing))?;
        let call = Call {
            id: CallId::direct([1; 16]),
            key: inner.key.clone(),
            function: inner.function.clone(),
            arguments: arguments.to_owned(),
            start,
            answer: None,
        };
        Ok(inner.tool.run(opened, call, cancel, sink).await)
    }
}

/// Memory with nothing in it, and nobody who listens.
pub(crate) struct Nothing;

impl Buckets for Nothing {
    fn get<'a>(
        &'a self,
        _: Scope,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Unavailable>> {
        Box::pin(async { Ok(None) })
    }

    fn keys<'a>(
        &'a self,
        _: Scope,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<String>, Unavailable>> {
        Box::pin(async { Ok(vec![]) })
    }

    fn used(&self, _: Scope) -> BoxFuture<'_, Result<Used, Unavailable>> {
        Box::pin(async { Ok(Used::default()) })
    }

    fn size<'a>(&'a self, _: Scope, _: &'a str) -> BoxFuture<'a, Result<Option<u64>, Unavailable>> {
        Box::pin(async { Ok(None) })
    }
}

impl Sink for Nothing {
    fn note(&self, _: Note) {}
}
