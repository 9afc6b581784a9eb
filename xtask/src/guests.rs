//! `guests`: every component of the workspace, built once and put where manifests and tests find it:
//! `target/guest/NAME.wasm` below the root, wherever cargo itself builds.

mod debian;
mod toolchain;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::{root, run};
use crate::metadata::{Package, Workspace};

/// What guests are compiled for.
const TARGET: &str = "wasm32-wasip2";

/// The cargo profile of the root manifest that makes components small.
const PROFILE: &str = "guest";

/// What the name of a first-party tool's package starts with; its file goes without.
const TOOL_PREFIX: &str = "ringfence-tool-";

pub(crate) fn guests() -> Result<()> {
    let workspace = Workspace::load()?;
    let guests: Vec<&Package> = workspace.members().filter(|package| package.is_guest()).collect();
    let toolchain = toolchain::find()?;
    let built = toolchain.target_folder(&workspace).join(TARGET).join(PROFILE);
    let mut failed = Vec::new();
    // The fallback's compiler is old: what one guest needs of a newer one must not cost the others.
    let together = if toolchain.is_fallback() { 1 } else { guests.len().max(1) };
    for group in guests.chunks(together) {
        let mut cargo = toolchain.cargo();
        cargo.args(["--profile", PROFILE, "--target", TARGET]);
        for guest in group {
            cargo.args(["--package", &guest.name]);
        }
        match run(&mut cargo) {
            Ok(()) => group.iter().try_for_each(|guest| copy(guest, &built))?,
            Err(_) if toolchain.is_fallback() => failed.push(group[0].name.as_str()),
            Err(error) => return Err(error),
        }
    }
    if !failed.is_empty() {
        bail!(
            "Debian's compiler is too old for {}; they need the target from rustup: `rustup target \
             add {TARGET}` on a machine that reaches its server, or a copy of that toolchain",
            failed.join(", ")
        );
    }
    Ok(())
}

/// Copies a guest's component to where it is looked for, and says so.
fn copy(guest: &Package, built: &Path) -> Result<()> {
    let library = guest.component().context("a guest without a component")?;
    let from = built.join(format!("{}.wasm", library.name.replace('-', "_")));
    let folder = root().join("target/guest");
    let to = folder.join(format!("{}.wasm", short_name(&guest.name)));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let bytes = fs::read(&from).with_context(|| from.display().to_string())?;
    let written = replace(&bytes, &to).with_context(|| to.display().to_string())?;
    let end = if written { "new" } else { "unchanged" };
    let shown = to.strip_prefix(root()).unwrap_or(&to);
    eprintln!("{:>8} KiB  {end:<9}  {}", bytes.len().div_ceil(1024), shown.display());
    Ok(())
}

fn short_name(package: &str) -> &str {
    package.strip_prefix(TOOL_PREFIX).unwrap_or(package)
}

/// Writes the file unless it already says so: an untouched file keeps its time, and whoever watches
/// it stays quiet. Returns whether it wrote.
fn replace(bytes: &[u8], to: &Path) -> Result<bool> {
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    // Written beside it and renamed, so that a test that reads meanwhile sees the old or the new.
    let beside = to.with_extension(format!("{}.part", std::process::id()));
    fs::write(&beside, bytes)?;
    fs::rename(&beside, to)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_goes_by_its_short_name() {
        assert_eq!(short_name("ringfence-tool-files"), "files");
        assert_eq!(short_name("hello"), "hello");
    }

    #[test]
    fn the_same_component_is_not_written_again() {
        let folder = std::env::temp_dir().join(format!("xtask-guests-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.wasm");
        assert!(replace(b"one", &file).unwrap());
        assert!(!replace(b"one", &file).unwrap());
        assert!(replace(b"two", &file).unwrap());
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no part is left behind");
        fs::remove_dir_all(&folder).unwrap();
    }
}
