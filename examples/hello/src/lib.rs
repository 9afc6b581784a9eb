//! A tool in 25 lines.
use ringfence_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
struct Greet {
    /// Whom to greet.
    name: String,
}

/// Greets somebody by name.
#[tool(effect = "pure")]
fn greet(args: Greet) -> Result<String> {
    Ok(format!("Hello, {}!", args.name))
}

ringfence_sdk::export!(greet);
