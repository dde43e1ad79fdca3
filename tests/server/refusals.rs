//! Refusals: the status and the text of each.

use super::client::{ServerReply, post, post_announcing};
use super::{ServerSetup, soon, webhook};

async fn answer_to(setup: ServerSetup, request: &str) -> ServerReply {
    let server = setup.start();
    let mut client = server.connect().await;
    client.send(request).await.expect("the request is taken");
    client.reply().await
}

#[tokio::test]
async fn a_review_reaches_the_handler_with_its_query_and_keeps_the_connection() {
    let server = webhook().start();
    let mut client = server.connect().await;
    for body in ["{}", "{ }"] {
        let reply = client.post(body).await;
        let expected = format!("{} bytes, \"timeout=3s\", verified false", body.len());
        assert_eq!((reply.status, &*reply.body, reply.closes()), (200, &*expected, false));
        assert!(reply.has_line("content-type: application/json") && !reply.head.contains("date:"), "{}", reply.head);
    }
}

#[tokio::test]
async fn each_refusal_has_its_status_and_says_what_to_do() {
    let json = "Content-Type: application/json\r\n";
    let cases = [
        (format!("POST /other HTTP/1.1\r\n{json}Content-Length: 2\r\n\r\n{{}}"), 404, "the webhook is at /mutate"),
        ("GET /mutate HTTP/1.1\r\n\r\n".to_owned(), 405, "takes POST"),
        ("POST /mutate HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}".to_owned(), 415, "send the AdmissionReview with"),
        (format!("POST /mutate HTTP/1.1\r\n{json}\r\n"), 411, "send a Content-Length"),
        (format!("POST /mutate HTTP/1.1\r\n{json}Content-Length: 0\r\n\r\n"), 400, "send an AdmissionReview"),
        (
            format!("POST /mutate HTTP/1.1\r\n{json}Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"),
            400,
            "send it again",
        ),
    ];
    for (request, status, words) in cases {
        let reply = answer_to(webhook(), &request).await;
        assert_eq!(reply.status, status, "{request} {reply:?}");
        assert!(reply.body.contains(words) && reply.closes(), "{request} {reply:?}");
        assert!(reply.has_line("content-type: text/plain; charset=utf-8"), "{request} {reply:?}");
        assert_eq!(reply.has_line("allow: post"), status == 405, "{reply:?}");
    }
}

#[tokio::test]
async fn a_content_type_may_have_parameters_and_any_case() {
    let request =
        "POST /mutate HTTP/1.1\r\nContent-Type: Application/JSON ; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(answer_to(webhook(), request).await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_before_it_is_sent() {
    let setup = webhook().with(|limits| limits.body_bytes = 1 << 20);
    let reply = answer_to(setup, &post_announcing((1 << 20) + 1)).await;
    assert_eq!((reply.status, &*reply.body), (413, "the body is larger than 1 MiB; make the object smaller"));
}

#[tokio::test]
async fn a_client_that_sends_its_large_body_all_the_same_still_reads_why() {
    let server = webhook().with(|limits| limits.body_bytes = 1000).start();
    let mut client = server.connect().await;
    client.send(post(&" ".repeat(4 << 20))).await.expect("the server reads on after it has answered");
    assert_eq!(client.reply().await.status, 413);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused_when_it_has_become_too_large() {
    let setup = webhook().with(|limits| limits.body_bytes = 10_000);
    let head = "POST /mutate HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("1388\r\n{}\r\n", " ".repeat(5000));
    let whole = format!("{head}{chunk}{chunk}0\r\n\r\n");
    let server = setup.start();
    let mut client = server.connect().await;
    client.send(whole).await.unwrap();
    assert!(client.reply().await.body.starts_with("10000 bytes"));
    client.send(format!("{head}{chunk}{chunk}1\r\n \r\n")).await.unwrap();
    assert_eq!(client.reply().await.status, 413);
}

#[tokio::test]
async fn a_body_in_many_pieces_arrives_whole() {
    let server = webhook().start();
    let mut client = server.connect().await;
    let reply = client.post(&"x".repeat(3_000_001)).await;
    assert!(reply.body.starts_with("3000001 bytes"), "{reply:?}");
}

#[tokio::test]
async fn header_fields_beyond_their_limit_are_refused() {
    let setup = webhook().with(|limits| limits.head_bytes = 1000);
    let request = format!("POST /mutate HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(1000));
    assert_eq!(answer_to(setup, &request).await.status, 431);
    let many = "X-One: 1\r\n".repeat(101);
    assert_eq!(answer_to(webhook(), &format!("POST /mutate HTTP/1.1\r\n{many}\r\n")).await.status, 431);
}

#[tokio::test]
async fn header_fields_that_do_not_end_are_refused_at_their_limit() {
    let server = webhook().with(|limits| limits.head_bytes = 1000).start();
    let mut client = server.connect().await;
    client.send(format!("POST /mutate HTTP/1.1\r\nX-Long: {}", "x".repeat(1000))).await.unwrap();
    assert_eq!(client.reply().await.status, 431);
}

#[tokio::test]
async fn bodies_beyond_what_all_may_hold_are_told_to_come_again_and_then_served() {
    let server = webhook().with(|limits| limits.body_bytes_in_flight = 1000).start();
    let (mut first, mut second) = (server.connect_and_wait().await, server.connect().await);
    let refused = second.post(&" ".repeat(997)).await;
    assert_eq!(refused.status, 503);
    assert!(refused.has_line("retry-after: 1") && refused.body.contains("try again in a second"), "{refused:?}");
    server.released.notify_one();
    assert_eq!(first.reply().await.status, 200);
    assert_eq!(server.connect().await.post(&" ".repeat(1000)).await.status, 200);
}

#[tokio::test]
async fn a_panic_costs_one_request_and_not_the_listener() {
    let server = webhook().start();
    let mut client = server.connect().await;
    let reply = client.post("panic").await;
    assert_eq!((reply.status, &*reply.body), (500, "outrigger failed on this request; its log says why"));
    assert_eq!(server.connect().await.post("{}").await.status, 200);
    assert_eq!(server.counts.panics.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_hundred_clients_with_huge_bodies_do_not_keep_a_review_out() {
    let server = webhook().start();
    let mut floods = Vec::new();
    for _ in 0..100 {
        let mut flood = server.connect().await;
        flood.send(post_announcing(19 << 20)).await.unwrap();
        // A server that does not read on must not stop this test, so what cannot be sent at once is not sent.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(5), flood.send(" ".repeat(1 << 20))).await;
        floods.push(flood);
    }
    assert_eq!(soon(server.connect()).await.post("{}").await.status, 200);
}
