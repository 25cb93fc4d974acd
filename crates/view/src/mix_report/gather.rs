//! One pass over a mix's records: lengths, turns, languages, and a few samples of every source.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use medley_chat::Role;
use medley_mixture::{Key, MixError, MixFolder, MixedRecord, Split, language_name};

use crate::mix_report::lengths::Lengths;

/// Approximate number of samples on a page.
const SHOWN: usize = 100;

/// Samples shown of one source: least and most.
const SHOWN_OF_SOURCE: (usize, usize) = (2, 40);

/// Statistics of the chosen samples of one source.
#[derive(Debug, Default)]
pub(super) struct SourceFacts {
    /// Characters of all turns but the assistant's, of every sample.
    pub questions: Lengths,
    /// Characters of the assistant's turns.
    pub answers: Lengths,
    /// Samples with more than one answer.
    pub dialogues: u64,
    /// Samples with a system message.
    pub systems: u64,
    /// Samples with a marked passage.
    pub passages: u64,
    /// Samples by language.
    pub languages: BTreeMap<String, u64>,
    /// The samples with the smallest keys: a random choice that is reproducible and nested in that of a larger mix.
    pub shown: BTreeMap<Key, MixedRecord>,
}

/// Statistics of a mix's records.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// By source, in the ledger's order.
    pub sources: IndexMap<String, SourceFacts>,
    /// Whether `mix.jsonl` has the hash that the manifest states.
    pub unchanged: bool,
}

impl Gathered {
    /// Reads `mix.jsonl`, with 8 bytes of memory for each sample.
    pub fn read(folder: &MixFolder) -> Result<Self, MixError> {
        let (least, most) = SHOWN_OF_SOURCE;
        let room = (SHOWN / folder.ledger.sources.len().max(1)).clamp(least, most);
        let mut sources: IndexMap<String, SourceFacts> =
            folder.ledger.sources.keys().map(|name| (name.clone(), SourceFacts::default())).collect();
        let blake3 = folder.records(Split::Train, |record| {
            // Sources that are missing from the ledger are shown as well.
            let facts = match sources.get_mut(&record.source) {
                Some(facts) => facts,
                None => sources.entry(record.source.clone()).or_default(),
            };
            facts.add(record, room);
        })?;
        for facts in sources.values_mut() {
            facts.questions.sort();
            facts.answers.sort();
        }
        Ok(Self { sources, unchanged: blake3 == folder.written(Split::Train).blake3 })
    }

    /// Every language that occurs, the most frequent first.
    pub fn languages(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.sources.values().flat_map(|facts| facts.languages.keys()).collect();
        let count = |name: &str| -> u64 { self.sources.values().filter_map(|facts| facts.languages.get(name)).sum() };
        let mut names: Vec<String> = names.into_iter().cloned().collect();
        names.sort_by_key(|name| std::cmp::Reverse(count(name)));
        names
    }

    /// The longest question or answer.
    pub fn longest(&self) -> u32 {
        let longest = |facts: &SourceFacts| facts.questions.longest().max(facts.answers.longest());
        self.sources.values().map(longest).max().unwrap_or(0)
    }

    /// Characters in all.
    pub fn characters(&self) -> u64 {
        self.sources.values().map(|facts| facts.questions.characters + facts.answers.characters).sum()
    }
}

impl SourceFacts {
    fn add(&mut self, record: MixedRecord, room: usize) {
        let (mut question, mut answer, mut answers) = (0, 0, 0);
        for message in &record.messages {
            let characters = message.content.chars().count();
            match message.role {
                Role::Assistant => (answer, answers) = (answer + characters, answers + 1),
                Role::System | Role::User => question += characters,
            }
        }
        self.questions.add(question);
        self.answers.add(answer);
        self.dialogues += u64::from(answers > 1);
        self.systems += u64::from(record.messages.iter().any(|message| message.role == Role::System));
        self.passages += u64::from(record.messages.iter().any(|message| message.passage.is_some()));
        *self.languages.entry(language_name(&record.messages)).or_default() += 1;
        let smaller = self.shown.last_key_value().is_some_and(|(largest, _)| record.key < *largest);
        if self.shown.len() < room || smaller {
            // Repeats have the same text.
            self.shown.entry(record.key).or_insert(record);
            if self.shown.len() > room {
                self.shown.pop_last();
            }
        }
    }
}
