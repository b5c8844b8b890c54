//! A little of everything that users do, and of what goes wrong.

use reqwest::{Method, StatusCode};
use serde_json::json;
use shared::domain::job::{Job, Notify, SendMail};
use shared::store::{jobs, workers};
use shared::testkit::eventually;

use crate::events::{hire_ada, hook_up, receive};
use crate::smtp::Verdict;
use crate::system::{ERIK, IN_TIME, RITA, System, Ticket};

/// Users of a system, round by round.
#[derive(Debug)]
pub(crate) struct Traffic {
    token: String,
    /// Those of the last round, which breached meanwhile.
    breached: Vec<Ticket>,
}

impl Traffic {
    /// An admin has a webhook, and Erik an address that the mail server does not know.
    pub(crate) async fn begin(system: &System) -> Self {
        let token = hire_ada(system).await;
        let (url, _) = receive().await;
        hook_up(system, &token, &url, &["ticket.created", "sla.breached"]).await;
        system.smtp.refuse(Some(ERIK));
        Self { token, breached: Vec::new() }
    }

    /// Two tickets that will breach, and those before them acknowledged; one that is answered and resolved in time,
    /// and one that waits; a few reads, an import, and what the API refuses.
    pub(crate) async fn round(&mut self, system: &System) {
        for ticket in std::mem::take(&mut self.breached) {
            system.breach(&ticket).await;
            let path = format!("/tickets/{}/acknowledge", ticket.key);
            system.call(ERIK, Method::POST, &path, None).await;
        }
        self.breached = vec![system.open("critical").await, system.open("critical").await];
        let quick = system.open("medium").await;
        let comment = json!({ "content": "We are looking into it.", "is_internal": false });
        change(system, &quick, "comments", comment).await;
        change(system, &quick, "resolve", json!({})).await;
        system.open("high").await;
        system.call(RITA, Method::GET, "/tickets?q=checkout&count=true", None).await;
        system.call(RITA, Method::GET, &format!("/tickets/{}/sla", quick.key), None).await;
        let file = "title,priority\nOne of many,low\nAnother,low\n".to_owned();
        let (status, answer) = system.upload(ERIK, "/tickets/import", "text/csv", file).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        // What clients make up is no label's value.
        let made_up = Method::from_bytes(b"BREW").expect("a method");
        let (status, _) = system.ask(&self.token, made_up, "/made/up/47", None).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        for (path, body, refused) in [
            ("/tickets/INC-999999/resolve", json!({}), StatusCode::NOT_FOUND),
            ("/tickets", json!({ "title": "" }), StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            let (status, answer) = system.ask(&self.token, Method::POST, path, Some(&body)).await;
            assert_eq!(status, refused, "{answer}");
        }
    }

    /// Kills a worker while it sends a mail, which another sends then; returns its name.
    pub(crate) async fn kill_a_worker(&self, system: &mut System) -> String {
        // Of what was resolved before, nothing is held.
        let told = async || {
            let jobs = jobs::list(&system.db, 1_000).await.ok()?;
            let tells = |kind: &str| [Notify::KIND, SendMail::KIND].contains(&kind);
            (!jobs.iter().any(|job| tells(&job.kind))).then_some(())
        };
        eventually("everybody has been told", IN_TIME, told).await;
        system.smtp.hold("ticket.resolved");
        let ticket = system.open("low").await;
        change(system, &ticket, "resolve", json!({})).await;
        let holder = async || {
            let jobs = jobs::list(&system.db, 1_000).await.ok()?;
            let mut sending = jobs.iter().filter(|job| job.kind == SendMail::KIND && job.state == "running");
            let holder = sending.next()?.worker_id;
            (sending.next().is_none() && system.smtp.held().len() == 1).then_some(holder?)
        };
        let holder = eventually("only that mail is being sent", IN_TIME, holder).await;
        let listed = workers::list(&system.db).await.expect("workers");
        let victim = listed.iter().find(|worker| worker.id == holder).expect("it lives").host.clone();
        system.part(&victim).kill().await;
        let gone = async || system.smtp.held().is_empty().then_some(());
        eventually("the mail server has noticed", IN_TIME, gone).await;
        system.smtp.release(|_| Verdict::Accept);
        system.mailed(&ticket, "ticket.resolved", 1, IN_TIME).await;
        victim
    }
}

async fn change(system: &System, ticket: &Ticket, what: &str, body: serde_json::Value) {
    system.call(RITA, Method::POST, &format!("/tickets/{}/{what}", ticket.key), Some(&body)).await;
}
