//! What can go wrong with a hub, each with the repository and how to mend it.

use std::path::PathBuf;

/// Why files of a hub cannot be had.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HubError {
    /// Not an id at all.
    #[error("`{id}` is not the id of a {kind}: it has the form owner/name")]
    #[diagnostic(help("write owner/name as on the hub, or the path of a local folder with a leading ./"))]
    BadId {
        /// Model or data set.
        kind: &'static str,
        /// What was given.
        id: String,
    },
    /// The hub wants a token, or another one. It answers so for what does not exist, too.
    #[error(
        "the hub denies access to {kind} `{id}` (HTTP {status}): it is private, gated, or does not exist{}",
        suggestion(.nearest)
    )]
    #[diagnostic(help("{}", access_hint(*.has_token, .page)))]
    Denied {
        /// Model or data set.
        kind: &'static str,
        /// Its id.
        id: String,
        /// HTTP status.
        status: u16,
        /// Whether a token was sent.
        has_token: bool,
        /// The repository's page.
        page: String,
        /// Ids like it that exist.
        nearest: Vec<String>,
    },
    /// There is no such repository.
    #[error("there is no {kind} `{id}` at {endpoint}{}", suggestion(.nearest))]
    #[diagnostic(help("check the spelling of owner and name"))]
    NotFound {
        /// Model or data set.
        kind: &'static str,
        /// Its id.
        id: String,
        /// The hub.
        endpoint: String,
        /// Ids like it that exist.
        nearest: Vec<String>,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{kind} `{id}` has no revision `{revision}`")]
    #[diagnostic(help("name a branch, a tag or a whole commit hash; leave it out for `main`"))]
    NoRevision {
        /// Model or data set.
        kind: &'static str,
        /// Its id.
        id: String,
        /// What was asked for.
        revision: String,
    },
    /// The repository has nothing that fits.
    #[error("{kind} `{id}`: {problem}; it holds {}", listing(.files))]
    #[diagnostic(help("{hint}"))]
    NoFiles {
        /// Model or data set.
        kind: &'static str,
        /// Its id.
        id: String,
        /// What was looked for.
        problem: String,
        /// What is there.
        files: Vec<String>,
        /// How to mend it.
        hint: String,
    },
    /// The hub cannot be reached, or fails by itself.
    #[error("{endpoint} cannot be reached for `{id}`: {problem}")]
    #[diagnostic(help("check the connection; HF_ENDPOINT names another hub or mirror"))]
    Unreachable {
        /// The repository.
        id: String,
        /// The hub.
        endpoint: String,
        /// What happened.
        problem: String,
    },
    /// The hub answers again and again that it cannot answer now.
    #[error(
        "{endpoint} is too busy to answer about `{id}` (HTTP {status}){}",
        wait.map(|wait| format!(" and asks to wait {wait} s")).unwrap_or_default()
    )]
    #[diagnostic(help(
        "run it again later, it goes on where it stopped; with HF_TOKEN set, Hugging Face's hub allows more \
         requests"
    ))]
    Busy {
        /// The repository.
        id: String,
        /// The hub.
        endpoint: String,
        /// HTTP status.
        status: String,
        /// Seconds that the hub asks to wait, where that is longer than anybody waits.
        wait: Option<u64>,
    },
    /// The hub is not asked, and the cache lacks something.
    #[error(
        "{kind} `{id}` is not in the cache and cannot be fetched ({why}): {what}; looked in {}",
        looked_in.display()
    )]
    #[diagnostic(help(
        "connect once to fetch it, set HF_ENDPOINT to a hub or mirror that can be reached, or set HF_HOME or \
         HF_HUB_CACHE to a cache that holds it"
    ))]
    NotCached {
        /// Model or data set.
        kind: &'static str,
        /// Its id.
        id: String,
        /// Why the hub is not asked.
        why: String,
        /// What the cache lacks.
        what: String,
        /// Folder of the cache.
        looked_in: PathBuf,
    },
    /// A download broke off, again and again.
    #[error(
        "the download of `{file}` of `{id}` broke off: {got} of {expected} bytes{}",
        problem.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default()
    )]
    #[diagnostic(help("run it again, it goes on where it stopped"))]
    Truncated {
        /// The repository.
        id: String,
        /// The file.
        file: String,
        /// Bytes that arrived.
        got: u64,
        /// Bytes that the hub announced.
        expected: u64,
        /// What the connection says.
        problem: Option<String>,
    },
    /// What arrived is not what the hub has.
    #[error("`{file}` of `{id}` arrived damaged (SHA-256 {got}, not {expected}) and was thrown away")]
    #[diagnostic(help("run it again"))]
    Damaged {
        /// The repository.
        id: String,
        /// The file.
        file: String,
        /// Hash of what arrived.
        got: String,
        /// Hash that the hub announced.
        expected: String,
    },
    /// The download is longer than announced.
    #[error(
        "`{file}` of `{id}` is longer than {} and was discarded",
        announced.map_or_else(|| format!("{limit} bytes, the limit for a file of unknown length"), |bytes| format!("the {bytes} bytes that the hub announced"))
    )]
    #[diagnostic(help(
        "run it again; if that fails, the hub or mirror in HF_ENDPOINT sends other content than it lists"
    ))]
    TooLong {
        /// The repository.
        id: String,
        /// The file.
        file: String,
        /// The announced length in bytes.
        announced: Option<u64>,
        /// The limit in bytes for a file of unknown length.
        limit: u64,
    },
    /// The hub answers with something unexpected.
    #[error("{endpoint} gives an answer about `{id}` that is not understood: {problem}")]
    #[diagnostic(help("HF_ENDPOINT should name a hub that speaks Hugging Face's protocol"))]
    Protocol {
        /// The repository.
        id: String,
        /// The hub.
        endpoint: String,
        /// What is odd.
        problem: String,
    },
    /// The cache cannot be written or read.
    #[error("{}: {source}", path.display())]
    #[diagnostic(help("HF_HOME or HF_HUB_CACHE can put the cache elsewhere"))]
    Cache {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

fn suggestion(nearest: &[String]) -> String {
    if nearest.is_empty() { String::new() } else { format!("; did you mean {}?", nearest.join(" or ")) }
}

fn access_hint(has_token: bool, page: &str) -> String {
    if has_token {
        format!("check the spelling; the token's account may need to accept the terms on {page}")
    } else {
        format!("check the spelling; otherwise accept the terms on {page} and set HF_TOKEN to a token of that account")
    }
}

/// At most a dozen names.
fn listing(files: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = files.iter().take(SHOWN).map(|file| format!("`{file}`")).collect::<Vec<_>>().join(", ");
    if files.is_empty() {
        text.push_str("nothing");
    } else if files.len() > SHOWN {
        text.push_str(&format!(" and {} more", files.len() - SHOWN));
    }
    text
}
