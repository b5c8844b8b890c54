//! Tells what is wrong, and what to do about it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use shared::config::Config;
use shared::queue::Queue;
use shared::store::Db;
use shared::time::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Checks what a process with these settings would stand on.
pub(crate) async fn check(config: Config) -> anyhow::Result<ExitCode> {
    let mut healthy = true;
    let mut say = |part: &str, outcome: Result<String, String>| {
        healthy &= outcome.is_ok();
        let (mark, text) = match outcome {
            Ok(text) => ("ok  ", text),
            Err(text) => ("FAIL", text),
        };
        println!("{mark}  {part:<9} {text}");
    };
    say("settings", Ok("can be used".into()));
    let database = database(&config).await;
    say("database", database);
    say("dispatch", dispatch(&config).await);
    say("mail", mail(&config).await);
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn database(config: &Config) -> Result<String, String> {
    let url = config.database_url.expose();
    let file = url.strip_prefix("sqlite://").filter(|file| !std::path::Path::new(file).exists());
    if let Some(file) = file {
        return Ok(format!("{file} does not exist yet; `dogwatch serve` makes it"));
    }
    let db = Db::connect(url, 1).await.map_err(|error| crate::describe(&error))?;
    db.check_schema().await.map_err(|error| crate::describe(&error))?;
    let offset = db.agree_on_time(&Clock::system()).await.map_err(|error| crate::describe(&error))?;
    Ok(format!("answers, schema is current, its clock is {:.0} ms ahead of ours", offset * 1e3))
}

async fn dispatch(config: &Config) -> Result<String, String> {
    let Some(url) = &config.redis_url else { return Ok("in-process (REDIS_URL is not set)".into()) };
    let queue = Queue::redis(url.expose()).map_err(|error| format!("REDIS_URL cannot be used: {error}"))?;
    queue.ping().await.map_err(|error| format!("{error}; jobs go on more slowly until Redis is back"))?;
    Ok("Redis answers".into())
}

async fn mail(config: &Config) -> Result<String, String> {
    let Some(url) = &config.smtp_url else {
        return Ok(format!("is written to {} (SMTP_URL is not set)", config.mail_dir.display()));
    };
    let url = url::Url::parse(url.expose()).map_err(|_| "SMTP_URL cannot be read".to_owned())?;
    let port = url.port().unwrap_or(if url.scheme() == "smtps" { 465 } else { 25 });
    let host = url.host_str().unwrap_or_default().to_owned();
    let connecting = tokio::net::TcpStream::connect((host.as_str(), port));
    match tokio::time::timeout(Duration::from_secs(5), connecting).await {
        Ok(Ok(_)) => Ok(format!("{host}:{port} takes connections")),
        Ok(Err(error)) => Err(format!(
            "{host}:{port} does not answer ({error}): check SMTP_URL; mails are retried meanwhile"
        )),
        Err(_) => Err(format!(
            "{host}:{port} does not answer within 5 s: check SMTP_URL; mails are retried meanwhile"
        )),
    }
}

/// Asks a running process whether it is ready; an error when it is not.
pub(crate) async fn ask(url: &str) -> anyhow::Result<()> {
    let url = url::Url::parse(url).ok().filter(|url| url.scheme() == "http");
    let url = url.context("--url must be like http://127.0.0.1:9464")?;
    let (host, port) = (url.host_str().unwrap_or_default().to_owned(), url.port().unwrap_or(80));
    let answer = tokio::time::timeout(Duration::from_secs(5), fetch(&host, port)).await;
    let answer =
        answer.context("no answer within 5 s")?.with_context(|| format!("{host}:{port} does not answer"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    anyhow::ensure!(head.split(' ').nth(1) == Some("200"), "not ready: {}", body.trim());
    println!("ready");
    Ok(())
}

async fn fetch(host: &str, port: u16) -> std::io::Result<String> {
    let mut connection = tokio::net::TcpStream::connect((host, port)).await?;
    let request = format!("GET /health/ready HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}
