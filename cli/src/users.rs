//! Accounts.

use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use clap::Subcommand;
use dogwatch_api::auth;
use shared::domain::role::Role;
use shared::ids::UserId;
use shared::process::Process;
use shared::store::users::{self, User};
use shared::store::{accounts, edit};

/// `dogwatch user …`
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add an account
    Add {
        /// Address to sign in with
        #[arg(long)]
        email: String,
        /// Name for people to read
        #[arg(long)]
        name: String,
        #[arg(
            long,
            help = "end_user, devops_engineer, senior_engineer, team_lead, manager or admin; all but the first are staff"
        )]
        role: Role,
        /// At least 8 characters; made and printed once when not given
        #[arg(long)]
        password: Option<String>,
    },
    /// List accounts
    List,
    /// Keep somebody from signing in and from using their tokens
    Disable {
        /// Whom
        #[arg(long)]
        email: String,
    },
}

pub(crate) async fn run(command: Command, process: &Process) -> anyhow::Result<()> {
    match command {
        Command::Add { email, name, role, password } => {
            let made = password.is_none();
            let password = password.unwrap_or_else(auth::make_password);
            let user = new(process, &email, &name, role, &password)?;
            let mut tx = process.db.begin().await?;
            match accounts::create(&mut tx, &user, &by(process)).await {
                Err(edit::Error::Taken(_)) => {
                    anyhow::bail!("there is an account with the address {} already", user.email)
                }
                added => added?,
            }
            let _ = tx.commit().await?;
            println!("Added {} ({role}).", user.email);
            if made {
                println!("Password: {password}\nIt is not shown again.");
            }
        }
        Command::List => {
            let all = users::list(&process.db).await?;
            if all.is_empty() {
                println!("There are no accounts yet; `dogwatch user add` makes one.");
            }
            for user in all {
                let disabled = user.disabled_at.map_or("", |_| "  disabled");
                println!("{:<32} {:<16} {}{disabled}", user.email, user.role, user.name);
            }
        }
        Command::Disable { email } => {
            let found = users::by_email(&process.db, &email).await?.filter(|user| user.disabled_at.is_none());
            let user =
                found.with_context(|| format!("there is no enabled account with the address {email}"))?;
            let (mut tx, by) = (process.db.begin().await?, by(process));
            accounts::change(&mut tx, user.id, None, &by, |user| user.disabled_at = Some(by.now)).await?;
            let _ = tx.commit().await?;
            println!("Disabled {email}; tokens in use stop working within seconds.");
        }
    }
    Ok(())
}

/// Makes an account, not yet stored.
pub(crate) fn new(
    process: &Process,
    email: &str,
    name: &str,
    role: Role,
    password: &str,
) -> anyhow::Result<User> {
    let email = email.trim().to_lowercase();
    anyhow::ensure!(shared::domain::is_mail_address(&email), "--email must be one mail address");
    anyhow::ensure!(
        !name.trim().is_empty() && !name.contains(char::is_control),
        "--name must be one line, not empty"
    );
    anyhow::ensure!(password.chars().count() >= 8, "--password must be at least 8 characters");
    let password_hash = auth::hash_password(password)
        .map_err(|error| anyhow::anyhow!("cannot hash the password: {error}"))?;
    let created_at = process.desk.clock.now();
    Ok(User {
        id: UserId::new(),
        email,
        name: name.trim().into(),
        role,
        password_hash,
        created_at,
        disabled_at: None,
        version: 1,
        password_changed_at: None,
    })
}

/// An operator at the command line, as one who changes accounts.
pub(crate) fn by(process: &Process) -> accounts::By {
    accounts::By { actor: None, ip: None, now: process.desk.clock.now() }
}

/// Prints a token for an account.
pub(crate) async fn print_token(process: &Process, email: &str, ttl: Duration) -> anyhow::Result<()> {
    let user = users::by_email(&process.db, email)
        .await?
        .with_context(|| format!("there is no account with the address {email}"))?;
    anyhow::ensure!(user.disabled_at.is_none(), "the account {email} is disabled");
    let secret = process.config.jwt_secret.as_ref().context("JWT_SECRET is missing")?;
    let now = process.desk.clock.now();
    let token = auth::Tokens::new(secret).issue(user.id, now, now + TimeDelta::from_std(ttl)?)?;
    println!("{token}");
    Ok(())
}
