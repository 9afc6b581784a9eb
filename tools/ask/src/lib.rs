//! Asks the person whose work it is.

use ringfence_sdk::prelude::*;
use ringfence_sdk::question::Question;

/// How long a question may be, in characters: what a person reads before answering.
const QUESTION_MAX: usize = 2_000;

#[derive(Deserialize, JsonSchema)]
struct Ask {
    /// The question, with all that a person needs to know to answer it: at most 2,000 characters.
    question: String,
}

#[derive(Deserialize, JsonSchema)]
struct Reply {
    /// what you say to it
    answer: String,
}

/// Asks the person whose work it is, and waits for the answer. Ask only what you cannot find out
/// yourself, and one thing at a time.
#[tool(effect = "read")]
fn ask(args: Ask) -> Result<String> {
    let question = asked(&args.question)?;
    Ok(match Question::new(question).ask::<Reply>()? {
        Some(Reply { answer }) => answer,
        None => {
            "They do not answer. Go on without, or say what you cannot do without it.".to_owned()
        }
    })
}

/// What is asked, if it is something that a person can be asked.
fn asked(question: &str) -> Result<&str> {
    let question = question.trim();
    match question.chars().count() {
        0 => Err(Error::failed("the question is empty")),
        1..=QUESTION_MAX => Ok(question),
        more => Err(Error::failed(format!(
            "the question has {more} characters, and a person is asked at most {QUESTION_MAX}: leave \
             out what they need not know"
        ))),
    }
}

ringfence_sdk::export!(ask);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_asked_something_and_not_too_much() {
        assert_eq!(asked(" Which one?\n").ok(), Some("Which one?"));
        assert!(asked(&"x".repeat(QUESTION_MAX)).is_ok());
        for (question, says) in [("", "empty"), (&*"x".repeat(QUESTION_MAX + 1), "2001 characters")]
        {
            let error = asked(question).unwrap_err();
            assert!(format!("{error:?}").contains(says), "{error:?}");
        }
    }
}
