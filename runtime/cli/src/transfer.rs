//! `ringfence session export | import`: a session as a file.

use std::{
    fs::File,
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use ringfence::{
    Caller, Error, Runtime,
    event::{SessionId, neutralise_line},
};
use serde_json::json;

use crate::{exit::Exit, failure::Usage, screen::Screen, state::show_next, text::several};

/// Writes a session to standard output or into a file.
pub(crate) fn export(
    runtime: &Runtime,
    caller: &Caller,
    id: &SessionId,
    (file, force): (Option<PathBuf>, bool),
    screen: &mut Screen,
) -> Result<Exit> {
    let Some(path) = file else {
        runtime.export(caller, id, &mut screen.out)?;
        return Ok(Exit::Done);
    };
    let exported = into_file(&path, force, &mut |out| runtime.export(caller, id, out))?;
    if screen.json {
        screen.out.json(&json!({
            "session": id,
            "file": path,
            "events": exported.events,
            "memory": exported.memory,
        }));
        return Ok(Exit::Done);
    }
    let events = several(usize::try_from(exported.events).unwrap_or(usize::MAX), "event");
    let file = path.display().to_string();
    screen.out.line(format!("{events} of session {id} are in {}", neutralise_line(&file)));
    Ok(Exit::Done)
}

/// Writes a file beside its place and puts it there when it is whole. Only its owner can read it: it
/// has all that was said.
fn into_file<T>(
    path: &Path,
    force: bool,
    write: &mut dyn FnMut(&mut dyn Write) -> Result<T, Error>,
) -> Result<T> {
    let there = || {
        let file = path.display();
        Usage::error(format!("{file} is there already: --force replaces it"))
    };
    if !force && path.exists() {
        return Err(there());
    }
    let failed = |source| Error::File { act: "write", path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let new = tempfile::Builder::new().prefix(".ringfence.").tempfile_in(folder).map_err(failed)?;
    let mut out = io::BufWriter::new(new);
    let written = write(&mut out)?;
    let new = out.into_inner().map_err(|error| failed(error.into_error()))?;
    new.as_file().sync_all().map_err(failed)?;
    let put = if force { new.persist(path) } else { new.persist_noclobber(path) };
    match put {
        Ok(_) => {}
        Err(error) if !force && error.error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(there());
        }
        Err(error) => return Err(failed(error.error).into()),
    }
    // The rename itself must survive a crash too.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(written)
}

/// Reads a session from a file or standard input.
pub(crate) async fn import(
    runtime: &Runtime,
    caller: &Caller,
    file: PathBuf,
    screen: &mut Screen,
) -> Result<Exit> {
    let (importer, who) = (runtime.clone(), caller.clone());
    let name = match file == Path::new("-") {
        true => "standard input".to_owned(),
        false => neutralise_line(&file.display().to_string()).into_owned(),
    };
    let importing = tokio::task::spawn_blocking(move || match file == Path::new("-") {
        true => importer.import(&who, &mut BufReader::new(io::stdin())),
        false => {
            let failed = |source| Error::File { act: "read", path: file.clone(), source };
            let opened = File::open(&file).map_err(failed)?;
            importer.import(&who, &mut BufReader::new(opened))
        }
    });
    let id = match importing.await.context("reading it failed in the host")? {
        Ok(id) => id,
        // It names a line; here is of which file.
        Err(error @ Error::Import { .. }) => return Err(anyhow::Error::new(error).context(name)),
        Err(error) => return Err(error.into()),
    };
    let session = runtime.session(caller, &id)?;
    let status = session.run().map(|run| run.status().as_str());
    if screen.json {
        let events = session.seq();
        screen.out.json(&json!({ "session": id, "events": events, "unfinished": status }));
        return Ok(Exit::Done);
    }
    let events = several(usize::try_from(session.seq()).unwrap_or(usize::MAX), "event");
    screen.out.line(format!("session {id} is yours now, with {events}"));
    show_next(runtime, caller, &session, &mut screen.out)?;
    Ok(Exit::Done)
}
