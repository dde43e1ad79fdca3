//! The directory of one control plane's logs and data, kept after a failure and cleared away later.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;
use std::{fs, io};

/// How many directories of ended test processes stay for reading their logs.
const KEPT: usize = 3;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Named `<process id>-<number>`.
pub(super) struct RunDirectory(PathBuf);

impl RunDirectory {
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        clear_old(parent)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{}-{number}", std::process::id()));
        // One of an earlier process that had the same id.
        let _absent = fs::remove_dir_all(&path);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the logs of the control plane are in {}", self.0.display());
        } else {
            let _kept_for_the_next_clearing = fs::remove_dir_all(&self.0);
        }
    }
}

/// The shared control plane is never dropped, so each process clears away after those before it.
fn clear_old(parent: &Path) -> io::Result<()> {
    let mut ended: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !owner_lives(&entry.file_name().to_string_lossy()) {
            ended.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    ended.sort();
    for (_, path) in ended.iter().rev().skip(KEPT) {
        let _another_process_was_faster = fs::remove_dir_all(path);
    }
    Ok(())
}

fn owner_lives(directory_name: &str) -> bool {
    let id = directory_name.split('-').next().unwrap_or_default();
    Path::new("/proc").join(id).exists()
}
