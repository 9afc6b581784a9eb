//! An agent as the driver needs it: its file read, its instructions beside it.

use std::path::Path;

use ringfence_agent::{Instructions, Place};
use ringfence_event::{Digest, ModelName};
use ringfence_policy::ConfigError;
use serde::{Deserialize, Serialize};

use crate::{Error, config::read_text};

/// An agent, ready to run.
#[derive(Clone, Debug)]
pub struct Agent {
    pub(crate) definition: ringfence_agent::Agent,
    pub(crate) instructions: String,
    source: Source,
}

/// What an agent is read from, as a session keeps it: whoever goes on with the session needs no file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    file: String,
    text: String,
    /// Of the file of the instructions, where they are in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    /// The model that is used in place of the file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<ModelName>,
}

impl Agent {
    /// Reads an `agent.toml` and its instructions.
    ///
    /// # Errors
    /// When one of them cannot be read, and the first thing that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let text = read_text(path)?;
        let definition = ringfence_agent::Agent::parse(&name, &text)?;
        let instructions = match &definition.instructions {
            Instructions::Text(_) => None,
            Instructions::File(file) => {
                let file = path.parent().unwrap_or(Path::new("")).join(file);
                let text = std::fs::read_to_string(&file).map_err(|error| {
                    let message = format!("cannot read the instructions: {error}");
                    definition
                        .wrong(Place::Instructions, message)
                        .with_help(format!("they are looked for in {}", file.display()))
                })?;
                ringfence_agent::Agent::check_instructions(&text)
                    .map_err(|message| ConfigError::new(&file.display().to_string(), message))?;
                Some(text)
            }
        };
        Ok(Self::of(definition, Source { file: name, text, instructions, model: None }))
    }

    /// An agent from the text of its file, with its instructions in it. `file` is the name that errors
    /// carry.
    ///
    /// # Errors
    /// The first thing that is wrong in it.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let definition = ringfence_agent::Agent::parse(file, text)?;
        if let Instructions::File(_) = definition.instructions {
            let message = "the instructions of an agent that is no file stand in its text";
            return Err(definition.wrong(Place::Instructions, message).into());
        }
        let (file, text) = (file.to_owned(), text.to_owned());
        Ok(Self::of(definition, Source { file, text, instructions: None, model: None }))
    }

    /// The same with another model in place of its own, by its name in the operator's file. A session
    /// keeps that with the agent, so that whoever goes on with it asks the same one.
    #[must_use]
    pub fn with_model(self, model: ModelName) -> Self {
        Self::of(self.definition, Source { model: Some(model), ..self.source })
    }

    /// The model that is used in place of the file's, if there is one.
    pub(crate) fn other_model(&self) -> Option<&ModelName> {
        self.source.model.as_ref()
    }

    fn of(mut definition: ringfence_agent::Agent, source: Source) -> Self {
        if let Some(model) = &source.model {
            definition.model = model.clone();
        }
        let instructions = match (&source.instructions, &definition.instructions) {
            (Some(text), _) | (None, Instructions::Text(text)) => text.clone(),
            (None, Instructions::File(_)) => String::new(),
        };
        Self { definition, instructions, source }
    }

    /// As a session keeps it.
    pub(crate) fn stored(&self) -> Vec<u8> {
        serde_json::to_vec(&self.source).expect("plain data with string keys is always JSON")
    }

    /// An agent that a session has kept.
    pub(crate) fn from_stored(bytes: &[u8]) -> Result<Self, Error> {
        let source: Source = serde_json::from_slice(bytes).map_err(|error| {
            Error::input(format!("the session's agent cannot be read: {error}"))
        })?;
        let definition = ringfence_agent::Agent::parse(&source.file, &source.text)?;
        Ok(Self::of(definition, source))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ringfence_event::AgentName {
        &self.definition.name
    }

    /// The digest of its definition, its instructions included.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.definition.digest(&self.instructions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_model_is_kept_with_the_agent() {
        let text = "name = \"a\"\nmodel = { use = \"main\" }\ninstructions = \"x\"\n[tools]\n";
        let agent = Agent::parse("agent.toml", text).expect("an agent");
        let other = agent.clone().with_model("small".parse().expect("a name"));
        for (agent, model) in [(agent, "main"), (other, "small")] {
            let kept = Agent::from_stored(&agent.stored()).expect("the same agent");
            assert_eq!(kept.definition.model.as_str(), model);
            assert_eq!(kept.digest(), agent.digest());
        }
    }
}
