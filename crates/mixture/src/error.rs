//! Errors of a mix, with file, record and remedy.

use std::fmt;

use crate::spec::Unit;

/// Bytes in a GiB.
const GIB: f64 = (1u64 << 30) as f64;

/// Why there is no mix.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum MixError {
    /// The mixture tree cannot be turned into counts.
    #[error("{0}")]
    Ratio(String),
    /// The mixture ratio names a source that is not described.
    #[error("the mixture ratio names `{0}`, but there is no such source")]
    #[diagnostic(help("describe it under [sources.{0}]"))]
    UnknownSource(String),
    /// A path of a source leads nowhere.
    #[error("source `{pool}`: {problem}")]
    #[diagnostic(help("{hint}"))]
    Source {
        /// The source.
        pool: String,
        /// What is wrong.
        problem: String,
        /// How to mend it.
        hint: String,
    },
    /// A file as a whole cannot be read.
    #[error("{file}: {problem}")]
    #[diagnostic(help("{hint}"))]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
        /// How to mend it.
        hint: String,
    },
    /// A record cannot be read.
    #[error("{file}:{line}: record {record}: {problem}")]
    #[diagnostic(help("{hint}"))]
    Record {
        /// The file.
        file: String,
        /// Line on which the record begins, from 1.
        line: u64,
        /// Number of the record in the file, from 1.
        record: u64,
        /// What is wrong.
        problem: String,
        /// How to mend it.
        hint: String,
    },
    /// Pools with fewer records than their share.
    #[error("{}", shortage_message(.0))]
    #[diagnostic(help("{}", shortage_remedy(.0)))]
    Shortage(Vec<Shortage>),
    /// A mix without samples.
    #[error("the mix has no samples\n{}", .sources.join("\n"))]
    #[diagnostic(help("{hint}"))]
    Empty {
        /// Each source with the counts of its records.
        sources: Vec<String>,
        /// How to mend it.
        hint: String,
    },
    /// A mix that counts tokens, and nothing to count them with.
    #[error("the mix counts tokens, but there is no tokenizer")]
    #[diagnostic(help("name the model in `model.base`: its tokenizer counts"))]
    NoTokenizer,
    /// Shares that are not what was asked for.
    #[error("{}", share_message(.missed, *.unit, *.tolerance))]
    #[diagnostic(help(
        "look at what was cut or lost in the ledger; `chat.max_tokens` decides what is cut, `mix.tolerance` how far a share may be off"
    ))]
    Share {
        /// Each source that misses its share.
        missed: Vec<MissedShare>,
        /// What the shares are of.
        unit: Unit,
        /// By how much a share may miss, 0 to 1.
        tolerance: f64,
    },
    /// A record that is asked about in no known way.
    #[error("`{0}` is no key and no place of a record")]
    #[diagnostic(help("a key is the 32 digits of `key` in mix.jsonl; a place is FILE:LINE as the ledger writes it"))]
    Target(String),
    /// A record that is asked about and is nowhere.
    #[error("no source has a record `{0}`")]
    #[diagnostic(help("the key is another for another `mix.seed`; a file is named as in manifest.json"))]
    NotFound(String),
    /// Sources that are not what a lock says they were.
    #[error("the sources are not those of {lock}:\n{}", .changed.join("\n"))]
    #[diagnostic(help("bring the files back, or mix without --locked to accept them"))]
    Locked {
        /// The lock.
        lock: String,
        /// Each file that is another, in words.
        changed: Vec<String>,
    },
    /// A shard cannot be merged.
    #[error("{folder}: {problem}")]
    #[diagnostic(help("{hint}"))]
    Shard {
        /// The shard's folder.
        folder: String,
        /// What is wrong.
        problem: String,
        /// How to mend it.
        hint: String,
    },
    /// Near-duplicates are asked for, and a shard has only some of the records.
    #[error("near-duplicates are found among all records, and a shard has only some of them")]
    #[diagnostic(help("mix without shards, or leave `mix.near_duplicates` out"))]
    NearDuplicatesInShards,
    /// The mix cannot be written.
    #[error("cannot write the mix: {0}")]
    #[diagnostic(help("check the permissions and the free space of the --out folder"))]
    Write(#[from] std::io::Error),
    /// The samples exceed the memory.
    #[error(
        "a mix of {samples} samples takes at least {:.1} GiB of memory, and {origin} has {:.1} GiB",
        *needed as f64 / GIB, *limit as f64 / GIB
    )]
    #[diagnostic(help("make `mix.size` (or `mix.epochs`) smaller: each repetition of a record takes memory"))]
    Memory {
        /// Samples of the mix.
        samples: u128,
        /// Lower bound of their size in bytes.
        needed: u64,
        /// The limit in bytes.
        limit: u64,
        /// The owner of the limit.
        origin: &'static str,
    },
    /// The threads cannot be started.
    #[error("cannot start {threads} threads: {problem}")]
    #[diagnostic(help("give fewer --threads, or raise the limit on processes (`ulimit -u`)"))]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the system says.
        problem: String,
    },
}

/// A pool with fewer records than its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The source.
    pub pool: String,
    /// Different records that may be chosen.
    pub has: usize,
    /// Records that its share of the mix needs.
    pub needs: usize,
    /// Where the rest of the records went.
    pub detail: String,
}

impl fmt::Display for Shortage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, has, needs, detail } = self;
        write!(formatter, "pool `{pool}` has {has} records to choose from and its share needs {needs} ({detail})")
    }
}

fn shortage_message(shortages: &[Shortage]) -> String {
    let lines: Vec<String> = shortages.iter().map(Shortage::to_string).collect();
    lines.join("\n")
}

fn shortage_remedy(shortages: &[Shortage]) -> &'static str {
    if shortages.iter().any(|shortage| shortage.has == 0) {
        "look at what was rejected in the empty pool, or name more data sets in its `path`"
    } else {
        "name more data sets in its `path`, make `mix.size` smaller, or say `mix.on_shortage = \"repeat\"` (records \
         come more than once, at most `mix.max_epochs` times) or `\"shrink\"` (a smaller mix of the same ratio)"
    }
}

/// A source whose share is not what was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct MissedShare {
    /// The source.
    pub source: String,
    /// Share asked for, 0 to 1.
    pub requested: f64,
    /// Share that it has.
    pub realised: f64,
}

fn share_message(missed: &[MissedShare], unit: Unit, tolerance: f64) -> String {
    let line = |MissedShare { source, requested, realised }: &MissedShare| {
        format!(
            "`{source}` has {:.2} % of the {}, {:.2} % were asked for",
            realised * 100.0,
            unit.as_str(),
            requested * 100.0
        )
    };
    let lines: Vec<String> = missed.iter().map(line).collect();
    format!("{} (`mix.tolerance` is {:.2} %)", lines.join("\n"), tolerance * 100.0)
}
