//! `fuzz`: the targets of `fuzz/`, each for a while. libFuzzer comes with the crate that binds it and
//! is built by the C++ compiler; the coverage that it steers by is a pass of the stable compiler's
//! own, so that neither a nightly toolchain nor `cargo fuzz` is needed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::{answers, cargo, output, part, program, root, run};

/// For how long each target runs if nothing else is said, in seconds.
const SECONDS: u64 = 60;

/// What `cargo fuzz` gives the compiler, without a sanitizer.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Ccodegen-units=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

pub(crate) fn fuzz(arguments: &[String]) -> Result<()> {
    let (wanted, seconds) = read(arguments)?;
    let all = targets()?;
    let wanted = match wanted {
        None => all,
        Some(target) if all.contains(&target) => vec![target],
        Some(target) => bail!("there is no target `{target}`: the targets are {}", all.join(", ")),
    };
    if !answers("c++", ["--version"]) {
        bail!("libFuzzer needs a C++ compiler, and there is no `c++`: install g++ or clang");
    }
    let host = host()?;
    let folder = root().join("target/fuzz");
    part("building the targets", || {
        let mut build = cargo(["build", "--release", "--manifest-path", "fuzz/Cargo.toml"]);
        // With a target named, what runs while building is not instrumented.
        build.args(["--target", &host, "--target-dir"]).arg(&folder);
        run(build.env("RUSTFLAGS", FLAGS.join(" ")))
    })?;
    for target in &wanted {
        part(&format!("fuzzing {target} for {seconds} s"), || {
            one(&folder, &host, target, seconds)
        })?;
    }
    Ok(())
}

fn one(folder: &Path, host: &str, target: &str, seconds: u64) -> Result<()> {
    let corpus = folder.join("corpus").join(target);
    let found = folder.join("found").join(target);
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let binary = folder.join(host).join("release").join(target);
    let mut fuzzer = program(binary, []);
    fuzzer.arg(format!("-max_total_time={seconds}")).args([
        "-print_final_stats=1",
        // Nothing here has a reason to take ten seconds or two GiB.
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-max_len=8192",
    ]);
    fuzzer.arg(format!("-artifact_prefix={}/", found.display())).arg(&corpus);
    let seeds = root().join("fuzz/seeds").join(target);
    if seeds.is_dir() {
        fuzzer.arg(seeds);
    }
    run(&mut fuzzer)
}

/// `[TARGET] [--seconds N]`, in any order.
fn read(arguments: &[String]) -> Result<(Option<String>, u64)> {
    let (mut target, mut seconds) = (None, SECONDS);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => {
                let given = rest.next().context("`--seconds` needs a number")?;
                let read = given.parse().with_context(|| format!("`{given}` is no number"))?;
                seconds = read;
            }
            flag if flag.starts_with('-') => bail!("there is no flag `{flag}`"),
            name if target.is_none() => target = Some(name.to_owned()),
            name => bail!("one target at a time, or all of them: `{name}` is the second"),
        }
    }
    Ok((target, seconds))
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// The machine that the compiler builds for.
fn host() -> Result<String> {
    let said = output(&mut program("rustc", ["-vV"]))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_in_any_order() {
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            read(&words).map_err(|error| error.to_string())
        };
        let some = |target: &str, seconds| Ok((Some(target.to_owned()), seconds));
        assert_eq!(read(&[]), Ok((None, SECONDS)));
        assert_eq!(read(&["url"]), some("url", SECONDS));
        assert_eq!(read(&["--seconds", "5", "url"]), some("url", 5));
        for wrong in [&["url", "policy"][..], &["--seconds"], &["--seconds", "x"], &["--fast"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_target_is_built() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        let targets = targets().unwrap();
        assert_eq!(targets.len(), manifest.matches("[[bin]]").count());
        for target in targets {
            assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target}");
        }
    }
}
