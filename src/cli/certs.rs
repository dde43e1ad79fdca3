//! `outrigger certs`: keeps a certificate authority and a certificate for development in a directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::certs::identity::{PART_NAMES, ServerIdentity};
use crate::kernel::clock::Clock;

/// Directory of the certificates, and their names.
#[derive(Debug, Clone, Args)]
pub struct CertsArgs {
    /// Directory of ca.crt, ca.key, tls.crt and tls.key
    #[arg(long, default_value = "certs", value_name = "DIR")]
    pub cert_dir: PathBuf,
    /// Further name or address for the certificate; repeatable
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
}

pub fn run(args: &CertsArgs) -> anyhow::Result<ExitCode> {
    let mut names = loopback_names();
    names.extend(args.names.iter().cloned());
    ensure_identity(&args.cert_dir, &names, &Clock::System)?;
    println!("{} holds an authority (ca.crt) and a certificate for {}", args.cert_dir.display(), names.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// Returns the names under which clients reach a server on this machine.
pub(crate) fn loopback_names() -> Vec<String> {
    ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec()
}

/// Loads the identity from a directory; makes or renews it if necessary.
pub(crate) fn ensure_identity(directory: &Path, names: &[String], clock: &Clock) -> anyhow::Result<ServerIdentity> {
    let mut parts = BTreeMap::new();
    for name in PART_NAMES {
        if let Ok(text) = fs::read_to_string(directory.join(name)) {
            parts.insert(name.to_owned(), text);
        }
    }
    let kept = ServerIdentity::from_parts(&parts);
    let identity = ServerIdentity::renew_or_issue(kept.clone(), names, clock.now())?;
    if kept.as_ref() != Some(&identity) {
        fs::create_dir_all(directory).with_context(|| format!("cannot make the directory {}", directory.display()))?;
        for (name, text) in identity.parts() {
            let path = directory.join(name);
            write_private(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(identity)
}

/// Writes a file with access for its owner only. The file is written whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}
