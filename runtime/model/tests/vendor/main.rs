//! Models behind HTTP, against servers on loopback that speak as the vendors publish it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod connections;
mod failures;
mod replies;
mod requests;
mod server;
mod tls;

use std::{sync::Mutex, time::Duration};

use ringfence_event::{Message, ModelReply, ModelRequest, Parameters, ProposedCall};
use ringfence_model::{
    Deltas, KeySource, Model, ModelError, TokenLimits, VendorConfig, VendorModel, VendorProtocol,
};

const KEY: &str = "sk-correct-horse";

const PROTOCOLS: [VendorProtocol; 3] =
    [VendorProtocol::OpenAiChat, VendorProtocol::OpenAiResponses, VendorProtocol::Anthropic];

fn config(protocol: VendorProtocol, url: &str) -> VendorConfig {
    VendorConfig {
        protocol,
        url: url.parse().unwrap(),
        name: "the-model".into(),
        key: None,
        // Long enough for the slowest machine: what is to run into it gets less.
        time: Duration::from_secs(600),
        idle: Duration::from_secs(600),
    }
}

fn model(protocol: VendorProtocol, url: &str) -> VendorModel {
    let key = KeySource::new(|| Ok(KEY.as_bytes().to_vec().into()));
    VendorModel::new(&config(protocol, url), TokenLimits::default(), key)
}

fn request(messages: Vec<Message>) -> ModelRequest {
    ModelRequest {
        model: "main".parse().unwrap(),
        instructions: "Be brief.".into(),
        functions: vec![].into(),
        messages: messages.into_iter().map(Into::into).collect(),
        parameters: Parameters::default(),
    }
}

fn hello() -> ModelRequest {
    request(vec![Message::User { text: "hello".into() }])
}

fn proposed(id: &str, function: &str, arguments: &str) -> ProposedCall {
    ProposedCall { id: id.into(), function: function.into(), arguments: arguments.into() }
}

/// What was said piece by piece.
#[derive(Default)]
struct Heard(Mutex<String>);

impl Deltas for Heard {
    fn text(&self, part: &str) {
        self.0.lock().unwrap().push_str(part);
    }
}

/// Asks a model, which must say the same piece by piece as in the end.
async fn ask(model: &VendorModel, request: &ModelRequest) -> Result<ModelReply, ModelError> {
    let heard = Heard::default();
    let reply = model.complete(request, &heard).await;
    if let Ok(reply) = &reply {
        assert_eq!(*heard.0.lock().unwrap(), reply.text);
    }
    reply
}
