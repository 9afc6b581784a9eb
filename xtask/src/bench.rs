//! `bench` and `load`: the numbers, under a heading that says on which machine they were measured.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::Result;

use crate::command::{c_compiler, cargo, output, program, root, run};
use crate::guests;
use crate::metadata::Workspace;

/// What asks for the comparison with other projects, which come from PyPI.
const PEERS: &str = "--peers";

/// The parts of the service under load, as the benchmark program has them.
const LOAD: &[&str] =
    &["load-calls", "load-streams", "load-overload", "load-neighbour", "load-soak"];

/// `load`: the same program, of which the parts that take minutes are asked for.
pub(crate) fn load(arguments: &[String]) -> Result<()> {
    let named: Vec<String> = arguments.iter().map(|part| format!("load-{part}")).collect();
    let all = || LOAD.iter().map(|part| (*part).to_owned()).collect();
    bench(&if named.is_empty() { all() } else { named })
}

pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    let (asked, mut parts): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|word| *word == PEERS);
    let peers = root().join("target/peers");
    if !asked.is_empty() {
        install_peers(&peers)?;
        // That alone, if nothing else is named.
        parts.push("peers");
    }
    c_compiler()?;
    guests::guests()?;
    let package = ["--package", "ringfence-tests", "--bin", "bench"];
    // The program too: how long it takes from its start to a first result is one of the numbers.
    let ringfence = ["--package", "ringfence-cli", "--bin", "ringfence"];
    run(cargo(["build", "--release"]).args(package).args(ringfence))?;
    print!("{}", machine());
    // As it was built: cargo would build it again with the features of this one package.
    let bench = Workspace::load()?.target.join("release/bench");
    run(&mut program(bench, parts))
}

/// A Python of its own with what we are compared with, below the build.
fn install_peers(folder: &Path) -> Result<()> {
    let wanted = root().join("tests/bench/peers/requirements.txt");
    let python = folder.join("bin/python");
    if !python.exists() {
        run(program("python3", ["-m", "venv"]).arg(folder))?;
    }
    run(program(python, ["-m", "pip", "install", "--quiet", "--requirement"]).arg(wanted))
}

/// Processor, kernel, compiler and date; what this machine does not tell is `unknown`.
fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| model_name(&text));
    let processor = processor.or_else(|| said("sysctl", &["-n", "machdep.cpu.brand_string"]));
    let cores = thread::available_parallelism().map(|cores| cores.to_string());
    let facts = [
        ("processor", processor),
        ("cores", cores.ok()),
        ("kernel", said("uname", &["-srm"])),
        ("compiler", said("rustc", &["--version"])),
        ("revision", said("git", &["describe", "--always", "--dirty"])),
        ("date", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
    ];
    facts
        .into_iter()
        .map(|(name, fact)| format!("{name:<10} {}\n", fact.unwrap_or("unknown".to_owned())))
        .collect()
}

fn model_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn said(name: &str, arguments: &[&str]) -> Option<String> {
    let said = output(&mut program(name, arguments.iter().copied())).ok()?;
    Some(said.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_found_among_the_rest() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nflags\t\t: fpu\n";
        assert_eq!(model_name(cpuinfo).as_deref(), Some("Some CPU @ 2.0GHz"));
        assert_eq!(model_name("processor\t: 0\n"), None);
    }

    #[test]
    fn every_fact_has_its_line() {
        let machine = machine();
        for fact in ["processor", "cores", "kernel", "compiler", "revision", "date"] {
            assert!(machine.lines().any(|line| line.starts_with(fact)), "{fact}: {machine}");
        }
    }
}
