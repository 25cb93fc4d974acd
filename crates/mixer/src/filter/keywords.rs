//! A source split by the words that its records hold: a heuristic.

use std::path::Path;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use medley_chat::{Message, Role};

use medley_mixture::canonical::fold;
use medley_mixture::filter::Finding;
use medley_mixture::{FilterSpec, KeywordList, KeywordSplit, Rejection, Take};

use super::{Built, RecordFilter, Verdict};

/// Words of Chinese medicine, one a line.
const TCM: &str = include_str!("tcm.txt");

/// One side of a split.
struct Keywords {
    finder: AhoCorasick,
    words: Vec<String>,
    take: Take,
    at_least: usize,
    name: String,
}

pub(super) fn build(spec: &FilterSpec, folder: &Path) -> Built {
    let Some(split) = &spec.keywords else { return Ok(None) };
    let of_key = |(problem, hint)| (format!("filter.keywords: {problem}"), hint);
    Ok(Some(Box::new(Keywords::new(split, folder).map_err(of_key)?)))
}

impl RecordFilter for Keywords {
    fn judge(&self, messages: &mut [Message]) -> Verdict {
        match self.takes(messages) {
            Ok(()) => Ok(None),
            Err(word) => Err(Finding::of_record(Rejection::OtherSideOfSplit, word, messages)),
        }
    }

    fn words(&self) -> Option<(String, &[String])> {
        Some((self.describe(), &self.words))
    }
}

impl Keywords {
    /// Reads the list.
    ///
    /// # Errors
    /// What is wrong, and how to mend it.
    fn new(split: &KeywordSplit, folder: &Path) -> Result<Self, (String, String)> {
        let words = words(&split.list, folder)?;
        let name = match &split.list {
            KeywordList::Named(name) => format!("`{name}`"),
            KeywordList::Words(_) => "the list in the recipe".to_owned(),
        };
        if split.at_least == 0 || split.at_least > words.len() {
            let problem = format!("`at_least` is {}, and {name} has {} words", split.at_least, words.len());
            return Err((problem, "a record holds from 1 to all of the words".to_owned()));
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .ascii_case_insensitive(true)
            .build(&words)
            .map_err(|error| (format!("{name} is too long: {error}"), "name fewer words".to_owned()))?;
        Ok(Self { finder, words, take: split.take, at_least: split.at_least, name })
    }

    /// The split in words, for ledger and manifest.
    fn describe(&self) -> String {
        let side = if self.take == Take::Matching { "that hold" } else { "that do not hold" };
        let Self { name, at_least, words, .. } = self;
        format!("records {side} at least {at_least} of the {} words of {name}", words.len())
    }

    /// Whether a record is on the side that is taken; the words that were found, where it is not.
    fn takes(&self, messages: &[Message]) -> Result<(), String> {
        let mut found: Vec<usize> = Vec::new();
        for message in messages.iter().filter(|message| message.role != Role::System) {
            let text = fold(&message.content);
            for hit in self.finder.find_overlapping_iter(text.as_ref()) {
                let word = hit.pattern().as_usize();
                if !found.contains(&word) {
                    found.push(word);
                }
                if found.len() >= self.at_least {
                    break;
                }
            }
        }
        let matches = found.len() >= self.at_least;
        if matches == (self.take == Take::Matching) {
            return Ok(());
        }
        Err(found
            .first()
            .filter(|_| matches)
            .map_or_else(|| "no word of the list".to_owned(), |word| self.words[*word].clone()))
    }
}

fn words(list: &KeywordList, folder: &Path) -> Result<Vec<String>, (String, String)> {
    let mut words: Vec<String> = match list {
        KeywordList::Named(name) if name == "tcm" => lines(TCM),
        KeywordList::Words(words) => words.iter().map(|word| fold(word).to_lowercase()).collect(),
        KeywordList::Named(file) => {
            let beside = folder.join(file);
            let path = if beside.exists() { beside } else { Path::new(file).to_owned() };
            let text = std::fs::read_to_string(&path).map_err(|error| {
                let hint =
                    "`tcm` is built in; a file holds a word a line, in UTF-8; or write the words into the recipe";
                (format!("the list `{file}` cannot be read: {error}"), hint.to_owned())
            })?;
            lines(&text)
        }
    };
    words.sort();
    words.dedup();
    words.retain(|word| !word.is_empty());
    if words.is_empty() {
        return Err(("the list holds no words".to_owned(), "name at least one".to_owned()));
    }
    Ok(words)
}

/// A word a line; `#` begins a comment.
fn lines(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let words = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    words.map(|word| fold(word).to_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(list: KeywordList, take: Take, at_least: usize) -> Result<Keywords, (String, String)> {
        Keywords::new(&KeywordSplit { list, take, at_least }, Path::new("."))
    }

    fn tcm(take: Take) -> Keywords {
        split(KeywordList::Named("tcm".into()), take, 1).unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn record(text: &str) -> [Message; 1] {
        [Message::new(Role::User, text)]
    }

    #[test]
    fn each_record_is_on_one_side() {
        for text in ["针灸治头痛", "高血压用什么药", "⽓虚怎么调理", "", "What is acupuncture?"] {
            let sides = [Take::Matching, Take::Others].map(|take| tcm(take).takes(&record(text)).is_ok());
            assert_ne!(sides[0], sides[1], "{text}");
        }
        assert!(tcm(Take::Matching).takes(&record("⽓虚怎么调理")).is_ok());
        assert_eq!(tcm(Take::Others).takes(&record("辨证论治")), Err("辨证".to_owned()));
    }

    #[test]
    fn different_words_are_counted() {
        let list = KeywordList::Words(vec!["麻黄".into(), "桂枝".into(), "麻黄".into()]);
        let two = split(list.clone(), Take::Matching, 2).unwrap_or_else(|error| panic!("{error:?}"));
        assert!(two.takes(&record("麻黄麻黄麻黄")).is_err());
        assert!(two.takes(&record("麻黄与桂枝")).is_ok());
        assert!(split(list, Take::Matching, 3).is_err(), "there are two");
        assert!(split(KeywordList::Words(vec![]), Take::Matching, 1).is_err());
        assert!(split(KeywordList::Named("no-such-file.txt".into()), Take::Matching, 1).is_err());
    }
}
