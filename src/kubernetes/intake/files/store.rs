//! Suspensions in a directory: what embedded mode keeps of those that are made while it runs.
//!
//! Guarantees: what was acknowledged is there after a crash, and no file is ever half-written: each is written beside its
//! place, synced, and put in place in one step. Two processes can use one directory. What people wrote by hand in other
//! files is read and never changed. The inventory knows a change before it is acknowledged.
//! Cost: two syncs of the disk for each change. Limit: [`MOST`] suspensions.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::objects_of;
use crate::features::suspension::stored::StoredSuspension;
use crate::kernel::api_error::ApiError;
use crate::kernel::clock::Clock;
use crate::kernel::ids::fresh_id;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::{RuleKind, RuleName};
use crate::kubernetes::inventory::rules::{Compile, Rule, Terms};
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::suspension_object::{SuspensionObject, can_be};
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;

/// How many are kept.
pub const MOST: usize = 10_000;
/// A file is named after its suspension, and file systems take 255 bytes.
const LONGEST_NAME: usize = 150;
/// The file whose lock whoever changes something holds.
const LOCK: &str = ".lock";
/// Another process may hold it for so long.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_AGAIN: Duration = Duration::from_millis(10);
/// What a file is called until it is complete; nothing reads it.
const INCOMPLETE: &str = ".incomplete";

/// Keeps suspensions; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    kept: Arc<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// Where; nowhere but in memory without one.
    directory: Option<PathBuf>,
    inventory: Arc<Inventory>,
    terms: Terms,
    clock: Clock,
    /// Held by whoever changes something, and without a directory all there is.
    memory: Mutex<BTreeMap<(RuleKind, RuleName), SuspensionObject>>,
}

impl Store {
    /// Keeps suspensions in this directory, or in memory only; what a crash has left incomplete is taken away.
    pub fn new(directory: Option<PathBuf>, inventory: Arc<Inventory>, terms: Terms, clock: Clock) -> Self {
        if let Some(directory) = &directory {
            clear(directory);
        }
        Self { kept: Arc::new(Kept { directory, inventory, terms, clock, memory: Mutex::default() }) }
    }

    /// One suspension; of the cluster without a namespace.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn get(&self, namespace: Option<&str>, name: &str) -> Result<StoredSuspension, ApiError> {
        let (namespace, name) = (namespace.map(str::to_owned), name.to_owned());
        self.run(move |kept| kept.get(namespace.as_deref(), &name)).await
    }

    /// Stores a new one.
    ///
    /// # Errors
    ///
    /// When there is one of its name, or it breaks a rule, or it cannot be written.
    pub async fn create(&self, suspension: &SuspensionObject, dry_run: bool) -> Result<StoredSuspension, ApiError> {
        let suspension = suspension.clone();
        self.run(move |kept| kept.create(suspension, dry_run)).await
    }

    /// Puts a spec in place of the one that was read.
    ///
    /// # Errors
    ///
    /// When somebody has changed it since, or it cannot be written.
    pub async fn replace(&self, live: &StoredSuspension, wanted: &SuspensionObject, dry_run: bool) -> Result<StoredSuspension, ApiError> {
        let (live, wanted) = (live.clone(), wanted.clone());
        self.run(move |kept| kept.replace(&live, wanted, dry_run)).await
    }

    /// Deletes the one that was read.
    ///
    /// # Errors
    ///
    /// When somebody has changed it since, or its file cannot be removed.
    pub async fn delete(&self, live: &StoredSuspension, dry_run: bool) -> Result<(), ApiError> {
        let live = live.clone();
        self.run(move |kept| kept.delete(&live, dry_run)).await
    }

    /// Does something while nothing is stored, such as reading the directory anew.
    pub fn while_still<T>(&self, work: impl FnOnce() -> T) -> T {
        let _still = self.kept.hold();
        work()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Kept) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let kept = Arc::clone(&self.kept);
        let done = spawn_blocking(move || work(&kept)).await;
        done.unwrap_or_else(|_| Err(ApiError::Unavailable("the store failed; see the log".to_owned())))
    }
}

type Memory<'m> = MutexGuard<'m, BTreeMap<(RuleKind, RuleName), SuspensionObject>>;

impl Kept {
    fn hold(&self) -> Memory<'_> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, namespace: Option<&str>, name: &str) -> Result<StoredSuspension, ApiError> {
        let memory = self.hold();
        let key = key(namespace, name);
        if let Some(object) = self.kept(&memory, &key)? {
            return Ok(live(object));
        }
        let standing = self.inventory.standings.get(key.0, &key.1);
        let object = standing.and_then(|standing| standing.suspension).ok_or_else(|| not_found(namespace, name))?;
        Ok(live(SuspensionObject::clone(&object)))
    }

    fn create(&self, mut object: SuspensionObject, dry_run: bool) -> Result<StoredSuspension, ApiError> {
        self.check(&object)?;
        let mut memory = self.hold();
        let _alone = self.lock()?;
        let key = key_of(&object);
        if self.kept(&memory, &key)?.is_some() || self.inventory.standings.get(key.0, &key.1).is_some() {
            return Err(ApiError::Exists(format!("{} exists already", object.named())));
        }
        let known = self.inventory.rules.names();
        let suspensions = [RuleKind::SuspensionPolicy, RuleKind::ClusterSuspensionPolicy];
        if known.iter().filter(|(kind, _)| suspensions.contains(kind)).count() >= MOST {
            let sentence = format!("there are {MOST} suspensions already; remove the files of some that are over");
            return Err(ApiError::Invalid(sentence));
        }
        object.uid = Some(fresh_id());
        object.generation = Some(1);
        object.created_at = Some(whole_seconds(self.clock.now()));
        if !dry_run {
            self.keep(&mut memory, &object)?;
        }
        Ok(live(object))
    }

    fn replace(&self, read: &StoredSuspension, wanted: SuspensionObject, dry_run: bool) -> Result<StoredSuspension, ApiError> {
        self.check(&wanted)?;
        let mut memory = self.hold();
        let _alone = self.lock()?;
        let present = self.unchanged(&memory, read)?;
        let generation = present.generation.unwrap_or_default() + i64::from(present.spec != wanted.spec);
        let object = SuspensionObject { spec: wanted.spec, generation: Some(generation), ..present };
        if !dry_run {
            self.keep(&mut memory, &object)?;
        }
        Ok(live(object))
    }

    fn delete(&self, read: &StoredSuspension, dry_run: bool) -> Result<(), ApiError> {
        let mut memory = self.hold();
        let _alone = self.lock()?;
        let object = self.unchanged(&memory, read)?;
        if dry_run {
            return Ok(());
        }
        let key = key_of(&object);
        match &self.directory {
            Some(directory) => {
                let path = directory.join(file_name(&key));
                fs::remove_file(&path).and_then(|()| sync(directory)).map_err(|error| unwritable(&path, &error))?;
            }
            None => drop(memory.remove(&key)),
        }
        self.inventory.rules.remove(key.0, &key.1);
        self.inventory.standings.remove(key.0, &key.1);
        Ok(())
    }

    /// What is stored now, if it is what was read.
    fn unchanged(&self, memory: &Memory<'_>, read: &StoredSuspension) -> Result<SuspensionObject, ApiError> {
        let StoredSuspension { object, version } = read;
        let key = key_of(object);
        let Some(present) = self.kept(memory, &key)? else {
            return Err(match self.inventory.standings.get(key.0, &key.1) {
                Some(_) => ApiError::Forbidden(format!(
                    "{} was written by hand in a file of the directory; change it there",
                    object.named()
                )),
                None => not_found(object.namespace.as_deref(), &object.name),
            });
        };
        if live(present.clone()).version != *version {
            return Err(ApiError::Changed(format!("{} has been changed since; read it again", object.named())));
        }
        Ok(present)
    }

    /// What we keep under this name.
    fn kept(&self, memory: &Memory<'_>, key: &(RuleKind, RuleName)) -> Result<Option<SuspensionObject>, ApiError> {
        let Some(directory) = &self.directory else { return Ok(memory.get(key).cloned()) };
        let (namespace, name) = (&*key.1.0, &*key.1.1);
        if name.len() > LONGEST_NAME || !can_be(Some(namespace).filter(|namespace| !namespace.is_empty()), name) {
            return Ok(None);
        }
        let path = directory.join(file_name(key));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ApiError::Unavailable(format!("cannot read {}: {error}", path.display()))),
        };
        let bad = |why: String| ApiError::Invalid(format!("{}: {why}; mend or remove the file", path.display()));
        let objects = objects_of(&text).map_err(&bad)?;
        let [object] = &objects[..] else { return Err(bad("it does not hold exactly one object".to_owned())) };
        read(object).map(Some).map_err(bad)
    }

    fn keep(&self, memory: &mut Memory<'_>, object: &SuspensionObject) -> Result<(), ApiError> {
        let key = key_of(object);
        let (rule, standing) = compiled(&to_json(object), &self.terms).map_err(ApiError::Invalid)?;
        match &self.directory {
            Some(directory) => {
                let path = directory.join(file_name(&key));
                write(directory, &path, &yaml(object)).map_err(|error| unwritable(&path, &error))?;
            }
            None => drop(memory.insert(key.clone(), object.clone())),
        }
        self.inventory.rules.insert(key.0, key.1.clone(), rule);
        self.inventory.standings.insert(key.0, key.1, standing);
        Ok(())
    }

    /// What the API server of a cluster would refuse.
    fn check(&self, object: &SuspensionObject) -> Result<(), ApiError> {
        let SuspensionObject { namespace, name, .. } = object;
        let invalid = |sentence: String| Err(ApiError::Invalid(sentence));
        if name.len() > LONGEST_NAME {
            return invalid(format!(
                "name is longer than {LONGEST_NAME} characters, which is all that a file can hold"
            ));
        }
        if let Some(namespace) = namespace {
            let is_known = self.inventory.namespaces.get(namespace).is_some();
            if !is_known {
                let clean = crate::kernel::text::Clean(namespace);
                return Err(ApiError::NotFound(format!("there is no namespace {clean}")));
            }
        }
        let checked = object.compiled(self.terms.longest_suspension);
        checked.map(drop).map_err(|invalid| ApiError::Invalid(invalid.to_string()))
    }

    /// Keeps other processes out; the lock goes with the file.
    fn lock(&self) -> Result<Option<File>, ApiError> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let path = directory.join(LOCK);
        let file = File::options().create(true).append(true).open(&path).map_err(|error| unwritable(&path, &error))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::Error(error)) => return Err(unwritable(&path, &error)),
                Err(TryLockError::WouldBlock) if begun.elapsed() > LOCK_TIMEOUT => {
                    let sentence = format!("another process has held {} for {LOCK_TIMEOUT:?}; end it", path.display());
                    return Err(ApiError::Unavailable(sentence));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_AGAIN),
            }
        }
    }
}

/// What decisions and people are told of a suspension in a file.
fn compiled(
    object: &Value,
    terms: &Terms,
) -> Result<(Rule, crate::kubernetes::inventory::standings::Standing), String> {
    fn of<K: Compile + serde::de::DeserializeOwned>(
        object: &Value,
        terms: &Terms,
    ) -> Result<(Rule, crate::kubernetes::inventory::standings::Standing), String> {
        let resource: K = super::decoded(object)?;
        Ok((resource.compile(terms)?, resource.standing(terms)))
    }
    match object["kind"].as_str() {
        Some("SuspensionPolicy") => of::<SuspensionPolicy>(object, terms),
        _ => of::<ClusterSuspensionPolicy>(object, terms),
    }
}

fn read(object: &Value) -> Result<SuspensionObject, String> {
    match object["kind"].as_str() {
        Some("SuspensionPolicy") => super::decoded::<SuspensionPolicy>(object).map(|object| (&object).into()),
        Some("ClusterSuspensionPolicy") => {
            super::decoded::<ClusterSuspensionPolicy>(object).map(|object| (&object).into())
        }
        _ => Err("it holds no suspension".to_owned()),
    }
}

/// The object with what an API server would have set itself.
fn to_json(object: &SuspensionObject) -> Value {
    let mut value = object.to_json();
    let metadata = &mut value["metadata"];
    metadata["uid"] = json!(object.uid);
    metadata["generation"] = json!(object.generation);
    metadata["creationTimestamp"] = json!(object.created_at);
    value
}

fn yaml(object: &SuspensionObject) -> String {
    let text = serde_saphyr::to_string(&to_json(object)).expect("JSON is YAML");
    format!("# Written by outrigger, which writes it anew.\n{text}")
}

fn live(object: SuspensionObject) -> StoredSuspension {
    let version = format!("{}-{}", object.uid.as_deref().unwrap_or_default(), object.generation.unwrap_or_default());
    StoredSuspension { object, version }
}

fn key(namespace: Option<&str>, name: &str) -> (RuleKind, RuleName) {
    let kind = if namespace.is_some() { RuleKind::SuspensionPolicy } else { RuleKind::ClusterSuspensionPolicy };
    (kind, (namespace.unwrap_or_default().into(), name.into()))
}

fn key_of(object: &SuspensionObject) -> (RuleKind, RuleName) {
    key(object.namespace.as_deref(), &object.name)
}

/// A namespace has no dot in its name, so that no two suspensions share a file.
fn file_name((kind, (namespace, name)): &(RuleKind, RuleName)) -> String {
    match kind {
        RuleKind::SuspensionPolicy => format!("suspension.{namespace}.{name}.yaml"),
        _ => format!("cluster-suspension.{name}.yaml"),
    }
}

/// Writes a file in one step: whoever reads it, also after a crash, sees all of it or what was there before.
fn write(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let incomplete = directory.join(format!(".{name}{INCOMPLETE}"));
    let written = (|| {
        let mut file = File::create(&incomplete)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&incomplete, path)?;
        sync(directory)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&incomplete);
    }
    written
}

/// A name is only safe on the disk once its directory is.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Takes away what a crash has left. Where another process holds the lock, it is in the middle of a change of its own.
fn clear(directory: &Path) {
    let lock = File::options().create(true).append(true).open(directory.join(LOCK));
    let Some(_alone) = lock.ok().filter(|file| file.try_lock().is_ok()) else { return };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_left_over(&entry.file_name().to_string_lossy())) {
        if let Err(error) = fs::remove_file(entry.path()) {
            tracing::warn!("cannot remove {}: {error}", entry.path().display());
        }
    }
}

/// Whether a file of this name is one that we had not completed, and nobody else's.
fn is_left_over(name: &str) -> bool {
    let is_ours = [".suspension.", ".cluster-suspension."].iter().any(|prefix| name.starts_with(prefix));
    is_ours && name.ends_with(INCOMPLETE)
}

fn unwritable(path: &Path, error: &io::Error) -> ApiError {
    ApiError::Unavailable(format!("cannot write {}: {error}; nothing was changed", path.display()))
}

fn not_found(namespace: Option<&str>, name: &str) -> ApiError {
    let clean = |text: &str| crate::kernel::text::sanitized(text);
    ApiError::NotFound(match namespace {
        Some(namespace) => format!("there is no SuspensionPolicy {} in namespace {}", clean(name), clean(namespace)),
        None => format!("there is no ClusterSuspensionPolicy {}", clean(name)),
    })
}

/// As an API server writes times.
fn whole_seconds(now: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}
