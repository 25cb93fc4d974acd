//! The tables of another tool's file, each of whose options is accounted for.

use std::cell::RefCell;
use std::ops::Range;

use medley_files::yaml::{Yaml, YamlEntry, YamlValue};
use medley_recipe::aliases::{self, Answer};
use medley_recipe::nearest;

use indexmap::IndexMap;

use super::amounts::Asked;
use super::document::{Fate, Reading};
use super::plan::split_names;

/// Option without a counterpart: name, outcome and reason.
pub(super) type Known = (&'static str, Fate, &'static str);

fn kind(value: &Yaml) -> &'static str {
    match value.value {
        YamlValue::Null => "nothing",
        YamlValue::Boolean(_) => "true or false",
        YamlValue::Integer(_) | YamlValue::Float(_) => "a number",
        YamlValue::String(_) => "a text",
        YamlValue::List(_) => "a list",
        YamlValue::Map(_) => "a table",
    }
}

/// A table, and which of its options were looked at. `null` counts as an option that is not there.
pub(super) struct Table<'a> {
    entries: &'a [YamlEntry],
    pub span: Range<usize>,
    taken: RefCell<Vec<&'a str>>,
}

impl<'a> Table<'a> {
    /// The table that `value` is; anything else is a problem.
    pub fn of(value: &'a Yaml, name: &str, reading: &mut Reading<'_>) -> Option<Self> {
        let entries = value.entries();
        if entries.is_none() {
            reading.error(&value.span, format!("`{name}` is {}; expected a table", kind(value)), "wrong type");
        }
        Some(Self { entries: entries?, span: value.span.clone(), taken: RefCell::new(Vec::new()) })
    }

    /// The entry, which is accounted for from now on.
    pub fn take(&self, key: &str) -> Option<&'a YamlEntry> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        self.taken.borrow_mut().push(&entry.key);
        (entry.value.value != YamlValue::Null).then_some(entry)
    }

    /// Returns the entry without marking it as handled.
    pub fn peek(&self, key: &str) -> Option<&'a YamlEntry> {
        self.entries.iter().find(|entry| entry.key == key && entry.value.value != YamlValue::Null)
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// A text; a number or a truth counts as its text.
    pub fn text(&self, key: &str, reading: &mut Reading<'_>) -> Option<String> {
        self.read(key, "a text", reading, Yaml::scalar_text)
    }

    /// One text or several; none where the option is not there.
    pub fn texts(&self, key: &str, reading: &mut Reading<'_>) -> Vec<String> {
        let texts = |value: &Yaml| -> Option<Vec<String>> {
            value.items().unwrap_or(std::slice::from_ref(value)).iter().map(Yaml::scalar_text).collect()
        };
        self.read(key, "a text or a list of texts", reading, texts).unwrap_or_default()
    }

    pub fn number(&self, key: &str, reading: &mut Reading<'_>) -> Option<f64> {
        self.read(key, "a number", reading, |value| match value.value {
            YamlValue::Integer(number) => Some(number as f64),
            YamlValue::Float(number) => Some(number),
            _ => None,
        })
    }

    /// A number of samples, tokens or parts: a whole number.
    pub fn count(&self, key: &str, reading: &mut Reading<'_>) -> Option<u64> {
        self.read(key, "a whole number", reading, |value| match value.value {
            YamlValue::Integer(number) => u64::try_from(number).ok().filter(|number| *number <= MOST),
            YamlValue::Float(number) if number.fract() == 0.0 && (0.0..=MOST as f64).contains(&number) => {
                Some(number as u64)
            }
            _ => None,
        })
    }

    pub fn truth(&self, key: &str, reading: &mut Reading<'_>) -> Option<bool> {
        self.read(key, "true or false", reading, |value| match value.value {
            YamlValue::Boolean(value) => Some(value),
            _ => None,
        })
    }

    /// What `of` makes of an option; nothing is a problem.
    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        reading: &mut Reading<'_>,
        of: impl Fn(&Yaml) -> Option<T>,
    ) -> Option<T> {
        let entry = self.take(key)?;
        let value = of(&entry.value);
        if value.is_none() {
            // A number of the wrong type is shown verbatim.
            let given = match &entry.value.value {
                YamlValue::Integer(number) => number.to_string(),
                YamlValue::Float(number) => number.to_string(),
                _ => kind(&entry.value).to_owned(),
            };
            reading.error(&entry.value.span, format!("`{key}` is {given}; expected {expected}"), "wrong type");
        }
        value
    }

    pub fn table(&self, key: &str, reading: &mut Reading<'_>) -> Option<Self> {
        Self::of(&self.take(key)?.value, key, reading)
    }

    /// Reports a data set's unhandled options: those in `known` with their reason, others as unknown with the closest key
    /// of `spelled`.
    pub fn account(&self, known: &[Known], spelled: &[&str], set: Option<&str>, reading: &mut Reading<'_>) {
        for entry in self.rest() {
            match of_key(known, &entry.key) {
                Some((_, fate, why)) => reading.note(fate, set, entry, why),
                None => reading.note(Fate::NotCarriedOver, set, entry, &unknown(&entry.key, spelled)),
            }
        }
    }

    /// Reports unknown options of a skipped data set: a misspelling may be the reason.
    pub fn account_unknown(&self, spelled: &[&str], set: &str, reading: &mut Reading<'_>) {
        let taken = self.taken.borrow().clone();
        for entry in self.entries.iter().filter(|entry| !spelled.contains(&entry.key.as_str())) {
            if !taken.contains(&entry.key.as_str()) {
                self.taken.borrow_mut().push(&entry.key);
                reading.note(Fate::NotCarriedOver, Some(set), entry, &unknown(&entry.key, spelled));
            }
        }
    }

    /// Reports a file's unhandled options, grouped by reason: those in `known`, and those of the alias table with the
    /// nearest recipe key.
    pub fn account_for_file(&self, known: &[Known], reading: &mut Reading<'_>) {
        self.account_below("", known, reading);
    }

    /// As above, for a nested table.
    pub fn account_below(&self, prefix: &str, known: &[Known], reading: &mut Reading<'_>) {
        let mut groups: IndexMap<(Fate, String), Vec<&YamlEntry>> = IndexMap::new();
        for entry in self.rest() {
            let fate = match of_key(known, &entry.key) {
                Some((_, fate, why)) => (fate, why.to_owned()),
                None => of_alias(&entry.key),
            };
            groups.entry(fate).or_default().push(entry);
        }
        for ((fate, why), entries) in groups {
            if let ([only], "") = (entries.as_slice(), prefix) {
                reading.note(fate, None, only, &why);
                continue;
            }
            let names: Vec<String> = entries.iter().map(|entry| format!("`{prefix}{}`", entry.key)).collect();
            reading.add(fate, None, names.join(", "), why, &entries[0].key_span);
        }
    }

    /// The options that no reader has taken, without empty ones.
    pub fn rest(&self) -> Vec<&'a YamlEntry> {
        let taken = self.taken.borrow();
        let says = |entry: &&YamlEntry| match &entry.value.value {
            YamlValue::Null | YamlValue::Boolean(false) => false,
            YamlValue::String(text) => !text.is_empty(),
            YamlValue::List(items) => !items.is_empty(),
            YamlValue::Map(entries) => !entries.is_empty(),
            _ => true,
        };
        self.entries.iter().filter(|entry| !taken.contains(&entry.key.as_str())).filter(says).collect()
    }

    /// The splits that a set asks for, `train` where it does not say, and what a slice takes of them.
    pub fn splits(&self, set: &str, reading: &mut Reading<'_>) -> (Vec<String>, Option<Asked>) {
        let (names, slice) = split_names(&self.text("split", reading).unwrap_or_else(|| "train".to_owned()));
        let asked = self.take("split").zip(slice).map(|(entry, slice)| Asked::new(slice, set, entry, reading));
        (names, asked)
    }

    /// The longest sample; one that has no room for anything is named.
    pub fn max_tokens(&self, key: &str, reading: &mut Reading<'_>) -> Option<u64> {
        let tokens = self.count(key, reading)?;
        if let Some(entry) = self.take(key).filter(|_| tokens < LEAST_TOKENS) {
            let why = format!("a sample needs room for {LEAST_TOKENS} tokens: `[chat] max_tokens`");
            reading.note(Fate::NotCarriedOver, None, entry, &why);
            return None;
        }
        Some(tokens)
    }

    /// The share that is held out for validation; a number of samples is named.
    pub fn validation(&self, key: &str, reading: &mut Reading<'_>) -> Option<f64> {
        let size = self.number(key, reading).filter(|size| *size > 0.0)?;
        if let Some(entry) = self.take(key).filter(|_| size > 0.5) {
            let why = "write a share of up to 0.5 as `[mix.validation] fraction`";
            reading.note(Fate::NotCarriedOver, None, entry, why);
            return None;
        }
        Some(size)
    }
}

/// More samples or tokens than that are a mistake, and sums of them would not fit.
const MOST: u64 = 1_000_000_000_000_000;

/// What `[chat] max_tokens` is at least.
const LEAST_TOKENS: u64 = 16;

pub(super) const UNKNOWN: &str = "this option is not known to the importer";

/// Message for an unknown option.
fn unknown(key: &str, spelled: &[&str]) -> String {
    match nearest(key, spelled.iter().copied()).or_else(|| begun(key, spelled)) {
        Some(near) => format!("{UNKNOWN}; did you mean `{near}`?"),
        None => UNKNOWN.to_owned(),
    }
}

/// The unique known key that is a prefix of the given one or vice versa: `format` and `formatting`.
fn begun<'a>(key: &str, spelled: &[&'a str]) -> Option<&'a str> {
    let folded = key.to_lowercase();
    let long = |text: &str| text.len() >= 4;
    let begins = |known: &&&str| {
        long(&folded) && known.starts_with(&folded) || long(known) && folded.starts_with(known.trim_end_matches('s'))
    };
    let mut found = spelled.iter().filter(begins);
    let only = found.next()?;
    found.next().is_none().then_some(*only)
}

/// Outcome of an option according to the alias table.
fn of_alias(key: &str) -> (Fate, String) {
    match aliases::answer(key) {
        Some(Answer::Key(recipe)) => (Fate::NotCarriedOver, format!("write it as `{recipe}`")),
        Some(Answer::Near("train.block_policy", how)) => (Fate::NotNeeded, format!("`train.block_policy`: {how}")),
        Some(Answer::Near(recipe, how)) => (Fate::NotCarriedOver, format!("the nearest is `{recipe}`: {how}")),
        Some(Answer::NotNeeded(why)) => (Fate::NotNeeded, why.to_owned()),
        Some(Answer::Unsupported(why)) => (Fate::NotCarriedOver, why.to_owned()),
        None => (Fate::NotCarriedOver, UNKNOWN.to_owned()),
    }
}

fn of_key(known: &[Known], key: &str) -> Option<Known> {
    known.iter().find(|(name, ..)| *name == key).copied()
}
