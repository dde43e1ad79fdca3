//! The API over the built-in sample: its document, its answers to the requests of `requests.txt`, and what the audit log says of them.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use jiff::SignedDuration;
use outrigger::api::{ApiState, router};
use outrigger::audit;
use outrigger::features::backend::Backend;
use outrigger::kernel::clock::ManualClock;
use outrigger::kubernetes::client::access::BearerToken;
use outrigger::kubernetes::intake::files::{self, store::FileStore};
use outrigger::kubernetes::inventory::rules::RuleLimits;
use outrigger::metrics::Metrics;
use outrigger::server::listener_state::Peer;
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::{NOW, check, knowing, without_ids};

#[tokio::test]
async fn the_document_of_the_api_its_answers_and_their_records_are_as_pinned() {
    let (inventory, terms) = (Arc::new(knowing(files::SAMPLE)), RuleLimits::default());
    let hands = ManualClock::starting_at(NOW.parse().unwrap());
    let (log, writer) = audit::audit_channel(hands.clock());
    let metrics = Metrics::new(log.lost_counter().clone());
    let store = FileStore::new(None, Arc::clone(&inventory), terms, hands.clock());
    let backend = Backend::Files(store, BearerToken::new("a-token"));
    let api = Arc::new(ApiState::new(inventory, terms, hands.clock(), log, backend, metrics));
    let peer = Peer { address: "192.0.2.1:4321".parse().unwrap(), verified: false };
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let served = axum::serve(socket, router(api).layer(axum::Extension(peer))).into_future();

    let answers = spawn_blocking(move || {
        let (mut answers, mut document) = (String::new(), String::new());
        let lines = include_str!("requests.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            if let Some(duration) = line.strip_prefix("later ") {
                hands.advance(duration.parse::<SignedDuration>().unwrap());
                answers += &format!("> {line}\n\n");
                continue;
            }
            let answer = asked(line, &format!("http://{address}"));
            if line.ends_with("/openapi.json") {
                document = answer
            } else {
                answers += &format!("> {line}\n{answer}\n")
            }
        }
        (answers, document)
    });
    let (answers, document) = tokio::select! {
        ended = served => panic!("it ended: {ended:?}"),
        answers = answers => answers.unwrap(),
    };
    let mut written = Vec::new();
    writer.run(&mut written).await;
    let all = [answers, String::from_utf8(written).unwrap()].join("\n\u{0}");
    let all = without_ids(&all, files::SAMPLE);
    let (answers, record) = all.split_once("\n\u{0}").unwrap();
    let found = [("openapi.json.txt", &*document), ("answers.txt", answers), ("audit.jsonl.txt", record)];
    check("api", &BTreeMap::from(found.map(|(name, text)| (name.to_owned(), text.to_owned()))));
}

/// The status, the headers that matter, and the body of the answer to `METHOD PATH BODY`, for `nobody` or with the token.
fn asked(line: &str, server: &str) -> String {
    let (token, line) = line.strip_prefix("nobody ").map_or(("a-token", line), |line| ("another", line));
    let mut parts = line.splitn(3, ' ');
    let (method, path) = (parts.next().unwrap(), parts.next().unwrap());
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--include", "--noproxy", "*", "--request", method]);
    command.args(["--header", &format!("Authorization: Bearer {token}"), "--header", "Content-Type: application/json"]);
    command.args(parts.next().into_iter().flat_map(|body| ["--data-binary", body]));
    let output = command.arg(format!("{server}{path}")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{line}: {output:?}"));
    let (status, headers) = head.split_once("\r\n").unwrap();
    let mut headers: Vec<_> = headers
        .lines()
        .filter(|line| ["content-type", "location", "allow"].contains(&line.split(':').next().unwrap()))
        .collect();
    headers.sort_unstable();
    let body = match serde_json::from_str::<Value>(body) {
        Ok(value) => serde_json::to_string_pretty(&value).unwrap(),
        Err(_) => body.to_owned(),
    };
    format!("{status}\n{}\n{body}\n", headers.join("\n"))
}
