//! Files that belong to tickets: what is taken, who may read it, and how it is given out.

use axum::http::HeaderMap;
use serde_json::{Value, json};
use shared::domain::role::Role;
use shared::on_both;
use shared::testkit::{Testbed, user};

use crate::answer::{Answer, text};
use crate::server::{Client, Server, at};

on_both! {
    a_file_is_attached_listed_downloaded_and_deleted,
    what_is_not_what_its_name_says_is_refused,
    a_name_is_never_a_path,
    the_same_content_is_attached_once,
    files_among_staff_never_show,
    a_download_that_was_cut_off_is_resumed,
    fifty_mebibytes_pass_and_one_byte_more_does_not,
    a_form_that_is_wrong_is_named_as_a_whole,
    a_file_sent_twice_with_one_key_is_answered_once,
    an_upload_that_breaks_off_leaves_nothing,
    nobody_downloads_what_was_not_scanned,
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR-and-so-on";
const MAX: usize = 50 * 1024 * 1024;

fn part(name: &str, file: Option<&str>, content: &[u8]) -> Vec<u8> {
    let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
    let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

async fn send(client: &Client, ticket: &Value, parts: &[Vec<u8>]) -> Answer {
    let client = client.with("content-type", "multipart/form-data; boundary=b");
    let body = [parts.concat().as_slice(), b"--b--\r\n"].concat();
    client.send("POST", &format!("/api/v1{}", at(ticket, "/attachments")), body).await
}

async fn attach(client: &Client, ticket: &Value, name: &str, content: &[u8]) -> Answer {
    send(client, ticket, &[part("file", Some(name), content)]).await
}

async fn download(
    client: &Client,
    file: &Value,
    headers: &[(&'static str, &str)],
) -> (u16, HeaderMap, Vec<u8>) {
    let client = headers.iter().fold(client.clone(), |client, (name, value)| client.with(name, value));
    client.bytes("GET", &format!("/api/v1/attachments/{}", text(&file["id"]))).await
}

/// The files that the server keeps, with those that are not finished.
fn kept(server: &Server) -> Vec<std::path::PathBuf> {
    fn below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
    }
    below(server.bed.files.path())
}

async fn a_file_is_attached_listed_downloaded_and_deleted(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let attached = attach(&server.customer, &ticket, "Grüße.PNG", PNG).await.expect(201);
    let file = attached.data();
    let expected = json!({
        "id": file["id"], "ticket_id": ticket["id"], "uploader_id": server.bed.customer.id, "name": "Grüße.PNG",
        "media_type": "image/png", "size": PNG.len(), "sha256": file["sha256"], "is_internal": false,
        "state": "unscanned", "finding": null, "created_at": file["created_at"], "scanned_at": null
    });
    assert_eq!(*file, expected);
    let list = server.staff.get(&at(&ticket, "/attachments?count=true")).await.expect(200);
    assert_eq!((list.data(), &list.json["meta"]["total"]), (&json!([expected]), &json!(1)));
    let (status, headers, content) = download(&server.staff, file, &[]).await;
    assert_eq!((status, &*content), (200, PNG));
    let etag = format!("\"{}\"", text(&file["sha256"]));
    for (name, value) in [
        ("content-disposition", "attachment; filename=\"Gr__e.PNG\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.PNG"),
        ("content-type", "image/png"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("accept-ranges", "bytes"),
        ("etag", &etag),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    assert_eq!(headers["content-length"], PNG.len().to_string().as_str());
    let (status, _, content) = download(&server.staff, file, &[("if-none-match", &etag)]).await;
    assert_eq!((status, content.len()), (304, 0));
    let path = format!("/attachments/{}", text(&file["id"]));
    server.staff.delete(&path).await.fails(403, "forbidden");
    server.customer.delete(&path).await.expect(204);
    server.customer.get(&path).await.fails(404, "not_found");
    let history = server.staff.get(&at(&ticket, "/history")).await.expect(200);
    assert_eq!(history.each("field"), ["status", "attachment", "attachment"]);
    assert_eq!(
        (&history.data()[1]["new_value"], &history.data()[2]["old_value"]),
        (&json!("Grüße.PNG"), &json!("Grüße.PNG"))
    );
}

async fn what_is_not_what_its_name_says_is_refused(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(20_000, 0);
    let mut exe = b"MZ\x90\0\x03\0\0\0".to_vec();
    exe.resize(20_000, 0);
    let mach = b"\xcf\xfa\xed\xfe\x07\0\0\x01".to_vec();
    let script = b"#!/bin/sh\nrm -rf /\n".to_vec();
    for program in [elf, exe, mach, script] {
        for name in ["shot.png", "notes.txt", "report.pdf", "data.json", "all.zip", "clip.mp4", "doc.docx"] {
            let refused = attach(&server.staff, &ticket, name, &program).await.fails(415, "file_content");
            assert!(refused.message().starts_with("The content of the file is not what its name says"));
        }
    }
    for name in ["run.exe", "page.html", "image.svg", "run.sh", "noextension", "x.png.exe"] {
        attach(&server.staff, &ticket, name, PNG).await.fails(415, "file_type");
    }
    assert_eq!(kept(&server).len(), 0);
    let plain =
        [("notes.txt", "Grüße"), ("a.csv", "a;b\n"), ("b.json", "{}"), ("c.log", "x"), ("d.xml", "<a/>")];
    for (name, content) in plain {
        attach(&server.staff, &ticket, name, content.as_bytes()).await.expect(201);
    }
}

async fn a_name_is_never_a_path(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    for (i, (sent, name)) in
        [("../../x.txt", "x.txt"), ("..\\..\\y.txt", "y.txt"), ("/etc/passwd.txt", "passwd.txt")]
            .into_iter()
            .enumerate()
    {
        let attached = attach(&server.staff, &ticket, sent, format!("{i}").as_bytes()).await.expect(201);
        assert_eq!(attached.data()["name"], name);
    }
    let kept = kept(&server);
    assert_eq!(kept.len(), 3);
    assert!(kept.iter().all(|path| path.starts_with(server.bed.files.path().join("sha256"))), "{kept:?}");
    attach(&server.staff, &ticket, "../..", b"x").await.blames(&[("file", "required")]);
}

async fn the_same_content_is_attached_once(t: Testbed) {
    let server = Server::over(t);
    let [ticket, other] = [server.open(json!({})).await, server.open(json!({})).await];
    let first = attach(&server.customer, &ticket, "a.png", PNG).await.expect(201);
    let again = attach(&server.staff, &ticket, "b.png", PNG).await.expect(200);
    assert_eq!(first.data(), again.data());
    let elsewhere = attach(&server.customer, &other, "a.png", PNG).await.expect(201);
    assert_ne!(first.data()["id"], elsewhere.data()["id"]);
    assert_eq!(kept(&server).len(), 1, "kept once");
    server.customer.delete(&format!("/attachments/{}", text(&first.data()["id"]))).await.expect(204);
    assert_eq!(download(&server.customer, elsewhere.data(), &[]).await.2, PNG);
    attach(&server.customer, &ticket, "c.png", PNG).await.expect(201);
}

async fn files_among_staff_never_show(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let before = server.customer.get(&at(&ticket, "")).await.expect(200).text;
    let internal = [part("file", Some("a.png"), PNG), part("is_internal", None, b"true")];
    let secret = send(&server.staff, &ticket, &internal).await.expect(201);
    assert_eq!(secret.data()["is_internal"], true);
    assert_eq!(server.customer.get(&at(&ticket, "/attachments?count=true")).await.json["meta"]["total"], 0);
    assert_eq!(server.customer.get(&at(&ticket, "/history")).await.each("field"), ["status"]);
    assert_eq!(server.customer.get(&at(&ticket, "")).await.text, before);
    let path = format!("/attachments/{}", text(&secret.data()["id"]));
    server.customer.get(&path).await.fails(404, "not_found");
    server.customer.delete(&path).await.fails(404, "not_found");
    let own = attach(&server.customer, &ticket, "mine.png", PNG).await.expect(201);
    assert_eq!((&own.data()["name"], &own.data()["is_internal"]), (&json!("mine.png"), &json!(false)));
    send(&server.customer, &ticket, &internal).await.fails(403, "forbidden");
    let stranger = user("eve@example.org", Role::EndUser);
    server.add_user(&stranger).await;
    let stranger = server.client(stranger.id);
    stranger.get(&format!("/attachments/{}", text(&own.data()["id"]))).await.fails(404, "not_found");
    stranger.get(&at(&ticket, "/attachments")).await.fails(404, "not_found");
    attach(&stranger, &ticket, "a.png", PNG).await.fails(404, "not_found");
}

async fn a_download_that_was_cut_off_is_resumed(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let content: Vec<u8> = (0..200_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let file = attach(&server.staff, &ticket, "big.log", &content).await.expect(201);
    let (file, size) = (file.data(), content.len());
    let etag = format!("\"{}\"", text(&file["sha256"]));
    let cut = 70_001;
    let (status, headers, start) =
        download(&server.staff, file, &[("range", &format!("bytes=0-{}", cut - 1))]).await;
    assert_eq!((status, start.len()), (206, cut));
    assert_eq!(headers["content-range"], format!("bytes 0-{}/{size}", cut - 1).as_str());
    let rest = [("range", format!("bytes={cut}-")), ("if-range", etag.clone())];
    let rest: Vec<(&'static str, &str)> = rest.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (status, headers, end) = download(&server.staff, file, &rest).await;
    assert_eq!((status, headers["etag"].to_str().unwrap()), (206, &*etag));
    assert!([start, end].concat() == content, "whole");
    let (status, _, whole) =
        download(&server.staff, file, &[("range", "bytes=5-"), ("if-range", "\"other\"")]).await;
    assert_eq!((status, whole.len()), (200, size), "from the start, if it is another");
    let (status, _, tail) = download(&server.staff, file, &[("range", "bytes=-7")]).await;
    assert_eq!((status, tail), (206, content[size - 7..].to_vec()));
    let (status, headers, _) = download(&server.staff, file, &[("range", &format!("bytes={size}-"))]).await;
    assert_eq!((status, headers["content-range"].to_str().unwrap()), (416, &*format!("bytes */{size}")));
}

async fn fifty_mebibytes_pass_and_one_byte_more_does_not(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let more = vec![b'x'; MAX + 1];
    attach(&server.staff, &ticket, "x.txt", &more).await.fails(413, "too_large");
    attach(&server.staff, &ticket, "x.txt", &vec![b'x'; MAX + 1_000_000]).await.fails(413, "too_large");
    assert_eq!(kept(&server).len(), 0);
    let passed = attach(&server.staff, &ticket, "x.txt", &more[1..]).await.expect(201);
    assert_eq!(passed.data()["size"], MAX);
    assert!(download(&server.staff, passed.data(), &[]).await.2 == more[1..]);
}

async fn a_form_that_is_wrong_is_named_as_a_whole(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let refused =
        send(&server.staff, &ticket, &[part("is_internal", None, b"perhaps"), part("color", None, b"red")])
            .await;
    refused.blames(&[("is_internal", "invalid"), ("color", "unknown")]);
    send(&server.staff, &ticket, &[]).await.blames(&[("file", "required")]);
    attach(&server.staff, &ticket, "a.txt", b"").await.blames(&[("file", "empty")]);
    let twice = [part("file", Some("a.txt"), b"a"), part("file", Some("b.txt"), b"b"), part("x", None, b"")];
    send(&server.staff, &ticket, &twice).await.blames(&[("file", "repeated"), ("x", "unknown")]);
    server.staff.post(&at(&ticket, "/attachments"), json!({})).await.fails(415, "not_multipart");
    server.walk(&ticket, &["resolved", "closed"]).await;
    attach(&server.staff, &ticket, "a.txt", b"late").await.fails(409, "ticket_closed");
}

async fn a_file_sent_twice_with_one_key_is_answered_once(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let keyed = server.staff.with("idempotency-key", "file-1");
    let large = vec![b'x'; 3_000_000];
    let first = attach(&keyed, &ticket, "x.txt", &large).await.expect(201);
    let second = attach(&keyed, &ticket, "x.txt", &large).await.expect(201);
    assert_eq!((&first.text, second.header("idempotent-replayed")), (&second.text, Some("true")));
    attach(&keyed, &ticket, "x.txt", b"other").await.blames(&[("Idempotency-Key", "key_reused")]);
    attach(&keyed, &ticket, "y.txt", &large).await.blames(&[("Idempotency-Key", "key_reused")]);
    assert_eq!(kept(&server).len(), 1, "what was sent again is not kept");
    server.walk(&ticket, &["resolved", "closed"]).await;
    let other = server.staff.with("idempotency-key", "file-2");
    attach(&other, &ticket, "z.txt", b"late").await.fails(409, "ticket_closed");
    server.staff.act(&at(&ticket, "/reopen")).await.expect(200);
    attach(&other, &ticket, "z.txt", b"late").await.expect(201);
}

async fn an_upload_that_breaks_off_leaves_nothing(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let mut body = part("file", Some("x.txt"), &vec![b'x'; 8_000_000]);
    body.truncate(7_000_000);
    let client = server.staff.with("content-type", "multipart/form-data; boundary=b");
    let cut = client.send("POST", &format!("/api/v1{}", at(&ticket, "/attachments")), body).await;
    cut.fails(400, "malformed");
    assert_eq!(kept(&server).len(), 0);
}

async fn nobody_downloads_what_was_not_scanned(t: Testbed) {
    let server = Server::with(t, &[("CLAMAV_ADDR", "127.0.0.1:1")]);
    let ticket = server.open(json!({})).await;
    let file = attach(&server.customer, &ticket, "a.png", PNG).await.expect(201).data().clone();
    assert_eq!(file["state"], "pending");
    let path = format!("/attachments/{}", text(&file["id"]));
    server.customer.get(&path).await.fails(409, "not_scanned");
    let desk = &server.bed.desk;
    let id = text(&file["id"]).parse().unwrap();
    let mut tx = server.bed.db.begin().await.unwrap();
    desk.judge(&mut tx, id, Some("Eicar-Signature")).await.unwrap().unwrap();
    let _ = tx.commit().await.unwrap();
    server.customer.get(&path).await.fails(403, "forbidden");
    let list = server.staff.get(&at(&ticket, "/attachments")).await.expect(200);
    assert_eq!(
        (list.each("state"), list.each("finding")),
        (vec!["quarantined".into()], vec!["Eicar-Signature".into()])
    );
}
