//! A real Kubernetes control plane for the tests: processes on loopback addresses, no containers.
//!
//! Guarantees: every program of it dies with the test process, however that ends; two control planes, also of two
//! test processes, do not meet; the logs stay in a directory whose path a failure names.
//! Limits: Linux only. Pods are Running without a container behind them. A webhook is called at the ClusterIP of its
//! Service, which is a loopback address here: listen there and the manifests need no change.
//! Cost: two seconds to start the bare one, about eight for the shared one with everything in it, once per process.

mod addresses;
mod argo;
mod client;
mod condition;
mod credentials;
mod istio;
mod kubernetes;
mod namespace;
mod nodes;
mod process;
mod run_directory;
mod smoke;

pub(crate) use condition::await_condition;
pub(crate) use namespace::with_temp_namespace;
pub(crate) use process::Process;

use std::net::Ipv4Addr;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use addresses::AddressRange;
use credentials::Credentials;
use process::Program;
use run_directory::RunDirectory;

/// Parts of a control plane besides etcd and the API server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Controller manager, scheduler and a node without a kubelet: Deployments roll out and their pods become Running.
    pub(crate) workloads: bool,
    /// istiod with the manifests of its minimal profile.
    pub(crate) istiod: bool,
}

/// A running control plane; it ends when this is dropped.
pub(crate) struct ControlPlane {
    // Dropped in this order: first the programs, then what they hold open.
    processes: Mutex<Vec<Process>>,
    credentials: Credentials,
    addresses: AddressRange,
    directory: RunDirectory,
}

/// Empty after a failed start, so that only the first test waits for it in vain.
static SHARED: OnceCell<Option<ControlPlane>> = OnceCell::const_new();

impl ControlPlane {
    /// The control plane with everything in it, which all tests of this process share.
    ///
    /// A test that stops a program of it takes one of its own from [`ControlPlane::start`].
    pub(crate) async fn shared() -> &'static Self {
        let everything = Options { workloads: true, istiod: true };
        let start = async || AssertUnwindSafe(Self::start(everything)).catch_unwind().await.ok();
        SHARED.get_or_init(start).await.as_ref().expect("the shared control plane did not start, as is said further up")
    }

    /// Starts a control plane and returns when all of it is ready.
    ///
    /// # Panics
    ///
    /// When a program is missing, ends or is not ready in time; the message names its log.
    pub(crate) async fn start(options: Options) -> Self {
        build().await;
        let plane = Self::prepare().expect("failed to prepare the control plane's directory");
        plane.start_etcd().await;
        plane.start_api_server().await;
        if options.workloads {
            plane.start_controller_manager();
            plane.start_scheduler();
            plane.start_nodes().await;
        }
        if options.istiod {
            plane.start_istiod().await;
        }
        plane
    }

    fn prepare() -> anyhow::Result<Self> {
        let addresses = AddressRange::reserve()?;
        let directory = RunDirectory::create(&build_directory().join("runs"))?;
        let credentials = Credentials::write(directory.path(), addresses.api_server())?;
        Ok(Self { processes: Mutex::default(), credentials, addresses, directory })
    }

    /// The directory of logs, credentials and data.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The kubeconfig of a cluster administrator.
    pub(crate) fn kubeconfig_path(&self) -> PathBuf {
        self.credentials.kubeconfig("admin")
    }

    /// A ClusterIP that no Service has yet; whoever gets it may give it to a Service and listen on it.
    pub(crate) fn free_cluster_ip(&self) -> Ipv4Addr {
        self.addresses.free_cluster_ip()
    }

    /// Kills a program by its name, as a crash would end it.
    ///
    /// # Panics
    ///
    /// When no program of that name runs.
    pub(crate) fn kill(&self, name: &str) {
        let mut processes = self.processes.lock();
        let index = processes.iter().position(|process| process.name() == name);
        // Dropping it kills it.
        drop(processes.remove(index.unwrap_or_else(|| panic!("no program {name} runs in this control plane"))));
    }

    /// Halts the API server, so that what is asked of it is neither answered nor refused, until it is let go on.
    pub(crate) fn halt_api_server(&self, halt: bool) {
        let processes = self.processes.lock();
        let server = processes.iter().find(|process| process.name() == "kube-apiserver");
        server.expect("the API server runs").signal(if halt { "STOP" } else { "CONT" });
    }

    /// Kills the API server and starts it again, with everything it had stored.
    pub(crate) async fn restart_api_server(&self) {
        self.kill("kube-apiserver");
        self.start_api_server().await;
    }

    fn run(&self, program: Program) {
        let name = program.name;
        let process = Process::spawn(program, self.directory.path(), &binary(name))
            .unwrap_or_else(|error| panic!("failed to start {name}: {error}"));
        self.processes.lock().push(process);
    }

    /// Polls until the probe is content, and gives up at once when one of the programs has ended.
    async fn await_ready<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut probe: impl AsyncFnMut() -> anyhow::Result<T>,
    ) -> T {
        let what = format!("{what}, logging to {}", self.directory().display());
        let ready = await_condition(&what, timeout, async || match self.first_ended() {
            Some(ended) => Ok(Err(ended)),
            None => probe().await.map(Ok),
        });
        ready.await.unwrap_or_else(|ended| panic!("waited for {what}, but {ended}"))
    }

    fn first_ended(&self) -> Option<String> {
        let mut processes = self.processes.lock();
        processes.iter_mut().find_map(Process::how_it_ended)
    }
}

/// Builds the programs, or finds that they are built; the script says what it does and what is missing.
async fn build() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control-plane/build");
    let target = target_directory();
    let built = tokio::task::spawn_blocking(move || {
        std::process::Command::new("timeout").arg("40m").arg(script).env("CARGO_TARGET_DIR", target).status()
    });
    let status = built.await.expect("the build does not panic").expect("failed to run tests/control-plane/build");
    assert!(status.success(), "tests/control-plane/build failed ({status}); what it printed says why");
}

fn target_directory() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the directory for temporary files is in the target directory")
}

fn build_directory() -> PathBuf {
    target_directory().join("control-plane")
}

fn binary(name: &str) -> PathBuf {
    build_directory().join("bin").join(name)
}
