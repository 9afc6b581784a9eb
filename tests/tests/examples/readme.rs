//! A README whose `console` blocks are typed and compared, and whose `sh` blocks are only typed. A word
//! `ID` in a command stands for the session that was begun last.

use std::fs;

use crate::{
    mask::mask,
    stage::{Service, Stage, repository},
};

/// Does what the README of an example says.
pub(crate) fn check(name: &str, services: &[Service]) {
    let stage = Stage::new(name, services);
    let path = repository().join("examples").join(name).join("README.md");
    let text = fs::read_to_string(&path).expect("a README");
    let mut printed = String::new();
    let mut block = None;
    let mut session = String::new();
    for line in text.lines() {
        match (line, block) {
            ("```", _) => block = None,
            (line, None) => block = line.strip_prefix("```"),
            (line, Some(kind @ ("console" | "sh"))) => {
                let command = line.strip_prefix("$ ").or((kind == "sh").then_some(line));
                // What the README shows as printed is printed anew.
                let Some(command) = command else { continue };
                let words =
                    command.split(' ').map(|word| if word == "ID" { &session } else { word });
                let output = stage.typed(&words.collect::<Vec<_>>().join(" "));
                if let Some(id) =
                    output.lines().filter_map(|line| line.strip_prefix("session ")).next_back()
                {
                    session = id.to_owned();
                }
                printed += &format!("{line}\n");
                if kind == "console" {
                    printed += &output;
                }
                continue;
            }
            _ => {}
        }
        printed += &format!("{line}\n");
    }
    if std::env::var_os("UPDATE_EXAMPLES").is_some() {
        fs::write(&path, &printed).expect("a README");
        return;
    }
    let (shown, printed) = (mask(&text), mask(&printed));
    let differs = shown.lines().zip(printed.lines()).find(|(shown, printed)| shown != printed);
    assert!(
        shown == printed,
        "{name}/README.md shows what is not printed any more, first {differs:?}; \
         `UPDATE_EXAMPLES=1` writes it anew. All of it:\n{printed}"
    );
}
