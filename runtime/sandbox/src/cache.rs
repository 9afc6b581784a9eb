//! Compiled code on disk, by the component's digest and the engine's settings. A compiled file is
//! machine code that runs outside the sandbox, so it is loaded only if this host made it: each is
//! authenticated with a key that only this home folder has, checked in memory, and then loaded from
//! the bytes that were checked.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ringfence_event::Digest;

use crate::Error;

/// What a compiled file begins with: its own version, apart from the engine's.
const MAGIC: &[u8; 8] = b"rfcwasm1";
const MAC: usize = 32;
const HEAD: usize = MAGIC.len() + MAC;

/// Compiled code that this host made, in the memory in which that was checked.
pub(crate) struct Authentic(Vec<u8>);

impl Authentic {
    pub(crate) fn code(&self) -> &[u8] {
        // Only `Cache::get` makes one, of a file that is longer than its head.
        self.0.get(HEAD..).unwrap_or_default()
    }
}

/// The compiled-code cache of one home folder and one engine.
pub(crate) struct Cache {
    folder: PathBuf,
    settings: Digest,
    key: [u8; 32],
}

impl Cache {
    /// Opens the cache in `folder`, which is made if it is not there.
    pub(crate) fn open(folder: &Path, settings: Digest) -> Result<Self, Error> {
        let error = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Cache { path, source }
        };
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(folder).map_err(error(folder))?;
        let path = folder.join("key");
        let key = match read_key(&path) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => make_key(&path),
            read => read,
        };
        Ok(Self { folder: folder.to_owned(), settings, key: key.map_err(error(&path))? })
    }

    /// The compiled code of a component, if it is there and this host made it.
    pub(crate) fn get(&self, component: Digest) -> Option<Authentic> {
        let file = fs::read(self.path(component)).ok()?;
        let (magic, rest) = file.split_at_checked(MAGIC.len())?;
        let (mac, code) = rest.split_at_checked(MAC)?;
        let mac: [u8; MAC] = mac.try_into().ok()?;
        // blake3's hashes compare in constant time.
        if magic != MAGIC || self.mac(component, code) != blake3::Hash::from_bytes(mac) {
            return None;
        }
        Some(Authentic(file))
    }

    /// Keeps the compiled code of a component. Written aside and moved into place, so that nobody
    /// reads half of it.
    pub(crate) fn put(&self, component: Digest, code: &[u8]) -> Result<(), Error> {
        let path = self.path(component);
        let aside = aside(&path).map_err(|source| Error::Cache { path: path.clone(), source })?;
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&aside)?;
            file.write_all(MAGIC)?;
            file.write_all(self.mac(component, code).as_bytes())?;
            file.write_all(code)?;
            fs::rename(&aside, &path)
        };
        write().map_err(|source| {
            // Nothing half-done stays behind; what failed is reported below.
            let _ = fs::remove_file(&aside);
            Error::Cache { path: path.clone(), source }
        })
    }

    fn path(&self, component: Digest) -> PathBuf {
        let settings = &self.settings.hex()[..16];
        self.folder.join(format!("{}-{settings}.cwasm", component.hex()))
    }

    fn mac(&self, component: Digest, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(self.settings.as_bytes()).update(component.as_bytes()).update(code);
        hasher.finalize()
    }
}

/// A name that no other thread or process writes to, and none that died has left.
fn aside(path: &Path) -> io::Result<PathBuf> {
    let unique = getrandom::u64().map_err(io::Error::other)?;
    Ok(path.with_extension(format!("{unique:016x}.new")))
}

fn read_key(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = fs::File::open(path)?;
    let mut key = [0; 32];
    file.read_exact(&mut key)?;
    Ok(key)
}

/// Makes the key. Two processes may try at once: one links its file into place, the other reads it.
fn make_key(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let aside = aside(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(&key)?;
    file.sync_all()?;
    let linked = fs::hard_link(&aside, path);
    fs::remove_file(&aside)?;
    match linked {
        Err(there) if there.kind() == io::ErrorKind::AlreadyExists => read_key(path),
        Err(error) => Err(error),
        Ok(()) => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(folder: &Path, settings: &str) -> Cache {
        Cache::open(folder, Digest::of(settings.as_bytes())).unwrap()
    }

    /// X5: only what this home's key signed, for these settings and this component, comes back.
    #[test]
    fn x5_only_what_this_host_made_is_loaded() {
        let home = tempfile::tempdir().unwrap();
        let ours = cache(home.path(), "a");
        let component = Digest::of(b"component");
        let code = |cache: &Cache| cache.get(component).map(|found| found.code().to_vec());
        ours.put(component, b"code").unwrap();
        assert_eq!(code(&ours), Some(b"code".to_vec()));
        assert_eq!(code(&cache(home.path(), "a")), Some(b"code".to_vec()));
        assert_eq!(code(&cache(home.path(), "b")), None, "other settings");

        let path = ours.path(component);
        let good = fs::read(&path).unwrap();
        let check = |what: &str, bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            assert_eq!(code(&ours), None, "{what}");
        };
        for bit in [0, 8 * 8, HEAD * 8, good.len() * 8 - 1] {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            check(&format!("bit {bit} flipped"), &bad);
        }
        check("cut", &good[..good.len() - 1]);
        check("empty", b"");
        check("longer", &[&good[..], b"x"].concat());
        let other = Digest::of(b"other");
        fs::write(ours.path(other), &good).unwrap();
        assert_eq!(
            ours.get(other).map(|found| found.code().to_vec()),
            None,
            "moved to another component"
        );

        let elsewhere = tempfile::tempdir().unwrap();
        let theirs = cache(elsewhere.path(), "a");
        theirs.put(component, b"evil").unwrap();
        fs::copy(theirs.path(component), &path).unwrap();
        assert_eq!(code(&ours), None, "made with another key");
        fs::write(&path, &good).unwrap();
        assert!(code(&ours).is_some());
    }
}
