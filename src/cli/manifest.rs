//! Manifests where users keep them: in files, in directories, or on standard input.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use crate::kubernetes::intake::files;

/// The objects of a file, of a directory's files, or of standard input, which is called `-`.
pub fn objects_at(path: &Path) -> anyhow::Result<Vec<Value>> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else if path.is_dir() {
        return Ok(files::objects_in(path)?);
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let objects = files::objects_of(&text).map_err(anyhow::Error::msg);
    objects.with_context(|| format!("cannot read {}", path.display()))
}
