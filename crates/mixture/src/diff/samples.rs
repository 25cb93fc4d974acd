//! Which records two mixes have in common, by content.

use std::collections::HashMap;
use std::ops::Range;

use indexmap::IndexMap;
use medley_chat::Role;
use serde::Serialize;

use crate::canonical::{ContentId, content_id};
use crate::error::MixError;
use crate::folder::{MixFolder, Split};
use crate::key::Key;
use crate::record::MixedRecord;

/// Examples of records in one mix only, by source.
const EXAMPLES: usize = 3;

/// Characters of a question that an example shows.
const EXCERPT: usize = 60;

/// Records of one source in a split.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SampleCounts {
    /// In both.
    pub same: u64,
    /// Only in A, or more often there.
    pub only_a: u64,
    /// Only in B, or more often there.
    pub only_b: u64,
    /// Of those only in A, how many B has under another source.
    pub moved: u64,
}

/// A record in one mix only, or in a split where it must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Its source.
    pub source: String,
    /// Its key in its mix.
    pub key: Key,
    /// `file:line`.
    pub place: String,
    /// How its question begins.
    pub question: String,
}

/// The records of a split in two mixes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SplitDiff {
    /// By source, in A's order.
    pub sources: IndexMap<String, SampleCounts>,
    /// Whether the common records are in the same order.
    pub same_order: bool,
    /// Examples of records in A only.
    pub only_a: Vec<Example>,
    /// Examples of records in B only.
    pub only_b: Vec<Example>,
}

/// Records of one mix's validation split that the other mix trains on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Leak {
    /// How many of the other mix's samples, by their source there.
    pub sources: IndexMap<String, u64>,
    /// Some of them, as the other mix has them.
    pub examples: Vec<Example>,
}

/// The contents of one split, 18 bytes a record.
pub(super) struct Contents {
    /// In the file's order.
    ids: Vec<ContentId>,
    /// Index of each one's source in the names shared by both mixes.
    sources: Vec<u16>,
    /// BLAKE3 of the file.
    pub blake3: String,
}

impl Contents {
    /// Reads a split; `names` grows by the sources that are new.
    pub fn read(folder: &MixFolder, split: Split, names: &mut Vec<String>) -> Result<Self, MixError> {
        let (mut ids, mut sources) = (Vec::new(), Vec::new());
        let mut known: HashMap<String, u16> = (0..).zip(names.iter()).map(|(at, name)| (name.clone(), at)).collect();
        let blake3 = folder.records(split, |record| {
            let source = *known.entry(record.source).or_insert_with_key(|name| {
                names.push(name.clone());
                names.len() as u16 - 1
            });
            ids.push(content_id(&record.messages));
            sources.push(source);
        })?;
        Ok(Self { ids, sources, blake3 })
    }

    fn iter(&self) -> impl Iterator<Item = (u16, ContentId)> {
        self.sources.iter().copied().zip(self.ids.iter().copied())
    }

    fn sorted(&self) -> Vec<(u16, ContentId)> {
        let mut sorted: Vec<_> = self.iter().collect();
        rayon::slice::ParallelSliceMut::par_sort_unstable(sorted.as_mut_slice());
        sorted
    }

    fn sorted_ids(&self) -> Vec<ContentId> {
        let mut sorted = self.ids.clone();
        rayon::slice::ParallelSliceMut::par_sort_unstable(sorted.as_mut_slice());
        sorted
    }
}

/// Compares a split of two mixes.
pub(super) fn compare(
    [folder_a, folder_b]: [&MixFolder; 2],
    split: Split,
    [a, b]: [&Contents; 2],
    names: &[String],
) -> Result<SplitDiff, MixError> {
    let mut counts = vec![SampleCounts::default(); names.len()];
    let (sorted_a, sorted_b) = (a.sorted(), b.sorted());
    let (mut only_a, mut only_b, mut even) = (Vec::new(), Vec::new(), Vec::new());
    for (item, in_a, in_b) in merged(&sorted_a, &sorted_b) {
        let line = &mut counts[usize::from(item.0)];
        let [in_a, in_b] = [in_a.len() as u64, in_b.len() as u64];
        line.same += in_a.min(in_b);
        line.only_a += in_a.saturating_sub(in_b);
        line.only_b += in_b.saturating_sub(in_a);
        match in_a.cmp(&in_b) {
            std::cmp::Ordering::Less => only_b.push(item),
            std::cmp::Ordering::Greater => only_a.push(item),
            std::cmp::Ordering::Equal => even.push(item),
        }
        let elsewhere = |at: u16| at != item.0 && sorted_b.binary_search(&(at, item.1)).is_ok();
        if in_b == 0 && (0..names.len() as u16).any(elsewhere) {
            line.moved += in_a;
        }
    }
    let in_both = |item: &(u16, ContentId)| even.binary_search(item).is_ok();
    let same_order = a.iter().filter(in_both).eq(b.iter().filter(in_both));
    let sources = names.iter().cloned().zip(counts).filter(|(_, line)| *line != SampleCounts::default()).collect();
    Ok(SplitDiff {
        sources,
        same_order,
        only_a: examples(folder_a, split, a, names, |item| only_a.binary_search(&item).is_ok())?,
        only_b: examples(folder_b, split, b, names, |item| only_b.binary_search(&item).is_ok())?,
    })
}

/// Records of `validation` among the training samples `train` of `folder`, another mix.
pub(super) fn leak(
    folder: &MixFolder,
    validation: &Contents,
    train: &Contents,
    names: &[String],
) -> Result<Leak, MixError> {
    let held_out = validation.sorted_ids();
    let leaks = |(_, id): (u16, ContentId)| held_out.binary_search(&id).is_ok();
    let mut sources = IndexMap::new();
    for (source, _) in train.iter().filter(|item| leaks(*item)) {
        *sources.entry(names[usize::from(source)].clone()).or_default() += 1;
    }
    let examples = examples(folder, Split::Train, train, names, leaks)?;
    Ok(Leak { sources, examples })
}

/// The first records of each source that `wanted` says yes to, source after source.
fn examples(
    folder: &MixFolder,
    split: Split,
    contents: &Contents,
    names: &[String],
    wanted: impl Fn((u16, ContentId)) -> bool,
) -> Result<Vec<Example>, MixError> {
    let mut room = vec![EXAMPLES; names.len()];
    let mut lines = Vec::new();
    for (line, item) in contents.iter().enumerate() {
        let room = &mut room[usize::from(item.0)];
        if *room > 0 && wanted(item) {
            *room -= 1;
            lines.push(line);
        }
    }
    let mut examples: Vec<Example> = folder.pick(split, &lines)?.into_iter().map(example).collect();
    examples.sort_by_key(|example| names.iter().position(|name| *name == example.source));
    Ok(examples)
}

fn example(record: MixedRecord) -> Example {
    let place = record.place();
    let question = record.messages.iter().find(|message| message.role == Role::User);
    let text = question.map(|message| message.content.as_str()).unwrap_or_default();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut question: String = words.chars().take(EXCERPT).collect();
    if question.len() < words.len() {
        question.push('…');
    }
    Example { source: record.source, key: record.key, place, question }
}

/// Walks two sorted lists at once: each different item with its index in either.
fn merged<T: Ord + Copy>(a: &[T], b: &[T]) -> impl Iterator<Item = (T, Range<usize>, Range<usize>)> {
    let (mut at_a, mut at_b) = (0, 0);
    std::iter::from_fn(move || {
        let item = match (a.get(at_a), b.get(at_b)) {
            (Some(a), Some(b)) => *a.min(b),
            (a, b) => *a.or(b)?,
        };
        let run = |list: &[T], at: usize| at..at + list[at..].iter().take_while(|other| **other == item).count();
        let (in_a, in_b) = (run(a, at_a), run(b, at_b));
        (at_a, at_b) = (in_a.end, in_b.end);
        Some((item, in_a, in_b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sorted_lists_are_walked_at_once() {
        let walked: Vec<_> = merged(&[1, 1, 3], &[1, 2, 4, 4]).map(|(item, a, b)| (item, a.len(), b.len())).collect();
        assert_eq!(walked, [(1, 2, 1), (2, 0, 1), (3, 1, 0), (4, 0, 2)]);
        assert_eq!(merged::<u8>(&[], &[]).count(), 0);
    }
}
