//! Large files through the real API: it never holds one in memory.

use reqwest::StatusCode;
use serde_json::json;

use crate::system::{ERIK, System};

/// The most that a file may have.
const MOST: usize = 50 * 1024 * 1024;

/// What the API may take besides, in KiB, while files of `MOST` come and go.
const MEMORY: u64 = 40 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_fifty_mebibytes_come_and_go_through_little_memory() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(1, 1).await;
    let ticket = system.open("low").await;
    let path = format!("/tickets/{}/attachments", ticket.id);
    // What a first file takes once and for all does not count.
    let (status, answer) = send(&system, &path, "a little").await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let before = system.part("api-1").peak_memory();
    for letter in ["a", "b", "c"] {
        let content = letter.repeat(MOST);
        let (status, answer) = send(&system, &path, &content).await;
        assert_eq!((status, &answer["data"]["size"]), (StatusCode::CREATED, &json!(MOST)), "{answer}");
        let id = answer["data"]["id"].as_str().expect("an id");
        assert!(system.download(ERIK, &format!("/attachments/{id}")).await == content, "it came back whole");
    }
    let after = system.part("api-1").peak_memory();
    assert!(after - before < MEMORY, "the API took {before} KiB before and {after} after");
    let listed = system.call(ERIK, reqwest::Method::GET, &path, None).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(4));
}

async fn send(system: &System, path: &str, content: &str) -> (StatusCode, serde_json::Value) {
    let head = "--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n";
    let body = [head, content, "\r\n--edge--\r\n"].concat();
    system.upload(ERIK, path, "multipart/form-data; boundary=edge", body).await
}
