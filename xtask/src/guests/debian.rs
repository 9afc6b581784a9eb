//! The last way to compile guests, for a machine that reaches Debian's archive but not rustup's:
//! Debian's own compiler, unpacked and never installed, builds the standard library from source, and
//! the linker of the toolchain in use makes the component.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::TARGET;
use super::toolchain::require;
use crate::command::{cargo, output, program, root, run, sysroot};

/// The compiler, the standard library's source and the C library below it.
const PACKAGES: &[&str] = &["rustc-web", "rust-web-src", "wasi-libc"];

/// The parts of those packages' dependencies that a compiler needs and a machine that has rustup may
/// not have; everything else is there on any Debian that can compile.
const PARTS: &[&str] = &["libstd-rust-web", "libllvm"];

/// What Debian's compiler, 1.85, still calls unstable and the tree uses: syntax and parts of `core`.
const EVERYWHERE: &[&str] = &["let_chains", "slice_as_chunks", "unsigned_is_multiple_of"];

/// The same in parts of `std`, for the crates of this workspace; some of the others are without it.
/// What 1.85 does not have at all cannot be turned on: a guest that needs it is out of reach.
const HERE: &[&str] = &["io_error_more", "vec_pop_if"];

/// Debian's compiler, ready to use.
pub(super) struct Debian {
    rustc: PathBuf,
    /// Where the compiler's own shared libraries are.
    libraries: PathBuf,
    /// Runs the compiler with [`EVERYWHERE`].
    wrapper: PathBuf,
    /// Runs the compiler with [`HERE`] too.
    workspace_wrapper: PathBuf,
    linker: PathBuf,
    wasm_ld: PathBuf,
}

pub(super) fn folder() -> PathBuf {
    root().join("target/wasip2-fallback")
}

/// It builds apart: in one folder, each compiler would throw away what the other one built.
pub(super) fn target_folder() -> PathBuf {
    folder().join("build")
}

impl Debian {
    /// Downloads and unpacks what is not there yet.
    pub(super) fn unpack() -> Result<Self> {
        require(&["apt-get", "apt-cache", "dpkg-deb"])?;
        let linkers = linkers()?;
        let linker = linkers.join("wasm-component-ld");
        let wasm_ld = linkers.join("gcc-ld/wasm-ld");
        for linker in [&linker, &wasm_ld] {
            if !linker.exists() {
                bail!("the toolchain in use has no linker for components: {}", linker.display());
            }
        }

        let unpacked = folder().join("root");
        let done = folder().join("unpacked");
        if !done.exists() {
            download(&unpacked)?;
            fs::write(&done, "").with_context(|| done.display().to_string())?;
        }
        let usr = unpacked.join("usr");
        self_contained(&usr)?;
        let wrapper = wrapper("rustc-wrapper", EVERYWHERE)?;
        let workspace_wrapper = self::wrapper("rustc-workspace-wrapper", HERE)?;
        let libraries = libraries(&usr.join("lib"))?;
        let rustc = usr.join("bin/rustc");
        Ok(Self { rustc, libraries, wrapper, workspace_wrapper, linker, wasm_ld })
    }

    pub(super) fn cargo(&self) -> Command {
        let mut cargo = cargo(["build", "-Z", "build-std=std,panic_abort"]);
        // Debian's compiler is older than what the manifests promise; whether it understands the
        // code all the same is for it to say.
        cargo.arg("--ignore-rust-version");
        let wasm_ld = format!("-Clink-arg=--wasm-ld-path={}", self.wasm_ld.display());
        cargo
            .env("CARGO_TARGET_DIR", target_folder())
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1") // `build-std` is unstable
            .env("RUSTC_WRAPPER", &self.wrapper)
            .env("RUSTC_WORKSPACE_WRAPPER", &self.workspace_wrapper)
            .env("LD_LIBRARY_PATH", &self.libraries)
            .env("CARGO_TARGET_WASM32_WASIP2_LINKER", &self.linker)
            .env("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", wasm_ld);
        cargo
    }
}

/// The folder of the linkers that come with the toolchain in use, whatever its targets.
fn linkers() -> Result<PathBuf> {
    let version = output(&mut program("rustc", ["-vV"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say which machine it is for")?;
    Ok(sysroot()?.join("lib/rustlib").join(host).join("bin"))
}

fn download(unpacked: &Path) -> Result<()> {
    let packages = folder().join("packages");
    fs::create_dir_all(&packages).with_context(|| packages.display().to_string())?;
    let names = with_parts()?;
    let names = names.iter().map(String::as_str);
    run(program("apt-get", ["download"]).args(names).current_dir(&packages))
        .context("Debian's packages cannot be downloaded; `apt-get update` may be due")?;
    for package in fs::read_dir(&packages)? {
        run(program("dpkg-deb", ["-x"]).arg(package?.path()).arg(unpacked))?;
    }
    Ok(())
}

/// [`PACKAGES`] and the [`PARTS`] that they depend on, directly or through each other.
fn with_parts() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut waiting: Vec<String> = PACKAGES.iter().map(|name| (*name).to_owned()).collect();
    while let Some(name) = waiting.pop() {
        let depends = output(&mut program("apt-cache", ["depends", &name]))
            .with_context(|| format!("apt knows no package {name}; `apt-get update` may be due"))?;
        names.insert(name);
        waiting.extend(parts(&depends).filter(|part| !names.contains(part)));
    }
    Ok(names)
}

/// The parts in what `apt-cache depends` prints.
fn parts(depends: &str) -> impl Iterator<Item = String> {
    let depends = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    depends.filter(|name| PARTS.iter().any(|part| name.starts_with(part))).map(str::to_owned)
}

/// Puts the C library where the compiler looks for what a target brings along.
fn self_contained(usr: &Path) -> Result<()> {
    let from = usr.join("lib/wasm32-wasi");
    let to = usr.join("lib/rustlib").join(TARGET).join("lib/self-contained");
    fs::create_dir_all(&to).with_context(|| to.display().to_string())?;
    for object in fs::read_dir(&from).with_context(|| from.display().to_string())? {
        let object = object?;
        let to = to.join(object.file_name());
        if !to.exists() {
            fs::copy(object.path(), &to).with_context(|| to.display().to_string())?;
        }
    }
    Ok(())
}

/// The folder, named after the machine, that holds the compiler's driver.
fn libraries(lib: &Path) -> Result<PathBuf> {
    for folder in fs::read_dir(lib).with_context(|| lib.display().to_string())? {
        let folder = folder?.path();
        let Ok(files) = fs::read_dir(&folder) else { continue };
        let mut names = files.flatten().map(|file| file.file_name());
        if names.any(|name| name.to_string_lossy().starts_with("librustc_driver")) {
            return Ok(folder);
        }
    }
    bail!("no librustc_driver below {}: delete that folder to download again", lib.display())
}

/// Writes a program that runs the compiler with features turned on, except for the standard library,
/// which turns on its own.
fn wrapper(name: &str, features: &[&str]) -> Result<PathBuf> {
    let path = folder().join(name);
    let features: Vec<String> =
        features.iter().map(|feature| format!("'-Zcrate-attr=feature({feature})'")).collect();
    let features = features.join(" ");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*/rustlib/src/*) exec \"$@\" ;;\n\
         *) exec \"$@\" {features} ;;\nesac\n"
    );
    fs::write(&path, script).with_context(|| path.display().to_string())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_compilers_parts_are_taken() {
        let printed = "libstd-rust-web-1.85\n  Depends: libc6\n  Depends: libllvm19\n  \
                       Conflicts: libllvm18\n  Depends: libstd-rust-web-1.85\n";
        let parts: Vec<_> = parts(printed).collect();
        assert_eq!(parts, ["libllvm19", "libstd-rust-web-1.85"]);
    }
}
