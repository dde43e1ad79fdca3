//! Requests that no API server would send, to `outrigger serve --embedded` as a process.
//!
//! Each request gets its status and a helpful sentence, and no pod is refused for it. The process goes on answering with the same
//! memory.

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PATIENCE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;
/// Most bytes of a sentence, whatever it quotes.
const LONGEST_SENTENCE: usize = 1024;
/// Most bytes of a line of the audit log.
const LONGEST_ENTRY: usize = 8 * 1024;

/// Lock of the tests that keep all processors busy: a starved client is cut off, so these tests run one at a time.
static BUSY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Request with its expected answer.
struct RequestCase {
    name: &'static str,
    request: Vec<u8>,
    expected: ExpectedReply,
}

#[derive(Debug, Clone, Copy)]
enum ExpectedReply {
    /// Status, and words that the sentence must have.
    Refused(u16, &'static str),
    /// Status 200; the pod is allowed and patched.
    Patched,
    /// Status 200; the pod is allowed and not touched.
    Left,
}

use ExpectedReply::{Left, Patched, Refused};

fn case(name: &'static str, request: Vec<u8>, expected: ExpectedReply) -> RequestCase {
    RequestCase { name, request, expected }
}

/// Requests that are wrong before their review is read.
fn bad_requests() -> Vec<RequestCase> {
    let good = recorded();
    let with_type = |line: &str| format!("POST /mutate HTTP/1.1\r\n{line}Content-Length: 2\r\n\r\n{{}}").into_bytes();
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let chunked = "POST /mutate HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (first, second) = good.split_at(good.len() / 2);
    let in_chunks = [chunked.as_bytes(), &chunk(first), &chunk(second), b"0\r\n\r\n"].concat();
    let endless = [chunked.as_bytes(), &chunk(&vec![b' '; 21 * MIB]), b"0\r\n\r\n"].concat();
    vec![
        case("GET", b"GET /mutate HTTP/1.1\r\n\r\n".to_vec(), Refused(405, "takes POST")),
        case("another path", posted_to("/other", &good), Refused(404, "the webhook is at /mutate")),
        case("a path within", posted_to("/mutate/pods", &good), Refused(404, "the webhook is at /mutate")),
        case("YAML", with_type("Content-Type: application/yaml\r\n"), Refused(415, "application/json")),
        case("no content type", with_type(""), Refused(415, "application/json")),
        case("an empty body", posted(b""), Refused(400, "the body is empty; send an AdmissionReview")),
        case("24 MiB", posted(&vec![b' '; 24 * MIB]), Refused(413, "larger than 20 MiB")),
        case("24 MiB claimed and not sent", announced(24 * MIB, ""), Refused(413, "larger than 20 MiB")),
        case(
            "24 MiB claimed, if it may be sent",
            announced(24 * MIB, "Expect: 100-continue\r\n"),
            Refused(413, "larger than 20 MiB"),
        ),
        case("21 MiB in a chunk", endless, Refused(413, "larger than 20 MiB")),
        case("a good review in chunks", in_chunks, Patched),
        case("chunks that are none", [chunked.as_bytes(), b"xyz\r\n"].concat(), Refused(400, "send it again")),
    ]
}

/// Bodies that are no review, or a review of something else.
fn bad_bodies() -> Vec<RequestCase> {
    let good = recorded();
    let deep = |open: &str, close: &str| [open.repeat(10_000), close.repeat(10_000)].concat();
    let utf_16: Vec<u8> = String::from_utf8_lossy(&good).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let not_one = "not an AdmissionReview";
    let bodies = [
        ("the half of a review", good[..good.len() / 2].to_vec(), Refused(400, "EOF")),
        ("a review and a half", [&good[..], b"{"].concat(), Refused(400, "trailing characters")),
        ("lists 10,000 deep", deep("[", "]").into(), Refused(400, not_one)),
        ("objects 10,000 deep", deep("{\"request\":", "}").into(), Refused(400, not_one)),
        ("objects 10,000 deep that nobody reads", deep("{\"a\":", "}").replace(":}", ":1}").into(), Refused(400, "")),
        ("null", b"null".to_vec(), Refused(400, not_one)),
        ("a number", b"1e999999".to_vec(), Refused(400, not_one)),
        ("zeros", vec![0; 1000], Refused(400, not_one)),
        ("a list", br#"["admission.k8s.io/v1","AdmissionReview",null]"#.to_vec(), Refused(400, not_one)),
        ("a byte order mark first", ["\u{feff}".as_bytes(), &good].concat(), Refused(400, not_one)),
        ("UTF-16", utf_16, Refused(400, "")),
        ("a pod", with(|review| *review = review["request"]["object"].take()), Refused(400, "send an AdmissionReview")),
        ("another kind", with(|review| review["kind"] = json!("Table")), Refused(400, "\"Table\"")),
        (
            "a kind of 1 MiB",
            with(|review| review["kind"] = json!("k".repeat(MIB))),
            Refused(400, "send an AdmissionReview"),
        ),
        (
            "v1beta1",
            with(|review| review["apiVersion"] = json!("admission.k8s.io/v1beta1")),
            Refused(400, "admissionReviewVersions"),
        ),
        ("no request", with(|review| review["request"] = json!(null)), Refused(400, "request is missing")),
        (
            "kind twice",
            replaced("{\"kind\":\"AdmissionReview\"", "{\"kind\":\"AdmissionReview\",\"kind\":\"AdmissionReview\""),
            Refused(400, "duplicate field `kind`"),
        ),
    ];
    bodies.into_iter().map(|(name, body, expected)| case(name, posted(&body), expected)).collect()
}

/// Reviews with parts that are missing, wrong, repeated or far too large.
fn bad_reviews() -> Vec<RequestCase> {
    let labels: Value =
        (0..100_000).map(|number| (format!("label-{number}"), json!("x"))).collect::<serde_json::Map<_, _>>().into();
    let owner = |number| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("o{number}"), "uid": format!("{number}")});
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let not_one = "not an AdmissionReview";
    let escapes = |text: &str| replaced("\"app\":\"small\"", &format!("\"app\":\"{}\"", text.repeat(MIB / 2)));
    let annotated = |pairs: &str| replaced("\"labels\":{", &format!("\"annotations\":{{{pairs}}},\"labels\":{{"));
    let invalid = |at: &str| {
        let body = recorded();
        let position = body.windows(at.len()).position(|window| window == at.as_bytes()).unwrap();
        [&body[..position], b"\xff", &body[position..]].concat()
    };
    let bodies = [
        ("no uid", request(|request| drop(request.remove("uid"))), Refused(400, "request.uid is missing")),
        (
            "no namespace",
            request(|request| drop(request.remove("namespace"))),
            Refused(400, "request.namespace is missing"),
        ),
        ("no object", request(|request| drop(request.remove("object"))), Refused(400, "request.object is missing")),
        ("no metadata", pod(|pod| pod["metadata"] = json!(null)), Refused(400, "request.object.metadata is missing")),
        ("no spec", pod(|pod| pod["spec"] = json!(null)), Patched),
        (
            "a text for dryRun",
            request(|request| drop(request.insert("dryRun".into(), json!("no")))),
            Refused(400, "boolean"),
        ),
        ("an update", request(|request| drop(request.insert("operation".into(), json!("UPDATE")))), Left),
        (
            "an update of nonsense",
            request(|request| {
                request.extend([("operation".into(), json!("UPDATE")), ("object".into(), json!({"metadata": 7}))]);
            }),
            Left,
        ),
        ("no labels", pod(|pod| pod["metadata"]["labels"] = json!(null)), Patched),
        (
            "a number for labels",
            pod(|pod| pod["metadata"]["labels"] = json!(7)),
            Refused(400, "expected a map of texts"),
        ),
        (
            "a text of 1 MiB for labels",
            pod(|pod| pod["metadata"]["labels"] = json!("l".repeat(MIB))),
            Refused(400, "expected a map of texts"),
        ),
        (
            "a number for a label",
            pod(|pod| pod["metadata"]["labels"]["app"] = json!(7)),
            Refused(400, "expected a string"),
        ),
        ("a list for the metadata", pod(|pod| pod["metadata"] = json!(["name"])), Refused(400, "")),
        (
            "a label twice",
            replaced("\"app\":\"small\"", "\"app\":\"a\",\"app\":\"b\""),
            Refused(400, "duplicate key \"app\" in labels"),
        ),
        (
            "a label of 1 MiB twice",
            replaced("\"app\":\"small\"", &format!("\"{0}\":\"a\",\"{0}\":\"b\"", "l".repeat(MIB))),
            Refused(400, "in labels"),
        ),
        (
            "an annotation of ours twice",
            annotated(r#""outrigger.dev/inject":"true","outrigger.dev/\u0069nject":"false""#),
            Refused(400, "duplicate key \"outrigger.dev/inject\" in annotations"),
        ),
        ("200,000 annotations that begin like ours", annotated(&numbered("outrigger.dev/", 200_000)), Patched),
        ("an annotation of others twice", annotated(r#""a":"b","a":"c""#), Patched),
        ("lists 10,000 deep that nobody reads", replaced("\"volumes\":[", &format!("\"volumes\":[{deep},")), Patched),
        (
            "lists 10,000 deep for an owner",
            replaced("\"ownerReferences\":[", &format!("\"ownerReferences\":[{deep},")),
            Refused(400, not_one),
        ),
        (
            "a number of 1 MiB that nobody reads",
            replaced("\"volumes\":[", &format!("\"volumes\":[{},", "9".repeat(MIB))),
            Patched,
        ),
        ("invalid UTF-8 in a label", invalid("small\",\"pod-template"), Refused(400, "invalid UTF-8 at byte")),
        ("invalid UTF-8 that nobody reads", invalid("nginx"), Refused(400, "invalid UTF-8 at byte")),
        ("half a surrogate pair in a label", escapes(r"\ud800"), Refused(400, "surrogate")),
        ("half a megabyte of escapes", escapes(r"\u003c\u202e\n"), Patched),
        (
            "a reason of escapes",
            annotated(&format!(
                r#""outrigger.dev/inject":"true","outrigger.dev/reason":"{}""#,
                r"\u0000\u001b[2J".repeat(MIB)
            )),
            Patched,
        ),
        ("100,000 labels", pod(|pod| pod["metadata"]["labels"] = labels), Patched),
        (
            "the 5,000th label is a number",
            replaced("\"app\":\"small\"", &(numbered("l", 5000) + ",\"n\":7")),
            Refused(400, "expected a string"),
        ),
        (
            "more labels than can be stored",
            replaced("\"app\":\"small\"", &numbered("l", 200_000)),
            Refused(400, "more than 180000 labels"),
        ),
        (
            "10,000 owner references",
            pod(|pod| {
                let real = pod["metadata"]["ownerReferences"][0].take();
                pod["metadata"]["ownerReferences"] = (0..10_000).map(owner).chain([real]).collect();
            }),
            Patched,
        ),
    ];
    bodies.into_iter().map(|(name, body, expected)| case(name, posted(&body), expected)).collect()
}

#[tokio::test]
async fn whatever_is_sent_gets_its_status_and_a_sentence_and_leaves_the_process_as_it_was() {
    let served = ServerProcess::start();
    served.answers_a_good_review().await;
    let before = served.memory("VmRSS");
    let cases = async {
        let mut failures = Vec::new();
        for RequestCase { name, request, expected } in
            bad_requests().into_iter().chain(bad_bodies()).chain(bad_reviews())
        {
            let outcome = timeout(PATIENCE, served.ask(&request)).await.unwrap_or(Err("no answer came".to_owned()));
            let wrong = outcome.and_then(|reply| reply.compared(expected));
            failures.extend(wrong.err().map(|why| format!("{name}: expected {expected:?}: {why}")));
        }
        failures
    };
    let (failures, (), ()) = tokio::join!(cases, a_slow_body(&served), a_slow_head(&served));
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
    served.answers_a_good_review().await;
    let grown = served.memory("VmRSS").saturating_sub(before);
    assert!(grown < 64 * MIB, "it holds {} MiB more than before", grown / MIB);
    served.says_nothing_it_should_not();
}

/// Sends a body of one byte per second: the server gives up after ten seconds and tells the client.
async fn a_slow_body(served: &ServerProcess) {
    let started = Instant::now();
    let mut stream = served.connect().await;
    stream.write_all(&announced("5000", "")).await.unwrap();
    let said = dribble(&mut stream, " ").await;
    assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("took too long to arrive"), "{said}");
    assert!((9..20).contains(&started.elapsed().as_secs()), "after {:?}", started.elapsed());
}

/// Sends header fields of one byte per second: the server closes the connection after five seconds.
async fn a_slow_head(served: &ServerProcess) {
    let started = Instant::now();
    let mut stream = served.connect().await;
    assert_eq!(dribble(&mut stream, "A").await, "");
    assert!((4..15).contains(&started.elapsed().as_secs()), "after {:?}", started.elapsed());
}

#[tokio::test]
async fn two_hundred_bodies_of_20_mib_at_once_keep_neither_good_reviews_out_nor_much_memory() {
    let _alone = BUSY.lock().await;
    let served = ServerProcess::start();
    let shell = replaced("\"volumes\":[", "\"volumes\":[\"@\",");
    let at = shell.iter().position(|byte| *byte == b'@').unwrap();
    let filling = vec![b'x'; 20 * MIB + 1 - shell.len()];
    let huge = posted(&[&shell[..at], &filling, &shell[at + 1..]].concat());
    let done = AtomicBool::new(false);
    let flood = async {
        let replies = join_all((0..200).map(|_| served.ask(&huge))).await;
        done.store(true, Relaxed);
        replies
    };
    let good = async {
        let (mut answered, mut longest) = (0, Duration::ZERO);
        while !done.load(Relaxed) {
            let started = Instant::now();
            served.answers_a_good_review().await;
            (answered, longest) = (answered + 1, longest.max(started.elapsed()));
        }
        (answered, longest)
    };
    // On a busy machine 4 GiB of TLS take their time.
    let (replies, (answered, longest)) = timeout(5 * PATIENCE, async { tokio::join!(flood, good) }).await.unwrap();
    let compared = |reply: &Result<HttpReply, String>| match reply {
        Ok(reply) if reply.status == 200 => reply.compared(Patched),
        Ok(reply) => reply.compared(Refused(503, "try again in a second")),
        Err(why) => Err(why.clone()),
    };
    let failures: Vec<String> = replies.iter().filter_map(|reply| compared(reply).err()).collect();
    assert!(failures.is_empty(), "{} of 200: {}", failures.len(), failures[0]);
    assert!(answered > 0 && longest < PATIENCE, "{answered} good reviews, the slowest after {longest:?}");
    let most = served.most_memory();
    assert!(most < 100 * MIB, "it held {} MiB", most / MIB);
    served.says_nothing_it_should_not();
}

#[tokio::test]
async fn labels_without_number_take_little_more_memory_than_the_body_they_come_in() {
    let _alone = BUSY.lock().await;
    let served = ServerProcess::start();
    let crowded = posted(&replaced("\"app\":\"small\"", &numbered("", 1_500_000)));
    served.ask(&crowded).await.unwrap().compared(Refused(400, "more than 180000 labels")).unwrap();
    let most = served.most_memory();
    assert!(most < 50 * MIB, "it held {} MiB", most / MIB);
    served.answers_a_good_review().await;
}

#[tokio::test]
async fn unfinished_heads_of_any_number_of_clients_fit_the_memory_there_is() {
    let _alone = BUSY.lock().await;
    let served = ServerProcess::start();
    let head = format!("POST /mutate HTTP/1.1\r\nX: {}", "a".repeat(31_000));
    let mut clients = Vec::new();
    for _ in 0..18 {
        let opened = join_all((0..100).map(|_| async {
            let mut client = served.connect().await;
            // It may be refused while it is sent.
            let _refused = client.write_all(head.as_bytes()).await;
            let _refused = client.flush().await;
            client
        }));
        clients.extend(opened.await);
    }
    served.answers_a_good_review().await;
    let most = served.most_memory();
    assert!(most < 95 * MIB, "it held {} MiB", most / MIB);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let served = ServerProcess::start();
    let mut stream = served.connect().await;
    let body = recorded();
    stream.write_all(&announced(body.len(), "Expect: 100-continue\r\n")).await.unwrap();
    let mut read = Vec::new();
    assert_eq!(soon(reply(&mut stream, &mut read)).await.unwrap().status, 100);
    stream.write_all(&body).await.unwrap();
    soon(reply(&mut stream, &mut read)).await.unwrap().compared(Patched).unwrap();
}

#[tokio::test]
async fn requests_in_one_piece_are_answered_in_their_order_and_a_refusal_is_the_last_answer() {
    let served = ServerProcess::start();
    let mut stream = served.connect().await;
    let (good, bad) = (posted(&recorded()), posted(b"{}"));
    stream.write_all(&[&good[..], &good, &bad, &good].concat()).await.unwrap();
    let mut read = Vec::new();
    for expected in [Patched, Patched, Refused(400, "send an AdmissionReview")] {
        soon(reply(&mut stream, &mut read)).await.unwrap().compared(expected).unwrap();
    }
    soon(reply(&mut stream, &mut read)).await.unwrap_err();
    served.answers_a_good_review().await;
}

#[tokio::test]
async fn what_is_no_tls_of_today_is_told_so_in_its_own_language() {
    let served = ServerProcess::start();
    // A hello of TLS 1.1: version, random, no session, one cipher suite, no compression.
    let hello = [&[3, 2][..], &[7; 32], &[0, 0, 2, 0xc0, 0x09, 1, 0]].concat();
    let length = u8::try_from(hello.len()).unwrap();
    let hello = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
    // A fatal alert, protocol_version.
    assert_eq!(served.says_in_the_clear(&hello).await, [21, 3, 1, 0, 2, 2, 70]);
    let said = served.says_in_the_clear(&posted(&recorded())).await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.0 400 ") && said.contains("use https"), "{said}");
    served.says_in_the_clear(&[0xff; 1000]).await;
    served.answers_a_good_review().await;
}

/// Running server; killed when dropped.
struct ServerProcess {
    child: Child,
    webhook: SocketAddr,
    tls: TlsConnector,
    directory: tempfile::TempDir,
    said: Arc<Mutex<String>>,
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _already_dead = self.child.kill();
        let _nothing_to_reap = self.child.wait();
    }
}

impl ServerProcess {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certificates = directory.path().join("certs");
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.args([
            "serve",
            "--embedded",
            "--webhook-listen=127.0.0.1:0",
            "--api-listen=127.0.0.1:0",
            "--operations-listen=127.0.0.1:0",
        ]);
        command.arg("--cert-dir").arg(&certificates).arg("--audit-log").arg(directory.path().join("audit.jsonl"));
        // As the installed Deployment has it.
        command.env("MALLOC_MMAP_THRESHOLD_", "131072");
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("webhook listens on ")?.1.to_owned())).unwrap();
        let webhook = address.split_whitespace().next().unwrap().parse().unwrap();
        let said = Arc::<Mutex<String>>::default();
        let saying = Arc::clone(&said);
        std::thread::spawn(move || lines.for_each(|line| saying.lock().push_str(&(line + "\n"))));
        Self { child, webhook, tls: trusting(&certificates.join("ca.crt")), directory, said }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(self.webhook).await.unwrap();
        soon(self.tls.connect(ServerName::try_from("localhost").unwrap(), socket)).await.unwrap()
    }

    /// Sends a request and returns the first answer, which may come before the request is complete.
    async fn ask(&self, request: &[u8]) -> Result<HttpReply, String> {
        let (mut reading, mut writing) = tokio::io::split(self.connect().await);
        let (mut read, sending) = (Vec::new(), async {
            // A server that has answered may close the connection; only its answer counts.
            let _closed = writing.write_all(request).await;
            let _closed = writing.flush().await;
            std::future::pending().await
        });
        tokio::select! {
            answer = reply(&mut reading, &mut read) => answer,
            () = sending => unreachable!("it never ends"),
        }
    }

    async fn answers_a_good_review(&self) {
        soon(self.ask(&posted(&recorded()))).await.and_then(|reply| reply.compared(Patched)).unwrap();
    }

    /// Sends bytes on a connection without TLS, and returns the whole answer.
    async fn says_in_the_clear(&self, bytes: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(self.webhook).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut said = Vec::new();
        // A connection that was cut off may be reset.
        let _reset = soon(socket.read_to_end(&mut said)).await;
        said
    }

    /// Reads a figure of the process's memory from /proc, in bytes.
    fn memory(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Returns the peak of memory without the pages of the program itself. Those are more than 40 MiB in a debug build, and
    /// the kernel can drop them.
    fn most_memory(&self) -> usize {
        self.memory("VmHWM") - self.memory("RssFile")
    }

    /// Checks that the logs have no panic and no text of a client, and that no entry of the audit log is long.
    fn says_nothing_it_should_not(&self) {
        let said = self.said.lock();
        assert!(!said.contains("panicked") && said.len() < LONGEST_ENTRY, "{said}");
        for line in std::fs::read_to_string(self.directory.path().join("audit.jsonl")).unwrap().lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            // A run of more than 15 seconds also records the drift of the sample, which has a `why`.
            let sentence = entry["reason"].as_str().or(entry["why"].as_str()).unwrap();
            assert!(line.len() < LONGEST_ENTRY && !sentence.is_empty(), "{line}");
        }
    }
}

fn trusting(authority: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth()).into()
}

#[derive(Debug)]
struct HttpReply {
    status: u16,
    body: String,
}

impl HttpReply {
    fn compared(&self, expected: ExpectedReply) -> Result<(), String> {
        let Self { status, body } = self;
        let is_right = match expected {
            Refused(expected, words) => {
                let is_sentence =
                    !body.trim().is_empty() && body.len() <= LONGEST_SENTENCE && !body.contains("\"allowed\"");
                *status == expected && body.contains(words) && is_sentence && !body.trim().contains(char::is_control)
            }
            Patched | Left => {
                let response = serde_json::from_str::<Value>(body).unwrap_or_default()["response"].take();
                *status == 200 && response["allowed"] == true && response["patch"].is_null() == matches!(expected, Left)
            }
        };
        let start: String = body.chars().take(300).collect();
        if is_right { Ok(()) } else { Err(format!("{status} and {} bytes: {start}", body.len())) }
    }
}

/// Reads the next answer. Bytes beyond it stay for the answer after it.
async fn reply(stream: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>) -> Result<HttpReply, String> {
    let mut more = async |read: &mut Vec<u8>| match stream.read_buf(read).await {
        Ok(0) => Err("the connection was closed".to_owned()),
        Ok(_) => Ok(()),
        Err(cause) => Err(cause.to_string()),
    };
    let end = loop {
        match read.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None => more(read).await?,
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    while read.len() < end + length {
        more(read).await?;
    }
    let body = String::from_utf8_lossy(&read[end..end + length]).into_owned();
    read.drain(..end + length);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(HttpReply { status: status.ok_or("there is no status")?, body })
}

/// Sends this text once a second until the server closes the connection, and returns the answer.
async fn dribble(stream: &mut TlsStream<TcpStream>, text: &str) -> String {
    let (mut pace, mut said) = (tokio::time::interval(Duration::from_secs(1)), Vec::new());
    let until_closed = async {
        loop {
            tokio::select! {
                read = stream.read_buf(&mut said) => if !matches!(read, Ok(1..)) { return },
                _ = pace.tick() => if stream.write_all(text.as_bytes()).await.is_err() { return },
            }
        }
    };
    soon(until_closed).await;
    String::from_utf8(said).unwrap()
}

async fn soon<T>(happens: impl Future<Output = T>) -> T {
    timeout(PATIENCE, happens).await.expect("it should have happened long ago")
}

fn posted(body: &[u8]) -> Vec<u8> {
    posted_to("/mutate", body)
}

fn posted_to(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Builds the head of a request with a body of this length.
fn announced(length: impl std::fmt::Display, further: &str) -> Vec<u8> {
    let json = "Content-Type: application/json";
    format!("POST /mutate HTTP/1.1\r\n{json}\r\n{further}Content-Length: {length}\r\n\r\n").into()
}

/// Returns a review from a real API server; the built-in sample answers it with a patch.
fn recorded() -> Vec<u8> {
    include_bytes!("reviews/small.json").to_vec()
}

fn replaced(text: &str, by: &str) -> Vec<u8> {
    let review = String::from_utf8(recorded()).unwrap();
    assert!(review.contains(text), "{text}");
    review.replacen(text, by, 1).into()
}

/// Builds pairs with empty values, under numbered keys with this prefix.
fn numbered(start: &str, count: usize) -> String {
    (0..count).map(|number| format!("\"{start}{number}\":\"\"")).collect::<Vec<_>>().join(",")
}

fn with(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut review = serde_json::from_slice(&recorded()).unwrap();
    change(&mut review);
    review.to_string().into()
}

fn request(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Vec<u8> {
    with(|review| change(review["request"].as_object_mut().unwrap()))
}

fn pod(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    with(|review| change(&mut review["request"]["object"]))
}
