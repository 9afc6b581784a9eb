//! A network in which names lead where a test says, and public addresses lead to this machine.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use ringfence_capability::{memory::BoxFuture, network::Network};
use ringfence_event::TenantId;
use tokio::net::TcpStream;

/// What names lead to, and what was asked and connected to.
#[derive(Default)]
pub struct Internet {
    answers: Mutex<BTreeMap<String, VecDeque<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
    connected: Mutex<Vec<SocketAddr>>,
}

impl Internet {
    /// One in which no name leads anywhere.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The next answer for a name; the last one is given again and again. No address at all stands for
    /// an answer that never comes.
    #[must_use]
    pub fn answer(self: Arc<Self>, name: &str, addresses: &[&str]) -> Arc<Self> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.answers.lock().unwrap().entry(name.to_owned()).or_default().push_back(addresses);
        self
    }

    /// The names that were resolved since the last time.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// The addresses that requests were to go to since the last time.
    #[must_use]
    pub fn connected(&self) -> Vec<String> {
        let connected = std::mem::take(&mut *self.connected.lock().unwrap());
        connected.iter().map(ToString::to_string).collect()
    }
}

impl Network for Internet {
    fn resolve<'a>(
        &'a self,
        _: &'a TenantId,
        name: &'a str,
    ) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let Some(answers) = answers.get_mut(name) else {
            return Box::pin(async { Err(io::ErrorKind::NotFound.into()) });
        };
        let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let next = next.unwrap();
        Box::pin(async move {
            if next.is_empty() {
                std::future::pending::<()>().await;
            }
            Ok(next)
        })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        self.connected.lock().unwrap().push(to);
        Box::pin(TcpStream::connect((Ipv4Addr::LOCALHOST, to.port())))
    }
}
