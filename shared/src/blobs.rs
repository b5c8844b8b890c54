//! Files, kept by their content: in a folder, or in a bucket of a cloud.
//!
//! What is being uploaded lies under `tmp/` and gets its place only when it is whole, so nobody ever reads half a file,
//! and what an upload that broke off leaves behind can be told apart (ADR 0012).

use std::fmt::Write;
use std::ops::Range;
use std::path::{Path as Folder, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::ids::BlobId;
use crate::time::Timestamp;

/// How much of a file is held in memory while it is stored: clouds take no smaller parts.
const PART: usize = 5 * 1024 * 1024;

/// Where uploads lie that are not finished.
const UNFINISHED: &str = "tmp";

/// Variables that name credentials and endpoints of clouds. Others are not looked at: a cloud's `TOKEN` may be anybody's.
const CLOUDS: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// What went wrong between us and the place where files are kept.
#[derive(Debug, thiserror::Error)]
#[error("the files cannot be reached: {0}")]
pub struct Error(#[from] object_store::Error);

/// Why a file was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutError<E> {
    /// It is longer than it may be.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// It broke off, or was refused on the way.
    #[error("{0}")]
    Source(E),
    /// The place where files are kept did not take it.
    #[error(transparent)]
    Store(#[from] Error),
}

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// Where files are kept. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// The folder, where it is one.
    folder: Option<PathBuf>,
}

/// A file that was taken in, but has no place yet. [`Blobs::keep`] or [`Blobs::discard`] it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    unfinished: String,
    /// Its length in bytes.
    pub size: u64,
    /// What its content hashes to, in lower-case hex.
    pub sha256: String,
}

/// A file in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where it lies: names it to the other calls.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// What its content hashes to, in lower-case hex.
    pub sha256: String,
}

/// Where a content lies: `sha256/ab/cdef…`.
#[must_use]
pub fn key_of(sha256: &str) -> String {
    let (first, rest) = sha256.split_at_checked(2).unwrap_or((sha256, ""));
    format!("sha256/{first}/{rest}")
}

impl Blobs {
    /// Opens what a URL names: `file://FOLDER`, which is made by the first file, or what `object_store` parses
    /// (`s3://BUCKET/PREFIX`, `gs://…`, `az://…`), with the credentials that the environment names.
    ///
    /// # Errors
    /// When it is no such URL, or settings of the cloud are missing.
    pub fn open(url: &str) -> Result<Self> {
        if let Some(folder) = url.strip_prefix("file://") {
            let unusable = |source: std::io::Error| object_store::Error::Generic {
                store: "folder",
                source: Box::new(source),
            };
            let folder = std::path::absolute(folder).map_err(unusable)?;
            let within = Path::from_absolute_path(&folder).map_err(object_store::Error::from)?;
            let store = PrefixStore::new(LocalFileSystem::new().with_fsync(true), within);
            return Ok(Self { store: Arc::new(store), folder: Some(folder) });
        }
        let url = url::Url::parse(url)
            .map_err(|source| object_store::Error::Generic { store: "URL", source: Box::new(source) })?;
        let settings = std::env::vars_os().filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            CLOUDS.iter().any(|prefix| name.starts_with(prefix)).then_some((name, value))
        });
        let (store, within) = object_store::parse_url_opts(&url, settings)?;
        Ok(Self { store: Arc::new(PrefixStore::new(store, within)), folder: None })
    }

    /// Takes in a file of at most `limit` bytes, without holding more than a part of it in memory. Nothing stays of one
    /// that is refused.
    pub async fn upload<E>(
        &self,
        content: impl Stream<Item = std::result::Result<Bytes, E>> + Send,
        limit: u64,
    ) -> std::result::Result<Upload, PutError<E>> {
        let unfinished = format!("{UNFINISHED}/{}", BlobId::new());
        let (size, sha256) = self.write(&unfinished, content, limit).await?;
        Ok(Upload { unfinished, size, sha256 })
    }

    /// Gives a file its place, by its content: the same content is kept once.
    pub async fn keep(&self, upload: Upload) -> Result<Stored> {
        let Upload { unfinished, size, sha256 } = upload;
        let key = key_of(&sha256);
        // Written even if it is there: nobody can tell the two apart, and one that was damaged is whole again.
        self.store.rename(&Path::from(unfinished), &Path::from(key.as_str())).await?;
        Ok(Stored { key, size, sha256 })
    }

    /// Forgets a file that was taken in.
    pub async fn discard(&self, upload: Upload) -> Result<()> {
        self.delete(&upload.unfinished).await
    }

    /// Stores a file of at most `limit` bytes by its content.
    pub async fn put<E>(
        &self,
        content: impl Stream<Item = std::result::Result<Bytes, E>> + Send,
        limit: u64,
    ) -> std::result::Result<Stored, PutError<E>> {
        let upload = self.upload(content, limit).await?;
        Ok(self.keep(upload).await?)
    }

    /// Stores a file of at most `limit` bytes under a name of the caller's, such as `imports/ID`, in place of what was
    /// there.
    pub async fn put_named<E>(
        &self,
        key: &str,
        content: impl Stream<Item = std::result::Result<Bytes, E>> + Send,
        limit: u64,
    ) -> std::result::Result<Stored, PutError<E>> {
        let Upload { unfinished, size, sha256 } = self.upload(content, limit).await?;
        let moved = self.store.rename(&Path::from(unfinished), &Path::from(key)).await;
        moved.map_err(Error)?;
        Ok(Stored { key: key.into(), size, sha256 })
    }

    /// Reads a file, or the part of it that lies in a range, bit by bit; `None` when there is no such file.
    pub async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        let options = GetOptions::new().with_range(range.map(GetRange::Bounded));
        match self.store.get_opts(&Path::from(key), options).await {
            Ok(found) => Ok(Some(found.into_stream().map_err(Error).boxed())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells how many bytes a file has; `None` when there is no such file.
    pub async fn size(&self, key: &str) -> Result<Option<u64>> {
        match self.store.head(&Path::from(key)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a file; one that is gone already is as good.
    pub async fn delete(&self, key: &str) -> Result<()> {
        match self.store.delete(&Path::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes what uploads left behind that broke off before a time; returns how many. Parts of uploads to a cloud
    /// that were cut off with the process are not seen here: buckets have a rule of their own for those.
    pub async fn sweep(&self, before: Timestamp) -> Result<u64> {
        if let Some(folder) = self.folder.clone() {
            let swept =
                tokio::task::spawn_blocking(move || sweep_folder(&folder.join(UNFINISHED), before)).await;
            return Ok(swept.unwrap_or_default());
        }
        let mut found = self.store.list(Some(&Path::from(UNFINISHED)));
        let mut swept = 0;
        while let Some(left) = found.try_next().await? {
            if left.last_modified < before {
                self.delete(left.location.as_ref()).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Writes a file under a key and returns its length and hash.
    async fn write<E>(
        &self,
        key: &str,
        content: impl Stream<Item = std::result::Result<Bytes, E>> + Send,
        limit: u64,
    ) -> std::result::Result<(u64, String), PutError<E>> {
        let path = Path::from(key);
        let mut writer =
            BufWriter::with_capacity(Arc::clone(&self.store), path, PART).with_max_concurrency(1);
        let mut hash = Sha256::new();
        let mut size = 0_u64;
        let mut content = std::pin::pin!(content);
        let refused = loop {
            match content.next().await {
                None => break None,
                Some(Err(error)) => break Some(PutError::Source(error)),
                Some(Ok(bytes)) => {
                    size = size.saturating_add(bytes.len() as u64);
                    if size > limit {
                        break Some(PutError::TooLarge(limit));
                    }
                    hash.update(&bytes);
                    if let Err(error) = writer.write_all(&bytes).await {
                        break Some(PutError::Store(failed(error)));
                    }
                }
            }
        };
        let refused = match refused {
            Some(why) => Some(why),
            None => writer.shutdown().await.err().map(|error| PutError::Store(failed(error))),
        };
        let Some(why) = refused else { return Ok((size, hex(&hash.finalize()))) };
        if let Err(error) = writer.abort().await {
            tracing::debug!(%error, "an upload could not be called off; what is left of it is swept later");
        }
        Err(why)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error(object_store::Error::Generic { store: "upload", source: Box::new(error) })
}

/// Writes bytes in lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Sees more than a list does, which leaves out files that were being written when a process died.
fn sweep_folder(folder: &Folder, before: Timestamp) -> u64 {
    let Ok(left) = std::fs::read_dir(folder) else { return 0 };
    let is_old = |path: &PathBuf| {
        let written = path.metadata().and_then(|meta| meta.modified());
        written.is_ok_and(|at| Timestamp::from(at) < before)
    };
    let old = left.filter_map(|entry| Some(entry.ok()?.path())).filter(is_old);
    old.filter(|path| std::fs::remove_file(path).is_ok()).count() as u64
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    fn folder() -> (tempfile::TempDir, Blobs) {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&format!("file://{}/files", folder.path().display())).unwrap();
        (folder, blobs)
    }

    fn pieces(
        pieces: &[&'static [u8]],
    ) -> impl Stream<Item = std::result::Result<Bytes, Infallible>> + use<> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        stream::iter(pieces)
    }

    fn files(folder: &Folder) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else {
                found.push(path.display().to_string());
            }
        }
        found
    }

    async fn read(blobs: &Blobs, key: &str, range: Option<Range<u64>>) -> Vec<u8> {
        let found: Vec<Bytes> = blobs.get(key, range).await.unwrap().unwrap().try_collect().await.unwrap();
        found.concat()
    }

    #[tokio::test]
    async fn the_same_content_is_kept_once_and_read_in_parts() {
        let (folder, blobs) = folder();
        let first = blobs.put(pieces(&[b"abc", b"def"]), 6).await.unwrap();
        let second = blobs.put(pieces(&[b"abcdef"]), 6).await.unwrap();
        assert_eq!(first, second);
        assert_eq!(first.sha256, "bef57ec7f53a6d40beb640a780a639c83bc29ac8a9816f1fc6c5c6dcd93c4721");
        assert_eq!(first.key, key_of(&first.sha256));
        assert_eq!(files(folder.path()).len(), 1);
        assert_eq!(read(&blobs, &first.key, None).await, b"abcdef");
        assert_eq!(read(&blobs, &first.key, Some(2..4)).await, b"cd");
        assert_eq!(blobs.size(&first.key).await.unwrap(), Some(6));
        blobs.delete(&first.key).await.unwrap();
        blobs.delete(&first.key).await.unwrap();
        assert!(blobs.get(&first.key, None).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn nothing_stays_of_what_is_too_large_or_breaks_off() {
        let (folder, blobs) = folder();
        let refused = blobs.put(pieces(&[b"abc", b"def"]), 5).await;
        assert!(matches!(refused, Err(PutError::TooLarge(5))), "{refused:?}");
        // More than a part, so that some of it is written before it breaks off.
        let part = Bytes::from(vec![7_u8; PART]);
        let broken = stream::iter([Ok(part.clone()), Ok(part), Err("cut off")]);
        let refused = blobs.put(broken, u64::MAX).await;
        assert!(matches!(refused, Err(PutError::Source("cut off"))), "{refused:?}");
        assert_eq!(files(folder.path()), [] as [String; 0]);
    }

    #[tokio::test]
    async fn a_file_of_several_parts_is_whole() {
        let (folder, blobs) = folder();
        let chunk = Bytes::from((0..=255_u8).cycle().take(1_000_000).collect::<Vec<_>>());
        let content = stream::iter((0..12).map(|_| Ok::<_, Infallible>(chunk.clone())));
        let stored = blobs.put_named("imports/1", content, 12_000_000).await.unwrap();
        assert_eq!((stored.key.as_str(), stored.size), ("imports/1", 12_000_000));
        let whole = read(&blobs, "imports/1", None).await;
        assert_eq!(stored.sha256, hex(&Sha256::digest(&whole)));
        assert_eq!(files(folder.path()).len(), 1);
    }

    #[tokio::test]
    async fn only_old_leftovers_are_swept() {
        let (folder, blobs) = folder();
        let kept = blobs.put(pieces(&[b"kept"]), 10).await.unwrap();
        let _left = blobs.upload(pieces(&[b"left"]), 10).await.unwrap();
        std::fs::write(folder.path().join("files/tmp/cut-off#1"), b"half").unwrap();
        assert_eq!(blobs.sweep(Timestamp::MIN_UTC).await.unwrap(), 0);
        assert_eq!(blobs.sweep(Timestamp::MAX_UTC).await.unwrap(), 2);
        assert_eq!(read(&blobs, &kept.key, None).await, b"kept");
    }
}
