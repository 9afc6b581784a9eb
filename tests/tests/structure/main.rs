//! The structure of the workspace: who may depend on whom, what no source may say, what every crate
//! and tool has. Each rule is a function over data that returns the problems it found, so that the
//! tests beside it show it a violation; here every rule meets the real workspace.

#![forbid(unsafe_code)]

mod cases;
mod contract;
mod environment;
mod graph;
mod key;
mod manifest;
mod origin;
mod permit;
mod reason;
mod source;
mod token;
mod tool;

use std::fs;

use source::Source;
use xtask::deny;
use xtask::metadata::Workspace;

#[test]
fn each_heavy_dependency_has_one_owner() {
    none(graph::owners(&workspace(), graph::OWNERS));
}

#[test]
fn the_core_knows_no_runtime_no_engine_no_database_and_no_network() {
    none(graph::absences(&workspace(), graph::CORE, graph::ABSENT));
}

#[test]
fn every_crate_depends_only_on_the_layers_below() {
    none(graph::layers(&workspace(), graph::LAYERS));
}

#[test]
fn guests_and_their_kit_depend_on_nothing_of_the_host() {
    none(graph::guests(&workspace()));
}

#[test]
fn every_dependency_has_a_reason() {
    let workspace = workspace();
    let text = fs::read_to_string(workspace.root.join("ARCHITECTURE.md")).expect("the document");
    none(reason::missing(&workspace, &text));
}

#[test]
fn there_is_no_second_tls_provider() {
    none(deny::banned(&workspace()));
}

#[test]
fn each_heavy_dependency_has_one_version() {
    none(deny::versions(&workspace()));
}

#[test]
fn every_crate_has_the_workspaces_licence_compiler_and_lints() {
    none(manifest::fields(&workspace()));
    none(manifest::lints(&manifest::texts(&workspace())));
}

#[test]
fn every_crate_that_needs_no_unsafe_code_forbids_it() {
    let workspace = workspace();
    none(manifest::unsafe_code(&manifest::roots(&workspace), manifest::UNSAFE));
}

#[test]
fn only_the_program_reads_the_processs_environment() {
    none(environment::process(&runtime(), "runtime/cli/"));
}

#[test]
fn the_core_does_no_io_and_reads_no_clock() {
    none(environment::io(&runtime(), environment::CORE));
}

#[test]
fn only_policy_makes_a_permit() {
    none(permit::made(&runtime(), "runtime/policy/"));
}

#[test]
fn every_function_comes_from_a_component() {
    none(origin::elsewhere(&runtime()));
}

#[test]
fn an_unknown_key_is_an_error_and_a_known_one_is_tried() {
    let root = workspace().root;
    none(key::enforced(&key::tables(&root), &key::tests(&root)));
}

#[test]
fn the_contract_says_what_everything_is_and_pins_what_it_builds_on() {
    let root = workspace().root;
    let own = contract::own(&root);
    none(contract::undocumented(&own));
    none(contract::unpinned(&own));
    none(contract::unpinned(&contract::foreign(&root)));
}

#[test]
fn the_tool_that_the_readme_shows_is_short_and_small() {
    let root = workspace().root;
    let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
    let component = fs::metadata(root.join("target/guest/hello.wasm"));
    let component = component.expect("`cargo xtask guests` builds it").len();
    none(tool::shown(&read("README.md"), &read("examples/hello/src/lib.rs"), component));
}

#[test]
fn every_tool_has_a_readme_a_manifest_and_tests() {
    none(tool::complete(&tool::folders(&workspace().root.join("tools"))));
}

#[test]
fn every_case_of_an_attack_has_a_sentence_and_a_test() {
    let root = workspace().root;
    none(cases::complete(&cases::rows(&root), &cases::tests(&root)));
}

fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn workspace() -> Workspace {
    Workspace::load().expect("cargo metadata describes the workspace")
}

/// What the host is made of, without its tests.
fn runtime() -> Vec<Source> {
    let root = workspace().root;
    let mut sources = Vec::new();
    for folder in fs::read_dir(root.join("runtime")).expect("the folder `runtime`") {
        let name =
            folder.expect("an entry").file_name().into_string().expect("a name that is text");
        sources.extend(source::read(&root, &format!("runtime/{name}/src")));
    }
    assert!(sources.len() > 20, "the sources of the runtime are not where they were");
    sources
}
