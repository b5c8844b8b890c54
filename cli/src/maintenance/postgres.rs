//! PostgreSQL's own programs, which dump and restore. Nothing secret stands on their command lines.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use percent_encoding::percent_decode_str;
use shared::store::maintenance::CLEAR;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Where packages install them, besides `PATH`.
const FOLDERS: [&str; 4] = ["/usr/lib/postgresql", "/usr", "/opt/homebrew/opt", "/usr/local/opt"];

/// A folder with `pg_dump`, `pg_restore` and `psql` of one version.
#[derive(Debug)]
pub(super) struct Tools {
    folder: PathBuf,
}

/// The major version: 15 of `15.4`.
pub(super) fn major(version: &str) -> u32 {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

impl Tools {
    /// Finds the oldest programs that are not older than a server, or a dump.
    ///
    /// # Errors
    /// When there are none, saying what to install.
    pub(super) async fn find(at_least: u32) -> anyhow::Result<Self> {
        let mut versions = Vec::new();
        let mut best: Option<(u32, PathBuf)> = None;
        for folder in folders() {
            let Some(version) = version(&folder).await else { continue };
            versions.push(version.to_string());
            if version >= at_least && best.as_ref().is_none_or(|(other, _)| version < *other) {
                best = Some((version, folder));
            }
        }
        if let Some((_, folder)) = best {
            return Ok(Self { folder });
        }
        let found = if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
        bail!(
            "pg_dump, pg_restore and psql of version {at_least} or newer are needed, found {found}: install \
             postgresql-client-{at_least}, or put them on PATH"
        )
    }

    /// Dumps what an exported snapshot shows to a file.
    pub(super) async fn dump(&self, url: &str, snapshot: &str, to: &Path) -> anyhow::Result<()> {
        let mut command = self.command("pg_dump", url)?;
        command.args([
            "--format=custom",
            "--no-owner",
            "--no-privileges",
            "--no-password",
            "--lock-wait-timeout=60s",
        ]);
        command.arg(format!("--snapshot={snapshot}")).arg("--file").arg(to).stdout(Stdio::null());
        let done = command.output().await.context("cannot run pg_dump")?;
        ensure!(done.status.success(), "pg_dump failed: {}", complaint(&done.stderr));
        Ok(())
    }

    /// Replaces everything in the database by a dump, in one transaction: a restore that dies has changed nothing.
    ///
    /// # Errors
    /// When a program fails; then nothing was changed.
    pub(super) async fn restore(&self, url: &str, dump: &Path, seen: impl FnMut(u64)) -> anyhow::Result<()> {
        let list = self.list(url, dump).await?;
        let mut psql = self.command("psql", url)?;
        psql.args(["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--file=-"]);
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("cannot run psql")?;
        let mut script = self.command("pg_restore", url)?;
        script
            .args(["--no-owner", "--no-privileges", "--no-comments", "--file=-", "--use-list"])
            .arg(&list)
            .arg(dump);
        let mut script = script.stdout(Stdio::piped()).spawn().context("cannot run pg_restore")?;
        let (said_by_psql, said_by_script) = (errors(&mut psql), errors(&mut script));

        // psql takes the end of its input for the end of the script: without this last word, whatever comes before
        // is undone, also when we die.
        let fed = feed(&mut psql, &mut script, seen);
        let (fed, script_said, psql_said) = tokio::join!(fed, said_by_script, said_by_psql);
        let (scripted, ran) = (script.wait().await?, psql.wait().await?);
        ensure!(scripted.success() || !ran.success(), "pg_restore failed: {}", complaint(&script_said));
        ensure!(ran.success(), "psql failed, and nothing was changed: {}", complaint(&psql_said));
        fed.context("cannot feed psql")
    }

    /// Writes the list of what to restore: all but the schema itself, which stays.
    async fn list(&self, url: &str, dump: &Path) -> anyhow::Result<PathBuf> {
        let listed = self.command("pg_restore", url)?.arg("--list").arg(dump).output().await;
        let listed = listed.context("cannot run pg_restore")?;
        ensure!(listed.status.success(), "pg_restore failed: {}", complaint(&listed.stderr));
        let text = String::from_utf8_lossy(&listed.stdout);
        let kept = text.lines().filter(|line| !line.contains(" SCHEMA - "));
        let path = dump.with_extension("list");
        std::fs::write(&path, kept.collect::<Vec<_>>().join("\n"))?;
        Ok(path)
    }

    fn command(&self, program: &str, url: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(self.folder.join(program));
        command.envs(connection(url)?).env("PGAPPNAME", format!("dogwatch {program}"));
        command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }
}

async fn feed(psql: &mut Child, script: &mut Child, mut seen: impl FnMut(u64)) -> anyhow::Result<()> {
    let (mut input, mut output) =
        (psql.stdin.take().context("no input")?, script.stdout.take().context("no output")?);
    let mut buffer = vec![0; 1 << 16];
    input.write_all(b"BEGIN;\nSET LOCAL lock_timeout = '30s';\n").await?;
    input.write_all(CLEAR.as_bytes()).await?;
    loop {
        let count = output.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        input.write_all(&buffer[..count]).await?;
        seen(count as u64);
    }
    if script.wait().await?.success() {
        input.write_all(b"\nCOMMIT;\n").await?;
    }
    input.shutdown().await?;
    Ok(())
}

/// Reads what a program complains of, so that it never waits for us to.
fn errors(child: &mut Child) -> impl Future<Output = Vec<u8>> + use<> {
    let errors = child.stderr.take();
    async move {
        let mut said = Vec::new();
        if let Some(mut errors) = errors {
            let _ = errors.read_to_end(&mut said).await;
        }
        said
    }
}

/// The line that says what went wrong.
fn complaint(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().find(|line| line.to_lowercase().contains("error:")).or_else(|| lines().next());
    line.unwrap_or("it said nothing").to_owned()
}

fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for parent in FOLDERS {
        let inside = std::fs::read_dir(parent).into_iter().flatten().flatten();
        folders.extend(inside.map(|entry| entry.path().join("bin")));
    }
    folders.retain(|folder| ["pg_dump", "pg_restore", "psql"].iter().all(|name| folder.join(name).is_file()));
    folders
}

async fn version(folder: &Path) -> Option<u32> {
    let said =
        Command::new(folder.join("pg_dump")).arg("--version").stdin(Stdio::null()).output().await.ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let number = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(major(number)).filter(|version| *version > 0)
}

/// A database address as the variables that PostgreSQL's programs read.
fn connection(url: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    let url = url::Url::parse(url).ok().context("DATABASE_URL cannot be read")?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut found = vec![
        ("PGHOST", url.host_str().map(|host| decoded(host.trim_matches(['[', ']'])))),
        ("PGPORT", url.port().map(|port| port.to_string())),
        ("PGUSER", Some(decoded(url.username()))),
        ("PGPASSWORD", url.password().map(decoded)),
        ("PGDATABASE", Some(decoded(url.path().trim_start_matches('/')))),
    ];
    for (key, value) in url.query_pairs() {
        let variable = match &*key {
            "host" | "hostaddr" => "PGHOST",
            "port" => "PGPORT",
            "user" => "PGUSER",
            "password" => "PGPASSWORD",
            "dbname" => "PGDATABASE",
            "sslmode" | "ssl-mode" => "PGSSLMODE",
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" => "PGSSLROOTCERT",
            "sslcert" | "ssl-cert" => "PGSSLCERT",
            "sslkey" | "ssl-key" => "PGSSLKEY",
            "options" => "PGOPTIONS",
            _ => continue,
        };
        found.push((variable, Some(value.into_owned())));
    }
    let set =
        |(variable, value): (_, Option<String>)| Some((variable, value.filter(|value| !value.is_empty())?));
    Ok(found.into_iter().filter_map(set).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_variables() {
        let url = "postgres://ann%40b:p%2Fw+%25@db.example.org:5433/dog%20watch?ssl-mode=require&statement-cache-capacity=0";
        let expected = [
            ("PGHOST", "db.example.org"),
            ("PGPORT", "5433"),
            ("PGUSER", "ann@b"),
            ("PGPASSWORD", "p/w+%"),
            ("PGDATABASE", "dog watch"),
            ("PGSSLMODE", "require"),
        ];
        let found = connection(url).unwrap();
        assert_eq!(found, expected.map(|(name, value)| (name, value.to_owned())));
        let socket = connection("postgres:///dogwatch?host=/run/postgresql").unwrap();
        assert!(socket.contains(&("PGHOST", "/run/postgresql".into())), "{socket:?}");
        assert!(connection("nonsense").is_err());
    }

    #[test]
    fn of_what_a_program_says_the_error_is_told() {
        let said =
            b"pg_dump: last built-in OID is 16383\npg_dump: error: connection failed\npg_dump: detail: x\n";
        assert_eq!(complaint(said), "pg_dump: error: connection failed");
        assert_eq!(complaint(b"\n"), "it said nothing");
    }

    #[test]
    fn versions_are_compared_by_their_major() {
        assert_eq!(major("17.5"), 17);
        assert_eq!(major("18beta1"), 18);
        assert_eq!(major("x"), 0);
    }
}
