//! Follows the log while anybody listens, and passes on what it reads.

use std::sync::Arc;
use std::time::Duration;

use shared::process::Process;
use shared::store::events::{self, Only, Told};
use shared::store::{self, Db};
use tokio::sync::{Mutex, broadcast};

/// How often to look for something new.
const EVERY: Duration = Duration::from_millis(250);

/// At most as many events to a look.
pub(super) const WINDOW: i64 = 500;

/// How long a stream gets to take in a full window before the next: a thousand tickets that were imported at once must
/// not count as its being slow.
const PAUSE: Duration = Duration::from_millis(20);

/// How far a stream may fall behind before it is cut off.
const BACKLOG: usize = 4_096;

/// An event as it is sent.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) told: Told,
    pub(super) json: String,
}

/// What all streams of a process read from.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    lines: broadcast::Sender<Arc<Line>>,
    /// Whether somebody reads the log. Held while one begins to listen, and while the reader finds that nobody does.
    reading: Arc<Mutex<bool>>,
}

impl Default for Tail {
    fn default() -> Self {
        Self { lines: broadcast::Sender::new(BACKLOG), reading: Arc::default() }
    }
}

impl Tail {
    /// Begins to listen. Everything that is committed after this returns will be heard.
    pub(super) async fn listen(&self, process: &Process) -> store::Result<broadcast::Receiver<Arc<Line>>> {
        let mut reading = self.reading.lock().await;
        if !*reading {
            let from = events::head(&process.db).await?;
            tokio::spawn(self.clone().read(process.clone(), from));
            *reading = true;
        }
        Ok(self.lines.subscribe())
    }

    /// Reads until nobody listens any more.
    async fn read(self, process: Process, mut place: i64) {
        loop {
            let before = place;
            if let Err(error) = self.pass_on(&process.db, &mut place).await {
                tracing::warn!(%error, "could not read the log of events; trying again");
            }
            let pause = if place - before < WINDOW { EVERY } else { PAUSE };
            let stopped = process.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none();
            let mut reading = self.reading.lock().await;
            if stopped || self.lines.receiver_count() == 0 {
                *reading = false;
                return;
            }
        }
    }

    async fn pass_on(&self, db: &Db, place: &mut i64) -> store::Result<()> {
        for line in read(db, *place, place.saturating_add(WINDOW), Only::default()).await? {
            *place = line.told.event.seq;
            // Fails where nobody listens, which the reader is about to find out.
            let _ = self.lines.send(Arc::new(line));
        }
        Ok(())
    }
}

/// Reads a stretch of the log as it is sent.
pub(super) async fn read(db: &Db, after: i64, until: i64, only: Only) -> store::Result<Vec<Line>> {
    let told = events::told(db, after, until, only).await?;
    Ok(told.into_iter().map(|told| Line { json: told.view().to_string(), told }).collect())
}
