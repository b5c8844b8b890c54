//! A machine with one Dogwatch on it, all in one process, on either engine.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::ids::UserId;
use shared::store::Db;
use shared::store::maintenance::Engine;
use shared::testkit;
use tempfile::TempDir;
use tokio::process::Command;

use crate::parts::{Part, Settings, run};
use crate::services::{folder, free_port, setting};

pub(crate) const ANN: &str = "ann@example.org";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Makes two tests of one.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                super::$name(shared::store::maintenance::Engine::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                if shared::testkit::postgres_server().is_some() {
                    super::$name(shared::store::maintenance::Engine::Postgres).await;
                }
            }
        }
    )*};
}
pub(crate) use on_both_engines;

/// A folder, and a database that is empty at first.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) settings: Settings,
    pub(crate) url: String,
    api: String,
    client: reqwest::Client,
    folder: TempDir,
}

impl Machine {
    pub(crate) async fn new(engine: Engine) -> Self {
        let (folder, api) = (folder(), format!("127.0.0.1:{}", free_port()));
        let mut settings = Settings::from([("API_ADDR", api.clone()), ("SWEEP_INTERVAL_MS", "200".into())]);
        let url = match engine {
            Engine::Sqlite => format!("sqlite://{}", folder.path().join("data/dogwatch.db").display()),
            Engine::Postgres => {
                let url = empty_database().await;
                settings.insert("DATABASE_URL", url.clone());
                settings.insert("JWT_SECRET", "not a secret, but as long as one has to be".into());
                url
            }
        };
        Self { settings, url, api, client: reqwest::Client::new(), folder }
    }

    /// One with a schema and an admin.
    pub(crate) async fn in_use(engine: Engine) -> Self {
        let machine = Self::new(engine).await;
        machine.succeed(&["migrate"]).await;
        let add = ["user", "add", "--email", ANN, "--name", "Ann", "--role", "admin", "--password", PASSWORD];
        machine.succeed(&add).await;
        machine
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn dogwatch(&self, arguments: &[&str]) -> Output {
        run("dogwatch", arguments, &self.settings, self.path()).await
    }

    /// Runs a command that succeeds and returns what it says.
    pub(crate) async fn succeed(&self, arguments: &[&str]) -> String {
        let done = self.dogwatch(arguments).await;
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        assert!(done.stderr.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("UTF-8")
    }

    /// Runs a command with `--json` that succeeds.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let said = self.succeed(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&said).expect("JSON")
    }

    /// Runs a command that fails and returns its one sentence.
    pub(crate) async fn fail(&self, arguments: &[&str]) -> String {
        let done = self.dogwatch(arguments).await;
        let error = String::from_utf8(done.stderr).expect("UTF-8");
        assert_eq!(done.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.starts_with("error: ") && error.trim_end().lines().count() == 1, "{error}");
        error
    }

    /// Takes a backup and returns its file and its manifest.
    pub(crate) async fn backup(&self) -> (PathBuf, Value) {
        let taken = self.json(&["backup"]).await;
        (self.path().join(taken["file"].as_str().expect("a file")), taken)
    }

    pub(crate) async fn serve(&self) -> Part {
        let mut part = Part::serve(&self.settings, self.path());
        part.ready().await;
        // It is ready when the database is; the API listens a moment later.
        let listens = async || tokio::net::TcpStream::connect(&*self.api).await.ok().map(drop);
        testkit::eventually("the API listens", Duration::from_secs(30), listens).await;
        part
    }

    /// Stops it in good order.
    pub(crate) async fn stop(&self, mut part: Part) {
        part.terminate();
        assert!(part.ended(Duration::from_secs(30)).await.success());
    }

    pub(crate) async fn db(&self) -> Db {
        Db::connect(&self.url, 2).await.expect("the database opens")
    }

    /// Every row of every table.
    pub(crate) async fn contents(&self) -> std::collections::BTreeMap<String, Vec<String>> {
        let db = self.db().await;
        let contents = testkit::contents(&db).await;
        db.close().await;
        contents
    }

    pub(crate) async fn log_in(&self) -> String {
        let who = json!({ "email": ANN, "password": PASSWORD });
        let (status, answer) = self.ask("", Method::POST, "/auth/login", Some(&who)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["data"]["access_token"].as_str().expect("a token").to_owned()
    }

    pub(crate) async fn ask(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("http://{}/api/v1{path}", self.api));
        request = if token.is_empty() { request } else { request.bearer_auth(token) };
        request = if let Some(body) = body { request.json(body) } else { request };
        let answer = request.send().await.expect("the API answers");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    /// Opens a ticket and returns its number.
    pub(crate) async fn open(&self, token: &str, title: &str) -> String {
        let ticket = json!({ "title": title, "priority": "high", "labels": ["vpn", "berlin"] });
        let (status, answer) = self.ask(token, Method::POST, "/tickets", Some(&ticket)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer["data"]["number"].as_str().expect("a number").to_owned()
    }
}

async fn empty_database() -> String {
    let server = testkit::postgres_server().expect("there is a server");
    let programs = setting("TEST_POSTGRES_BIN").expect("it has programs");
    let name = format!("machine_{}", UserId::new().0.simple());
    let mut create = Command::new(Path::new(&programs).join("createdb"));
    let created = create.arg(format!("--maintenance-db={server}")).arg(&name).output().await;
    assert!(created.expect("it can be started").status.success());
    let mut url = url::Url::parse(&server).expect("a URL");
    url.set_path(&name);
    url.to_string()
}
