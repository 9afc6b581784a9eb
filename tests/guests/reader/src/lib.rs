//! Reads a small file in one piece, past the standard library: the same few host calls wherever it
//! runs, none of which WASI's own host hands to another thread.

use ringfence_sdk::prelude::*;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

#[derive(Deserialize, JsonSchema)]
struct Read {
    /// The file, in the first root.
    path: String,
}

/// Reads up to 64 KiB of a file.
#[tool(effect = "read")]
fn read(args: Read) -> Result<String> {
    let failed = |code: ErrorCode| Error::failed(code.name());
    let roots = get_directories();
    let (root, _) = roots.first().ok_or_else(|| Error::failed("no root"))?;
    let file = root
        .open_at(PathFlags::empty(), &args.path, OpenFlags::empty(), DescriptorFlags::READ)
        .map_err(failed)?;
    let (bytes, _) = file.read(1 << 16, 0).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

ringfence_sdk::export!(read);
