//! `ringfence serve`: configuration, runtime, listen, say where, serve until asked to end.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use ringfence::{
    LogLevel, Reloaded, Runtime, Telemetry,
    event::{TenantId, neutralise_line},
    policy::Sink,
};
use ringfence_server::{Log, Service, ServiceConfig};
use serde_json::json;

use crate::{
    args::{Global, ServeArguments},
    config,
    exit::Exit,
    failure::Usage,
    log, observe,
    screen::Screen,
    signal,
};

/// How often the operator's file is looked at: what it takes away is to reach running calls within a second, and it
/// is read when it was the same for two looks.
const LOOK: Duration = Duration::from_millis(150);

/// Serves until it is asked to end.
pub(crate) async fn serve(
    global: &Global,
    arguments: ServeArguments,
    screen: &mut Screen,
) -> Result<Exit> {
    if global.tenant.is_some() || global.user.is_some() {
        return Err(Usage::error(
            "a service is for all tenants: the API key of a request says whose it is",
        ));
    }
    let config = config::read(global)?;
    log::start(config.telemetry().log.unwrap_or(LogLevel::Warn));
    let watched = Watched::of(&config);
    let service = ServiceConfig::of(&config)?;
    let start = Start::of(&config, service.clone());
    let service = match arguments.listen {
        Some(listen) => service.with_listen(listen),
        None => service,
    };
    open_files();
    let tenants: Vec<_> = config.tenants().cloned().collect();
    let runtime = Runtime::open(config)?;
    let end = signal::cancel_on_request().context("cannot listen for signals")?;
    let observer = observe::start(&runtime).await?;
    let metrics = Some(observer.metrics().clone());
    let serving = Service::listen(runtime.clone(), service, Arc::new(Lines), metrics).await?;
    let serving = serving.with_failures(observer.failures());
    let address = serving.address();
    match screen.json {
        true => screen.out.json(&json!({ "listening": format!("http://{address}") })),
        false => screen.out.line(format!("listening at http://{address}")),
    }
    if runtime.known_keys()?.is_empty() {
        let tenant = tenants.first().map_or("TENANT", |tenant| tenant.as_str());
        screen.err.line(format!(
            "there is no API key yet, so nobody can ask it: \
             `ringfence --tenant {tenant} key create --scope run,read` makes one"
        ));
    }
    let hears = signal::reload_requests().context("cannot listen for signals")?;
    let reloading = reload_on_change(global, &runtime, (watched, start), hears);
    tokio::select! {
        ended = serving.run(&end) => ended?,
        never = reloading => match never {},
    }
    observe::stop(Some(observer)).await;
    screen.err.line("ended");
    Ok(Exit::Done)
}

/// A connection is an open file: as many as the system lets this process have.
fn open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Without it there are fewer connections, and those that are too many wait.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// What clients are not told, in the log.
struct Lines;

impl Log for Lines {
    fn failed(&self, what: &str, why: &str) {
        tracing::error!(target: "ringfence", what, why = &*neutralise_line(why), "failed");
    }
}

/// The operator's file and the list of accepted tools, as they lay there when they were looked at.
struct Watched {
    files: Vec<PathBuf>,
    seen: Vec<Option<(SystemTime, u64)>>,
}

impl Watched {
    fn of(config: &ringfence::Config) -> Self {
        let lock = config.folder().join("ringfence.lock");
        let files: Vec<_> = config.file().map(Path::to_owned).into_iter().chain([lock]).collect();
        let seen = files.iter().map(|file| stamp(file)).collect();
        Self { files, seen }
    }

    /// Whether one of them is another one now.
    fn changed(&mut self) -> bool {
        let now: Vec<_> = self.files.iter().map(|file| stamp(file)).collect();
        std::mem::replace(&mut self.seen, now) != self.seen
    }
}

/// Waits until a file that changes is written to its end, as far as anybody can see that from outside.
#[derive(Debug, Default)]
struct Settling {
    is_written: bool,
}

impl Settling {
    /// Whether it is to be read, after a look that found it to be another one or not.
    fn looked(&mut self, changed: bool) -> bool {
        std::mem::replace(&mut self.is_written, changed) && !changed
    }
}

fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let about = fs::metadata(file).ok()?;
    Some((about.modified().ok()?, about.len()))
}

/// What of the operator's file holds as it was read at the start.
struct Start {
    service: ServiceConfig,
    telemetry: Telemetry,
    sinks: Vec<(TenantId, Sink)>,
}

impl Start {
    fn of(config: &ringfence::Config, service: ServiceConfig) -> Self {
        let sinks = config.sinks().map(|(tenant, sink)| (tenant.clone(), sink.clone()));
        Self { service, telemetry: config.telemetry().clone(), sinks: sinks.collect() }
    }

    /// The tables that say something else in another reading.
    fn differs(&self, other: &Self) -> Vec<&'static str> {
        let tables = [
            ("[service]", self.service != other.service),
            ("[telemetry]", self.telemetry != other.telemetry),
            ("[[tenant.NAME.sink]]", self.sinks != other.sinks),
        ];
        tables.into_iter().filter_map(|(table, differs)| differs.then_some(table)).collect()
    }
}

/// Takes the operator's file anew: all of it, or nothing.
async fn reload(
    global: &Global,
    runtime: &Runtime,
    watched: &mut Watched,
    start: &Start,
) -> Result<Reloaded> {
    let config = config::read(global)?;
    if watched.changed() {
        bail!("it was written while it was read");
    }
    // An editor that begins with an empty file would take everything from everybody.
    if config.file().is_some() && config.text().trim().is_empty() {
        bail!("it is empty: a file that is to give nothing says so in a comment");
    }
    // Its mistakes are the file's, too.
    let service = ServiceConfig::of(&config)?;
    let later = start.differs(&Start::of(&config, service));
    let reloaded = runtime.reload(config).await?;
    if !later.is_empty() {
        let tables = later.join(", ");
        tracing::warn!(target: "ringfence", tables, "these hold from the next start of the service on");
    }
    Ok(reloaded)
}

/// Takes the operator's file anew when it changes, and when a signal asks for it: all of it, or nothing.
async fn reload_on_change(
    global: &Global,
    runtime: &Runtime,
    (mut watched, start): (Watched, Start),
    mut hears: signal::Reloads,
) -> std::convert::Infallible {
    let mut look = tokio::time::interval(LOOK);
    let mut settling = Settling::default();
    loop {
        let is_due = tokio::select! {
            // Whoever asks for it has written it.
            () = hears.next() => true,
            _ = look.tick() => settling.looked(watched.changed()),
        };
        if !is_due {
            continue;
        }
        watched.changed();
        let reloaded = reload(global, runtime, &mut watched, &start).await;
        // It may have changed meanwhile, and is looked at again then.
        settling = Settling { is_written: reloaded.is_err() && watched.changed() };
        match reloaded {
            Ok(reloaded) => tracing::warn!(
                target: "ringfence",
                grants = reloaded.grants.len(),
                ended = reloaded.ended,
                "read the operator's file anew"
            ),
            Err(error) => tracing::error!(
                target: "ringfence",
                why = &*neutralise_line(&format!("{error:#}")),
                "the operator's file is as it was read before"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Settling;

    /// Nobody reads a file that is being written.
    #[test]
    fn a_file_is_read_once_and_when_it_has_stopped_changing() {
        let mut settling = Settling::default();
        let looks = [false, true, true, true, false, false, true, false];
        let read: Vec<bool> = looks.into_iter().map(|changed| settling.looked(changed)).collect();
        assert_eq!(read, [false, false, false, false, true, false, false, true]);
    }
}
