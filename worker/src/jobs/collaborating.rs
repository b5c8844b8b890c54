//! Who is mailed about comments, and what becomes of files.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::TimeDelta;
use shared::blobs::key_of;
use shared::domain::attachment::State as Scanned;
use shared::domain::job::{Notify, ScanAttachment, SendMail, TidyFiles};
use shared::domain::role::Role;
use shared::domain::ticket::Priority;
use shared::on_both;
use shared::store::attachments::{self, Attachment};
use shared::store::comments::Comment;
use shared::store::desk::{Actor, NewFile, Remark};
use shared::store::notifications::{self, Filter, State};
use shared::store::tickets::Ticket;
use shared::testkit::Testbed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::context::{JobError, Outcome};
use crate::testing::Bench;

on_both! {
    a_public_comment_is_mailed_to_the_other_side,
    a_comment_among_staff_is_mailed_to_the_assignee_only,
    a_comment_that_was_deleted_is_not_mailed,
    files_are_scanned_before_anybody_reads_them,
    a_scanner_that_is_away_is_waited_for,
    files_that_nobody_needs_are_deleted,
}

const EICAR: &[u8] = br"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";

async fn comment(bench: &Bench, ticket: &Ticket, actor: &Actor, internal: bool) -> Comment {
    let mut tx = bench.t.db.begin().await.unwrap();
    let remark = Remark { content: "<b>Try</b> turning it off".into(), internal };
    let comment = bench.t.desk.comment(&mut tx, ticket.id, actor, remark).await.unwrap();
    let _ = tx.commit().await.unwrap();
    comment
}

/// Whom a comment was mailed to, with what.
async fn mailed(bench: &Bench) -> Vec<(String, String)> {
    bench.run_all::<Notify>().await;
    bench.run_all::<SendMail>().await;
    let sent = bench.sent().into_values().filter(|mail| mail.contains("X-Dogwatch-Event: ticket.commented"));
    let to =
        |mail: &str| mail.lines().find_map(|line| line.strip_prefix("To: ")).unwrap_or_default().to_owned();
    sent.map(|mail| (to(&mail), mail)).collect()
}

async fn a_public_comment_is_mailed_to_the_other_side(t: Testbed) {
    let bench = Bench::over(t, &[]);
    let ticket = bench.t.open(Priority::High).await;
    comment(&bench, &ticket, &bench.t.staff(), false).await;
    let sent = mailed(&bench).await;
    assert_eq!(sent.iter().map(|(to, _)| &**to).collect::<Vec<_>>(), ["cleo@example.org"]);
    let mail = &sent[0].1;
    assert!(mail.contains("sam commented.") && mail.contains("<b>Try</b> turning it off"), "{mail}");
    assert!(
        mail.contains("&lt;b&gt;Try&lt;&#x2f;b&gt;") || mail.contains("&lt;b&gt;Try&lt;/b&gt;"),
        "{mail}"
    );
    assert!(!mail.contains("Flames."), "what the ticket says is known: {mail}");
    comment(&bench, &ticket, &bench.t.customer(), false).await;
    let sent = mailed(&bench).await;
    assert!(sent.iter().any(|(to, _)| to == "sam@example.org") && sent.len() == 2, "{sent:?}");
}

async fn a_comment_among_staff_is_mailed_to_the_assignee_only(t: Testbed) {
    let bench = Bench::over(t, &[]);
    let ticket = bench.t.open(Priority::High).await;
    comment(&bench, &ticket, &bench.t.staff(), true).await;
    assert_eq!(mailed(&bench).await, [], "the assignee wrote it");
    let peer = shared::testkit::user("kim@example.org", Role::TeamLead);
    let mut tx = bench.t.db.begin().await.unwrap();
    shared::store::users::add(&mut tx, &peer).await.unwrap();
    let _ = tx.commit().await.unwrap();
    let kim: Actor = shared::domain::access::Caller::alone(peer.id, peer.role).into();
    comment(&bench, &ticket, &kim, true).await;
    let sent = mailed(&bench).await;
    assert_eq!(sent.iter().map(|(to, _)| &**to).collect::<Vec<_>>(), ["sam@example.org"]);
    assert!(sent[0].1.contains("kim wrote an internal comment."));
}

async fn a_comment_that_was_deleted_is_not_mailed(t: Testbed) {
    let bench = Bench::over(t, &[]);
    let ticket = bench.t.open(Priority::High).await;
    let said = comment(&bench, &ticket, &bench.t.staff(), false).await;
    bench.run_all::<Notify>().await;
    let mut tx = bench.t.db.begin().await.unwrap();
    bench.t.desk.delete_comment(&mut tx, said.id, None, &bench.t.staff()).await.unwrap();
    let _ = tx.commit().await.unwrap();
    assert_eq!(mailed(&bench).await, []);
    let filter = Filter { event: Some("ticket.commented".into()), limit: 10, ..Filter::default() };
    let told = notifications::list(&bench.t.db, &filter).await.unwrap();
    assert_eq!((told.len(), told[0].state), (1, State::Suppressed));
    assert_eq!(told[0].reason.as_deref(), Some("the comment was deleted"));
}

/// A scanner that speaks INSTREAM over TCP, and remembers what it was sent.
struct Scanner {
    addr: String,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Scanner {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let content = answer(stream).await;
                kept.lock().unwrap().push(content);
            }
        });
        Self { addr, seen }
    }
}

async fn answer(mut stream: TcpStream) -> Vec<u8> {
    let mut command = [0; 10];
    stream.read_exact(&mut command).await.unwrap();
    assert_eq!(&command, b"zINSTREAM\0");
    let mut content = Vec::new();
    loop {
        let length = stream.read_u32().await.unwrap();
        if length == 0 {
            break;
        }
        let mut piece = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut piece).await.unwrap();
        content.extend(piece);
    }
    let found = content.windows(EICAR.len()).any(|part| part == EICAR);
    let verdict: &[u8] = if found { b"stream: Eicar-Signature FOUND\0" } else { b"stream: OK\0" };
    stream.write_all(verdict).await.unwrap();
    content
}

async fn attach(bench: &Bench, ticket: &Ticket, content: &'static [u8]) -> Attachment {
    let (t, blobs) = (&bench.t, &bench.worker.process.blobs);
    let pieces = content.chunks(10).map(|piece| Ok::<_, std::convert::Infallible>(Bytes::from_static(piece)));
    let upload = blobs.upload(futures::stream::iter(pieces), 1_000_000).await.unwrap();
    let file = NewFile {
        name: "a.txt".into(),
        media_type: "text/plain",
        size: i64::try_from(upload.size).unwrap(),
        sha256: upload.sha256.clone(),
        internal: false,
        scan: true,
    };
    let mut tx = t.db.begin().await.unwrap();
    attachments::touch(&mut tx, &file.sha256, file.size, t.now()).await.unwrap();
    blobs.keep(upload).await.unwrap();
    let attached = t.desk.attach(&mut tx, ticket.id, &t.staff(), file).await.unwrap().unwrap();
    let _ = tx.commit().await.unwrap();
    attached
}

async fn files_are_scanned_before_anybody_reads_them(t: Testbed) {
    let scanner = Scanner::start().await;
    let bench = Bench::over(t, &[("CLAMAV_ADDR", &*scanner.addr)]);
    let ticket = bench.t.open(Priority::High).await;
    let [good, bad] =
        [attach(&bench, &ticket, b"nothing to see here").await, attach(&bench, &ticket, EICAR).await];
    for outcome in bench.run_all::<ScanAttachment>().await {
        assert!(matches!(outcome, Ok(Outcome::Committed(_))), "{outcome:?}");
    }
    let now = async |id| attachments::get(&bench.t.db, id).await.unwrap().unwrap();
    assert_eq!(now(good.id).await.state, Scanned::Clean);
    let bad = now(bad.id).await;
    assert_eq!((bad.state, bad.finding.as_deref()), (Scanned::Quarantined, Some("Eicar-Signature")));
    let mut seen = scanner.seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen, [EICAR.to_vec(), b"nothing to see here".to_vec()]);
}

async fn a_scanner_that_is_away_is_waited_for(t: Testbed) {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let bench = Bench::over(t, &[("CLAMAV_ADDR", &*gone)]);
    let ticket = bench.t.open(Priority::High).await;
    let file = attach(&bench, &ticket, b"waits").await;
    let outcomes = bench.run_all::<ScanAttachment>().await;
    assert!(matches!(outcomes[..], [Err(JobError::Snooze(_))]), "{outcomes:?}");
    assert_eq!(attachments::get(&bench.t.db, file.id).await.unwrap().unwrap().state, Scanned::Pending);
}

async fn files_that_nobody_needs_are_deleted(t: Testbed) {
    let bench = Bench::over(t, &[]);
    let ticket = bench.t.open(Priority::High).await;
    let [kept, gone] = [attach(&bench, &ticket, b"kept").await, attach(&bench, &ticket, b"gone").await];
    let mut tx = bench.t.db.begin().await.unwrap();
    bench.t.desk.detach(&mut tx, gone.id, &bench.t.staff()).await.unwrap();
    let _ = tx.commit().await.unwrap();
    let blobs = bench.worker.process.blobs.clone();
    let there = async || {
        let size = async |file: &Attachment| blobs.size(&key_of(&file.sha256)).await.unwrap().is_some();
        (size(&kept).await, size(&gone).await)
    };
    let tidy = async || {
        use crate::registry::Run;
        let job = TidyFiles {};
        job.run(&bench.claim_new(&job).await).await.unwrap();
    };
    tidy().await;
    assert_eq!(there().await, (true, true), "for a day somebody may be attaching it");
    bench.t.advance(TimeDelta::hours(25));
    tidy().await;
    assert_eq!(there().await, (true, false));
}
