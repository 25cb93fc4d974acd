//! Evidence of how a whole file writes the answers of its exam items, gathered once, at the first ambiguous record.

use std::path::Path;
use std::sync::OnceLock;

use medley_mixture::spec::SourcePart;
use medley_reader::open;

use super::Importer;
use super::choice::KeyEvidence;

type Gather<'a> = dyn Fn() -> KeyEvidence + Send + Sync + 'a;

/// The evidence of one file; always of all its records, also for a shard, which imports only some.
#[derive(Default)]
pub struct FileKeys<'a> {
    evidence: OnceLock<KeyEvidence>,
    gather: Option<Box<Gather<'a>>>,
}

impl<'a> FileKeys<'a> {
    /// The evidence of a file that `importer` reads.
    pub fn of(path: &'a Path, part: &'a SourcePart, importer: &'a Importer) -> Self {
        Self { evidence: OnceLock::new(), gather: Some(Box::new(move || gather(path, part, importer))) }
    }

    /// The evidence. The first call reads the file, on one thread: a parallel read could wait for a task of this same scan.
    pub fn evidence(&self) -> &KeyEvidence {
        self.evidence.get_or_init(|| self.gather.as_ref().map(|gather| gather()).unwrap_or_default())
    }
}

/// Reads a file's records up to its end or its first error, which the import of the file reports.
fn gather(path: &Path, part: &SourcePart, importer: &Importer) -> KeyEvidence {
    let mut evidence = KeyEvidence::default();
    let (wants, knows) = (|column: &str| importer.wants(column), |object: &[u8]| importer.knows(object));
    let Ok(mut opened) = open(path, part, &wants, &knows) else { return evidence };
    while let Ok(Some(batch)) = opened.records.next_batch() {
        batch.spans.iter().for_each(|span| importer.observe(batch.record(span), &mut evidence));
        opened.records.reuse(batch);
    }
    evidence
}
