//! Acts on one bucket, one after the other.

use ringfence_sdk::memory as buckets;
use ringfence_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Memory {
    scope: String,
    acts: Vec<Act>,
    /// What to do after all acts.
    #[serde(default)]
    end: End,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Act {
    Get(String),
    Set(String, String),
    /// A value of so many bytes.
    Fill(String, usize),
    Delete(String),
    Increment(String, u64),
    Exists(String),
    List,
    GetMany(Vec<String>),
    /// Says it in the log.
    Say(String),
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum End {
    #[default]
    Return,
    Fail,
    Panic,
    Spin,
}

/// Does the acts and says what came of each.
#[tool(effect = "unsafe")]
pub(crate) fn memory(args: Memory) -> Result<String> {
    let bucket = match buckets::open(&args.scope) {
        Ok(bucket) => bucket,
        Err(error) => return Ok(format!("error: {error}")),
    };
    let said: Vec<String> = args
        .acts
        .iter()
        .map(|act| one(&bucket, act).unwrap_or_else(|error| format!("error: {error}")))
        .collect();
    match args.end {
        End::Return => Ok(said.join("; ")),
        End::Fail => Err(Error::failed(said.join("; "))),
        End::Panic => panic!("{}", said.join("; ")),
        End::Spin => loop {
            std::hint::black_box(&said);
        },
    }
}

fn one(bucket: &buckets::Bucket, act: &Act) -> std::result::Result<String, buckets::Error> {
    let text = |value: Option<Vec<u8>>| match value {
        None => "none".to_owned(),
        Some(value) => String::from_utf8_lossy(&value).into_owned(),
    };
    Ok(match act {
        Act::Get(key) => text(bucket.get(key)?),
        Act::Set(key, value) => bucket.set(key, value).map(|()| "set".to_owned())?,
        Act::Fill(key, bytes) => bucket.set(key, vec![b'x'; *bytes]).map(|()| "set".to_owned())?,
        Act::Delete(key) => bucket.delete(key).map(|()| "deleted".to_owned())?,
        Act::Increment(key, delta) => bucket.increment(key, *delta)?.to_string(),
        Act::Exists(key) => bucket.exists(key)?.to_string(),
        Act::List => {
            let keys: std::result::Result<Vec<String>, _> = bucket.list_keys().collect();
            keys?.join(",")
        }
        Act::Say(text) => {
            ringfence_sdk::log::info(text);
            "said".to_owned()
        }
        Act::GetMany(keys) => {
            bucket.get_many(keys)?.into_iter().map(text).collect::<Vec<_>>().join(",")
        }
    })
}
