//! A run as it is shown while it goes on; at a terminal whoever sits there is asked what it waits for.

use anyhow::Result;
use ringfence::{
    Agent, Caller, Cancel, Input, RunEnded, Runtime, Waiting,
    event::{Event, SessionId},
};

use crate::{
    answer::show_verbs, exit::Exit, person::Person, screen::Screen, show::show_calls, view::View,
};

/// How many events are read at one time.
const PAGE: u32 = 256;

/// What is followed, and how far it was shown.
pub(crate) struct Follow<'a> {
    runtime: &'a Runtime,
    caller: &'a Caller,
    cancel: &'a Cancel,
    shown: Shown,
}

#[derive(Default)]
struct Shown {
    view: View,
    /// The last event that was shown.
    seq: u64,
}

impl Shown {
    fn event(&mut self, event: &Event, screen: &mut Screen) {
        self.seq = event.seq;
        match screen.json {
            true => screen.out.json(event),
            false => self.view.show(event, &mut screen.err),
        }
    }
}

impl<'a> Follow<'a> {
    pub(crate) fn new(runtime: &'a Runtime, caller: &'a Caller, cancel: &'a Cancel) -> Self {
        Self { runtime, caller, cancel, shown: Shown::default() }
    }

    /// Something said to an agent, to the end of its run or until nobody here answers.
    pub(crate) async fn run(
        mut self,
        agent: &Agent,
        input: Input,
        screen: &mut Screen,
    ) -> Result<Exit> {
        let (runtime, caller, cancel) = (self.runtime, self.caller, self.cancel);
        let shown = &mut self.shown;
        let mut show = |event: &Event| shown.event(event, screen);
        let ended = runtime.run(caller, agent, input, cancel, &mut show).await?;
        self.on_to_the_end(ended, screen).await
    }

    /// What is unfinished in a session, as far.
    pub(crate) async fn resume(mut self, id: &SessionId, screen: &mut Screen) -> Result<Exit> {
        let session = self.runtime.session(self.caller, id)?;
        // What was recorded before is not shown again.
        self.shown.seq = session.seq();
        if session.run().is_some_and(|run| run.status().is_waiting_for_somebody()) {
            self.shown.view.waits();
        }
        let ended = self.go_on(id, screen).await?;
        self.on_to_the_end(ended, screen).await
    }

    async fn go_on(&mut self, id: &SessionId, screen: &mut Screen) -> Result<RunEnded> {
        let shown = &mut self.shown;
        let mut show = |event: &Event| shown.event(event, screen);
        Ok(self.runtime.resume(self.caller, id, self.cancel, &mut show).await?)
    }

    /// Asks whoever sits at the terminal, as long as the run waits for a person and one answers.
    async fn on_to_the_end(mut self, mut ended: RunEnded, screen: &mut Screen) -> Result<Exit> {
        let (runtime, caller) = (self.runtime, self.caller);
        let person = Person::at(screen);
        while let Some(person) = &person
            && ended.status.is_waiting_for_somebody()
        {
            let id = &ended.session;
            let waiting = Waiting::of(&runtime.session(caller, id)?);
            if !person.answers(runtime, caller, &waiting, self.cancel, screen).await? {
                break;
            }
            self.catch_up(id, screen)?;
            ended = self.go_on(id, screen).await?;
        }
        self.finish(&ended, screen)
    }

    /// Shows what was recorded of the answers themselves.
    fn catch_up(&mut self, id: &SessionId, screen: &mut Screen) -> Result<()> {
        loop {
            let from = self.shown.seq + 1;
            let events = self.runtime.events(self.caller, id, from, PAGE)?;
            events.iter().for_each(|event| self.shown.event(event, screen));
            if events.len() < PAGE as usize {
                return Ok(());
            }
        }
    }

    /// What is shown when nothing goes on: what the run came to, or who has to answer what.
    fn finish(&self, ended: &RunEnded, screen: &mut Screen) -> Result<Exit> {
        if !screen.json {
            show_calls(self.runtime, self.caller, &ended.session, &mut screen.err)?;
            screen.out.foreign(ended.answer.as_deref().unwrap_or_default());
        }
        if ended.status.is_open() {
            let waiting = Waiting::of(&self.runtime.session(self.caller, &ended.session)?);
            show_verbs(&waiting, &mut screen.err);
        }
        Ok(Exit::of_run(ended))
    }
}
