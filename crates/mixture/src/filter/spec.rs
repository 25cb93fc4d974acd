//! Filter settings of a source.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which records of a source are taken. Every filter is off unless it is named; they run after a record was read and before
/// anything is drawn, so that samples stay nested, and what they leave out is counted with places and excerpts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FilterSpec {
    /// Characters of a record's questions taken together, outer white space aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question_chars: Option<Bounds>,
    /// Characters of a record's learned answers taken together, outer white space aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_chars: Option<Bounds>,
    /// Characters of all of a record's turns taken together, outer white space aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chars: Option<Bounds>,
    /// Languages that are taken, such as `["zh", "en"]`: told by the scripts of all turns, and among languages of the Latin
    /// script by their letters. A text too short to tell, or without letters, is taken.
    #[schemars(length(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Vec<Language>>,
    /// What becomes of records with HTML remnants (`<br>`, `&nbsp;`). A task about HTML or code has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<Html>,
    /// What becomes of records whose answer is a formula of a model that talks of itself, refuses or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boilerplate: Option<Boilerplate>,
    /// Regular expressions none of which may be found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject: Option<Patterns>,
    /// Regular expressions each of which must be found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require: Option<Patterns>,
    /// Conditions on a record's own fields, all of which must be met: `metadata.score >= 4`, `lang == 'zh'`,
    /// `topic in ['tcm', 'herbs']`, `tags contains 'exam'`. Paths as in `columns`. A missing field meets none.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<String>>,
    /// Takes the records that hold words of a list, or the others: a heuristic, and marked as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keywords: Option<KeywordSplit>,
}

/// A smallest and a largest number, both allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// The smallest (default: none).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<usize>,
    /// The largest (default: none).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
}

/// A language, by its ISO 639-1 code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Chinese.
    Zh,
    /// English.
    En,
    /// Japanese.
    Ja,
    /// Korean.
    Ko,
    /// Arabic.
    Ar,
    /// German.
    De,
    /// Spanish.
    Es,
    /// French.
    Fr,
    /// Hindi.
    Hi,
    /// Italian.
    It,
    /// Dutch.
    Nl,
    /// Portuguese.
    Pt,
    /// Russian.
    Ru,
    /// Swedish.
    Sv,
    /// Turkish.
    Tr,
    /// Vietnamese.
    Vi,
}

/// What becomes of records with HTML remnants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Html {
    /// Nothing.
    Keep,
    /// The remnants are taken out of the text, and the record counts as cleaned.
    Strip,
    /// The record is left out.
    Drop,
}

/// What becomes of records whose answer is boilerplate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Boilerplate {
    /// Nothing.
    Keep,
    /// The record is left out.
    Drop,
}

/// Regular expressions by where they are looked for. Time is linear in the text; `(?i)` ignores case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Patterns {
    /// In the questions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub question: Vec<String>,
    /// In the answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answer: Vec<String>,
    /// In any turn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<String>,
}

/// A split of one source by words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeywordSplit {
    /// `tcm` (built in: words of Chinese medicine), a file with a word a line, or the words themselves.
    pub list: KeywordList,
    /// Which records are taken.
    pub take: Take,
    /// A record matches when it holds at least so many different words of the list.
    #[schemars(range(min = 1))]
    pub at_least: usize,
}

impl Default for KeywordSplit {
    fn default() -> Self {
        Self { list: KeywordList::default(), take: Take::Matching, at_least: 1 }
    }
}

/// Where words come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum KeywordList {
    /// `tcm`, or a file relative to the recipe's folder or the working directory.
    Named(String),
    /// The words.
    Words(Vec<String>),
}

impl Default for KeywordList {
    fn default() -> Self {
        Self::Named("tcm".to_owned())
    }
}

/// A side of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Take {
    /// The records that match.
    Matching,
    /// The records that do not.
    Others,
}

/// Records that share a long run of text with an item of the recipe's exam. A run's length is counted in words (runs of
/// letters and digits) and characters (of Chinese, Japanese and Korean), mixed text in proportion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Contamination {
    /// Words that make a run long.
    #[schemars(range(min = 2, max = 1000))]
    pub ngram_words: usize,
    /// Chinese characters that make a run long.
    #[schemars(range(min = 2, max = 1000))]
    pub ngram_characters: usize,
    /// Whether the items' passages count too: off, as they are the knowledge that is to be learned from such records.
    pub passages: bool,
    /// What becomes of such records.
    pub action: ContaminationAction,
}

impl Default for Contamination {
    fn default() -> Self {
        Self { ngram_words: 13, ngram_characters: 20, passages: false, action: ContaminationAction::Drop }
    }
}

/// What becomes of records that share text with the exam.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContaminationAction {
    /// They are left out, and counted.
    Drop,
    /// They are counted only.
    Report,
}

/// Records that say nearly the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NearDuplicates {
    /// Share of the runs of five words or Chinese characters that two records have in common (Jaccard) from which they are
    /// near-duplicates.
    #[schemars(range(min = 0.5, max = 0.95))]
    pub threshold: f64,
}

impl Default for NearDuplicates {
    fn default() -> Self {
        Self { threshold: 0.8 }
    }
}

impl FilterSpec {
    /// These settings, and those of `default` where nothing is said here.
    #[must_use]
    pub fn or(&self, default: &Self) -> Self {
        let (own, default) = (self.clone(), default.clone());
        Self {
            question_chars: own.question_chars.or(default.question_chars),
            answer_chars: own.answer_chars.or(default.answer_chars),
            chars: own.chars.or(default.chars),
            language: own.language.or(default.language),
            html: own.html.or(default.html),
            boilerplate: own.boilerplate.or(default.boilerplate),
            reject: own.reject.or(default.reject),
            require: own.require.or(default.require),
            conditions: own.conditions.or(default.conditions),
            keywords: own.keywords.or(default.keywords),
        }
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
