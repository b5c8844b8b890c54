//! Dispatch through Redis, by apalis-redis. What it does not do well is kept away from it: it neither retries nor
//! schedules nor times out here, its handler always succeeds, and its backlog is bounded (see `MAX_BACKLOG`).

use std::task::Poll;
use std::time::Duration;

use apalis::prelude::{BackendExt, BoxDynError, Data, Monitor, TaskSink, WorkerBuilder};
use apalis_redis::{Config, RedisStorage};
use futures::Stream;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio_util::sync::CancellationToken;

use super::{AFTER_A_FAILURE, Dispatch, FETCH, Inbox, MAX_BACKLOG, Unavailable};
use crate::domain::job::Priority;
use crate::ids::WorkerId;

/// How often an idle worker asks for messages.
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Redis {
    client: redis::Client,
    connection: tokio::sync::OnceCell<ConnectionManager>,
}

impl From<redis::RedisError> for Unavailable {
    fn from(error: redis::RedisError) -> Self {
        Self(error.to_string())
    }
}

impl Redis {
    pub(super) fn new(url: &str) -> Result<Self, Unavailable> {
        Ok(Self { client: redis::Client::open(url)?, connection: tokio::sync::OnceCell::new() })
    }

    async fn connection(&self) -> Result<ConnectionManager, Unavailable> {
        // The default response timeout of 500 ms ends workers under load.
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(Duration::from_secs(5)))
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_number_of_retries(1);
        let connect = || self.client.get_connection_manager_with_config(config);
        Ok(self.connection.get_or_try_init(connect).await?.clone())
    }

    async fn storage(&self, priority: Priority) -> Result<RedisStorage<Dispatch>, Unavailable> {
        Ok(RedisStorage::new(self.connection().await?).with_config(config(priority)))
    }

    pub(super) async fn room(&self, priority: Priority) -> Result<usize, Unavailable> {
        let config = config(priority);
        let mut pipe = redis::pipe();
        pipe.zcard(config.scheduled_jobs_set()).llen(config.active_jobs_list());
        let (scheduled, active): (usize, usize) = pipe.query_async(&mut self.connection().await?).await?;
        Ok(MAX_BACKLOG.saturating_sub(scheduled + active))
    }

    pub(super) async fn send(&self, priority: Priority, messages: Vec<Dispatch>) -> Result<(), Unavailable> {
        if messages.is_empty() {
            return Ok(());
        }
        let mut storage = self.storage(priority).await?;
        // In a task of its own: a push that is cancelled makes the next one lose its message.
        let pushed =
            tokio::spawn(async move { storage.push_bulk(messages).await.map_err(|error| error.to_string()) });
        pushed.await.map_err(|error| Unavailable(error.to_string()))?.map_err(Unavailable)
    }

    pub(super) async fn deliver(&self, inbox: Inbox, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.deliver_until_it_fails(&inbox, &stop).await {
                tracing::warn!(%error, "dispatch from Redis failed; trying again");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(AFTER_A_FAILURE) => {}
            }
        }
    }

    async fn deliver_until_it_fails(
        &self,
        inbox: &Inbox,
        stop: &CancellationToken,
    ) -> Result<(), Unavailable> {
        let mut monitor = Monitor::new().shutdown_timeout(Duration::from_secs(2));
        // A fresh name each time: a name that was used before counts as still active.
        let boot = WorkerId::new();
        for priority in Priority::ALL {
            let storage = self.storage(*priority).await?;
            let inbox = inbox.clone();
            monitor = monitor.register(move |restarts| {
                WorkerBuilder::new(format!("{boot}-{priority}-{restarts}"))
                    .backend(storage.clone().poll_with_stream(wakes()))
                    .data((inbox.clone(), *priority))
                    .build(accept)
            });
        }
        let failed = CancellationToken::new();
        let watched = failed.clone();
        // Any error ends a worker for good. All of them are then ended and begun anew, after a pause.
        let monitor = monitor.should_restart(move |_, error| {
            tracing::warn!(error = ?error, "a dispatch worker ended");
            watched.cancel();
            false
        });
        let stop = stop.clone();
        let signal = async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = failed.cancelled() => {}
            }
            Ok(())
        };
        monitor.run_with_signal(signal).await.map_err(|error| Unavailable(error.to_string()))
    }

    pub(super) async fn tidy(&self) -> Result<u64, Unavailable> {
        let mut connection = self.connection().await?;
        let mut deleted = 0;
        for config in Priority::ALL.iter().map(|priority| config(*priority)) {
            for ended in [config.done_jobs_set(), config.dead_jobs_set()] {
                loop {
                    let ids: Vec<String> =
                        redis::cmd("SPOP").arg(&ended).arg(500).query_async(&mut connection).await?;
                    if ids.is_empty() {
                        break;
                    }
                    let meta = config.job_meta_hash();
                    let mut pipe = redis::pipe();
                    pipe.hdel(config.job_data_hash(), &ids).ignore();
                    pipe.unlink(ids.iter().map(|id| format!("{meta}:{id}")).collect::<Vec<_>>()).ignore();
                    let () = pipe.query_async(&mut connection).await?;
                    deleted += ids.len() as u64;
                }
            }
        }
        Ok(deleted)
    }
}

/// Wakes a worker again and again. apalis has an interval of its own, which is lost when a fetch outlasts it: the
/// worker then sleeps until its next heartbeat, however much waits.
fn wakes() -> impl Stream<Item = ()> + Unpin + Send {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    futures::stream::poll_fn(move |cx| {
        // Until it is pending: only then will it wake us.
        while ticks.poll_tick(cx).is_ready() {}
        Poll::Pending
    })
}

async fn accept(dispatch: Dispatch, to: Data<(Inbox, Priority)>) -> Result<(), BoxDynError> {
    let (inbox, priority) = &*to;
    inbox.put(*priority, dispatch).await;
    Ok(())
}

fn config(priority: Priority) -> Config {
    Config::default()
        // Braces: all keys of a queue in one hash slot.
        .queue(format!("{{dogwatch}}:{priority}"))
        .batch_size(FETCH)
        .heartbeat_interval(Duration::from_secs(5))
        .missed_heartbeats(3)
        // Locking scans the whole backlog for each task, and the ledger's claims make it needless.
        .lock_tasks(false)
        .emit_events(false)
        // Without results nothing is ever acknowledged.
        .persist_results(true)
}
