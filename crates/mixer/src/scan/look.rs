//! Examining the records of a batch: plain ones are identified by their bytes and hashed together, the others imported one by one.

use medley_mixture::canonical::{ContentId, Draft, content_id};
use medley_mixture::key::Key;
use medley_mixture::lanes::Inputs;
use medley_mixture::{Lengths, MixError};
use medley_reader::{Batch, Span};
use medley_source::{FileKeys, ImportedRecord, Importer, PLAIN_SEEN, Shape, read_plain};

use super::PoolScan;
use super::destination::Destination;
use super::reorder_buffer::ReorderBuffer;
use super::tally::Tally;
use crate::filter::{Filter, Signature, Sketch};
use crate::judge::{Judged, Verdict, judge};
use crate::select::{Candidate, Text};

/// Buffers that a thread reuses for every batch.
#[derive(Default)]
struct Memory {
    inputs: Inputs,
    /// The shape of each record, if it is plain.
    plain: Vec<Option<Shape>>,
    draws: Vec<Key>,
    validations: Vec<Key>,
}

/// Records whose contents are hashed together.
const TOGETHER: usize = 256;

impl PoolScan<'_> {
    /// Examines the batches of file `index` until there are no more. `keys` is the evidence of the file's exam items.
    pub(super) fn look(&self, (index, keys): (usize, &FileKeys<'_>), batches: &ReorderBuffer, progress: &dyn Fn(u64)) {
        let mut memory = Memory::default();
        let mut done = None;
        while let Some((number, batch)) = batches.read(done.take()) {
            let seen = match batch {
                Ok(mut batch) => {
                    batch.spans.retain(|span| self.share.takes_record(span.record, self.files.len()));
                    let seen = self.look_at((index, keys), &batch, &mut memory);
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

    /// Counts the records of a batch, and offers those that may be chosen.
    fn look_at(
        &self,
        (index, keys): (usize, &FileKeys<'_>),
        batch: &Batch,
        memory: &mut Memory,
    ) -> Result<Tally, MixError> {
        let mut tally = Tally::default();
        tally.counts.contents.reserve_exact(batch.spans.len());
        let (mut sample, mut held_out) = (Vec::new(), Vec::new());
        let mut keep = |destination: Destination, text: Text, lengths: Lengths, span: &Span| {
            let kept = |key| (key, Candidate { text, file: index, line: span.line, record: span.record, lengths });
            match destination {
                Destination::Sample(key) => sample.push(kept(key)),
                Destination::HeldOut(key) => held_out.push(kept(key)),
            }
        };
        for spans in batch.spans.chunks(TOGETHER) {
            self.look_at_some((index, batch, spans), keys, memory, &mut tally, &mut keep)?;
        }
        self.sample.offer(sample);
        self.held_out.offer(held_out);
        Ok(tally)
    }

    /// Plain records are identified by their canonical contents, hashed together. Others are imported one by one, and so are all
    /// records where a filter or a sketch needs the text.
    fn look_at_some(
        &self,
        (index, batch, spans): (usize, &Batch, &[Span]),
        keys: &FileKeys<'_>,
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
        let Memory { inputs, plain: shapes, draws, validations } = memory;
        inputs.clear();
        let identified = |span: &Span| {
            let identify = |draft: &mut Draft<'_>| {
                let identified = importer.identify(&batch.bytes[span.range.start..], span.range.len(), draft)?;
                // Records that may share exam text are imported.
                (!self.exam.suspects(draft.from(0), identified.input)).then_some(identified.shape)
            };
            if plain { inputs.push(identify) } else { None }
        };
        shapes.clear();
        shapes.extend(spans.iter().map(identified));
        let contents = inputs.hashes();
        let alpaca = shapes.iter().flatten().filter(|shape| **shape == Shape::Alpaca).count();
        tally.count(alpaca as u64, PLAIN_SEEN, Shape::Alpaca);
        tally.count((contents.len() - alpaca) as u64, PLAIN_SEEN, Shape::Conversation);
        self.draw.keys(contents, draws);
        self.validation.keys(contents, validations);
        let mut known = contents.iter().zip(draws.iter().zip(validations.iter()));
        for (span, shape) in spans.iter().zip(&*shapes) {
            let Some((content, (key, validation))) = shape.and_then(|_| known.next()) else {
                self.look_closely((index, batch, span), (importer, keys, filter), tally, keep)?;
                continue;
            };
            tally.counts.contents.push(ContentId(*content));
            if let Some(destination) = self.destination(ContentId(*content), *key, *validation) {
                let bytes = &batch.bytes[span.range.clone()];
                let lengths = self.measure.map_or_else(Lengths::default, |measure| measure.lengths(&read_plain(bytes)));
                keep(destination, Text::Plain(bytes.into()), lengths, span);
            }
        }
        Ok(())
    }

    /// Imports a record and counts its outcome.
    fn look_closely(
        &self,
        (index, batch, span): (usize, &Batch, &Span),
        (importer, keys, filter): (&Importer, &FileKeys<'_>, Option<&Filter>),
        tally: &mut Tally,
        keep: &mut impl FnMut(Destination, Text, Lengths, &Span),
    ) -> Result<(), MixError> {
        let read = importer
            .import_of(batch.record(span), keys)
            .map_err(|problem| self.record_error(index, span.place(), problem))?;
        let ImportedRecord { imported, unmet, seen, shape } = read;
        tally.count(1, seen, shape);
        let Judged { verdict, noted, audited } = judge(imported, unmet, filter, self.exam);
        let file = &self.files[index].name;
        noted.into_iter().for_each(|finding| tally.note(finding, file, span));
        if let Some(pair) = audited {
            tally.audit(*pair, file, span);
        }
        match verdict {
            Verdict::Rejected(reason) => tally.reject(reason, file, span),
            Verdict::Filtered(finding) => tally.filter(*finding, file, span),
            Verdict::ExamItem => tally.exam_item(file, span),
            Verdict::Accepted(messages) => {
                let content = content_id(&messages);
                tally.counts.contents.push(content);
                if self.sketching {
                    let place = (index as u32, span.line as u32, span.record as u32);
                    tally.counts.sketches.push(Sketch { content, place, signature: Signature::of(&messages) });
                }
                let (key, validation) = (self.draw.key(content), self.validation.key(content));
                if let Some(destination) = self.destination(content, key, validation) {
                    let lengths = self.measure.map_or_else(Lengths::default, |measure| measure.lengths(&messages));
                    keep(destination, Text::Read(messages), lengths, span);
                }
            }
        }
        Ok(())
    }
}
