//! The power goes: of what was written since the last wait for the disk any part is there, in any order. A real
//! process works on real files while all that it does to them is recorded; from the record come the files
//! as a disk may have kept them, and the store is opened on them.

use std::{
    collections::BTreeMap,
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use ringfence_event::Digest;
use ringfence_store::Store;
use rusqlite::Connection;

use crate::{
    crash::{check, write_one},
    disk::{STORE, run, say, shim},
};

/// How often the power goes; more often by this variable.
const CUTS: &str = "RINGFENCE_TEST_POWER_CUTS";

/// Batches of the process, and after how many of them its log is folded into the file.
const ROUNDS: u64 = 60;
const FOLD: u64 = 11;

/// A disk writes this much or nothing of it.
const SECTOR: usize = 512;

#[test]
#[ignore = "the process that works while it is recorded; started by the test below"]
fn works_until_the_power_goes() {
    let path = PathBuf::from(env::var_os(STORE).expect("only the test below starts this"));
    let store = Store::open(&path).unwrap();
    for round in 0..ROUNDS {
        write_one(&store, round).unwrap();
        say("acknowledged");
        if round % FOLD == FOLD - 1 {
            let other = Connection::open(&path).unwrap();
            other.pragma_update(None, "synchronous", "FULL").unwrap();
            let kind = if round % 2 == 0 { "TRUNCATE" } else { "PASSIVE" };
            other.query_row(&format!("PRAGMA wal_checkpoint({kind})"), [], |_| Ok(())).unwrap();
        }
    }
}

/// One act, as `disk.c` records it.
enum Act {
    /// The process has said that a batch is durable.
    Acknowledged,
    Created(String),
    Written {
        path: String,
        at: usize,
        bytes: Vec<u8>,
    },
    Cut {
        path: String,
        length: usize,
    },
    Synced(String),
    Linked {
        from: String,
        to: String,
    },
    Moved {
        from: String,
        to: String,
    },
    Removed(String),
}

fn acts(log: &[u8]) -> Vec<Act> {
    let (mut rest, mut acts) = (log, vec![]);
    while !rest.is_empty() {
        let (head, behind) = rest.split_at(24);
        let word = |at: usize| {
            usize::try_from(u64::from_ne_bytes(head[at..at + 8].try_into().unwrap())).unwrap()
        };
        let length = u32::from_ne_bytes(head[4..8].try_into().unwrap()) as usize;
        let (at, count) = (word(8), word(16));
        let (path, behind) = behind.split_at(length);
        let (bytes, behind) = behind.split_at(count);
        let path = String::from_utf8(path.to_vec()).unwrap();
        let to = || String::from_utf8(bytes.to_vec()).unwrap();
        acts.push(match head[0] {
            b'A' if to().trim() != "acknowledged" => {
                rest = behind;
                continue;
            }
            b'A' => Act::Acknowledged,
            b'C' => Act::Created(path),
            b'W' => Act::Written { path, at, bytes: bytes.to_vec() },
            b'T' => Act::Cut { path, length: at },
            b'S' => Act::Synced(path),
            b'L' => Act::Linked { to: to(), from: path },
            b'R' => Act::Moved { to: to(), from: path },
            b'U' => Act::Removed(path),
            other => panic!("an act `{other}`"),
        });
        rest = behind;
    }
    acts
}

/// Which waits for the disk count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    All,
    /// As on a disk that lies about files.
    OfFolders,
    /// As in a program that forgets that names are written too.
    OfFiles,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

/// What is certain of a file, and what may have reached the disk since.
#[derive(Clone, Default)]
struct File {
    certain: Vec<u8>,
    since: Vec<Change>,
}

/// A folder, its files, and the names that are certain.
#[derive(Default)]
struct Disk {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    certain: BTreeMap<String, usize>,
    /// A name, and the file that it has since then, if any.
    since: Vec<(String, Option<usize>)>,
}

fn change(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, written) => {
            let end = at + written.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*at..end].copy_from_slice(written);
        }
        Change::Cut(length) => bytes.resize(*length, 0),
    }
}

impl Disk {
    fn act(&mut self, act: &Act, counts: Counts) {
        match act {
            Act::Acknowledged => {}
            Act::Created(path) => {
                self.files.push(File::default());
                self.name(path, Some(self.files.len() - 1));
            }
            Act::Written { path, at, bytes } => {
                self.change(path, Change::Write(*at, bytes.clone()));
            }
            Act::Cut { path, length } => self.change(path, Change::Cut(*length)),
            Act::Linked { from, to } => self.name(to, Some(self.names[from])),
            Act::Moved { from, to } => {
                self.name(to, Some(self.names[from]));
                self.name(from, None);
            }
            Act::Removed(path) => self.name(path, None),
            Act::Synced(path) => match self.names.get(path) {
                Some(file) if counts != Counts::OfFolders => {
                    let File { certain, since } = &mut self.files[*file];
                    since.drain(..).for_each(|each| change(certain, &each));
                }
                None if counts != Counts::OfFiles => {
                    self.certain = self.names.clone();
                    self.since.clear();
                }
                _ => {}
            },
        }
    }

    fn name(&mut self, path: &str, file: Option<usize>) {
        match file {
            Some(file) => drop(self.names.insert(path.to_owned(), file)),
            None => drop(self.names.remove(path)),
        }
        self.since.push((path.to_owned(), file));
    }

    fn change(&mut self, path: &str, change: Change) {
        // Files whose memory is shared by processes are made anew by the next one.
        if let Some(file) = self.names.get(path) {
            self.files[*file].since.push(change);
        }
    }

    /// What is left when the power goes: one of all the ways.
    fn cut(&self, chance: &mut Chance, folder: &Path) {
        let mut names = self.certain.clone();
        for (path, file) in &self.since {
            match file {
                _ if chance.of(2) => {}
                Some(file) => drop(names.insert(path.clone(), *file)),
                None => drop(names.remove(path)),
            }
        }
        for (path, file) in names.iter().filter(|(path, _)| !path.ends_with("-shm")) {
            let name = Path::new(path).file_name().unwrap();
            fs::write(folder.join(name), self.files[*file].left(chance)).unwrap();
        }
    }
}

impl File {
    fn left(&self, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.certain.clone();
        let mut since: Vec<(u64, &Change)> =
            self.since.iter().enumerate().map(|(n, each)| (n as u64, each)).collect();
        // In order, all but the last few, or in any order.
        match chance.below(3) {
            0 => {}
            1 => since.truncate(usize::try_from(chance.below(since.len() as u64 + 1)).unwrap()),
            _ => since.iter_mut().for_each(|(place, _)| *place = chance.below(u64::MAX)),
        }
        since.sort_by_key(|(place, _)| *place);
        let is_whole = chance.of(3);
        for (_, each) in since {
            match each {
                _ if is_whole => change(&mut bytes, each),
                _ if chance.of(3) => {}
                Change::Write(at, written) if chance.of(2) => {
                    let mut done = 0;
                    while done < written.len() {
                        let end = (done + SECTOR - (at + done) % SECTOR).min(written.len());
                        if chance.of(2) {
                            let part = written[done..end].to_vec();
                            change(&mut bytes, &Change::Write(at + done, part));
                        }
                        done = end;
                    }
                }
                _ => change(&mut bytes, each),
            }
        }
        bytes
    }
}

/// Numbers that are the same each time.
struct Chance {
    seed: u64,
    drawn: u64,
}

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.drawn += 1;
        let digest = Digest::of(format!("power {} {}", self.seed, self.drawn).as_bytes());
        u64::from_le_bytes(digest.as_bytes()[..8].try_into().unwrap()) % end
    }

    /// Once in `count` times.
    fn of(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// Lets the power go at one point of the record, and looks at what the store finds.
fn cut(acts: &[Act], seed: u64, counts: Counts) {
    let mut chance = Chance { seed, drawn: 0 };
    let point = usize::try_from(chance.below(acts.len() as u64 + 1)).unwrap();
    let (mut disk, mut acknowledged) = (Disk::default(), 0);
    for act in &acts[..point] {
        acknowledged += u64::from(matches!(act, Act::Acknowledged));
        disk.act(act, counts);
    }
    let home = tempfile::tempdir().unwrap();
    disk.cut(&mut chance, home.path());
    let path = home.path().join("ringfence.db");
    let found = check(&path, acknowledged);
    // And it goes on from there.
    write_one(&Store::open(&path).unwrap(), found).unwrap();
    check(&path, found + 1);
}

#[test]
fn d2_when_the_power_goes_all_that_was_acknowledged_is_there() {
    let home = tempfile::tempdir().unwrap();
    let (shim, folder) = (shim(home.path()), home.path().join("store"));
    fs::create_dir(&folder).unwrap();
    let (path, log) = (folder.join("ringfence.db"), home.path().join("log"));
    let recorded = [
        ("RINGFENCE_TEST_LOG", log.to_str().unwrap()),
        ("RINGFENCE_TEST_FOLDER", folder.to_str().unwrap()),
    ];
    run("power::works_until_the_power_goes", &shim, &path, &recorded);
    let acts = acts(&fs::read(&log).unwrap());
    let said = acts.iter().filter(|act| matches!(act, Act::Acknowledged)).count() as u64;
    assert_eq!(said, ROUNDS);
    let cuts = env::var(CUTS).ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    (0..cuts).for_each(|seed| cut(&acts, seed, Counts::All));
    // The controls: where a wait does not count, this finds what is lost.
    for (name, counts) in [("files", Counts::OfFolders), ("folders", Counts::OfFiles)] {
        let lost =
            |seed: &u64| catch_unwind(AssertUnwindSafe(|| cut(&acts, *seed, counts))).is_err();
        let lost = (0..20).filter(lost).count();
        assert!(lost > 2, "without waits for {name} {lost} of 20 have lost something");
    }
}
