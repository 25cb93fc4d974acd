//! A small hub on this machine: it speaks Hugging Face's protocol, as far as reading goes, and serves folders.
//!
//! Known are `/api/{models,datasets}/ID/revision/REVISION`, `/api/{models,datasets}?search=…`,
//! `/ID/resolve/REVISION/FILE` and `/datasets/ID/resolve/REVISION/FILE`, with ranges, entity tags, and the redirection
//! of large files to another address. A commit is a hash of the folder's content, so that a changed file makes a new one.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Files of at least so many bytes are "large": the hub tells their SHA-256 and sends them from another address.
const LARGE: usize = 1024;

/// A running hub; it ends when it is dropped.
pub struct HubServer {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Folder of every repository, by its path (`models/owner/name`).
    folders: HashMap<String, PathBuf>,
    /// The token that a repository asks for.
    gates: HashMap<String, String>,
    /// The commit that a repository is at, where its content's hash is not to be.
    commits: HashMap<String, String>,
    /// How many more answers about a file break off in the middle.
    breaks: HashMap<String, usize>,
    /// Files of which one byte is wrong.
    damaged: Vec<String>,
    /// Folders of other revisions than `main`, by repository and revision.
    branches: HashMap<(String, String), PathBuf>,
    /// Answers instead of the right one: to targets that hold the text, so many times, with status and headers.
    excuses: Vec<Excuse>,
    /// Files that are listed and not sent.
    lost: Vec<String>,
    /// How many more answers about a file come slowly, and how.
    slow: HashMap<String, (Slow, usize)>,
    /// Method and target of every request.
    requests: Vec<String>,
    /// The `Authorization` header of each.
    authorizations: Vec<Option<String>>,
    /// The server of large files, if not this one.
    elsewhere: Option<String>,
    /// Bytes sent beyond a file's end, without a `Content-Length`, by file.
    longer: HashMap<String, usize>,
    /// The listing has no file sizes.
    sizes_hidden: bool,
}

struct Excuse {
    target: String,
    times: usize,
    status: &'static str,
    retry_after: Option<String>,
}

/// How a body comes slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// Half of it, then nothing more.
    Stall,
    /// A byte at a time.
    Trickle,
}

/// Between two bytes of a trickle.
const DRIP: Duration = Duration::from_millis(20);

/// A stalled connection is closed after that.
const STALLED: Duration = Duration::from_secs(5);

struct Request {
    target: String,
    headers: HashMap<String, String>,
}

struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Send only so much of the body.
    cut: Option<usize>,
    slow: Option<Slow>,
    /// No `Content-Length`: the body ends with the connection.
    length_unstated: bool,
}

impl Answer {
    fn new(status: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None, slow: None, length_unstated: false }
    }

    fn error(status: &'static str, code: &str) -> Self {
        let body = json!({ "error": code }).to_string();
        Self { headers: vec![("X-Error-Code", code.to_owned())], ..Self::new(status, body) }
    }
}

impl HubServer {
    /// Starts a hub without repositories on a free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // A client that goes away in the middle is its own affair.
                    let _ = stream.and_then(|stream| serve(stream, &shared));
                });
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    /// The address for `HF_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves `folder` as data set `id`.
    pub fn dataset(&self, id: &str, folder: &Path) {
        self.inner().folders.insert(format!("datasets/{id}"), folder.to_owned());
    }

    /// Says that data set `id` is at `commit`.
    pub fn pin_dataset(&self, id: &str, commit: &str) {
        self.inner().commits.insert(format!("datasets/{id}"), commit.to_owned());
    }

    /// Serves `folder` as model `id`.
    pub fn model(&self, id: &str, folder: &Path) {
        self.inner().folders.insert(format!("models/{id}"), folder.to_owned());
    }

    /// Lets only those who send `token` see a repository (`datasets/ID` or `models/ID`).
    pub fn gate(&self, repository: &str, token: &str) {
        self.inner().gates.insert(repository.to_owned(), token.to_owned());
    }

    /// Breaks the next `times` answers with `file` off in the middle.
    pub fn break_off(&self, file: &str, times: usize) {
        self.inner().breaks.insert(file.to_owned(), times);
    }

    /// Sends `file` with a wrong byte.
    pub fn damage(&self, file: &str) {
        self.inner().damaged.push(file.to_owned());
    }

    /// Serves `folder` as data set `id` at another revision than `main`.
    pub fn branch(&self, id: &str, revision: &str, folder: &Path) {
        self.inner().branches.insert((format!("datasets/{id}"), revision.to_owned()), folder.to_owned());
    }

    /// Answers the next `times` requests whose target holds `target` with `status`.
    pub fn excuse(&self, target: &str, times: usize, status: &'static str, retry_after: Option<&str>) {
        let (target, retry_after) = (target.to_owned(), retry_after.map(str::to_owned));
        self.inner().excuses.push(Excuse { target, times, status, retry_after });
    }

    /// Lists `file` and does not send it.
    pub fn lose(&self, file: &str) {
        self.inner().lost.push(file.to_owned());
    }

    /// Sends `file` slowly for the next `times`.
    pub fn slow(&self, file: &str, slow: Slow, times: usize) {
        self.inner().slow.insert(file.to_owned(), (slow, times));
    }

    /// Redirects requests for large files to another address (without a slash at its end).
    pub fn send_from(&self, elsewhere: &str) {
        self.inner().elsewhere = Some(elsewhere.to_owned());
    }

    /// Sends `more` bytes beyond the end of `file`, without a `Content-Length`.
    pub fn lengthen(&self, file: &str, more: usize) {
        self.inner().longer.insert(file.to_owned(), more);
    }

    /// Lists files without their sizes.
    pub fn hide_sizes(&self) {
        self.inner().sizes_hidden = true;
    }

    /// The `Authorization` header of every request so far.
    pub fn authorizations(&self) -> Vec<Option<String>> {
        self.inner().authorizations.clone()
    }

    /// Method and target of every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.inner().requests.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.state.inner.lock().expect("no test panics while it holds the lock")
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        // The listener looks at `stop` once somebody knocks.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            // A panic of the server has already failed the request that caused it.
            let _ = thread.join();
        }
    }
}

fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':') {
            headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    if target.is_empty() {
        return Ok(());
    }
    let answer = {
        let mut inner = state.inner.lock().expect("no answer panics");
        inner.authorizations.push(headers.get("authorization").cloned());
        inner.requests.push(line.trim().trim_end_matches(" HTTP/1.1").to_owned());
        answer(&Request { target, headers }, &mut inner)
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {}\r\nConnection: close\r\n", answer.status)?;
    if !answer.length_unstated {
        write!(stream, "Content-Length: {}\r\n", answer.body.len())?;
    }
    for (name, value) in &answer.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    match answer.slow {
        None => stream.write_all(&answer.body[..answer.cut.unwrap_or(answer.body.len())])?,
        Some(Slow::Stall) => {
            stream.write_all(&answer.body[..answer.body.len() / 2])?;
            stream.flush()?;
            wait_for_end(state, STALLED);
        }
        Some(Slow::Trickle) => {
            for byte in &answer.body {
                stream.write_all(&[*byte])?;
                stream.flush()?;
                wait_for_end(state, DRIP);
            }
        }
    }
    stream.flush()
}

/// Waits, but not beyond the server's end.
fn wait_for_end(state: &State, longest: Duration) {
    let start = Instant::now();
    while start.elapsed() < longest && !state.stop.load(Ordering::SeqCst) {
        std::thread::sleep(longest.min(Duration::from_millis(20)));
    }
}

fn answer(request: &Request, inner: &mut Inner) -> Answer {
    let excuse = inner.excuses.iter_mut().find(|excuse| excuse.times > 0 && request.target.contains(&excuse.target));
    if let Some(excuse) = excuse {
        excuse.times -= 1;
        let headers = excuse.retry_after.iter().map(|after| ("Retry-After", after.clone())).collect();
        return Answer { headers, ..Answer::new(excuse.status, "") };
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let path = unescape(path.trim_start_matches('/'));
    if let Some(rest) = path.strip_prefix("api/") {
        return match rest.split_once("/revision/") {
            Some((repository, revision)) => describe(repository, revision, request, inner),
            None => search(rest, query, inner),
        };
    }
    let (large, path) = path.strip_prefix("large/").map_or((false, path.as_str()), |path| (true, path));
    let Some((repository, rest)) = path.split_once("/resolve/") else {
        return Answer::error("404 Not Found", "RepoNotFound");
    };
    let repository =
        if repository.starts_with("datasets/") { repository.to_owned() } else { format!("models/{repository}") };
    let (revision, file) = rest.split_once('/').unwrap_or((rest, ""));
    send(&repository, revision, file, large, request, inner)
}

/// The folder of `repository` at `revision`, or why not.
fn open(repository: &str, revision: &str, request: &Request, inner: &Inner) -> Result<(Files, String), Answer> {
    let Some(folder) = inner.folders.get(repository) else {
        return Err(Answer::error("404 Not Found", "RepoNotFound"));
    };
    if let Some(token) = inner.gates.get(repository) {
        match request.headers.get("authorization") {
            None => return Err(Answer::error("401 Unauthorized", "GatedRepo")),
            Some(sent) if *sent != format!("Bearer {token}") => {
                return Err(Answer::error("403 Forbidden", "GatedRepo"));
            }
            Some(_) => {}
        }
    }
    let branches = inner.branches.iter().filter(|((of, _), _)| of == repository);
    let branches = branches.map(|((_, name), folder)| (name.as_str(), folder));
    for (name, folder) in std::iter::once(("main", folder)).chain(branches) {
        let (files, commit) = at_folder(folder);
        let commit = inner.commits.get(repository).filter(|_| name == "main").cloned().unwrap_or(commit);
        if revision == name || revision == commit {
            return Ok((files, commit));
        }
    }
    Err(Answer::error("404 Not Found", "RevisionNotFound"))
}

/// What a folder holds, and the commit that it is.
fn at_folder(folder: &Path) -> (Files, String) {
    let mut files = Files::new();
    read_folder(folder, "", &mut files);
    files.sort();
    let mut hasher = Sha256::new();
    for (name, content) in &files {
        hasher.update(format!("{name}\0{}\0", content.len()));
        hasher.update(content);
    }
    (files, hex(&hasher.finalize())[..40].to_owned())
}

/// Git's name for a content.
fn git_sha1(content: &[u8]) -> String {
    let mut hasher = Sha1::new_with_prefix(format!("blob {}\0", content.len()));
    hasher.update(content);
    hex(&hasher.finalize())
}

type Files = Vec<(String, Vec<u8>)>;

fn read_folder(folder: &Path, prefix: &str, files: &mut Files) {
    for entry in fs::read_dir(folder).expect("the served folder") {
        let entry = entry.expect("an entry");
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            read_folder(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push((name, fs::read(entry.path()).expect("a file of the served folder")));
        }
    }
}

fn describe(repository: &str, revision: &str, request: &Request, inner: &Inner) -> Answer {
    let (files, commit) = match open(repository, revision, request, inner) {
        Ok(opened) => opened,
        Err(answer) => return answer,
    };
    let blobs = request.target.contains("blobs=true");
    let siblings: Vec<Value> = files
        .iter()
        .map(|(name, content)| {
            let sha256 = hex(&Sha256::digest(content));
            let mut sibling = json!({ "rfilename": name });
            if blobs && !inner.sizes_hidden {
                sibling["size"] = json!(content.len());
                sibling["blobId"] = json!(git_sha1(content));
                if content.len() >= LARGE {
                    sibling["lfs"] = json!({ "sha256": sha256, "size": content.len(), "pointerSize": 134 });
                }
            }
            sibling
        })
        .collect();
    let id = repository.split_once('/').map_or("", |(_, id)| id);
    Answer::new("200 OK", json!({ "id": id, "sha": commit, "siblings": siblings }).to_string())
}

fn search(kind: &str, query: &str, inner: &Inner) -> Answer {
    let word = query.split('&').find_map(|pair| pair.strip_prefix("search=")).unwrap_or_default();
    let word = unescape(word).to_lowercase();
    let ids = inner.folders.keys().filter_map(|repository| repository.strip_prefix(kind)?.strip_prefix('/'));
    let near = |id: &&str| {
        let name = id.rsplit('/').next().unwrap_or(id).to_lowercase();
        name.contains(&word) || word.contains(&name) || word.get(..4).is_some_and(|start| name.starts_with(start))
    };
    let found: Vec<Value> = ids.filter(near).map(|id| json!({ "id": id })).collect();
    Answer::new("200 OK", Value::from(found).to_string())
}

fn send(repository: &str, revision: &str, file: &str, large: bool, request: &Request, inner: &mut Inner) -> Answer {
    let (files, commit) = match open(repository, revision, request, inner) {
        Ok(opened) => opened,
        Err(answer) => return answer,
    };
    let sent = |name: &str| name == file && !inner.lost.iter().any(|lost| lost == name);
    let Some((_, mut content)) = files.into_iter().find(|(name, _)| sent(name)) else {
        return Answer::error("404 Not Found", "EntryNotFound");
    };
    let sha256 = hex(&Sha256::digest(&content));
    let git = git_sha1(&content);
    let total = content.len();
    if total >= LARGE && !large {
        let elsewhere = inner.elsewhere.as_deref().unwrap_or_default();
        let location = format!("{elsewhere}/large/{}", request.target.trim_start_matches('/'));
        let mut answer = Answer::new("302 Found", "");
        answer.headers = vec![
            ("Location", location),
            ("X-Repo-Commit", commit),
            ("X-Linked-Etag", format!("\"{sha256}\"")),
            ("X-Linked-Size", total.to_string()),
        ];
        return answer;
    }
    if inner.damaged.iter().any(|name| name == file)
        && let Some(last) = content.last_mut()
    {
        *last ^= 1;
    }
    let range = request.headers.get("range").and_then(|range| parse_range(range, total));
    let (status, body) = match range {
        Some((start, end)) if start <= end && end < total => ("206 Partial Content", content[start..=end].to_vec()),
        Some(_) => return Answer::error("416 Range Not Satisfiable", "InvalidRange"),
        None => ("200 OK", content),
    };
    let mut answer = Answer::new(status, body);
    let etag = if total >= LARGE { sha256 } else { git };
    answer.headers =
        vec![("ETag", format!("\"{etag}\"")), ("X-Repo-Commit", commit), ("Accept-Ranges", "bytes".into())];
    if let Some((start, end)) = range {
        answer.headers.push(("Content-Range", format!("bytes {start}-{end}/{total}")));
    }
    if let Some(more) = inner.longer.get(file) {
        answer.body.extend(std::iter::repeat_n(b'x', *more));
        answer.length_unstated = true;
    }
    if let Some(times) = inner.breaks.get_mut(file).filter(|times| **times > 0) {
        *times -= 1;
        answer.cut = Some(answer.body.len() / 2);
    }
    if let Some((slow, times)) = inner.slow.get_mut(file).filter(|(_, times)| *times > 0) {
        *times -= 1;
        answer.slow = Some(*slow);
    }
    answer
}

/// First and last byte of `bytes=FIRST-LAST`.
fn parse_range(range: &str, total: usize) -> Option<(usize, usize)> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = end.parse().unwrap_or(usize::MAX).min(total.saturating_sub(1));
    Some((start.parse().ok()?, end))
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while position < bytes.len() {
        let escaped = (bytes[position] == b'%').then(|| text.get(position + 1..position + 3)).flatten();
        match escaped.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                position += 3;
            }
            None => {
                decoded.push(bytes[position]);
                position += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
