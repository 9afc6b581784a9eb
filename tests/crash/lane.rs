//! Sessions, one after the other, over one home: each is killed and started again until it is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::AddAssign,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ringfence::{
    Caller, Reconciliation, RunStatus, Waiting,
    event::{Event, SessionId, Stream, Wait},
};

use crate::{
    chance::Chance,
    check::{Outside, check, check_end, happened},
    life::{Kill, live},
    world::World,
};

/// How often one run is started at most: far more than chance asks for, and not for ever.
const LIVES_MAX: u32 = 60;

/// So many deaths of the host in one step, and a run is given up: then it is taken to be the cause.
const DEATHS_MAX: u32 = 4;

/// More sessions than a lane has.
const SESSIONS_MAX: u32 = 1_000_000;

/// What was tried.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    sessions: u32,
    kills: u32,
    /// Kills that left an `unsafe` call of unknown outcome, which had happened, or had not.
    happened: u32,
    not_happened: u32,
    /// Runs that met so many kills in one step that they were given up.
    given_up: u32,
    shown: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.kills += other.kills;
        self.happened += other.happened;
        self.not_happened += other.not_happened;
        self.given_up += other.given_up;
        self.shown += other.shown;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, kills, happened, not_happened, given_up, shown } = self;
        let unknown = happened + not_happened;
        write!(
            f,
            "{kills} kills in {sessions} sessions, {shown} events shown and all there; {unknown} \
             unsafe calls of unknown outcome, of which {happened} had happened; {given_up} runs \
             given up after {DEATHS_MAX} kills in one step"
        )
    }
}

/// How long an undisturbed run is.
#[derive(Clone, Copy)]
struct Length {
    lines: usize,
    took: Duration,
}

/// So many kills, from this seed.
pub(crate) fn run(kills: u32, seed: u64) -> Result<Tally> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let world = World::new(&tokio)?;
    // The first compiles what the others find compiled; the second is measured.
    live(&world, None, None)?;
    let whole = live(&world, None, None)?;
    let length = Length { lines: whole.shown.len(), took: whole.lived };
    ensure!(length.lines > 0, "an undisturbed run shows nothing");
    let mut lane = Lane { world, tokio, chance: Chance(seed), length, tally: Tally::default() };
    while lane.tally.kills < kills {
        lane.session(kills).with_context(|| format!("session {}", lane.tally.sessions))?;
    }
    Ok(lane.tally)
}

struct Lane {
    world: World,
    tokio: tokio::runtime::Runtime,
    chance: Chance,
    length: Length,
    tally: Tally,
}

impl Lane {
    fn session(&mut self, kills: u32) -> Result<()> {
        self.tally.sessions += 1;
        self.world.turn_page()?;
        let (before, kills_before) = (self.sessions()?, self.tally.kills);
        let mut shown: BTreeMap<u64, Event> = BTreeMap::new();
        let mut id: Option<SessionId> = None;
        for _ in 0..LIVES_MAX {
            let kill = (self.tally.kills < kills).then(|| self.moment());
            let life = live(&self.world, id.as_ref(), kill)
                .with_context(|| format!("session {id:?}, to be killed at {kill:?}"))?;
            self.tally.kills += u32::from(life.killed);
            self.tally.shown += life.shown.len();
            for event in life.shown {
                let (seq, of) = (event.seq, event.stream.clone());
                ensure!(shown.insert(seq, event).is_none(), "event {seq} was shown twice");
                if let Stream::Session(of) = of {
                    id.get_or_insert(of);
                }
            }
            if id.is_none() {
                // Its first commit may have landed with nobody told.
                id = self.sessions()?.difference(&before).next().cloned();
            }
            let Some(id) = &id else {
                ensure!(self.world.ledger()?.is_empty(), "something happened without a session");
                continue;
            };
            let killed = self.tally.kills - kills_before;
            let over = self.look(id, &shown, killed);
            let over = over.with_context(|| format!("session {id}, {kill:?}"))?;
            if over {
                return Ok(());
            }
        }
        anyhow::bail!("{LIVES_MAX} lives did not bring session {id:?} to its end")
    }

    /// Checks a session, and says how calls of unknown outcome ended. Says whether its run is over.
    /// `killed`: how often its process was killed so far.
    fn look(&mut self, id: &SessionId, shown: &BTreeMap<u64, Event>, killed: u32) -> Result<bool> {
        let (runtime, ledger, caller) =
            (self.world.runtime()?, self.world.ledger()?, Caller::local());
        let session = check(&runtime, id, &Outside { shown, ledger: &ledger })?;
        let Some(run) = session.runs().last() else { return Ok(false) };
        for waiting in Waiting::of(&session) {
            ensure!(waiting.wait == Wait::Reconcile, "nobody asks: {waiting:?}");
            let how = if happened(&session, &waiting.call, &ledger)? {
                self.tally.happened += 1;
                Reconciliation::Happened("it is in the ledger".to_owned())
            } else {
                self.tally.not_happened += 1;
                Reconciliation::RunIt
            };
            self.tokio.block_on(runtime.reconcile(&caller, id, &waiting.call, how))?;
        }
        if run.status().is_open() {
            return Ok(false);
        }
        let why = run.failure().unwrap_or_default();
        if why == format!("the host died {DEATHS_MAX} times in this step") {
            ensure!(killed >= DEATHS_MAX, "{why}, but there were {killed} kills");
            self.tally.given_up += 1;
            return Ok(true);
        }
        ensure!(run.status() == RunStatus::Completed, "the run ended as {}: {why}", run.status());
        check_end(&session, &ledger)?;
        Ok(true)
    }

    /// A moment of a whole run; one that the process does not reach spares it.
    fn moment(&mut self) -> Kill {
        let lines = self.chance.below(self.length.lines as u64 + 1) as usize;
        let took = self.length.took.as_micros() as u64;
        // Before the first line the program starts, which is the longest of all pauses.
        let most = if lines == 0 { took / 2 } else { 2 * took / self.length.lines as u64 };
        Kill { lines, pause: Duration::from_micros(self.chance.below(most)) }
    }

    fn sessions(&self) -> Result<BTreeSet<SessionId>> {
        let sessions = self.world.runtime()?.sessions(&Caller::local(), SESSIONS_MAX)?;
        Ok(sessions.into_iter().map(|session| session.id).collect())
    }
}
