//! A guest that tries what it is told to and says what came of it: the errors are the contract's
//! own words. What a call of it may do is the manifest's, the grants' and the limits' business, so
//! one guest serves every test; each names the effect that it wants.
#![expect(clippy::print_stderr, reason = "its last words are what a trap is explained by")]

mod ambient;
mod ask;
mod file;
mod flood;
mod hold;
mod http;
mod memory;
mod repeat;
mod shut;
mod sockets;
mod tell;

ringfence_sdk::export!(
    ambient::ambient,
    ask::ask,
    file::file,
    flood::flood,
    flood::print,
    hold::hold,
    http::http,
    memory::memory,
    repeat::repeat,
    shut::shut,
    sockets::sockets,
    tell::tell,
);
