//! Who has been told what.

use shared::domain::cause::Cause;
use shared::domain::sla::Fraction;
use shared::domain::ticket::Priority;
use shared::ids::{ClockId, EscalationId, NotificationId};
use shared::on_both;
use shared::store::notifications::{self, Filter, Recipient, State};
use shared::store::tickets::Ticket;
use shared::testkit::Testbed;

use crate::{at, seconds, write};

on_both! {
    nobody_is_told_twice_about_one_cause,
    every_cause_is_one_of_its_own,
    a_notification_is_settled_once,
    only_what_was_given_up_becomes_pending_again,
    only_what_was_given_up_is_reopened,
    the_latest_come_first_and_those_of_a_ticket_in_order,
    a_webhook_is_told_besides_the_mail,
    a_list_shows_what_its_filter_lets_through_page_by_page,
}

fn addresses(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{name}@example.org")).collect()
}

async fn decide(t: &Testbed, cause: &Cause, names: &[&str]) -> Vec<NotificationId> {
    let recipients: Vec<_> = addresses(names).into_iter().map(Recipient::mail).collect();
    let decided = write(t, async |tx| notifications::decide(tx, cause, &recipients, t.now()).await).await;
    decided.into_iter().map(|decided| decided.id).collect()
}

fn causes(ticket: &Ticket) -> Vec<Cause> {
    let (ticket, clock, escalation) = (ticket.id, ClockId::new(), EscalationId::new());
    let warning =
        |revision, percent| Cause::Warning { ticket, clock, revision, fraction: Fraction::percent(percent) };
    vec![
        Cause::Created { ticket },
        Cause::Resolved { ticket, version: 2 },
        Cause::Resolved { ticket, version: 4 },
        warning(0, 50),
        warning(0, 75),
        warning(1, 50),
        Cause::Breached { ticket, clock },
        Cause::Breached { ticket, clock: ClockId::new() },
        Cause::EscalationStep { ticket, escalation, step: 1 },
        Cause::EscalationStep { ticket, escalation, step: 2 },
    ]
}

async fn nobody_is_told_twice_about_one_cause(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let cause = Cause::Created { ticket: ticket.id };
    assert_eq!(decide(&t, &cause, &["ann", "ben"]).await.len(), 2);
    assert_eq!(decide(&t, &cause, &["ann", "ben"]).await, []);
    assert_eq!(decide(&t, &cause, &["ben", "cid", "cid"]).await.len(), 1);
    assert_eq!(decide(&t, &cause, &[]).await, []);
    let mut told: Vec<_> = notifications::of_ticket(&t.db, ticket.id).await.unwrap();
    told.sort_by(|a, b| a.recipient.cmp(&b.recipient));
    assert!(told.iter().all(|n| n.cause.0 == cause && n.state == State::Pending && n.created_at == t.now()));
    assert_eq!(
        told.iter().map(|n| n.recipient.clone()).collect::<Vec<_>>(),
        addresses(&["ann", "ben", "cid"])
    );
}

async fn every_cause_is_one_of_its_own(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    for cause in causes(&ticket) {
        let ids = decide(&t, &cause, &["ann"]).await;
        let stored = notifications::get(&t.db, ids[0]).await.unwrap().unwrap();
        assert_eq!((stored.cause.0, stored.ticket_id), (cause, ticket.id));
    }
}

async fn a_notification_is_settled_once(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    for (cause, state) in causes(&ticket).iter().zip([State::Sent, State::Suppressed, State::Failed]) {
        let id = decide(&t, cause, &["ann"]).await[0];
        let reason = (state != State::Sent).then_some("the ticket was resolved");
        let settle = async |state, reason, s| {
            write(&t, async |tx| notifications::settle(tx, id, state, reason, at(seconds(s))).await).await
        };
        assert!(settle(state, reason, 1).await);
        assert!(!settle(State::Failed, Some("again"), 2).await);
        let settled = notifications::get(&t.db, id).await.unwrap().unwrap();
        assert_eq!((settled.state, settled.reason.as_deref()), (state, reason));
        assert_eq!(settled.settled_at, Some(at(seconds(1))));
        assert_eq!(decide(&t, cause, &["ann"]).await, [], "settled is settled");
    }
    let unknown = NotificationId::new();
    assert!(
        !write(&t, async |tx| notifications::settle(tx, unknown, State::Sent, None, t.now()).await).await
    );
    assert_eq!(notifications::get(&t.db, unknown).await.unwrap(), None);
}

async fn only_what_was_given_up_is_reopened(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let states = [State::Failed, State::Sent, State::Suppressed];
    for (cause, state) in causes(&ticket).iter().zip(states) {
        let id = decide(&t, cause, &["ann"]).await[0];
        let reopen = async || write(&t, async |tx| notifications::reopen(tx, id).await).await;
        assert!(!reopen().await, "it is pending");
        write(&t, async |tx| notifications::settle(tx, id, state, Some("no such user"), t.now()).await).await;
        assert_eq!(reopen().await, state == State::Failed);
        let now = notifications::get(&t.db, id).await.unwrap().unwrap();
        if state == State::Failed {
            assert_eq!((now.state, now.reason, now.settled_at), (State::Pending, None, None));
        } else {
            assert_eq!((now.state, now.settled_at), (state, Some(t.now())));
        }
    }
}

async fn only_what_was_given_up_becomes_pending_again(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let reopen = async |id| write(&t, async |tx| notifications::reopen(tx, id).await).await;
    for (cause, state) in causes(&ticket).iter().zip([State::Sent, State::Suppressed, State::Failed]) {
        let id = decide(&t, cause, &["ann"]).await[0];
        assert!(!reopen(id).await, "it is pending already");
        let settle = async |state| {
            write(&t, async |tx| notifications::settle(tx, id, state, Some("no such mailbox"), t.now()).await)
                .await
        };
        settle(state).await;
        let before = notifications::get(&t.db, id).await.unwrap().unwrap();
        assert_eq!(reopen(id).await, state == State::Failed);
        let after = notifications::get(&t.db, id).await.unwrap().unwrap();
        if state == State::Failed {
            assert_eq!((after.state, after.reason, after.settled_at), (State::Pending, None, None));
            assert!(settle(State::Sent).await);
        } else {
            assert_eq!(after, before);
        }
    }
    assert!(!reopen(NotificationId::new()).await);
}

async fn the_latest_come_first_and_those_of_a_ticket_in_order(t: Testbed) {
    let (one, two) = (t.open(Priority::High).await, t.open(Priority::Low).await);
    let mut all = Vec::new();
    for ticket in [&one, &two, &one] {
        let causes = causes(ticket);
        all.extend(decide(&t, &causes[all.len()], &["ann"]).await);
    }
    let of = notifications::of_ticket(&t.db, one.id).await.unwrap();
    assert_eq!(of.iter().map(|n| n.id).collect::<Vec<_>>(), [all[0], all[2]]);
    let latest = notifications::latest(&t.db, 2).await.unwrap();
    assert_eq!(latest.iter().map(|n| n.id).collect::<Vec<_>>(), [all[2], all[1]]);
}

async fn a_webhook_is_told_besides_the_mail(t: Testbed) {
    let cause = Cause::Created { ticket: t.open(Priority::High).await.id };
    let origin = serde_json::json!({ "step": 2, "target": 0 });
    let recipients = [
        Recipient::mail("ann@example.org"),
        Recipient::webhook("https://ann@example.org", Some(origin.clone())),
    ];
    let decide =
        async || write(&t, async |tx| notifications::decide(tx, &cause, &recipients, t.now()).await).await;
    let decided = decide().await;
    assert_eq!(decide().await, []);
    let mut stored = Vec::new();
    for decided in &decided {
        let notification = notifications::get(&t.db, decided.id).await.unwrap().unwrap();
        assert_eq!((&notification.recipient, notification.channel), (&decided.recipient, decided.channel));
        stored.push((notification.channel.as_str(), notification.origin.map(|origin| origin.0)));
    }
    stored.sort_by_key(|(channel, _)| *channel);
    assert_eq!(stored, [("email", None), ("webhook", Some(origin))]);
}

async fn a_list_shows_what_its_filter_lets_through_page_by_page(t: Testbed) {
    let (one, two) = (t.open(Priority::High).await, t.open(Priority::Low).await);
    let mut all = Vec::new();
    for cause in causes(&one).iter().chain(&causes(&two)) {
        all.extend(decide(&t, cause, &["ann", "ben"]).await);
    }
    write(&t, async |tx| notifications::settle(tx, all[0], State::Sent, None, t.now()).await).await;
    let list =
        async |filter: Filter| notifications::list(&t.db, &Filter { limit: 100, ..filter }).await.unwrap();
    let everything = list(Filter::default()).await;
    assert_eq!(everything.len(), all.len());
    assert!(everything.is_sorted_by_key(|n| std::cmp::Reverse(n.id)));
    let sent = list(Filter { state: Some(State::Sent), ..Filter::default() }).await;
    assert_eq!(sent.iter().map(|n| n.id).collect::<Vec<_>>(), [all[0]]);
    let of_two = list(Filter { ticket: Some(two.id), ..Filter::default() }).await;
    assert!(of_two.len() * 2 == all.len() && of_two.iter().all(|n| n.ticket_id == two.id));
    let ben = list(Filter { recipient: Some("ben@example.org".into()), ..Filter::default() }).await;
    assert!(ben.len() * 2 == all.len() && ben.iter().all(|n| n.recipient == "ben@example.org"));
    let event = Some("sla.breached".to_owned());
    let breaches = list(Filter { event, ticket: Some(one.id), ..Filter::default() }).await;
    assert!(breaches.len() == 4 && breaches.iter().all(|n| n.cause.event() == "sla.breached"));
    let sent = Filter { state: Some(State::Sent), ..Filter::default() };
    assert_eq!(notifications::count(&t.db, &sent).await.unwrap(), 1);
    let (mut paged, mut before) = (Vec::new(), None);
    loop {
        let page =
            notifications::list(&t.db, &Filter { before, limit: 7, ..Filter::default() }).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        paged.extend(page);
    }
    assert_eq!(paged, everything);
    let counted = notifications::count(&t.db, &Filter { before, ..Filter::default() }).await.unwrap();
    assert_eq!(usize::try_from(counted).unwrap(), everything.len(), "a count is of all pages");
}
