//! What is said about tickets, who finds it, and what stays of it.

use shared::domain::access::Caller;
use shared::domain::event::EventKind;
use shared::domain::job::Priority as Queue;
use shared::domain::role::Role;
use shared::domain::search::Search;
use shared::domain::sla::State;
use shared::domain::ticket::{Priority, Status};
use shared::ids::{CommentId, TicketId, UserId};
use shared::on_both;
use shared::store::comments::{self, Comment, Filter};
use shared::store::desk::{Actor, Error, Remark};
use shared::store::query::query;
use shared::store::tickets::{self, Ticket};
use shared::store::{events, users};
use shared::testkit::{Testbed, user};

use crate::desk::{get, move_to, pair};
use crate::{at, begin, minutes, refused, write};

on_both! {
    comments_are_listed_in_order_page_by_page,
    an_edit_keeps_what_was_said_before,
    a_deleted_comment_is_gone_but_was_there,
    a_public_comment_by_staff_is_the_response,
    a_comment_among_staff_changes_nothing_else,
    nothing_is_said_about_a_closed_ticket,
    a_move_is_told_in_public,
    words_of_comments_are_found_by_those_who_may_read_them,
    only_the_author_edits_and_only_leads_delete_what_others_said,
    history_can_be_neither_changed_nor_deleted,
}

pub(crate) fn remark(content: &str, internal: bool) -> Remark {
    Remark { content: content.into(), internal }
}

async fn say(t: &Testbed, ticket: &Ticket, actor: &Actor, content: &str, internal: bool) -> Comment {
    t.advance(minutes(1));
    write(t, async |tx| t.desk.comment(tx, ticket.id, actor, remark(content, internal)).await).await
}

fn all_of(ticket: TicketId) -> Filter {
    Filter { ticket, internal: true, descending: false, after: None, limit: 100 }
}

async fn contents(t: &Testbed, filter: &Filter) -> Vec<String> {
    comments::list(&t.db, filter).await.unwrap().into_iter().map(|found| found.comment.content).collect()
}

async fn comments_are_listed_in_order_page_by_page(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let new = |n: i64| Comment {
        id: CommentId::new(),
        ticket_id: ticket.id,
        author_id: (n != 2).then_some(t.staff.id),
        content: n.to_string(),
        internal: n == 1,
        system: false,
        version: 1,
        created_at: at(minutes(n)),
        edited_at: None,
        deleted_at: None,
    };
    let made: Vec<Comment> = (0..5).map(new).collect();
    for comment in &made {
        write(&t, async |tx| comments::insert(tx, comment).await).await;
    }
    let all = all_of(ticket.id);
    let found = comments::list(&t.db, &all).await.unwrap();
    assert_eq!(found.iter().map(|found| found.comment.clone()).collect::<Vec<_>>(), made);
    let names: Vec<_> = found.iter().map(|found| found.author_name.as_deref()).collect();
    assert_eq!(names, [Some("sam"), Some("sam"), None, Some("sam"), Some("sam")]);
    assert_eq!(contents(&t, &Filter { internal: false, ..all }).await, ["0", "2", "3", "4"]);
    assert_eq!(contents(&t, &Filter { after: Some(made[2].id), limit: 1, ..all }).await, ["3"]);
    let back = Filter { after: Some(made[2].id), descending: true, ..all };
    assert_eq!(contents(&t, &back).await, ["1", "0"]);
    assert_eq!(comments::count(&t.db, &back).await.unwrap(), 5, "on all pages");
    assert_eq!(comments::count(&t.db, &Filter { internal: false, ..all }).await.unwrap(), 4);
    assert_eq!(comments::get(&t.db, made[2].id).await.unwrap().unwrap().comment, made[2]);
    let mut tx = begin(&t).await;
    assert_eq!(comments::lock(&mut tx, made[2].id).await.unwrap(), Some(made[2].clone()));
    let mut edited = made[3].clone();
    comments::edit(&mut tx, &mut edited, "3!".into(), t.now()).await.unwrap();
    assert_eq!(comments::lock(&mut tx, edited.id).await.unwrap(), Some(edited));
    comments::delete(&mut tx, made[2].id, t.now()).await.unwrap();
    assert_eq!(comments::lock(&mut tx, made[2].id).await.unwrap(), None);
    assert!(comments::get(&mut tx, made[2].id).await.unwrap().is_none());
}

async fn an_edit_keeps_what_was_said_before(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let said = say(&t, &ticket, &t.staff(), "on", false).await;
    let edit = async |expected: Option<i64>, content: &str| {
        t.advance(minutes(1));
        write(&t, async |tx| t.desk.edit_comment(tx, said.id, expected, &t.staff(), content.into()).await)
            .await
    };
    let second = edit(Some(1), "one").await;
    assert_eq!((second.version, second.edited_at), (2, Some(at(minutes(2)))));
    assert_eq!(edit(None, "one").await, second, "what changes nothing makes no version");
    let third = edit(Some(2), "once").await;
    assert_eq!(comments::get(&t.db, said.id).await.unwrap().unwrap().comment, third);
    let former = comments::edits(&t.db, said.id).await.unwrap();
    let former: Vec<_> = former.iter().map(|f| (f.version, &*f.content, f.replaced_at)).collect();
    assert_eq!(former, [(1, "on", at(minutes(2))), (2, "one", at(minutes(4)))]);
    let stale =
        refused(&t, async |tx| t.desk.edit_comment(tx, said.id, Some(2), &t.staff(), "late".into()).await);
    assert!(matches!(stale.await, Error::Stale { what: "comment", current: 3 }));
}

async fn a_deleted_comment_is_gone_but_was_there(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let said = say(&t, &ticket, &t.customer(), "my password is hunter2", false).await;
    write(&t, async |tx| t.desk.delete_comment(tx, said.id, Some(1), &t.customer()).await).await;
    assert_eq!(contents(&t, &all_of(ticket.id)).await, [] as [&str; 0]);
    let history = tickets::history(&t.db, ticket.id).await.unwrap();
    let about = |i: usize| (&*history[i].field, history[i].old_value.clone(), history[i].new_value.clone());
    let id = Some(said.id.to_string());
    assert_eq!([about(1), about(2)], [("comment", None, id.clone()), ("comment", id, None)]);
    assert!(!format!("{history:?}").contains("hunter2"));
    assert!(!format!("{:?}", events::after(&t.db, 0, 100).await.unwrap()).contains("hunter2"));
    let again = refused(&t, async |tx| t.desk.delete_comment(tx, said.id, None, &t.customer()).await).await;
    assert!(matches!(again, Error::NotFound("comment")));
}

async fn a_public_comment_by_staff_is_the_response(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let said = say(&t, &ticket, &t.staff(), "Looking.", false).await;
    let [response, resolution] = pair(&t, &ticket).await;
    assert_eq!((response.clock.state(), resolution.clock.state()), (State::Met, State::Active));
    let after = get(&t, &ticket).await;
    assert_eq!((after.responded_at, after.updated_at, after.version), (Some(t.now()), t.now(), 2));
    let told = events::after(&t.db, 0, 100).await.unwrap();
    let commented = told.iter().find(|event| event.kind == EventKind::TicketCommented).unwrap();
    assert_eq!((commented.internal, commented.actor_id), (false, Some(t.staff.id)));
    assert_eq!(commented.data["comment_id"], said.id.to_string());
    let commented = (Queue::Normal, "ticket.commented", 1);
    assert_eq!(crate::desk::told(&t).await, [commented, crate::desk::CREATED]);
}

async fn a_comment_among_staff_changes_nothing_else(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    say(&t, &ticket, &t.staff(), "It is the mail server.", true).await;
    assert_eq!(get(&t, &ticket).await, ticket, "nobody can tell from the ticket that it was talked about");
    assert!(pair(&t, &ticket).await.iter().all(|stored| stored.clock.state() == State::Active));
    let history = tickets::history(&t.db, ticket.id).await.unwrap();
    assert_eq!(history.iter().map(|change| change.internal).collect::<Vec<_>>(), [false, true]);
    let told = events::after(&t.db, 0, 100).await.unwrap();
    assert_eq!(told.iter().map(|event| event.internal).collect::<Vec<_>>(), [false, true]);
    let by_customer = async |internal| {
        let said = remark("Me too.", internal);
        refused(&t, async |tx| t.desk.comment(tx, ticket.id, &t.customer(), said).await).await
    };
    assert!(matches!(by_customer(true).await, Error::Forbidden(_)));
    let other: Actor = Caller::alone(UserId::new(), Role::EndUser).into();
    let said = remark("Me too.", false);
    let hidden = refused(&t, async |tx| t.desk.comment(tx, ticket.id, &other, said).await).await;
    assert!(matches!(hidden, Error::NotFound("ticket")));
}

async fn nothing_is_said_about_a_closed_ticket(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let said = say(&t, &ticket, &t.staff(), "Done.", false).await;
    for status in [Status::Resolved, Status::Closed] {
        move_to(&t, &ticket, status).await;
    }
    let more =
        refused(&t, async |tx| t.desk.comment(tx, ticket.id, &t.staff(), remark("Really.", true)).await);
    assert!(matches!(more.await, Error::Closed));
    let edited =
        refused(&t, async |tx| t.desk.edit_comment(tx, said.id, None, &t.staff(), "Undone.".into()).await);
    assert!(matches!(edited.await, Error::Closed));
    write(&t, async |tx| t.desk.delete_comment(tx, said.id, None, &t.staff()).await).await;
}

async fn a_move_is_told_in_public(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    move_to(&t, &ticket, Status::Open).await;
    let rules = Actor::default();
    write(&t, async |tx| t.desk.move_to(tx, ticket.id, None, &rules, Status::InProgress).await).await;
    let found = comments::list(&t.db, &Filter { internal: false, ..all_of(ticket.id) }).await.unwrap();
    let told: Vec<_> =
        found.iter().map(|f| (&*f.comment.content, f.comment.author_id, f.comment.system)).collect();
    assert_eq!(
        told,
        [
            ("Status changed from new to open.", Some(t.staff.id), true),
            ("Status changed from open to in_progress.", None, true)
        ]
    );
    let id = found[0].comment.id;
    let edit = refused(&t, async |tx| t.desk.edit_comment(tx, id, None, &t.staff(), "No.".into()).await);
    assert!(matches!(edit.await, Error::Forbidden(_)));
}

async fn words_of_comments_are_found_by_those_who_may_read_them(t: Testbed) {
    let [first, second] = [t.open(Priority::High).await, t.open(Priority::High).await];
    say(&t, &first, &t.staff(), "The überlauf of web-1 is broken", false).await;
    say(&t, &first, &t.staff(), "Secretly a tarantula", true).await;
    let edited = say(&t, &second, &t.staff(), "A zebra", false).await;
    move_to(&t, &second, Status::Open).await;
    let found = async |words: &str, visible_to: Option<UserId>| {
        let search = Search::parse(words);
        let filter = tickets::Filter { search, visible_to, limit: 10, ..Default::default() };
        let listed = tickets::list(&t.db, &filter).await.unwrap();
        assert_eq!(tickets::count(&t.db, &filter).await.unwrap(), i64::try_from(listed.len()).unwrap());
        listed.into_iter().map(|(ticket, _)| ticket.id).collect::<Vec<_>>()
    };
    let customer = Some(t.customer.id);
    for who in [None, customer] {
        assert_eq!(found("überlauf", who).await, [first.id]);
        assert_eq!(found("\"web 1\" brok*", who).await, [first.id]);
        assert_eq!(found("fire", who).await.len(), 2, "in the title");
        assert_eq!(found("fire -überlauf", who).await, [second.id], "not where a comment has it");
        assert_eq!(found("changed", who).await, [] as [TicketId; 0], "what moves say is not looked at");
    }
    assert_eq!(found("tarantula", None).await, [first.id]);
    assert_eq!(found("tarantula", customer).await, [] as [TicketId; 0]);
    assert_eq!(found("fire -tarantula", None).await, [second.id]);
    assert_eq!(found("fire -tarantula", customer).await.len(), 2, "nor is it known by its absence");
    let edit = t.desk.clone();
    write(&t, async |tx| edit.edit_comment(tx, edited.id, None, &t.staff(), "A horse".into()).await).await;
    assert_eq!((found("zebra", None).await.len(), found("horse", None).await), (0, vec![second.id]));
    write(&t, async |tx| edit.delete_comment(tx, edited.id, None, &t.staff()).await).await;
    assert_eq!(found("horse", None).await, [] as [TicketId; 0]);
}

async fn only_the_author_edits_and_only_leads_delete_what_others_said(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let said = say(&t, &ticket, &t.staff(), "Hm.", true).await;
    let open = say(&t, &ticket, &t.staff(), "Hm!", false).await;
    let (peer, lead) =
        (user("eve@example.org", Role::SeniorEngineer), user("kim@example.org", Role::TeamLead));
    for user in [&peer, &lead] {
        write(&t, async |tx| users::add(tx, user).await).await;
    }
    let as_actor = |user: &users::User| -> Actor { Caller::alone(user.id, user.role).into() };
    let edit = async |id, actor: Actor| {
        refused(&t, async |tx| t.desk.edit_comment(tx, id, None, &actor, "No.".into()).await).await
    };
    let delete = async |id, actor: Actor| {
        refused(&t, async |tx| t.desk.delete_comment(tx, id, None, &actor).await).await
    };
    assert!(matches!(edit(said.id, as_actor(&peer)).await, Error::Forbidden(_)));
    assert!(matches!(edit(said.id, as_actor(&lead)).await, Error::Forbidden(_)));
    assert!(matches!(delete(said.id, as_actor(&peer)).await, Error::Forbidden(_)));
    assert!(matches!(edit(said.id, t.customer()).await, Error::NotFound("comment")));
    assert!(matches!(delete(said.id, t.customer()).await, Error::NotFound("comment")));
    assert!(matches!(delete(open.id, t.customer()).await, Error::Forbidden(_)));
    write(&t, async |tx| t.desk.delete_comment(tx, said.id, None, &as_actor(&lead)).await).await;
}

async fn history_can_be_neither_changed_nor_deleted(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let mut statements =
        vec!["UPDATE ticket_history SET field = 'nothing'", "DELETE FROM ticket_history WHERE version = 1"];
    if matches!(t.db, shared::store::Db::Postgres(_)) {
        statements.extend(["TRUNCATE ticket_history", "TRUNCATE tickets CASCADE"]);
    }
    for statement in statements {
        let error = refused(&t, async |tx| query(statement).execute(tx).await).await;
        let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(why.contains("ticket_history is immutable"), "{statement}: {error:?}");
    }
    assert_eq!(tickets::history(&t.db, ticket.id).await.unwrap()[0].field, "status");
}
