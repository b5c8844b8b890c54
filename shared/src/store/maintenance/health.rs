//! Rows that contradict each other. Nothing here changes anything.

use chrono::TimeDelta;
use serde::Serialize;
use uuid::Uuid;

use crate::store::query::{Query, query};
use crate::store::{Result, Tx};
use crate::time::Timestamp;

/// How many examples of what is wrong are named.
const EXAMPLES: i64 = 5;

/// How far ahead of the database's clock a time may be: processes agree within milliseconds.
const AHEAD: TimeDelta = TimeDelta::minutes(1);

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, like `closed_without_resolved`.
    pub name: String,
    /// What it looks for, in words.
    pub about: String,
    /// How many rows are wrong.
    pub count: i64,
    /// Identifiers of a few of them.
    pub examples: Vec<String>,
}

/// A check that is one condition on one table.
struct Rule {
    name: &'static str,
    about: &'static str,
    /// `FROM … WHERE …`; `x` is the table.
    wrong: &'static str,
    /// The column that names a row: an identifier.
    id: &'static str,
    /// Whether `$1` is the latest time that is not in the future.
    binds_now: bool,
}

const fn rule(name: &'static str, about: &'static str, wrong: &'static str) -> Rule {
    Rule { name, about, wrong, id: "x.id", binds_now: false }
}

const RULES: &[Rule] = &[
    // Links that no foreign key keeps.
    Rule {
        id: "x.ticket_id",
        ..rule(
            "orphans: ticket_history.actor_id",
            "history by users that do not exist",
            "ticket_history x WHERE x.actor_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = x.actor_id)",
        )
    },
    Rule {
        id: "x.clock_id",
        ..rule(
            "orphans: sla_events.actor_id",
            "events of clocks by users that do not exist",
            "sla_events x WHERE x.actor_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = x.actor_id)",
        )
    },
    Rule {
        id: "x.ticket_id",
        ..rule(
            "orphans: events.actor_id",
            "logged events by users that do not exist",
            "events x WHERE x.actor_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = x.actor_id)",
        )
    },
    rule(
        "orphans: clocks_without_events",
        "clocks of which nothing is on record",
        "sla_clocks x WHERE NOT EXISTS (SELECT 1 FROM sla_events e WHERE e.clock_id = x.id)",
    ),
    rule(
        "orphans: tickets_without_history",
        "tickets whose opening is not on record",
        "tickets x WHERE NOT EXISTS (SELECT 1 FROM ticket_history h WHERE h.ticket_id = x.id)",
    ),
    // Times that cannot be.
    rule("updated_before_created", "tickets that changed before they were opened", "tickets x WHERE x.updated_at < x.created_at"),
    rule("responded_before_created", "tickets answered before they were opened", "tickets x WHERE x.responded_at < x.created_at"),
    rule("acknowledged_before_created", "tickets taken on before they were opened", "tickets x WHERE x.acknowledged_at < x.created_at"),
    rule("resolved_before_created", "tickets resolved before they were opened", "tickets x WHERE x.resolved_at < x.created_at"),
    rule("closed_before_resolved", "tickets closed before they were resolved", "tickets x WHERE x.closed_at < x.resolved_at"),
    rule("deleted_before_created", "tickets deleted before they were opened", "tickets x WHERE x.deleted_at < x.created_at"),
    Rule {
        binds_now: true,
        ..rule(
            "tickets_in_the_future",
            "tickets that were opened or changed in the future",
            "tickets x WHERE x.created_at > $1 OR x.updated_at > $1",
        )
    },
    Rule {
        binds_now: true,
        ..rule("clocks_in_the_future", "clocks whose last event is in the future", "sla_clocks x WHERE x.last_at > $1")
    },
    rule("clock_stopped_before_started", "clocks that ended before they began", "sla_clocks x WHERE x.stopped_at < x.started_at"),
    rule("breach_before_clock", "breaches before the clock began", "sla_clocks x WHERE x.breached_at < x.started_at"),
    rule("job_ended_before_it_started", "jobs that ended before they were started", "job_history x WHERE x.finished_at < x.started_at"),
    // States that contradict each other.
    rule("resolved_without_time", "tickets that are resolved without a time", "tickets x WHERE x.status = 'resolved' AND x.resolved_at IS NULL"),
    rule("closed_without_time", "tickets that are closed without a time", "tickets x WHERE x.status = 'closed' AND x.closed_at IS NULL"),
    rule("closed_without_resolved", "tickets that are closed but were never resolved", "tickets x WHERE x.status = 'closed' AND x.resolved_at IS NULL"),
    rule(
        "time_without_resolved",
        "tickets with a time of resolution that are neither resolved nor closed",
        "tickets x WHERE x.resolved_at IS NOT NULL AND x.status NOT IN ('resolved', 'closed')",
    ),
    rule(
        "clock_runs_on_resolved",
        "clocks that run although their ticket is resolved, closed or deleted",
        "sla_clocks x JOIN tickets t ON t.id = x.ticket_id
            WHERE x.stopped_at IS NULL AND x.running_since IS NOT NULL AND x.metric = 'resolution' AND NOT x.cancelled
                AND (t.status IN ('resolved', 'closed') OR t.deleted_at IS NOT NULL)",
    ),
    rule(
        "escalation_open_on_resolved",
        "escalations that go on although their ticket is resolved, closed or deleted",
        "escalations x JOIN tickets t ON t.id = x.ticket_id
            WHERE x.stopped_at IS NULL AND (t.status IN ('resolved', 'closed') OR t.deleted_at IS NOT NULL)",
    ),
    rule(
        "job_runs_without_worker",
        "jobs that run although their worker is not there",
        "jobs x WHERE x.state = 'running' AND NOT EXISTS (SELECT 1 FROM workers w WHERE w.id = x.worker_id)",
    ),
    rule("job_runs_without_deadline", "jobs that run without a deadline", "jobs x WHERE x.state = 'running' AND x.deadline_at IS NULL"),
    rule(
        "notification_settled_without_time",
        "notifications that were sent, suppressed or failed without a time",
        "notifications x WHERE x.state IN ('sent', 'suppressed', 'failed') AND x.settled_at IS NULL",
    ),
];

/// Runs every check on what the transaction sees.
pub async fn check(tx: &mut Tx, now: Timestamp) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (child, column, parent, key) in links(tx).await? {
        checks.push(orphans(tx, &child, &column, &parent, &key).await?);
    }
    for rule in RULES {
        let bound = |query: Query| if rule.binds_now { query.bind(now + AHEAD) } else { query };
        let count = query("SELECT COUNT(*) FROM ").push(rule.wrong);
        let (count,): (i64,) = bound(count).one(&mut *tx).await?;
        let mut examples = Vec::new();
        if count > 0 {
            let select = text(query("SELECT "), |query| query.push(rule.id)).push(" FROM ").push(rule.wrong);
            examples = first(bound(select), tx).await?;
        }
        checks.push(Check { name: rule.name.into(), about: rule.about.into(), count, examples });
    }
    Ok(checks)
}

const LINKS_OF_POSTGRES: &str = "
    SELECT CAST(child.relname AS TEXT), CAST(a.attname AS TEXT), CAST(parent.relname AS TEXT), CAST(b.attname AS TEXT)
    FROM pg_constraint c JOIN pg_class child ON child.oid = c.conrelid JOIN pg_class parent ON parent.oid = c.confrelid
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
        JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[1]
    WHERE c.contype = 'f' AND cardinality(c.conkey) = 1
        AND c.connamespace = CAST(current_schema() AS regnamespace)";
const LINKS_OF_SQLITE: &str = r#"
    SELECT child.name, f."from", f."table", COALESCE(f."to", 'id')
    FROM sqlite_schema child, pragma_foreign_key_list(child.name) f WHERE child.type = 'table'"#;

/// Lists every foreign key: table, column, table it leads to, column there.
async fn links(tx: &mut Tx) -> Result<Vec<(String, String, String, String)>> {
    let select = query("").push_each(LINKS_OF_POSTGRES, LINKS_OF_SQLITE);
    let mut links: Vec<(String, String, String, String)> = select.all(tx).await?;
    links.sort_unstable();
    Ok(links)
}

async fn orphans(tx: &mut Tx, child: &str, column: &str, parent: &str, key: &str) -> Result<Check> {
    let wrong = |query: Query| {
        let query = query.push(" FROM ").push_name(child).push(" x WHERE x.").push_name(column);
        let query = query.push(" IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ").push_name(parent);
        query.push(" p WHERE p.").push_name(key).push(" = x.").push_name(column).push(")")
    };
    let (count,): (i64,) = wrong(query("SELECT COUNT(*)")).one(&mut *tx).await?;
    let mut examples = Vec::new();
    if count > 0 {
        let select = wrong(text(query("SELECT DISTINCT "), |query| query.push("x.").push_name(column)));
        examples = first(select, tx).await?;
    }
    let name = format!("orphans: {child}.{column}");
    Ok(Check { name, about: format!("rows of {child} whose {parent} is missing"), count, examples })
}

/// Selects an identifier as text: SQLite keeps it as bytes.
fn text(query: Query, column: impl Fn(Query) -> Query) -> Query {
    column(query.push_each("CAST(", "lower(hex(")).push_each(" AS TEXT)", "))")
}

async fn first(select: Query, tx: &mut Tx) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = select.push(" LIMIT ").push_bind(EXAMPLES).all(tx).await?;
    Ok(rows.into_iter().map(|(id,)| Uuid::try_parse(&id).map_or(id, |id| id.to_string())).collect())
}
