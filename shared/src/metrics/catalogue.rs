//! Everything that is measured, family by family.

use super::Part::{Api, Scheduler, Worker};
use super::{Counter, Family, Gauge, Histogram, Kind, Label, Part, Values};
use crate::domain::cause::Cause;
use crate::domain::job::{self, ErrorClass};
use crate::domain::sla::Metric;
use crate::domain::ticket;

const EVERY: &[Part] = &[Api, Worker, Scheduler];

const METHOD: Label =
    listed("method", || vec!["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "_OTHER"]);
const ROUTE: Label = bounded("route", "the route's pattern, or `none`", 120);
const STATUS: Label = bounded("status", "the status code", 20);
const KIND: Label = listed("kind", || [&job::KINDS[..], &["other"]].concat());
const QUEUE: Label =
    listed("priority", || job::Priority::ALL.iter().map(|priority| priority.as_str()).collect());
const ERROR: Label = listed("error", || ErrorClass::ALL.iter().map(|class| class.as_str()).collect());
const METRIC: Label = listed("metric", || Metric::ALL.iter().map(|metric| metric.as_str()).collect());
const PRIORITY: Label =
    listed("priority", || ticket::Priority::ALL.iter().map(|priority| priority.as_str()).collect());
const EVENT: Label = listed("event", || Cause::EVENTS.to_vec());
const TOLD: Label = listed("event", || [&Cause::EVENTS[..], &["digest"]].concat());
const SWEPT: Label = listed("of", || vec!["clocks", "escalations"]);
const DELIVERED: Label = listed("outcome", || vec!["sent", "retried", "failed"]);
const STREAM_END: Label = listed("reason", || vec!["shutdown", "not_allowed", "failed", "too_slow"]);
const OUTCOME: Label =
    listed("outcome", || vec!["done", "discarded", "retried", "snoozed", "dead", "lease_lost"]);
const RESCUED: Label = listed("outcome", || vec!["again", "dead"]);
const STATE: Label = listed("state", || vec!["active", "paused", "breached"]);
const SUPPRESSED: Label = listed("reason", || vec!["superseded", "nobody"]);
const HELD: Label = listed("reason", || vec!["storm", "quiet_hours"]);
const DELIVERY: Label = listed("outcome", || vec!["delivered", "retried", "failed", "cancelled"]);
const DISABLED: Label = listed("reason", || vec!["gone", "failing"]);
const SCANNED: Label = listed("outcome", || vec!["clean", "quarantined", "refused", "away"]);
const LOOP: Label = listed("loop", || vec!["sweep", "relay", "rescue", "webhooks", "cron", "gauges"]);
const DEPENDENCY: Label = listed("dependency", || vec!["database", "redis"]);
const EXPORTED: Label = listed("outcome", || vec!["sent", "failed"]);
const CHECK: Label = listed("check", || vec!["database", "heartbeat", "claim", "sweep"]);
const CONNECTION: Label = listed("state", || vec!["idle", "used"]);
const OPERATION: Label =
    listed("operation", || vec!["begin", "commit", "select", "insert", "update", "delete", "other"]);
const VERSION: Label = bounded("version", "of the program", 1);
const POOL: Label = listed("pool", || vec!["main", "reader", "writer"]);

const fn listed(name: &'static str, values: fn() -> Vec<&'static str>) -> Label {
    Label { name, values: Values::Listed(values) }
}

const fn bounded(name: &'static str, what: &'static str, most: usize) -> Label {
    Label { name, values: Values::Bounded { what, most } }
}

const ANSWERS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const WAITS: &[f64] = &[0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];
const RUNS: &[f64] = &[0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0];
const LAGS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 30.0, 300.0];
const SWEEPS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
const ACKNOWLEDGED: &[f64] = &[60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 86_400.0];
const DELIVERIES: &[f64] = &[0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0];
const STATEMENTS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
const WAKES: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];

/// Writes each family as a constant by which it is recorded, and all of them as a list.
macro_rules! catalogue {
    (@kind Counter) => { Kind::Counter };
    (@kind Gauge) => { Kind::Gauge };
    (@kind Histogram $bounds:ident) => { Kind::Histogram($bounds) };
    (@one $label:ident) => { 1 };
    ($($constant:ident: $kind:ident $(($bounds:ident))? $name:literal [$($label:ident),*] by $by:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: $kind<{ 0 $(+ catalogue!(@one $label))* }> = $kind({
                const FAMILY: &Family = &Family {
                    name: $name,
                    kind: catalogue!(@kind $kind $($bounds)?),
                    help: $help,
                    labels: &[$($label),*],
                    by: $by,
                };
                FAMILY
            });
        )*
        /// Every family there is.
        pub const ALL: &[&Family] = &[$($constant.0),*];
    };
}

catalogue! {
    HTTP_REQUESTS: Counter "dogwatch_http_requests_total" [METHOD, ROUTE, STATUS] by &[Api],
        "Requests answered";
    HTTP_REQUEST_DURATION: Histogram(ANSWERS) "dogwatch_http_request_duration_seconds" [METHOD, ROUTE] by &[Api],
        "From a request's arrival to the head of its answer";
    HTTP_REQUESTS_IN_FLIGHT: Gauge "dogwatch_http_requests_in_flight" [] by &[Api],
        "Requests that wait for the head of their answer";
    EVENT_STREAMS: Gauge "dogwatch_event_streams" [] by &[Api],
        "Clients that listen to events";
    EVENT_STREAMS_ENDED: Counter "dogwatch_event_streams_ended_total" [STREAM_END] by &[Api],
        "Streams of events that ended";

    JOBS_ENQUEUED: Counter "dogwatch_jobs_enqueued_total" [KIND] by EVERY,
        "Jobs put into the ledger";
    JOBS_READY: Gauge "dogwatch_jobs_ready" [QUEUE] by &[Scheduler],
        "Jobs that could run now. All schedulers say the same: take the maximum";
    JOBS_RUNNING: Gauge "dogwatch_jobs_running" [QUEUE] by &[Scheduler],
        "Jobs that are leased. All schedulers say the same: take the maximum";
    JOBS_OLDEST_READY: Gauge "dogwatch_jobs_oldest_ready_seconds" [QUEUE] by &[Scheduler],
        "Age of the job that could have run first. All schedulers say the same: take the maximum";
    JOB_WAIT: Histogram(WAITS) "dogwatch_job_wait_seconds" [QUEUE] by &[Worker],
        "From when a job could first run to its start";
    JOB_DURATION: Histogram(RUNS) "dogwatch_job_duration_seconds" [KIND] by &[Worker],
        "How long attempts took";
    JOBS_FINISHED: Counter "dogwatch_jobs_finished_total" [KIND, OUTCOME] by &[Worker, Scheduler],
        "Attempts that ended; schedulers count jobs that died of their crashes";
    JOB_FAILURES: Counter "dogwatch_job_failures_total" [KIND, ERROR] by &[Worker],
        "Attempts that failed, by what failed";
    JOBS_RESCUED: Counter "dogwatch_jobs_rescued_total" [RESCUED] by &[Scheduler],
        "Leases that expired: their worker was gone or took too long";
    WORKER_SLOTS: Gauge "dogwatch_worker_slots" [] by &[Worker],
        "Jobs that can run at once";
    WORKER_SLOTS_USED: Gauge "dogwatch_worker_slots_used" [] by &[Worker],
        "Jobs that run";
    JOBS_POLLED: Counter "dogwatch_jobs_polled_total" [] by &[Worker],
        "Jobs that workers took by themselves since nobody had dispatched them in time";
    JOBS_RELAYED: Counter "dogwatch_jobs_relayed_total" [QUEUE] by &[Scheduler],
        "Jobs that were scheduled, retried, or whose first dispatch was lost";
    DISPATCH_FAILURES: Counter "dogwatch_dispatch_failures_total" [QUEUE] by EVERY,
        "Dispatches that failed; the relay or the workers themselves make up for them";
    DISPATCH_SKIPPED: Counter "dogwatch_dispatch_skipped_total" [] by EVERY,
        "Jobs left to the relay because too many were undelivered";

    SLA_CLOCKS_OPEN: Gauge "dogwatch_sla_clocks_open" [METRIC, PRIORITY, STATE] by &[Scheduler],
        "Clocks that have not ended, counted every minute. All schedulers say the same: take the maximum";
    SLA_CLOCKS_AT_RISK: Gauge "dogwatch_sla_clocks_at_risk" [METRIC, PRIORITY] by &[Scheduler],
        "Clocks past a warning and not yet breached, counted every minute. All schedulers say the same: take the maximum";
    SLA_WARNINGS: Counter "dogwatch_sla_warnings_total" [METRIC, PRIORITY] by EVERY,
        "Warnings recorded";
    SLA_BREACHES: Counter "dogwatch_sla_breaches_total" [METRIC, PRIORITY] by EVERY,
        "Breaches recorded";
    SLA_MET: Counter "dogwatch_sla_met_total" [METRIC, PRIORITY] by EVERY,
        "Clocks stopped in time";
    SLA_DETECTION_LAG: Histogram(LAGS) "dogwatch_sla_detection_lag_seconds" [] by EVERY,
        "From the instant of a breach to its detection";
    SWEEPS_DONE: Counter "dogwatch_sweeps_total" [] by &[Scheduler],
        "Looks for what is due";
    SWEEP_DURATION: Histogram(SWEEPS) "dogwatch_sweep_duration_seconds" [] by &[Scheduler],
        "How long a look for everything due took";
    SWEEP_BATCHES: Counter "dogwatch_sweep_batches_total" [SWEPT] by &[Scheduler],
        "Transactions of the sweep";
    SWEEP_ROWS: Counter "dogwatch_sweep_rows_total" [SWEPT] by &[Scheduler],
        "Clocks and escalations that were due";
    ESCALATION_STEPS: Counter "dogwatch_escalation_steps_total" [] by &[Scheduler],
        "Escalations that went a step on";
    STEPS_WITHOUT_RECIPIENT: Counter "dogwatch_escalation_steps_without_recipient_total" [] by &[Worker],
        "Steps that named nobody who can be told";
    ACKNOWLEDGED_AFTER: Histogram(ACKNOWLEDGED) "dogwatch_acknowledge_seconds" [PRIORITY] by &[Api],
        "From the opening of an escalation to its acknowledgement";
    AUDITED_CLOCKS: Counter "dogwatch_audited_clocks_total" [] by &[Worker],
        "Clocks recomputed from their events";
    AUDIT_MISMATCHES: Counter "dogwatch_audit_mismatches_total" [] by &[Worker],
        "Clocks that were not what their events say";

    MAILS: Counter "dogwatch_mails_total" [TOLD, DELIVERED] by &[Worker],
        "Tries to send a mail";
    WEBHOOKS: Counter "dogwatch_webhooks_total" [EVENT, DELIVERED] by &[Worker],
        "Tries to post the webhook of an escalation step";
    NOTIFICATIONS_SUPPRESSED: Counter "dogwatch_notifications_suppressed_total" [SUPPRESSED] by &[Worker],
        "Notifications that were not sent; each has its reason on record";
    NOTIFICATIONS_HELD: Counter "dogwatch_notifications_held_total" [HELD] by &[Worker],
        "Notifications that wait for a digest";
    NOTIFICATION_LATENCY: Histogram(DELIVERIES) "dogwatch_notification_latency_seconds" [EVENT] by &[Worker],
        "From the decision to tell somebody, of a breach from its own instant, to the acceptance by the receiving server. Without digests";
    WEBHOOK_DELIVERIES: Counter "dogwatch_webhook_deliveries_total" [DELIVERY] by &[Worker],
        "Tries to post an event to a webhook that an admin keeps";
    WEBHOOK_DELIVERIES_MADE: Counter "dogwatch_webhook_deliveries_made_total" [] by &[Scheduler],
        "Deliveries prepared: an event, to a webhook that wants it";
    WEBHOOKS_DISABLED: Counter "dogwatch_webhooks_disabled_total" [DISABLED] by &[Worker],
        "Webhooks that were disabled because of their answers";
    WEBHOOK_EVENTS_BEHIND: Gauge "dogwatch_webhook_events_behind" [] by &[Scheduler],
        "Events that no webhook was told of yet";
    ATTACHMENTS_SCANNED: Counter "dogwatch_attachments_scanned_total" [SCANNED] by &[Worker],
        "Attachments looked at for malware";

    SCHEDULER_LEADER: Gauge "dogwatch_scheduler_leader" [] by &[Scheduler],
        "1 on the scheduler that fires periodic jobs";
    SCHEDULER_LAST_TICK: Gauge "dogwatch_scheduler_last_tick_timestamp_seconds" [LOOP] by &[Scheduler],
        "When a loop last succeeded";

    DEPENDENCY_UP: Gauge "dogwatch_dependency_up" [DEPENDENCY] by EVERY,
        "1 while it answers this process, asked every 2 s; Redis only where there is a `REDIS_URL`";
    TRACE_EXPORTS: Counter "dogwatch_trace_exports_total" [EXPORTED] by EVERY,
        "Batches of spans handed over to be kept; those that failed are lost";
    HEALTH_CHECK_FAILING: Gauge "dogwatch_health_check_failing" [CHECK] by EVERY,
        "1 while `/health/ready` fails because of it";
    DB_CONNECTIONS: Gauge "dogwatch_db_connections" [POOL, CONNECTION] by EVERY,
        "Connections to the database: `main` of PostgreSQL, `reader` and `writer` of SQLite";
    DB_CONNECTIONS_MAX: Gauge "dogwatch_db_connections_max" [POOL] by EVERY,
        "Connections that there can be";
    DB_STATEMENT_DURATION: Histogram(STATEMENTS) "dogwatch_db_statement_duration_seconds" [OPERATION] by EVERY,
        "How long statements took; `begin` includes the wait for a connection";
    CLOCK_OFFSET: Gauge "dogwatch_clock_offset_seconds" [] by EVERY,
        "How far the clock of this process was from the database's when last compared";
    BUILD_INFO: Gauge "dogwatch_build_info" [VERSION] by EVERY,
        "1, with the version of the program";
    RUNTIME_WORKERS: Gauge "dogwatch_runtime_workers" [] by EVERY,
        "Threads of the runtime";
    RUNTIME_ALIVE_TASKS: Gauge "dogwatch_runtime_alive_tasks" [] by EVERY,
        "Tasks that have not ended";
    RUNTIME_QUEUE_DEPTH: Gauge "dogwatch_runtime_queue_depth" [] by EVERY,
        "Tasks that wait for a thread in the common queue";
    RUNTIME_LAG: Histogram(WAKES) "dogwatch_runtime_lag_seconds" [] by EVERY,
        "How late a timer wakes: how long ready tasks wait for a thread";
    PROCESS_CPU: Counter "dogwatch_process_cpu_seconds_total" [] by EVERY,
        "CPU time used";
    PROCESS_OPEN_FDS: Gauge "dogwatch_process_open_fds" [] by EVERY,
        "Open files and sockets";
    PROCESS_MAX_FDS: Gauge "dogwatch_process_max_fds" [] by EVERY,
        "Files and sockets that may be open";
    PROCESS_VIRTUAL_MEMORY: Gauge "dogwatch_process_virtual_memory_bytes" [] by EVERY,
        "Virtual memory";
    PROCESS_VIRTUAL_MEMORY_MAX: Gauge "dogwatch_process_virtual_memory_max_bytes" [] by EVERY,
        "Virtual memory that may be had";
    PROCESS_RESIDENT_MEMORY: Gauge "dogwatch_process_resident_memory_bytes" [] by EVERY,
        "Memory in use";
    PROCESS_START_TIME: Gauge "dogwatch_process_start_time_seconds" [] by EVERY,
        "When the process started";
    PROCESS_THREADS: Gauge "dogwatch_process_threads" [] by EVERY,
        "Threads of the operating system";
}
