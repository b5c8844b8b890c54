//! Who is told of events, and what becomes of each delivery.

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::domain::access::Caller;
use shared::domain::definition::Kind;
use shared::domain::job::DeliverWebhook;
use shared::domain::role::Role;
use shared::domain::ticket::{Priority, Status};
use shared::ids::{DeliveryId, WebhookId};
use shared::on_both;
use shared::store::deliveries::{self, Delivery, FannedOut, Filter, State};
use shared::store::jobs;
use shared::store::webhooks::{self, Draft, Error, Webhook};
use shared::testkit::Testbed;

use crate::{at, begin, commit, hours, refused, write};

on_both! {
    a_webhook_is_kept_changed_and_deleted,
    two_webhooks_cannot_have_one_name_and_stale_changes_are_refused,
    a_rotated_secret_is_good_for_another_day,
    every_event_becomes_one_delivery_to_each_webhook_that_wants_it,
    a_webhook_is_told_of_nothing_from_before_it_was_enabled,
    two_schedulers_hand_out_each_event_once,
    a_delivery_is_tried_by_the_job_of_its_turn_only,
    a_webhook_that_failed_for_five_days_is_disabled,
    deliveries_are_listed_page_by_page_and_forgotten,
}

fn draft(name: &str) -> Draft {
    let url = "https://hooks.example.org/one".into();
    Draft { name: name.into(), url, types: vec!["*".into()], team: None, internal: false, enabled: true }
}

async fn create(t: &Testbed, draft: Draft) -> Webhook {
    write(t, async |tx| webhooks::create(tx, draft, Some(t.staff.id), t.now()).await).await
}

async fn fan_out(t: &Testbed) -> FannedOut {
    write(t, async |tx| deliveries::fan_out(tx, 100, t.now()).await).await
}

async fn of(t: &Testbed, webhook: WebhookId) -> Vec<Delivery> {
    let filter = Filter { webhook, state: None, before: None, limit: 100 };
    let mut found = deliveries::list(&t.db, &filter).await.unwrap();
    found.reverse();
    found
}

async fn kinds(t: &Testbed, webhook: &Webhook) -> Vec<String> {
    of(t, webhook.id).await.into_iter().map(|delivery| delivery.kind).collect()
}

async fn a_webhook_is_kept_changed_and_deleted(t: Testbed) {
    let made = create(&t, draft("One")).await;
    assert!(made.secret.expose().starts_with("whsec_") && made.secret.expose().len() == 6 + 44);
    assert_eq!((made.version, made.created_by, made.enabled), (1, Some(t.staff.id), true));
    assert!(!format!("{made:?}").contains("whsec_"), "no log shows its secret");
    let other = create(&t, draft("Two")).await;
    assert_ne!(other.secret, made.secret);
    let list = async |before, limit| -> Vec<String> {
        webhooks::list(&t.db, before, limit).await.unwrap().into_iter().map(|found| found.name).collect()
    };
    assert_eq!(list(None, 10).await, ["Two", "One"]);
    assert_eq!(list(Some(other.id), 10).await, ["One"]);
    assert_eq!(list(None, 1).await, ["Two"]);
    assert_eq!(webhooks::count(&t.db).await.unwrap(), 2);
    let changed = write(&t, async |tx| {
        let found = webhooks::lock(tx, made.id, Some(1)).await?;
        let draft =
            Draft { types: vec!["sla.breached".into()], internal: true, enabled: false, ..draft("Three") };
        webhooks::update(tx, &found, draft, t.now()).await
    })
    .await;
    assert_eq!((&*changed.name, changed.version, changed.internal), ("Three", 2, true));
    assert_eq!(changed.types.0, ["sla.breached"]);
    assert_eq!(webhooks::get(&t.db, made.id).await.unwrap(), Some(changed));
    assert_eq!(webhooks::enabled(&t.db).await.unwrap(), std::slice::from_ref(&other));
    write(&t, async |tx| webhooks::delete(tx, other.id, t.now()).await).await;
    assert_eq!(webhooks::get(&t.db, other.id).await.unwrap(), None);
    assert_eq!((webhooks::count(&t.db).await.unwrap(), webhooks::enabled(&t.db).await.unwrap()), (1, vec![]));
    create(&t, draft("Two")).await;
}

async fn two_webhooks_cannot_have_one_name_and_stale_changes_are_refused(t: Testbed) {
    let made = create(&t, draft("One")).await;
    let other = create(&t, draft("Two")).await;
    let taken = refused(&t, async |tx| webhooks::create(tx, draft("One"), None, t.now()).await).await;
    assert!(matches!(taken, Error::NameTaken(name) if name == "One"));
    let taken = refused(&t, async |tx| webhooks::update(tx, &other, draft("One"), t.now()).await).await;
    assert!(matches!(taken, Error::NameTaken(_)));
    write(&t, async |tx| webhooks::update(tx, &made, draft("One"), t.now()).await).await;
    let stale = refused(&t, async |tx| webhooks::lock(tx, made.id, Some(1)).await).await;
    assert!(matches!(stale, Error::Stale(2)));
    let none = refused(&t, async |tx| webhooks::lock(tx, WebhookId::new(), None).await).await;
    assert!(matches!(none, Error::NotFound));
}

async fn a_rotated_secret_is_good_for_another_day(t: Testbed) {
    let made = create(&t, draft("One")).await;
    assert_eq!(made.secrets(t.now()), std::slice::from_ref(&made.secret));
    let rotated = write(&t, async |tx| webhooks::rotate(tx, &made, t.now()).await).await;
    assert_ne!(rotated.secret, made.secret);
    assert_eq!(rotated.version, 2);
    assert_eq!(rotated.secrets(at(hours(23))), [rotated.secret.clone(), made.secret.clone()]);
    assert_eq!(rotated.secrets(at(hours(24))), std::slice::from_ref(&rotated.secret));
}

async fn every_event_becomes_one_delivery_to_each_webhook_that_wants_it(t: Testbed) {
    let team = t.define(Kind::Team, "Web", json!({ "members": [], "email": null })).await.id;
    let all = create(&t, draft("all")).await;
    let moves =
        Draft { types: vec!["ticket.status_changed".into(), "ticket.created".into()], ..draft("moves") };
    let moves = create(&t, moves).await;
    let inside = create(&t, Draft { internal: true, ..draft("inside") }).await;
    let of_team = create(&t, Draft { team: Some(team), ..draft("team") }).await;
    create(&t, Draft { enabled: false, ..draft("off") }).await;
    let ticket = t.open(Priority::High).await;
    write(&t, async |tx| t.desk.move_to(tx, ticket.id, None, &t.staff(), Status::InProgress).await).await;
    write(&t, async |tx| t.desk.edit(tx, ticket.id, None, &t.staff(), |_| ()).await).await;
    t.advance(TimeDelta::hours(13));
    t.sweep().await;
    write(&t, async |tx| t.desk.escalate(tx, 100).await).await;
    let fanned = fan_out(&t).await;
    assert_eq!(fanned.behind, fanned.events);
    assert_eq!(fan_out(&t).await, FannedOut::default(), "nothing is left");
    let (told, inside_told) = (kinds(&t, &all).await, kinds(&t, &inside).await);
    assert!(told.contains(&"sla.breached".into()) && !told.contains(&"sla.escalated".into()), "{told:?}");
    assert!(inside_told.contains(&"sla.escalated".into()), "{inside_told:?}");
    assert_eq!(kinds(&t, &moves).await, ["ticket.created", "ticket.status_changed"]);
    assert_eq!(kinds(&t, &of_team).await, [""; 0]);
    let first = of(&t, moves.id).await.remove(0);
    let body: Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!(
        (&body["type"], &body["timestamp"]),
        (&json!("ticket.created"), &json!("2027-01-15T08:00:00Z"))
    );
    assert_eq!(body["data"]["ticket"]["number"], ticket.key());
    assert_eq!(body["data"]["id"], first.seq.unwrap());
    let waiting = jobs::list(&t.db, 100).await.unwrap();
    let waiting = waiting.iter().filter(|job| job.kind == "deliver_webhook").count();
    assert_eq!(waiting, fanned.deliveries, "each has its job");
    let lead = Caller::alone(t.staff.id, Role::TeamLead).into();
    write(&t, async |tx| t.desk.edit(tx, ticket.id, None, &lead, |ticket| ticket.team_id = Some(team)).await)
        .await;
    fan_out(&t).await;
    assert_eq!(kinds(&t, &of_team).await, ["ticket.assigned"]);
}

async fn a_webhook_is_told_of_nothing_from_before_it_was_enabled(t: Testbed) {
    t.open(Priority::Low).await;
    let made = create(&t, draft("One")).await;
    t.open(Priority::Low).await;
    fan_out(&t).await;
    let seqs = async || of(&t, made.id).await.iter().filter_map(|d| d.seq).collect::<Vec<_>>();
    assert_eq!(seqs().await, [2]);
    let off = write(&t, async |tx| {
        webhooks::update(tx, &made, Draft { enabled: false, ..draft("One") }, t.now()).await
    })
    .await;
    t.open(Priority::Low).await;
    let on = write(&t, async |tx| webhooks::update(tx, &off, draft("One"), t.now()).await).await;
    assert_eq!(on.since_seq, 3);
    t.open(Priority::Low).await;
    fan_out(&t).await;
    assert_eq!(seqs().await, [2, 4]);
}

async fn two_schedulers_hand_out_each_event_once(t: Testbed) {
    let made = create(&t, draft("One")).await;
    let drafts = (0..60).map(|_| t.draft(Priority::Low)).collect::<Vec<_>>();
    for chunk in drafts.chunks(20) {
        write(&t, async |tx| t.desk.open(tx, chunk.to_vec()).await).await;
    }
    let scheduler = |db: shared::store::Db, now| async move {
        for _ in 0..40 {
            let mut tx = db.begin().await.unwrap();
            let fanned = deliveries::fan_out(&mut tx, 3, now).await.unwrap();
            // Half of the rounds die before their commit.
            if fanned.events % 2 == 0 && rand_half() {
                tx.rollback().await.unwrap();
            } else {
                let _ = tx.commit().await.unwrap();
            }
        }
    };
    tokio::join!(scheduler(t.db.clone(), t.now()), scheduler(t.db.clone(), t.now()));
    while fan_out(&t).await.events > 0 {}
    let mut seqs: Vec<i64> = of(&t, made.id).await.iter().filter_map(|d| d.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=60).collect::<Vec<_>>());
}

/// True every other time.
fn rand_half() -> bool {
    static TURN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    TURN.fetch_xor(true, std::sync::atomic::Ordering::Relaxed)
}

async fn a_delivery_is_tried_by_the_job_of_its_turn_only(t: Testbed) {
    let made = create(&t, draft("One")).await;
    let test = write(&t, async |tx| deliveries::test(tx, made.id, t.now()).await).await.unwrap();
    assert_eq!((test.kind.as_str(), test.seq, test.turn), ("webhook.test", None, 1));
    let again = write(&t, async |tx| deliveries::test(tx, made.id, t.now()).await).await.unwrap();
    assert_ne!(test.id, again.id, "there may be any number of tests");
    let mut failed =
        Delivery { attempts: 1, last_status: Some(500), next_attempt_at: Some(at(hours(1))), ..test.clone() };
    assert!(write(&t, async |tx| deliveries::save(tx, &mut failed, t.now()).await).await);
    assert_eq!(failed.turn, 2);
    let mut late = test.clone();
    assert!(
        !write(&t, async |tx| deliveries::save(tx, &mut late, t.now()).await).await,
        "it has had its turn"
    );
    let mut resent = write(&t, async |tx| deliveries::lock(tx, test.id).await).await.unwrap();
    write(&t, async |tx| deliveries::resend(tx, &mut resent, t.now()).await).await;
    assert_eq!(deliveries::get(&t.db, test.id).await.unwrap(), Some(resent.clone()));
    assert_eq!((resent.turn, resent.attempts, resent.attempts_before), (3, 1, 1));
    let waiting = jobs::list(&t.db, 100).await.unwrap();
    let mut turns: Vec<i64> = waiting
        .into_iter()
        .map(|job| serde_json::from_value::<DeliverWebhook>(job.payload.0).unwrap())
        .filter(|job| job.delivery == test.id)
        .map(|job| job.turn)
        .collect();
    turns.sort_unstable();
    assert_eq!(turns, [1, 2, 3]);
    assert_eq!(deliveries::get(&t.db, DeliveryId::new()).await.unwrap(), None);
}

async fn a_webhook_that_failed_for_five_days_is_disabled(t: Testbed) {
    let made = create(&t, draft("One")).await;
    let fail =
        async |after: i64| write(&t, async |tx| webhooks::failed(tx, made.id, at(hours(after))).await).await;
    assert!(!fail(0).await && !fail(119).await);
    write(&t, async |tx| webhooks::recovered(tx, made.id).await).await;
    assert!(!fail(121).await && !fail(240).await, "it was well in between");
    assert!(fail(241).await);
    assert!(!fail(242).await, "only once");
    let disabled = webhooks::get(&t.db, made.id).await.unwrap().unwrap();
    assert_eq!((disabled.enabled, disabled.version), (false, 2));
    assert_eq!(disabled.disabled_reason.as_deref(), Some("Every delivery has failed for five days."));
    let enabled = write(&t, async |tx| webhooks::update(tx, &disabled, draft("One"), t.now()).await).await;
    assert_eq!((enabled.enabled, enabled.disabled_reason, enabled.failing_since), (true, None, None));
    let disable = async || write(&t, async |tx| webhooks::disable(tx, made.id, "Gone.", t.now()).await).await;
    assert!(disable().await && !disable().await);
}

async fn deliveries_are_listed_page_by_page_and_forgotten(t: Testbed) {
    let made = create(&t, draft("One")).await;
    let mut tx = begin(&t).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(deliveries::test(&mut tx, made.id, t.now()).await.unwrap().unwrap());
    }
    let (settled_at, next_attempt_at) = (Some(at(hours(1))), None);
    let mut done = Delivery { state: State::Delivered, settled_at, next_attempt_at, ..ids[1].clone() };
    assert!(deliveries::save(&mut tx, &mut done, t.now()).await.unwrap());
    let _ = commit(tx).await;
    let list = async |state, before, limit| {
        let filter = Filter { webhook: made.id, state, before, limit };
        let found = deliveries::list(&t.db, &filter).await.unwrap();
        let count = deliveries::count(&t.db, &filter).await.unwrap();
        (found.into_iter().map(|d| d.id).collect::<Vec<_>>(), count)
    };
    assert_eq!(list(None, None, 2).await, (vec![ids[2].id, ids[1].id], 3));
    assert_eq!(list(None, Some(ids[1].id), 2).await, (vec![ids[0].id], 3));
    assert_eq!(list(Some(State::Delivered), None, 2).await, (vec![ids[1].id], 1));
    let prune = async |after| write(&t, async |tx| deliveries::prune(tx, at(hours(after)), 10).await).await;
    assert_eq!((prune(1).await, prune(2).await), (0, 1));
    assert_eq!(list(None, None, 9).await, (vec![ids[2].id, ids[0].id], 2), "what is pending stays");
}
