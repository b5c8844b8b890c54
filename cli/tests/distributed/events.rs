//! Streams and webhooks over several processes.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use shared::testkit::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::services::free_port;
use crate::system::{ERIK, IN_TIME, System};

pub(crate) const ADA: &str = "ada@example.org";

/// A stream that is being read.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(api: &str, token: &str, last: Option<&str>) -> Self {
        let mut request =
            reqwest::Client::new().get(format!("http://{api}/api/v1/events")).bearer_auth(token);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.expect("the API answers");
        assert_eq!(response.status(), StatusCode::OK);
        Self { response, text: String::new() }
    }

    /// The next event; `None` when the stream is over.
    async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let data = block.lines().find_map(|line| line.strip_prefix("data:")).map(str::to_owned);
                self.text = rest.to_owned();
                if let Some(data) = data {
                    return Some(serde_json::from_str(&data).expect("JSON"));
                }
            }
            let chunk = tokio::time::timeout(IN_TIME, self.response.chunk()).await.expect("in time");
            self.text.push_str(std::str::from_utf8(&chunk.ok().flatten()?).expect("UTF-8"));
        }
    }

    /// Everything up to an event of this type about this ticket.
    async fn until(&mut self, kind: &str, ticket: &str) -> Vec<i64> {
        let mut ids = Vec::new();
        loop {
            let event = self.next().await.expect("it goes on");
            ids.extend(event["id"].as_i64());
            if event["type"] == kind && event["ticket"]["number"] == ticket {
                return ids;
            }
        }
    }
}

/// Hires Ada, an admin, and returns her token.
pub(crate) async fn hire_ada(system: &System) -> String {
    let added = system.dogwatch(&["user", "add", "--email", ADA, "--name", "Ada", "--role", "admin"]).await;
    assert!(added.status.success(), "{added:?}");
    token_of(system, ADA).await
}

async fn token_of(system: &System, email: &str) -> String {
    let token = system.dogwatch(&["token", "--email", email, "--ttl", "1h"]).await;
    String::from_utf8(token.stdout).expect("UTF-8").trim().to_owned()
}

/// Has events of some types posted to an address.
pub(crate) async fn hook_up(system: &System, token: &str, url: &str, types: &[&str]) {
    let hook = json!({ "name": "Test", "url": url, "types": types });
    let (status, made) = system.ask(token, Method::POST, "/webhooks", Some(&hook)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
}

/// Takes every request, and passes on its body.
pub(crate) async fn receive() -> (String, mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let (send, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (send, mut bytes) = (send.clone(), Vec::new());
            tokio::spawn(async move {
                let body = loop {
                    if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                        return;
                    }
                    let text = String::from_utf8_lossy(&bytes);
                    let body =
                        text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
                    if let Some(body) = body {
                        break body;
                    }
                };
                let _ = send.send(body);
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
            });
        }
    });
    (url, received)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_two_apis_and_a_webhook_tell_the_same_and_end_with_their_process() {
    let Some(mut system) = System::prepare().await else { return };
    system.settings.insert("WEBHOOK_ALLOW_PRIVATE", "true".into());
    system.start(1, 2).await;
    let first = system.settings["API_ADDR"].clone();
    let second = format!("127.0.0.1:{}", free_port());
    system.settings.insert("API_ADDR", second.clone());
    system.start_another("api").await;
    let tokens = [hire_ada(&system).await, token_of(&system, ERIK).await];
    let (url, mut received) = receive().await;
    let hook = json!({ "name": "Test", "url": url, "types": ["ticket.created", "sla.breached"] });
    let (status, made) = system.ask(&tokens[0], Method::POST, "/webhooks", Some(&hook)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");

    let mut here = Stream::open(&first, &tokens[1], None).await;
    let mut there = Stream::open(&second, &tokens[1], None).await;
    let ticket = system.open("critical").await;
    let seen = here.until("sla.breached", &ticket.key).await;
    assert_eq!(there.until("sla.breached", &ticket.key).await, seen);
    assert!(seen.windows(2).all(|two| two[1] == two[0] + 1), "in order, without gaps: {seen:?}");

    let mut posted = Vec::new();
    while posted.len() < 2 {
        let body = tokio::time::timeout(IN_TIME, received.recv()).await.expect("in time").expect("a request");
        assert_eq!(body["data"]["ticket"]["number"], ticket.key.as_str());
        posted.push(body["type"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(posted, ["ticket.created", "sla.breached"]);

    system.part("api-2").terminate();
    let ended = system.part("api-2").ended(Duration::from_secs(15)).await;
    assert!(ended.success(), "{ended:?}");
    while there.next().await.is_some() {}
    let later = system.open("low").await;
    let last = seen.last().expect("some").to_string();
    let mut resumed = Stream::open(&first, &tokens[1], Some(&last)).await;
    let missed = resumed.until("ticket.created", &later.key).await;
    assert_eq!(missed.first(), seen.last().map(|last| last + 1).as_ref(), "nothing is missing");
    let delivered = async || {
        let id = made["data"]["id"].as_str().unwrap_or_default();
        let path = format!("/webhooks/{id}/deliveries?state=delivered&count=true");
        let (_, list) = system.ask(&tokens[0], Method::GET, &path, None).await;
        (list["meta"]["total"] == 3).then_some(())
    };
    eventually("each event was delivered once", IN_TIME, delivered).await;
    assert!(received.try_recv().is_ok_and(|body| body["data"]["ticket"]["number"] == later.key.as_str()));
    assert!(received.try_recv().is_err(), "nothing twice");
}
