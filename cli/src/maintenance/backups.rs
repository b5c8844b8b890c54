//! Lists backups.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

use super::archive::{self, Manifest};
use super::backup::EXTENSION;
use super::output::{Output, size};
use super::place::Place;

/// `dogwatch backups`
#[derive(Debug, Args)]
pub(crate) struct Backups {
    /// Folder to look into [default: where `backup` writes]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Read them to their ends, to find damaged ones
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Listed {
    file: PathBuf,
    bytes: u64,
    /// What is wrong with it.
    problem: Option<String>,
    #[serde(flatten)]
    manifest: Option<Manifest>,
}

/// Exits 1 when any of them cannot be used.
pub(crate) fn run(args: &Backups, place: &Place) -> anyhow::Result<ExitCode> {
    let folder = args.dir.clone().unwrap_or_else(|| place.backups());
    let mut all = Vec::new();
    for path in paths(&folder, args.dir.is_some())? {
        all.push(look(path, args)?);
    }
    args.output.print(&all, || {
        if all.is_empty() {
            println!("There are no backups in {}; `dogwatch backup` takes one.", folder.display());
        }
        all.iter().for_each(say);
    })?;
    let usable = all.iter().all(|listed| listed.problem.is_none());
    Ok(if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn paths(folder: &Path, must_exist: bool) -> anyhow::Result<Vec<PathBuf>> {
    if !must_exist && !folder.exists() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot read the folder {}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        paths.extend(path.extension().is_some_and(|extension| extension == EXTENSION).then_some(path));
    }
    paths.sort();
    Ok(paths)
}

fn look(path: PathBuf, args: &Backups) -> anyhow::Result<Listed> {
    let bytes = path.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
    let manifest = archive::manifest(&path);
    let verified = match &manifest {
        Ok(manifest) if args.verify => {
            let bar = args.output.bytes("verifying", manifest.bytes());
            archive::read(&path, manifest, |bytes| bar.inc(bytes), |_, _| Ok(()))
        }
        _ => Ok(()),
    };
    let problem = manifest.as_ref().err().or(verified.as_ref().err()).map(ToString::to_string);
    Ok(Listed { file: path, bytes, problem, manifest: manifest.ok() })
}

fn say(listed: &Listed) {
    let name = listed.file.file_name().unwrap_or_default().to_string_lossy();
    let size = size(listed.bytes);
    match (&listed.problem, &listed.manifest) {
        (None, Some(m)) => println!(
            "{}  {:<10} {size:>11}  schema {:<3} {:>9} rows  {name}",
            m.created_at.format("%Y-%m-%d %H:%M:%S"),
            m.engine.title(),
            m.schema,
            m.rows()
        ),
        (problem, _) => {
            println!("{:<19}  {:<10} {size:>11}  {}", "DAMAGED", "", problem.as_deref().unwrap_or(&name));
        }
    }
}
