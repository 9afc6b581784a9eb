//! A signed webhook: a request for each event, in order within a session, again until it is taken.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use ringfence_event::Event;

use super::{Backoff, Report, signature::Key};
use crate::{
    cloudevent::{self, CloudEvent},
    config::WebhookConfig,
    http::Client,
    tail::Tail,
};

/// How many sessions' events are on their way at one time.
const AT_ONCE: usize = 8;
/// How long is waited after the first try that failed, and at the most.
const FIRST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(300);
/// How long a server may ask to be left alone.
const ASKED_MOST: Duration = Duration::from_secs(3600);

/// A server that takes events.
pub(super) struct Webhook {
    config: Arc<WebhookConfig>,
    client: Client,
}

impl Webhook {
    pub(super) fn new(config: WebhookConfig, authorities: &[Vec<u8>]) -> Result<Self, String> {
        let client = Client::new(&config.url, authorities, config.timeout)?;
        Ok(Self { config: Arc::new(config), client })
    }

    /// Sends events, however long it takes; `false` if everything is to end before.
    pub(super) async fn deliver(
        &self,
        events: impl Iterator<Item = &Event>,
        tail: &mut Tail,
        report: &Report<'_>,
    ) -> bool {
        // What belongs to one session goes one after the other; others need not wait for it.
        let mut lists: BTreeMap<String, Vec<&Event>> = BTreeMap::new();
        for event in events {
            lists.entry(event.stream.to_string()).or_default().push(event);
        }
        if lists.is_empty() {
            return true;
        }
        let mut lists = lists.into_values();
        let mut sending = FuturesUnordered::new();
        for list in lists.by_ref().take(AT_ONCE) {
            sending.push(self.send_list(list, report));
        }
        let sending = async move {
            while sending.next().await.is_some() {
                if let Some(list) = lists.next() {
                    sending.push(self.send_list(list, report));
                }
            }
        };
        let mut sending = std::pin::pin!(sending);
        // Dropped in the middle, what was on its way is sent again by the next process.
        loop {
            tokio::select! {
                () = &mut sending => return true,
                ended = tail.pause(ASKED_MOST) => if ended {
                    let last = tokio::time::timeout(self.config.timeout, &mut sending).await;
                    return last.is_ok();
                },
            }
        }
    }

    async fn send_list(&self, list: Vec<&Event>, report: &Report<'_>) {
        for event in list {
            self.send(event, report).await;
        }
    }

    /// Sends one event until it is taken or given up.
    async fn send(&self, event: &Event, report: &Report<'_>) {
        let made = CloudEvent::of(event);
        let (id, body) = (made.id.clone(), bytes::Bytes::from(made.json()));
        let mut backoff = Backoff::new(FIRST, MOST);
        let mut held_up = None;
        loop {
            let (why, asked) = match self.try_send(&id, body.clone()).await {
                Ok(()) => {
                    drop(held_up);
                    return report.delivered(1);
                }
                Err(failed) => failed,
            };
            if is_older(event, self.config.give_up) {
                return report.dropped(&id, &why);
            }
            held_up.get_or_insert_with(|| report.holds_up());
            report.failed(&why);
            let wait = backoff.wait().max(asked.unwrap_or_default().min(ASKED_MOST));
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends it once. Why it is not taken, and how long the server asks to wait.
    async fn try_send(
        &self,
        id: &str,
        body: bytes::Bytes,
    ) -> Result<(), (String, Option<Duration>)> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut signatures = vec![];
        for secret in &self.config.secrets {
            let value = secret.read().await;
            let value = value.map_err(|fault| (format!("its secret: {fault}"), None))?;
            let key = Key::read(&value).map_err(|why| (format!("its secret: {why}"), None))?;
            signatures.push(key.sign(id, seconds, &body));
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(cloudevent::CONTENT_TYPE));
        for (name, value) in [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signatures.join(" ")),
        ] {
            let value = HeaderValue::from_str(&value);
            headers.insert(name, value.map_err(|error| (error.to_string(), None))?);
        }
        let answer = self.client.post(&self.config.url, headers, body).await;
        let answer = answer.map_err(|why| (why, None))?;
        match answer.status {
            status if status.is_success() => Ok(()),
            // It says that nobody will ever want it. An operator takes the sink out, or mends the server.
            StatusCode::GONE => Err(("it answers that it is gone".to_owned(), Some(ASKED_MOST))),
            status => Err((format!("it answers {status}"), answer.retry_after)),
        }
    }
}

/// Whether an event was recorded longer ago.
fn is_older(event: &Event, age: Duration) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(event.at.0)) > age
}
