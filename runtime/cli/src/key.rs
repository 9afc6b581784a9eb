//! `ringfence key`: API keys of the service.

use anyhow::Result;
use ringfence::{
    KeySecret, NewKey, Runtime,
    event::{Key, KeyScope, Timestamp},
};
use serde_json::json;

use crate::{
    args::{Global, KeyVerb},
    config,
    exit::Exit,
    screen::Screen,
    table::Table,
    text::{cut, moment},
};

/// How much of a key's name a list shows.
const CELL_COLUMNS: usize = 24;

/// Makes, lists, ends or replaces keys of a tenant.
pub(crate) async fn key(global: &Global, verb: KeyVerb, screen: &mut Screen) -> Result<Exit> {
    let config = config::load(global)?;
    let caller = config::known_caller(global, &config)?;
    let runtime = Runtime::open(config)?;
    let end = |time: Option<u64>| time.map(|time| Timestamp(runtime.now().0.saturating_add(time)));
    match verb {
        KeyVerb::Create { scope, name, expires } => {
            let expires = end(expires);
            let new = NewKey { user: global.user.clone(), scopes: scope, name, expires };
            let (key, secret) = runtime.create_key(&caller, new).await?;
            show_new(&key, &secret, None, screen);
        }
        KeyVerb::List => list(&runtime.keys(&caller.tenant)?, runtime.now(), screen),
        KeyVerb::Revoke { id } => {
            runtime.revoke_key(&caller, &id).await?;
            match screen.json {
                true => screen.out.json(&json!({ "id": id, "revoked": true })),
                false => screen.out.line(format!("{id} is revoked")),
            }
        }
        KeyVerb::Rotate { id, overlap, expires } => {
            let expires = end(expires);
            let (key, secret) = runtime.rotate_key(&caller, &id, overlap, expires).await?;
            let old = runtime.keys(&caller.tenant)?.into_iter().find(|key| key.id == id);
            show_new(&key, &secret, old.and_then(|old| old.expires), screen);
        }
    }
    Ok(Exit::Done)
}

fn show_new(key: &Key, secret: &KeySecret, old_until: Option<Timestamp>, screen: &mut Screen) {
    if screen.json {
        let shown = json!({ "key": key, "secret": secret.reveal(), "old-until": old_until });
        return screen.out.json(&shown);
    }
    // The secret alone on standard output, so that a script can take it from there.
    screen.out.line(secret.reveal());
    let whose = match &key.user {
        Some(user) => format!("user {user} of tenant {}", key.tenant),
        None => format!("all of tenant {}", key.tenant),
    };
    screen.err.line(format!(
        "key {} for {whose}, to {}; it is not shown again",
        key.id,
        scopes(key)
    ));
    if let (Some(old), Some(until)) = (&key.replaces, old_until) {
        screen.err.line(format!("{old} goes on until {}", moment(until)));
    }
}

fn scopes(key: &Key) -> String {
    let words: Vec<&str> = key.scopes.iter().copied().map(KeyScope::as_str).collect();
    words.join(", ")
}

fn list(keys: &[Key], now: Timestamp, screen: &mut Screen) {
    if screen.json {
        return screen.out.json(&keys);
    }
    if keys.is_empty() {
        return screen.err.line("there are no keys; `ringfence key create --scope run` makes one");
    }
    let mut table = Table::new(&["ID", "NAME", "USER", "SCOPES", "CREATED", "STATUS"]);
    for key in keys {
        let status = match (key.revoked, key.expires) {
            (Some(at), _) => format!("revoked {}", moment(at)),
            (None, Some(end)) if end <= now => format!("expired {}", moment(end)),
            (None, Some(end)) => format!("until {}", moment(end)),
            (None, None) => "valid".to_owned(),
        };
        table.row([
            key.id.to_string(),
            cut(key.name.as_deref().unwrap_or_default(), CELL_COLUMNS),
            key.user.as_ref().map(ToString::to_string).unwrap_or_default(),
            scopes(key),
            moment(key.created),
            status,
        ]);
    }
    table.lines().iter().for_each(|line| screen.out.line(line));
}
