//! A server without a socket, and clients that talk to it.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use chrono::TimeDelta;
use dogwatch_api::auth::Tokens;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use shared::config::{Config, Process as Kind, Secret};
use shared::domain::role::Role;
use shared::ids::UserId;
use shared::ops::Health;
use shared::process::Process;
use shared::queue::Queue;
use shared::store::query::Query;
use shared::store::users::{self, User};
use shared::testkit::{Testbed, user};
use tower::ServiceExt;

use crate::answer::{Answer, text};

/// What the server's tokens are signed with.
pub(crate) const SECRET: &str = "not a secret, but long enough to be one";

/// The API over a testbed.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) bed: Testbed,
    pub(crate) tokens: Tokens,
    /// The senior engineer of the testbed.
    pub(crate) staff: Client,
    /// The end user of the testbed.
    pub(crate) customer: Client,
    /// The manager of the testbed.
    pub(crate) manager: Client,
    /// Somebody without a token.
    pub(crate) anybody: Client,
}

impl Server {
    pub(crate) fn over(bed: Testbed) -> Self {
        Self::with(bed, &[])
    }

    /// The API with settings of its own.
    pub(crate) fn with(bed: Testbed, settings: &[(&str, &str)]) -> Self {
        let anybody = Client { routes: router(&bed, settings), headers: HeaderMap::new() };
        let tokens = Tokens::new(&Secret::new(SECRET.into()));
        let [staff, customer, manager] = [(); 3].map(|()| anybody.clone());
        let mut server = Self { bed, tokens, staff, customer, manager, anybody };
        server.staff = server.client(server.bed.staff.id);
        server.customer = server.client(server.bed.customer.id);
        server.manager = server.client(server.bed.manager.id);
        server
    }

    /// The same database under a server that has just started.
    pub(crate) fn restarted(self) -> Self {
        Self::over(self.bed)
    }

    /// The staff of another process over the same database.
    pub(crate) fn another(&self) -> Client {
        Client { routes: router(&self.bed, &[]), headers: self.staff.headers.clone() }
    }

    /// A client with a token that outlives every test.
    pub(crate) fn client(&self, user: UserId) -> Client {
        let (now, year) = (self.bed.now(), TimeDelta::days(365));
        let token = self.tokens.issue(user, now, now + year).expect("a token");
        self.anybody.with("authorization", &format!("Bearer {token}"))
    }

    /// Somebody new with a role, and their client.
    pub(crate) async fn member(&self, role: Role) -> (User, Client) {
        let user = shared::testkit::user(&format!("{}@example.org", UserId::new().0.simple()), role);
        self.add_user(&user).await;
        let client = self.client(user.id);
        (user, client)
    }

    pub(crate) async fn add_user(&self, user: &User) {
        let mut tx = self.bed.db.begin().await.expect("a transaction");
        users::add(&mut tx, user).await.expect("a user");
        let _ = tx.commit().await.expect("a commit");
    }

    /// Hires somebody, who then sends requests.
    pub(crate) async fn hire(&self, email: &str, role: Role) -> (User, Client) {
        let user = user(email, role);
        self.add_user(&user).await;
        let client = self.client(user.id);
        (user, client)
    }

    /// Changes the database behind the API's back.
    pub(crate) async fn tamper(&self, statement: Query) -> u64 {
        let mut tx = self.bed.db.begin().await.expect("a transaction");
        let changed = statement.execute(&mut tx).await.expect("a statement");
        let _ = tx.commit().await.expect("a commit");
        changed
    }

    /// Opens a ticket for the customer; fields not given are left to the API. Whom it is with, the manager says afterwards.
    pub(crate) async fn open(&self, mut fields: Value) -> Value {
        if fields.get("title").is_none() {
            fields["title"] = "The database is on fire".into();
        }
        let given =
            ["assignee_id", "team_id"].map(|field| fields.as_object_mut().and_then(|f| f.remove(field)));
        let mut ticket = self.customer.post("/tickets", fields).await.expect(201).json["data"].take();
        for (field, value) in ["assignee_id", "team_id"].into_iter().zip(given) {
            if let Some(value) = value {
                let assigned = self.manager.put(&at(&ticket, "/assign"), json!({ field: value })).await;
                ticket = assigned.expect(200).json["data"].take();
            }
        }
        ticket
    }

    /// Moves a ticket through statuses, by staff.
    pub(crate) async fn walk(&self, ticket: &Value, statuses: &[&str]) {
        for status in statuses {
            self.staff.patch(&at(ticket, "/status"), json!({ "status": status })).await.expect(200);
        }
    }

    /// The clocks as they stand now: first response, then resolution.
    pub(crate) async fn clocks(&self, ticket: &Value) -> [Value; 2] {
        let answer = self.staff.get(&at(ticket, "/sla")).await.expect(200);
        assert_eq!(answer.each("metric"), ["first_response", "resolution"]);
        [0, 1].map(|i| answer.data()[i].clone())
    }
}

fn router(bed: &Testbed, settings: &[(&str, &str)]) -> Router {
    let lookup = |name: &str| {
        let set = settings.iter().find(|(set, _)| *set == name).map(|(_, value)| *value);
        set.or((name == "JWT_SECRET").then_some(SECRET)).map(str::to_owned)
    };
    let config = Config::read(Kind::AllInOne("unused".into()), lookup).expect("settings");
    let (db, desk, queue) = (bed.db.clone(), bed.desk.clone(), Queue::in_process());
    let blobs = bed.blobs();
    let (health, stop) = (Health::default(), Default::default());
    let process = Process { config, db, queue, blobs, desk, health, stop };
    dogwatch_api::router(process).expect("a router")
}

/// The path of a ticket, or of something below it.
pub(crate) fn at(ticket: &Value, below: &str) -> String {
    format!("/tickets/{}{below}", text(&ticket["id"]))
}

/// Somebody who sends requests.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    routes: Router,
    headers: HeaderMap,
}

impl Client {
    /// The same client with one more header, or another value of it.
    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut client = self.clone();
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header");
        client.headers.insert(HeaderName::from_static(name), value);
        client
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", &format!("/api/v1{path}"), "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", &format!("/api/v1{path}"), body.to_string()).await
    }

    /// Posts nothing.
    pub(crate) async fn act(&self, path: &str) -> Answer {
        self.send("POST", &format!("/api/v1{path}"), "").await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", &format!("/api/v1{path}"), body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", &format!("/api/v1{path}"), body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", &format!("/api/v1{path}"), "").await
    }

    /// Sends anything anywhere, as JSON unless the client says otherwise.
    pub(crate) async fn send(&self, method: &str, uri: &str, body: impl Into<Vec<u8>>) -> Answer {
        let request = Request::builder().method(method).uri(uri).body(Body::from(body.into()));
        self.deliver(request.expect("a request")).await
    }

    /// The paths of all routes. The router does not list them, but it shows them to people who debug it.
    pub(crate) fn routes(&self) -> Vec<String> {
        let shown = format!("{:?}", self.routes);
        let quoted = shown.split('"').skip(1).step_by(2);
        let is_path = |text: &&str| text.starts_with("/") && text.len() > 1 && !text.contains("__private");
        quoted.filter(is_path).map(str::to_owned).collect()
    }

    /// Asks for a page rather than for JSON.
    pub(crate) async fn page(&self, method: &str, uri: &str) -> (u16, HeaderMap, String) {
        let request = Request::builder().method(method).uri(uri).body(Body::empty()).expect("a request");
        let response = self.routes.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        (parts.status.as_u16(), parts.headers, String::from_utf8(bytes.to_vec()).expect("UTF-8"))
    }

    /// Asks for a file, and returns the answer before its content is read.
    pub(crate) async fn file(&self, path: &str) -> axum::response::Response {
        let request = Request::builder().uri(format!("/api/v1{path}")).body(Body::empty());
        let mut request = request.expect("a request");
        request.headers_mut().extend(self.headers.clone());
        self.routes.clone().oneshot(request).await.expect("an answer")
    }

    /// Asks for a file and reads it.
    pub(crate) async fn read(&self, path: &str) -> String {
        let response = self.file(path).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/csv; charset=utf-8");
        let bytes = response.into_body().collect().await.expect("a whole file").to_bytes();
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    /// Sends a request that was made by hand and returns what is around the answer.
    pub(crate) async fn exchange(&self, request: Request<Body>) -> (u16, HeaderMap) {
        let response = self.routes.clone().oneshot(request).await.expect("an answer");
        (response.status().as_u16(), response.headers().clone())
    }

    /// Sends a request that was made by hand, and leaves the answer as it comes.
    pub(crate) async fn raw(&self, mut request: Request<Body>) -> axum::response::Response {
        request.headers_mut().extend(self.headers.clone());
        self.routes.clone().oneshot(request).await.expect("an answer")
    }

    /// Sends a request that was made by hand, with the client's headers.
    pub(crate) async fn deliver(&self, mut request: Request<Body>) -> Answer {
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert("content-type", json);
        request.headers_mut().extend(self.headers.clone());
        let response = self.routes.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Answer::checked(parts.status.as_u16(), parts.headers, text)
    }
}

/// Runs requests at the same time and returns their answers in order.
pub(crate) async fn all_at_once<F>(requests: impl IntoIterator<Item = F>) -> Vec<Answer>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let running: Vec<_> = requests.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::new();
    for request in running {
        answers.push(request.await.expect("an answer"));
    }
    answers
}
