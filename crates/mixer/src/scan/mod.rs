//! Reading a pool: every record once, in parallel, with the sample's texts and 16 bytes per record in memory.

mod in_order;
mod tally;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use medley_chat::Message;
use rayon::prelude::*;

use crate::canonical::{ContentId, Draft, content_id};
use crate::error::MixError;
use crate::examine::{AuditPair, Examination, Examined};
use crate::filter::{Filter, Finding, Signature, Sketch};
use crate::import::{Imported, Importer, PLAIN, Read, Rejection, read_plain};
use crate::key::{Key, Keyed};
use crate::lanes::Inputs;
use crate::locate::SourceFile;
use crate::measure::{Lengths, MeasureTokens};
use crate::read::{Batch, Opened, Problem, Span, SplitError, open};
use crate::select::{Candidate, Smallest, Text};
use crate::shard::Share;
use crate::spec::SourcePart;
use in_order::InOrder;
use tally::Tally;
pub(crate) use tally::{FileScan, Lacking};

/// What is asked of every record of a pool.
pub(crate) struct PoolScan<'a> {
    pub files: &'a [SourceFile],
    /// The part of the pool that is read.
    pub share: Share,
    /// Length of its files on the disk.
    pub bytes: u64,
    pub parts: &'a [SourcePart],
    /// By part.
    pub importers: &'a [Importer],
    /// By part; `None` where nothing is asked.
    pub filters: &'a [Option<Filter>],
    pub exam: &'a Examination<'a>,
    /// Contents of the pools named earlier, sorted.
    pub earlier: &'a [Vec<ContentId>],
    /// Whether records are sketched, for finding near-duplicates.
    pub sketching: bool,
    /// Whether it is guessed from the first records how many there are.
    pub expecting: bool,
    /// Contents that are near-duplicates of others, sorted.
    pub left_out: &'a [ContentId],
    pub draw: Keyed,
    pub validation: Keyed,
    /// Contents whose validation hash lies below it are held out.
    pub validation_bound: u128,
    pub sample: Smallest,
    pub held_out: Smallest,
    /// Measures what may be chosen, where the mix counts tokens.
    pub measure: Option<&'a dyn MeasureTokens>,
    /// Told the bytes and records of every batch.
    pub progress: Box<dyn Fn(u64, u64) + Sync + 'a>,
}

/// What became of one record, and what is to be remembered of it.
struct Judged {
    outcome: Outcome,
    /// What was found in a record that is kept.
    noted: Vec<Finding>,
    audited: Option<Box<AuditPair>>,
    signature: Option<Box<Signature>>,
}

impl From<Outcome> for Judged {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, noted: Vec::new(), audited: None, signature: None }
    }
}

/// What became of one record.
enum Outcome {
    Rejected(Rejection),
    Filtered(Box<Finding>),
    ExamItem,
    /// Where it goes if it may be chosen, with its messages.
    Read(ContentId, Option<(Destination, Measured)>),
}

/// Messages, and how long they are where the mix counts tokens.
type Measured = (Vec<Message>, Lengths);

enum Destination {
    Sample(Key),
    HeldOut(Key),
}

impl PoolScan<'_> {
    /// Reads every file; the first error in the order of files and records counts, whatever thread meets it first.
    pub fn run(&self) -> Result<Vec<FileScan>, MixError> {
        let taken: Vec<usize> = self.share.files(self.files).map(|(index, _)| index).collect();
        let scans: Vec<_> = taken.into_par_iter().map(|file| self.scan_file(file)).collect();
        scans.into_iter().collect()
    }

    fn scan_file(&self, index: usize) -> Result<FileScan, MixError> {
        let file = &self.files[index];
        let whole = |Problem { problem, hint }| MixError::File { file: file.name.clone(), problem, hint };
        let before = stamp(&file.path);
        let importer = &self.importers[file.part];
        let wants = |column: &str| importer.wants(column);
        let Opened { records, fingerprinter, layout } =
            open(&file.path, &self.parts[file.part], &wants).map_err(whole)?;
        let batches = InOrder::new(records);
        let (reported, read) = (AtomicU64::new(0), AtomicU64::new(0));
        let progress = |records: u64| {
            let bytes = fingerprinter.bytes();
            (self.progress)(bytes.saturating_sub(reported.fetch_max(bytes, Ordering::Relaxed)), records);
            self.expect(read.fetch_add(records, Ordering::Relaxed) + records, bytes);
        };
        rayon::scope(|scope| {
            for _ in 1..rayon::current_num_threads() {
                scope.spawn(|_| self.look(index, &batches, &progress));
            }
            self.look(index, &batches, &progress);
        });
        let tally = batches.finish()?;
        if stamp(&file.path) != before {
            return Err(whole(Problem::new(
                "the file changed or disappeared while it was read",
                "run again when it is complete",
            )));
        }
        let scan = tally.finish(index, importer, fingerprinter.finish(), layout);
        match scan.lacking.clone().filter(|_| !self.share.divides(self.files.len())) {
            Some(lacking) => Err(lacking.error(&file.name)),
            None => Ok(scan),
        }
    }

    /// Tells how many records there may be, once `bytes` of a file held `records`.
    fn expect(&self, records: u64, bytes: u64) {
        if self.expecting && bytes >= TELLING {
            let all = (u128::from(records) * u128::from(self.bytes) / u128::from(bytes)) as u64;
            self.sample.expect(all);
        }
    }

    /// Whether the guess that [`Self::expect`] made left too few.
    pub fn guessed_wrong(&self) -> bool {
        self.sample.guessed_wrong()
    }

    /// Looks at a file's batches, one after another, until there are no more.
    fn look(&self, index: usize, batches: &InOrder, progress: &dyn Fn(u64)) {
        let mut memory = Memory::default();
        let mut done = None;
        while let Some((number, batch)) = batches.read(done.take()) {
            let seen = match batch {
                Ok(mut batch) => {
                    batch.spans.retain(|span| self.share.takes_record(span.record, self.files.len()));
                    let seen = self.look_at(index, &batch, &mut memory);
                    let seen = seen.map(|tally| if batches.knows_first() { tally } else { tally.with_first(&batch) });
                    progress(batch.spans.len() as u64);
                    done = Some(batch);
                    seen
                }
                Err(error) => Err(self.split_error(index, error)),
            };
            batches.count(number, seen);
        }
    }

    /// Counts a batch and offers what may be chosen of it.
    fn look_at(&self, index: usize, batch: &Batch, memory: &mut Memory) -> Result<Tally, MixError> {
        let mut tally = Tally::default();
        tally.contents.reserve_exact(batch.spans.len());
        let (mut sample, mut held_out) = (Vec::new(), Vec::new());
        let mut keep = |destination: Destination, text: Text, lengths: Lengths, span: &Span| {
            let kept = |key| (key, Candidate { text, file: index, line: span.line, record: span.record, lengths });
            match destination {
                Destination::Sample(key) => sample.push(kept(key)),
                Destination::HeldOut(key) => held_out.push(kept(key)),
            }
        };
        for spans in batch.spans.chunks(TOGETHER) {
            self.look_at_some((index, batch, spans), memory, &mut tally, &mut keep)?;
        }
        self.sample.offer(sample);
        self.held_out.offer(held_out);
        Ok(tally)
    }

    /// Plain records are told by their canonical contents, hashed together; the others are read one by one, and so is every
    /// record whose text is asked about.
    fn look_at_some(
        &self,
        (index, batch, spans): (usize, &Batch, &[Span]),
        memory: &mut Memory,
        tally: &mut Tally,
        keep: &mut impl FnMut(Destination, Text, Lengths, &Span),
    ) -> Result<(), MixError> {
        let part = self.files[index].part;
        let (importer, filter) = (&self.importers[part], self.filters[part].as_ref());
        let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return Ok(()) };
        let text = &batch.bytes[first.range.start..last.range.end];
        let plain =
            batch.table.is_none() && filter.is_none() && !self.sketching && simdutf8::basic::from_utf8(text).is_ok();
        let Memory { inputs, is_plain, draws, validations } = memory;
        inputs.clear();
        let identified = |span: &Span| {
            let identify = |draft: &mut Draft<'_>| {
                let identified = importer.identify(&batch.bytes[span.range.start..], span.range.len(), draft)?;
                // What has to do with the exam is looked at closely.
                (!self.exam.suspects(draft.from(0), identified)).then_some(())
            };
            plain && inputs.push(identify).is_some()
        };
        is_plain.clear();
        is_plain.extend(spans.iter().map(identified));
        let contents = inputs.hashes();
        tally.count(contents.len() as u64, PLAIN.0, PLAIN.1);
        self.draw.keys(contents, draws);
        self.validation.keys(contents, validations);
        let mut known = contents.iter().zip(draws.iter().zip(validations.iter()));
        for (span, plain) in spans.iter().zip(&*is_plain) {
            let Some((content, (key, validation))) = plain.then(|| known.next()).flatten() else {
                self.look_closely((index, batch, span), (importer, filter), tally, keep)?;
                continue;
            };
            tally.contents.push(ContentId(*content));
            if let Some(destination) = self.destination(ContentId(*content), *key, *validation) {
                let bytes = &batch.bytes[span.range.clone()];
                let lengths = self.measure.map_or_else(Lengths::default, |measure| measure.lengths(&read_plain(bytes)));
                keep(destination, Text::Plain(bytes.into()), lengths, span);
            }
        }
        Ok(())
    }

    /// Reads a record and counts what became of it.
    fn look_closely(
        &self,
        (index, batch, span): (usize, &Batch, &Span),
        (importer, filter): (&Importer, Option<&Filter>),
        tally: &mut Tally,
        keep: &mut impl FnMut(Destination, Text, Lengths, &Span),
    ) -> Result<(), MixError> {
        let read =
            importer.import(batch.record(span)).map_err(|problem| self.record_error(index, span.place(), problem))?;
        let Read { imported, unmet, seen, shape } = read;
        tally.count(1, seen, shape);
        let Judged { outcome, noted, audited, signature } = match (imported, unmet) {
            (Imported::Rejected(reason), _) => Outcome::Rejected(reason).into(),
            (_, Some(finding)) => Outcome::Filtered(finding).into(),
            (Imported::Conversation(messages), None) => self.judged(messages, filter),
        };
        let file = &self.files[index].name;
        noted.into_iter().for_each(|finding| tally.note(finding, file, span));
        if let Some(pair) = audited {
            tally.audit(*pair, file, span);
        }
        match outcome {
            Outcome::Rejected(reason) => tally.reject(reason, file, span),
            Outcome::Filtered(finding) => tally.filter(*finding, file, span),
            Outcome::ExamItem => tally.exam_item(file, span),
            Outcome::Read(content, destination) => {
                tally.contents.push(content);
                if let Some(signature) = signature {
                    let place = (index as u32, span.line as u32, span.record as u32);
                    tally.sketches.push(Sketch { content, place, signature: *signature });
                }
                if let Some((destination, (messages, lengths))) = destination {
                    keep(destination, Text::Read(messages), lengths, span);
                }
            }
        }
        Ok(())
    }

    fn record_error(&self, index: usize, (line, record): (u64, u64), Problem { problem, hint }: Problem) -> MixError {
        MixError::Record { file: self.files[index].name.clone(), line, record, problem, hint }
    }

    fn split_error(&self, index: usize, (place, Problem { problem, hint }): SplitError) -> MixError {
        match place {
            Some(place) => self.record_error(index, place, Problem { problem, hint }),
            None => MixError::File { file: self.files[index].name.clone(), problem, hint },
        }
    }

    /// What becomes of a conversation.
    fn judged(&self, mut messages: Vec<Message>, filter: Option<&Filter>) -> Judged {
        let mut noted = match filter.map_or(Ok(None), |filter| filter.judge(&mut messages)) {
            Ok(noted) => noted.map_or_else(Vec::new, |finding| vec![*finding]),
            Err(finding) => return Outcome::Filtered(finding).into(),
        };
        let (examined, audited) = self.exam.of(&messages);
        match examined {
            Examined::Nothing => {}
            Examined::SameQuestion => return Judged { audited, ..Outcome::ExamItem.into() },
            Examined::Shares(finding) => return Judged { audited, ..Outcome::Filtered(finding).into() },
            Examined::Noted(finding) => noted.push(*finding),
        }
        let signature = self.sketching.then(|| Box::new(Signature::of(&messages)));
        Judged { outcome: self.conversation(messages), noted, audited, signature }
    }

    fn conversation(&self, messages: Vec<Message>) -> Outcome {
        let content = content_id(&messages);
        let destination = self.destination(content, self.draw.key(content), self.validation.key(content));
        Outcome::Read(content, destination.map(|destination| (destination, self.measured(messages))))
    }

    fn measured(&self, messages: Vec<Message>) -> Measured {
        let lengths = self.measure.map_or_else(Lengths::default, |measure| measure.lengths(&messages));
        (messages, lengths)
    }

    /// Where a record goes if it may be chosen.
    fn destination(&self, content: ContentId, key: Key, validation: Key) -> Option<Destination> {
        let held_out = validation.0 < self.validation_bound;
        let wanted = if held_out { self.held_out.wants(validation) } else { self.sample.wants(key) };
        let stands_elsewhere = || self.earlier.iter().any(|pool| stands_in(content, pool));
        if !wanted || stands_elsewhere() || (!self.left_out.is_empty() && stands_in(content, self.left_out)) {
            return None;
        }
        Some(if held_out { Destination::HeldOut(validation) } else { Destination::Sample(key) })
    }
}

/// Bytes on the disk from which on a file tells how long its records are.
const TELLING: u64 = 1 << 20;

/// What a thread uses again for every batch.
#[derive(Default)]
struct Memory {
    inputs: Inputs,
    is_plain: Vec<bool>,
    draws: Vec<Key>,
    validations: Vec<Key>,
}

/// Records whose contents are hashed together.
const TOGETHER: usize = 256;

/// Whether a content is one of `sorted`. They are hashes, so it stands near its share of the way.
pub(crate) fn stands_in(content: ContentId, sorted: &[ContentId]) -> bool {
    let guess = (((content.0 >> 64) * sorted.len() as u128) >> 64) as usize;
    let mut step = 16;
    let (mut low, mut high) = (guess, guess);
    while low > 0 && sorted[low - 1] >= content {
        low = low.saturating_sub(step);
        step *= 4;
    }
    step = 16;
    while high < sorted.len() && sorted[high] <= content {
        high = (high + step).min(sorted.len());
        step *= 4;
    }
    sorted[low..high].binary_search(&content).is_ok()
}

/// Length and time of change, to notice a file that changes while it is read.
fn stamp(path: &Path) -> Option<(u64, std::time::SystemTime)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}
