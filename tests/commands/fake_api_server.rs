//! A fake API server with scripted answers, for cases that a real one shows only now and then.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

/// Status and body for a path; `None` for a request that never gets an answer.
type Answers = dyn Fn(&str) -> Option<(u16, Value)> + Send + Sync;

/// Fake API server, with a kubeconfig for it.
pub(super) struct FakeApiServer {
    directory: tempfile::TempDir,
}

impl FakeApiServer {
    pub(super) fn start(answers: impl Fn(&str) -> Option<(u16, Value)> + Send + Sync + 'static) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", socket.local_addr().unwrap());
        let answers: Arc<Answers> = Arc::new(answers);
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                let answers = Arc::clone(&answers);
                std::thread::spawn(move || serve(&stream.unwrap(), &*answers));
            }
        });
        let directory = tempfile::tempdir().unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it", "users": [{"name": "it", "user": {}}],
            "clusters": [{"name": "it", "cluster": {"server": server}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        std::fs::write(directory.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        Self { directory }
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }
}

/// Answers one request after another until the client closes the connection.
fn serve(mut stream: &TcpStream, answers: &Answers) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(first) = lines.next() {
        let _head = lines.by_ref().take_while(|line| !line.is_empty()).count();
        let path = first.split([' ', '?']).nth(1).unwrap();
        let Some((status, body)) = answers(path) else {
            std::thread::park();
            continue;
        };
        let body = body.to_string();
        let head = format!("HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
        // A client that has gone needs no answer.
        let _sent = write!(stream, "{head}\r\n\r\n{body}");
    }
}

/// Answers with a list of these objects.
pub(super) fn list(items: &[Value]) -> (u16, Value) {
    (200, json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}))
}

/// Answers that the request is forbidden.
pub(super) fn forbidden() -> (u16, Value) {
    (
        403,
        json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "no", "reason": "Forbidden", "code": 403}),
    )
}
