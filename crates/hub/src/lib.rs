//! Models and data sets from a hub that speaks Hugging Face's protocol.
//!
//! Files lie in Hugging Face's own cache layout, so what its Python libraries fetched is found and the other way
//! round: `<cache>/datasets--owner--name/{refs,snapshots,blobs}`. Beside them `medley/<commit>.json` lists what a commit
//! holds, so that offline one knows whether a snapshot is complete.
//!
//! The client is our own: it knows the length and the SHA-256 of every file before fetching it, escapes names that are
//! not ASCII, gives up on a connection that is silent, and goes on where an earlier download stopped.

mod address;
mod cache;
mod choose;
mod client;
pub mod data_files;
mod dataset;
mod error;
mod observer;
mod patience;
mod remote_file;
pub mod splits;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cache::RepositoryCache;
use client::{Client, Info};
use remote_file::RemoteFile;

pub use dataset::{DatasetHub, DatasetRequest, HubFiles};
pub use error::HubError;
pub use observer::{Download, HubObserver};

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryKind {
    /// Weights with their configuration and tokenizer.
    Model,
    /// Records.
    Dataset,
}

impl RepositoryKind {
    /// As it stands in the hub's addresses and in the cache's folders.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "data set",
        }
    }
}

/// Where the hub is and where its files are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// Address without a slash at the end.
    pub endpoint: String,
    /// Access token, for private and gated repositories.
    pub token: Option<String>,
    /// Folder of the cache.
    pub cache_dir: PathBuf,
    /// Never use the network.
    pub offline: bool,
    /// A connection that says nothing for so long is dead, and so is one that only trickles.
    pub silence: Duration,
}

impl std::fmt::Debug for HubConfig {
    /// Redacts the token and the credentials of the endpoint.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HubConfig")
            .field("endpoint", &address::shown(&self.endpoint))
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("cache_dir", &self.cache_dir)
            .field("offline", &self.offline)
            .field("silence", &self.silence)
            .finish()
    }
}

/// A connection that says nothing for so long is dead, where the environment does not say otherwise.
const SILENCE: Duration = Duration::from_secs(60);

impl HubConfig {
    /// From the environment, as Hugging Face's libraries read it: `HF_ENDPOINT`, `HF_TOKEN` (or the file that
    /// `HF_TOKEN_PATH` names, or `token` in the home), `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`, `HF_HUB_OFFLINE`,
    /// `HF_HUB_DOWNLOAD_TIMEOUT` (seconds).
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let path = |name: &str| variable(name).map(PathBuf::from);
        let cache = || path("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")));
        let home =
            path("HF_HOME").or_else(|| Some(cache()?.join("huggingface"))).unwrap_or_else(|| ".huggingface".into());
        let token_file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let token = variable("HF_TOKEN").or_else(|| std::fs::read_to_string(token_file).ok());
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let seconds = |value: String| value.trim().parse().ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
        let is_on = |value: String| matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE");
        Self {
            endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            cache_dir: path("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub")),
            offline: variable("HF_HUB_OFFLINE").is_some_and(is_on),
            silence: variable("HF_HUB_DOWNLOAD_TIMEOUT").and_then(seconds).unwrap_or(SILENCE),
        }
    }
}

/// Files of one commit, on the local disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit that the revision stands for.
    pub commit: String,
    /// Folder that holds the files.
    pub directory: PathBuf,
    /// Path in the repository and local path of every file that was asked for, sorted.
    pub files: Vec<(String, PathBuf)>,
    /// True if the hub was not asked, so that a newer commit may exist.
    pub from_cache: bool,
}

/// A hub and its cache.
pub struct Hub {
    config: HubConfig,
    client: Client,
}

/// Picks the files to fetch among those of a commit; the README's text is told where it is needed and there.
type Choose<'a> = &'a dyn Fn(&[RemoteFile], Option<&str>) -> Result<Vec<RemoteFile>, HubError>;

/// What is fetched of a repository.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    /// The README is needed to know.
    with_readme: bool,
    choose: Choose<'a>,
}

impl<'a> Wanted<'a> {
    fn by_names(choose: Choose<'a>) -> Self {
        Self { with_readme: false, choose }
    }

    /// The README among the files, where it is needed.
    fn readme<'f>(&self, files: &'f [RemoteFile]) -> Option<&'f RemoteFile> {
        files.iter().find(|file| self.with_readme && file.name == "README.md")
    }
}

impl Hub {
    /// The hub and cache that the environment names; see [`HubConfig::from_env`].
    pub fn from_env() -> Self {
        Self::new(HubConfig::from_env())
    }

    /// The hub and cache of `config`.
    pub fn new(config: HubConfig) -> Self {
        let client = Client::new(&config);
        Self { config, client }
    }

    /// Reports the progress of downloads to `observer`.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn HubObserver>) -> Self {
        self.client.observer = observer;
        self
    }

    /// Where the hub is and where its files are kept.
    pub fn config(&self) -> &HubConfig {
        &self.config
    }

    /// The files of a data set that are asked for (of several layouts one), fetched if they are not in the cache.
    ///
    /// # Errors
    /// What is wrong with the id, the revision, the configuration, the split, the glob, the access, the connection or
    /// the disk.
    pub fn dataset_files(&self, request: &DatasetRequest<'_>) -> Result<Snapshot, HubError> {
        let choose = |all: &[RemoteFile], readme: Option<&str>| choose::data_files(request, all, readme);
        let wanted = Wanted { with_readme: request.part().is_named(), choose: &choose };
        self.snapshot(RepositoryKind::Dataset, request.id, request.revision, wanted)
    }

    /// Everything of model `id` at `revision` (default `main`) that is needed to load it: configuration, tokenizer,
    /// weights as safetensors (or a PEFT adapter); never the same weights in another format.
    ///
    /// # Errors
    /// What is wrong with the id, the revision, the access, the connection, the disk, or the model's formats.
    pub fn model_snapshot(&self, id: &str, revision: Option<&str>) -> Result<Snapshot, HubError> {
        self.snapshot(RepositoryKind::Model, id, revision, Wanted::by_names(&|all, _| choose::model_files(id, all)))
    }

    /// What is needed of model `id` at `revision` (default `main`) to read its language, without weights.
    ///
    /// # Errors
    /// What is wrong with the id, the revision, the access, the connection, the disk, or the model's formats.
    pub fn tokenizer_snapshot(&self, id: &str, revision: Option<&str>) -> Result<Snapshot, HubError> {
        self.snapshot(RepositoryKind::Model, id, revision, Wanted::by_names(&|all, _| choose::tokenizer_files(id, all)))
    }

    fn snapshot(
        &self,
        kind: RepositoryKind,
        id: &str,
        revision: Option<&str>,
        wanted: Wanted<'_>,
    ) -> Result<Snapshot, HubError> {
        check_id(kind, id)?;
        let revision = revision.unwrap_or("main");
        let cache = RepositoryCache::new(&self.config.cache_dir, kind, id);
        if self.config.offline {
            let why = "HF_HUB_OFFLINE is set".to_owned();
            return self.cached(&cache, kind, id, revision, wanted, why);
        }
        // A commit never changes, so a complete one needs no question.
        if is_commit(revision)
            && let Ok(snapshot) = self.cached(&cache, kind, id, revision, wanted, String::new())
        {
            return Ok(Snapshot { from_cache: false, ..snapshot });
        }
        match self.client.info(kind, id, revision) {
            Ok(info) => self.fetched(&cache, kind, id, revision, &info, wanted),
            Err(error @ HubError::Busy { .. }) => {
                let why = error.to_string().lines().next().unwrap_or_default().to_owned();
                self.cached_instead(&cache, kind, id, revision, wanted, why).map_err(|_| error)
            }
            Err(HubError::Unreachable { endpoint, problem, .. }) => {
                let why = format!("{endpoint}: {problem}");
                self.cached_instead(&cache, kind, id, revision, wanted, why)
            }
            Err(error) => Err(error),
        }
    }

    /// The cached files, as the hub cannot be asked.
    fn cached_instead(
        &self,
        cache: &RepositoryCache,
        kind: RepositoryKind,
        id: &str,
        revision: &str,
        wanted: Wanted<'_>,
        why: String,
    ) -> Result<Snapshot, HubError> {
        let snapshot = self.cached(cache, kind, id, revision, wanted, why.clone())?;
        tracing::warn!("{why}: using the cached {} {id} at commit {}", kind.name(), snapshot.commit);
        Ok(snapshot)
    }

    /// The files of `info`'s commit, downloaded where the cache lacks them.
    fn fetched(
        &self,
        cache: &RepositoryCache,
        kind: RepositoryKind,
        id: &str,
        revision: &str,
        info: &Info,
        wanted: Wanted<'_>,
    ) -> Result<Snapshot, HubError> {
        let here = |file: &RemoteFile| match cache.find(&info.commit, file) {
            Some(path) => Ok(path),
            None => self.client.download(kind, id, &info.commit, file, cache),
        };
        let readme = wanted.readme(&info.files).map(here).transpose()?.map(|path| read_readme(&path)).transpose()?;
        let chosen = (wanted.choose)(&info.files, readme.as_deref())?;
        cache.write_listing(&info.commit, &info.files)?;
        let mut files = Vec::with_capacity(chosen.len());
        for file in &chosen {
            files.push((file.name.clone(), here(file)?));
        }
        // Only now is the revision's snapshot complete.
        cache.write_reference(revision, &info.commit)?;
        files.sort();
        let directory = cache.snapshot(&info.commit);
        Ok(Snapshot { commit: info.commit.clone(), directory, files, from_cache: false })
    }

    /// The files of `revision`'s cached commit; an error that says `why` the hub is not asked if they are not all there.
    fn cached(
        &self,
        cache: &RepositoryCache,
        kind: RepositoryKind,
        id: &str,
        revision: &str,
        wanted: Wanted<'_>,
        why: String,
    ) -> Result<Snapshot, HubError> {
        let missing = |what: String| HubError::NotCached {
            kind: kind.name(),
            id: id.to_owned(),
            why: why.clone(),
            what,
            looked_in: cache.folder().to_owned(),
        };
        let commit = if is_commit(revision) { Some(revision.to_owned()) } else { cache.reference(revision) };
        let commit = commit.ok_or_else(|| missing(format!("revision `{revision}` was never fetched")))?;
        let listing = cache.listing(&commit).ok_or_else(|| missing(format!("commit {commit} was never fetched")))?;
        let mut files = Vec::new();
        let here = |file: &RemoteFile| {
            let path = cache.find(&commit, file);
            path.ok_or_else(|| missing(format!("`{}` was never fetched completely", file.name)))
        };
        let readme = wanted.readme(&listing).map(here).transpose()?.map(|path| read_readme(&path)).transpose()?;
        for file in (wanted.choose)(&listing, readme.as_deref())? {
            let path = here(&file)?;
            files.push((file.name, path));
        }
        files.sort();
        tracing::debug!("{} {id}: {} files from the cache, commit {commit}", kind.name(), files.len());
        Ok(Snapshot { directory: cache.snapshot(&commit), commit, files, from_cache: true })
    }
}

impl DatasetHub for Hub {
    fn dataset_files(&self, request: &DatasetRequest<'_>) -> Result<HubFiles, HubError> {
        let Snapshot { commit, files, .. } = Hub::dataset_files(self, request)?;
        Ok(HubFiles { commit, files })
    }
}

fn read_readme(path: &Path) -> Result<String, HubError> {
    let bytes = std::fs::read(path).map_err(|source| HubError::Cache { path: path.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether `revision` is a commit rather than a branch or tag.
fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Ids become addresses and folders, so nothing else may hide in them.
fn check_id(kind: RepositoryKind, id: &str) -> Result<(), HubError> {
    let fits = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    // A few old repositories have no owner.
    if id.split('/').count() <= 2 && id.split('/').all(fits) && !id.contains("..") {
        return Ok(());
    }
    Err(HubError::BadId { kind: kind.name(), id: id.to_owned() })
}

/// Joins a repository path, whose separator is `/` everywhere, to a folder; `None` if it would leave it.
pub(crate) fn join_inside(folder: &Path, name: &str) -> Option<PathBuf> {
    let inside = name.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\\'));
    inside.then(|| name.split('/').fold(folder.to_owned(), |path, part| path.join(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> HubConfig {
        HubConfig::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_is_read_as_hugging_face_does() {
        let home = config(&[("HF_HOME", "h"), ("HF_TOKEN", " secret\n"), ("HF_ENDPOINT", "https://mirror/")]);
        assert_eq!(home.cache_dir, Path::new("h/hub"));
        assert_eq!(home.token.as_deref(), Some("secret"));
        assert_eq!(home.endpoint, "https://mirror");
        assert!(!home.offline);
        let cache = config(&[("HF_HOME", "h"), ("HF_HUB_CACHE", "c"), ("HF_HUB_OFFLINE", "true")]);
        assert_eq!(cache.cache_dir, Path::new("c"));
        assert!(cache.offline);
        assert_eq!(cache.endpoint, "https://huggingface.co");
        assert_eq!(config(&[("XDG_CACHE_HOME", "x")]).cache_dir, Path::new("x/huggingface/hub"));
        assert_eq!(cache.silence, SILENCE);
        assert_eq!(config(&[("HF_HUB_DOWNLOAD_TIMEOUT", "10")]).silence, Duration::from_secs(10));
    }

    #[test]
    fn ids_and_names_cannot_leave_the_cache() {
        for id in ["Qwen/Qwen1.5-7B", "gpt2", "a/b_c-d.e"] {
            check_id(RepositoryKind::Model, id).expect(id);
        }
        for id in ["", "/", "a/", "../b", "a/b/c", "a b/c", "a/..", "中/文", "a/b?c"] {
            assert!(check_id(RepositoryKind::Model, id).is_err(), "{id}");
        }
        let folder = Path::new("f");
        assert_eq!(join_inside(folder, "数据/a b.json"), Some(folder.join("数据").join("a b.json")));
        for name in ["../x", "a/../../x", "/x", "a//b", "a\\b"] {
            assert_eq!(join_inside(folder, name), None, "{name}");
        }
    }
}
