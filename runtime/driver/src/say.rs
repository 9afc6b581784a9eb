//! What somebody says to a session that another process may be driving: an answer, a cancellation.

use ringfence_event::{ApprovalScope, CallId, Digest, RunId, SessionId, UserId};
use ringfence_session::{Command, Refused, Run};

use crate::{
    Caller, Error, Reconciliation, Runtime, Said, Waiting,
    inbox::InboxCommand,
    journal::Journal,
    run::{known_definition, put},
};

/// What is said to a session.
#[derive(Clone, Debug)]
pub enum Saying {
    /// Cancel a run; `None`: the one under way.
    Cancel {
        /// Which.
        run: Option<RunId>,
    },
    /// Let a call run that is held.
    Approve {
        /// Which.
        call: CallId,
        /// How far it goes.
        scope: ApprovalScope,
        /// Why.
        reason: Option<String>,
        /// What the person was shown.
        shown: Option<Digest>,
    },
    /// Do not let it run.
    Decline {
        /// Which.
        call: CallId,
        /// Why.
        reason: Option<String>,
        /// What the person was shown.
        shown: Option<Digest>,
    },
    /// Answer what a tool asks; `None`: the person would not.
    Answer {
        /// Which call's.
        call: CallId,
        /// The answer.
        value: Option<serde_json::Value>,
        /// What the person was asked.
        shown: Option<Digest>,
    },
    /// Say how a call of unknown outcome ended.
    Reconcile {
        /// Which.
        call: CallId,
        /// How.
        how: Reconciliation,
    },
}

impl Runtime {
    /// Says something to a session of `caller`'s. `by` is whoever says it, which may be somebody else of
    /// the same tenant, and is recorded.
    ///
    /// # Errors
    /// When there is no such session, or it does not take that now; then nothing is changed.
    pub async fn tell_session(
        &self,
        caller: &Caller,
        id: &SessionId,
        by: &UserId,
        saying: Saying,
    ) -> Result<Said, Error> {
        let by = by.clone();
        let command = match saying {
            Saying::Cancel { run: Some(run) } => InboxCommand::Cancel { run },
            Saying::Cancel { run: None } => {
                let run = self.session(caller, id)?.run().map(Run::id).ok_or(Refused::NoRun)?;
                InboxCommand::Cancel { run }
            }
            Saying::Approve { call, scope, reason, shown } => {
                InboxCommand::Approve { call, by, scope, reason, shown }
            }
            Saying::Decline { call, reason, shown } => {
                InboxCommand::Decline { call, by, reason, shown }
            }
            Saying::Answer { call, value, shown } => {
                // Whatever question is asked when it arrives, it is for the one that its schema is of.
                let asked = self.check_answer(caller, id, &call, value.as_ref())?;
                InboxCommand::Answer { call, by, value, shown: shown.or(asked) }
            }
            Saying::Reconcile { call, how } => {
                InboxCommand::Reconcile { call, by, result: how.result() }
            }
        };
        self.say(caller, id, command).await
    }

    /// An answer must fit the schema of what it answers; which question that is.
    fn check_answer(
        &self,
        caller: &Caller,
        id: &SessionId,
        call: &CallId,
        value: Option<&serde_json::Value>,
    ) -> Result<Option<Digest>, Error> {
        let session = self.session(caller, id)?;
        let asked = Waiting::of(&session).into_iter().find(|waiting| waiting.call == *call);
        let Some(asked) = asked else { return Ok(None) };
        if let (Some(value), Some(question)) = (value, &asked.question) {
            ringfence_catalog::check_answer(&question.schema, value)
                .map_err(|message| Error::UnfitAnswer { call: call.clone(), message })?;
        }
        Ok(asked.shown)
    }

    /// Says something to a session: to whoever drives it through the inbox, or, if nobody does, to the
    /// journal at once. What the session does not take as it stands is refused, and nothing is changed.
    async fn say(
        &self,
        caller: &Caller,
        id: &SessionId,
        said: InboxCommand,
    ) -> Result<Said, Error> {
        let inner = &self.0;
        let session = self.session(caller, id)?;
        let definition = known_definition(inner, caller, &session)?;
        let now = inner.config.clock.now().max(session.last_at());
        session.decide(&definition, now, said.clone().command())?;
        let Some(mut journal) = Journal::try_open(inner, caller, id).await? else {
            put(inner, caller, id, &said, None).await?;
            return Ok(Said::Delivered);
        };
        // What was put there before, by whoever was too late for the process that is gone.
        for inboxed in journal.inbox()? {
            if let Some(command) = InboxCommand::parse(&inboxed.command) {
                match journal.record(&definition, command.command()) {
                    Ok(()) | Err(Error::Refused(_)) => journal.done(inboxed.id),
                    Err(error) => return Err(error),
                }
            }
        }
        let cancels = matches!(said, InboxCommand::Cancel { .. });
        journal.record(&definition, said.command())?;
        if cancels {
            // Nothing of it starts again: an `unsafe` call that was under way is of unknown outcome,
            // as after every crash.
            journal.record(&definition, Command::Recover)?;
        }
        journal.save(&mut |_| {}).await?;
        drop(journal);
        inner.tended.free(&caller.tenant, id);
        Ok(Said::Recorded)
    }
}
