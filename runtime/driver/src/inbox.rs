//! What any process may put into a session's inbox for whoever drives it.

use ringfence_event::{
    ApprovalScope, CallId, CallResult, Digest, KeyId, RunId, Timestamp, TraceContext, UserId,
};
use ringfence_session::{Busy, Command};
use serde::{Deserialize, Serialize};

/// A command as it lies in an inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "command",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub(crate) enum InboxCommand {
    /// Say something to the agent.
    Input {
        /// What.
        text: String,
        /// Whether the runs before it end first; else they are cancelled.
        queue: bool,
        /// What whoever says it calls it.
        key: String,
        /// When nobody waits for the answer any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_after: Option<Timestamp>,
        /// The trace that whoever says it is in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<String>,
        /// The blob of the agent's definition.
        agent: Digest,
        /// The API key that it came with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        api_key: Option<KeyId>,
    },
    /// End this run. A later one is not meant by it, however late it is read.
    Cancel {
        /// Which.
        run: RunId,
    },
    /// Let a call run that is held.
    Approve {
        /// Which.
        call: CallId,
        /// Who says so.
        by: UserId,
        /// How far it goes.
        scope: ApprovalScope,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// What was shown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<Digest>,
    },
    /// Do not let it run.
    Decline {
        /// Which.
        call: CallId,
        /// Who says so.
        by: UserId,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// What was shown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<Digest>,
    },
    /// Answer what a tool asks.
    Answer {
        /// Which call's.
        call: CallId,
        /// Who answers.
        by: UserId,
        /// The answer; absent: would not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<serde_json::Value>,
        /// What was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<Digest>,
    },
    /// Say how a call of unknown outcome ended.
    Reconcile {
        /// Which.
        call: CallId,
        /// Who says so.
        by: UserId,
        /// How; absent: it did not happen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Box<CallResult>>,
    },
}

impl InboxCommand {
    pub(crate) fn parse(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("plain data with string keys is always JSON")
    }

    /// The trace that whoever gave it is in, if they said so.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        match self {
            Self::Input { trace, .. } => trace.as_deref()?.parse().ok(),
            _ => None,
        }
    }

    /// As the machine is told it.
    pub(crate) fn command(self) -> Command {
        match self {
            Self::Input { text, queue, key, not_after, trace: _, agent, api_key } => {
                let busy = if queue { Busy::Queue } else { Busy::Interrupt };
                let (key, agent) = (Some(key), Some(agent));
                Command::Input { text, busy, key, not_after, agent, api_key }
            }
            Self::Cancel { run } => Command::Cancel { run: Some(run) },
            Self::Approve { call, by, scope, reason, shown } => {
                Command::Approve { call, by, scope, reason, shown }
            }
            Self::Decline { call, by, reason, shown } => {
                Command::Decline { call, by, reason, shown }
            }
            Self::Answer { call, by, value, shown } => Command::Answer { call, by, value, shown },
            Self::Reconcile { call, by, result } => {
                Command::Reconcile { call, by: Some(by), result }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_as_it_was_put() {
        let call: CallId = "r1.s1.c1".parse().unwrap();
        let by = UserId::local();
        for command in [
            InboxCommand::Input {
                text: "hello".into(),
                queue: true,
                key: "k".into(),
                not_after: Some(Timestamp(7)),
                trace: Some(TraceContext::from_random([7; 16]).to_string()),
                agent: Digest::of(b"a"),
                api_key: Some(KeyId::from_random([7; 16])),
            },
            InboxCommand::Cancel { run: RunId(3) },
            InboxCommand::Approve {
                call: call.clone(),
                by: by.clone(),
                scope: ApprovalScope::Session,
                reason: Some("fine".into()),
                shown: Some(Digest::of(b"hold")),
            },
            InboxCommand::Decline { call: call.clone(), by: by.clone(), reason: None, shown: None },
            InboxCommand::Answer {
                call: call.clone(),
                by: by.clone(),
                value: Some(1.into()),
                shown: Some(Digest::of(b"question")),
            },
            InboxCommand::Reconcile { call, by, result: None },
        ] {
            assert_eq!(InboxCommand::parse(&command.json()), Some(command));
        }
        // As the first version wrote it; and what no version knows.
        let cancel = InboxCommand::parse(r#"{"command":"cancel","run":1}"#);
        assert_eq!(cancel, Some(InboxCommand::Cancel { run: RunId(1) }));
        assert_eq!(InboxCommand::parse(r#"{"command":"sing"}"#), None);
    }
}
