//! A tool shown: what it offers, what it asks, what it imports.

use ringfence::{
    Import, ImportClass, Inspected,
    event::{neutralise, neutralise_line},
};
use serde_json::{Value, json};

use crate::{
    screen::{Screen, Sheet, Tone},
    text::cut,
};

/// How much of a description is shown in a list: enough to tell functions apart.
const DESCRIPTION_COLUMNS: usize = 80;

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What somebody decides by.
    Asked,
    /// Digests, ambient imports and schemas too.
    All,
}

/// Shows a tool on standard output; as JSON everything.
pub(crate) fn show(inspected: &Inspected, detail: Detail, screen: &mut Screen) {
    if screen.json {
        return screen.out.json(&as_json(inspected));
    }
    let sheet = &mut screen.out;
    let (installed, all) = (&inspected.installed, detail == Detail::All);
    let (manifest, entry) = (&installed.manifest, &installed.entry);
    let name = sheet.paint(Tone::Strong, &manifest.name);
    match &manifest.description {
        Some(description) => sheet.line(format!("{name}: {}", neutralise_line(description))),
        None => sheet.line(name),
    }
    if all {
        sheet.line(format!("  place        {}", neutralise(&entry.source)));
        sheet.line(format!("  component    {}", entry.component));
        sheet.line(format!("  definitions  {}", entry.definitions));
        sheet.line(format!("  manifest     {}", entry.manifest));
        sheet.line(format!("  accepted     {}", accepted_word(inspected)));
    }
    show_functions(inspected, all, sheet);
    match entry.asks.is_empty() {
        true => sheet.line("asks nothing"),
        false => sheet.line("asks"),
    }
    entry.asks.iter().for_each(|ask| sheet.line(format!("  {}", neutralise_line(ask))));
    show_imports(installed.imports(), all, sheet);
    for warning in &installed.warnings {
        let label = sheet.paint(Tone::Warning, "warning");
        sheet.line(format!("{label}: {}", neutralise_line(warning)));
    }
}

fn show_functions(inspected: &Inspected, all: bool, sheet: &mut Sheet) {
    sheet.line("functions");
    let functions = &inspected.installed.entry.functions;
    let width = functions.iter().map(|function| function.name.as_str().len()).max().unwrap_or(0);
    for function in functions {
        let said = match all {
            true => String::new(),
            false => {
                let words: Vec<&str> = function.description.split_whitespace().collect();
                cut(&words.join(" "), DESCRIPTION_COLUMNS)
            }
        };
        let effect = function.effect.to_string();
        let line = format!("  {:width$}  {effect:<10}  {said}", function.name.as_str());
        sheet.line(line.trim_end());
        if all {
            for line in function.description.lines() {
                sheet.line(format!("    {}", neutralise_line(line)));
            }
            show_schema("input", &function.input_schema, sheet);
            if let Some(schema) = &function.output_schema {
                show_schema("output", schema, sheet);
            }
        }
    }
}

fn show_schema(which: &str, schema: &Value, sheet: &mut Sheet) {
    let text = format!("{schema:#}");
    sheet.line(format!("    {which} schema"));
    text.lines().for_each(|line| sheet.line(format!("      {}", neutralise_line(line))));
}

fn show_imports(imports: &[Import], all: bool, sheet: &mut Sheet) {
    let of = |class| imports.iter().filter(move |import| import.class == class);
    sheet.line("imports");
    for import in of(ImportClass::Gated) {
        sheet.line(format!("  {} (shut without a grant)", neutralise_line(&import.name)));
    }
    let ambient = of(ImportClass::Ambient);
    match all {
        true => ambient.for_each(|import| {
            sheet.line(format!("  {} (always there)", neutralise_line(&import.name)));
        }),
        false => sheet.line(format!("  {} that are always there", ambient.count())),
    }
}

/// Whether it is what was accepted.
pub(crate) fn accepted_word(inspected: &Inspected) -> &'static str {
    match &inspected.accepted {
        Ok(()) => "yes",
        Err(difference) if difference.changes.is_empty() => "never",
        Err(_) => "no: it changed since",
    }
}

fn as_json(inspected: &Inspected) -> Value {
    let installed = &inspected.installed;
    let (manifest, entry) = (&installed.manifest, &installed.entry);
    let imports = |class: ImportClass| -> Vec<&str> {
        let imports = installed.imports().iter().filter(|import| import.class == class);
        imports.map(|import| import.name.as_str()).collect()
    };
    let functions: Vec<Value> = entry
        .functions
        .iter()
        .map(|function| {
            json!({
                "name": function.name,
                "title": function.title,
                "description": function.description,
                "effect": function.effect,
                "input-schema": function.input_schema,
                "output-schema": function.output_schema,
            })
        })
        .collect();
    let changes = inspected.accepted.as_ref().err().map(|difference| &difference.changes);
    let changes: Vec<Value> = changes
        .into_iter()
        .flatten()
        .map(|change| json!({ "what": change.what, "old": change.old, "new": change.new }))
        .collect();
    json!({
        "tool": manifest.name,
        "description": manifest.description,
        "place": entry.source,
        "component": entry.component,
        "definitions": entry.definitions,
        "manifest": entry.manifest,
        "accepted": inspected.accepted.is_ok(),
        "changes": changes,
        "asks": entry.asks,
        "imports": {
            "gated": imports(ImportClass::Gated),
            "ambient": imports(ImportClass::Ambient),
        },
        "functions": functions,
        "warnings": installed.warnings,
    })
}
