//! Settings from environment variables. A bad value stops the process at start, with the variable's name and what
//! it should hold; its content is not repeated, since it may be a secret.

pub mod http;
mod oidc;
mod tracing;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use chrono::TimeDelta;

use crate::domain::sla::Policy;
use crate::domain::sla::policy::Targets;
use crate::domain::ticket::ReopenWindow;
use crate::domain::{Rules, escalation};

pub use oidc::Oidc;
pub use tracing::Sampling;

/// A variable that is missing or cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {problem}")]
pub struct Error {
    variable: &'static str,
    problem: String,
}

/// Which program is starting; defaults and requirements differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Process {
    /// `dogwatch-api`.
    Api,
    /// `dogwatch-worker`.
    Worker,
    /// `dogwatch-scheduler`.
    Scheduler,
    /// `dogwatch`: all of them in one process, or an operator's command. Files lie in the folder.
    AllInOne(PathBuf),
}

impl Process {
    /// The program's name, in logs and traces.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Api => "dogwatch-api",
            Self::Worker => "dogwatch-worker",
            Self::Scheduler => "dogwatch-scheduler",
            Self::AllInOne(_) => "dogwatch",
        }
    }
}

/// A value that no log shows.
#[derive(Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// Unwraps it, where it is used.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// When notifications of one recipient become a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storm {
    /// How many a recipient is mailed one by one within a window.
    pub limit: i64,
    /// How long a window is.
    pub window: TimeDelta,
}

/// The settings of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which program this is.
    pub process: Process,
    /// `sqlite://…` or `postgres://…`.
    pub database_url: Secret,
    /// `redis://…`; none: dispatch within the process.
    pub redis_url: Option<Secret>,
    /// Where the API listens.
    pub api_addr: SocketAddr,
    /// How the API meets the network.
    pub http: http::Http,
    /// Where metrics and health are served.
    pub ops_addr: SocketAddr,
    /// What links in mails start with; no slash at the end.
    pub public_url: String,
    /// Where mail is sent; none: it is written to `mail_dir`.
    pub smtp_url: Option<Secret>,
    /// Who mail is from.
    pub mail_from: String,
    /// Where mail is written.
    pub mail_dir: PathBuf,
    /// Who is told of warnings and breaches besides assignee and reporter.
    pub oncall_email: Option<String>,
    /// When notifications of one recipient become a digest.
    pub storm: Storm,
    /// How long what happened stays in the log that the stream of events is read from.
    pub event_retention: TimeDelta,
    /// Where attachments are kept: `file://FOLDER`, or a bucket of a cloud.
    pub attachment_url: Secret,
    /// Where files are looked at for malware, `host:port`; none: nowhere.
    pub clamav_addr: Option<String>,
    /// Whether webhooks may go to private addresses.
    pub webhook_allow_private: bool,
    /// What tokens are signed with, at least 32 bytes; none only in `AllInOne`, which makes and keeps its own.
    pub jwt_secret: Option<Secret>,
    /// Whose tokens are taken besides our own.
    pub oidc: Option<Oidc>,
    /// The built-in policies.
    pub rules: Rules,
    /// How long a scheduler rests between sweeps.
    pub sweep_interval: Duration,
    /// How many jobs a worker runs at once.
    pub worker_concurrency: usize,
    /// How long running jobs and requests may take to end after a signal.
    pub shutdown_grace: Duration,
    /// Where traces go, by OTLP over gRPC.
    pub otlp_endpoint: Option<String>,
    /// Which traces are recorded.
    pub sampling: Sampling,
    /// The name traces carry.
    pub service_name: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Whether to log errors only, because standard output tells the story; `RUST_LOG` overrides it.
    pub quiet: bool,
    /// Whether to migrate the database at start rather than refuse to run on an older schema.
    pub auto_migrate: bool,
}

impl Config {
    /// Reads the settings of `process` from the environment.
    ///
    /// # Errors
    /// When a variable is missing or cannot be used.
    pub fn from_env(process: Process) -> Result<Self, Error> {
        Self::read(process, |name| std::env::var(name).ok())
    }

    /// Reads the settings of `process` from `lookup`. An empty variable counts as not set.
    ///
    /// # Errors
    /// When a variable is missing or cannot be used.
    pub fn read(process: Process, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let vars = Vars(&|name| lookup(name).filter(|value| !value.trim().is_empty()));
        let data = if let Process::AllInOne(data) = &process { data.clone() } else { PathBuf::from("data") };
        let api_addr: SocketAddr =
            vars.parse("API_ADDR", "127.0.0.1:8080", "must be an address like 127.0.0.1:8080")?;
        let ops_port = match process {
            Process::Worker => "127.0.0.1:9465",
            Process::Scheduler => "127.0.0.1:9466",
            Process::Api | Process::AllInOne(_) => "127.0.0.1:9464",
        };
        let service = match process {
            Process::AllInOne(_) => "dogwatch-all",
            _ => process.name(),
        };
        Ok(Self {
            database_url: vars.database_url(&process, &data)?,
            redis_url: vars.redis_url(&process)?,
            public_url: vars.public_url(api_addr)?,
            api_addr,
            http: vars.http()?,
            ops_addr: vars.parse("OPS_ADDR", ops_port, "must be an address like 127.0.0.1:9464")?,
            smtp_url: vars.smtp_url()?,
            mail_from: vars.sender()?,
            mail_dir: vars.text("MAIL_DIR").map_or_else(|| data.join("mail"), PathBuf::from),
            oncall_email: vars.address("ONCALL_EMAIL")?,
            storm: vars.storm()?,
            event_retention: TimeDelta::days(
                i64::try_from(vars.number("EVENT_RETENTION_DAYS", 7, 1..=365)?).unwrap_or(7),
            ),
            attachment_url: vars.attachment_url(&data)?,
            clamav_addr: vars.clamav_addr()?,
            webhook_allow_private: vars.parse("WEBHOOK_ALLOW_PRIVATE", "false", "must be true or false")?,
            jwt_secret: vars.jwt_secret(&process)?,
            oidc: vars.oidc()?,
            rules: Rules {
                sla: vars.policy()?,
                escalation: vars.escalation()?,
                reopen_window: vars.reopen_window()?,
            },
            sweep_interval: Duration::from_millis(vars.number("SWEEP_INTERVAL_MS", 500, 10..=60_000)?),
            worker_concurrency: usize::try_from(vars.number("WORKER_CONCURRENCY", 64, 1..=10_000)?)
                .unwrap_or(64),
            shutdown_grace: Duration::from_secs(vars.number("SHUTDOWN_GRACE_SECONDS", 25, 0..=3_600)?),
            otlp_endpoint: vars.url("OTEL_EXPORTER_OTLP_ENDPOINT", &["http", "https"])?,
            sampling: vars.sampling()?,
            service_name: vars.text("OTEL_SERVICE_NAME").unwrap_or_else(|| service.into()),
            log_format: vars.log_format(&process)?,
            quiet: false,
            auto_migrate: vars.auto_migrate(&process)?,
            process,
        })
    }
}

struct Vars<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Vars<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn parse<T: FromStr>(&self, name: &'static str, default: &str, expected: &str) -> Result<T, Error> {
        let value = self.text(name).unwrap_or_else(|| default.into());
        value.trim().parse().map_err(|_| bad(name, expected))
    }

    fn number(
        &self,
        name: &'static str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, Error> {
        let expected = format!("must be a whole number from {} to {}", range.start(), range.end());
        let number = self.parse(name, &default.to_string(), &expected)?;
        if range.contains(&number) { Ok(number) } else { Err(bad(name, expected)) }
    }

    fn span(
        &self,
        name: &'static str,
        default: TimeDelta,
        unit: TimeDelta,
        expected: &str,
    ) -> Result<TimeDelta, Error> {
        let Some(value) = self.text(name) else { return Ok(default) };
        let amount: f64 = value.trim().parse().map_err(|_| bad(name, expected))?;
        let micros = amount * unit.as_seconds_f64() * 1e6;
        // Ten years: more is a mistake, and far from what the arithmetic could not hold.
        if !(1_000.0..=10.0 * 365.25 * 86_400e6).contains(&micros) {
            return Err(bad(name, expected));
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        Ok(TimeDelta::microseconds(micros.round() as i64))
    }

    fn url(&self, name: &'static str, schemes: &[&str]) -> Result<Option<String>, Error> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let known = url::Url::parse(&value).is_ok_and(|url| schemes.contains(&url.scheme()));
        if known {
            Ok(Some(value))
        } else {
            Err(bad(name, format!("must be a URL like {}://host", schemes[0])))
        }
    }

    fn address(&self, name: &'static str) -> Result<Option<String>, Error> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let plain = crate::domain::is_mail_address(value.trim());
        if plain {
            Ok(Some(value.trim().to_lowercase()))
        } else {
            Err(bad(name, "must be one mail address like oncall@example.org"))
        }
    }

    fn sender(&self) -> Result<String, Error> {
        let value = self.text("MAIL_FROM").unwrap_or_else(|| "Dogwatch <dogwatch@localhost>".into());
        let named = value.trim().strip_suffix('>').and_then(|start| start.rsplit_once('<'));
        let address = named.map_or(value.trim(), |(_, address)| address);
        let plain = crate::domain::is_mail_address(address);
        if plain { Ok(value) } else { Err(bad("MAIL_FROM", "must be like Dogwatch <dogwatch@example.org>")) }
    }

    fn database_url(&self, process: &Process, data: &Path) -> Result<Secret, Error> {
        let name = "DATABASE_URL";
        if matches!(process, Process::AllInOne(_)) {
            let default = || format!("sqlite://{}", data.join("dogwatch.db").display());
            let value = self.text(name).unwrap_or_else(default);
            let known =
                ["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| value.starts_with(scheme));
            return if known {
                Ok(Secret(value))
            } else {
                Err(bad(name, "must be sqlite://FILE or postgres://USER@HOST/NAME"))
            };
        }
        let expected =
            "must be postgres://USER@HOST/NAME; for SQLite run `dogwatch serve`, all in one process";
        let postgres = self.url(name, &["postgres", "postgresql"]).map_err(|_| bad(name, expected))?;
        postgres.map(Secret).ok_or_else(|| bad(name, format!("is missing and {expected}")))
    }

    fn attachment_url(&self, data: &Path) -> Result<Secret, Error> {
        const CLOUDS: [&str; 9] = ["s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "https"];
        let name = "ATTACHMENT_URL";
        let default = || format!("file://{}", data.join("attachments").display());
        let value = self.text(name).unwrap_or_else(default);
        let folder = value.strip_prefix("file://").is_some_and(|folder| !folder.is_empty());
        let cloud = || url::Url::parse(&value).is_ok_and(|url| CLOUDS.contains(&url.scheme()));
        if folder || cloud() {
            Ok(Secret(value))
        } else {
            Err(bad(name, "must be file://FOLDER, s3://BUCKET, gs://BUCKET or az://CONTAINER"))
        }
    }

    fn clamav_addr(&self) -> Result<Option<String>, Error> {
        let name = "CLAMAV_ADDR";
        let Some(value) = self.text(name) else { return Ok(None) };
        let parts = value.trim().rsplit_once(':');
        let known = parts.is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.contains(['/', ' ', '@'])
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if known {
            Ok(Some(value.trim().to_owned()))
        } else {
            Err(bad(name, "must be HOST:PORT, like clamav:3310"))
        }
    }

    fn redis_url(&self, process: &Process) -> Result<Option<Secret>, Error> {
        let url = self.url("REDIS_URL", &["redis", "rediss"])?;
        if url.is_none() && !matches!(process, Process::AllInOne(_)) {
            return Err(bad("REDIS_URL", "is missing and must be a URL like redis://host"));
        }
        Ok(url.map(Secret))
    }

    fn public_url(&self, api_addr: SocketAddr) -> Result<String, Error> {
        let url = self.url("PUBLIC_URL", &["https", "http"])?;
        Ok(url.unwrap_or_else(|| format!("http://{api_addr}")).trim_end_matches('/').to_owned())
    }

    fn smtp_url(&self) -> Result<Option<Secret>, Error> {
        Ok(self.url("SMTP_URL", &["smtp", "smtps"])?.map(Secret))
    }

    fn jwt_secret(&self, process: &Process) -> Result<Option<Secret>, Error> {
        let required = matches!(process, Process::Api);
        match self.text("JWT_SECRET") {
            Some(secret) if secret.len() >= 32 => Ok(Some(Secret(secret))),
            Some(_) => Err(bad(
                "JWT_SECRET",
                "must be at least 32 bytes, for example from `openssl rand -base64 48`",
            )),
            None if required => Err(bad(
                "JWT_SECRET",
                "is missing: set it to 32 bytes or more, for example from `openssl rand -base64 48`",
            )),
            None => Ok(None),
        }
    }

    fn policy(&self) -> Result<Policy, Error> {
        const NAMES: [[&str; 2]; 4] = [
            ["SLA_P1_RESPONSE_HOURS", "SLA_P1_RESOLUTION_HOURS"],
            ["SLA_P2_RESPONSE_HOURS", "SLA_P2_RESOLUTION_HOURS"],
            ["SLA_P3_RESPONSE_HOURS", "SLA_P3_RESOLUTION_HOURS"],
            ["SLA_P4_RESPONSE_HOURS", "SLA_P4_RESOLUTION_HOURS"],
        ];
        let hours = |name, default| {
            self.span(name, default, TimeDelta::hours(1), "must be hours above 0, like 4 or 0.5")
        };
        let mut policy = Policy::default();
        for ([response, resolution], targets) in NAMES.into_iter().zip(&mut policy.targets) {
            let usual = |target: Option<TimeDelta>| target.unwrap_or_default();
            *targets = Targets::of(
                hours(response, usual(targets.first_response))?,
                hours(resolution, usual(targets.resolution))?,
            );
        }
        Ok(policy)
    }

    fn escalation(&self) -> Result<escalation::Policy, Error> {
        let default = escalation::Policy::default().step;
        let expected = "must be minutes above 0, like 15 or 0.5";
        Ok(escalation::Policy {
            step: self.span("ESCALATION_STEP_MINUTES", default, TimeDelta::minutes(1), expected)?,
        })
    }

    fn reopen_window(&self) -> Result<ReopenWindow, Error> {
        let expected = "must be days above 0, like 7 or 0.5";
        let default = ReopenWindow::default().0;
        Ok(ReopenWindow(self.span("REOPEN_WINDOW_DAYS", default, TimeDelta::days(1), expected)?))
    }

    fn storm(&self) -> Result<Storm, Error> {
        let seconds = self.number("STORM_WINDOW_SECONDS", 300, 1..=86_400)?;
        Ok(Storm {
            limit: i64::try_from(self.number("STORM_LIMIT", 60, 1..=1_000_000)?).unwrap_or(60),
            window: TimeDelta::seconds(i64::try_from(seconds).unwrap_or(300)),
        })
    }

    fn log_format(&self, process: &Process) -> Result<LogFormat, Error> {
        let default = match process {
            Process::AllInOne(_) if std::io::IsTerminal::is_terminal(&std::io::stderr()) => "pretty",
            _ => "json",
        };
        match self.text("LOG_FORMAT").as_deref().unwrap_or(default) {
            "json" => Ok(LogFormat::Json),
            "pretty" => Ok(LogFormat::Pretty),
            _ => Err(bad("LOG_FORMAT", "must be json or pretty")),
        }
    }

    fn auto_migrate(&self, process: &Process) -> Result<bool, Error> {
        let embedded = matches!(process, Process::AllInOne(_));
        self.parse("AUTO_MIGRATE", if embedded { "true" } else { "false" }, "must be true or false")
    }
}

fn bad(variable: &'static str, problem: impl Into<String>) -> Error {
    Error { variable, problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(process: Process, set: &[(&str, &str)]) -> Result<Config, Error> {
        Config::read(process, |name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    fn all_in_one(set: &[(&str, &str)]) -> Result<Config, Error> {
        read(Process::AllInOne("data".into()), set)
    }

    #[test]
    fn nothing_needs_to_be_set_for_the_embedded_default() {
        let config = all_in_one(&[]).unwrap();
        assert_eq!(config.database_url.expose(), "sqlite://data/dogwatch.db");
        assert_eq!(config.attachment_url.expose(), "file://data/attachments");
        assert_eq!(config.public_url, "http://127.0.0.1:8080");
        assert_eq!(config.rules.sla, Policy::default());
        assert!(config.auto_migrate);
    }

    #[test]
    fn a_bad_value_is_named_but_not_repeated() {
        let bad = [
            ("API_ADDR", "nowhere"),
            ("SLA_P1_RESPONSE_HOURS", "-1"),
            ("SLA_P2_RESOLUTION_HOURS", "NaN"),
            ("SLA_P3_RESPONSE_HOURS", "1e300"),
            ("SWEEP_INTERVAL_MS", "0"),
            ("WORKER_CONCURRENCY", "many"),
            ("JWT_SECRET", "short"),
            ("SMTP_URL", "http://user:pass@host"),
            ("DATABASE_URL", "mysql://user:pass@host"),
            ("ONCALL_EMAIL", "a@b, c@d"),
            ("MAIL_FROM", "Dogwatch <nowhere>"),
            ("LOG_FORMAT", "xml"),
            ("AUTO_MIGRATE", "maybe"),
            ("ESCALATION_STEP_MINUTES", "0"),
            ("REOPEN_WINDOW_DAYS", "-1"),
            ("STORM_LIMIT", "0"),
            ("STORM_WINDOW_SECONDS", "5 minutes"),
            ("WEBHOOK_ALLOW_PRIVATE", "perhaps"),
            ("OIDC_ISSUER", "example.org"),
            ("OIDC_JWKS_URL", "file:///keys"),
            ("OIDC_AUTO_CREATE", "often"),
            ("ATTACHMENT_URL", "ftp://host/files"),
            ("CLAMAV_ADDR", "tcp://clamav:3310"),
        ];
        for (name, value) in bad {
            let message = all_in_one(&[(name, value)]).unwrap_err().to_string();
            assert!(message.starts_with(name) && message.contains("must be"), "{message}");
            assert!(!message.contains(value) || value.len() < 3, "{message}");
        }
    }

    #[test]
    fn the_three_processes_say_what_they_miss() {
        let message = read(Process::Worker, &[]).unwrap_err().to_string();
        assert!(message.starts_with("DATABASE_URL is missing"), "{message}");
        let message = read(Process::Worker, &[("DATABASE_URL", "sqlite://x.db")]).unwrap_err().to_string();
        assert!(message.contains("dogwatch serve"), "{message}");
        let message = read(Process::Worker, &[("DATABASE_URL", "postgres://h/d")]).unwrap_err().to_string();
        assert!(message.starts_with("REDIS_URL is missing"), "{message}");
        let both = [("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", "redis://h")];
        assert!(read(Process::Api, &both).unwrap_err().to_string().starts_with("JWT_SECRET is missing"));
    }

    #[test]
    fn another_issuer_needs_an_audience() {
        let issuer = ("OIDC_ISSUER", "https://sso.example.org/");
        let message = all_in_one(&[issuer]).unwrap_err().to_string();
        assert!(message.starts_with("OIDC_AUDIENCE is missing"), "{message}");
        let oidc = all_in_one(&[issuer, ("OIDC_AUDIENCE", "dogwatch")]).unwrap().oidc.unwrap();
        assert_eq!((&*oidc.issuer, &*oidc.role_claim), ("https://sso.example.org/", "role"));
        assert!(!oidc.auto_create && oidc.jwks_url.is_none());
        assert_eq!(all_in_one(&[]).unwrap().oidc, None);
    }

    #[test]
    fn targets_may_be_fractions_of_an_hour() {
        let config = all_in_one(&[("SLA_P1_RESPONSE_HOURS", "0.001")]).unwrap();
        assert_eq!(config.rules.sla.targets[0].first_response, Some(TimeDelta::milliseconds(3_600)));
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let config = all_in_one(&[("SMTP_URL", "smtp://user:hunter2@host")]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
