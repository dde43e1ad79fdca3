//! Architecture tests: a module imports only from the rings that its own may see, and names in YAML stand in one file.

use std::path::{Path, PathBuf};

use outrigger::kernel::names::{INJECTION_LABEL, INJECTION_POLICY, SUSPENSION_POLICY};

/// Modules of each ring, from the inside out. A module sees the rings before its own, and itself.
const RINGS: &[&[&str]] = &[
    &["kernel", "certs", "tasks"],
    &["decision"],
    &["kubernetes::resources"],
    &["kubernetes::inventory", "audit", "metrics"],
    &["kubernetes::client", "admission", "server"],
    &["kubernetes::intake"],
    &["features"],
    &["controllers", "api", "cli"],
    &["serve"],
];

#[test]
fn modules_import_inward_only() {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut imports = 0;
    for path in rust_files(&source) {
        let relative = path.strip_prefix(&source).unwrap();
        let own_path = relative.with_extension("").to_str().unwrap().replace('/', "::");
        // The roots hold no code that a ring could be wrong for.
        if ["main", "lib", "kubernetes"].contains(&&*own_path) {
            continue;
        }
        let (own, own_ring) =
            ring_of(&own_path).unwrap_or_else(|| panic!("src/{own_path} is in no ring of tests/layers.rs"));
        for (number, line) in (1..).zip(std::fs::read_to_string(&path).unwrap().lines()) {
            for imported in line.split("crate::").skip(1) {
                let end =
                    imported.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(imported.len());
                imports += 1;
                let target = ring_of(&imported[..end]);
                let is_inward = target.is_some_and(|(module, ring)| module == own || ring < own_ring);
                if !is_inward {
                    wrong.push(format!(
                        "src/{}:{number}: {own} may not import {}",
                        relative.display(),
                        &imported[..end]
                    ));
                }
            }
        }
    }
    assert!(imports > 50, "only {imports} imports were found, so this test sees nothing");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_in_yaml_stand_in_one_file() {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut literals = 0;
    for path in rust_files(&source) {
        let relative = path.strip_prefix(&source).unwrap();
        if ["kernel/names.rs", "kubernetes/resources/tests.rs"].contains(&relative.to_str().unwrap()) {
            continue;
        }
        for (line, literal) in string_literals(&std::fs::read_to_string(&path).unwrap()) {
            literals += 1;
            if holds_yaml_name(&literal) {
                wrong.push(format!(
                    "src/{}:{line}: \"{literal}\" spells a name: take it from kernel::names",
                    relative.display()
                ));
            }
        }
    }
    assert!(literals > 1000, "only {literals} literals were found, so this test sees nothing");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn holds_yaml_name(literal: &str) -> bool {
    let istio = ["istio.io/rev", "istio.io/use-waypoint", "istio.io/dataplane-mode", "sidecar.istio.io/"];
    // The names of the cluster's kinds contain those of the tenants' kinds.
    let kinds = [INJECTION_POLICY, SUSPENSION_POLICY].map(|names| [names.kind, names.plural]).concat();
    ["outrigger.dev/", INJECTION_LABEL].into_iter().chain(istio).chain(kinds).any(|name| literal.contains(name))
}

/// Returns the string literals of a source file with their lines: without tests, comments, and the attributes of derive
/// macros that take no constant.
fn string_literals(text: &str) -> Vec<(usize, String)> {
    let (code, _) = text.split_once("#[cfg(test)]").unwrap_or((text, ""));
    let (mut found, mut literal, mut is_in_attribute) = (Vec::new(), None::<(usize, String)>, false);
    for (number, line) in (1..).zip(code.lines()) {
        let trimmed = line.trim_start();
        is_in_attribute |= ["#[kube(", "#[schemars("].iter().any(|start| trimmed.starts_with(start));
        if is_in_attribute || (literal.is_none() && trimmed.starts_with("//")) {
            is_in_attribute &= !trimmed.ends_with(")]");
            continue;
        }
        let line = line.replace("'\"'", "").replace("\\\\", "").replace("\\\"", "'");
        for (index, part) in line.split('"').enumerate() {
            if index > 0 {
                literal = match literal.take() {
                    Some(ended) => {
                        found.push(ended);
                        None
                    }
                    None => Some((number, String::new())),
                };
            }
            if literal.is_none() && part.contains(" // ") {
                break;
            }
            if let Some((_, text)) = &mut literal {
                text.push_str(part);
            }
        }
    }
    found
}

/// Finds the module of `RINGS` that a path lies in, and its ring.
fn ring_of(path: &str) -> Option<(&'static str, usize)> {
    let is_within =
        |module: &str| path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let rings = RINGS.iter().enumerate().flat_map(|(ring, modules)| modules.iter().map(move |module| (*module, ring)));
    rings.into_iter().find(|(module, _)| is_within(module))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files
}
