//! A mail server in the test process that does as it is told.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mailin::{Action, Handler, Response, SessionBuilder};
use shared::time::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A mail as it came.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) to: String,
    pub(crate) event: String,
    pub(crate) ticket: String,
    pub(crate) message_id: String,
    pub(crate) subject: String,
    /// All of it, in one line where lines were only broken for the way.
    pub(crate) text: String,
    /// When it was complete.
    pub(crate) at: Timestamp,
}

/// What becomes of a mail that was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    /// The connection ends without an answer: the client cannot know.
    HangUp,
}

#[derive(Debug, Default)]
struct Book {
    accepted: Vec<Mail>,
    /// How many recipients are still to be told to come again.
    defer: usize,
    refused: Option<String>,
    hold: Option<&'static str>,
    held: Vec<(Mail, oneshot::Sender<Verdict>)>,
}

/// The server; it stops when dropped.
#[derive(Debug)]
pub(crate) struct Smtp {
    pub(crate) port: u16,
    book: Arc<Mutex<Book>>,
    listening: Option<JoinHandle<()>>,
}

impl Smtp {
    /// Does not listen yet: connections are refused.
    pub(crate) fn new(port: u16) -> Self {
        Self { port, book: Arc::default(), listening: None }
    }

    pub(crate) async fn listen(&mut self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await.expect("the port is free");
        let book = Arc::clone(&self.book);
        self.listening = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, Arc::clone(&book)));
            }
        }));
    }

    /// Refuses connections from now on.
    pub(crate) async fn close(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            let _ = listening.await;
        }
    }

    /// Answers 451 to the next `times` recipients.
    pub(crate) fn defer(&self, times: usize) {
        lock(&self.book).defer = times;
    }

    /// Answers 550 to this address, or to nobody any more.
    pub(crate) fn refuse(&self, address: Option<&str>) {
        lock(&self.book).refused = address.map(str::to_owned);
    }

    /// Reads mails about this event to their end and then says nothing until they are judged.
    pub(crate) fn hold(&self, event: &'static str) {
        lock(&self.book).hold = Some(event);
    }

    /// Who is waiting for an answer; those who hung up are not.
    pub(crate) fn held(&self) -> Vec<Mail> {
        lock(&self.book)
            .held
            .iter()
            .filter(|(_, judge)| !judge.is_closed())
            .map(|(mail, _)| mail.clone())
            .collect()
    }

    /// Holds nothing any more, and judges everything held.
    pub(crate) fn release(&self, verdict: impl Fn(&Mail) -> Verdict) {
        let mut book = lock(&self.book);
        book.hold = None;
        for (mail, judge) in book.held.drain(..) {
            let _ = judge.send(verdict(&mail));
        }
    }

    pub(crate) fn accepted(&self) -> Vec<Mail> {
        lock(&self.book).accepted.clone()
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One conversation; mailin knows the protocol, this moves the bytes.
async fn talk(stream: TcpStream, book: Arc<Mutex<Book>>) {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let doorman = Doorman { book: Arc::clone(&book) };
    let mut session = SessionBuilder::new("mail.example.org").build(IpAddr::V4(Ipv4Addr::LOCALHOST), doorman);
    let mut answer = session.greeting();
    let (mut message, mut in_data) = (Vec::new(), false);
    loop {
        let mut bytes = Vec::new();
        if answer.action != Action::NoReply
            && (answer.write_to(&mut bytes).is_err() || writing.write_all(&bytes).await.is_err())
        {
            return;
        }
        if answer.action == Action::Close {
            return;
        }
        let mut line = Vec::new();
        if !matches!(reading.read_until(b'\n', &mut line).await, Ok(1..)) {
            return;
        }
        if in_data && line == b".\r\n" {
            in_data = false;
            let mail = Mail::read(&String::from_utf8_lossy(&std::mem::take(&mut message)));
            if !judged(&book, &mail, &mut reading).await {
                return;
            }
            lock(&book).accepted.push(mail);
        } else if in_data {
            message.extend_from_slice(&line);
        }
        answer = session.process(&line);
        in_data |= answer.code == 354;
    }
}

/// Waits for the verdict where the mail is held; `false` when the conversation ends instead.
async fn judged(book: &Mutex<Book>, mail: &Mail, client: &mut (impl AsyncBufReadExt + Unpin)) -> bool {
    let verdict = {
        let mut book = lock(book);
        if book.hold.is_none_or(|event| event != mail.event) {
            return true;
        }
        let (judge, verdict) = oneshot::channel();
        book.held.push((mail.clone(), judge));
        verdict
    };
    tokio::select! {
        biased;
        // The client says nothing before the answer: this is its end.
        _ = client.fill_buf() => false,
        verdict = verdict => verdict == Ok(Verdict::Accept),
    }
}

/// Decides about recipients; about messages, [`judged`] does.
struct Doorman {
    book: Arc<Mutex<Book>>,
}

impl Handler for Doorman {
    fn rcpt(&mut self, to: &str) -> Response {
        let mut book = lock(&self.book);
        if book.refused.as_deref() == Some(to) {
            return Response::custom(550, format!("5.1.1 <{to}>: no such user"));
        }
        if book.defer > 0 {
            book.defer -= 1;
            return Response::custom(451, "4.7.1 come again later".into());
        }
        mailin::response::OK
    }
}

impl Mail {
    fn read(text: &str) -> Self {
        let head =
            text.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ").replace("\r\n\t", " ");
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        Self {
            to: header("To").trim_matches(['<', '>']).to_owned(),
            event: header("X-Dogwatch-Event"),
            ticket: header("X-Dogwatch-Ticket"),
            message_id: header("Message-ID"),
            subject: header("Subject"),
            text: text.replace("=\r\n", "").replace("=3D", "="),
            at: shared::time::wall(),
        }
    }
}
