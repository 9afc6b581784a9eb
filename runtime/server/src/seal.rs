//! Cursors: where a list goes on, bound to the list and to whom it was shown. One that was made up,
//! changed, or shown to somebody else is refused.

use std::{fs, io, os::unix::fs::OpenOptionsExt as _, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    keys::Principal,
    problem::{Code, Problem},
};

/// As much of a hash as nobody guesses.
const TAG_BYTES: usize = 16;

/// The secret that cursors are made with: the home's own, so that they outlive a restart.
pub(crate) struct Seal([u8; 32]);

impl Seal {
    /// The seal of a home folder; makes it if there is none.
    pub(crate) fn open(home: &Path) -> io::Result<Self> {
        let path = home.join("cursors.key");
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        // Whole or not at all, and the first one stays: another process may be here at the same time.
        let fresh = home.join(format!("cursors.key.{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        if !path.exists() {
            io::Write::write_all(&mut options.open(&fresh)?, &bytes)?;
            let linked = fs::hard_link(&fresh, &path);
            fs::remove_file(&fresh)?;
            match linked {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let kept = fs::read(&path)?;
        let kept = kept.try_into().map_err(|_| io::Error::other("cursors.key has not 32 bytes"))?;
        Ok(Self(kept))
    }

    #[cfg(test)]
    fn of(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A cursor of a list, for whoever sees it.
    pub(crate) fn cursor(
        &self,
        list: &str,
        for_whom: &Principal,
        place: &impl Serialize,
    ) -> String {
        // Plain data with string keys is always JSON.
        let place = serde_json::to_vec(place).unwrap_or_default();
        let tag = self.tag(list, for_whom, &place);
        URL_SAFE_NO_PAD.encode([&tag[..], &place].concat())
    }

    /// Where a cursor says that the list goes on.
    pub(crate) fn place<T: DeserializeOwned>(
        &self,
        list: &str,
        for_whom: &Principal,
        cursor: &str,
    ) -> Result<T, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok().filter(|bytes| bytes.len() > TAG_BYTES);
        let opened = bytes.and_then(|bytes| {
            let (tag, place) = bytes.split_at(TAG_BYTES);
            let given: [u8; TAG_BYTES] = tag.try_into().ok()?;
            let expected = self.tag(list, for_whom, place);
            is_equal(&given, &expected).then(|| serde_json::from_slice(place).ok())?
        });
        opened.ok_or_else(|| {
            let said = "the cursor is not one that this list has shown you: begin without one";
            Problem::new(Code::BadCursor, said)
        })
    }

    fn tag(&self, list: &str, for_whom: &Principal, place: &[u8]) -> [u8; TAG_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        let user = for_whom.only().map_or("", |user| user.as_str());
        // None of these has a line break in it.
        hasher.update(format!("{list}\n{}\n{user}\n", for_whom.tenant()).as_bytes());
        hasher.update(place);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&hasher.finalize().as_bytes()[..TAG_BYTES]);
        tag
    }
}

/// Takes as long whatever differs.
fn is_equal(a: &[u8; TAG_BYTES], b: &[u8; TAG_BYTES]) -> bool {
    a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringfence::{
        Caller,
        event::{Key, KeyId, Timestamp},
    };

    use super::*;

    fn principal(tenant: &str, user: Option<&str>) -> Principal {
        let user = user.map(|user| user.parse().unwrap());
        let key = Key {
            id: KeyId::from_random([1; 16]),
            tenant: tenant.parse().unwrap(),
            user: user.clone(),
            scopes: vec![],
            name: None,
            created: Timestamp(0),
            expires: None,
            revoked: None,
            replaces: None,
        };
        let caller = Caller {
            tenant: key.tenant.clone(),
            user: user.unwrap_or_else(ringfence::event::UserId::local),
        };
        Principal { key: Arc::new(key), caller }
    }

    #[test]
    fn i12_a_cursor_is_good_where_it_was_shown_and_nowhere_else() {
        let seal = Seal::of([7; 32]);
        let ann = principal("acme", Some("ann"));
        let cursor = seal.cursor("sessions", &ann, &(7, "x"));
        let place = |seal: &Seal, list: &str, whom: &Principal, cursor: &str| {
            seal.place::<(u64, String)>(list, whom, cursor).ok()
        };
        let seen = Some((7, "x".to_owned()));
        assert_eq!(place(&seal, "sessions", &ann, &cursor), seen);
        for (list, whom) in [
            ("approvals", principal("acme", Some("ann"))),
            ("sessions", principal("acme", Some("bob"))),
            ("sessions", principal("acme", None)),
            ("sessions", principal("globex", Some("ann"))),
        ] {
            assert_eq!(place(&seal, list, &whom, &cursor), None, "{list} {whom:?}");
        }
        assert_eq!(place(&Seal::of([8; 32]), "sessions", &ann, &cursor), None);
        for at in 0..cursor.len() {
            let mut forged = cursor.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(place(&seal, "sessions", &ann, &forged), None, "{forged}");
        }
        for other in ["", "x", "AAAA", &cursor[..10], "%%%"] {
            assert_eq!(place(&seal, "sessions", &ann, other), None, "{other}");
        }
    }

    #[test]
    fn a_home_has_one_seal() {
        let home = tempfile::tempdir().unwrap();
        let (one, two) = (Seal::open(home.path()).unwrap(), Seal::open(home.path()).unwrap());
        assert_eq!(one.0, two.0);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
