//! The programs of a control plane, started so that none outlives the test process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender};
use std::{io, thread};

/// Program to start; its binary and its log have this name.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(&'static str, String)>,
}

/// A running program, killed when dropped.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program under test; its log goes to the directory.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub(crate) fn start(
        name: &'static str,
        binary: &Path,
        arguments: Vec<String>,
        environment: Vec<(&'static str, String)>,
        directory: &Path,
    ) -> Self {
        let program = Program { name, arguments, environment };
        Self::spawn(program, directory, binary).unwrap_or_else(|error| panic!("failed to start {name}: {error}"))
    }

    /// The log goes to the directory; what an earlier run of the same program wrote there is kept.
    pub(super) fn spawn(program: Program, directory: &Path, binary: &Path) -> io::Result<Self> {
        let Program { name, arguments, environment } = program;
        let log = directory.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command = dying_with_this_process(binary);
        command
            .args(arguments)
            // A proxy or a kubeconfig of the developer's must not reach the programs.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", directory)
            .envs(environment)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        Ok(Self { name, child: spawn(command)?, log })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Sends a signal by its name, such as `TERM`, `STOP` or `CONT`.
    ///
    /// # Panics
    ///
    /// When it cannot be sent.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "failed to send {name} to {}", self.name);
    }

    /// Returns a sentence with the end of the log, if the program has ended by itself.
    pub(super) fn how_it_ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(10)..].join("\n");
        Some(format!("{} ended with {status}, see {}:\n{end}", self.name, self.log.display()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL: the API server's graceful end takes up to a minute.
        let _already_dead = self.child.kill();
        let _nothing_to_reap = self.child.wait();
    }
}

/// The kernel kills the program when its parent dies, even by SIGKILL; `setpriv` asks for that without unsafe code.
fn dying_with_this_process(binary: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(binary);
    command
}

type SpawnRequest = (Command, Sender<io::Result<Child>>);

/// To the kernel the parent is the thread, and the thread of a test ends with the test: this one does not.
static SPAWNER: LazyLock<Sender<SpawnRequest>> = LazyLock::new(|| {
    let (orders, queue) = mpsc::channel::<SpawnRequest>();
    thread::spawn(move || {
        for (mut command, answer) in queue {
            let _asker_is_gone = answer.send(command.spawn());
        }
    });
    orders
});

fn spawn(command: Command) -> io::Result<Child> {
    let (answer, child) = mpsc::channel();
    SPAWNER.send((command, answer)).expect("the spawning thread never ends");
    child.recv().expect("the spawning thread answers every order")
}
