//! Drain: from the signal to stop to the end of the listener.

use std::time::Duration;

use super::{SHORT, webhook};

#[tokio::test]
async fn while_draining_kept_and_new_connections_are_answered_and_told_to_close() {
    let mut server = webhook().with(|limits| limits.drain = 4 * SHORT).start();
    let mut kept = server.connect().await;
    assert!(!kept.post("{}").await.closes());
    server.stopping.cancel();
    let new = server.connect().await;
    for mut client in [kept, new] {
        let reply = client.post("{}").await;
        assert!(reply.status == 200 && reply.closes(), "{reply:?}");
        assert_eq!(client.rest().await, b"");
    }
    server.ended().await;
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn after_the_drain_idle_connections_are_closed_and_the_listener_ends() {
    let mut server = webhook().with(|limits| limits.drain = Duration::ZERO).start();
    let mut idle = server.connect().await;
    assert_eq!(idle.post("{}").await.status, 200);
    server.stopping.cancel();
    assert_eq!(idle.rest().await, b"");
    server.ended().await;
}

#[tokio::test]
async fn a_request_that_outlasts_the_drain_is_still_answered() {
    let mut server = webhook().with(|limits| limits.drain = Duration::ZERO).start();
    let (mut busy, mut idle) = (server.connect_and_wait().await, server.connect().await);
    assert_eq!(idle.post("{}").await.status, 200);
    server.stopping.cancel();
    idle.rest().await;
    server.released.notify_one();
    let reply = busy.reply().await;
    assert!(reply.status == 200 && reply.closes(), "{reply:?}");
    drop(busy);
    server.ended().await;
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_up_the_end() {
    let mut server = webhook().with(|limits| (limits.drain, limits.finish) = (Duration::ZERO, SHORT)).start();
    let mut busy = server.connect_and_wait().await;
    server.stopping.cancel();
    server.ended().await;
    assert_eq!(busy.rest().await, b"");
}

#[tokio::test]
async fn dropping_the_listener_ends_everything_at_once() {
    let mut server = webhook().start();
    let mut busy = server.connect_and_wait().await;
    server.stopping.cancel();
    server.running.shutdown().await;
    assert_eq!(busy.rest().await, b"");
}
