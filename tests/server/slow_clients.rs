//! Clients that are slow at each step are cut off by the limit of that step.

use std::sync::atomic::Ordering::Relaxed;

use super::client::{TestClient, post, post_announcing};
use super::{SHORT, soon, webhook};

#[tokio::test]
async fn a_handshake_that_stalls_or_dribbles_is_cut_off() {
    let server = webhook().with(|limits| limits.handshake_timeout = SHORT).start();
    assert_eq!(TestClient::over_tcp(server.address).await.rest().await, b"");
    let hello = "\x16\x03\x01\x02\x00".to_owned() + &"\x01".repeat(1000);
    TestClient::over_tcp(server.address).await.dribble(&hello).await;
    assert_eq!(server.counts.failed_handshakes.load(Relaxed), 2);
}

#[tokio::test]
async fn header_fields_that_dribble_are_cut_off() {
    let server = webhook().with(|limits| limits.head_timeout = SHORT).start();
    let mut client = server.connect().await;
    let said = client.dribble(&format!("POST /mutate HTTP/1.1\r\n{}", "X: 1\r\n".repeat(500))).await;
    assert_eq!(said, b"");
    assert_eq!(server.counts.timed_out.load(Relaxed), 1);
}

#[tokio::test]
async fn a_later_request_that_dribbles_is_cut_off_as_well() {
    let server = webhook().with(|limits| limits.head_timeout = SHORT).start();
    let mut client = server.connect().await;
    assert_eq!(client.post("{}").await.status, 200);
    client.dribble(&"POST /mutate HTTP/1.1\r\n".repeat(100)).await;
}

#[tokio::test]
async fn the_head_timeout_spares_a_connection_that_is_idle() {
    let server = webhook().with(|limits| limits.head_timeout = SHORT).start();
    let (mut idle, mut unasked, mut slow) = (server.connect().await, server.connect().await, server.connect().await);
    assert_eq!(idle.post("{}").await.status, 200);
    slow.send("POST").await.unwrap();
    slow.rest().await;
    assert_eq!(idle.post("{}").await.status, 200);
    assert_eq!(unasked.post("{}").await.status, 200);
}

#[tokio::test]
async fn an_idle_connection_is_closed_when_its_time_is_over() {
    let server = webhook().with(|limits| limits.idle_timeout = SHORT).start();
    let mut client = server.connect().await;
    assert_eq!(client.post("{}").await.status, 200);
    assert_eq!(client.rest().await, b"");
    assert_eq!(server.counts.timed_out.load(Relaxed), 1);
}

#[tokio::test]
async fn a_body_that_dribbles_is_answered_with_408() {
    let server = webhook().with(|limits| limits.body_timeout = SHORT).start();
    let mut client = server.connect().await;
    client.send(post_announcing(5000)).await.unwrap();
    let said = String::from_utf8(client.dribble(&" ".repeat(5000)).await).unwrap();
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("send it again"), "{said}");
}

#[tokio::test]
async fn a_body_that_never_comes_is_answered_with_408() {
    let server = webhook().with(|limits| limits.body_timeout = SHORT).start();
    let mut client = server.connect().await;
    client.send(post_announcing(5000)).await.unwrap();
    assert_eq!(client.reply().await.status, 408);
}

#[tokio::test]
async fn a_request_that_takes_long_to_answer_is_not_cut_off() {
    let setup = webhook().with(|limits| {
        (limits.head_timeout, limits.body_timeout, limits.idle_timeout) = (SHORT, SHORT, SHORT);
    });
    let server = setup.start();
    let (mut busy, mut idle) = (server.connect_and_wait().await, server.connect().await);
    idle.rest().await;
    server.released.notify_one();
    assert_eq!(busy.reply().await.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let server = webhook().with(|limits| limits.write_timeout = SHORT).start();
    let mut client = server.connect().await;
    client.send(post("flood")).await.unwrap();
    soon(async {
        while server.counts.ended.load(Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(client.rest().await.len() < 32 << 20);
}

#[tokio::test]
async fn a_client_that_does_not_close_after_the_last_answer_is_cut_off() {
    let setup = webhook().with(|limits| (limits.linger, limits.requests_per_connection) = (SHORT, 1));
    let server = setup.start();
    let mut client = server.connect().await;
    assert!(client.post("{}").await.closes());
    soon(async {
        while server.counts.timed_out.load(Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
