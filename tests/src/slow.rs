//! A file system whose server can keep its clients waiting, as one of a network can: a real one, over
//! `/dev/fuse`, with one folder.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::fd::AsRawFd as _,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use tempfile::TempDir;

/// The nodes: the folder, a file that is read and written, and one that nobody hears of until
/// [`Slow::answer`].
const FOLDER: u64 = 1;
const FILE: u64 = 2;
const HANGS: u64 = 3;
const NAMES: [(&str, u64); 2] = [("a.txt", FILE), ("hangs.txt", HANGS)];

/// A request begins with 40 bytes that are the same for all, an answer with 16: see `linux/fuse.h`.
const HEADER: usize = 40;
/// More than the largest request there is.
const REQUEST_MAX: usize = 1 << 18;

/// The file system, mounted; no longer when it is dropped.
pub struct Slow {
    folder: TempDir,
    server: Arc<Server>,
    /// Hears of each request that is kept waiting.
    held: Mutex<Receiver<()>>,
}

struct Server {
    device: File,
    text: Mutex<Vec<u8>>,
    answers: AtomicBool,
    /// Those that wait: their numbers.
    waiting: Mutex<Vec<u64>>,
    held: Sender<()>,
}

impl Slow {
    /// Mounts it, or says why that cannot be done here: it takes the device, and the right to mount.
    pub fn mount() -> Result<Self, String> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = device.map_err(|error| format!("/dev/fuse: {error}"))?;
        // The program that mounts it gets it too.
        fcntl_setfd(&device, FdFlags::empty()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let (held, hears) = channel();
        let server = Arc::new(Server {
            device,
            text: Mutex::new(b"hello".to_vec()),
            answers: AtomicBool::new(false),
            waiting: Mutex::default(),
            held,
        });
        let over = Arc::new(AtomicBool::new(false));
        let (serving, refused) = (server.clone(), over.clone());
        // Before it is mounted: who mounts may look at it.
        thread::spawn(move || serving.serve(&refused));
        let mounted = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o", &options, "ringfence-slow"])
            .arg(folder.path())
            .output();
        let said = match mounted {
            Ok(output) if output.status.success() => {
                return Ok(Self { folder, server, held: Mutex::new(hears) });
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        over.store(true, SeqCst);
        Err(format!("mount: {said}"))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until somebody is kept waiting.
    pub fn holds(&self) {
        self.held.lock().unwrap().recv().unwrap();
    }

    /// Answers whoever waits, and everybody from now on.
    pub fn answer(&self) {
        self.server.answers.store(true, SeqCst);
        for unique in self.server.waiting.lock().unwrap().drain(..) {
            self.server.reply(unique, 0, b"late");
        }
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.answer();
        // Whoever still has something open keeps it, and nobody else sees it.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

/// The numbers of a request in their order.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.0[at..at + 8].try_into().unwrap())
    }
}

impl Server {
    fn serve(&self, over: &AtomicBool) {
        let mut request = vec![0; REQUEST_MAX];
        loop {
            match (&self.device).read(&mut request) {
                Ok(length) => self.handle(&request[..length]),
                // Not mounted yet, or not any more.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
                    if over.load(SeqCst) {
                        return;
                    }
                    thread::yield_now();
                }
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => return,
                // A request that was taken back while it was read.
                Err(_) => {}
            }
        }
    }

    fn handle(&self, request: &[u8]) {
        let head = Fields(request);
        let (code, unique, node) = (head.u32(4), head.u64(8), head.u64(16));
        let body = &request[HEADER..];
        let of_body = Fields(body);
        match code {
            // Looking up a name.
            1 => {
                let name = body.split(|byte| *byte == 0).next().unwrap();
                let found = NAMES.iter().find(|(known, _)| known.as_bytes() == name);
                match found {
                    Some((_, node)) => self.reply(unique, 0, &self.entry(*node)),
                    None => self.reply(unique, Errno::NOENT.raw_os_error(), &[]),
                }
            }
            // Forgetting, and taking a request back, are not answered.
            2 | 36 | 42 => {}
            // Asking for attributes, or setting them.
            3 | 4 => {
                // A new length: bit 3 of what is valid.
                if code == 4 && of_body.u32(0) & 8 != 0 {
                    self.text.lock().unwrap().resize(of_body.u64(16) as usize, 0);
                }
                let attributes = [&[0; 16][..], &self.attributes(node)].concat();
                self.reply(unique, 0, &attributes);
            }
            // Opening a file, or a folder. Nothing is to be kept by the kernel.
            14 | 27 => self.reply(unique, 0, &[&[0; 8][..], &[1, 0, 0, 0], &[0; 4]].concat()),
            15 if node == HANGS && !self.answers.load(SeqCst) => {
                self.waiting.lock().unwrap().push(unique);
                // Nobody may be there to hear it any more.
                let _ = self.held.send(());
            }
            15 if node == HANGS => {
                self.reply(unique, 0, if of_body.u64(8) == 0 { b"late" } else { b"" });
            }
            15 => {
                let text = self.text.lock().unwrap().clone();
                let from = text.len().min(of_body.u64(8) as usize);
                let to = text.len().min(from + of_body.u32(16) as usize);
                self.reply(unique, 0, &text[from..to]);
            }
            // Writing.
            16 => {
                let (at, length) = (of_body.u64(8) as usize, of_body.u32(16) as usize);
                let mut text = self.text.lock().unwrap();
                let end = text.len().max(at + length);
                text.resize(end, 0);
                text[at..at + length].copy_from_slice(&body[40..40 + length]);
                drop(text);
                self.reply(unique, 0, &[(length as u32).to_ne_bytes(), [0; 4]].concat());
            }
            // What the file system is like.
            17 => self.reply(unique, 0, &[0; 80]),
            // The first request: version 7.31, and no wishes.
            26 => {
                let mut said = [0; 64];
                said[..4].copy_from_slice(&7_u32.to_ne_bytes());
                said[4..8].copy_from_slice(&31_u32.to_ne_bytes());
                // The most that is written at once.
                said[20..24].copy_from_slice(&(1_u32 << 16).to_ne_bytes());
                self.reply(unique, 0, &said);
            }
            // The entries of the folder, all at once.
            28 if of_body.u64(8) == 0 => {
                let mut entries = Vec::new();
                for (place, (name, node)) in (1_u64..).zip(NAMES) {
                    entries.extend(node.to_ne_bytes());
                    entries.extend(place.to_ne_bytes());
                    entries.extend((name.len() as u32).to_ne_bytes());
                    entries.extend(8_u32.to_ne_bytes());
                    entries.extend(name.bytes());
                    entries.resize(entries.len().next_multiple_of(8), 0);
                }
                self.reply(unique, 0, &entries);
            }
            // The end of them; closing; making durable.
            18 | 20 | 25 | 28 | 29 | 30 => self.reply(unique, 0, &[]),
            _ => self.reply(unique, Errno::NOSYS.raw_os_error(), &[]),
        }
    }

    fn entry(&self, node: u64) -> Vec<u8> {
        [&node.to_ne_bytes()[..], &[0; 32], &self.attributes(node)].concat()
    }

    fn attributes(&self, node: u64) -> [u8; 88] {
        let size = match node {
            FILE => self.text.lock().unwrap().len() as u64,
            HANGS => 4,
            _ => 0,
        };
        let mode: u32 = if node == FOLDER { 0o40_755 } else { 0o100_644 };
        let mut said = [0; 88];
        said[..8].copy_from_slice(&node.to_ne_bytes());
        said[8..16].copy_from_slice(&size.to_ne_bytes());
        said[60..64].copy_from_slice(&mode.to_ne_bytes());
        said[64..68].copy_from_slice(&1_u32.to_ne_bytes());
        said
    }

    fn reply(&self, unique: u64, error: i32, body: &[u8]) {
        let length = (16 + body.len()) as u32;
        let head = [length.to_ne_bytes(), (-error).to_ne_bytes()].concat();
        // Whoever asked may have gone.
        let _ = (&self.device).write(&[&head[..], &unique.to_ne_bytes(), body].concat());
    }
}
