//! An agent, read and checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    ops::Range,
};

use ringfence_event::{
    AgentName, Asked, CompactionRule, Denial, DenialCode, Digest, FallbackRule, FileOwner,
    FunctionName, ModelName, Money, Remedy, RetryRule, RetryRules, SessionLimits, ToolName,
};
use ringfence_policy::{ConfigError, HoldRules};

use crate::RunLimits;

/// An agent's definition.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its name.
    pub name: AgentName,
    /// The model it uses, by its name in the operator's file.
    pub model: ModelName,
    /// What the model is told before anything else.
    pub instructions: Instructions,
    /// The functions it may call, by tool.
    pub tools: BTreeMap<ToolName, ListedTool>,
    /// What one run may spend.
    pub limits: RunLimits,
    /// What all runs of one session may spend together.
    pub session_limits: SessionLimits,
    /// What is tried again, and how.
    pub retry: RetryRules,
    /// When its conversations are compacted; `None`: never.
    pub compaction: Option<CompactionRule>,
    /// The model that takes over when its own fails.
    pub fallback: Option<FallbackRule>,
    /// Which of its calls a person must say yes to.
    pub holds: HoldRules,
    pub(crate) source: Source,
}

/// The file it was read from, to point at a place in it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As errors show it.
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) model: Range<usize>,
    pub(crate) fallback: Range<usize>,
    pub(crate) instructions: Range<usize>,
    pub(crate) tools_line: Option<u32>,
}

/// A place in the file that only somebody who knows more than the file can find wrong.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// `model`
    Model,
    /// `fallback` of `model`; the model, where it has none.
    Fallback,
    /// `instructions`
    Instructions,
    /// A tool's line under `[tools]`.
    Tool(&'a ListedTool),
}

/// Where the instructions are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// Here.
    Text(String),
    /// In this file, relative to the folder of `agent.toml` and inside it.
    File(String),
}

/// A tool that an agent lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTool {
    /// Which of its functions.
    pub functions: FunctionList,
    /// The line it is listed in.
    pub line: u32,
    pub(crate) span: Range<usize>,
}

/// Which functions of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunctionList {
    /// All that it has: `"*"`.
    All,
    /// These.
    Named(BTreeSet<FunctionName>),
}

impl FunctionList {
    /// Whether a function is among them.
    #[must_use]
    pub fn contains(&self, function: &FunctionName) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(function),
        }
    }
}

impl Agent {
    /// The error of a place in the file, to be told like those of reading it.
    #[must_use]
    pub fn wrong(&self, place: Place<'_>, message: impl AsRef<str>) -> ConfigError {
        let Source { file, text, model, fallback, instructions, .. } = &self.source;
        let span = match place {
            Place::Model => model,
            Place::Fallback => fallback,
            Place::Instructions => instructions,
            Place::Tool(listed) => &listed.span,
        };
        ConfigError::at(file, text, span.clone(), message)
    }

    /// The file's name without its folder: where on the host it lies is nobody's business in a
    /// denial.
    fn file_name(&self) -> &str {
        let file = self.source.file.as_str();
        file.rsplit(['/', '\\']).next().unwrap_or(file)
    }

    /// Whether the agent lists a function.
    ///
    /// # Errors
    /// The denial, with the line of its file that would list it.
    pub fn check_function(&self, tool: &ToolName, function: &FunctionName) -> Result<(), Denial> {
        let listed = self.tools.get(tool);
        if listed.is_some_and(|listed| listed.functions.contains(function)) {
            return Ok(());
        }
        let mut names = BTreeSet::from([function]);
        if let Some(ListedTool { functions: FunctionList::Named(listed), .. }) = listed {
            names.extend(listed);
        }
        let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let remedy = Remedy {
            owner: FileOwner::AgentAuthor,
            file: self.file_name().to_owned(),
            line: listed.map(|listed| listed.line).or(self.source.tools_line),
            table: "[tools]".to_owned(),
            allow: format!("{tool} = [{}]", names.join(", ")),
        };
        let asked = Asked::Function {
            tool: Some(tool.clone()),
            function: Some(function.clone()),
            name: format!("{tool}_{function}"),
        };
        Err(Denial::new(DenialCode::NotInAgent, asked, vec![remedy]))
    }

    /// The hash of the definition, with the text of its instructions wherever that stands. Moving
    /// a line or a text into a file of its own changes nothing.
    #[must_use]
    pub fn digest(&self, instructions: &str) -> Digest {
        let RunLimits { steps, calls, tokens, time_ms, fuel, concurrent_calls, usd } = self.limits;
        let mut text = format!("ringfence agent 1\nname {}\nmodel {}\n", self.name, self.model);
        for (tool, listed) in &self.tools {
            let _ = match &listed.functions {
                FunctionList::All => writeln!(text, "tool {tool} *"),
                FunctionList::Named(names) => writeln!(text, "tool {tool} {names:?}"),
            };
        }
        let _ =
            writeln!(text, "limits {steps} {calls} {tokens} {time_ms} {fuel} {concurrent_calls}");
        // What an agent does not say has no line: one that says nothing new stays what it was.
        if let Some(usd) = usd {
            let _ = writeln!(text, "limit usd {usd}");
        }
        let SessionLimits { calls, tokens, fuel, usd } = self.session_limits;
        let counts = [("calls", calls), ("tokens", tokens), ("fuel", fuel)];
        for (name, limit) in counts.into_iter().chain([("usd", usd.map(Money::nanos))]) {
            if let Some(limit) = limit {
                let _ = writeln!(text, "session limit {name} {limit}");
            }
        }
        let RetryRules { model, call } = RetryRules::DEFAULT;
        for (name, rule, default) in
            [("model", self.retry.model, model), ("call", self.retry.call, call)]
        {
            if rule != default {
                let RetryRule { attempts, first_ms, most_ms, time_ms } = rule;
                let _ = writeln!(text, "retry {name} {attempts} {first_ms} {most_ms} {time_ms}");
            }
        }
        if let Some(CompactionRule { above, keep }) = self.compaction {
            let _ = writeln!(text, "compaction {above} {keep}");
        }
        if let Some(FallbackRule { model, on, after }) = &self.fallback {
            let on: Vec<&str> = on.iter().map(|class| class.as_str()).collect();
            let _ = writeln!(text, "fallback {model} {} {after}", on.join(" "));
        }
        if !self.holds.is_empty() {
            let _ = writeln!(text, "holds {}", self.holds.digest());
        }
        text.push_str("instructions ");
        text.push_str(instructions);
        Digest::of(text.as_bytes())
    }
}
