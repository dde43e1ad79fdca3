//! Stores suspensions in a directory: those that are created while embedded mode runs.
//!
//! Guarantees: an acknowledged change survives a crash, and no file is ever half-written: each is written under another name,
//! synced, and renamed in one step. Two processes can use one directory. Other files, written by hand, are read and never
//! changed. The inventory has a change before it is acknowledged.
//! Cost: two syncs of the disk for each change. Limit: [`MAX_SUSPENSIONS`] suspensions.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::parse_objects;
use crate::kernel::api_error::ApiError;
use crate::kernel::clock::Clock;
use crate::kernel::ids::fresh_id;
use crate::kernel::names::{CLUSTER_SUSPENSION_POLICY, SUSPENSION_POLICY};
use crate::kubernetes::intake::kinds::rules::parse_rule;
use crate::kubernetes::intake::kinds::{JsonObject, decode};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};
use crate::kubernetes::inventory::rules::RuleLimits;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::stored_suspension::StoredSuspension;
use crate::kubernetes::resources::suspension_object::{SuspensionObject, is_valid_name};
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;

/// Limit of stored suspensions.
pub const MAX_SUSPENSIONS: usize = 10_000;
/// Longest name of a suspension: it is part of the file name, and file systems take 255 bytes.
const MAX_NAME_LEN: usize = 150;
/// File that is locked during a change.
const LOCK_FILE: &str = ".lock";
/// Time to wait for another process that holds the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// Suffix of a file until it is complete; nothing reads such files.
const INCOMPLETE_SUFFIX: &str = ".incomplete";

/// Stores suspensions in files or in memory; cheap to clone.
#[derive(Debug, Clone)]
pub struct FileStore {
    state: Arc<FileStoreState>,
}

#[derive(Debug)]
struct FileStoreState {
    /// Directory of the files; without one, suspensions are in memory only.
    directory: Option<PathBuf>,
    inventory: Arc<Inventory>,
    terms: RuleLimits,
    clock: Clock,
    /// Locked during every change. Holds the suspensions if there is no directory.
    memory: Mutex<BTreeMap<(RuleKind, NamespacedName), SuspensionObject>>,
}

impl FileStore {
    /// Opens a store in this directory, or in memory; removes incomplete files that a crash has left.
    pub fn new(directory: Option<PathBuf>, inventory: Arc<Inventory>, terms: RuleLimits, clock: Clock) -> Self {
        if let Some(directory) = &directory {
            remove_leftovers(directory);
        }
        Self { state: Arc::new(FileStoreState { directory, inventory, terms, clock, memory: Mutex::default() }) }
    }

    /// Reads a suspension; without a namespace, one of the cluster.
    pub async fn get(&self, namespace: Option<&str>, name: &str) -> Result<StoredSuspension, ApiError> {
        let (namespace, name) = (namespace.map(str::to_owned), name.to_owned());
        self.run(move |state| state.get(namespace.as_deref(), &name)).await
    }

    pub async fn create(&self, suspension: &SuspensionObject, dry_run: bool) -> Result<StoredSuspension, ApiError> {
        let suspension = suspension.clone();
        self.run(move |state| state.create(suspension, dry_run)).await
    }

    /// Replaces the spec of a suspension.
    ///
    /// # Errors
    ///
    /// Returns [`ApiError::Changed`] if the stored version is not the one that was read.
    pub async fn replace(
        &self,
        stored: &StoredSuspension,
        changed: &SuspensionObject,
        dry_run: bool,
    ) -> Result<StoredSuspension, ApiError> {
        let (stored, changed) = (stored.clone(), changed.clone());
        self.run(move |state| state.replace(&stored, changed, dry_run)).await
    }

    /// Deletes a suspension.
    ///
    /// # Errors
    ///
    /// Returns [`ApiError::Changed`] if the stored version is not the one that was read.
    pub async fn delete(&self, stored: &StoredSuspension, dry_run: bool) -> Result<(), ApiError> {
        let stored = stored.clone();
        self.run(move |state| state.delete(&stored, dry_run)).await
    }

    /// Runs `work` while no change is possible, for example to read the directory again.
    pub fn with_writes_paused<T>(&self, work: impl FnOnce() -> T) -> T {
        let _guard = self.state.lock_memory();
        work()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FileStoreState) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let state = Arc::clone(&self.state);
        let done = spawn_blocking(move || work(&state)).await;
        done.unwrap_or_else(|_| Err(ApiError::Unavailable("the store failed; see the log".to_owned())))
    }
}

type MemoryGuard<'m> = MutexGuard<'m, BTreeMap<(RuleKind, NamespacedName), SuspensionObject>>;

impl FileStoreState {
    fn lock_memory(&self) -> MemoryGuard<'_> {
        self.memory.lock()
    }

    fn get(&self, namespace: Option<&str>, name: &str) -> Result<StoredSuspension, ApiError> {
        let memory = self.lock_memory();
        let key = store_key(namespace, name);
        if let Some(object) = self.load(&memory, &key)? {
            return Ok(stored_suspension(object));
        }
        let record = self.inventory.rule_records.get(key.0, &key.1);
        let object = record.and_then(|record| record.suspension).ok_or_else(|| not_found(namespace, name))?;
        Ok(stored_suspension(SuspensionObject::clone(&object)))
    }

    fn create(&self, mut object: SuspensionObject, dry_run: bool) -> Result<StoredSuspension, ApiError> {
        self.validate(&object)?;
        let mut memory = self.lock_memory();
        let _lock = self.lock_directory()?;
        let key = key_of_object(&object);
        if self.load(&memory, &key)?.is_some() || self.inventory.rule_records.get(key.0, &key.1).is_some() {
            return Err(ApiError::Exists(format!("{} exists already", object.describe())));
        }
        let known = self.inventory.rules.names();
        let suspensions = [RuleKind::SuspensionPolicy, RuleKind::ClusterSuspensionPolicy];
        if known.iter().filter(|(kind, _)| suspensions.contains(kind)).count() >= MAX_SUSPENSIONS {
            let sentence = format!(
                "the limit of {MAX_SUSPENSIONS} suspensions is reached; remove files of suspensions that are over"
            );
            return Err(ApiError::Invalid(sentence));
        }
        object.uid = Some(fresh_id());
        object.generation = Some(1);
        object.created_at = Some(whole_seconds(self.clock.now()));
        if !dry_run {
            self.save(&mut memory, &object)?;
        }
        Ok(stored_suspension(object))
    }

    fn replace(
        &self,
        read: &StoredSuspension,
        changed: SuspensionObject,
        dry_run: bool,
    ) -> Result<StoredSuspension, ApiError> {
        self.validate(&changed)?;
        let mut memory = self.lock_memory();
        let _lock = self.lock_directory()?;
        let present = self.load_unchanged(&memory, read)?;
        let generation = present.generation.unwrap_or_default() + i64::from(present.spec != changed.spec);
        let object = SuspensionObject { spec: changed.spec, generation: Some(generation), ..present };
        if !dry_run {
            self.save(&mut memory, &object)?;
        }
        Ok(stored_suspension(object))
    }

    fn delete(&self, read: &StoredSuspension, dry_run: bool) -> Result<(), ApiError> {
        let mut memory = self.lock_memory();
        let _lock = self.lock_directory()?;
        let object = self.load_unchanged(&memory, read)?;
        if dry_run {
            return Ok(());
        }
        let key = key_of_object(&object);
        match &self.directory {
            Some(directory) => {
                let path = directory.join(file_name(&key));
                fs::remove_file(&path)
                    .and_then(|()| sync_directory(directory))
                    .map_err(|error| write_error(&path, &error))?;
            }
            None => drop(memory.remove(&key)),
        }
        self.inventory.rules.remove(key.0, &key.1);
        self.inventory.rule_records.remove(key.0, &key.1);
        Ok(())
    }

    /// Loads the stored suspension, and checks that its version is the one that was read.
    fn load_unchanged(&self, memory: &MemoryGuard<'_>, read: &StoredSuspension) -> Result<SuspensionObject, ApiError> {
        let StoredSuspension { object, version } = read;
        let key = key_of_object(object);
        let Some(present) = self.load(memory, &key)? else {
            return Err(match self.inventory.rule_records.get(key.0, &key.1) {
                Some(_) => ApiError::Forbidden(format!(
                    "{} was written by hand in a file of the directory; change it there",
                    object.describe()
                )),
                None => not_found(object.namespace.as_deref(), &object.name),
            });
        };
        if stored_suspension(present.clone()).version != *version {
            return Err(ApiError::Changed(format!("{} has been changed since; read it again", object.describe())));
        }
        Ok(present)
    }

    /// Loads a suspension from its own file, or from memory; files written by hand are not considered.
    fn load(
        &self,
        memory: &MemoryGuard<'_>,
        key: &(RuleKind, NamespacedName),
    ) -> Result<Option<SuspensionObject>, ApiError> {
        let Some(directory) = &self.directory else { return Ok(memory.get(key).cloned()) };
        let (namespace, name) = (&*key.1.0, &*key.1.1);
        if name.len() > MAX_NAME_LEN || !is_valid_name(Some(namespace).filter(|namespace| !namespace.is_empty()), name)
        {
            return Ok(None);
        }
        let path = directory.join(file_name(key));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ApiError::Unavailable(format!("cannot read {}: {error}", path.display()))),
        };
        let bad = |why: String| ApiError::Invalid(format!("{}: {why}; correct or remove the file", path.display()));
        let objects = parse_objects(&text).map_err(&bad)?;
        let [object] = &objects[..] else { return Err(bad("expected exactly one object".to_owned())) };
        parse_suspension(object).map(Some).map_err(bad)
    }

    fn save(&self, memory: &mut MemoryGuard<'_>, object: &SuspensionObject) -> Result<(), ApiError> {
        let key = key_of_object(object);
        let json = JsonObject::try_from(to_json(object)).map_err(ApiError::Invalid)?;
        let (rule, record) = parse_rule(key.0, &json, &self.terms);
        rule.check().map_err(ApiError::Invalid)?;
        match &self.directory {
            Some(directory) => {
                let path = directory.join(file_name(&key));
                write_file(directory, &path, &to_yaml(object)).map_err(|error| write_error(&path, &error))?;
            }
            None => drop(memory.insert(key.clone(), object.clone())),
        }
        self.inventory.rules.insert(key.0, key.1.clone(), rule);
        self.inventory.rule_records.insert(key.0, key.1, record);
        Ok(())
    }

    /// Refuses what the API server of a cluster would refuse.
    fn validate(&self, object: &SuspensionObject) -> Result<(), ApiError> {
        let SuspensionObject { namespace, name, .. } = object;
        let invalid = |sentence: String| Err(ApiError::Invalid(sentence));
        if name.len() > MAX_NAME_LEN {
            return invalid(format!("name is longer than {MAX_NAME_LEN} characters"));
        }
        if let Some(namespace) = namespace {
            let is_known = self.inventory.namespaces.get(namespace).is_some();
            if !is_known {
                let clean = crate::kernel::text::CleanText(namespace);
                return Err(ApiError::NotFound(format!("there is no namespace {clean}")));
            }
        }
        let checked = object.compile(self.terms.longest_suspension);
        checked.map(drop).map_err(|invalid| ApiError::Invalid(invalid.to_string()))
    }

    /// Locks the directory against other processes, until the returned file is dropped.
    fn lock_directory(&self) -> Result<Option<File>, ApiError> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let path = directory.join(LOCK_FILE);
        let file = File::options().create(true).append(true).open(&path).map_err(|error| write_error(&path, &error))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::Error(error)) => return Err(write_error(&path, &error)),
                Err(TryLockError::WouldBlock) if begun.elapsed() > LOCK_TIMEOUT => {
                    let sentence = format!("another process has held {} for {LOCK_TIMEOUT:?}; end it", path.display());
                    return Err(ApiError::Unavailable(sentence));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY_INTERVAL),
            }
        }
    }
}

fn parse_suspension(object: &Value) -> Result<SuspensionObject, String> {
    match object["kind"].as_str() {
        Some(kind) if kind == SUSPENSION_POLICY.kind => {
            decode::<SuspensionPolicy>(object).map(|object| (&object).into())
        }
        Some(kind) if kind == CLUSTER_SUSPENSION_POLICY.kind => {
            decode::<ClusterSuspensionPolicy>(object).map(|object| (&object).into())
        }
        _ => Err("no suspension in this file".to_owned()),
    }
}

/// Returns the object with the metadata that an API server would set itself.
fn to_json(object: &SuspensionObject) -> Value {
    let mut value = object.to_json();
    let metadata = &mut value["metadata"];
    metadata["uid"] = json!(object.uid);
    metadata["generation"] = json!(object.generation);
    metadata["creationTimestamp"] = json!(object.created_at);
    value
}

fn to_yaml(object: &SuspensionObject) -> String {
    let text = serde_saphyr::to_string(&to_json(object)).expect("JSON is YAML");
    format!("# Managed by outrigger: changes by hand are overwritten.\n{text}")
}

fn stored_suspension(object: SuspensionObject) -> StoredSuspension {
    let version = format!("{}-{}", object.uid.as_deref().unwrap_or_default(), object.generation.unwrap_or_default());
    StoredSuspension { object, version }
}

fn store_key(namespace: Option<&str>, name: &str) -> (RuleKind, NamespacedName) {
    let kind = if namespace.is_some() { RuleKind::SuspensionPolicy } else { RuleKind::ClusterSuspensionPolicy };
    (kind, (namespace.unwrap_or_default().into(), name.into()))
}

fn key_of_object(object: &SuspensionObject) -> (RuleKind, NamespacedName) {
    store_key(object.namespace.as_deref(), &object.name)
}

/// Returns the file name of a suspension. Namespaces contain no dot, so no two suspensions share a file.
fn file_name((kind, (namespace, name)): &(RuleKind, NamespacedName)) -> String {
    match kind {
        RuleKind::SuspensionPolicy => format!("suspension.{namespace}.{name}.yaml"),
        _ => format!("cluster-suspension.{name}.yaml"),
    }
}

/// Replaces a file in one step: readers see the old or the new content, also after a crash.
fn write_file(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let incomplete = directory.join(format!(".{name}{INCOMPLETE_SUFFIX}"));
    let written = (|| {
        let mut file = File::create(&incomplete)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&incomplete, path)?;
        sync_directory(directory)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&incomplete);
    }
    written
}

/// Syncs the directory: a file name survives a crash only after that.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes incomplete files that a crash has left, unless another process holds the lock and may be writing one.
fn remove_leftovers(directory: &Path) {
    let lock = File::options().create(true).append(true).open(directory.join(LOCK_FILE));
    let Some(_lock) = lock.ok().filter(|file| file.try_lock().is_ok()) else { return };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_leftover(&entry.file_name().to_string_lossy())) {
        if let Err(error) = fs::remove_file(entry.path()) {
            tracing::warn!("cannot remove {}: {error}", entry.path().display());
        }
    }
}

/// Returns whether a file name is that of an incomplete file of ours.
fn is_leftover(name: &str) -> bool {
    let is_ours = [".suspension.", ".cluster-suspension."].iter().any(|prefix| name.starts_with(prefix));
    is_ours && name.ends_with(INCOMPLETE_SUFFIX)
}

fn write_error(path: &Path, error: &io::Error) -> ApiError {
    ApiError::Unavailable(format!("cannot write {}: {error}; nothing was changed", path.display()))
}

fn not_found(namespace: Option<&str>, name: &str) -> ApiError {
    let clean = |text: &str| crate::kernel::text::sanitize(text);
    ApiError::NotFound(match namespace {
        Some(namespace) => {
            format!("there is no {} {} in namespace {}", SUSPENSION_POLICY.kind, clean(name), clean(namespace))
        }
        None => format!("there is no {} {}", CLUSTER_SUSPENSION_POLICY.kind, clean(name)),
    })
}

/// Rounds down to the second, as an API server writes times.
fn whole_seconds(now: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}
