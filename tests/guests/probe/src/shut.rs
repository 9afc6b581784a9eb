//! What most tools never touch: sockets and configuration.

use ringfence_sdk::config;
use ringfence_sdk::prelude::*;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::{tcp_create_socket, udp_create_socket};

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Shut {
    what: What,
    #[serde(default)]
    address: [u8; 4],
    #[serde(default)]
    port: u16,
    /// A host's name, or a configuration key.
    #[serde(default)]
    name: String,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum What {
    Connect,
    Listen,
    Udp,
    Resolve,
    Config,
    AllConfig,
    ConfigForever,
}

/// Tries it, and says what came of it.
#[tool(effect = "unsafe")]
pub(crate) fn shut(args: Shut) -> String {
    let [a, b, c, d] = args.address;
    let address =
        IpSocketAddress::Ipv4(Ipv4SocketAddress { port: args.port, address: (a, b, c, d) });
    let network = instance_network();
    let tcp = || tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4);
    let tried = match args.what {
        What::Connect => tcp().and_then(|tcp| {
            tcp.start_connect(&network, address)?;
            tcp.subscribe().block();
            tcp.finish_connect().map(|_| ())
        }),
        What::Listen => tcp().and_then(|tcp| {
            tcp.start_bind(&network, address)?;
            tcp.finish_bind()?;
            tcp.start_listen()?;
            tcp.finish_listen()
        }),
        What::Udp => udp_create_socket::create_udp_socket(IpAddressFamily::Ipv4).and_then(|udp| {
            udp.start_bind(&network, address)?;
            udp.finish_bind()
        }),
        What::Resolve => resolve_addresses(&network, &args.name).map(|_| ()),
        What::Config => return said(config::get(&args.name)),
        What::AllConfig => {
            let line = |(key, value): &(String, String)| format!("{key}={value}");
            let lines = |all: Vec<_>| all.iter().map(line).collect::<Vec<_>>().join(",");
            return said(config::get_all().map(lines));
        }
        What::ConfigForever => loop {
            // What comes of it does not matter: the fuel runs out.
            let _ = std::hint::black_box(config::get(&args.name));
        },
    };
    match tried {
        Ok(()) => "done".to_owned(),
        Err(code) => format!("error: {}", code.name()),
    }
}

fn said(read: std::result::Result<String, config::Error>) -> String {
    read.unwrap_or_else(|error| format!("error: {error}"))
}
