//! Lists, reads, writes, edits, makes, moves, removes and globs files in the roots of a call.
//!
//! It knows no policy: what may be touched, the host decides, and every path it did not open is
//! an error like any other.

mod arrange;
mod edit;
mod fault;
mod glob;
mod list;
mod read;
mod tree;
mod write;

ringfence_sdk::export!(
    list::list,
    glob::glob,
    read::read,
    write::write,
    edit::edit,
    arrange::make,
    arrange::relocate,
    arrange::remove,
);
