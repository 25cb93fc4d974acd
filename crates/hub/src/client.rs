//! Hugging Face's protocol, as far as reading goes.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

use super::address::{Origin, credentials, redacted, resolve, shown};
use super::cache::RepositoryCache;
use super::observer::{Download, HubObserver, Silent};
use super::patience::{ATTEMPTS, Pace, is_passing, wait_after};
use super::remote_file::{RemoteFile, is_hash};
use super::{HubConfig, HubError, RepositoryKind};

/// How alike an existing id must be to be suggested, 0 to 1.
const ALIKE: f64 = 0.8;

/// What a revision stands for and holds.
#[derive(Debug)]
pub(super) struct Info {
    pub(super) commit: String,
    pub(super) files: Vec<RemoteFile>,
}

#[derive(Deserialize)]
struct InfoAnswer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    sha256: Option<String>,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct Found {
    id: String,
}

pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    /// The endpoint with redacted credentials, for messages.
    shown: String,
    token: Option<String>,
    /// A connection that says nothing for so long is dead.
    silence: Duration,
    pub(super) observer: Arc<dyn HubObserver>,
}

impl Client {
    pub(super) fn new(config: &HubConfig) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .accept_encoding("identity")
            .user_agent(concat!("medley/", env!("CARGO_PKG_VERSION")))
            // [`Self::get`] follows redirections: ureq would send the token to another port of the same host.
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(config.silence))
            .timeout_per_read(Some(config.silence))
            .build()
            .new_agent();
        let (endpoint, token) = (config.endpoint.clone(), config.token.clone());
        let shown = shown(&endpoint);
        Self { agent, endpoint, shown, token, silence: config.silence, observer: Arc::new(Silent) }
    }

    /// What `revision` of a repository stands for and holds.
    pub(super) fn info(&self, kind: RepositoryKind, id: &str, revision: &str) -> Result<Info, HubError> {
        let address =
            format!("{}/api/{}/{id}/revision/{}?blobs=true", self.endpoint, kind.plural(), escape(revision, false));
        let mut response = self.ask(id, &address)?;
        if !response.status().is_success() {
            return Err(self.refused(kind, id, revision, &response));
        }
        let odd = |problem: String| HubError::Protocol { id: id.to_owned(), endpoint: self.shown.clone(), problem };
        let text = read_text(&mut response).map_err(|error| self.unreachable(id, error.to_string()))?;
        let answer: InfoAnswer = serde_json::from_str(&text).map_err(|error| odd(error.to_string()))?;
        if !is_hash(&answer.sha) {
            return Err(odd(format!("{:?} is not a commit", answer.sha)));
        }
        let file = |sibling: Sibling| {
            let (sha256, size) = sibling.lfs.map_or((None, None), |lfs| (lfs.sha256, lfs.size));
            RemoteFile { name: sibling.rfilename, size: size.or(sibling.size), sha256, blob: sibling.blob_id }
        };
        Ok(Info { commit: answer.sha, files: answer.siblings.into_iter().map(file).collect() })
    }

    /// Asks, and asks again where the answer may be another one a little later.
    fn ask(&self, id: &str, address: &str) -> Result<Response<Body>, HubError> {
        let mut attempt = 0;
        loop {
            let response = self.get(address, 0).map_err(|problem| self.unreachable(id, problem))?;
            if !is_passing(response.status()) {
                return Ok(response);
            }
            attempt += 1;
            match wait_after(attempt - 1, Some(response.headers())) {
                Ok(wait) if attempt < ATTEMPTS => self.pause(id, response.status(), wait),
                Ok(_) => return Err(self.busy(id, response.status(), None)),
                Err(asked) => return Err(self.busy(id, response.status(), Some(asked))),
            }
        }
    }

    fn pause(&self, id: &str, status: StatusCode, wait: Duration) {
        tracing::info!("{} answers HTTP {status} about {id}: asking again in {:.1} s", self.shown, wait.as_secs_f64());
        std::thread::sleep(wait);
    }

    fn busy(&self, id: &str, status: StatusCode, asked: Option<Duration>) -> HubError {
        let (id, endpoint, status) = (id.to_owned(), self.shown.clone(), status.to_string());
        HubError::Busy { id, endpoint, status, wait: asked.map(|wait| wait.as_secs()) }
    }

    /// Fetches `file` of `commit` into the cache; goes on where an earlier download stopped.
    pub(super) fn download(
        &self,
        kind: RepositoryKind,
        id: &str,
        commit: &str,
        file: &RemoteFile,
        cache: &RepositoryCache,
    ) -> Result<PathBuf, HubError> {
        let etag = file.etag(commit);
        let _lock = cache.lock(&etag)?;
        let (blob, part) = cache.blob(&etag);
        let in_cache = |source| HubError::Cache { path: part.clone(), source };
        // Another process, or an earlier commit with the same content, may have fetched it.
        let here = fs::metadata(&blob).is_ok_and(|data| file.size.is_none_or(|size| size == data.len()));
        if !here {
            self.observer.download(id, &file.name, Download::Started { size: file.size });
            let fetched = self.fetch(kind, id, commit, file, &part);
            let end = if fetched.is_ok() { Download::Finished } else { Download::Failed };
            self.observer.download(id, &file.name, end);
            fetched?;
            if let Some((expected, got)) =
                file.hashes(&part).map_err(in_cache)?.filter(|(expected, got)| expected != got)
            {
                fs::remove_file(&part).map_err(in_cache)?;
                let (id, file) = (id.to_owned(), file.name.clone());
                return Err(HubError::Damaged { id, file, got, expected });
            }
            fs::rename(&part, &blob).map_err(in_cache)?;
        }
        cache.link(commit, &file.name, &blob)
    }

    /// Fills `part` up to the file's whole length.
    fn fetch(
        &self,
        kind: RepositoryKind,
        id: &str,
        commit: &str,
        file: &RemoteFile,
        part: &Path,
    ) -> Result<(), HubError> {
        let owner = if kind == RepositoryKind::Dataset { "datasets/" } else { "" };
        let address = format!("{}/{owner}{id}/resolve/{commit}/{}", self.endpoint, escape(&file.name, true));
        let size = file.size.map_or("unknown size".to_owned(), |size| format!("{size} bytes"));
        tracing::info!("fetching `{}` of {id} ({size})", file.name);
        let received = |bytes: u64| self.observer.download(id, &file.name, Download::Received { bytes });
        let mut expected = file.size;
        let mut problem = None;
        let mut wait = Duration::ZERO;
        for attempt in 0..ATTEMPTS {
            std::thread::sleep(wait);
            if length(part) > 0 && expected == Some(length(part)) {
                return Ok(());
            }
            wait = wait_after(attempt, None).unwrap_or_default();
            problem = match self.receive(&address, part, &mut expected, &received) {
                Err(Failed::Cache(source)) => return Err(HubError::Cache { path: part.to_owned(), source }),
                Err(Failed::Status(response)) => return Err(self.refused_file(kind, id, commit, file, &response)),
                Err(Failed::Busy(status, asked)) => {
                    wait = asked.map_err(|asked| self.busy(id, status, Some(asked)))?;
                    Some(format!("HTTP {status}"))
                }
                Err(Failed::TooLong) => {
                    fs::remove_file(part).map_err(|source| HubError::Cache { path: part.to_owned(), source })?;
                    let (id, file) = (id.to_owned(), file.name.clone());
                    return Err(HubError::TooLong { id, file, announced: expected, limit: MAX_UNANNOUNCED });
                }
                Err(Failed::Connection(problem)) => Some(self.without_secrets(&problem)),
                Ok(()) => None,
            };
            if problem.is_none() && expected.is_none_or(|expected| expected == length(part)) {
                return Ok(());
            }
        }
        match expected {
            Some(expected) if length(part) > 0 => {
                let (id, file) = (id.to_owned(), file.name.clone());
                Err(HubError::Truncated { id, file, got: length(part), expected, problem })
            }
            _ => Err(self.unreachable(id, problem.unwrap_or_else(|| format!("`{}` has no content", file.name)))),
        }
    }

    /// One attempt to fill `part` from where it ends.
    fn receive(
        &self,
        address: &str,
        part: &Path,
        expected: &mut Option<u64>,
        received: &dyn Fn(u64),
    ) -> Result<(), Failed> {
        let here = length(part);
        let start = if expected.is_some_and(|expected| here > expected) { 0 } else { here };
        let response = self.get(address, start).map_err(Failed::Connection)?;
        let status = response.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            fs::remove_file(part).map_err(Failed::Cache)?;
            return Err(Failed::Connection(format!("HTTP {status}")));
        }
        if is_passing(status) {
            return Err(Failed::Busy(status, wait_after(0, Some(response.headers()))));
        }
        if !status.is_success() {
            return Err(Failed::Status(Box::new(response)));
        }
        *expected = expected.or_else(|| announced(&response));
        copy(response, start, part, expected.unwrap_or(MAX_UNANNOUNCED), received, Pace::new(self.silence))
    }

    /// Requests a URL from byte `start` on, and follows redirections. The token is sent only to the endpoint's origin.
    fn get(&self, address: &str, start: u64) -> Result<Response<Body>, String> {
        let own = Origin::of(&self.endpoint);
        let mut address = address.to_owned();
        for _ in 0..REDIRECTIONS {
            let mut request = self.agent.get(&address);
            let is_own = own.is_some() && Origin::of(&address) == own;
            if let Some(token) = self.token.as_ref().filter(|_| is_own) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            if start > 0 {
                request = request.header("Range", format!("bytes={start}-"));
            }
            let response = request.call().map_err(|error| self.without_secrets(&error.to_string()))?;
            let location = header(response.headers(), "location").filter(|_| is_redirection(response.status()));
            let Some(location) = location else { return Ok(response) };
            address = resolve(&address, &location).ok_or_else(|| "a redirection that leads nowhere".to_owned())?;
        }
        Err(format!("more than {REDIRECTIONS} redirections"))
    }

    /// Redacts the token, and the credentials of URLs.
    fn without_secrets(&self, text: &str) -> String {
        let secrets = self.token.as_deref().into_iter().chain(credentials(&self.endpoint));
        secrets.fold(redacted(text), |text, secret| text.replace(secret, "***"))
    }

    fn unreachable(&self, id: &str, problem: String) -> HubError {
        HubError::Unreachable {
            id: id.to_owned(),
            endpoint: self.shown.clone(),
            problem: self.without_secrets(&problem),
        }
    }

    /// What an answer other than success about one file means.
    fn refused_file(
        &self,
        kind: RepositoryKind,
        id: &str,
        commit: &str,
        file: &RemoteFile,
        response: &Response<Body>,
    ) -> HubError {
        let code = header(response.headers(), "x-error-code").unwrap_or_default();
        if response.status() != StatusCode::NOT_FOUND || code != "EntryNotFound" {
            return self.refused(kind, id, commit, response);
        }
        let problem = format!("it lists `{}` at commit {commit} and does not have it", file.name);
        HubError::Protocol { id: id.to_owned(), endpoint: self.shown.clone(), problem }
    }

    /// What an answer other than success means.
    fn refused(&self, kind: RepositoryKind, id: &str, revision: &str, response: &Response<Body>) -> HubError {
        let status = response.status().as_u16();
        let code = header(response.headers(), "x-error-code").unwrap_or_default();
        let (id, endpoint) = (id.to_owned(), self.shown.clone());
        match status {
            404 if code == "RevisionNotFound" => {
                HubError::NoRevision { kind: kind.name(), id, revision: revision.to_owned() }
            }
            404 => {
                let nearest = self.nearest(kind, &id);
                HubError::NotFound { kind: kind.name(), id, endpoint, nearest }
            }
            401 | 403 => {
                let owner = if kind == RepositoryKind::Dataset { "datasets/" } else { "" };
                HubError::Denied {
                    kind: kind.name(),
                    status,
                    has_token: self.token.is_some(),
                    page: format!("{endpoint}/{owner}{id}"),
                    nearest: self.nearest(kind, &id),
                    id,
                }
            }
            _ => HubError::Unreachable { id, endpoint, problem: format!("HTTP {}", response.status()) },
        }
    }

    /// Existing ids that `id` may have been meant to be; none where the hub does not say.
    fn nearest(&self, kind: RepositoryKind, id: &str) -> Vec<String> {
        let name = id.rsplit('/').next().unwrap_or(id);
        let address = format!("{}/api/{}?search={}&limit=20", self.endpoint, kind.plural(), escape(name, false));
        let found = self.get(&address, 0).ok().filter(|response| response.status().is_success());
        let text = found.and_then(|mut response| read_text(&mut response).ok()).unwrap_or_default();
        let mut found: Vec<Found> = serde_json::from_str(&text).unwrap_or_default();
        let likeness = |found: &Found| strsim::jaro_winkler(&found.id.to_lowercase(), &id.to_lowercase());
        found.retain(|found| likeness(found) >= ALIKE && found.id != id);
        found.sort_by(|left, right| likeness(right).total_cmp(&likeness(left)));
        found.into_iter().take(3).map(|found| format!("`{}`", found.id)).collect()
    }
}

/// Largest number of redirections of one request.
const REDIRECTIONS: usize = 10;

/// Largest size in bytes of a file of unknown length.
const MAX_UNANNOUNCED: u64 = 1 << 30;

fn is_redirection(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Why an attempt to fetch a file did not succeed.
#[derive(Debug)]
enum Failed {
    /// The body is longer than announced.
    TooLong,
    /// Worth another attempt; what had arrived stays.
    Connection(String),
    /// Worth another attempt after so long, or nobody waits that long.
    Busy(StatusCode, Result<Duration, Duration>),
    /// The hub says no.
    Status(Box<Response<Body>>),
    /// The disk says no.
    Cache(io::Error),
}

/// Writes a response's body to `part` from byte `start` on, up to `most` bytes in all; `received` gets the bytes in `part`.
fn copy(
    response: Response<Body>,
    start: u64,
    part: &Path,
    most: u64,
    received: &dyn Fn(u64),
    mut pace: Pace,
) -> Result<(), Failed> {
    let goes_on = response.status() == StatusCode::PARTIAL_CONTENT;
    let mut file = OpenOptions::new().create(true).append(true).open(part).map_err(Failed::Cache)?;
    // A server without ranges begins anew.
    if !goes_on || start == 0 {
        file.set_len(0).map_err(Failed::Cache)?;
    }
    let mut on_disk = length(part);
    received(on_disk);
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 17];
    let result = loop {
        match body.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(read) if read as u64 > most.saturating_sub(on_disk) => return Err(Failed::TooLong),
            Ok(read) => {
                file.write_all(&buffer[..read]).map_err(Failed::Cache)?;
                on_disk += read as u64;
                received(on_disk);
                if let Err(slow) = pace.add(read as u64) {
                    break Err(Failed::Connection(slow));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(Failed::Connection(error.to_string())),
        }
    };
    file.sync_data().map_err(Failed::Cache)?;
    result
}

/// The length of the whole file that a response announces; `None` for a compressed body, whose length differs.
fn announced(response: &Response<Body>) -> Option<u64> {
    if header(response.headers(), "content-encoding").is_some_and(|packing| packing != "identity") {
        return None;
    }
    let range = header(response.headers(), "content-range");
    let total = range.and_then(|range| range.rsplit('/').next().map(str::to_owned));
    total.or_else(|| header(response.headers(), "content-length"))?.parse().ok()
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// A body of at most 64 MB (the list of files of a large data set) as text.
fn read_text(response: &mut Response<Body>) -> Result<String, ureq::Error> {
    response.body_mut().with_config().limit(64 << 20).read_to_string()
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |data| data.len())
}

/// Percent-encoding of all but letters, digits and `-._~`; of `/` too unless it is `kept`.
fn escape(text: &str, slash_kept: bool) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (slash_kept && byte == b'/') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of unknown length is not read without limit.
    #[test]
    fn a_body_is_cut_at_the_first_byte_too_many() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let part = folder.path().join("part");
        let read = |start: u64, most: u64| {
            let body = Body::builder().reader(io::repeat(b'x').take(300_000));
            let status = if start > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
            let response = Response::builder().status(status).body(body).expect("a response");
            copy(response, start, &part, most, &|_| (), Pace::new(Duration::from_secs(9)))
        };
        assert!(matches!(read(0, 299_999), Err(Failed::TooLong)));
        assert!(length(&part) <= 299_999);
        assert!(read(0, 300_000).is_ok() && length(&part) == 300_000);
        assert!(matches!(read(300_000, 599_999), Err(Failed::TooLong)), "a download that goes on");
    }

    #[test]
    fn names_are_escaped_for_addresses() {
        assert_eq!(escape("数据/a b.json", true), "%E6%95%B0%E6%8D%AE/a%20b.json");
        assert_eq!(escape("refs/pr/1", false), "refs%2Fpr%2F1");
    }
}
