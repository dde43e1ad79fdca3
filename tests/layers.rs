//! The architecture, held: a module imports only from the rings that its own may see.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The modules of each ring, from the inside out. A module sees the rings before its own, and itself.
const RINGS: &[&[&str]] = &[
    &["kernel", "certs", "tasks"],
    &["decision"],
    &["kubernetes::resources", "kubernetes::inventory", "audit", "metrics"],
    &["kubernetes::client", "admission", "server"],
    &["kubernetes::intake"],
    &["features"],
    &["controllers", "api", "cli"],
    &["serve"],
];

#[test]
fn modules_import_inward_only() {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let ring_of: BTreeMap<&str, usize> = RINGS
        .iter()
        .enumerate()
        .flat_map(|(ring, modules)| modules.iter().map(move |module| (*module, ring)))
        .collect();
    let mut wrong = Vec::new();
    let mut imports = 0;
    for path in rust_files(&source) {
        let relative = path.strip_prefix(&source).unwrap();
        let own = relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        let Some(own_ring) = ring_of.get(own) else {
            assert!(["main", "lib"].contains(&own), "src/{own} is in no ring; add it to RINGS in tests/layers.rs");
            continue;
        };
        for (number, line) in (1..).zip(std::fs::read_to_string(&path).unwrap().lines()) {
            for imported in line.split("crate::").skip(1) {
                let module = imported.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                imports += 1;
                if module != own && ring_of.get(module).is_none_or(|ring| ring >= own_ring) {
                    wrong.push(format!("src/{}:{number}: {own} may not import {module}", relative.display()));
                }
            }
        }
    }
    assert!(imports > 50, "only {imports} imports were found, so this test sees nothing");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
