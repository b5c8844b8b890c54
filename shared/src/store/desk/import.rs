//! Tickets out of files, a batch of rows at a time.

use std::collections::{HashMap, HashSet};

use super::{Actor, Desk, Draft, Error, Result, assignment};
use crate::domain::Problem;
use crate::domain::access::{Area, Caller, Standing};
use crate::domain::import::{Line, MOST_ERRORS, MOST_ROWS, Row};
use crate::ids::{DefinitionId, TicketId, UserId};
use crate::store::db::Tx;
use crate::store::imports::{self, Import};
use crate::store::tickets::Ticket;
use crate::store::users::{self, User};

/// What rows refer to by name.
struct Named {
    assignees: HashMap<String, UserId>,
    teams: HashMap<String, DefinitionId>,
    /// Numbers of tickets by what they are called where they come from.
    imported: HashMap<String, i64>,
}

/// What becomes of a batch.
#[derive(Default)]
struct Sorted {
    drafts: Vec<Draft>,
    /// What each draft is called where it comes from.
    external: Vec<Option<String>>,
    problems: Vec<(i64, Problem)>,
    failed: i64,
    skipped: i64,
}

impl Desk {
    /// Opens the tickets of a batch of rows as whoever asked for the import, who is judged as they are now; good rows
    /// become tickets whatever is wrong with others. The import's counts and position are stored with them, and the
    /// import ends where its user may not import any more, or too much is wrong.
    ///
    /// The user is locked, so that two imports of theirs agree on what was imported before.
    pub async fn import(&self, tx: &mut Tx, import: &mut Import, lines: Vec<Line>) -> Result<Vec<Ticket>> {
        let user = users::lock(tx, import.user_id).await?;
        let caller = match user.as_ref().map(refused) {
            Some(None) => users::caller(&mut *tx, &user.ok_or(Error::NotFound("user"))?).await?,
            refusal => {
                let why = refusal.flatten().unwrap_or("The account is gone.");
                self.stop(tx, import, why).await?;
                return Ok(Vec::new());
            }
        };
        let rows = i64::try_from(lines.len()).unwrap_or(i64::MAX);
        let named = named(tx, import.user_id, &lines).await?;
        let Sorted { drafts, external, problems, failed, skipped } = sort(&caller, import, lines, &named);
        let opened = self.open_out_of(tx, drafts, Some(import.id)).await?;
        let external: Vec<(String, TicketId)> =
            external.into_iter().zip(&opened).filter_map(|(id, ticket)| Some((id?, ticket.id))).collect();
        imports::remember(tx, import.user_id, &external).await?;
        imports::add_errors(tx, import.id, &problems).await?;
        import.rows += rows;
        import.imported += i64::try_from(opened.len()).unwrap_or(i64::MAX);
        (import.failed, import.skipped) = (import.failed + failed, import.skipped + skipped);
        import.errors += i64::try_from(problems.len()).unwrap_or(i64::MAX);
        if import.errors >= MOST_ERRORS {
            self.stop(tx, import, "Too much is wrong with the file; nothing more of it was read.").await?;
        } else if import.rows >= MOST_ROWS {
            self.stop(tx, import, "A file may have 1,000,000 rows; nothing more of it was read.").await?;
        } else {
            imports::save(tx, import).await?;
        }
        Ok(opened)
    }

    async fn stop(&self, tx: &mut Tx, import: &mut Import, why: &str) -> Result<()> {
        import.stopped = Some(why.into());
        import.finished_at = Some(self.clock.now());
        Ok(imports::save(tx, import).await?)
    }
}

/// Why somebody may not import, if so.
fn refused(user: &User) -> Option<&'static str> {
    if user.disabled_at.is_some() {
        Some("The account of whoever asked for it was disabled.")
    } else if user.role.may_change(Area::Imports) {
        None
    } else {
        Some("The role of whoever asked for it does not allow imports any more.")
    }
}

async fn named(tx: &mut Tx, user: UserId, lines: &[Line]) -> Result<Named> {
    let each = |field: fn(&Row) -> Option<&String>| {
        let values = lines.iter().filter_map(|line| field(line.row.as_ref().ok()?));
        values.cloned().collect::<HashSet<String>>().into_iter().collect::<Vec<String>>()
    };
    let assignees = imports::assignees(&mut *tx, &each(|row| row.assignee_email.as_ref())).await?;
    let teams = imports::teams(&mut *tx, &each(|row| row.team.as_ref())).await?;
    let imported = imports::known(tx, user, &each(|row| row.external_id.as_ref())).await?;
    Ok(Named {
        assignees: assignees.into_iter().collect(),
        teams: teams.into_iter().collect(),
        imported: imported.into_iter().collect(),
    })
}

fn sort(caller: &Caller, import: &Import, lines: Vec<Line>, named: &Named) -> Sorted {
    let actor = Actor { ip: import.ip.clone(), ..Actor::from(caller.clone()) };
    let mut sorted = Sorted::default();
    let mut seen: HashSet<String> = HashSet::new();
    for Line { line, row } in lines {
        let drafted = row.and_then(|row| {
            let external = row.external_id.clone();
            Ok((draft(row, &actor, named)?, external))
        });
        let before = |id: &String| match named.imported.get(id) {
            Some(number) => Some(format!("Was imported before, as INC-{number}.")),
            None if seen.contains(id) => Some("Stands in an earlier row, too.".into()),
            None => None,
        };
        match drafted {
            Err(problems) => {
                sorted.failed += 1;
                sorted.problems.extend(problems.into_iter().map(|problem| (line, problem)));
            }
            Ok((draft, external)) => {
                if let Some(why) = external.as_ref().and_then(before) {
                    sorted.skipped += 1;
                    sorted.problems.push((line, Problem::new("external_id", why)));
                    continue;
                }
                seen.extend(external.clone());
                sorted.drafts.push(draft);
                sorted.external.push(external);
            }
        }
    }
    sorted
}

fn draft(row: Row, actor: &Actor, named: &Named) -> std::result::Result<Draft, Vec<Problem>> {
    let mut problems = Vec::new();
    let assignee_id = row.assignee_email.as_ref().and_then(|email| named.assignees.get(email)).copied();
    if row.assignee_email.is_some() && assignee_id.is_none() {
        let why = "There is no user with this address, or they are disabled.";
        problems.push(Problem::new("assignee_email", why));
    }
    let team_id = row.team.as_ref().and_then(|name| named.teams.get(name)).copied();
    if row.team.is_some() && team_id.is_none() {
        problems.push(Problem::new("team", "There is no team of this name."));
    }
    let reporter_id = actor.id().unwrap_or_else(UserId::new);
    let nobody = Standing { reporter: reporter_id, assignee: None, team: None };
    let given = Standing { assignee: assignee_id, team: team_id, ..nobody };
    if !actor.may_give(&nobody, &given) {
        let field = if assignee_id.is_some() { "assignee_email" } else { "team" };
        problems.push(Problem::new(field, assignment::REFUSED));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Draft {
        title: row.title,
        description: row.description,
        priority: row.priority,
        category: row.category,
        environment: row.environment,
        affected_service: row.affected_service,
        contact_name: row.contact_name,
        contact_email: row.contact_email,
        assignee_id,
        team_id,
        labels: row.labels,
        reporter_id,
        actor: actor.clone(),
        traceparent: None,
    })
}
