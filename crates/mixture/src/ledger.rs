//! The ratio ledger: what was asked for and what became of it, at every stage.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use indexmap::IndexMap;
use medley_chat::EncodedSample;
use serde::{Deserialize, Serialize};

use crate::error::{MissedShare, MixError};
use crate::filter::Finding;
use crate::record::record_place;
use crate::rejection::Rejection;
use crate::spec::{Unit, is_default};

/// Examples of where a count comes from.
const EXAMPLES: usize = 3;

/// A count with a few of the places it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// How many.
    pub count: u64,
    /// The first places, `file:line` (`file:line#record` where several records begin on one line).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
    /// A short piece of the text at each of these places, where a filter found something in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excerpts: Vec<String>,
    /// Counts by detail: a condition, an expression, a language, a remnant.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, u64>,
}

impl Counted {
    /// Counts a record at (line, number) of a file.
    pub fn add(&mut self, file: &str, at: (u64, u64)) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(record_place(file, at));
        }
    }

    /// Counts a filter's finding.
    pub fn add_finding(&mut self, file: &str, place: (u64, u64), finding: Finding) {
        let Finding { detail, excerpt, .. } = finding;
        if self.examples.len() < EXAMPLES {
            self.excerpts.push(excerpt);
        }
        self.add_detail(detail, 1);
        self.add(file, place);
    }

    /// A record that says nearly what the record at `like` says.
    pub fn add_like(&mut self, file: &str, place: (u64, u64), like: String) {
        if self.examples.len() < EXAMPLES {
            self.excerpts.push(format!("like {like}"));
        }
        self.add(file, place);
    }

    fn add_detail(&mut self, detail: String, count: u64) {
        if !detail.is_empty() {
            *self.details.entry(detail).or_default() += count;
        }
    }

    /// The most frequent details: `en 30, ja 2`.
    pub fn most(&self) -> String {
        let mut details: Vec<_> = self.details.iter().collect();
        details.sort_by_key(|(detail, count)| (std::cmp::Reverse(**count), *detail));
        let more = if details.len() > EXAMPLES { ", …" } else { "" };
        let shown: Vec<String> =
            details.into_iter().take(EXAMPLES).map(|(detail, count)| format!("{} {count}", detail.trim())).collect();
        shown.join(", ") + more
    }

    /// The examples in one line, each file named once: `a.jsonl:3, 17, b.jsonl:2, …`.
    pub fn places(&self) -> String {
        let mut last = "";
        let mut places = Vec::new();
        for (file, line) in self.examples.iter().filter_map(|place| place.rsplit_once(':')) {
            places.push(if file == last { line.to_owned() } else { format!("{file}:{line}") });
            last = file;
        }
        if self.count > self.examples.len() as u64 {
            places.push("…".to_owned());
        }
        places.join(", ")
    }

    /// Adds what was counted elsewhere in the same file, keeping the first places.
    pub fn merge_in_file(&mut self, other: Self) {
        self.count += other.count;
        for (detail, count) in other.details {
            self.add_detail(detail, count);
        }
        let with = |examples: Vec<String>, excerpts: Vec<String>| {
            let excerpts = excerpts.into_iter().map(Some).chain(std::iter::repeat(None));
            examples.into_iter().zip(excerpts).collect::<Vec<_>>()
        };
        let mut all = with(std::mem::take(&mut self.examples), std::mem::take(&mut self.excerpts));
        all.extend(with(other.examples, other.excerpts));
        all.sort_by_cached_key(|(place, _)| {
            let numbers = place.rsplit_once(':').map_or("", |(_, numbers)| numbers);
            let (line, record) = numbers.split_once('#').unwrap_or((numbers, "0"));
            (line.parse::<u64>().unwrap_or_default(), record.parse::<u64>().unwrap_or_default())
        });
        for (place, excerpt) in all.into_iter().take(EXAMPLES) {
            self.examples.push(place);
            self.excerpts.extend(excerpt);
        }
    }

    /// Adds the counts of a later file, keeping the first examples.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        let room = EXAMPLES - self.examples.len();
        self.examples.extend(other.examples.into_iter().take(room));
        self.excerpts.extend(other.excerpts.into_iter().take(room));
        for (detail, count) in other.details {
            self.add_detail(detail, count);
        }
    }
}

/// Records of one shape in files of one layout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAs {
    /// Layout of the records: `Alpaca`, `conversations`, `exam items`, the keys that ask and answer, …
    pub shape: String,
    /// How they lie in their files: `JSON Lines, gzip`, `CSV, GB18030`, …
    pub layout: String,
    /// How many.
    pub records: u64,
    /// In how many files.
    pub files: u64,
    /// The first of these.
    pub example: String,
}

/// Token counts of a source's chosen records, after rendering and truncation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCounts {
    /// Samples that were rendered.
    pub samples: u64,
    /// Tokens that are trained on, prompts included.
    pub tokens: u64,
    /// Tokens that the loss looks at.
    pub supervised_tokens: u64,
    /// Samples that were too long.
    pub truncated_samples: u64,
    /// Tokens that were cut from them.
    pub truncated_tokens: u64,
}

impl TokenCounts {
    /// Those of one sample.
    pub fn of(sample: &EncodedSample) -> Self {
        Self {
            samples: 1,
            tokens: sample.input_ids.len() as u64,
            supervised_tokens: sample.supervised_tokens() as u64,
            truncated_samples: u64::from(sample.truncated_tokens > 0),
            truncated_tokens: sample.truncated_tokens as u64,
        }
    }
}

impl AddAssign for TokenCounts {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.tokens += other.tokens;
        self.supervised_tokens += other.supervised_tokens;
        self.truncated_samples += other.truncated_samples;
        self.truncated_tokens += other.truncated_tokens;
    }
}

/// One source's line.
/// `read = rejected + exam_items + duplicates_within + duplicates_across + near_duplicates + held_out + beyond_cap
/// + available`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceLedger {
    /// Names from the root of the mixture tree to the source, joined by `/`.
    pub path: String,
    /// Exact share of the mix, 0 to 1.
    pub requested_share: f64,
    /// Samples that this share makes of the requested size.
    pub requested: u64,
    /// Recognised layouts of its files and records, in the files' order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_as: Vec<ReadAs>,
    /// Records read.
    pub read: u64,
    /// Records that cannot be trained on.
    pub rejected: BTreeMap<Rejection, Counted>,
    /// Records left out because the recipe's exam asks the same.
    pub exam_items: Counted,
    /// Records kept in which something was found: HTML remnants that were taken out, text of the exam that is only reported.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub noted: BTreeMap<Rejection, Counted>,
    /// The heuristic that split its records, by part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heuristic: Vec<String>,
    /// Further copies of a record of the same pool.
    pub duplicates_within: u64,
    /// Different records that belong to a pool named earlier, by that pool.
    pub duplicates_across: IndexMap<String, u64>,
    /// Different records that say nearly what another says, of this pool or of one named earlier; with both places.
    #[serde(default, skip_serializing_if = "is_default")]
    pub near_duplicates: Counted,
    /// Different records held out for validation.
    pub held_out: u64,
    /// Of these, kept for validation.
    pub validation: u64,
    /// Different records beyond the recipe's `max_records`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub beyond_cap: u64,
    /// Different records to choose from.
    pub available: u64,
    /// Samples in the mix, repeats included.
    pub chosen: u64,
    /// Of these, repeats.
    pub repeated: u64,
    /// Share of the mix in what its ratio counts (samples, if nothing else is said), 0 to 1.
    pub realised_share: f64,
    /// After rendering and truncation; filled in by a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenCounts>,
    /// Share of the mix's supervised tokens, 0 to 1; filled in by a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervised_share: Option<f64>,
}

impl SourceLedger {
    /// Records rejected for whatever reason.
    pub fn rejected_in_all(&self) -> u64 {
        self.rejected.values().map(|counted| counted.count).sum()
    }

    /// In words, what became of the records read that cannot be chosen.
    pub fn whereabouts(&self) -> String {
        let rejected = format!("rejected{}", self.why_rejected());
        let gone = [
            (self.rejected_in_all(), rejected.as_str()),
            (self.exam_items.count, "exam items"),
            (self.duplicates_within, "copies"),
            (self.duplicates_across_in_all(), "in pools named earlier"),
            (self.near_duplicates.count, "near-duplicates"),
            (self.held_out, "held out for validation"),
            (self.beyond_cap, "beyond `max_records`"),
        ];
        let gone = gone.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
        format!("{} read{}", self.read, gone.collect::<String>())
    }

    /// The most frequent reasons with a few places: ` (80 empty answer: a.jsonl:1, 2, 3, …)`.
    fn why_rejected(&self) -> String {
        let mut reasons: Vec<_> = self.rejected.iter().collect();
        reasons.sort_by_key(|(_, counted)| std::cmp::Reverse(counted.count));
        let more = if reasons.len() > EXAMPLES { "; …" } else { "" };
        let reason = |(reason, counted): (&Rejection, &Counted)| {
            format!("{} {}: {}", counted.count, reason.as_str(), counted.places())
        };
        let shown: Vec<String> = reasons.into_iter().take(EXAMPLES).map(reason).collect();
        if shown.is_empty() { String::new() } else { format!(" ({}{more})", shown.join("; ")) }
    }

    /// Records that belong to any pool named earlier.
    pub fn duplicates_across_in_all(&self) -> u64 {
        self.duplicates_across.values().sum()
    }
}

/// The ledger of a mix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// How much was asked for, in `size_in`.
    pub requested: u64,
    /// Unit of `requested`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub size_in: Unit,
    /// Unit of the shares.
    #[serde(default, skip_serializing_if = "is_default")]
    pub share_in: Unit,
    /// Samples in the mix.
    pub chosen: u64,
    /// By source, in the mixture tree's order.
    pub sources: IndexMap<String, SourceLedger>,
}

impl Ledger {
    /// Enters what the chat stage made of each source's samples. Sources that are not named keep what they have.
    pub fn set_tokens(&mut self, counts: &IndexMap<String, TokenCounts>) {
        for (source, counts) in counts {
            if let Some(line) = self.sources.get_mut(source) {
                line.tokens = Some(*counts);
            }
        }
        self.set_shares();
    }

    /// Computes each source's share of the chosen samples or tokens.
    pub fn set_shares(&mut self) {
        self.chosen = self.sources.values().map(|line| line.chosen).sum();
        let unit = self.share_in;
        let amount = |line: &SourceLedger| match (unit, line.tokens) {
            (Unit::Tokens, Some(tokens)) => tokens.tokens,
            (Unit::SupervisedTokens, Some(tokens)) => tokens.supervised_tokens,
            _ => line.chosen,
        };
        let total: u64 = self.sources.values().map(amount).sum();
        let supervised = |line: &SourceLedger| line.tokens.map(|tokens| tokens.supervised_tokens);
        let all_supervised: u64 = self.sources.values().filter_map(supervised).sum();
        for line in self.sources.values_mut() {
            line.realised_share = share(amount(line), total);
            line.supervised_share = supervised(line).map(|tokens| share(tokens, all_supervised));
        }
    }

    /// Refuses a mix without samples.
    ///
    /// # Errors
    /// [`MixError::Empty`] with the counts of every source.
    pub fn check_not_empty(&self) -> Result<(), MixError> {
        if self.chosen > 0 {
            return Ok(());
        }
        let line = |(name, line): (&String, &SourceLedger)| format!("pool `{name}`: {}", line.whereabouts());
        let rejected = self.sources.values().flat_map(|line| &line.rejected);
        let most = rejected.max_by_key(|(_, counted)| counted.count).map(|(reason, _)| *reason);
        let hint = most.and_then(remedy).unwrap_or(
            "`medley mix --recipe FILE --explain FILE:LINE` shows why a record is left out; `size` and `epochs` set how many are taken",
        );
        Err(MixError::Empty { sources: self.sources.iter().map(line).collect(), hint: hint.to_owned() })
    }

    /// Whether every share is what was asked for: in samples before, in tokens after truncation.
    ///
    /// # Errors
    /// [`MixError::Share`] with the sources whose share is off by more than `tolerance` (0 to 1) and what one sample makes, by
    /// tokens twenty average ones.
    pub fn check_shares(&self, tolerance: f64) -> Result<(), MixError> {
        let missed = |(source, line): (&String, &SourceLedger)| {
            let one_sample = 1.0 / self.chosen.max(1) as f64;
            // A sample may be far longer than the average one.
            let grain = if self.share_in == Unit::Samples { one_sample } else { 20.0 * one_sample };
            let off = (line.realised_share - line.requested_share).abs() > tolerance + grain;
            let (requested, realised) = (line.requested_share, line.realised_share);
            off.then(|| MissedShare { source: source.clone(), requested, realised })
        };
        let missed: Vec<MissedShare> = self.sources.iter().filter_map(missed).collect();
        if missed.is_empty() || self.chosen == 0 {
            return Ok(());
        }
        Err(MixError::Share { missed, unit: self.share_in, tolerance })
    }
}

/// The hint for records that are left out for this reason.
fn remedy(reason: Rejection) -> Option<&'static str> {
    Some(match reason {
        Rejection::UnsupportedRole => {
            "name the speakers: `columns = { roles = { user = [\"…\"], assistant = [\"…\"] } }`"
        }
        Rejection::TurnsOutOfOrder => "a conversation begins with the user, alternates, and ends with the assistant",
        Rejection::TwoSystemMessages => "keep one system message in each conversation, before its turns",
        Rejection::ListsOfTexts => "write each question and its answer as a record of its own",
        Rejection::MarkedBad => {
            "answers with `label` or `kto_tag` false are not learned; a `where` condition on that field decides instead"
        }
        _ => return None,
    })
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
