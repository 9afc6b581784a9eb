//! Ctrl-C: once cancels what runs, twice leaves at once.

use std::io;

use ringfence::Cancel;

use crate::exit::Exit;

/// Cancels at the first Ctrl-C, or when the process is asked to end; leaves at the second. What is
/// recorded by then stays.
///
/// # Errors
/// When the operating system does not let signals be heard.
pub(crate) fn cancel_on_request() -> io::Result<Cancel> {
    let cancel = Cancel::new();
    let request = cancel.clone();
    let mut requests = Requests::hear()?;
    tokio::spawn(async move {
        requests.next().await;
        request.cancel();
        requests.next().await;
        std::process::exit(Exit::Cancelled.code().into());
    });
    Ok(cancel)
}

/// What asks the process to end. Heard from the start, so that none is lost between two.
#[cfg(unix)]
struct Requests {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Requests {
    fn hear() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Requests;

#[cfg(not(unix))]
impl Requests {
    fn hear() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Where Ctrl-C cannot be heard it ends the process, as ever.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Requests to take the operator's file anew: SIGHUP.
pub(crate) struct Reloads(#[cfg(unix)] tokio::signal::unix::Signal);

/// Hears them from now on.
///
/// # Errors
/// When the operating system does not let signals be heard.
pub(crate) fn reload_requests() -> io::Result<Reloads> {
    #[cfg(unix)]
    return Ok(Reloads(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?));
    #[cfg(not(unix))]
    Ok(Reloads())
}

impl Reloads {
    /// The next one.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        if self.0.recv().await.is_some() {
            return;
        }
        // Nobody sends one any more.
        std::future::pending::<()>().await;
    }
}
