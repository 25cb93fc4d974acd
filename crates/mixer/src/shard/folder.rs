//! A shard's folder: written whole, and read only where every byte is what was written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use medley_chat::Message;
use medley_mixture::canonical::{CANONICAL_VERSION, ContentId};
use medley_mixture::key::Key;
use medley_mixture::ledger::Counted;
use medley_mixture::spec::MixSpec;
use medley_mixture::{IMPORTER_VERSION, Lengths, MixError, Rejection};
use medley_reader::Fingerprint;
use medley_source::{ColumnMask, Shape};
use serde::{Deserialize, Serialize};

use crate::mix::{MixContext, Pool, PoolRead};
use crate::scan::{Counts, FileScan, MissingColumn};
use crate::select::{Candidate, Text};
use crate::share::ShardNumber;

const VERSION: u32 = 2;
const CONTENTS: &[u8] = b"medley contents 1\n";
const MANIFEST: &str = "shard.json";

/// Properties that two shards must have in common, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    shard_version: u32,
    canonical_version: u32,
    importer_version: u32,
    /// BLAKE3 of the recipe's mix section and sources.
    recipe: String,
    /// BLAKE3 of the exam's questions.
    exam_questions: String,
    /// Tokenizer and template, where the mix counts tokens.
    tokens: Option<String>,
}

impl Identity {
    pub fn new(spec: &MixSpec, context: &MixContext<'_>) -> Result<Self, MixError> {
        let recipe = serde_json::to_vec(spec).map_err(io::Error::from)?;
        Ok(Self {
            shard_version: VERSION,
            canonical_version: CANONICAL_VERSION,
            importer_version: IMPORTER_VERSION,
            recipe: blake3::hash(&recipe).to_hex().to_string(),
            exam_questions: medley_mixture::manifest::exam_texts_hash(context.exam_items),
            tokens: context.measure.filter(|_| spec.needs_tokens()).map(|measure| measure.identity()),
        })
    }

    /// Property of this shard that differs from the recipe it is merged by.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let pairs = [
            (self.shard_version == other.shard_version, "the layout of shards (another version of Medley)"),
            (self.canonical_version == other.canonical_version, "the canonical content (another version of Medley)"),
            (self.importer_version == other.importer_version, "the importers (another version of Medley)"),
            (self.recipe == other.recipe, "the recipe's [mix] or [sources]"),
            (self.exam_questions == other.exam_questions, "the exam's questions"),
            (self.tokens == other.tokens, "the tokenizer or chat template that tokens are counted with"),
        ];
        pairs.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
    }
}

/// `shard.json`.
#[derive(Serialize, Deserialize)]
pub(super) struct ShardManifest {
    pub shard: ShardNumber,
    pub identity: Identity,
    pub pools: Vec<ShardPool>,
    files: BTreeMap<String, Sealed>,
    /// BLAKE3 of all of the above.
    #[serde(default)]
    checksum: String,
}

impl ShardManifest {
    /// Enters the checksum that belongs to the rest, and gives back the one that was there.
    fn seal(&mut self) -> Result<String, MixError> {
        let found = std::mem::take(&mut self.checksum);
        let json = serde_json::to_vec(self).map_err(io::Error::from)?;
        self.checksum = blake3::hash(&json).to_hex().to_string();
        Ok(found)
    }
}

/// A file of the folder.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Sealed {
    bytes: u64,
    blake3: String,
}

/// Summary of a pool in a shard, besides its contents and candidates.
#[derive(Serialize, Deserialize)]
pub(super) struct ShardPool {
    pub name: String,
    /// Every file of the pool with its part, read by this shard or not.
    pub files: Vec<(String, usize)>,
    pub read: Vec<ShardFile>,
    pub importable: u64,
    /// Up to which key the candidates are all there are; every key where there is none.
    pub sample_to: Option<Key>,
    pub held_out_to: Option<Key>,
}

/// Part of a file that a shard read.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct ShardFile {
    index: usize,
    blake3: String,
    bytes: u64,
    layout: String,
    read: u64,
    shapes: Vec<(Shape, u64)>,
    rejected: IndexMap<Rejection, Counted>,
    exam_items: Counted,
    #[serde(default)]
    noted: IndexMap<Rejection, Counted>,
    seen: ColumnMask,
    lacking: Option<MissingColumn>,
}

impl ShardFile {
    fn of(FileScan { index, fingerprint, layout, counts, lacking }: &FileScan) -> Self {
        Self {
            index: *index,
            blake3: fingerprint.blake3.clone(),
            bytes: fingerprint.bytes,
            layout: layout.clone(),
            read: counts.read,
            shapes: counts.shapes.iter().map(|(shape, count)| (*shape, *count)).collect(),
            rejected: counts.rejected.iter().map(|(reason, counted)| (*reason, counted.clone())).collect(),
            exam_items: counts.exam_items.clone(),
            noted: counts.noted.iter().map(|(reason, counted)| (*reason, counted.clone())).collect(),
            seen: counts.seen,
            lacking: lacking.clone(),
        }
    }

    pub fn into_scan(self) -> FileScan {
        let counts = Counts {
            read: self.read,
            shapes: self.shapes.into_iter().collect(),
            rejected: self.rejected.into_iter().collect(),
            exam_items: self.exam_items,
            noted: self.noted.into_iter().collect(),
            seen: self.seen,
            ..Counts::default()
        };
        FileScan {
            index: self.index,
            fingerprint: Fingerprint { blake3: self.blake3, bytes: self.bytes },
            layout: self.layout,
            counts,
            lacking: self.lacking,
        }
    }
}

/// A candidate as a line.
#[derive(Serialize, Deserialize)]
struct Line {
    key: Key,
    file: usize,
    line: u64,
    record: u64,
    #[serde(default, skip_serializing_if = "is_nothing")]
    tokens: (u32, u32),
    messages: Vec<Message>,
}

fn is_nothing(tokens: &(u32, u32)) -> bool {
    *tokens == (0, 0)
}

/// Writes a shard's folder.
pub(super) struct ShardWriter<'a> {
    folder: &'a Path,
    manifest: ShardManifest,
}

impl<'a> ShardWriter<'a> {
    pub fn new(
        folder: &'a Path,
        spec: &MixSpec,
        context: &MixContext<'_>,
        shard: ShardNumber,
    ) -> Result<Self, MixError> {
        let identity = Identity::new(spec, context)?;
        let (pools, files, checksum) = (Vec::new(), BTreeMap::new(), String::new());
        Ok(Self { folder, manifest: ShardManifest { shard, identity, pools, files, checksum } })
    }

    pub fn write_pool(&mut self, pool: &Pool<'_>, read: &PoolRead) -> Result<(), MixError> {
        let number = self.manifest.pools.len();
        self.seal(&contents_file(number), |file| {
            file.write_all(CONTENTS)?;
            read.contents.iter().try_for_each(|content| file.write_all(&content.0.to_be_bytes()))
        })?;
        self.seal(&sample_file(number), |file| write_candidates(&read.sample, file))?;
        self.seal(&held_out_file(number), |file| write_candidates(&read.held_out, file))?;
        self.manifest.pools.push(ShardPool {
            name: pool.name.to_owned(),
            files: pool.files.iter().map(|file| (file.name.clone(), file.part)).collect(),
            read: read.files.iter().map(ShardFile::of).collect(),
            importable: read.importable,
            sample_to: read.sample_to,
            held_out_to: read.held_out_to,
        });
        Ok(())
    }

    /// Writes a file and remembers what it holds.
    fn seal(&mut self, name: &str, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), MixError> {
        let file = File::create(self.folder.join(name))?;
        let mut sealing =
            Sealing { file: BufWriter::with_capacity(1 << 20, file), hasher: blake3::Hasher::new(), bytes: 0 };
        fill(&mut sealing)?;
        sealing.file.flush()?;
        let sealed = Sealed { bytes: sealing.bytes, blake3: sealing.hasher.finalize().to_hex().to_string() };
        self.manifest.files.insert(name.to_owned(), sealed);
        Ok(())
    }

    pub fn finish(mut self) -> Result<(), MixError> {
        self.manifest.seal()?;
        let json = serde_json::to_vec_pretty(&self.manifest).map_err(io::Error::from)?;
        std::fs::write(self.folder.join(MANIFEST), json)?;
        Ok(())
    }
}

struct Sealing {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Sealing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn contents_file(pool: usize) -> String {
    format!("contents-{pool}.bin")
}

fn sample_file(pool: usize) -> String {
    format!("sample-{pool}.jsonl")
}

fn held_out_file(pool: usize) -> String {
    format!("held_out-{pool}.jsonl")
}

fn write_candidates(candidates: &[(Key, Candidate)], mut file: &mut dyn Write) -> io::Result<()> {
    for (key, candidate) in candidates {
        let Candidate { text, file: index, line, record, lengths } = candidate;
        let (messages, index, line, record) = (text.messages(), *index, *line, *record);
        let tokens = (lengths.tokens, lengths.supervised_tokens);
        serde_json::to_writer(&mut file, &Line { key: *key, file: index, line, record, tokens, messages })?;
        file.write_all(b"\n")?;
    }
    Ok(())
}

/// A shard that was opened.
pub(super) struct Shard {
    folder: PathBuf,
    pub manifest: ShardManifest,
}

impl Shard {
    pub fn open(folder: &Path) -> Result<Self, MixError> {
        let wrong = |problem: String, hint: &str| MixError::Shard {
            folder: folder.display().to_string(),
            problem,
            hint: hint.to_owned(),
        };
        let json = std::fs::read(folder.join(MANIFEST)).map_err(|error| {
            wrong(
                format!("no shard ({MANIFEST}: {error})"),
                "name the folders that `medley mix --shard i/n --out` wrote",
            )
        })?;
        let mut manifest: ShardManifest =
            serde_json::from_slice(&json).map_err(|error| wrong(format!("{MANIFEST} is damaged: {error}"), AGAIN))?;
        // Of another version is said by name later.
        let is_ours = manifest.identity.shard_version == VERSION;
        if manifest.seal()? != manifest.checksum && is_ours {
            return Err(wrong(format!("{MANIFEST} is damaged: it is not what was written"), AGAIN));
        }
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// As the reader named it.
    pub fn name(&self) -> String {
        self.folder.display().to_string()
    }

    pub fn wrong(&self, problem: impl Into<String>, hint: &str) -> MixError {
        MixError::Shard { folder: self.name(), problem: problem.into(), hint: hint.to_owned() }
    }

    /// The bytes of a file, checked.
    fn sealed(&self, name: &str) -> Result<Vec<u8>, MixError> {
        let damaged = |what: String| self.wrong(format!("{name} {what}: the folder is incomplete or damaged"), AGAIN);
        let bytes =
            std::fs::read(self.folder.join(name)).map_err(|error| damaged(format!("cannot be read ({error})")))?;
        let found = Sealed { bytes: bytes.len() as u64, blake3: blake3::hash(&bytes).to_hex().to_string() };
        match self.manifest.files.get(name) {
            Some(sealed) if *sealed == found => Ok(bytes),
            Some(sealed) if sealed.bytes != found.bytes => {
                Err(damaged(format!("has {} bytes and not {}", found.bytes, sealed.bytes)))
            }
            _ => Err(damaged("is not what was written".to_owned())),
        }
    }

    /// The different contents of a pool, sorted.
    pub fn contents(&self, pool: usize) -> Result<Vec<ContentId>, MixError> {
        let name = contents_file(pool);
        let bytes = self.sealed(&name)?;
        let ids = bytes.strip_prefix(CONTENTS).filter(|ids| ids.len() % 16 == 0);
        let ids = ids.ok_or_else(|| self.wrong(format!("{name} is in another layout"), AGAIN))?;
        let id = |bytes: &[u8]| ContentId(bytes.iter().fold(0, |id, byte| id << 8 | u128::from(*byte)));
        Ok(ids.chunks_exact(16).map(id).collect())
    }

    pub fn sample(&self, pool: usize) -> Result<Vec<(Key, Candidate)>, MixError> {
        self.candidates(pool, &sample_file(pool))
    }

    pub fn held_out(&self, pool: usize) -> Result<Vec<(Key, Candidate)>, MixError> {
        self.candidates(pool, &held_out_file(pool))
    }

    fn candidates(&self, pool: usize, name: &str) -> Result<Vec<(Key, Candidate)>, MixError> {
        let bytes = self.sealed(name)?;
        let files = self.manifest.pools.get(pool).map_or(0, |pool| pool.files.len());
        let read = |line: Result<Line, serde_json::Error>| {
            let line = line.map_err(|error| self.wrong(format!("{name} is in another layout: {error}"), AGAIN))?;
            let Line { key, file, line, record, tokens: (tokens, supervised_tokens), messages } = line;
            if file >= files {
                return Err(self.wrong(format!("{name} names file {file} of {files}"), AGAIN));
            }
            let lengths = Lengths { tokens, supervised_tokens };
            Ok((key, Candidate { text: Text::Read(messages), file, line, record, lengths }))
        };
        serde_json::Deserializer::from_slice(&bytes).into_iter::<Line>().map(read).collect()
    }
}

const AGAIN: &str = "copy the folder again, or make the shard again";
