//! What questions to a model spend: a try that failed, a request that no budget has room for, a question
//! that was called off.

use ringfence_event::{
    Body, BudgetLevel, Limit, ModelFailureClass, Money, RetryRules, Spent, TokenUsage,
};
use ringfence_session::{Command, Effect, RunLimits, RunStatus, called_off};

use crate::world::{World, answer, cancel, failure, input};

const LIMITS: RunLimits = RunLimits::DEFAULT;

fn tokens(input: u64, output: u64) -> TokenUsage {
    TokenUsage { input, output, cached: 0 }
}

fn started(limits: RunLimits) -> World {
    let mut world = World::new(limits);
    world.definition.retry = RetryRules::DEFAULT;
    world.definition.model.price = Some(ringfence_event::Price {
        input: "1".parse().unwrap(),
        cached_input: None,
        output: "1".parse().unwrap(),
    });
    world.tell(input("go")).unwrap();
    world
}

/// How the run ended, if by a limit.
fn reached(world: &World) -> Option<(Limit, Spent)> {
    match &world.journal.last().unwrap().body {
        Body::RunLimitReached { limit, spent, .. } => Some((*limit, spent.unwrap())),
        _ => None,
    }
}

#[test]
fn no_try_follows_one_that_spent_the_rest() {
    let check = |limits: RunLimits, class, kinds: &[&str], limit: Option<Limit>| {
        let mut world = started(limits);
        world.ask();
        let (step, reply) = (world.step(), Err((failure(class), tokens(20, 5))));
        assert_eq!(world.tell(Command::ModelReplied { step, reply }).unwrap(), kinds, "{limits:?}");
        assert_eq!(reached(&world).map(|(limit, _)| limit), limit);
    };
    use ModelFailureClass::{Refused, Unavailable};
    let room = RunLimits { tokens: 100, ..LIMITS };
    check(room, Unavailable, &["model.failed", "run.retry-scheduled", "run.waiting"], None);
    let spent = RunLimits { tokens: 25, ..LIMITS };
    let over = ["model.failed", "budget.warned", "run.limit-reached"];
    check(spent, Unavailable, &over, Some(Limit::Tokens));
    // What cannot be tried again failed, whatever is left.
    check(spent, Refused, &["model.failed", "budget.warned", "run.failed"], None);
    let poor = RunLimits { usd: Some(Money::from_nanos(25_000)), ..LIMITS };
    check(poor, Unavailable, &over, Some(Limit::Money));
}

/// A reply that the rest of a budget cut short is no failure of the model.
#[test]
fn a_reply_that_is_longer_than_the_rest_ends_the_run_by_the_budget() {
    let check = |limits: RunLimits, kinds: &[&str], limit: Option<Limit>| {
        let mut world = started(limits);
        world.ask();
        let too_long = failure(ModelFailureClass::TooLong);
        let (step, reply) = (world.step(), Err((too_long, tokens(1, 1))));
        assert_eq!(world.tell(Command::ModelReplied { step, reply }).unwrap(), kinds, "{limits:?}");
        assert_eq!(reached(&world).map(|(limit, _)| limit), limit);
        let over = |spent: Spent| spent.spent + spent.asked > spent.of;
        assert!(reached(&world).is_none_or(|(_, spent)| over(spent)));
    };
    check(LIMITS, &["model.failed", "run.failed"], None);
    let over = ["model.failed", "run.limit-reached"];
    check(RunLimits { tokens: 1_000, ..LIMITS }, &over, Some(Limit::Tokens));
    let poor = RunLimits { usd: Some(Money::from_nanos(1_000_000)), ..LIMITS };
    check(poor, &over, Some(Limit::Money));
}

#[test]
fn a_request_that_no_budget_has_room_for_is_not_sent() {
    let check = |limits: RunLimits, request: u64, over: Option<(Limit, u64)>| {
        let mut world = started(limits);
        let pending = world.pending();
        let [Effect::AskModel { step, request: asked }] = &pending[..] else { panic!() };
        let (step, (digest, parts)) = (*step, asked.digests());
        let command = Command::ModelRequested { step, request: digest, parts, input: request };
        let kinds = world.tell(command).unwrap();
        match over {
            None => assert_eq!(kinds, ["model.requested"], "{limits:?}"),
            Some((limit, asked)) => {
                assert_eq!(kinds, ["run.stopping", "run.limit-reached"], "{limits:?}");
                let (reached, spent) = reached(&world).unwrap();
                assert_eq!((reached, spent.asked, spent.spent), (limit, asked, 0));
                assert_eq!(spent.level, BudgetLevel::Run);
            }
        }
    };
    let few = RunLimits { tokens: 40, ..LIMITS };
    check(few, 39, None);
    // With at least one token for the reply.
    check(few, 40, Some((Limit::Tokens, 41)));
    let poor = RunLimits { usd: Some(Money::from_nanos(40_000)), ..LIMITS };
    check(poor, 39, None);
    check(poor, 40, Some((Limit::Money, 41_000)));
}

#[test]
fn what_a_reply_may_have_is_what_the_request_leaves() {
    let mut world = started(RunLimits { tokens: 1_000, ..LIMITS });
    let request = world.session.request(&world.definition);
    let sent = ringfence_event::estimated_tokens(request.bytes());
    let most = request.parameters.output_tokens.unwrap();
    // The number itself is a part of what is sent.
    assert!((1_000 - sent - 8..=1_000 - sent + 8).contains(&most), "{most} of {sent}");
    world.definition.model.parameters.output_tokens = Some(7);
    assert_eq!(world.session.request(&world.definition).parameters.output_tokens, Some(7));
}

#[test]
fn a_question_that_was_called_off_is_paid_for() {
    let mut world = started(LIMITS);
    world.ask();
    let step = world.step();
    assert_eq!(world.tell(cancel()).unwrap(), ["run.stopping"]);
    assert_eq!(world.pending(), [Effect::CallOff { step }]);
    assert_eq!(world.session.wake_at(&world.definition, None), None);
    let reply = Err((called_off(), tokens(30, 12)));
    let told = world.tell(Command::ModelReplied { step, reply }).unwrap();
    assert_eq!(told, ["model.failed", "run.cancelled"]);
    let totals = world.session.totals();
    assert_eq!((totals.tokens, totals.cost.nanos()), (tokens(30, 12), 42_000));
    assert!(matches!(
        &world.journal[world.journal.len() - 2].body,
        Body::ModelFailed { failure, .. } if failure.class == ModelFailureClass::Cancelled
    ));
}

#[test]
fn a_reply_that_came_just_then_is_kept() {
    let mut world = started(LIMITS);
    world.ask();
    let step = world.step();
    world.tell(cancel()).unwrap();
    let told = world.tell(Command::ModelReplied { step, reply: Ok(answer("late")) }).unwrap();
    assert_eq!(told, ["model.completed", "step.finished", "run.cancelled"]);
    assert_eq!(world.session.totals().tokens, tokens(10, 10));
    assert_eq!(world.session.runs()[0].status(), RunStatus::Cancelled);
    assert_eq!(world.session.messages().len(), 2);
}

#[test]
fn a_question_that_a_dead_host_was_to_call_off_is_over() {
    let mut world = started(LIMITS);
    world.ask();
    world.tell(cancel()).unwrap();
    world.restart();
    assert_eq!(world.tell(Command::Recover).unwrap(), ["model.failed", "run.cancelled"]);
}
