//! Commands that only read, run as a user runs them, with a directory in place of the cluster.

pub(crate) mod explain;
mod fake_api_server;
pub(crate) mod overrides;
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

/// Output of a command.
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl CommandOutput {
    /// Parses standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    /// Returns the message of a command that failed and printed nothing else.
    #[track_caller]
    fn refusal(&self) -> &str {
        assert_eq!((self.code, self.out.as_str()), (2, ""), "{}", self.err);
        self.err.trim_end().strip_prefix("outrigger: ").expect("an error names the program")
    }
}

/// Runs the binary.
pub(crate) fn outrigger(arguments: &[&str], kubeconfig: Option<&Path>, input: &str) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.args(arguments).env_remove("POD_NAMESPACE").env("KUBECONFIG", kubeconfig.unwrap_or(Path::new("/dev/null")));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A command may succeed without reading its input.
    let _unread = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    CommandOutput { code: output.status.code().expect("it exits"), out: text(output.stdout), err: text(output.stderr) }
}

/// Directory of objects.
pub(crate) struct StateDirectory(pub(crate) tempfile::TempDir);

impl StateDirectory {
    /// Writes these objects, and the injectors of a default installation of Istio.
    pub(crate) fn of(objects: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let injectors = serde_json::to_string(&crate::decisions::injectors("default")).unwrap();
        let list = format!(r#"{{"apiVersion": "v1", "kind": "List", "items": {injectors}}}"#);
        std::fs::write(directory.path().join("injectors.json"), list).unwrap();
        std::fs::write(directory.path().join("objects.yaml"), objects).unwrap();
        Self(directory)
    }

    fn run(&self, arguments: &[&str], input: &str) -> CommandOutput {
        let state = self.0.path().display().to_string();
        outrigger(&[arguments, &["--state", &state, "--now", "2026-11-22T12:00:00Z"]].concat(), None, input)
    }
}
