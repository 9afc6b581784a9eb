//! Asks a person before it goes on.

use ringfence_sdk::prelude::*;
use ringfence_sdk::question::Question;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Ask {
    /// What to ask.
    question: String,
}

#[derive(Deserialize, JsonSchema)]
struct Answer {
    /// Whether to go on.
    go: bool,
    /// How often.
    #[serde(default)]
    times: u32,
}

/// Asks, and says what was answered.
#[tool(effect = "unsafe")]
pub(crate) fn ask(args: Ask) -> Result<String> {
    let question = Question::new(args.question).state(*b"asked by the probe");
    Ok(match question.ask::<Answer>()? {
        Some(Answer { go, times }) => format!("go: {go}, times: {times}"),
        None => "nobody answers".to_owned(),
    })
}
