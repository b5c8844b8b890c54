//! Opens tickets in batches: the requests that arrive while one transaction commits share the next.
//!
//! A commit costs the same for one ticket as for a hundred, so this multiplies what the database can take without
//! making a lone request wait.

use std::sync::Arc;

use shared::process::Process;
use shared::store::desk::{self, Draft};
use shared::store::tickets::Ticket;
use shared::store::{self, Db};
use tokio::sync::{Mutex, mpsc, oneshot};

/// At most as many tickets to a transaction.
const BATCH: usize = 256;

/// How many transactions at once: a second one is prepared while the first commits. SQLite has one writer anyway.
const WRITERS: usize = 2;

type Order = (Draft, oneshot::Sender<desk::Result<Ticket>>);

/// Takes drafts and gives tickets.
#[derive(Debug)]
pub(crate) struct Creator {
    orders: mpsc::Sender<Order>,
}

impl Creator {
    pub(crate) fn start(process: &Process) -> Self {
        let (orders, receiver) = mpsc::channel(BATCH * 4);
        let receiver = Arc::new(Mutex::new(receiver));
        let writers = if matches!(process.db, Db::Sqlite { .. }) { 1 } else { WRITERS };
        for _ in 0..writers {
            tokio::spawn(write(process.clone(), Arc::clone(&receiver)));
        }
        Self { orders }
    }

    /// Opens one ticket; it is committed when this returns.
    pub(crate) async fn open(&self, draft: Draft) -> desk::Result<Ticket> {
        let (answer, answered) = oneshot::channel();
        let gone = || desk::Error::Store(store::Error::away());
        self.orders.send((draft, answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

async fn write(process: Process, orders: Arc<Mutex<mpsc::Receiver<Order>>>) {
    loop {
        let mut batch = Vec::new();
        if orders.lock().await.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        let drafts: Vec<Draft> = batch.iter().map(|(draft, _)| draft.clone()).collect();
        match open(&process, drafts).await {
            Ok(tickets) => {
                for ((_, answer), ticket) in batch.into_iter().zip(tickets) {
                    let _ = answer.send(Ok(ticket));
                }
            }
            // One bad draft must not fail its neighbours: each on its own.
            Err(desk::Error::Forbidden(_) | desk::Error::Store(store::Error::Conflict(_)))
                if batch.len() > 1 =>
            {
                for (draft, answer) in batch {
                    let opened = open(&process, vec![draft]).await;
                    let _ = answer.send(opened.and_then(|tickets| {
                        tickets.into_iter().next().ok_or(desk::Error::NotFound("ticket"))
                    }));
                }
            }
            Err(error) => {
                let mut first = Some(error);
                for (_, answer) in batch {
                    let again = || desk::Error::Store(store::Error::away());
                    let _ = answer.send(Err(first.take().unwrap_or_else(again)));
                }
            }
        }
    }
}

async fn open(process: &Process, drafts: Vec<Draft>) -> desk::Result<Vec<Ticket>> {
    let mut tx = process.db.begin().await?;
    let tickets = process.desk.open(&mut tx, drafts).await?;
    process.queue.push(tx.commit().await?);
    Ok(tickets)
}
