//! Asks `clamd` whether a file is malware.
//!
//! Source: clamd(8), INSTREAM: pieces of content, each after its length in four bytes, and a piece of no length at the end.

use std::time::Duration;

use futures::{Stream, StreamExt};
use shared::blobs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long to wait for a connection, for room to send, and for the next word of an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// At most as many bytes to an answer.
const LONGEST_ANSWER: u64 = 4_096;

/// What a look at a file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Clean,
    /// Malware, by the name that the scanner has for it.
    Found(String),
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    /// The scanner cannot be reached, or broke off.
    #[error("the scanner is away: {0}")]
    Away(#[from] std::io::Error),
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] blobs::Error),
    /// The scanner says that it cannot.
    #[error("the scanner refuses the file: {0}")]
    Refused(String),
}

/// Streams a file to the scanner.
pub(crate) async fn scan(
    addr: &str,
    mut content: impl Stream<Item = blobs::Result<bytes::Bytes>> + Unpin,
) -> Result<Verdict, ScanError> {
    let mut scanner = within(TcpStream::connect(addr)).await?;
    within(scanner.write_all(b"zINSTREAM\0")).await?;
    while let Some(piece) = content.next().await {
        let piece = piece?;
        if piece.is_empty() {
            continue;
        }
        let length = u32::try_from(piece.len()).map_err(std::io::Error::other)?;
        let sent = within(async {
            scanner.write_all(&length.to_be_bytes()).await?;
            scanner.write_all(&piece).await
        });
        if sent.await.is_err() {
            // It hangs up on files that it finds too long, and says so first.
            break;
        }
    }
    let ended = within(scanner.write_all(&[0; 4])).await;
    let mut answer = Vec::new();
    let read = within((&mut scanner).take(LONGEST_ANSWER).read_to_end(&mut answer)).await;
    if answer.is_empty() {
        ended?;
        read?;
    }
    verdict(&answer)
}

fn verdict(answer: &[u8]) -> Result<Verdict, ScanError> {
    let answer = String::from_utf8_lossy(answer);
    let answer = answer.trim_end_matches(['\0', '\n']).trim();
    let said = answer.strip_prefix("stream: ").unwrap_or(answer);
    match said.strip_suffix(" FOUND") {
        Some(name) => Ok(Verdict::Found(name.chars().filter(|c| !c.is_control()).take(200).collect())),
        None if said == "OK" => Ok(Verdict::Clean),
        None if said.is_empty() => Err(ScanError::Away(std::io::ErrorKind::UnexpectedEof.into())),
        None => Err(ScanError::Refused(said.into())),
    }
}

async fn within<T>(work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}
