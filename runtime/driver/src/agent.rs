//! An agent as the driver needs it: its file read, its instructions beside it.

use std::path::Path;

use ringfence_agent::{Instructions, Place};
use ringfence_event::Digest;
use ringfence_policy::ConfigError;

use crate::{Error, config::read_text};

/// An agent, ready to run.
#[derive(Clone, Debug)]
pub struct Agent {
    pub(crate) definition: ringfence_agent::Agent,
    pub(crate) instructions: String,
}

impl Agent {
    /// Reads an `agent.toml` and its instructions.
    ///
    /// # Errors
    /// When one of them cannot be read, and the first thing that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let definition = ringfence_agent::Agent::parse(&name, &read_text(path)?)?;
        let instructions = match &definition.instructions {
            Instructions::Text(text) => text.clone(),
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
                text
            }
        };
        Ok(Self { definition, instructions })
    }

    /// The digest of its definition, its instructions included.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.definition.digest(&self.instructions)
    }
}
