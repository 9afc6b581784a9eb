//! The host's side of `wit/`: what is upstream's is mapped to upstream, what is ours is generated.

#![allow(missing_docs, reason = "generated from wit/, where each item is documented")]
#![allow(unreachable_pub, unused_qualifications, clippy::all, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "ringfence:tool/tool",
    imports: {
        default: trappable,
        "wasi:filesystem/types.[method]descriptor.sync": async | trappable,
        "wasi:filesystem/types.[method]descriptor.sync-data": async | trappable,
        "wasi:keyvalue/store.[method]bucket.get": async | trappable,
        "wasi:keyvalue/store.[method]bucket.set": async | trappable,
        "wasi:keyvalue/store.[method]bucket.delete": async | trappable,
        "wasi:keyvalue/store.[method]bucket.exists": async | trappable,
        "wasi:keyvalue/store.[method]bucket.list-keys": async | trappable,
        "wasi:keyvalue/atomics.increment": async | trappable,
        "wasi:keyvalue/batch.get-many": async | trappable,
        "wasi:keyvalue/batch.set-many": async | trappable,
        "wasi:keyvalue/batch.delete-many": async | trappable,
    },
    exports: { default: async },
    trappable_error_type: {
        "wasi:filesystem/types.error-code" => crate::host::filesystem::Error,
    },
    with: {
        "wasi:io": wasmtime_wasi::p2::bindings::io,
        "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
        "wasi:random": wasmtime_wasi::p2::bindings::random,
        "wasi:cli": wasmtime_wasi::p2::bindings::cli,
        "wasi:sockets/network": wasmtime_wasi::p2::bindings::sockets::network,
        "wasi:sockets/instance-network": wasmtime_wasi::p2::bindings::sockets::instance_network,
        "wasi:sockets/tcp": wasmtime_wasi::p2::bindings::sockets::tcp,
        "wasi:sockets/tcp-create-socket": wasmtime_wasi::p2::bindings::sockets::tcp_create_socket,
        "wasi:sockets/udp": wasmtime_wasi::p2::bindings::sockets::udp,
        "wasi:sockets/udp-create-socket": wasmtime_wasi::p2::bindings::sockets::udp_create_socket,
        "wasi:sockets/ip-name-lookup.resolve-address-stream": crate::host::sockets::Lookup,
        "wasi:http": wasmtime_wasi_http::p2::bindings::http,
        "wasi:filesystem/types.descriptor": ringfence_capability::fs::Node,
        "wasi:filesystem/types.directory-entry-stream": ringfence_capability::fs::Entries,
        "wasi:keyvalue/store.bucket": crate::host::keyvalue::Bucket,
    },
    require_store_data_send: true,
});
