//! A tool with what it needs and what it is given: permits from real manifests and grants, calls of
//! real components.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, LazyLock},
};

use ringfence_capability::{Host, Opened, network::Network};
use ringfence_event::{
    Binding, CallId, Content, Digest, Effect, FunctionName, IdempotencyKey, Outcome, TenantId,
    Timestamp,
};
use ringfence_policy::{
    Approval, CallRequest, Decision, Defaults, GrantSet, Grants, HoldRules, Manifest, Permit,
    TenantGrants, ToolFacts, ToolPolicy, parse_file,
};
use ringfence_sandbox::{Call, Cancel, Ended, Engine, EngineConfig, Sink, Tool};
use ringfence_vault::Vault;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Notes, Stored, guest, root};

/// When every call of these tests starts.
pub const START: Timestamp = Timestamp(1_700_000_000_000);
/// What its random bytes follow from.
pub const SEED: u64 = 7;
/// How many calls run at one time in [`ENGINE`].
pub const SLOTS: u32 = 8;

/// An engine of its own with [`SLOTS`]. The compiled code is shared with all tests.
#[must_use]
pub fn engine() -> Engine {
    let cache = Some(root().join("target/tmp/compiled"));
    Engine::new(&EngineConfig { concurrent_calls: SLOTS, memory: Some(8 << 30), cache }).unwrap()
}

/// The engine of all tests that need none of their own: whatever one call does, the next one must
/// find it well.
pub static ENGINE: LazyLock<Engine> = LazyLock::new(engine);
static PROBE: LazyLock<Tool> = LazyLock::new(|| Tool::load(&ENGINE, &guest("probe")).unwrap());

/// The part of `ringfence.toml` that is policy's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OperatorFile {
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    grant_set: BTreeMap<String, GrantSet>,
    #[serde(default)]
    tenant: BTreeMap<TenantId, TenantGrants>,
}

fn grants(text: &str) -> Grants {
    let file: OperatorFile = parse_file("ringfence.toml", text).unwrap();
    let folder = Path::new("/");
    Grants::new("ringfence.toml", text, folder, file.defaults, &file.grant_set, file.tenant)
        .unwrap()
}

/// A tool with what it needs and what it is given. Called again and again, each time with another
/// function or other arguments.
pub struct Scene {
    tenant: TenantId,
    tool: Tool,
    effect: Effect,
    needs: String,
    grants: String,
    tenant_lines: String,
    is_untold: bool,
    is_approved: bool,
    host: Host,
    /// What is in its memory.
    pub stored: Arc<Stored>,
    /// What its calls said.
    pub notes: Arc<Notes>,
}

impl Scene {
    /// The probe, which needs and is given nothing.
    #[must_use]
    pub fn new(effect: Effect) -> Self {
        Self::of(PROBE.clone(), effect)
    }

    /// Another tool, called by the name of the probe.
    #[must_use]
    pub fn of(tool: Tool, effect: Effect) -> Self {
        Self {
            tenant: "local".parse().unwrap(),
            tool,
            effect,
            needs: String::new(),
            grants: String::new(),
            tenant_lines: String::new(),
            is_untold: false,
            is_approved: false,
            host: Host::new(),
            stored: Arc::default(),
            notes: Arc::default(),
        }
    }

    /// For another tenant.
    #[must_use]
    pub fn tenant(mut self, name: &str) -> Self {
        self.tenant = name.parse().unwrap();
        self
    }

    /// The same on another network than this machine's.
    #[must_use]
    pub fn on(mut self, network: Arc<dyn Network>) -> Self {
        self.host = Host::on(network);
        self
    }

    /// The component.
    #[must_use]
    pub fn tool(&self) -> &Tool {
        &self.tool
    }

    /// Lines for the tool's manifest.
    #[must_use]
    pub fn needs(mut self, lines: &str) -> Self {
        self.needs += &format!("{lines}\n");
        self
    }

    /// Lines for the operator's table of this tool.
    #[must_use]
    pub fn grants(mut self, lines: &str) -> Self {
        self.grants += &format!("{lines}\n");
        self
    }

    /// Another place to read secrets from.
    #[must_use]
    pub fn vault(self, vault: Vault) -> Self {
        Self { host: self.host.with_vault(vault), ..self }
    }

    /// Lines for the operator's table of this tenant.
    #[must_use]
    pub fn tenant_lines(mut self, lines: &str) -> Self {
        self.tenant_lines += &format!("{lines}\n");
        self
    }

    /// Rules see nothing in the arguments: a tool may know by itself where it goes.
    #[must_use]
    pub fn untold(self) -> Self {
        Self { is_untold: true, ..self }
    }

    /// A person said yes to each of its calls, whatever rules hold it for.
    #[must_use]
    pub fn approved(self) -> Self {
        Self { is_approved: true, ..self }
    }

    /// The same on another host.
    #[must_use]
    pub fn with_host(self, host: Host) -> Self {
        Self { host, ..self }
    }

    /// What holds its roots.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// A root that the manifest needs for writing and the operator gives as far as `access`.
    #[must_use]
    pub fn root(self, name: &str, path: &Path, access: &str) -> Self {
        let path = path.display();
        self.needs(&format!("[needs.fs.{name}]\naccess = \"write\""))
            .grants(&format!("fs.{name} = {{ path = \"{path}\", access = \"{access}\" }}"))
    }

    /// The tool's policy for one of its functions.
    #[must_use]
    pub fn policy(&self, function: &str) -> ToolPolicy {
        let manifest =
            format!("tool = {{ name = \"probe\", component = \"probe.wasm\" }}\n{}", self.needs);
        let manifest = Manifest::parse("tool.toml", &manifest).unwrap();
        let facts = ToolFacts {
            name: manifest.name.clone(),
            component: self.tool.digest(),
            definitions: Digest::of(b"definitions"),
            functions: vec![(function.parse().unwrap(), self.effect)],
        };
        let Self { tenant, tenant_lines, grants: lines, .. } = self;
        let text =
            format!("[tenant.{tenant}]\n{tenant_lines}[tenant.{tenant}.tool.probe]\n{lines}");
        let grants = grants(&text);
        ToolPolicy::compile(tenant, &facts, &manifest, &grants)
    }

    fn permit(&self, function: &FunctionName, arguments: &str) -> Permit {
        let user = "local".parse().unwrap();
        let mut request = CallRequest::new(&user, function, arguments);
        if self.is_untold {
            request.arguments_text = "{}";
        }
        let policy = self.policy(function.as_str());
        let binding = self.is_approved.then(|| binding(&policy, &request));
        request.approval = binding.as_ref().map(Approval::Call);
        match policy.decide(&request) {
            Decision::Permit(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    /// Opens a permit for one call.
    pub fn open(&self, function: &str, arguments: &Value) -> (Opened, Call) {
        let (function, arguments): (FunctionName, _) =
            (function.parse().unwrap(), arguments.to_string());
        let permit = self.permit(&function, &arguments);
        let opened = self.host.open(permit, START, SEED, self.stored.clone()).unwrap();
        let key = IdempotencyKey("key".into());
        let call = Call {
            id: CallId::direct([1; 16]),
            key,
            function,
            arguments,
            start: START,
            answer: None,
        };
        (opened, call)
    }

    /// Makes one call.
    pub async fn run(&self, function: &str, arguments: Value) -> Ended {
        self.run_until(function, arguments, &Cancel::new(), self.notes.clone()).await
    }

    /// Makes one call that can be cancelled, heard by `sink`.
    pub async fn run_until(
        &self,
        function: &str,
        arguments: Value,
        cancel: &Cancel,
        sink: Arc<dyn Sink>,
    ) -> Ended {
        let (opened, call) = self.open(function, &arguments);
        self.tool.run(opened, call, cancel, sink).await
    }

    /// One act of the probe's on files.
    pub async fn file(&self, act: &str, path: &str) -> Ended {
        self.run("file", json!({ "act": act, "path": path, "text": "new text" })).await
    }

    /// A call that just works, to see that whatever was before left nothing behind.
    pub async fn works(&self) {
        let ended = self.run("hold", json!({ "how": "sleep", "count": 1 })).await;
        assert_eq!(text(&ended), "done", "{ended:?}");
    }
}

/// What a yes to a call is bound to, whether the call is held or only denied a part.
///
/// # Panics
///
/// If it is refused whole.
#[must_use]
pub fn binding(policy: &ToolPolicy, request: &CallRequest<'_>) -> Binding {
    let permit = match policy.decide(request) {
        Decision::Permit(permit) => permit,
        Decision::Hold(_, held) => return held.binding,
        Decision::Denial(denial) => panic!("{denial}"),
    };
    Binding {
        user: permit.user().clone(),
        tool: permit.tool().clone(),
        function: permit.function().clone(),
        component: permit.component(),
        definitions: permit.definitions(),
        policy: permit.version(),
        rules: request.rules.map_or_else(|| HoldRules::default().digest(), HoldRules::digest),
        arguments: permit.arguments(),
    }
}

/// The text that a call which succeeded returned.
///
/// # Panics
///
/// If it did not.
#[must_use]
pub fn text(ended: &Ended) -> String {
    let Outcome::Succeeded { output } = &ended.outcome else { panic!("{ended:?}") };
    match &output.content[..] {
        [Content::Text { text }] => text.clone(),
        other => panic!("{other:?}"),
    }
}
