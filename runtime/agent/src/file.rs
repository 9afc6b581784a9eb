//! The text of `agent.toml`, turned into an [`Agent`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ringfence_event::{AgentName, FileOwner, FunctionName, ModelName, ToolName};
use ringfence_policy::{ConfigError, HoldRules, HoldTable, line_of, parse_file};
use serde::{
    Deserialize, Deserializer,
    de::{
        self,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use toml::Spanned;

use crate::{
    Agent, FunctionList, Instructions, ListedTool,
    agent::Source,
    limits::{RunLimitTable, SessionLimitTable},
    rules::{CompactionTable, FallbackTable, RetryTable},
};

/// The longest instructions: more would leave a model no room to work.
const INSTRUCTIONS_BYTES_MAX: usize = 256 << 10;

impl Agent {
    /// Reads an agent's definition. `file` is the name that errors carry.
    ///
    /// # Errors
    /// The first thing that is wrong in it.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let read: AgentFile = parse_file(file, text)?;
        let instructions = read.instructions;
        let wrong = match instructions.get_ref() {
            Instructions::Text(text) => Self::check_instructions(text).err(),
            Instructions::File(path) if is_inside(path) => None,
            Instructions::File(_) => {
                Some("the file is one in the folder of agent.toml, by its relative path".to_owned())
            }
        };
        if let Some(message) = wrong {
            return Err(ConfigError::at(file, text, instructions.span(), message));
        }
        let tools_line = read.tools.as_ref().map(|tools| line_of(text, tools.span().start));
        let listed = read.tools.map(Spanned::into_inner).unwrap_or_default().into_iter();
        let tools = listed.map(|(tool, functions)| {
            let span = tool.span();
            let line = line_of(text, span.start);
            (tool.into_inner(), ListedTool { functions, line, span })
        });
        let fallback = read.model.fallback;
        let source = Source {
            file: file.to_owned(),
            text: text.to_owned(),
            model: read.model.name.span(),
            fallback: fallback.as_ref().map_or(&read.model.name, |given| &given.name).span(),
            instructions: instructions.span(),
            tools_line,
        };
        let model = read.model.name.into_inner();
        let fallback = fallback.map(|given| given.rule(&model, file, text)).transpose()?;
        Ok(Self {
            name: read.name,
            model,
            fallback,
            instructions: instructions.into_inner(),
            tools: tools.collect(),
            limits: read.limits.limits(file, text)?,
            session_limits: read.session_limits.limits(file, text)?,
            retry: read.retry.rules(file, text)?,
            compaction: read.compaction.map(|table| table.rule(file, text)).transpose()?,
            holds: HoldRules::read(file, text, FileOwner::AgentAuthor, "[[hold]]", read.hold)?,
            source,
        })
    }

    /// Whether a text will do as instructions; for one that was read from a file.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn check_instructions(text: &str) -> Result<(), String> {
        if text.trim().is_empty() {
            return Err("the instructions are empty: they say what the agent is to do".to_owned());
        }
        if text.len() > INSTRUCTIONS_BYTES_MAX {
            return Err(format!(
                "the instructions are longer than {} KiB",
                INSTRUCTIONS_BYTES_MAX >> 10
            ));
        }
        Ok(())
    }
}

fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\\', '\0', ':'])
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AgentFile {
    name: AgentName,
    model: ModelTable,
    instructions: Spanned<Instructions>,
    tools: Option<Spanned<BTreeMap<Spanned<ToolName>, FunctionList>>>,
    #[serde(default)]
    limits: RunLimitTable,
    #[serde(default)]
    session_limits: SessionLimitTable,
    #[serde(default)]
    retry: RetryTable,
    compaction: Option<CompactionTable>,
    #[serde(default)]
    hold: Vec<Spanned<HoldTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as `{ use = \"main\" }`")]
struct ModelTable {
    #[serde(rename = "use")]
    name: Spanned<ModelName>,
    fallback: Option<FallbackTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InstructionsTable {
    file: String,
}

impl<'de> Deserialize<'de> for Instructions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Instructions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the text itself, or `{ file = \"NAME.md\" }`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Instructions, E> {
                Ok(Instructions::Text(text.to_owned()))
            }

            fn visit_map<M: de::MapAccess<'de>>(self, map: M) -> Result<Instructions, M::Error> {
                let table = InstructionsTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Instructions::File(table.file))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for FunctionList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = FunctionList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"*\" for all functions, or a list of names such as [\"read\"]")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FunctionList, E> {
                match text {
                    "*" => Ok(FunctionList::All),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<S: de::SeqAccess<'de>>(self, names: S) -> Result<FunctionList, S::Error> {
                let names = Vec::<FunctionName>::deserialize(SeqAccessDeserializer::new(names))?;
                let unique: BTreeSet<FunctionName> = names.iter().cloned().collect();
                if unique.len() < names.len() {
                    return Err(de::Error::custom("a function is listed twice"));
                }
                Ok(FunctionList::Named(unique))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use ringfence_event::{
        CompactionRule, FallbackRule, ModelFailureClass, RetryRule, RetryRules, SessionLimits,
    };

    use super::*;

    const GOOD: &str = r#"name = "coder"
model = { use = "main" }
instructions = { file = "coder.md" }

[tools]
repo-search = "*"
files = ["find", "read"]

[limits]
time = "2min"
fuel = "3G"
"#;

    #[test]
    fn an_agent_is_read() {
        let agent = Agent::parse("agent.toml", GOOD).unwrap();
        assert_eq!(agent.instructions, Instructions::File("coder.md".to_owned()));
        assert_eq!(agent.limits.time_ms, 120_000);
        assert_eq!(agent.limits.fuel, 3_000_000_000);
        assert_eq!(agent.limits.steps, crate::RunLimits::DEFAULT.steps);
        let check = |tool: &str, function: &str, remedy: Option<&str>| {
            let result = agent.check_function(&tool.parse().unwrap(), &function.parse().unwrap());
            let allow = result.err().map(|denial| denial.to_string());
            assert_eq!(allow.as_deref(), remedy, "{tool} {function}");
        };
        check("repo-search", "anything", None);
        check("files", "read", None);
        check(
            "files",
            "write",
            Some(
                "denied: call files_write: the agent does not list this function; what would allow \
                 it: `files = [\"find\", \"read\", \"write\"]` under [tools] in agent.toml:7 (the \
                 agent author's file)",
            ),
        );
        check(
            "fetch",
            "get",
            Some(
                "denied: call fetch_get: the agent does not list this function; what would allow \
                 it: `fetch = [\"get\"]` under [tools] in agent.toml:5 (the agent author's file)",
            ),
        );
    }

    /// Each number of each table, as it is written and where nothing is.
    #[test]
    fn what_is_written_is_what_holds() {
        let written = r#"name = "coder"
model = { use = "main", fallback = { use = "backup", on = ["cut", "refused", "cut"], after = 3 } }
instructions = "Go."
[limits]
steps = 7
calls = "2k"
tokens = "3M"
time = "4min"
fuel = "5G"
concurrent-calls = 6
usd = "1.25"
[session-limits]
calls = 8
tokens = "9k"
fuel = "10M"
usd = "0.11"
[retry.model]
attempts = 2
first = "3s"
most = "40s"
time = "5min"
[retry.call]
most = "200ms"
[compaction]
above = "60k"
"#;
        let agent = Agent::parse("agent.toml", written).unwrap();
        let usd = |text: &str| Some(text.parse().unwrap());
        let limits = crate::RunLimits {
            steps: 7,
            calls: 2_000,
            tokens: 3_000_000,
            time_ms: 240_000,
            fuel: 5_000_000_000,
            concurrent_calls: 6,
            usd: usd("1.25"),
        };
        assert_eq!(agent.limits, limits);
        let session_limits = SessionLimits {
            calls: Some(8),
            tokens: Some(9_000),
            fuel: Some(10_000_000),
            usd: usd("0.11"),
        };
        assert_eq!(agent.session_limits, session_limits);
        let model = RetryRule { attempts: 2, first_ms: 3_000, most_ms: 40_000, time_ms: 300_000 };
        // A shorter longest pause bounds the first one.
        let call = RetryRule { first_ms: 200, most_ms: 200, ..RetryRules::DEFAULT.call };
        assert_eq!(agent.retry, RetryRules { model, call });
        assert_eq!(agent.compaction, Some(CompactionRule { above: 60_000, keep: 6 }));
        let fallback = FallbackRule {
            model: "backup".parse().unwrap(),
            on: vec![ModelFailureClass::Cut, ModelFailureClass::Refused],
            after: 3,
        };
        assert_eq!(agent.fallback, Some(fallback));
        let (head, _) = written.split_once("[limits]").unwrap();
        let agent = Agent::parse("agent.toml", head).unwrap();
        assert_eq!(agent.limits, crate::RunLimits::DEFAULT);
        assert_eq!(agent.session_limits, SessionLimits::default());
        assert_eq!((agent.retry, agent.compaction), (RetryRules::DEFAULT, None));
    }

    #[test]
    fn the_digest_is_of_the_meaning() {
        let digest =
            |text: &str, told: &str| Agent::parse("agent.toml", text).unwrap().digest(told);
        let first = digest(GOOD, "be kind");
        assert_eq!(first, digest(&GOOD.replace("\n\n", "\n\n# a remark\n\n"), "be kind"));
        assert_eq!(
            first,
            digest(&GOOD.replace("{ file = \"coder.md\" }", "\"be kind\""), "be kind")
        );
        assert_ne!(first, digest(GOOD, "be quick"));
        assert_ne!(first, digest(&GOOD.replace("3G", "4G"), "be kind"));
        assert_ne!(first, digest(&GOOD.replace("\"*\"", "[]"), "be kind"));
        let with =
            |more: &str| digest(&GOOD.replace("[limits]", &format!("{more}\n[limits]")), "be kind");
        // What is the default anyway changes nothing.
        assert_eq!(first, with("[retry.model]\nattempts = 5\nfirst = \"500ms\""));
        for more in [
            "[session-limits]\ncalls = 5",
            "[session-limits]\nusd = \"1\"",
            "[retry.call]\nattempts = 1",
            "[compaction]\nabove = \"60k\"",
            "[[hold]]\neffect = \"unsafe\"",
        ] {
            assert_ne!(first, with(more), "{more}");
        }
        assert_ne!(first, digest(&GOOD.replace("fuel", "usd = \"0.50\"\nfuel"), "be kind"));
        let fallback = "{ use = \"main\", fallback = { use = \"b\" } }";
        assert_ne!(first, digest(&GOOD.replace("{ use = \"main\" }", fallback), "be kind"));
    }

    #[test]
    fn errors_say_where_and_how() {
        let mut shown = String::new();
        for (from, to) in [
            ("name = \"coder\"", "name = \"Coder X\""),
            ("name = \"coder\"", ""),
            ("{ use = \"main\" }", "\"main\""),
            ("{ use = \"main\" }", "{ name = \"main\" }"),
            ("{ file = \"coder.md\" }", "{ file = \"../coder.md\" }"),
            ("{ file = \"coder.md\" }", "\"  \""),
            ("{ file = \"coder.md\" }", "7"),
            ("\"*\"", "\"all\""),
            ("\"*\"", "[\"a\", \"a\"]"),
            ("repo-search", "repo_search"),
            ("time = \"2min\"", "time = 2"),
            ("time = \"2min\"", "usd = 0.50"),
            ("time = \"2min\"", "usd = \"0\""),
            ("[limits]", "[session-limits]\ncalls = 0\n[limits]"),
            ("[limits]", "[session-limits]\nsteps = 1\n[limits]"),
            ("[limits]", "[retry.model]\nattempts = 0\n[limits]"),
            ("[limits]", "[retry.call]\nfirst = \"31s\"\n[limits]"),
            ("[limits]", "[retry.tool]\nattempts = 2\n[limits]"),
            ("[limits]", "[compaction]\nkeep = 2\n[limits]"),
            ("[limits]", "[compaction]\nabove = \"60k\"\nkeep = 0\n[limits]"),
            ("[limits]", "[compaction]\nabove = 0\n[limits]"),
            ("[limits]", "[retry.call]\ntime = \"0ms\"\n[limits]"),
            ("[limits]", "[[hold]]\nexpires = \"1h\"\n[limits]"),
            ("{ use = \"main\" }", "{ use = \"main\", fallback = \"backup\" }"),
            ("{ use = \"main\" }", "{ use = \"main\", fallback = { use = \"main\" } }"),
            ("{ use = \"main\" }", "{ use = \"main\", fallback = { use = \"b\", on = [] } }"),
            (
                "{ use = \"main\" }",
                "{ use = \"main\", fallback = { use = \"b\", on = [\"host\"] } }",
            ),
            (
                "{ use = \"main\" }",
                "{ use = \"main\", fallback = { use = \"b\", on = [\"busy\"] } }",
            ),
            ("{ use = \"main\" }", "{ use = \"main\", fallback = { use = \"b\", after = 0 } }"),
            ("time = \"2min\"", "step = 3"),
            ("time = \"2min\"", "steps = 0"),
            ("time = \"2min\"", "steps = -1"),
            ("time = \"2min\"", "calls = 5000000000"),
            ("[limits]", "[approval]"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let error = Agent::parse("agent.toml", &text).unwrap_err();
            shown += &format!("{to}\n{}\n", error.render());
        }
        insta::assert_snapshot!(shown);
    }
}
