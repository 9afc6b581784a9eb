//! What no permit of this version opens: sockets and configuration.

use ringfence_sdk::prelude::*;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::{tcp_create_socket, udp_create_socket};

mod bindings {
    #![allow(missing_docs, clippy::allow_attributes_without_reason, reason = "generated")]
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "package test:probe; world shut { import wasi:config/store@0.2.0-rc.1; }",
        world: "test:probe/shut",
        generate_all,
    });
}

use bindings::wasi::config::store;

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
        What::Config => return format!("{:?}", store::get(&args.name)),
        What::AllConfig => return format!("{:?}", store::get_all()),
    };
    match tried {
        Ok(()) => "done".to_owned(),
        Err(code) => format!("error: {}", code.name()),
    }
}
