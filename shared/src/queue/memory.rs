//! Dispatch within one process, by apalis over channels of our own (its own panics when two pushers meet).

use std::sync::Arc;

use apalis::prelude::{
    BoxDynError, Data, MemorySink, MemoryStorage, MemoryStorageError, Monitor, Task, TaskBuilder, TaskId,
    WorkerBuilder,
};
use futures::{SinkExt, StreamExt};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Dispatch, Inbox, MAX_BACKLOG, Unavailable};
use crate::domain::job::Priority;
use crate::ids::JobId;

#[derive(Debug)]
pub(super) struct Memory {
    lanes: [Lane; 3],
}

#[derive(Debug)]
struct Lane {
    sender: mpsc::Sender<Dispatch>,
    receiver: Arc<Mutex<mpsc::Receiver<Dispatch>>>,
}

impl Memory {
    pub(super) fn new() -> Self {
        let lane = |_| {
            let (sender, receiver) = mpsc::channel(MAX_BACKLOG);
            Lane { sender, receiver: Arc::new(Mutex::new(receiver)) }
        };
        Self { lanes: [0, 1, 2].map(lane) }
    }

    pub(super) fn room(&self, priority: Priority) -> usize {
        self.lanes[priority as usize].sender.capacity()
    }

    pub(super) fn send(&self, priority: Priority, messages: Vec<Dispatch>) -> Result<(), Unavailable> {
        for message in messages {
            self.lanes[priority as usize]
                .sender
                .try_send(message)
                .map_err(|error| Unavailable(error.to_string()))?;
        }
        Ok(())
    }

    pub(super) async fn deliver(&self, inbox: Inbox, stop: CancellationToken) {
        let mut monitor = Monitor::new().should_restart(|_, _| true);
        for priority in Priority::ALL {
            let receiver = Arc::clone(&self.lanes[*priority as usize].receiver);
            let inbox = inbox.clone();
            monitor = monitor.register(move |restarts| {
                WorkerBuilder::new(format!("in-process-{priority}-{restarts}"))
                    .backend(storage(Arc::clone(&receiver)))
                    .data((inbox.clone(), *priority))
                    .build(accept)
            });
        }
        let stopped = async move {
            stop.cancelled().await;
            Ok(())
        };
        if let Err(error) = monitor.run_with_signal(stopped).await {
            tracing::error!(%error, "in-process dispatch ended");
        }
    }
}

async fn accept(dispatch: Dispatch, to: Data<(Inbox, Priority)>) -> Result<(), BoxDynError> {
    let (inbox, priority) = &*to;
    inbox.put(*priority, dispatch).await;
    Ok(())
}

fn storage(receiver: Arc<Mutex<mpsc::Receiver<Dispatch>>>) -> MemoryStorage<Dispatch> {
    let messages = futures::stream::unfold(receiver, |receiver| async move {
        let message = receiver.lock().await.recv().await?;
        Some((task(message), receiver))
    });
    // Nothing is ever pushed through apalis here, so its sink has nowhere to lead.
    let nowhere = futures::sink::drain::<Task<Dispatch>>().sink_map_err(|never| match never {});
    let nowhere: Box<dyn futures::Sink<Task<Dispatch>, Error = MemoryStorageError> + Send + Sync + Unpin> =
        Box::new(nowhere);
    MemoryStorage::new_with(MemorySink::new(Arc::new(futures::lock::Mutex::new(nowhere))), messages.boxed())
}

fn task(message: Dispatch) -> Task<Dispatch> {
    TaskBuilder::new(message).task_id(TaskId::from_string(JobId::new().to_string())).build()
}
