//! `ringfence:tool/context`: what a tool can ask about its call and say while it is in it.

use ringfence_event::{Note, neutralise_line};
use wasmtime::Result;

use crate::{
    bindings::ringfence::tool::{context, types},
    convert,
    state::State,
};

impl types::Host for State {}

impl context::Host for State {
    fn call_id(&mut self) -> Result<String> {
        Ok(self.call.as_ref().map(|call| call.id.to_string()).unwrap_or_default())
    }

    fn idempotency_key(&mut self) -> Result<String> {
        Ok(self.call.as_ref().map(|call| call.key.0.clone()).unwrap_or_default())
    }

    fn deadline(&mut self) -> Result<u64> {
        Ok(self.deadline_ms)
    }

    fn answer(&mut self) -> Result<Option<types::Answer>> {
        let answer = self.call.as_ref().and_then(|call| call.answer.as_ref());
        let bytes = answer
            .map_or(0, |answer| answer.state.len() + answer.value.as_ref().map_or(0, String::len));
        self.meter.note(bytes as u64)?;
        Ok(answer.map(|answer| types::Answer {
            value: answer.value.clone(),
            state: answer.state.clone(),
        }))
    }

    fn progress(&mut self, done: u64, total: Option<u64>, message: Option<String>) -> Result<()> {
        let bytes = message.as_ref().map_or(0, String::len);
        self.meter.note(bytes as u64)?;
        let message = message.map(|message| neutralise_line(&message).into_owned());
        self.note(Note::Progress { done, total, message });
        Ok(())
    }

    fn log(&mut self, level: types::Level, message: String) -> Result<()> {
        self.meter.note(message.len() as u64)?;
        let message = neutralise_line(&message).into_owned();
        self.note(Note::Log { level: convert::level(level), message });
        Ok(())
    }

    fn emit(&mut self, content: types::Content) -> Result<()> {
        self.meter.note(0)?;
        let content = convert::content(content);
        self.meter.output(content.bytes())?;
        self.note(Note::Content { content: content.clone() });
        self.emitted.push(content);
        Ok(())
    }
}
