//! Why a record is in a mix, or is not.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use medley_chat::Message;
use medley_mixture::MixError;
use medley_mixture::canonical::{ContentId, content_id};
use medley_mixture::key::{Key, Keyed, validation_bound};
use medley_mixture::spec::MixSpec;
use medley_reader::{Problem, Span, open};
use medley_source::{FileKeys, Imported, ImportedRecord, Importer, SourceFile};
use rayon::prelude::*;
use serde::Serialize;

use crate::examine::Examination;
use crate::judge::{Verdict, judge};
use crate::mix::{Mix, MixContext, Pool, Preparation, mix};

/// Largest number of places shown of one record.
const PLACES: usize = 20;

/// The record in question.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// A record's key in its pool's draw, or its validation hash: `key` in `mix.jsonl` and `validation.jsonl`.
    Key(Key),
    /// A place, as ledgers and errors write it, `file:line` or `file:line#record`: any line of the record. `path` is the file in
    /// the working directory, if there is one.
    Place { file: String, path: Option<PathBuf>, line: u64, record: Option<u64> },
}

impl Target {
    fn read(text: &str) -> Result<Self, MixError> {
        let wrong = || MixError::Target(text.to_owned());
        if text.len() == 32
            && let Ok(key) = u128::from_str_radix(text, 16)
        {
            return Ok(Self::Key(Key(key)));
        }
        let (file, place) = text.rsplit_once(':').ok_or_else(wrong)?;
        let (line, record) = place.split_once('#').map_or((place, None), |(line, record)| (line, Some(record)));
        let record = record.map(|record| record.parse().map_err(|_| wrong())).transpose()?;
        let (line, path) = (line.parse().map_err(|_| wrong())?, std::fs::canonicalize(file).ok());
        Ok(Self::Place { file: file.to_owned(), path, line, record })
    }

    /// Whether the place is in the record `text`, which begins at `span`.
    fn is_in(&self, file: &SourceFile, span: &Span, text: &[u8]) -> bool {
        let Self::Place { file: wanted, path, line, record } = self else { return false };
        let is_file = || file.name == *wanted || (path.is_some() && *path == std::fs::canonicalize(&file.path).ok());
        let lines = || memchr::memchr_iter(b'\n', text.trim_ascii_end()).count() as u64;
        span.line <= *line
            && record.is_none_or(|record| record == span.record)
            && (span.line == *line || *line <= span.line + lines())
            && is_file()
    }
}

/// A place of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Sighting {
    /// Its pool, by its number in the recipe's order.
    #[serde(skip)]
    order: usize,
    /// Its pool.
    pub source: String,
    /// The file.
    pub file: String,
    /// Line on which it begins, from 1.
    pub line: u64,
    /// Its number in the file, from 1.
    pub record: u64,
}

/// Whether a record is in the mix, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether it is in the mix.
    pub in_mix: bool,
    /// Messages of the record; empty where it could not be read as a conversation.
    pub messages: Vec<Message>,
    /// The first 20 places of the same content, in the recipe's order.
    pub places: Vec<Sighting>,
    /// Step by step, in words.
    pub steps: Vec<String>,
}

/// A record that was met.
struct FoundRecord {
    sighting: Sighting,
    messages: Vec<Message>,
    /// Why it is no part of its pool, where it is not.
    left_out: Option<String>,
}

/// Says why the record at `target` is in the mix of `spec` or is not. `target` is a key of `mix.jsonl` or `validation.jsonl`, or
/// a place as ledgers write it. Reads the sources three times.
///
/// # Errors
/// A target that is neither, or that no source has; and whatever a mix can fail with.
pub fn explain(target: &str, spec: &MixSpec, context: &MixContext<'_>) -> Result<Explanation, MixError> {
    let wanted = Target::read(target)?;
    let mixed = mix(spec, context)?;
    let preparation = Preparation::new(spec, context)?;
    let pools = preparation.find_pools()?;
    let asked = Asked { spec, pools: &pools, exam: preparation.exam(), near: preparation.near_duplicates(&pools)? };
    let met = asked.find(&wanted)?.ok_or_else(|| MixError::NotFound(target.to_owned()))?;
    if let Some(reason) = met.left_out {
        let steps = vec![format!("left out of `{}`: {reason}", met.sighting.source)];
        return Ok(Explanation { in_mix: false, messages: met.messages, places: vec![met.sighting], steps });
    }
    asked.explain_content(&met, &mixed)
}

struct Asked<'a> {
    spec: &'a MixSpec,
    pools: &'a [Pool<'a>],
    exam: &'a Examination<'a>,
    /// By pool, sorted: near-duplicates of other records.
    near: Vec<Vec<ContentId>>,
}

impl Asked<'_> {
    /// The first record that fits, in the recipe's order.
    fn find(&self, wanted: &Target) -> Result<Option<FoundRecord>, MixError> {
        let found: Mutex<Option<FoundRecord>> = Mutex::new(None);
        let validation = Keyed::validation();
        for (order, pool) in self.pools.iter().enumerate() {
            let draw = Keyed::draw(self.spec.seed, pool.name);
            self.walk(pool, &|(file, span, text), messages, left_out| {
                let is_it = match wanted {
                    Target::Key(key) if left_out.is_none() => {
                        let content = content_id(messages);
                        draw.key(content) == *key || validation.key(content) == *key
                    }
                    place => place.is_in(file, span, text),
                };
                let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let sighting = sighting(order, pool, file, span);
                if is_it && found.as_ref().is_none_or(|met| sighting < met.sighting) {
                    *found = Some(FoundRecord { sighting, messages: messages.to_vec(), left_out });
                }
            })?;
        }
        Ok(found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Why a record that its pool could take is in the mix or is not.
    fn explain_content(&self, met: &FoundRecord, mixed: &Mix) -> Result<Explanation, MixError> {
        let content = content_id(&met.messages);
        let (places, contents) = self.all_of(content)?;
        let owner = &places[0];
        let pool = &self.pools[owner.order];
        let mut steps = Vec::new();
        if places.len() > 1 {
            steps.push(format!("the same content occurs in {} places; one of them counts", places.len()));
        }
        if met.sighting.source != pool.name {
            steps.push(format!("it belongs to `{}`, which is named before `{}`", pool.name, met.sighting.source));
        }
        let validation = Keyed::validation().key(content);
        let (line, is_in) = if self.near[owner.order].binary_search(&content).is_ok() {
            steps.push("left out as a near-duplicate of an earlier record".to_owned());
            (None, false)
        } else if validation.0 < validation_bound(self.spec.validation.fraction) {
            let at = mixed.validation.keys().position(|(key, _)| key == validation);
            let part = format!("{} % of every pool", self.spec.validation.fraction * 100.0);
            steps.push(format!("held out for validation, as {part} are by a hash of the content that no seed changes"));
            (at.map(|at| format!("line {} of validation.jsonl", at + 1)), false)
        } else {
            let key = Keyed::draw(self.spec.seed, pool.name).key(content);
            steps.push(self.rank(key, owner.order, &contents, mixed));
            let lines = mixed.train.keys().enumerate().filter(|(_, known)| *known == (key, pool.name));
            let lines: Vec<String> = lines.map(|(at, _)| (at + 1).to_string()).collect();
            let is_in = !lines.is_empty();
            (is_in.then(|| format!("in the mix, line {} of mix.jsonl", lines.join(", "))), is_in)
        };
        steps.push(line.unwrap_or_else(|| "not in the mix".to_owned()));
        let shown = places.into_iter().take(PLACES).collect();
        Ok(Explanation { in_mix: is_in, messages: met.messages.clone(), places: shown, steps })
    }

    /// `key 0a… is the 17th smallest of the 4,555 in `general`; the mix takes 1,800`.
    fn rank(&self, key: Key, order: usize, contents: &BTreeMap<ContentId, usize>, mixed: &Mix) -> String {
        let name = self.pools[order].name;
        let (draw, validation) = (Keyed::draw(self.spec.seed, name), Keyed::validation());
        let bound = validation_bound(self.spec.validation.fraction);
        let own = contents.iter().filter(|(_, owner)| **owner == order).map(|(content, _)| *content);
        let own = own.filter(|content| self.near[order].binary_search(content).is_err());
        let smaller = own.filter(|content| validation.key(*content).0 >= bound && draw.key(*content) < key).count();
        let line = &mixed.ledger.sources[name];
        let (rank, taken) = (smaller as u64 + 1, line.chosen.min(line.available));
        let verdict =
            if rank <= taken { String::new() } else { format!("; it would be in from {rank} records of `{name}` on") };
        format!(
            "key {key}: number {rank} by key of the {} that `{name}` has to choose from, of which the mix takes {taken}{verdict}",
            line.available
        )
    }

    /// Every place of a content, and of every content the first pool that has it.
    fn all_of(&self, wanted: ContentId) -> Result<(Vec<Sighting>, BTreeMap<ContentId, usize>), MixError> {
        let places = Mutex::new(Vec::new());
        let contents = Mutex::new(BTreeMap::new());
        for (order, pool) in self.pools.iter().enumerate() {
            self.walk(pool, &|(file, span, _), messages, left_out| {
                if left_out.is_some() {
                    return;
                }
                let content = content_id(messages);
                contents.lock().unwrap_or_else(std::sync::PoisonError::into_inner).entry(content).or_insert(order);
                if content == wanted {
                    let mut places = places.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    places.push(sighting(order, pool, file, span));
                }
            })?;
        }
        let mut places = places.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        places.sort();
        Ok((places, contents.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)))
    }

    /// Shows every record of a pool to `visit`, with its messages and why it is left out.
    fn walk(&self, pool: &Pool<'_>, visit: &Visit<'_>) -> Result<(), MixError> {
        let importers: Vec<Importer> = pool.spec.parts.iter().map(Importer::new).collect();
        pool.files.par_iter().try_for_each(|file| {
            let importer = &importers[file.part];
            let keys = FileKeys::of(&file.path, &pool.spec.parts[file.part], importer);
            let whole = |Problem { problem, hint }| MixError::File { file: file.name.clone(), problem, hint };
            let (wants, knows) = (|column: &str| importer.wants(column), |object: &[u8]| importer.knows(object));
            let mut opened = open(&file.path, &pool.spec.parts[file.part], &wants, &knows).map_err(whole)?;
            while let Some(batch) = opened.records.next_batch().map_err(|(_, problem)| whole(problem))? {
                batch.spans.par_iter().try_for_each(|span| {
                    let ImportedRecord { imported, unmet, .. } =
                        importer.import_of(batch.record(span), &keys).map_err(whole)?;
                    let record = (file, span, &batch.bytes[span.range.clone()]);
                    let as_read = match &imported {
                        Imported::Conversation(messages) => messages.clone(),
                        Imported::Rejected(_) => Vec::new(),
                    };
                    match judge(imported, unmet, pool.filters[file.part].as_ref(), self.exam).verdict {
                        Verdict::Accepted(messages) => visit(record, &messages, None),
                        verdict => visit(record, &as_read, Some(reason(&verdict))),
                    }
                    Ok::<(), MixError>(())
                })?;
            }
            Ok(())
        })
    }
}

/// The reason for leaving a record out, in words.
fn reason(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accepted(_) => String::new(),
        Verdict::Rejected(reason) => reason.as_str().to_owned(),
        Verdict::ExamItem => "the recipe's exam asks the same".to_owned(),
        Verdict::Filtered(finding) => {
            let detail = if finding.detail.is_empty() { String::new() } else { format!(" [{}]", finding.detail) };
            format!("{}{detail}: {}", finding.reason.as_str(), finding.excerpt)
        }
    }
}

/// Callback for every record: its file, place and bytes, its messages, and why it is left out.
type Visit<'a> = dyn Fn((&SourceFile, &Span, &[u8]), &[Message], Option<String>) + Sync + 'a;

fn sighting(order: usize, pool: &Pool<'_>, file: &SourceFile, span: &Span) -> Sighting {
    let (source, file) = (pool.name.to_owned(), file.name.clone());
    Sighting { order, source, file, line: span.line, record: span.record }
}
