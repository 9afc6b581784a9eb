//! Connections: used again, closed when nobody waits any more.

use std::sync::Arc;

use ringfence_event::ModelFailureClass;
use ringfence_model::{Deltas, Model, VendorProtocol::OpenAiChat};
use tokio::sync::Notify;

use super::{
    ask, hello, model,
    server::{Answer, End, Server},
};

fn part(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

fn stream(text: &str, end: End) -> Answer {
    let last =
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    Answer::Stream(part(text) + last, usize::MAX, end)
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let failed = Answer::Whole("503 No", String::new(), "{}".into());
    let server = Server::new(vec![stream("a", End::Whole), failed, stream("b", End::Whole)]);
    let model = model(OpenAiChat, &server.url());
    assert_eq!(ask(&model, &hello()).await.unwrap().text, "a");
    assert!(ask(&model, &hello()).await.is_err());
    assert_eq!(ask(&model, &hello()).await.unwrap().text, "b");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_that_does_not_hang_up_is_not_waited_for() {
    let server = Server::new(vec![stream("a", End::Silence)]);
    let reply = ask(&model(OpenAiChat, &server.url()), &hello()).await.unwrap();
    assert_eq!(reply.text, "a");
    closed(server).await;
}

/// Waits until the server has seen a connection go, while the client's side goes on.
async fn closed(server: Server) {
    tokio::task::spawn_blocking(move || server.closed.recv().unwrap()).await.unwrap();
}

/// Says when it hears something.
struct Bell(Arc<Notify>);

impl Deltas for Bell {
    fn text(&self, part: &str) {
        assert_eq!(part, "half");
        self.0.notify_one();
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_closes_its_connection() {
    let server = Server::new(vec![Answer::Stream(part("half"), usize::MAX, End::Silence)]);
    let model = model(OpenAiChat, &server.url());
    let heard = Arc::new(Notify::new());
    let bell = Bell(heard.clone());
    let request = hello();
    tokio::select! {
        ended = model.complete(&request, &bell) => panic!("{ended:?}"),
        () = heard.notified() => {}
    }
    closed(server).await;
}

#[tokio::test]
async fn what_follows_a_connection_that_broke_is_asked_over_another() {
    let half = Answer::Stream(part("half"), usize::MAX, End::Cut);
    let server = Server::new(vec![half, stream("a", End::Whole)]);
    let model = model(OpenAiChat, &server.url());
    let error = ask(&model, &hello()).await.unwrap_err();
    assert_eq!(error.failure.class, ModelFailureClass::Cut);
    assert_eq!(ask(&model, &hello()).await.unwrap().text, "a");
    assert_eq!(server.connections(), 2);
}
