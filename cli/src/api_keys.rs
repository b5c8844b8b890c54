//! API keys, for operators.

use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use clap::Subcommand;
use dogwatch_api::auth::keys::{Made, prefix};
use shared::domain::scope::Scope;
use shared::ids::ApiKeyId;
use shared::process::Process;
use shared::store::api_keys::{self, ApiKey, Filter};
use shared::store::users;

use crate::users::by;

/// `dogwatch api-key …`
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key; it is printed once
    Create {
        /// Address of the account that the key acts as
        #[arg(long)]
        email: String,
        /// What the key is for
        #[arg(long)]
        name: String,
        #[arg(
            long = "scope",
            required = true,
            value_delimiter = ',',
            help = "tickets:read, tickets:write, reports:read, settings:read or settings:write; may be repeated"
        )]
        scopes: Vec<Scope>,
        /// How long it is good for, like 720h; for good when not given
        #[arg(long, value_parser = crate::parse_duration, value_name = "TIME")]
        ttl: Option<Duration>,
    },
    /// List keys, the newest first
    List {
        /// Of this account only
        #[arg(long)]
        email: Option<String>,
        /// At most as many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// End a key at once
    Revoke {
        /// Which; `dogwatch api-key list` shows them
        id: ApiKeyId,
    },
}

pub(crate) async fn run(command: Command, process: &Process) -> anyhow::Result<()> {
    match command {
        Command::Create { email, name, scopes, ttl } => create(process, &email, name, scopes, ttl).await,
        Command::List { email, limit } => list(process, email, limit).await,
        Command::Revoke { id } => {
            let mut tx = process.db.begin().await?;
            api_keys::revoke(&mut tx, id, None, &by(process)).await?;
            let _ = tx.commit().await?;
            println!("Revoked {}.", prefix(id));
            Ok(())
        }
    }
}

async fn create(
    process: &Process,
    email: &str,
    name: String,
    mut scopes: Vec<Scope>,
    ttl: Option<Duration>,
) -> anyhow::Result<()> {
    let user = users::by_email(&process.db, email).await?.filter(|user| user.disabled_at.is_none());
    let user = user.with_context(|| format!("there is no enabled account with the address {email}"))?;
    let fits = (1..=100).contains(&name.trim().chars().count()) && !name.contains(char::is_control);
    anyhow::ensure!(fits, "--name must be 1 to 100 characters on one line");
    scopes.sort_unstable();
    scopes.dedup();
    let (made, by) = (Made::new(), by(process));
    let expires_at = ttl.map(TimeDelta::from_std).transpose()?.map(|ttl| by.now + ttl);
    let key = ApiKey {
        id: made.id,
        user_id: user.id,
        name,
        scopes: scopes.into(),
        secret_hash: made.secret_hash,
        version: 1,
        created_at: by.now,
        expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    let mut tx = process.db.begin().await?;
    api_keys::add(&mut tx, &key, &by).await?;
    let _ = tx.commit().await?;
    println!("{}", made.text);
    Ok(())
}

async fn list(process: &Process, email: Option<String>, limit: i64) -> anyhow::Result<()> {
    let user = match email {
        Some(email) => {
            let user = users::by_email(&process.db, &email).await?;
            Some(user.with_context(|| format!("there is no account with the address {email}"))?.id)
        }
        None => None,
    };
    let keys = api_keys::list(&process.db, &Filter { user, limit, ..Filter::default() }).await?;
    if keys.is_empty() {
        println!("There are no API keys; `dogwatch api-key create` makes one.");
    }
    let owners: Vec<_> = keys.iter().map(|key| key.user_id).collect();
    let owners = users::of_ids(&process.db, &owners).await?;
    for key in keys {
        let owner = owners.iter().find(|user| user.id == key.user_id).map_or("", |user| &user.email);
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let used = key.last_used_at.map_or("never used".into(), |at| format!("used {}", at.format("%F %R")));
        println!("{}  {owner:<32} {:<24} {}  {used}", key.id, key.name, scopes.join(","));
    }
    Ok(())
}
