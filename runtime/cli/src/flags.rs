//! The flags that give a call something: roots, origins, memory, and limits.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use ringfence::{
    event::{Access, RootName, Scope},
    policy::{Bytes, ConfigKey, Count, FlagGrants, Fuel, LimitTable, Millis},
};

use crate::failure::Usage;

/// What a call is given on the command line.
#[derive(Clone, Debug, Args)]
pub(crate) struct CallFlags {
    /// Give a folder as a root, read-only or with `:rw` for writing; `scratch` or `scratch:rw` gives
    /// one that is made for the call and removed with it
    #[arg(long, value_name = "NAME=DIR[:rw]", value_parser = root, help_heading = "Grants")]
    fs: Vec<RootFlag>,
    /// Give an origin, such as https://api.github.com
    #[arg(long, value_name = "URL", help_heading = "Grants")]
    http: Vec<String>,
    /// Give a memory bucket: session, user, agent or tenant, with `:rw` for writing
    #[arg(long, value_name = "SCOPE[:rw]", value_parser = bucket, help_heading = "Grants")]
    bucket: Vec<(Scope, Access)>,

    /// Work of tool and host together, such as 10M
    #[arg(long, value_name = "UNITS", help_heading = "Limits")]
    fuel: Option<Fuel>,
    /// Memory and tables, such as 64MiB
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    memory: Option<Bytes>,
    /// Time on the clock, such as 2s
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    time: Option<Millis>,
    /// Output, such as 1MiB
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    output: Option<Bytes>,
    /// Log records and what is printed, such as 64KiB
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    logs: Option<Bytes>,
    /// What is sent to the network, such as 1MiB
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    egress: Option<Bytes>,
    /// Files, requests and the like held at one time, such as 64
    #[arg(long, value_name = "COUNT", value_parser = count, help_heading = "Limits")]
    handles: Option<Count>,
    /// HTTP requests, such as 8
    #[arg(long, value_name = "COUNT", value_parser = count, help_heading = "Limits")]
    requests: Option<Count>,
    /// What is written to memory buckets, such as 64KiB
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    storage: Option<Bytes>,
    /// Random bytes, such as 4KiB
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    random: Option<Bytes>,
    /// What one host call takes out of the tool, such as 8MiB
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    lift: Option<Bytes>,
}

/// `--fs`
#[derive(Clone, Debug)]
pub(crate) struct RootFlag {
    name: RootName,
    /// `None` for `scratch`.
    folder: Option<PathBuf>,
    access: Access,
}

impl CallFlags {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        let limits = self.limits();
        self.fs.is_empty()
            && self.http.is_empty()
            && self.bucket.is_empty()
            && limits == LimitTable::default()
    }

    /// What they give.
    ///
    /// # Errors
    /// When a folder is none.
    pub(crate) fn grants(&self) -> Result<FlagGrants> {
        let (mut fs, mut scratch) = (vec![], None);
        for RootFlag { name, folder, access } in &self.fs {
            match folder {
                None if scratch.is_some() => {
                    return Err(Usage::error("--fs scratch is given twice"));
                }
                None => scratch = Some(*access),
                Some(folder) if folder.is_dir() => {
                    fs.push((name.clone(), folder.clone(), *access));
                }
                Some(folder) => {
                    let folder = folder.display();
                    let message = format!("--fs {name}={folder}: there is no such folder");
                    return Err(Usage::error(message));
                }
            }
        }
        Ok(FlagGrants {
            fs,
            scratch,
            http: self.http.clone(),
            memory: self.bucket.clone(),
            limits: self.limits(),
        })
    }

    fn limits(&self) -> LimitTable {
        LimitTable {
            fuel: self.fuel,
            memory: self.memory,
            time: self.time,
            output: self.output,
            logs: self.logs,
            egress: self.egress,
            handles: self.handles,
            requests: self.requests,
            storage: self.storage,
            random: self.random,
            lift: self.lift,
        }
    }
}

fn root(text: &str) -> Result<RootFlag, String> {
    let example = "such as workspace=./src, or workspace=./src:rw";
    let (word, of_scratch) = access(text);
    if word == RootName::scratch().as_str() {
        return Ok(RootFlag { name: RootName::scratch(), folder: None, access: of_scratch });
    }
    let (name, folder) = text.split_once('=').ok_or(format!("write NAME=DIR, {example}"))?;
    let (folder, access) = access(folder);
    if folder.is_empty() {
        return Err(format!("the folder is missing: write NAME=DIR, {example}"));
    }
    let name: RootName = name.parse().map_err(|error| format!("{error}"))?;
    if name.is_scratch() {
        return Err("the root `scratch` is the call's own: write scratch, or scratch:rw".to_owned());
    }
    Ok(RootFlag { name, folder: Some(folder.into()), access })
}

fn bucket(text: &str) -> Result<(Scope, Access), String> {
    let (word, access) = access(text);
    let scope = Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
    let scope = scope.ok_or("write session, user, agent or tenant, such as user or user:rw")?;
    Ok((scope, access))
}

fn access(text: &str) -> (&str, Access) {
    match text.strip_suffix(":rw") {
        Some(text) => (text, Access::Write),
        None => (text.strip_suffix(":ro").unwrap_or(text), Access::Read),
    }
}

fn count(text: &str) -> Result<Count, &'static str> {
    text.parse().map(Count).map_err(|_| "write a whole number, such as 32")
}

/// An idempotency key: what fits into a header of HTTP.
pub(crate) fn key(text: &str) -> Result<String, &'static str> {
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned()).ok_or("write 1 to 255 letters, digits and signs without spaces")
}

/// `--root NAME=PATH`
pub(crate) fn root_path(text: &str) -> Result<(RootName, String), String> {
    let example = "such as workspace=./src";
    match text.split_once('=') {
        Some((name, path)) if !path.is_empty() => {
            let name = name.parse().map_err(|error| format!("{error}"))?;
            Ok((name, path.to_owned()))
        }
        _ => Err(format!("write NAME=PATH, {example}")),
    }
}

/// `--value KEY=VALUE`
pub(crate) fn value(text: &str) -> Result<(ConfigKey, String), String> {
    let example = "such as base-url=https://example.com";
    let (key, value) = text.split_once('=').ok_or(format!("write KEY=VALUE, {example}"))?;
    Ok((key.parse().map_err(|error| format!("{error}"))?, value.to_owned()))
}

/// A time, in milliseconds.
pub(crate) fn time(text: &str) -> Result<u64, String> {
    text.parse::<Millis>().map(|time| time.0).map_err(|error| error.to_string())
}
