//! Cost of a review against the floor: hyper and rustls that read the body and answer a constant.
//!
//! Both are servers of their own. This process sends them the recorded bodies in turn, over TLS with keep-alive. It prints the
//! medians of all rounds, and the ratio of each round. It asserts no time.
//!
//! `cargo bench --bench admission`; after `--`, `quick` runs a short round of each.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use outrigger::certs::issue::{issue_authority, issue_leaf};
use outrigger::certs::serving_key::ServingKey;
use outrigger::kernel::clock::Clock;
use outrigger::server::tls::{ClientCertificates, server_config};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const BODIES: [&str; 3] = ["small", "typical", "large"];
const CONNECTIONS: usize = 4;

/// Policy that matches every recorded pod, and policies that do not.
const RULES: &str = r#"
apiVersion: outrigger.dev/v1alpha1
kind: ClusterInjectionPolicy
metadata: {name: deployments}
spec: {action: Enable, match: {workloads: [{kind: Deployment}]}}
---
apiVersion: outrigger.dev/v1alpha1
kind: ClusterInjectionPolicy
metadata: {name: jobs}
spec: {action: Disable, match: {workloads: [{kind: Job}, {kind: CronJob}]}}
---
apiVersion: outrigger.dev/v1alpha1
kind: InjectionPolicy
metadata: {name: elsewhere, namespace: elsewhere}
spec: {action: Disable}
"#;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|argument| argument == "floor") {
        return floor(Path::new(&arguments[2]));
    }
    let quick = arguments.iter().any(|argument| argument == "quick");
    let (rounds, round) = if quick { (2, Duration::from_millis(500)) } else { (7, Duration::from_secs(3)) };
    let directory = tempfile::tempdir()?;
    let floor = MeasuredServer::floor(directory.path())?;
    let outrigger = MeasuredServer::outrigger(directory.path())?;
    println!("{CONNECTIONS} connections, {rounds} rounds of {round:?} each in turn; server CPU per request, median");
    println!(
        "{:>8} {:>9} {:>13} {:>13} {:>22} {:>21} {:>21}",
        "body", "bytes", "floor", "outrigger", "ratio (min..max)", "floor p50/p99", "outrigger p50/p99"
    );
    for name in BODIES {
        let body = std::fs::read(recorded(&format!("{name}.json")))?;
        let mut measured: [Vec<RoundTimes>; 2] = Default::default();
        for _ in 0..rounds {
            for (server, rounds) in [&floor, &outrigger].into_iter().zip(&mut measured) {
                rounds.push(server.round(&body, round)?);
            }
        }
        let [floor, outrigger] = measured;
        let ratios: Vec<f64> = floor.iter().zip(&outrigger).map(|(floor, ours)| ours.cpu / floor.cpu).collect();
        let least = ratios.iter().copied().fold(f64::MAX, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        let of = |rounds: &[RoundTimes], value: fn(&RoundTimes) -> f64| median(rounds.iter().map(value).collect());
        println!(
            "{name:>8} {:>9} {:>10.2} us {:>10.2} us {:>10.2} ({least:.2}..{most:.2}) {:>9.0}/{:.0} us {:>12.0}/{:.0} us",
            body.len(),
            of(&floor, |round| round.cpu),
            of(&outrigger, |round| round.cpu),
            median(ratios),
            of(&floor, |round| round.p50),
            of(&floor, |round| round.p99),
            of(&outrigger, |round| round.p50),
            of(&outrigger, |round| round.p99),
        );
    }
    println!("outrigger holds {} KiB", outrigger.status("VmRSS")?);
    Ok(())
}

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reviews").join(name)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Measurements of one round, in microseconds.
struct RoundTimes {
    cpu: f64,
    p50: f64,
    p99: f64,
}

/// Server in a process of its own; killed when dropped.
struct MeasuredServer {
    child: Child,
    address: SocketAddr,
    client: Arc<ClientConfig>,
    /// Text that each answer must have.
    expected: &'static str,
}

impl Drop for MeasuredServer {
    fn drop(&mut self) {
        let _already_dead = self.child.kill();
        let _nothing_to_reap = self.child.wait();
    }
}

impl MeasuredServer {
    fn floor(directory: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("floor").arg(directory);
        Self::start(command, directory, "\"allowed\":true")
    }

    fn outrigger(directory: &Path) -> anyhow::Result<Self> {
        let state = directory.join("state");
        std::fs::create_dir(&state)?;
        std::fs::copy(recorded("state.yaml"), state.join("state.yaml"))?;
        std::fs::write(state.join("rules.yaml"), RULES)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.args(["serve", "--webhook-listen=127.0.0.1:0", "--operations-listen=127.0.0.1:0", "--cert-dir"]);
        command.arg(directory.join("certs")).arg("--audit-log").arg(directory.join("audit.jsonl"));
        command.arg("--embedded").arg(state).env("TOKIO_WORKER_THREADS", "1");
        Self::start(command, &directory.join("certs"), "\"patchType\":\"JSONPatch\"")
    }

    fn start(mut command: Command, certificates: &Path, expected: &'static str) -> anyhow::Result<Self> {
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("webhook listens on ")?.1.to_owned()));
        let address = address.ok_or_else(|| anyhow::anyhow!("a server ended before it listened"))?;
        let address = address.split_whitespace().next().unwrap_or_default().parse()?;
        std::thread::spawn(move || lines.for_each(drop));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificates.join("ca.crt"))?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
        let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
        Ok(Self { child, address, client, expected })
    }

    fn round(&self, body: &[u8], round: Duration) -> anyhow::Result<RoundTimes> {
        let (before, deadline) = (self.cpu()?, Instant::now() + round);
        let mut latencies = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| self.ask(body, deadline))).collect();
            let asked = asking.into_iter().map(|thread| thread.join().expect("asking does not panic"));
            asked.collect::<anyhow::Result<Vec<_>>>().map(|latencies| latencies.concat())
        })?;
        let cpu = (self.cpu()? - before).as_secs_f64() * 1e6;
        latencies.sort_by(f64::total_cmp);
        let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize];
        Ok(RoundTimes { cpu: cpu / latencies.len() as f64, p50: at(0.5), p99: at(0.99) })
    }

    /// Sends reviews over one connection until the deadline. Returns the latency of each answer, in microseconds.
    fn ask(&self, body: &[u8], deadline: Instant) -> anyhow::Result<Vec<f64>> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(self.address.ip().to_string())?;
        let mut stream = StreamOwned::new(ClientConnection::new(Arc::clone(&self.client), name)?, socket);
        let head = format!(
            "POST /mutate?timeout=3s HTTP/1.1\r\nHost: outrigger\r\nUser-Agent: kube-apiserver-admission\r\nContent-Length: {}\r\n\
             Accept: application/json, */*\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        let (mut latencies, mut answer) = (Vec::new(), Vec::new());
        while Instant::now() < deadline {
            let started = Instant::now();
            stream.write_all(&request)?;
            let closes = read_answer(&mut stream, &mut answer)?;
            latencies.push(started.elapsed().as_secs_f64() * 1e6);
            let text = String::from_utf8_lossy(&answer);
            anyhow::ensure!(text.starts_with("HTTP/1.1 200") && text.contains(self.expected), "not the answer: {text}");
            if closes {
                let socket = TcpStream::connect(self.address)?;
                socket.set_nodelay(true)?;
                let name = ServerName::try_from(self.address.ip().to_string())?;
                stream = StreamOwned::new(ClientConnection::new(Arc::clone(&self.client), name)?, socket);
            }
        }
        Ok(latencies)
    }

    /// Returns the processor time of all threads of the server.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += schedstat.split_whitespace().next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    fn status(&self, field: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(line.unwrap_or_default().split_whitespace().next().unwrap_or_default().parse()?)
    }
}

/// Reads one answer. Returns whether the server closes the connection after it.
fn read_answer(stream: &mut impl Read, answer: &mut Vec<u8>) -> anyhow::Result<bool> {
    answer.clear();
    let mut piece = [0; 8192];
    loop {
        if let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name).map(str::trim));
            let length: usize = field("content-length:").unwrap_or_default().parse()?;
            if answer.len() >= end + 4 + length {
                return Ok(field("connection:") == Some("close"));
            }
        }
        let read = stream.read(&mut piece)?;
        anyhow::ensure!(read > 0, "the server closed the connection");
        answer.extend_from_slice(&piece[..read]);
    }
}

/// Runs the floor: one thread that reads the body and answers a constant.
fn floor(directory: &Path) -> anyhow::Result<()> {
    use http_body_util::{BodyExt, Full};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;

    const ANSWER: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"5411d1fc-880f-4ee8-93c9-2324eafebb83","allowed":true}}"#;
    let now = Clock::System.now();
    let signer = issue_authority(now, SignedDuration::from_hours(1))?;
    let pair = issue_leaf(&signer, &["127.0.0.1".to_owned()], now, SignedDuration::from_hours(1))?;
    std::fs::write(directory.join("ca.crt"), &signer.certificate_pem)?;
    let tls =
        tokio_rustls::TlsAcceptor::from(server_config(ServingKey::new(&pair)?, &ClientCertificates::NotRequested)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        eprintln!("webhook listens on {}", listener.local_addr()?);
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let tls = tls.clone();
            tokio::task::spawn_local(async move {
                let Ok(stream) = tls.accept(socket).await else { return };
                let service = service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
                    let body = request.into_body().collect().await?.to_bytes();
                    debug_assert!(!body.is_empty());
                    let mut answer = hyper::Response::new(Full::new(bytes::Bytes::from_static(ANSWER.as_bytes())));
                    let json = http::HeaderValue::from_static("application/json");
                    answer.headers_mut().insert(http::header::CONTENT_TYPE, json);
                    Ok::<_, hyper::Error>(answer)
                });
                let _ended_by_the_client =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}
