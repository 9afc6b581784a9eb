//! Sockets as ordinary code has them, by its language's own library.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
};

use ringfence_sdk::{log, prelude::*};

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Sockets {
    act: Act,
    /// `HOST:PORT`, for some acts several of them.
    to: Vec<String>,
    #[serde(default)]
    text: String,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Act {
    /// Connects to each, sends the text, and says what comes back.
    Connect,
    /// Resolves each.
    Resolve,
    /// Connects to the first and reads what comes without sending anything.
    Read,
    /// Connects to the first and sends the text over and over.
    Flood,
    /// Connects to the first over and over, and keeps all connections.
    Hoard,
    /// Sends the text to each, from one socket, naming the peer with each datagram, and waits for as
    /// many answers.
    Send,
    /// The same with a socket that has only the first as its peer.
    Peer,
    /// Waits for a datagram of anybody.
    Receive,
    /// Listens at the first.
    Listen,
    /// Binds a socket for datagrams to the first.
    Bind,
}

/// Tries it, and says what came of it.
#[tool(effect = "unsafe")]
pub(crate) fn sockets(args: Sockets) -> String {
    match attempt(&args) {
        Ok(said) => said,
        Err(error) => format!("error: {:?}", error.kind()),
    }
}

fn attempt(args: &Sockets) -> io::Result<String> {
    let first = args.to.first().map_or("", String::as_str);
    let text = args.text.as_bytes();
    let mut said = Vec::new();
    match args.act {
        Act::Connect => {
            for to in &args.to {
                said.push(exchange(to, text).unwrap_or_else(|error| format!("{:?}", error.kind())));
            }
        }
        Act::Resolve => {
            for to in &args.to {
                said.push(match to.to_socket_addrs() {
                    Ok(found) => found.map(|found| found.to_string()).collect::<Vec<_>>().join(" "),
                    Err(error) => format!("{:?}", error.kind()),
                });
            }
        }
        Act::Read => {
            let mut read = String::new();
            TcpStream::connect(first)?.read_to_string(&mut read)?;
            said.push(read);
        }
        Act::Flood => {
            let mut stream = TcpStream::connect(first)?;
            loop {
                stream.write_all(text)?;
            }
        }
        Act::Hoard => {
            let mut kept = Vec::new();
            loop {
                kept.push(TcpStream::connect(first)?);
            }
        }
        Act::Send => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            for to in &args.to {
                said.push(match socket.send_to(text, to) {
                    Ok(_) => {
                        let mut answer = [0; 2048];
                        let (count, _) = socket.recv_from(&mut answer)?;
                        String::from_utf8_lossy(&answer[..count]).into_owned()
                    }
                    Err(error) => format!("{:?}", error.kind()),
                });
            }
        }
        Act::Peer => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(first)?;
            socket.send(text)?;
            let mut answer = [0; 2048];
            let count = socket.recv(&mut answer)?;
            said.push(String::from_utf8_lossy(&answer[..count]).into_owned());
        }
        Act::Receive => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            log::info(socket.local_addr()?.port());
            let (count, from) = socket.recv_from(&mut [0; 2048])?;
            said.push(format!("{count} from {from}"));
        }
        Act::Listen => said.push(TcpListener::bind(first)?.local_addr()?.ip().to_string()),
        Act::Bind => said.push(UdpSocket::bind(first)?.local_addr()?.ip().to_string()),
    }
    Ok(said.join("\n"))
}

fn exchange(to: &str, text: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    stream.write_all(text)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
