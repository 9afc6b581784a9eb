//! The operating system's keyring: on Linux the kernel's own, which needs no service to run and no
//! library to be there.

use keyring_core::{Error, api::CredentialStoreApi as _};
use linux_keyutils_keyring_store::Store;
use ringfence_event::{SecretFault, SecretPlace};
use zeroize::Zeroizing;

use crate::SecretSource;

/// The source behind `keyring = "…", account = "…"`: the key `keyring:ACCOUNT@SERVICE` of type
/// `user`, as `keyctl add user keyring:ACCOUNT@SERVICE VALUE @u` makes it. The kernel forgets its
/// keys when the machine restarts.
pub struct Keyring;

impl SecretSource for Keyring {
    fn read(&self, place: &SecretPlace) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
        let SecretPlace::Keyring { service, account } = place else {
            return Err(SecretFault::NotOffered);
        };
        let fault = |error: Error| match error {
            Error::NoEntry => SecretFault::Missing,
            _ => SecretFault::Unreadable,
        };
        let store = Store::new().map_err(fault)?;
        let entry = store.build(service, account, None).map_err(fault)?;
        entry.get_secret().map(Zeroizing::new).map_err(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel without keys, or one that keeps them from a container, is a fault like any other.
    #[test]
    fn what_is_in_the_keyring_is_read_as_it_is_now() {
        let account = format!("test-{}", std::process::id());
        let place =
            SecretPlace::Keyring { service: "ringfence-vault".into(), account: account.clone() };
        let read = || Keyring.read(&place).map(|value| value.to_vec());
        let entry = Store::new().unwrap().build("ringfence-vault", &account, None);
        let Ok(entry) = entry else {
            assert_eq!(read(), Err(SecretFault::Unreadable));
            return;
        };
        if entry.set_secret(b"correct horse").is_err() {
            assert!(matches!(read(), Err(SecretFault::Unreadable | SecretFault::Missing)));
            return;
        }
        assert_eq!(read(), Ok(b"correct horse".to_vec()));
        entry.set_secret(b"battery staple").unwrap();
        assert_eq!(read(), Ok(b"battery staple".to_vec()));
        entry.delete_credential().unwrap();
        assert_eq!(read(), Err(SecretFault::Missing));
    }
}
