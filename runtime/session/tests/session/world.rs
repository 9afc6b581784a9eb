//! A journal, a session and the plain data that tests are made of.

use ringfence_event::{
    ApprovalScope, Binding, CallId, CallLimits, CallResult, Digest, Effect as Declared, Event,
    FORMAT, Failure, FailureKind, Hold, IdempotencyKey, Intent, ModelFailure, ModelFailureClass,
    ModelReply, OnExpiry, Outcome, Output, ProposedCall, RunId, SessionId, StepId, Stream,
    TenantId, Timestamp, TokenUsage, Usage, UserId,
};
use ringfence_session::{Busy, Command, Definition, Effect, Refused, RunLimits, Session};

pub(crate) fn definition(limits: RunLimits) -> Definition {
    let of =
        Definition::of("coder".parse().unwrap(), Digest::of(b"coder"), "main".parse().unwrap());
    Definition { instructions: "Be brief.".into(), limits, ..of }
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) definition: Definition,
    pub(crate) journal: Vec<Event>,
    pub(crate) session: Session,
    pub(crate) now: u64,
}

pub(crate) fn id() -> SessionId {
    SessionId::from_random([7; 16])
}

impl World {
    /// A session that was created and has said nothing.
    pub(crate) fn new(limits: RunLimits) -> Self {
        let definition = definition(limits);
        let mut world =
            Self { definition, journal: vec![], session: Session::new(id()), now: 1_000 };
        let agent = world.definition.name.clone();
        world.tell(Command::Create { agent, agent_digest: Digest::of(b"coder") }).unwrap();
        world
    }

    /// Decides, records and applies; the kinds of what was recorded.
    pub(crate) fn tell(&mut self, command: Command) -> Result<Vec<&'static str>, Refused> {
        self.tell_cut(command, usize::MAX)
    }

    /// As if only the first `keep` events became durable before the host died.
    pub(crate) fn tell_cut(
        &mut self,
        command: Command,
        keep: usize,
    ) -> Result<Vec<&'static str>, Refused> {
        self.now += 1;
        let (at, mut acted) = (Timestamp(self.now), self.session.clone());
        let decided = self.session.decide(&self.definition, at, command.clone())?;
        let owner = (&TenantId::local(), &UserId::local());
        assert_eq!(acted.act(owner, &self.definition, at, command).as_ref(), Ok(&decided));
        let is_all = decided.len() <= keep;
        let mut kinds = vec![];
        for decided in decided.into_iter().take(keep) {
            let event = Event {
                format: FORMAT,
                tenant: TenantId::local(),
                user: UserId::local(),
                stream: Stream::Session(id()),
                seq: self.session.seq() + 1,
                at: Timestamp(self.now),
                body: decided.body,
                cause: decided.cause,
                trace: None,
            };
            assert!(event.cause.is_none_or(|cause| (1..event.seq).contains(&cause)), "{event:?}");
            self.session.apply(&event).unwrap();
            kinds.push(event.body.kind());
            self.journal.push(event);
        }
        // Taken in at once is the same as applied one after the other.
        assert!(!is_all || acted == self.session);
        Ok(kinds)
    }

    /// The host is another one.
    pub(crate) fn restart(&mut self) {
        self.session = Session::fold(id(), &self.journal).unwrap();
    }

    pub(crate) fn pending(&self) -> Vec<Effect> {
        self.session.pending(&self.definition, Timestamp(self.now))
    }

    pub(crate) fn step(&self) -> StepId {
        self.session.run().unwrap().steps().last().unwrap().id()
    }

    /// The model is asked and replies.
    pub(crate) fn reply(&mut self, reply: ModelReply) -> Vec<&'static str> {
        let mut kinds = self.ask();
        let step = self.step();
        kinds.extend(self.tell(Command::ModelReplied { step, reply: Ok(reply) }).unwrap());
        kinds
    }

    pub(crate) fn ask(&mut self) -> Vec<&'static str> {
        let pending = self.pending();
        let [Effect::AskModel { step, request }] = &pending[..] else { panic!("{pending:?}") };
        let (request, parts) = request.digests();
        self.tell(Command::ModelRequested { step: *step, request, parts, input: 3 }).unwrap()
    }

    pub(crate) fn permit(&self, call: &CallId, effect: Declared, fuel: u64) -> Command {
        let run = self.session.run().unwrap();
        let arguments = run.calls().find(|known| known.id() == call).unwrap().arguments();
        let arguments = Digest::of(arguments.as_bytes());
        let intent = Box::new(Intent {
            tool: "files".parse().unwrap(),
            function: "read".parse().unwrap(),
            effect,
            arguments,
            key: IdempotencyKey::derive(&id(), call, &arguments),
            component: Digest::of(b"component"),
            definitions: Digest::of(b"definitions"),
            policy: Digest::of(b"policy"),
            engine: Digest::of(b"engine"),
            limits: CallLimits { fuel, ..CallLimits::DEFAULT },
            seed: 1,
            start: Timestamp(self.now),
        });
        Command::Permitted { call: call.clone(), intent }
    }
}

/// A person must say yes to a call with these arguments of this function.
pub(crate) fn hold(arguments: &str) -> Box<Hold> {
    Box::new(Hold {
        rules: vec![],
        binding: Binding {
            user: UserId::local(),
            tool: "files".parse().unwrap(),
            function: "read".parse().unwrap(),
            component: Digest::of(b"component"),
            definitions: Digest::of(b"definitions"),
            policy: Digest::of(b"policy"),
            rules: Digest::of(b"rules"),
            arguments: Digest::of(arguments.as_bytes()),
        },
        expires: None,
        on_expiry: OnExpiry::Decline,
        scope: ApprovalScope::Session,
    })
}

pub(crate) fn cancel() -> Command {
    Command::Cancel { run: None }
}

pub(crate) fn failure(class: ModelFailureClass) -> ModelFailure {
    ModelFailure { class, message: "no".into(), retry_after_ms: None }
}

pub(crate) fn input(text: &str) -> Command {
    Command::Input {
        text: text.into(),
        busy: Busy::Reject,
        key: None,
        not_after: None,
        agent: None,
        api_key: None,
    }
}

pub(crate) fn call(run: u32, step: u32, place: u32) -> CallId {
    CallId::in_step(StepId { run: RunId(run), step }, place)
}

/// A reply that proposes calls with these ids.
pub(crate) fn calls(ids: &[&str]) -> ModelReply {
    let propose = |id: &&str| ProposedCall {
        id: (*id).into(),
        function: "files_read".into(),
        arguments: "{}".into(),
    };
    let tokens = TokenUsage { input: 10, output: 10, cached: 0 };
    ModelReply { text: String::new(), calls: ids.iter().map(propose).collect(), tokens }
}

pub(crate) fn answer(text: &str) -> ModelReply {
    ModelReply { text: text.into(), ..calls(&[]) }
}

pub(crate) fn result(outcome: Outcome, fuel: u64) -> Box<CallResult> {
    let usage = Usage { fuel, ..Usage::default() };
    Box::new(CallResult { outcome, denials: vec![], usage })
}

pub(crate) fn succeeded(text: &str, fuel: u64) -> Box<CallResult> {
    result(Outcome::Succeeded { output: Output::text(text) }, fuel)
}

pub(crate) fn finished(call: CallId, result: Box<CallResult>) -> Command {
    Command::Finished { call, result, memory: vec![], plan: None }
}

/// What a call ends with that may be tried again.
pub(crate) fn unavailable() -> Outcome {
    let failure = Failure {
        kind: FailureKind::Unavailable,
        message: "busy".into(),
        path: None,
        retry_after_ms: None,
    };
    Outcome::Failed { failure }
}
