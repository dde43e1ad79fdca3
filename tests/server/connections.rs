//! Limits of connections: their number, their requests and their age.

use std::time::Duration;

use super::client::TestClient;
use super::webhook;

#[tokio::test]
async fn a_newcomer_takes_the_place_of_an_unfinished_connection() {
    let server = webhook().with(|limits| limits.connections = 3).start();
    let mut served = server.connect().await;
    assert_eq!(served.post("{}").await.status, 200);
    let (mut slow, mut unasked) = (TestClient::over_tcp(server.address).await, server.connect().await);
    let mut newcomer = server.connect().await;
    assert_eq!(slow.rest().await, b"");
    for client in [&mut served, &mut unasked, &mut newcomer] {
        assert_eq!(client.post("{}").await.status, 200);
    }
}

#[tokio::test]
async fn slow_clients_of_any_number_do_not_lock_a_review_out() {
    let server = webhook().with(|limits| limits.connections = 8).start();
    let mut slow = Vec::new();
    for _ in 0..30 {
        slow.push(TestClient::over_tcp(server.address).await);
    }
    assert_eq!(server.connect().await.post("{}").await.status, 200);
}

#[tokio::test]
async fn a_request_being_served_keeps_its_place_and_the_newcomer_is_closed() {
    let server = webhook().with(|limits| limits.connections = 1).start();
    let mut busy = server.connect_and_wait().await;
    let mut newcomer = TestClient::over_tcp(server.address).await;
    assert_eq!(newcomer.rest().await, b"");
    server.released.notify_one();
    assert_eq!(busy.reply().await.status, 200);
}

#[tokio::test]
async fn the_last_request_of_a_connection_is_told_to_close_it() {
    let server = webhook().with(|limits| limits.requests_per_connection = 2).start();
    let mut client = server.connect().await;
    assert!(!client.post("{}").await.closes());
    assert!(client.post("{}").await.closes());
    assert_eq!(client.rest().await, b"");
    assert_eq!(server.connect().await.post("{}").await.status, 200);
}

#[tokio::test]
async fn an_old_connection_is_told_to_close() {
    let server = webhook().with(|limits| limits.connection_age = Duration::ZERO).start();
    assert!(server.connect().await.post("{}").await.closes());
}
