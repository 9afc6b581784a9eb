//! `bench`: the numbers, under a heading that says on which machine they were measured.

use std::fs;
use std::thread;

use anyhow::Result;

use crate::command::{c_compiler, cargo, output, program, run};
use crate::guests;
use crate::metadata::Workspace;

pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    c_compiler()?;
    guests::guests()?;
    let package = ["--package", "ringfence-tests", "--bin", "bench"];
    // The program too: how long it takes from its start to a first result is one of the numbers.
    let ringfence = ["--package", "ringfence-cli", "--bin", "ringfence"];
    run(cargo(["build", "--release"]).args(package).args(ringfence))?;
    print!("{}", machine());
    // As it was built: cargo would build it again with the features of this one package.
    let bench = Workspace::load()?.target.join("release/bench");
    run(&mut program(bench, arguments.iter().map(String::as_str)))
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
