//! `[model.NAME]` of `ringfence.toml`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::time::Duration;

use ringfence_event::{SecretPlace, TokenUsage};
use ringfence_model::{
    ModelConfig, ModelSource, ModelTable, TokenLimits, VendorConfig, VendorProtocol,
};
use ringfence_policy::ConfigError;
use url::Url;

/// The table at the beginning of a file, which has one error or none.
fn read(text: &str) -> Result<ModelConfig, ConfigError> {
    let table: ModelTable = ringfence_policy::parse_file("f.toml", text)?;
    table.check("f.toml", text, "/etc/ringfence".as_ref())
}

fn vendor(text: &str) -> VendorConfig {
    match read(text).unwrap().source {
        ModelSource::Vendor(vendor) => vendor,
        ModelSource::Script { file } => panic!("{file:?}"),
    }
}

const OPENAI: &str = "protocol = \"openai-chat\"\nname = \"m\"\nkey = { env = \"KEY\" }\n";
const LOCAL: &str = "protocol = \"openai-chat\"\nname = \"m\"\nurl = \"http://127.0.0.1/v1\"\n";

#[test]
fn every_key_is_read() {
    let config = read(
        "protocol = \"openai-responses\"\nurl = \"https://ai.example/v1/\"\nname = \"gpt\"\n\
         key = { keyring = \"ai\", account = \"a\" }\n\
         price = { input = \"2.50/Mtok\", cached-input = \"0.25/Mtok\", output = \"10/Mtok\" }\n\
         output-tokens = 8192\ncontext-tokens = \"400k\"\ntime = \"2min\"\nidle = \"5s\"\n",
    )
    .unwrap();
    assert_eq!(config.limits, TokenLimits { output: Some(8192), context: Some(400_000) });
    let tokens = TokenUsage { input: 2_000_000, cached: 1_000_000, output: 1_000_000 };
    assert_eq!(config.price.unwrap().of(tokens).to_string(), "12.75");
    let ModelSource::Vendor(vendor) = config.source else { panic!("a script") };
    let expected = VendorConfig {
        protocol: VendorProtocol::OpenAiResponses,
        url: Url::parse("https://ai.example/v1/").unwrap(),
        name: "gpt".into(),
        key: Some(SecretPlace::Keyring { service: "ai".into(), account: "a".into() }),
        time: Duration::from_secs(120),
        idle: Duration::from_secs(5),
    };
    assert_eq!(vendor, expected);
}

#[test]
fn what_is_not_said_is_the_vendors_or_ours() {
    let config = read(OPENAI).unwrap();
    assert_eq!((config.price, config.limits), (None, TokenLimits::default()));
    let chat = vendor(OPENAI);
    assert_eq!(chat.url.as_str(), "https://api.openai.com/v1");
    assert_eq!((chat.time, chat.idle), (Duration::from_secs(600), Duration::from_secs(60)));
    let anthropic = OPENAI.replace("openai-chat", "anthropic");
    assert_eq!(vendor(&anthropic).url.as_str(), "https://api.anthropic.com/v1");
    assert_eq!(read(&anthropic).unwrap().limits.output, Some(4096));
    assert_eq!(vendor(LOCAL).key, None);
    let file = OPENAI.replace("env = \"KEY\"", "file = \"key\"");
    assert_eq!(vendor(&file).key, Some(SecretPlace::File { path: "/etc/ringfence/key".into() }));
}

#[test]
fn a_script_has_a_price_and_limits() {
    let config = read(
        "protocol = \"scripted\"\nscript = \"a/b.toml\"\noutput-tokens = 5\n\
         price = { input = \"1/Mtok\", output = \"0.5/Mtok\" }",
    )
    .unwrap();
    assert_eq!(config.source, ModelSource::Script { file: "a/b.toml".into() });
    assert_eq!(config.limits.output, Some(5));
    let price = config.price.unwrap();
    assert_eq!((price.cached_input, price.output.to_string()), (None, "0.50".to_owned()));
}

#[test]
fn where_a_model_may_be() {
    let check = |url: &str, ok: bool| {
        let found = read(&LOCAL.replace("http://127.0.0.1/v1", url));
        assert_eq!(found.is_ok(), ok, "{url}: {found:?}");
    };
    for url in [
        "https://ai.example/v1",
        "https://8.8.8.8",
        "http://localhost:11434/v1",
        "http://10.0.0.5:8000/v1",
        "http://[::1]:8000",
        // Looked at when it is resolved.
        "http://vllm:8000/v1",
    ] {
        check(url, true);
    }
    for url in [
        "http://8.8.8.8/v1",
        "http://169.254.169.254/",
        "ftp://ai.example",
        "https://key@ai.example",
        "https://ai.example/v1?key=x",
        "https://ai.example/v1#x",
        "/v1",
        "",
    ] {
        check(url, false);
    }
}

#[test]
fn mistakes_are_shown_with_their_place() {
    let vendor = |line: &str| format!("{OPENAI}{line}\n");
    let mistakes = [
        "protocol = \"openai\"\n".to_owned(),
        "protocol = \"scripted\"\n".to_owned(),
        "protocol = \"scripted\"\nscript = \"a\"\nurl = \"https://b\"".to_owned(),
        "protocol = \"scripted\"\nscript = \"a\"\nidle = \"1s\"".to_owned(),
        "protocol = \"anthropic\"\nname = \"m\"\n".to_owned(),
        "protocol = \"anthropic\"\nkey = { env = \"A\" }\n".to_owned(),
        vendor("script = \"a\""),
        vendor("url = \"http://8.8.8.8/v1\""),
        vendor("url = \"https://me:secret@ai.example\""),
        vendor("price = { input = \"2.50\", output = \"10/Mtok\" }"),
        vendor("price = { input = \"2.50/Mtok\" }"),
        vendor("price = \"10/Mtok\""),
        vendor("output-tokens = 0"),
        vendor("context-tokens = \"many\""),
        vendor("time = \"0s\""),
        vendor("idle = 5"),
        vendor("temperature = 1"),
        OPENAI.replace("\"m\"", "\"\""),
        OPENAI.replace("env = \"KEY\"", "env = \"KEY_{user}\", user = true"),
        OPENAI.replace("env = \"KEY\"", "value = \"sk-1\""),
    ];
    let shown: Vec<String> = mistakes.iter().map(|text| read(text).unwrap_err().render()).collect();
    insta::assert_snapshot!(shown.join("\n"));
}
