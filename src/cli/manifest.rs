//! Reads manifests from files, directories or standard input.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use crate::kubernetes::intake::files;

/// Reads the objects of a file, of all files of a directory, or of standard input (`-`).
pub fn read_objects(path: &Path) -> anyhow::Result<Vec<Value>> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else if path.is_dir() {
        return Ok(files::read_objects(path)?);
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let objects = files::parse_objects(&text).map_err(anyhow::Error::msg);
    objects.with_context(|| format!("cannot read {}", path.display()))
}
