//! Files of the host that nobody but their owner may open.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
};

use ringfence_event::{SecretFault, SecretPlace};
use rustix::{fs::OFlags, process::geteuid};
use zeroize::Zeroizing;

use crate::{SecretSource, secret::SECRET_BYTES_MAX};

/// The source behind `file = "…"`: a regular file of this user's or the administrator's, closed to
/// everybody else. What is checked is what was opened, links followed. One newline at its end is no
/// part of the secret.
pub struct Files;

/// Bits of a mode by which others than the owner get in.
const OTHERS: u32 = 0o077;

impl SecretSource for Files {
    fn read(&self, place: &SecretPlace) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
        let SecretPlace::File { path } = place else { return Err(SecretFault::NotOffered) };
        // A FIFO would wait for its writer otherwise.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
        let opened = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path);
        let file = opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => SecretFault::Missing,
            _ => SecretFault::Unreadable,
        })?;
        let status = file.metadata().map_err(|_| SecretFault::Unreadable)?;
        if !status.is_file() {
            return Err(SecretFault::NotRegular);
        }
        let owner = status.uid();
        if status.mode() & OTHERS != 0 || (owner != geteuid().as_raw() && owner != 0) {
            return Err(SecretFault::Exposed);
        }
        // Room for a newline and for the byte that shows that it is too long; never grown, since
        // that would leave a copy behind.
        let room = SECRET_BYTES_MAX + 3;
        let mut value = Zeroizing::new(Vec::with_capacity(room));
        let read = file.take(room as u64).read_to_end(&mut value);
        read.map_err(|_| SecretFault::Unreadable)?;
        if value.last() == Some(&b'\n') {
            value.pop();
            if value.last() == Some(&b'\r') {
                value.pop();
            }
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    #[test]
    fn a_file_is_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let check = |name: &str, expected: Result<&str, SecretFault>| {
            let read = Files.read(&SecretPlace::File { path: folder.path().join(name) });
            let read = read.map(|value| value.to_vec());
            assert_eq!(read, expected.map(|text| text.as_bytes().to_vec()), "{name}");
        };
        check("token", Err(SecretFault::Missing));
        fs::write(&path, "correct horse\r\n").unwrap();
        for (mode, expected) in [
            (0o600, Ok("correct horse")),
            (0o400, Ok("correct horse")),
            (0o640, Err(SecretFault::Exposed)),
            (0o604, Err(SecretFault::Exposed)),
            (0o620, Err(SecretFault::Exposed)),
            (0o602, Err(SecretFault::Exposed)),
            (0o601, Err(SecretFault::Exposed)),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            check("token", expected);
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        symlink("token", folder.path().join("link")).unwrap();
        symlink("nowhere", folder.path().join("dangling")).unwrap();
        check("link", Ok("correct horse"));
        check("dangling", Err(SecretFault::Missing));
        check("token/below", Err(SecretFault::Missing));
        check(".", Err(SecretFault::NotRegular));
        let pipe = folder.path().join("pipe");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, rustix::fs::Mode::RUSR, 0).unwrap();
        check("pipe", Err(SecretFault::NotRegular));
        // One newline is what editors add; a second one is somebody's.
        fs::write(&path, "correct horse\n\n").unwrap();
        check("token", Ok("correct horse\n"));
        fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        let read = Files.read(&SecretPlace::File { path: path.clone() }).map(|value| value.len());
        assert_eq!(read, Ok(SECRET_BYTES_MAX + 3));
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
            check("token", Err(SecretFault::Exposed));
        }
    }
}
