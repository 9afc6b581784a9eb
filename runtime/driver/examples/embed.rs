//! An agent within a program of one's own: a runtime, a tool, a run and its events.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use ringfence::{Agent, Caller, Cancel, Config, Input, Runtime};

const AGENT: &str = r#"
name = "greeter"
model = { use = "main" }
instructions = "Greet whoever is named."

[tools]
hello = "*"
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The operator's file: models, tenants, and what each tenant's tools may do.
    let runtime = Runtime::open(Config::load("ringfence.toml".as_ref())?)?;
    let caller = Caller::local();
    // From now on this tool is this component; another one is refused until it is accepted.
    runtime.accept(&caller, "../hello".as_ref()).await?;

    let agent = Agent::parse("greeter", AGENT)?;
    let input = Input::new("Greet Ann.");
    let mut show = |event: &ringfence::event::Event| {
        println!("{:>3} {}", event.seq, event.body.kind());
    };
    let ended = runtime.run(&caller, &agent, input, &Cancel::new(), &mut show).await?;
    println!("{}", ended.answer.unwrap_or_default());
    Ok(())
}
