//! A file of JSON lines, one CloudEvent each. Lines are whole or not there: what a full disk cut off is
//! taken back, and written when there is room. Whoever sets the file aside may: it is made anew.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ringfence_event::Event;

use super::{Backoff, Report};
use crate::{cloudevent::CloudEvent, config::FileConfig, tail::Tail};

/// How much is written in one go at most, roughly.
const CHUNK_BYTES: usize = 1 << 20;

/// Lines at the end of a file.
pub(super) struct FileSink {
    config: Arc<FileConfig>,
    open: Option<File>,
}

impl FileSink {
    pub(super) fn new(config: FileConfig) -> Self {
        Self { config: Arc::new(config), open: None }
    }

    /// Writes events, however long it takes; `false` if everything is to end before.
    pub(super) async fn deliver(
        &mut self,
        events: impl Iterator<Item = &Event>,
        tail: &mut Tail,
        report: &Report<'_>,
    ) -> bool {
        let (mut lines, mut count) = (String::new(), 0);
        for event in events {
            lines += &CloudEvent::of(event).json();
            lines.push('\n');
            count += 1;
            if lines.len() >= CHUNK_BYTES {
                if !self.write(std::mem::take(&mut lines), tail, report).await {
                    return false;
                }
                report.delivered(std::mem::take(&mut count));
            }
        }
        if count > 0 {
            if !self.write(lines, tail, report).await {
                return false;
            }
            report.delivered(count);
        }
        true
    }

    async fn write(&mut self, lines: String, tail: &mut Tail, report: &Report<'_>) -> bool {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        let lines: Arc<str> = lines.into();
        loop {
            let (config, open, text) = (self.config.clone(), self.open.take(), lines.clone());
            let written = tokio::task::spawn_blocking(move || append(&config, open, &text)).await;
            match written.map_err(io::Error::other).and_then(|written| written) {
                Ok(file) => {
                    self.open = Some(file);
                    return true;
                }
                Err(error) => report.failed(&format!("{}: {error}", self.config.path.display())),
            }
            if tail.pause(backoff.wait()).await {
                return false;
            }
        }
    }
}

/// Adds lines, all or none.
fn append(config: &FileConfig, open: Option<File>, lines: &str) -> io::Result<File> {
    let path = &config.path;
    let mut file = match open {
        Some(file) if is_there(&file, path) => file,
        _ => begin(path)?,
    };
    let mut length = file.metadata()?.len();
    if config.rotate_bytes.is_some_and(|most| length > 0 && length + lines.len() as u64 > most) {
        set_aside(path, config.keep)?;
        (file, length) = (begin(path)?, 0);
    }
    let written = file.write_all(lines.as_bytes());
    let written = written.and_then(|()| if config.sync { file.sync_data() } else { Ok(()) });
    if let Err(error) = written {
        // A part of a line is no line. Should this fail too, the next process that opens it does it.
        let _ = file.set_len(length);
        return Err(error);
    }
    Ok(file)
}

/// Whether the file that is open is still the one of that name.
fn is_there(file: &File, path: &Path) -> bool {
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let both = (file.metadata().map(place), fs::metadata(path).map(place));
    matches!(both, (Ok(open), Ok(named)) if open == named)
}

/// Opens a file at its end, and takes back what somebody could not write whole.
fn begin(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    let whole = whole_lines(&mut file, length)?;
    if whole < length {
        file.set_len(whole)?;
    }
    // The name must be as durable as the lines.
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

/// How many bytes of a file are whole lines.
fn whole_lines(file: &mut File, length: u64) -> io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        let mut block = vec![];
        (&mut *file).take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// `audit.jsonl` becomes `audit.jsonl.1`, that `audit.jsonl.2` and so on; what is too many is removed.
fn set_aside(path: &Path, keep: u32) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    if keep == 0 {
        return gone(fs::remove_file(path));
    }
    for number in (1..keep).rev() {
        gone(fs::rename(numbered(number), numbered(number + 1)))?;
    }
    gone(fs::rename(path, numbered(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: &Path, rotate_bytes: Option<u64>, keep: u32) -> FileConfig {
        FileConfig { path: path.to_owned(), sync: true, rotate_bytes, keep }
    }

    #[test]
    fn what_was_cut_off_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit/events.jsonl");
        let check = |before: &str, after: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, before).unwrap();
            append(&config(&path, None, 0), None, "new\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after, "{before:?}");
        };
        check("", "new\n");
        check("a\n", "a\nnew\n");
        check("a\nb", "a\nnew\n");
        check("b", "new\n");
        let long = "x".repeat(200_000);
        check(&format!("a\n{long}"), "a\nnew\n");
        check(&format!("{long}\n"), &format!("{long}\nnew\n"));
    }

    #[test]
    fn a_file_is_set_aside_when_it_is_large() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e");
        let (config, mut open) = (config(&path, Some(8), 2), None);
        for line in ["1234\n", "12\n", "x\n", "a line that is longer\n", "y\n"] {
            open = Some(append(&config, open, line).unwrap());
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!(read("e").as_deref(), Some("y\n"));
        assert_eq!(read("e.1").as_deref(), Some("a line that is longer\n"));
        assert_eq!(read("e.2").as_deref(), Some("x\n"));
        assert_eq!(read("e.3"), None);
    }

    #[test]
    fn a_file_that_somebody_took_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e");
        let config = config(&path, None, 0);
        let open = append(&config, None, "one\n").unwrap();
        fs::rename(&path, folder.path().join("taken")).unwrap();
        append(&config, Some(open), "two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
