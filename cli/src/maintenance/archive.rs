//! A backup as a file: a tar of the database, the attachments and, at the end, a manifest of both.
//!
//! Members are hashed while they are written, so nothing is read twice; what breaks off has no manifest and is no
//! backup. The last member is the checksum of the manifest itself, in the form that `sha256sum` writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::store::maintenance::Engine;
use shared::time::Timestamp;

/// The form of archive that this program writes; it reads all up to it.
const FORMAT: u32 = 1;

/// The dump made by `pg_dump`.
pub(super) const DUMP: &str = "database.dump";
/// The SQLite file.
pub(super) const FILE: &str = "database.sqlite";
/// What tokens are signed with, where the data folder keeps it.
pub(super) const SECRET: &str = "jwt_secret";
/// What the names of attachments begin with.
pub(super) const ATTACHMENTS: &str = "attachments/";

const MANIFEST: &str = "manifest.json";
const CHECKSUM: &str = "manifest.sha256";

/// A manifest of a million attachments is shorter.
const LONGEST_MANIFEST: u64 = 512 * 1024 * 1024;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Form of the archive.
    pub(super) format: u32,
    /// Version of the program that wrote it.
    pub(super) dogwatch: String,
    pub(super) engine: Engine,
    /// Like `15.4`.
    pub(super) engine_version: String,
    /// The last migration of the database.
    pub(super) schema: i64,
    /// The moment it shows.
    pub(super) created_at: Timestamp,
    /// Rows by table.
    pub(super) tables: BTreeMap<String, i64>,
    pub(super) attachments: Attachments,
    /// All files but the manifest, in order.
    pub(super) members: Vec<Member>,
}

impl Manifest {
    pub(super) fn rows(&self) -> i64 {
        self.tables.values().sum()
    }

    fn member(&self, path: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.path == path)
    }

    /// Bytes of all members.
    pub(super) fn bytes(&self) -> u64 {
        self.members.iter().map(|member| member.bytes).sum()
    }
}

/// Whether attachments are in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Attachments {
    /// All of them.
    Included,
    /// They lie in an object storage, which has backups of its own.
    LeftOut,
}

/// A file in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) path: String,
    pub(super) bytes: u64,
    /// In hexadecimal.
    pub(super) sha256: String,
}

/// What a manifest says besides its members.
pub(super) struct Contents {
    pub(super) engine: Engine,
    pub(super) engine_version: String,
    pub(super) schema: i64,
    pub(super) created_at: Timestamp,
    pub(super) tables: BTreeMap<String, i64>,
    pub(super) attachments: Attachments,
}

/// Writes an archive that nobody else may read.
pub(super) struct Writer {
    tar: tar::Builder<BufWriter<File>>,
    members: Vec<Member>,
}

impl Writer {
    /// Begins a file that must not exist.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { tar: tar::Builder::new(BufWriter::with_capacity(1 << 20, file)), members: Vec::new() })
    }

    /// Adds a file under a name; `seen` is told of the bytes as they pass.
    pub(super) fn add(&mut self, name: &str, file: &Path, seen: impl FnMut(u64)) -> anyhow::Result<()> {
        let opened = File::open(file).and_then(|opened| Ok((opened.metadata()?.len(), opened)));
        let (bytes, opened) = opened.with_context(|| format!("cannot read {}", file.display()))?;
        let mut read = Hashing::new(opened.take(bytes), seen);
        self.tar.append_data(&mut header(bytes), name, &mut read).context("cannot write the backup")?;
        let (sha256, read) = read.finish();
        ensure!(read == bytes, "{} became shorter while it was read: take the backup again", file.display());
        self.members.push(Member { path: name.to_owned(), bytes, sha256 });
        Ok(())
    }

    /// Adds the manifest and makes everything durable.
    pub(super) fn finish(mut self, contents: Contents) -> anyhow::Result<Manifest> {
        let Contents { engine, engine_version, schema, created_at, tables, attachments } = contents;
        let dogwatch = env!("CARGO_PKG_VERSION").to_owned();
        let members = std::mem::take(&mut self.members);
        let manifest = Manifest {
            format: FORMAT,
            dogwatch,
            engine,
            engine_version,
            schema,
            created_at,
            tables,
            attachments,
            members,
        };
        let text = serde_json::to_vec_pretty(&manifest)?;
        let checksum = format!("{}  {MANIFEST}\n", hex(&Sha256::digest(&text)));
        for (name, data) in [(MANIFEST, text.as_slice()), (CHECKSUM, checksum.as_bytes())] {
            self.tar
                .append_data(&mut header(data.len() as u64), name, data)
                .context("cannot write the backup")?;
        }
        let written = self
            .tar
            .into_inner()
            .and_then(|buffer| buffer.into_inner().map_err(io::IntoInnerError::into_error));
        written.and_then(|file| file.sync_all()).context("cannot write the backup")?;
        Ok(manifest)
    }
}

fn header(bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    header
}

/// Reads the manifest of an archive, without what it lists.
///
/// # Errors
/// When the file is no backup, broke off, or was written by a newer program.
pub(super) fn manifest(path: &Path) -> anyhow::Result<Manifest> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut text, mut checksum) = (None, None);
    let mut archive = tar::Archive::new(BufReader::new(file));
    let broken = || format!("{} is no whole backup: take another one", path.display());
    for entry in archive.entries_with_seek().with_context(broken)? {
        let mut entry = entry.with_context(broken)?;
        let slot = match entry.path().with_context(broken)?.to_str() {
            Some(MANIFEST) => &mut text,
            Some(CHECKSUM) => &mut checksum,
            _ => continue,
        };
        let mut data = Vec::new();
        entry.by_ref().take(LONGEST_MANIFEST).read_to_end(&mut data).with_context(broken)?;
        *slot = Some(data);
    }
    let (text, checksum) = text.zip(checksum).with_context(broken)?;
    let right = format!("{}  {MANIFEST}\n", hex(&Sha256::digest(&text)));
    ensure!(checksum == right.as_bytes(), "{} is damaged: its manifest was changed", path.display());
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Format { format } = serde_json::from_slice(&text).with_context(broken)?;
    ensure!(format <= FORMAT, "{} was written by a newer dogwatch: restore it with that one", path.display());
    serde_json::from_slice(&text).with_context(broken)
}

/// Reads every member and hands it to `take`, which need not read it to its end; `seen` is told of the bytes.
///
/// # Errors
/// When any member is missing, was added or is not what the manifest says; by then the ones before were handed out.
pub(super) fn read(
    path: &Path,
    manifest: &Manifest,
    mut seen: impl FnMut(u64),
    mut take: impl FnMut(&str, &mut dyn Read) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.rewind()?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 20, file));
    let damaged = |what: &str| format!("{} is damaged: {what}; restore another backup", path.display());
    let mut found = 0;
    for entry in archive.entries().with_context(|| damaged("it is no archive"))? {
        let entry = entry.with_context(|| damaged("it broke off"))?;
        let name = entry.path().ok().and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_default();
        if [MANIFEST, CHECKSUM].contains(&&*name) {
            continue;
        }
        let Some(member) = manifest.member(&name).filter(|member| is_known(&member.path)) else {
            bail!(damaged("it holds a file that its manifest does not list"));
        };
        let mut read = Hashing::new(entry, &mut seen);
        take(&name, &mut read)?;
        io::copy(&mut read, &mut io::sink()).with_context(|| damaged("it broke off"))?;
        let (sha256, bytes) = read.finish();
        ensure!(
            sha256 == member.sha256 && bytes == member.bytes,
            damaged(&format!("{name} is not what its manifest says"))
        );
        found += 1;
    }
    ensure!(found == manifest.members.len(), damaged("a file of its manifest is missing"));
    Ok(())
}

/// Whether a name may stand in an archive: nothing that leads out of a folder.
fn is_known(name: &str) -> bool {
    let inner = name.strip_prefix(ATTACHMENTS);
    let harmless = |path: &str| {
        let mut parts = Path::new(path).components();
        !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
    };
    inner.map_or_else(|| [DUMP, FILE, SECRET].contains(&name), harmless)
}

/// Hashes and counts what is read through it.
struct Hashing<R, F> {
    inner: R,
    seen: F,
    digest: Sha256,
    bytes: u64,
}

impl<R: Read, F: FnMut(u64)> Hashing<R, F> {
    fn new(inner: R, seen: F) -> Self {
        Self { inner, seen, digest: Sha256::new(), bytes: 0 }
    }

    fn finish(self) -> (String, u64) {
        (hex(&self.digest.finalize()), self.bytes)
    }
}

impl<R: Read, F: FnMut(u64)> Read for Hashing<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.update(&buffer[..count]);
        self.bytes += count as u64;
        (self.seen)(count as u64);
        Ok(count)
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes what is read to a file beside its place and then renames it there, readable by nobody else.
pub(super) fn write_file(to: &Path, from: &mut dyn Read) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", to.display());
    let folder = to.parent().with_context(cannot)?;
    std::fs::create_dir_all(folder).with_context(cannot)?;
    let mut file =
        tempfile::Builder::new().prefix(super::LEFTOVER).tempfile_in(folder).with_context(cannot)?;
    io::copy(from, &mut file)
        .and_then(|_| file.flush())
        .and_then(|()| file.as_file().sync_all())
        .with_context(cannot)?;
    file.persist(to).map_err(|error| error.error).with_context(cannot)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Contents {
        Contents {
            engine: Engine::Sqlite,
            engine_version: "3.50.0".into(),
            schema: 4,
            created_at: Timestamp::UNIX_EPOCH,
            tables: [("tickets".to_owned(), 3)].into(),
            attachments: Attachments::Included,
        }
    }

    /// An archive of a database and one attachment, with its folder.
    fn archive() -> (tempfile::TempDir, std::path::PathBuf, Manifest) {
        let folder = tempfile::tempdir().unwrap();
        let (data, path) = (folder.path().join("data"), folder.path().join("a.dwbackup"));
        std::fs::write(&data, vec![7; 100_000]).unwrap();
        let mut writer = Writer::create(&path).unwrap();
        writer.add(FILE, &data, |_| ()).unwrap();
        let long = format!("{ATTACHMENTS}{}/x", "deep".repeat(40));
        writer.add(&long, &data, |_| ()).unwrap();
        let written = writer.finish(contents()).unwrap();
        (folder, path, written)
    }

    fn read_all(path: &Path) -> anyhow::Result<Vec<(String, usize)>> {
        let manifest = manifest(path)?;
        let mut found = Vec::new();
        read(
            path,
            &manifest,
            |_| (),
            |name, data| {
                let mut all = Vec::new();
                data.read_to_end(&mut all)?;
                found.push((name.to_owned(), all.len()));
                Ok(())
            },
        )?;
        Ok(found)
    }

    #[test]
    fn an_archive_gives_back_what_was_put_in() {
        let (_folder, path, written) = archive();
        assert_eq!(manifest(&path).unwrap(), written);
        let found = read_all(&path).unwrap();
        assert_eq!(found[0], (FILE.to_owned(), 100_000));
        assert_eq!(found.len(), 2);
        assert!(Writer::create(&path).is_err(), "nothing is overwritten");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn whatever_byte_of_the_contents_is_changed_it_is_noticed() {
        let (_folder, path, _) = archive();
        let whole = std::fs::read(&path).unwrap();
        let text = |needle: &[u8]| whole.windows(needle.len()).position(|window| window == needle).unwrap();
        for at in [600, 50_000, 103_000, 150_000, text(b"\"schema\": 4") + 10, text(b"\"tickets\": 3") + 11] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).unwrap();
            assert!(read_all(&path).is_err(), "byte {at}");
        }
        for length in [0, 100, 600, 100_000, 150_000, whole.len() - 3_000] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(read_all(&path).is_err(), "the first {length} bytes");
        }
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for good in [DUMP, FILE, SECRET, "attachments/ab/cd", "attachments/..x"] {
            assert!(is_known(good), "{good}");
        }
        for bad in [
            "",
            "x",
            "attachments/",
            "attachments/../x",
            "attachments//etc/passwd",
            "/etc/passwd",
            "../jwt_secret",
            "attachments/./../x",
        ] {
            assert!(!is_known(bad), "{bad}");
        }
    }
}
