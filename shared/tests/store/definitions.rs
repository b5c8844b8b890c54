//! Definitions and their versions.

use serde_json::{Value, json};
use shared::domain::definition::Kind;
use shared::ids::{DefinitionId, VersionId};
use shared::on_both;
use shared::store::definitions::{self, By, Definition, Draft, Error, Filter, SortBy};
use shared::testkit::Testbed;

use crate::{at, begin, commit, refused, seconds, write};

on_both! {
    a_definition_is_found_by_identifier_and_by_name,
    every_kind_can_be_stored,
    a_name_belongs_to_one_definition_of_a_kind,
    a_change_makes_a_version_and_keeps_the_one_before,
    a_change_that_says_the_same_is_none,
    a_stale_change_is_refused,
    what_others_refer_to_cannot_be_deleted,
    what_was_deleted_is_gone_but_its_versions_stay,
    every_change_moves_the_revision_on,
    a_change_that_is_given_up_leaves_nothing,
    definitions_count_in_the_order_of_their_positions,
    lists_come_page_by_page_in_every_order,
    changes_come_one_after_the_other,
}

fn draft(name: &str, body: Value) -> Draft {
    Draft { name: name.into(), position: None, body }
}

fn by(t: &Testbed) -> By {
    By { actor: Some(t.staff.id), now: t.now() }
}

async fn create(t: &Testbed, kind: Kind, name: &str, body: Value) -> Definition {
    write(t, async |tx| definitions::create(tx, kind, draft(name, body), by(t)).await).await
}

async fn update(t: &Testbed, made: &Definition, draft: Draft) -> Definition {
    write(t, async |tx| definitions::update(tx, made.kind, made.id, None, draft, by(t)).await).await
}

async fn a_definition_is_found_by_identifier_and_by_name(t: Testbed) {
    let body = json!({ "members": [t.staff.id], "share": 0.75, "none": null, "n": 3 });
    let made = create(&t, Kind::Team, "Web", body.clone()).await;
    assert_eq!((made.version, made.position, &made.body.0), (1, 1, &body));
    assert_eq!(definitions::get(&t.db, Kind::Team, made.id).await.unwrap(), Some(made.clone()));
    assert_eq!(definitions::by_name(&t.db, Kind::Team, "Web").await.unwrap(), Some(made.clone()));
    assert_eq!(definitions::get(&t.db, Kind::Schedule, made.id).await.unwrap(), None);
    assert_eq!(definitions::by_name(&t.db, Kind::Team, "web").await.unwrap(), None);
    let ids = [made.id, DefinitionId::new()];
    assert_eq!(definitions::of_ids(&t.db, Kind::Team, &ids).await.unwrap(), std::slice::from_ref(&made));
    assert_eq!(definitions::of_ids(&t.db, Kind::Calendar, &ids).await.unwrap(), []);
    let version = definitions::version(&t.db, made.version_id).await.unwrap().unwrap();
    assert_eq!((version.definition_id, version.version, version.actor_id), (made.id, 1, Some(t.staff.id)));
    assert_eq!(definitions::version(&t.db, VersionId::new()).await.unwrap(), None);
}

async fn every_kind_can_be_stored(t: Testbed) {
    for kind in Kind::ALL {
        create(&t, *kind, "Web", json!({})).await;
        assert_eq!(definitions::all(&t.db, *kind).await.unwrap().len(), 1, "{kind}");
    }
}

async fn a_name_belongs_to_one_definition_of_a_kind(t: Testbed) {
    create(&t, Kind::Team, "Web", json!({})).await;
    create(&t, Kind::Schedule, "Web", json!({})).await;
    let other = create(&t, Kind::Team, "Shop", json!({})).await;
    let again = async |tx: &mut _| definitions::create(tx, Kind::Team, draft("Web", json!({})), by(&t)).await;
    let error = refused(&t, again).await;
    assert_eq!(error.to_string(), "there is already a team with the name Web: choose another");
    let rename = draft("Web", json!({}));
    let error =
        refused(&t, async |tx| definitions::update(tx, Kind::Team, other.id, None, rename, by(&t)).await)
            .await;
    assert!(matches!(error, Error::NameTaken { .. }), "{error:?}");
    write(&t, async |tx| definitions::delete(tx, Kind::Team, other.id, None, t.now()).await).await;
    create(&t, Kind::Team, "Shop", json!({})).await;
}

async fn a_change_makes_a_version_and_keeps_the_one_before(t: Testbed) {
    let first = create(&t, Kind::Team, "Web", json!({ "n": 1 })).await;
    t.advance(seconds(5));
    let second = update(&t, &first, draft("Net", json!({ "n": 2 }))).await;
    assert_eq!((second.version, second.name.as_str(), &second.body.0), (2, "Net", &json!({ "n": 2 })));
    assert_eq!((second.created_at, second.updated_at), (at(seconds(0)), at(seconds(5))));
    assert_eq!(definitions::get(&t.db, Kind::Team, first.id).await.unwrap(), Some(second.clone()));
    let versions = definitions::versions(&t.db, first.id, None, 10).await.unwrap();
    let told: Vec<_> =
        versions.iter().map(|v| (v.id, v.version, v.name.as_str(), v.body.0.clone())).collect();
    assert_eq!(
        told,
        [(second.version_id, 2, "Net", json!({ "n": 2 })), (first.version_id, 1, "Web", json!({ "n": 1 }))]
    );
    assert_eq!(versions[0].created_at, at(seconds(5)));
    assert_eq!(definitions::versions(&t.db, first.id, Some(2), 10).await.unwrap(), versions[1..]);
    assert_eq!(definitions::versions(&t.db, first.id, None, 1).await.unwrap(), versions[..1]);
}

async fn a_change_that_says_the_same_is_none(t: Testbed) {
    let made = create(&t, Kind::Team, "Web", json!({ "b": 0.1, "a": [1, 2] })).await;
    let revision = definitions::revision(&t.db).await.unwrap();
    t.advance(seconds(5));
    assert_eq!(update(&t, &made, draft("Web", json!({ "a": [1, 2], "b": 0.1 }))).await, made);
    assert_eq!(definitions::revision(&t.db).await.unwrap(), revision);
    assert_eq!(definitions::versions(&t.db, made.id, None, 10).await.unwrap().len(), 1);
}

async fn a_stale_change_is_refused(t: Testbed) {
    let made = create(&t, Kind::Schedule, "Web", json!({})).await;
    update(&t, &made, draft("Web", json!({ "n": 2 }))).await;
    let change = async |expected, kind| {
        let draft = draft("Web", json!({ "n": 3 }));
        refused(&t, async |tx| definitions::update(tx, kind, made.id, expected, draft, by(&t)).await).await
    };
    let error = change(Some(1), Kind::Schedule).await;
    assert!(matches!(error, Error::Stale { current: 2, .. }), "{error:?}");
    let error = change(None, Kind::Team).await;
    assert_eq!(error.to_string(), "there is no such team");
    let delete = async |tx: &mut _| definitions::delete(tx, Kind::Schedule, made.id, Some(1), t.now()).await;
    let error = refused(&t, delete).await;
    let stale = "the schedule is at version 2 by now: read it again and repeat the change";
    assert_eq!(error.to_string(), stale);
}

async fn what_others_refer_to_cannot_be_deleted(t: Testbed) {
    let team = create(&t, Kind::Team, "Web", json!({})).await;
    let delete = async |id| {
        let mut tx = begin(&t).await;
        let deleted = definitions::delete(&mut tx, Kind::Team, id, None, t.now()).await;
        let _ = commit(tx).await;
        deleted
    };
    let body = json!({ "steps": [{ "targets": [{ "type": "team", "id": team.id }] }] });
    let policy = create(&t, Kind::EscalationPolicy, "Loud", body.clone()).await;
    create(&t, Kind::SlaPolicy, "Gold", json!({ "match": { "team_id": [team.id] } })).await;
    let error = delete(team.id).await.unwrap_err();
    let used = "the team is used by the escalation policy Loud, the SLA policy Gold: change them first";
    assert_eq!(error.to_string(), used);
    update(&t, &policy, draft("Loud", json!({}))).await;
    let gold = definitions::by_name(&t.db, Kind::SlaPolicy, "Gold").await.unwrap().unwrap();
    write(&t, async |tx| definitions::delete(tx, Kind::SlaPolicy, gold.id, None, t.now()).await).await;
    delete(team.id).await.unwrap();
}

async fn what_was_deleted_is_gone_but_its_versions_stay(t: Testbed) {
    let made = create(&t, Kind::Team, "Web", json!({})).await;
    write(&t, async |tx| definitions::delete(tx, Kind::Team, made.id, Some(1), t.now()).await).await;
    assert_eq!(definitions::get(&t.db, Kind::Team, made.id).await.unwrap(), None);
    assert_eq!(definitions::by_name(&t.db, Kind::Team, "Web").await.unwrap(), None);
    assert_eq!(definitions::all(&t.db, Kind::Team).await.unwrap(), []);
    assert_eq!(definitions::of_ids(&t.db, Kind::Team, &[made.id]).await.unwrap(), []);
    assert_eq!(definitions::count(&t.db, Kind::Team, &Filter::default()).await.unwrap(), 0);
    let again = async |tx: &mut _| definitions::delete(tx, Kind::Team, made.id, None, t.now()).await;
    assert!(matches!(refused(&t, again).await, Error::NotFound(Kind::Team)));
    assert!(definitions::version(&t.db, made.version_id).await.unwrap().is_some());
    let gone = definitions::any(&t.db, made.id).await.unwrap().unwrap();
    assert_eq!((gone.deleted_at, gone.version_id), (Some(t.now()), made.version_id));
    assert_eq!(definitions::any(&t.db, DefinitionId::new()).await.unwrap(), None);
}

async fn every_change_moves_the_revision_on(t: Testbed) {
    let revision = async || definitions::revision(&t.db).await.unwrap();
    assert_eq!(revision().await, 0);
    let made = create(&t, Kind::Team, "Web", json!({})).await;
    assert_eq!(revision().await, 1);
    update(&t, &made, draft("Net", json!({}))).await;
    assert_eq!(revision().await, 2);
    write(&t, async |tx| definitions::delete(tx, Kind::Team, made.id, None, t.now()).await).await;
    assert_eq!(revision().await, 3);
}

async fn a_change_that_is_given_up_leaves_nothing(t: Testbed) {
    let mut tx = begin(&t).await;
    let made = definitions::create(&mut tx, Kind::Team, draft("Web", json!({})), by(&t)).await.unwrap();
    assert_eq!(definitions::revision(&mut tx).await.unwrap(), 1);
    tx.rollback().await.unwrap();
    assert_eq!(definitions::revision(&t.db).await.unwrap(), 0);
    assert_eq!(definitions::version(&t.db, made.version_id).await.unwrap(), None);
}

async fn definitions_count_in_the_order_of_their_positions(t: Testbed) {
    let names = async || -> Vec<String> {
        let all = definitions::all(&t.db, Kind::SlaPolicy).await.unwrap();
        all.into_iter().map(|definition| definition.name).collect()
    };
    let first = create(&t, Kind::SlaPolicy, "a", json!({})).await;
    create(&t, Kind::Calendar, "other", json!({})).await;
    assert_eq!(create(&t, Kind::SlaPolicy, "b", json!({})).await.position, 2);
    let front = Draft { position: Some(-1), ..draft("c", json!({})) };
    write(&t, async |tx| definitions::create(tx, Kind::SlaPolicy, front, by(&t)).await).await;
    assert_eq!(names().await, ["c", "a", "b"]);
    let moved = update(&t, &first, Draft { position: Some(7), ..draft("a", json!({})) }).await;
    assert_eq!((moved.position, moved.version), (7, 2));
    assert_eq!(names().await, ["c", "b", "a"]);
    assert_eq!(update(&t, &moved, draft("a", json!({}))).await.position, 7);
}

async fn lists_come_page_by_page_in_every_order(t: Testbed) {
    let mut made = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        made.push(create(&t, Kind::Team, name, json!({})).await);
        // The first two are made at one instant.
        t.advance(seconds(i64::from(name != "a")));
    }
    update(&t, &made[1], draft("b", json!({ "n": 2 }))).await;
    update(&t, &made[4], Draft { position: Some(0), ..draft("e", json!({})) }).await;
    create(&t, Kind::Schedule, "x", json!({})).await;
    let walk = async |sort: SortBy, descending| {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let filter = Filter { sort, descending, after, limit: 2, ..Filter::default() };
            let page = definitions::list(&t.db, Kind::Team, &filter).await.unwrap();
            names.extend(page.iter().map(|definition| definition.name.clone()));
            let Some(last) = page.last() else { return names.concat() };
            after = Some(sort.position(last));
        }
    };
    assert_eq!(walk(SortBy::CreatedAt, false).await, "abcde");
    assert_eq!(walk(SortBy::CreatedAt, true).await, "edcba");
    assert_eq!(walk(SortBy::UpdatedAt, false).await, "acdbe");
    assert_eq!(walk(SortBy::Position, false).await, "eabcd");
    assert_eq!(walk(SortBy::Position, true).await, "dcbae");
    let skip = Filter { offset: 3, limit: 100, ..Filter::default() };
    assert_eq!(definitions::list(&t.db, Kind::Team, &skip).await.unwrap().len(), 2);
    assert_eq!(definitions::count(&t.db, Kind::Team, &skip).await.unwrap(), 5);
    let named = Filter { name: Some("c".into()), limit: 100, ..Filter::default() };
    assert_eq!(definitions::list(&t.db, Kind::Team, &named).await.unwrap(), [made[2].clone()]);
    assert_eq!(definitions::count(&t.db, Kind::Team, &named).await.unwrap(), 1);
}

async fn changes_come_one_after_the_other(t: Testbed) {
    let mut first = begin(&t).await;
    definitions::lock(&mut first).await.unwrap();
    let db = t.db.clone();
    let other = by(&t);
    let second = tokio::spawn(async move {
        let mut tx = db.begin().await.unwrap();
        let made = definitions::create(&mut tx, Kind::Team, draft("Web", json!({})), other).await;
        let _ = tx.commit().await.unwrap();
        made
    });
    definitions::create(&mut first, Kind::Team, draft("Web", json!({})), by(&t)).await.unwrap();
    assert!(!second.is_finished());
    let _ = commit(first).await;
    let error = second.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::NameTaken { .. }), "the other came second and saw the first: {error:?}");
}
