//! The program, killed 200 times in the middle of its work.

use std::process::Command;

#[test]
fn a_killed_program_keeps_what_it_showed_and_repeats_nothing_unsafe() {
    let started = Command::new(env!("CARGO_BIN_EXE_crash")).args(["--runs", "200"]).output();
    let ran = started.expect("the crash loop starts");
    let said = [ran.stdout, ran.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(ran.status.success(), "{}{}", said[0], said[1]);
    assert!(said[0].contains("200 kills in"), "{}", said[0]);
}
