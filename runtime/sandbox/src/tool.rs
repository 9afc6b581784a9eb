//! A component that was checked and compiled: once a tool, whatever many calls follow.

use ringfence_capability::{Clock, Meter};
use ringfence_event::{CallLimits, Digest, Effect, Outcome, Timestamp};
use wasmtime::component::{Component, types::ComponentItem};

use crate::{
    Engine, Error, Import, ImportClass, Refusal,
    bindings::ToolPre,
    imports::imports,
    run::{NoSink, Running},
    state::State,
};

/// What a component says about one of its functions, as it says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub title: Option<String>,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments, as text.
    pub input_schema: String,
    /// JSON Schema of its structured output, as text.
    pub output_schema: Option<String>,
    /// What calling it twice would do, as it claims.
    pub effect: Effect,
}

/// Where the compiled code came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Compiled now, and kept.
    Compiled,
    /// Compiled now, and not kept: there is no cache, or it could not be written.
    NotKept,
    /// Read from the cache, and authenticated.
    Cached,
}

/// What `definitions` may spend: it computes a few strings, and nothing is open to it. Room for a
/// Python or JavaScript engine to start.
const DEFINITIONS: CallLimits = CallLimits {
    fuel: 2_000_000_000,
    memory: 128 << 20,
    time: 10_000,
    output: 0,
    logs: 64 << 10,
    egress: 0,
    handles: 64,
    requests: 0,
    storage: 0,
    random: 64 << 10,
    lift: 8 << 20,
};

/// A compiled component.
#[derive(Clone)]
pub struct Tool {
    engine: Engine,
    pre: ToolPre<State>,
    digest: Digest,
    imports: Vec<Import>,
    origin: Origin,
}

impl Tool {
    /// Checks and compiles a component, or takes its compiled code from the cache.
    pub fn load(engine: &Engine, bytes: &[u8]) -> Result<Self, Error> {
        let digest = Digest::of(bytes);
        let cached = engine.cache().and_then(|cache| cache.get(digest));
        let cached = cached.and_then(|code| {
            // SAFETY: the bytes carry a MAC of this home folder's key over the engine's settings,
            // the component's digest and the code; only `compile` below writes such a file. They
            // are loaded from the memory in which they were checked.
            #[expect(unsafe_code, reason = "the code was authenticated, as said above")]
            unsafe { Component::deserialize(engine.wasmtime(), code.code()) }.ok()
        });
        let (component, origin) = match cached {
            Some(component) => (component, Origin::Cached),
            None => compile(engine, bytes, digest)?,
        };
        Self::link(engine, &component, digest, origin)
    }

    fn link(
        engine: &Engine,
        component: &Component,
        digest: Digest,
        origin: Origin,
    ) -> Result<Self, Error> {
        let imports = imports(component);
        let unknown: Vec<String> = imports
            .iter()
            .filter(|import| import.class == ImportClass::Unknown)
            .map(|import| import.name.clone())
            .collect();
        if !unknown.is_empty() {
            return Err(Refusal::UnknownImports { imports: unknown }.into());
        }
        let pre = engine
            .linker()
            .instantiate_pre(component)
            .map_err(|error| Refusal::UnknownImports { imports: vec![format!("{error:#}")] })?;
        let pre =
            ToolPre::new(pre).map_err(|_| Refusal::NoTools { exports: exports(component) })?;
        Ok(Self { engine: engine.clone(), pre, digest, imports, origin })
    }

    /// The digest of the component.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What it imports, by class and name.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// Where its code came from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn pre(&self) -> &ToolPre<State> {
        &self.pre
    }

    /// Asks the component what it offers: in a sandbox with nothing opened and small limits, clock
    /// and random bytes fixed, so that the answer depends on the component alone.
    pub async fn definitions(&self) -> Result<Vec<Definition>, Error> {
        let meter = std::sync::Arc::new(Meter::new(DEFINITIONS));
        let clock = Clock::new(Timestamp(0), Effect::Pure);
        let state = State::new(None, meter.clone(), clock, 0, None, std::sync::Arc::new(NoSink));
        let cancel = crate::Cancel::new();
        let mut running = Running::new(self, state, meter);
        let ended = running
            .drive(&cancel, async |instance, store| {
                let tools = instance.ringfence_tool_tools();
                tools.call_definitions(store).await
            })
            .await;
        let no = |message: String| Error::from(Refusal::NoDefinitions { message });
        match ended {
            Ok(Ok(definitions)) => {
                Ok(definitions.into_iter().map(crate::convert::definition).collect())
            }
            Ok(Err(message)) => Err(no(message)),
            Err(Outcome::LimitReached { limit }) => {
                Err(no(format!("it reached its {limit} limit while it was asked")))
            }
            Err(Outcome::Trapped { message } | Outcome::HostError { message }) => Err(no(message)),
            Err(other) => Err(no(other.as_str().to_owned())),
        }
    }
}

/// Compiles a component, and keeps the code.
///
/// A cache that cannot be written, on a full disk say, costs time and nothing else.
fn compile(engine: &Engine, bytes: &[u8], digest: Digest) -> Result<(Component, Origin), Error> {
    match bytes {
        [0, b'a', b's', b'm', 0x01, 0, 0, 0, ..] => return Err(Refusal::CoreModule.into()),
        [0, b'a', b's', b'm', ..] => {}
        _ => return Err(Refusal::NotWebAssembly.into()),
    }
    let component = Component::from_binary(engine.wasmtime(), bytes)
        .map_err(|error| Refusal::Invalid { message: format!("{error:#}") })?;
    let Some(cache) = engine.cache() else { return Ok((component, Origin::NotKept)) };
    let code = component.serialize().map_err(|error| Error::engine(&error))?;
    let kept = cache.put(digest, &code).is_ok();
    Ok((component, if kept { Origin::Compiled } else { Origin::NotKept }))
}

fn exports(component: &Component) -> Vec<String> {
    let of_type = component.component_type();
    let exports = of_type.exports(component.engine());
    let what = |item: &ComponentItem| match item {
        ComponentItem::ComponentFunc(_) => "function",
        ComponentItem::ComponentInstance(_) => "interface",
        _ => "item",
    };
    exports.map(|(name, item)| format!("{} `{name}`", what(&item.ty))).collect()
}
