//! What host work costs, in units of fuel, so that one budget covers the guest's work and the
//! host's on its behalf.
//!
//! The scale: compiled guests spend about ten units a nanosecond, so a price is the time of the act
//! in nanoseconds, times ten, rounded up. It is charged before the act. `cargo xtask bench host-work`
//! prints what each act takes beside what is paid for it, and what guests spend.

/// Units of fuel that stand for a nanosecond.
pub const UNITS_PER_NS: u64 = 10;

/// Any host function: crossing the boundary, copying arguments, the bookkeeping itself (60–80 ns).
pub const HOST_CALL: u64 = 1_000;
/// A system call on an open file: stat, seek, read or write apart from its bytes (1 µs).
pub const FILE_CALL: u64 = 10_000;
/// Resolving a path and opening, creating, moving or removing what is there (3 µs).
pub const PATH_CALL: u64 = 30_000;
/// One directory entry (0.3 µs).
pub const DIRECTORY_ENTRY: u64 = 3_000;
/// Making a file durable (200 µs and more of a device that others wait for).
pub const SYNC: u64 = 2_000_000;
/// A byte read from or written to a file or a bucket: copied twice (0.2 ns).
pub const BYTE: u64 = 2;
/// A byte from or to the network: copied, framed, encrypted (1 ns).
pub const NETWORK_BYTE: u64 = 10;
/// A byte of a compressed body, looked at by a decoder (20 ns where it is all tables and no text).
pub const CODED_BYTE: u64 = 200;
/// A byte that came out of a decoder: copied twice, summed (2 ns).
pub const DECODED_BYTE: u64 = 20;
/// A decoder, new for each body and for each member of one: its window is cleared (5 µs).
pub const DECODER: u64 = 50_000;
/// An HTTP request or a connection of a socket, apart from the bytes: policy, resolving, a
/// connection's share (100 µs).
pub const HTTP_REQUEST: u64 = 1_000_000;
/// Any function of `wasi:http` but the request itself: header fields of at most 64 KiB and some nine
/// hundred in number are copied, checked, made anew (5 µs for what is usual).
pub const HTTP_CALL: u64 = 50_000;
/// Resolving a name (100 µs of the host's own work; the waiting costs time).
pub const NAME_LOOKUP: u64 = 1_000_000;
/// A system call on a socket: making one, binding it, reading or writing apart from the bytes, one
/// datagram (5 µs).
pub const SOCKET_CALL: u64 = 50_000;
/// One act on a memory bucket: a query of the store (20 µs).
pub const BUCKET_CALL: u64 = 200_000;
/// A configuration value apart from its bytes: a look-up, and where there is none the denial of it
/// (3 µs).
pub const CONFIG_CALL: u64 = 30_000;
/// A log record, a printed line or a note apart from its bytes: an event of the journal, folded,
/// stored and shown (10 µs).
pub const NOTE: u64 = 100_000;
/// A byte that is logged or printed: copied, split into lines, looked at for what must not be shown
/// (6 ns).
pub const TEXT_BYTE: u64 = 60;
/// A random byte (1 ns).
pub const RANDOM_BYTE: u64 = 10;
