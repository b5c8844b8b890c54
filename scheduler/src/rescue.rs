//! Takes jobs from workers that are gone.
//!
//! A worker is gone when it has not been heard for a while, and only if we could have heard it: after the database
//! was away, everybody gets a full window to report before anybody is judged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use shared::domain::job;
use shared::metrics::{JOBS_FINISHED, JOBS_RESCUED};
use shared::process::Process;
use shared::store::{self, jobs};
use tokio::sync::Mutex;

/// How often to look.
const EVERY: Duration = Duration::from_secs(1);

/// How long a worker may be silent: five heartbeats.
const SILENCE: Duration = Duration::from_secs(10);

/// A pause between two successful looks after which nothing is known about who was alive.
const BLIND: Duration = Duration::from_secs(3);

/// Since when this process has been able to hear every heartbeat.
#[derive(Debug)]
struct Watch {
    since: Instant,
    last: Instant,
}

impl Watch {
    const fn new(now: Instant) -> Self {
        Self { since: now, last: now }
    }

    /// Says that the database answered; tells whether silent workers may be judged now.
    fn heard(&mut self, now: Instant) -> bool {
        if now.duration_since(self.last) > BLIND {
            self.since = now;
        }
        self.last = now;
        now.duration_since(self.since) > SILENCE
    }
}

pub(crate) async fn keep_rescuing(process: &Process) {
    let watch = Arc::new(Mutex::new(Watch::new(Instant::now())));
    let look = |process| look(process, Arc::clone(&watch));
    crate::repeat(process, "rescue", EVERY, look).await;
}

async fn look(process: Process, watch: Arc<Mutex<Watch>>) -> store::Result<()> {
    // Asking the database comes first: only once it has answered is silence anybody's own.
    let may_judge = match process.db.check_schema().await {
        Ok(()) => watch.lock().await.heard(Instant::now()),
        Err(error) => return Err(error),
    };
    rescue(&process, may_judge).await
}

async fn rescue(process: &Process, may_judge: bool) -> store::Result<()> {
    let now = process.desk.clock.now();
    let gone_before = may_judge.then(|| now - TimeDelta::from_std(SILENCE).unwrap_or_default());
    let mut tx = process.db.begin().await?;
    let rescued = jobs::rescue(&mut tx, gone_before, now).await?;
    let _ = tx.commit().await?;
    if rescued == jobs::Rescued::default() {
        return Ok(());
    }
    JOBS_RESCUED.of(["again"]).increment(rescued.again as u64);
    JOBS_RESCUED.of(["dead"]).increment(rescued.dead.len() as u64);
    for kind in &rescued.dead {
        JOBS_FINISHED.of([job::label(kind), "dead"]).increment(1);
    }
    tracing::warn!(again = rescued.again, dead = rescued.dead.len(), "took jobs from workers that are gone");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_judged_until_everybody_could_have_reported() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = Watch::new(start);
        for second in 1..=10 {
            assert!(!watch.heard(at(second)), "{second}");
        }
        assert!(watch.heard(at(11)));
        assert!(!watch.heard(at(20)), "the database was away");
        for second in 21..=30 {
            assert!(!watch.heard(at(second)), "{second}");
        }
        assert!(watch.heard(at(31)));
    }
}
