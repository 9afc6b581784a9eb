//! Steps of a run as the driver records them: what size and growth are measured with.

use ringfence_event::{
    Body, CallId, CallLimits, CallResult, Digest, Effect, IdempotencyKey, Intent, ModelReply,
    Outcome, Output, ProposedCall, RequestParts, RunId, SessionId, StepId, Timestamp, TokenUsage,
    Usage,
};

/// The eight events of a step with one call that returns this text.
pub(crate) fn step(session: &SessionId, step: u32, output: &str) -> Vec<Body> {
    let step = StepId { run: RunId(1), step };
    let call = CallId::in_step(step, 1);
    let of = |what: &str| Digest::of(what.as_bytes());
    // What is another at each step, and what is the same at all of them.
    let own = |what: &str| of(&format!("{session} {step} {what}"));
    let arguments = format!(r#"{{"path":"/project/src/part-{}.rs","lines":200}}"#, step.step);
    let usage = Usage {
        fuel: 1_234_567 + u64::from(step.step) * 977,
        host_work: 45_678,
        memory_peak_bytes: 1_179_648,
        handles_peak: 3,
        wall_us: 812 + u64::from(step.step) * 13,
        host_calls: 9,
        bytes_read: 4_096,
        output_bytes: output.len() as u64,
        ..Usage::default()
    };
    let intent = Intent {
        tool: "files".parse().unwrap(),
        function: "read".parse().unwrap(),
        effect: Effect::Read,
        arguments: of(&arguments),
        key: IdempotencyKey::derive(session, &call, &of(&arguments)),
        component: of("component"),
        definitions: of("definitions"),
        policy: of("policy"),
        engine: of("engine"),
        limits: CallLimits::DEFAULT,
        seed: u64::from_le_bytes(own("seed").as_bytes()[..8].try_into().unwrap()),
        start: Timestamp(1_764_000_000_000 + u64::from(step.step) * 1_700),
    };
    let proposed = ProposedCall {
        id: format!("call_{}", &own("id").hex()[..24]),
        function: "files_read".into(),
        arguments: arguments.clone(),
    };
    vec![
        Body::StepStarted { step },
        Body::ModelRequested {
            step,
            model: "fast".parse().unwrap(),
            request: own("request"),
            parts: RequestParts {
                instructions: of("instructions"),
                functions: of("functions"),
                messages: own("messages"),
                parameters: of("parameters"),
            },
        },
        Body::ModelCompleted {
            step,
            reply: ModelReply {
                text: "I look at the next part.".into(),
                calls: vec![proposed],
                tokens: TokenUsage { input: 2_113, cached: 0, output: 61 },
            },
            cost: None,
        },
        Body::CallProposed { call: call.clone(), function: "files_read".into(), arguments },
        Body::CallIntended { call: call.clone(), intent: Box::new(intent) },
        Body::CallStarted { call: call.clone() },
        Body::CallFinished {
            call,
            result: Box::new(CallResult {
                outcome: Outcome::Succeeded { output: Output::text(output) },
                denials: vec![],
                usage,
            }),
        },
        Body::StepFinished { step },
    ]
}
