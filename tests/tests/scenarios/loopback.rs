//! A web server on loopback, for tools that fetch.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
};

/// Serves one page to everybody until the test is over; keeps the request lines.
pub(crate) struct Web {
    pub(crate) origin: String,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

pub(crate) fn serve(page: &'static str) -> Web {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let requests = Arc::<Mutex<Vec<String>>>::default();
    let seen = requests.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
            if let Some(Ok(line)) = lines.next() {
                seen.lock().expect("nobody panicked").push(line);
            }
            // Up to the empty line; what a GET says after it is nothing.
            for line in lines.by_ref().map_while(Result::ok) {
                if line.is_empty() {
                    break;
                }
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\n";
            let length = page.len();
            let answer =
                format!("{head}content-length: {length}\r\nconnection: close\r\n\r\n{page}");
            // A client that went away has no use for the answer.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    Web { origin, requests }
}
