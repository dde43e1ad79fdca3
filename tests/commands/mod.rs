//! The commands that look and tell, run as a user runs them, with a directory that stands in for the cluster.

mod answering;
pub(crate) mod explain;
pub(crate) mod overriding;
pub(crate) mod preview;
pub(crate) mod states;
pub(crate) mod status;
pub(crate) mod suspend;
mod testing;
mod watching;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What a command did.
pub(crate) struct Told {
    /// Its exit code.
    pub(crate) code: i32,
    /// What it printed.
    pub(crate) out: String,
    /// What it said on standard error.
    pub(crate) err: String,
}

impl Told {
    /// What it printed, as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    /// Its only words, where it failed.
    #[track_caller]
    fn refusal(&self) -> &str {
        assert_eq!((self.code, self.out.as_str()), (2, ""), "{}", self.err);
        self.err.trim_end().strip_prefix("outrigger: ").expect("an error names the program")
    }
}

/// Runs the binary.
pub(crate) fn outrigger(arguments: &[&str], kubeconfig: Option<&Path>, input: &str) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.args(arguments).env_remove("POD_NAMESPACE").env("KUBECONFIG", kubeconfig.unwrap_or(Path::new("/dev/null")));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A command that does not read is none that fails.
    let _unread = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    Told { code: output.status.code().expect("it exits"), out: text(output.stdout), err: text(output.stderr) }
}

/// A directory of objects.
pub(crate) struct State(pub(crate) tempfile::TempDir);

impl State {
    /// One file of these objects, beside the injectors that inject where a namespace asks for it.
    pub(crate) fn of(objects: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let injectors = serde_json::to_string(&crate::decisions::injectors("default")).unwrap();
        let list = format!(r#"{{"apiVersion": "v1", "kind": "List", "items": {injectors}}}"#);
        std::fs::write(directory.path().join("injectors.json"), list).unwrap();
        std::fs::write(directory.path().join("objects.yaml"), objects).unwrap();
        Self(directory)
    }

    fn run(&self, arguments: &[&str], input: &str) -> Told {
        let state = self.0.path().display().to_string();
        outrigger(&[arguments, &["--state", &state, "--now", "2026-11-22T12:00:00Z"]].concat(), None, input)
    }
}
