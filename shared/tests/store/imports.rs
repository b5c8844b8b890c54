//! Imports: who may, what becomes of each row, and that no row is imported twice.

use serde_json::json;
use shared::domain::access::Caller;
use shared::domain::definition::Kind;
use shared::domain::import::{Line, MOST_ERRORS, Rows};
use shared::domain::job::Job;
use shared::domain::job::Notify;
use shared::domain::role::Role;
use shared::domain::ticket::Priority;
use shared::ids::UserId;
use shared::on_both;
use shared::store::imports::{self, Import, RowError};
use shared::store::tickets::{self, Ticket};
use shared::store::{clocks, events, jobs, users};
use shared::testkit::{Testbed, user};

use crate::write;

on_both! {
    good_rows_become_tickets_and_bad_ones_are_reported,
    nobody_is_mailed_about_imported_tickets_and_their_history_says_so,
    what_was_imported_before_is_skipped_and_named,
    a_row_is_judged_by_what_its_user_may,
    an_import_stops_when_its_user_may_not_import_any_more,
    an_import_stops_where_too_much_is_wrong,
    imports_are_listed_latest_first,
}

fn lines(file: &str) -> (Rows, Vec<Line>) {
    let mut piece = file.as_bytes();
    let mut rows = Rows::begin(&mut piece).unwrap();
    let mut lines: Vec<Line> = std::iter::from_fn(|| rows.next(&mut piece)).collect();
    lines.extend(rows.finish());
    (rows, lines)
}

async fn begin(t: &Testbed, user_id: UserId, rows: &Rows) -> Import {
    let import = Import {
        file: Some("imports/1".into()),
        size: 100,
        ..Import::new(user_id, Some("192.0.2.1".into()), rows, t.now())
    };
    write(t, async |tx| imports::create(tx, &import).await).await;
    assert_eq!(imports::get(&t.db, import.id).await.unwrap().as_ref(), Some(&import));
    import
}

/// Imports a file as a user, and returns what became of it.
async fn run(t: &Testbed, user: UserId, file: &str) -> (Import, Vec<Ticket>) {
    let (rows, lines) = lines(file);
    let mut import = begin(t, user, &rows).await;
    let opened = write(t, async |tx| {
        let mut locked = imports::lock(tx, import.id).await?.unwrap();
        assert_eq!(locked, import);
        let opened = t.desk.import(tx, &mut locked, lines).await;
        import = locked;
        opened
    })
    .await;
    assert_eq!(imports::get(&t.db, import.id).await.unwrap().as_ref(), Some(&import));
    (import, opened)
}

async fn errors(t: &Testbed, import: &Import) -> Vec<(i64, String, String)> {
    let (mut all, mut after): (Vec<_>, Option<RowError>) = (Vec::new(), None);
    loop {
        let page = imports::errors(&t.db, import.id, after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last().cloned() else { break };
        after = Some(last);
        all.extend(page.into_iter().map(|error| (error.line, error.field, error.reason)));
    }
    all
}

async fn good_rows_become_tickets_and_bad_ones_are_reported(t: Testbed) {
    let boss = user("boss@example.org", Role::Admin);
    write(&t, async |tx| users::add(tx, &boss).await).await;
    let team = t.define(Kind::Team, "Web", json!({ "members": [] })).await;
    let file = "title,priority,assignee_email,team,labels,contact_name,contact_email\n\
        One,high,SAM@example.org,Web,x|y,Cleo,cleo@example.org\n,,,,,,\nThree,P9,nobody@example.org,,,,\n\
        Four,,nobody@example.org,No team,,,\nFive,,,,,,\n";
    let (import, opened) = run(&t, boss.id, file).await;
    assert_eq!((import.rows, import.imported, import.failed, import.skipped), (5, 2, 3, 0));
    assert_eq!(opened.iter().map(|ticket| ticket.title.as_str()).collect::<Vec<_>>(), ["One", "Five"]);
    let first = &opened[0];
    assert_eq!(
        (first.priority, first.assignee_id, first.team_id),
        (Priority::High, Some(t.staff.id), Some(team.id))
    );
    assert_eq!((first.reporter_id, first.contact_email.as_deref()), (boss.id, Some("cleo@example.org")));
    assert_eq!(tickets::labels(&t.db, first.id).await.unwrap(), ["x", "y"]);
    let found = errors(&t, &import).await;
    let fields: Vec<(i64, &str)> = found.iter().map(|(line, field, _)| (*line, field.as_str())).collect();
    assert_eq!(fields, [(3, "title"), (4, "priority"), (5, "assignee_email"), (5, "team")]);
    assert_eq!(import.errors, 4);
    assert!(found.iter().all(|(_, _, why)| why.ends_with('.')));
}

async fn nobody_is_mailed_about_imported_tickets_and_their_history_says_so(t: Testbed) {
    let before = events::head(&t.db).await.unwrap();
    let (import, opened) = run(&t, t.staff.id, "title\nOne\nTwo\n").await;
    let waiting = jobs::list(&t.db, 100).await.unwrap();
    assert!(waiting.iter().all(|job| job.kind != Notify::KIND), "{waiting:?}");
    for ticket in &opened {
        let history = tickets::history(&t.db, ticket.id).await.unwrap();
        let of_import = history.iter().find(|change| change.field == "import").unwrap();
        assert_eq!(of_import.new_value, Some(import.id.to_string()));
        assert_eq!((of_import.actor_id, of_import.ip.as_deref()), (Some(t.staff.id), Some("192.0.2.1")));
        assert_eq!(clocks::of_ticket(&t.db, ticket.id).await.unwrap().len(), 2);
    }
    let told = events::after(&t.db, before, 10).await.unwrap();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|event| event.data.0["import"] == import.id.to_string()));
    write(&t, async |tx| imports::forget_file(tx, import.id).await).await;
    assert_eq!(imports::get(&t.db, import.id).await.unwrap().unwrap().file, None);
}

async fn what_was_imported_before_is_skipped_and_named(t: Testbed) {
    let file = "title,external_id\nOne,a\nTwo,b\nAgain,a\nNone,\nNone,\n";
    let (first, opened) = run(&t, t.staff.id, file).await;
    assert_eq!((first.imported, first.skipped, first.failed), (4, 1, 0));
    assert_eq!(
        errors(&t, &first).await,
        [(4, "external_id".into(), "Stands in an earlier row, too.".into())]
    );
    let (second, _) = run(&t, t.staff.id, "external_id,title\nb,Two\nc,Three\n").await;
    assert_eq!((second.imported, second.skipped), (1, 1));
    let why = format!("Was imported before, as {}.", opened[1].key());
    assert_eq!(errors(&t, &second).await, [(2, "external_id".into(), why)]);
    let other = user("other@example.org", Role::Admin);
    write(&t, async |tx| users::add(tx, &other).await).await;
    let (elsewhere, _) = run(&t, other.id, file).await;
    assert_eq!(
        (elsewhere.imported, elsewhere.skipped),
        (4, 1),
        "what others call their tickets is their business"
    );
}

async fn a_row_is_judged_by_what_its_user_may(t: Testbed) {
    let engineer = user("eve@example.org", Role::DevopsEngineer);
    write(&t, async |tx| users::add(tx, &engineer).await).await;
    t.define(Kind::Team, "Web", json!({ "members": [] })).await;
    let file = "title,assignee_email,team\nMine,eve@example.org,\nTheirs,sam@example.org,\nATeam,,Web\n";
    let (import, opened) = run(&t, engineer.id, file).await;
    assert_eq!((opened.len(), import.failed), (1, 2));
    let fields: Vec<_> =
        errors(&t, &import).await.into_iter().map(|(line, field, _)| (line, field)).collect();
    assert_eq!(fields, [(3, "assignee_email".to_owned()), (4, "team".to_owned())]);
}

async fn an_import_stops_when_its_user_may_not_import_any_more(t: Testbed) {
    let (rows, _) = lines("title\nOne\n");
    let mut import = begin(&t, t.staff.id, &rows).await;
    write(&t, async |tx| t.desk.import(tx, &mut import, lines("title\nOne\n").1).await).await;
    let found = write(&t, async |tx| users::lock(tx, t.staff.id).await).await;
    assert_eq!(found.as_ref(), Some(&t.staff));
    t.disable(&t.staff.email).await;
    let opened = write(&t, async |tx| t.desk.import(tx, &mut import, lines("title\nTwo\n").1).await).await;
    assert!(opened.is_empty());
    let stored = imports::get(&t.db, import.id).await.unwrap().unwrap();
    assert_eq!((stored.imported, stored.finished_at), (1, Some(t.now())));
    assert_eq!(stored.stopped.as_deref(), Some("The account of whoever asked for it was disabled."));
    let (customers, _) = run(&t, t.customer.id, "title\nOne\n").await;
    assert_eq!(customers.imported, 0);
    assert!(customers.stopped.unwrap().contains("role"));
    let caller = Caller::alone(t.staff.id, t.staff.role);
    assert!(caller.role.is_staff());
}

async fn an_import_stops_where_too_much_is_wrong(t: Testbed) {
    let (rows, bad) = lines("title,labels\n,\n");
    let mut import = begin(&t, t.staff.id, &rows).await;
    import.errors = MOST_ERRORS - 1;
    write(&t, async |tx| t.desk.import(tx, &mut import, bad).await).await;
    let stored = imports::get(&t.db, import.id).await.unwrap().unwrap();
    assert!(stored.stopped.unwrap().starts_with("Too much is wrong"));
    assert!(stored.finished_at.is_some());
}

async fn imports_are_listed_latest_first(t: Testbed) {
    let (rows, _) = lines("title\n");
    let mut made = Vec::new();
    for _ in 0..3 {
        made.insert(0, begin(&t, t.staff.id, &rows).await);
    }
    made[1].rows = 7;
    write(&t, async |tx| imports::save(tx, &made[1]).await).await;
    assert_eq!(imports::list(&t.db, None, 2).await.unwrap(), made[..2]);
    assert_eq!(imports::list(&t.db, Some(made[1].id), 2).await.unwrap(), made[2..]);
    assert_eq!(imports::count(&t.db).await.unwrap(), 3);
    write(&t, async |tx| imports::add_errors(tx, made[0].id, &[]).await).await;
    assert_eq!(
        write(&t, async |tx| imports::assignees(tx, &["sam@example.org".into()]).await).await.len(),
        1
    );
    assert_eq!(write(&t, async |tx| imports::teams(tx, &["Web".into()]).await).await.len(), 0);
    assert_eq!(write(&t, async |tx| imports::known(tx, t.staff.id, &["x".into()]).await).await.len(), 0);
    write(&t, async |tx| imports::remember(tx, t.staff.id, &[]).await).await;
}
