//! One request.

use ringfence_sdk::http::{Method, Request};
use ringfence_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Http {
    #[serde(default = "get")]
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
    /// How often.
    #[serde(default = "once")]
    times: u32,
}

fn get() -> String {
    "GET".to_owned()
}

fn once() -> u32 {
    1
}

/// Sends the request and returns the last status with its body, or the error.
#[tool(effect = "unsafe")]
pub(crate) fn http(args: Http) -> String {
    let mut said = String::new();
    for _ in 0..args.times {
        let method = match args.method.as_str() {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            other => Method::Other(other.to_owned()),
        };
        let mut request = Request::new(method, args.url.as_str());
        for (name, value) in &args.headers {
            request = request.header(name.as_str(), value.as_str());
        }
        if let Some(body) = &args.body {
            request = request.body(body.as_str());
        }
        said = match request.send() {
            Err(error) => format!("error: {error}"),
            Ok(response) => {
                let location = response.headers.get("location").unwrap_or_default().to_owned();
                let status = response.status;
                match response.body.text(1 << 20) {
                    Ok(text) => format!("{status} {location}{text}"),
                    Err(error) => format!("{status} error: {error}"),
                }
            }
        };
    }
    said
}
