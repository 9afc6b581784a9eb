//! `ringfence tool check`: what is wrong or strange with a tool that loads.

use ringfence::{
    Inspected, Installed,
    event::{Access, Effect, Scope, neutralise_line},
    policy::{HttpNeed, Method, Needs, Remark},
};
use serde_json::json;

use crate::{
    exit::Exit,
    inspect::accepted_word,
    screen::{Screen, Tone},
    text::several,
};

/// Packages of gated interfaces, and the table of a manifest that opens them.
const GATES: [(&str, Option<&str>); 5] = [
    ("wasi:filesystem/", Some("needs.fs")),
    ("wasi:http/", Some("needs.http")),
    ("wasi:keyvalue/", Some("needs.memory")),
    ("wasi:sockets/", Some("needs.sockets")),
    ("wasi:config/", Some("needs.config")),
];

/// What was found.
#[derive(Default)]
struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
}

/// Looks at a tool, shows what is to be said, and fails if there is an error among it.
pub(crate) fn check(
    inspected: &Inspected,
    grants: &[Remark],
    strict: bool,
    screen: &mut Screen,
) -> Exit {
    let installed = &inspected.installed;
    let mut found = Findings { errors: vec![], warnings: installed.warnings.clone() };
    found.warnings.extend(gated_without_need(installed));
    found.warnings.extend(useless_needs(installed));
    found.warnings.extend(broad_needs(installed));
    found.warnings.extend(strange_effects(installed));
    found.warnings.extend(grants.iter().map(|Remark { line, what }| format!("{line}: {what}")));
    if strict {
        found.errors.append(&mut found.warnings);
    }
    let name = &installed.manifest.name;
    let exit = if found.errors.is_empty() { Exit::Done } else { Exit::Usage };
    if screen.json {
        screen.out.json(&json!({
            "tool": name,
            "accepted": inspected.accepted.is_ok(),
            "errors": found.errors,
            "warnings": found.warnings,
        }));
        return exit;
    }
    let sheet = &mut screen.out;
    for (label, tone, messages) in
        [("error", Tone::Bad, &found.errors), ("warning", Tone::Warning, &found.warnings)]
    {
        let label = sheet.paint(tone, label);
        messages.iter().for_each(|text| sheet.line(format!("{label}: {}", neutralise_line(text))));
    }
    let (errors, warnings) = (found.errors.len(), found.warnings.len());
    sheet.line(format!("accepted: {}", accepted_word(inspected)));
    sheet.line(format!("{name}: {}, {}", several(errors, "error"), several(warnings, "warning")));
    exit
}

fn imports(installed: &Installed, package: &str) -> bool {
    installed.imports().iter().any(|import| import.name.starts_with(package))
}

fn asks(installed: &Installed, table: &str) -> bool {
    let needs = &installed.manifest.needs;
    match table {
        "needs.fs" => !needs.fs.is_empty(),
        "needs.http" => !needs.http.is_empty(),
        "needs.config" => needs.config.is_some(),
        "needs.sockets" => !needs.sockets.is_empty(),
        _ => !needs.memory.is_empty(),
    }
}

/// What the component can try and will be denied. Many a tool imports what its language's library
/// does and never uses it.
fn gated_without_need(installed: &Installed) -> Vec<String> {
    let mut found = vec![];
    for (package, table) in GATES {
        let interface = package.trim_end_matches('/');
        match table {
            _ if !imports(installed, package) => {}
            Some(table) if asks(installed, table) => {}
            Some(table) => found.push(format!(
                "it imports {interface} and asks nothing under [{table}]: every use is denied"
            )),
            None => found.push(format!(
                "it imports {interface}, which nothing opens in this version: every use is denied"
            )),
        }
    }
    found
}

fn useless_needs(installed: &Installed) -> Vec<String> {
    let mut found = vec![];
    let tables = GATES.iter().filter_map(|(package, table)| Some((package, (*table)?)));
    let functions = &installed.entry.functions;
    let all_pure = functions.iter().all(|function| function.effect == Effect::Pure);
    for (package, table) in tables.filter(|(_, table)| asks(installed, table)) {
        if !imports(installed, package) {
            let interface = package.trim_end_matches('/');
            found.push(format!(
                "it asks something under [{table}] and does not import {interface}: it cannot use it"
            ));
        } else if all_pure {
            found.push(format!(
                "it asks something under [{table}] and all its functions are pure: none may use it"
            ));
        }
    }
    found
}

/// The folders at the top of a machine, of which a tool should not seem to ask the whole.
const SYSTEM_FOLDERS: [&str; 16] = [
    "bin", "boot", "dev", "etc", "home", "lib", "mnt", "opt", "proc", "root", "run", "sbin", "sys",
    "tmp", "usr", "var",
];

/// Effects beside needs: what one says and the other makes no sense of.
fn strange_effects(installed: &Installed) -> Vec<String> {
    let needs = &installed.manifest.needs;
    let functions = &installed.entry.functions;
    let writes = writing_needs(needs);
    let mut found = vec![];
    let widest = functions.iter().map(|function| function.effect).max();
    if let (false, Some(Effect::Read)) = (writes.is_empty(), widest) {
        for need in writes {
            found
                .push(format!("it asks to {need}, and none of its functions may: each only reads"));
        }
    } else if writes.is_empty() {
        let changing = functions.iter().filter(|function| function.effect > Effect::Read);
        found.extend(changing.map(|function| {
            format!(
                "function `{}` is {} and the tool asks for nothing that it could change: `read` or \
                 `pure` lets it be called again",
                function.name, function.effect
            )
        }));
    }
    found
}

/// The needs by which something can be changed.
fn writing_needs(needs: &Needs) -> Vec<String> {
    let roots = needs.fs.iter().filter(|(_, need)| need.access == Access::Write);
    let buckets = needs.memory.iter().filter(|(_, need)| need.access == Access::Write);
    let sends = |need: &&HttpNeed| {
        need.methods.iter().any(|method| !Method::READING.contains(&method.as_str()))
    };
    let origins = needs.http.iter().filter(sends);
    let roots = roots.map(|(name, _)| format!("write the root `{name}`"));
    let buckets = buckets.map(|(scope, _)| format!("write memory of scope `{scope}`"));
    roots.chain(buckets).chain(origins.map(|need| format!("send to {}", need.origin))).collect()
}

fn broad_needs(installed: &Installed) -> Vec<String> {
    let needs = &installed.manifest.needs;
    let mut found = vec![];
    for need in &needs.http {
        let origin = &need.origin;
        if !origin.is_exact() {
            found.push(format!("it asks for any host that fits {origin}, not for one"));
        }
        let writes = need.methods.iter().any(|method| !matches!(method.as_str(), "GET" | "HEAD"));
        if writes && need.paths.iter().any(|path| path.to_string() == "/**") {
            found.push(format!("it asks to send to every path of {origin}"));
        }
    }
    for (name, need) in &needs.fs {
        if SYSTEM_FOLDERS.contains(&name.as_str()) {
            let access = need.access;
            found.push(format!(
                "it asks to {access} a root named `{name}`, like a folder of the system's: a root is \
                 named for the work that is in it"
            ));
        }
    }
    let shared = needs.memory.get(&Scope::Tenant);
    if shared.is_some_and(|need| need.access == Access::Write) {
        found.push("it asks to write memory that everybody in the tenant reads".to_owned());
    }
    found
}
