//! The host functions, one file an interface. Whatever is linked here is linked for every call;
//! what a call may do with it is its permit's word.

mod config;
mod context;
pub(crate) mod filesystem;
pub(crate) mod http;
pub(crate) mod keyvalue;
pub(crate) mod random;
pub(crate) mod sockets;
pub(crate) mod stdio;
mod streams;

use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{
    WasiView,
    cli::{WasiCli, WasiCliView},
    clocks::{WasiClocks, WasiClocksView},
    p2::bindings::{cli, clocks, io, random as wasi_random, sockets as wasi_sockets},
    sockets::{WasiSockets, WasiSocketsView},
};
use wasmtime_wasi_http::{WasiHttp, WasiHttpView, p2::bindings::http as wasi_http};

use crate::{
    bindings::{ringfence::tool::context as tool_context, wasi},
    state::State,
};

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// The linker of an engine. Interfaces are added one by one: an umbrella of upstream's could bring
/// in what nothing here guards.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;

    tool_context::add_to_linker::<State, HasSelf<State>>(l, State::of_host_function)?;
    io::error::add_to_linker::<State, HasTable>(l, |state| state.ctx().table)?;
    io::poll::add_to_linker::<State, HasTable>(l, |state| state.ctx().table)?;
    io::streams::add_to_linker::<State, HasTable>(l, |state| state.ctx().table)?;
    clocks::wall_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)?;
    clocks::monotonic_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)?;
    wasi_random::random::add_to_linker::<State, HasSelf<State>>(l, State::of_host_function)?;
    wasi_random::insecure::add_to_linker::<State, HasSelf<State>>(l, State::of_host_function)?;
    wasi_random::insecure_seed::add_to_linker::<State, HasSelf<State>>(l, State::of_host_function)?;
    cli::environment::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::exit::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;

    wasi::filesystem::types::add_to_linker::<State, HasSelf<State>>(l, State::of_host_function)?;
    wasi::filesystem::preopens::add_to_linker::<State, HasSelf<State>>(l, State::of_host_function)?;
    wasi_http::types::add_to_linker::<State, WasiHttp>(l, &Default::default(), State::http)?;
    wasi_http::outgoing_handler::add_to_linker::<State, WasiHttp>(l, State::http)?;
    wasi::keyvalue::store::add_to_linker::<State, HasSelf<State>>(l, State::of_host_function)?;
    wasi::keyvalue::atomics::add_to_linker::<State, HasSelf<State>>(l, State::of_host_function)?;
    wasi::keyvalue::batch::add_to_linker::<State, HasSelf<State>>(l, State::of_host_function)?;
    wasi::config::store::add_to_linker::<State, HasSelf<State>>(l, State::of_host_function)?;
    let options = Default::default();
    wasi_sockets::network::add_to_linker::<State, WasiSockets>(l, &options, State::sockets)?;
    wasi_sockets::instance_network::add_to_linker::<State, WasiSockets>(l, State::sockets)?;
    wasi::sockets::ip_name_lookup::add_to_linker::<State, HasSelf<State>>(
        l,
        State::of_host_function,
    )?;
    wasi_sockets::tcp::add_to_linker::<State, HasSelf<State>>(l, State::of_host_function)?;
    wasi_sockets::tcp_create_socket::add_to_linker::<State, HasSelf<State>>(
        l,
        State::of_host_function,
    )?;
    wasi_sockets::udp::add_to_linker::<State, HasSelf<State>>(l, State::of_host_function)?;
    wasi_sockets::udp_create_socket::add_to_linker::<State, HasSelf<State>>(
        l,
        State::of_host_function,
    )?;
    Ok(linker)
}
