//! One stream: what it missed, then what happens, as far as its caller may see it at that moment.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::response::sse::Event;
use shared::domain::access::Caller;
use shared::domain::event::EventKind;
use shared::ids::TicketId;
use shared::metrics::EVENT_STREAMS_ENDED;
use shared::store::events::{self, Only};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Seat;
use super::tail::{Line, WINDOW, read};
use crate::app::App;
use crate::call::authenticate;
use crate::error::ApiError;

/// How long a client waits before it comes back.
const RETRY: Duration = Duration::from_secs(3);

/// A stream on which nothing happens says for so long nothing: proxies close what seems dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often to ask again whether the caller may still listen, and to what.
const RECHECK: Duration = Duration::from_secs(5);

/// What a caller wants to hear of.
#[derive(Debug)]
pub(crate) struct Filter {
    /// All kinds when empty.
    pub(crate) kinds: Vec<EventKind>,
    pub(crate) ticket: Option<TicketId>,
}

impl Filter {
    fn wants(&self, line: &Line) -> bool {
        let event = &line.told.event;
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && self.ticket.is_none_or(|ticket| ticket == event.ticket_id)
    }
}

/// One stream.
pub(crate) struct Subscription {
    app: App,
    /// The request's, with which its caller proves time and again that they may listen.
    request: Parts,
    caller: Arc<Caller>,
    filter: Filter,
    /// The place up to which everything was sent or passed over.
    place: i64,
    /// Up to where the log is read, before what is heard goes on from there.
    missed: i64,
    /// What to send first.
    first: VecDeque<Event>,
    ready: VecDeque<Arc<Line>>,
    live: Receiver<Arc<Line>>,
    recheck: Interval,
    quiet_since: Instant,
    _seat: Seat,
}

impl Subscription {
    /// Begins to listen: behind the event `after`, or, without one, behind the latest.
    pub(crate) async fn begin(
        app: &App,
        (request, caller): (Parts, Arc<Caller>),
        filter: Filter,
        after: Option<i64>,
        seat: Seat,
    ) -> Result<Self, ApiError> {
        let db = &app.process.db;
        let live = app.tail.listen(&app.process).await?;
        // After the beginning to listen: whatever is not below this will be heard.
        let head = events::head(db).await?;
        let mut first = VecDeque::from([Event::default().comment("welcome").retry(RETRY)]);
        let place = match after {
            Some(after) if after <= head && after.saturating_add(1) >= events::floor(db).await? => after,
            // Forgotten, or of another database.
            Some(_) => {
                let told = r#"{"reason":"What came after Last-Event-ID is not known any more: read again what you show."}"#;
                first.push_back(Event::default().event("reset").id(head.to_string()).data(told));
                head
            }
            None => head,
        };
        let mut recheck = tokio::time::interval(RECHECK);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        recheck.reset();
        let (app, quiet_since) = (app.clone(), Instant::now());
        let (missed, ready) = (head, VecDeque::new());
        let subscription = Self {
            app,
            request,
            caller,
            filter,
            place,
            missed,
            first,
            ready,
            live,
            recheck,
            quiet_since,
            _seat: seat,
        };
        Ok(subscription)
    }

    /// Waits for what is to be sent next; `None` when the stream is over.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        let event = self.wait().await;
        self.quiet_since = Instant::now();
        event
    }

    async fn wait(&mut self) -> Option<Event> {
        let stop = self.app.process.stop.clone();
        loop {
            if stop.is_cancelled() {
                return self.over("shutdown");
            }
            if let Some(event) = self.first.pop_front() {
                return Some(event);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                _ = self.recheck.tick() => if !self.may_still_listen().await {
                    return self.over("not_allowed");
                },
                () = std::future::ready(()), if !self.ready.is_empty() => {
                    if let Some(event) = self.ready.pop_front().and_then(|line| self.show(&line)) {
                        return Some(event);
                    }
                }
                read = catch_up(&self.app, &self.caller, &self.filter, self.place, self.missed), if self.place < self.missed => {
                    match read {
                        Ok((lines, until)) => {
                            self.ready.extend(lines);
                            // With nothing to show up to there, that is where it stands.
                            if self.ready.is_empty() {
                                self.place = until;
                            }
                        }
                        Err(error) => {
                            tracing::warn!(?error, "could not read what a stream has missed");
                            return self.over("failed");
                        }
                    }
                }
                heard = self.live.recv(), if self.place >= self.missed => match heard {
                    Ok(line) => self.ready.push_back(line),
                    Err(RecvError::Lagged(_)) => return self.over("too_slow"),
                    Err(RecvError::Closed) => return self.over("shutdown"),
                },
                () = tokio::time::sleep_until(self.quiet_since + HEARTBEAT) => {
                    // The place goes with it, so that a client for whom nothing happens does not fall out of the log.
                    return Some(Event::default().id(self.place.to_string()).comment(""));
                }
            }
        }
    }

    /// An event as it is sent, unless it was sent before or is none of the caller's business.
    fn show(&mut self, line: &Line) -> Option<Event> {
        let event = &line.told.event;
        if event.seq <= self.place {
            return None;
        }
        self.place = event.seq;
        let shown = self.filter.wants(line) && line.told.is_for(&self.caller);
        shown.then(|| Event::default().event(event.kind.as_str()).id(event.seq.to_string()).data(&line.json))
    }

    async fn may_still_listen(&mut self) -> bool {
        match authenticate(&self.app, &self.request).await {
            Ok(account) => {
                self.caller = account.caller;
                true
            }
            // While the database is away nothing can be read either.
            Err(ApiError::Unavailable(_)) => true,
            Err(_) => false,
        }
    }

    fn over(&self, reason: &'static str) -> Option<Event> {
        EVENT_STREAMS_ENDED.of([reason]).increment(1);
        tracing::debug!(reason, "a stream is over");
        None
    }
}

/// Reads the next stretch of what was missed; returns it with its end.
async fn catch_up(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    place: i64,
    missed: i64,
) -> Result<(Vec<Arc<Line>>, i64), ApiError> {
    let until = missed.min(place.saturating_add(WINDOW));
    let only = Only { visible_to: (!caller.role.is_staff()).then_some(caller.user), ticket: filter.ticket };
    let lines = read(&app.process.db, place, until, only).await?;
    Ok((lines.into_iter().map(Arc::new).collect(), until))
}
