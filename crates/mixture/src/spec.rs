//! Specification of a mix: the typed form of a recipe's `[mix]` and `[sources]`.

use indexmap::IndexMap;
use medley_chat::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::filter::{Contamination, FilterSpec, NearDuplicates};

/// A node of the mixture tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MixtureRatio {
    /// A source, by its name in `[sources]`.
    Source(String),
    /// A group: each child with its weight (positive), in the recipe's order.
    Group(Vec<(u64, MixtureNode)>),
}

/// A named child of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixtureNode {
    /// The name the recipe gives it.
    pub name: String,
    /// A source or a group with a ratio of its own.
    pub ratio: MixtureRatio,
}

/// What to do when a pool holds fewer records than its share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnShortage {
    /// Stop and say what the pool has and what it needs.
    #[default]
    Error,
    /// Take records of the pool more than once, each as often as any other to within one.
    Repeat,
    /// Make the whole mix smaller, keeping the ratio.
    Shrink,
}

/// Records of every pool that are held out for validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Validation {
    /// Share of every pool that is never trained on, 0 to 0.5.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub fraction: f64,
    /// At most this many of them are evaluated, per source.
    pub max_samples: usize,
}

impl Default for Validation {
    fn default() -> Self {
        Self { fraction: 0.01, max_samples: 200 }
    }
}

/// Which fields of a record hold what. A dot descends (`answer.text`), a number picks from a list (`questions.0`; a
/// value that is no list counts as a list of one), and a list that is left is joined by line breaks. An empty name
/// (`history = ""`) is a field that is not read, even where records have one of the usual name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// The question or task.
    pub instruction: Option<String>,
    /// What the task is about; put below the instruction.
    pub input: Option<String>,
    /// The answer, which is supervised.
    pub output: Option<String>,
    /// Earlier turns: a list of `[user, assistant]` pairs or of messages.
    pub history: Option<String>,
    /// A system message.
    pub system: Option<String>,
    /// The turns of a conversation (default: `messages`, `conversations` or `conversation`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// In a turn: who speaks (default: `role` or `from`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// In a turn: what is said (default: `content` or `value`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// What speakers are called, beside the usual names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Roles>,
    /// In a turn: whether it is learned; false or 0 says no (default: each of `train`, `training`, `trainable`, `is_train`,
    /// `weight`, `loss`, `loss_weight`, `loss_scale`, `loss_mask`, and the other way round `mask`, `masked`). Empty: every
    /// answer is learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<String>,
    /// Of exam items: the options (an object, a list or lines), or the columns that hold one each, in their order. The question
    /// is then `instruction`, the answer `output`, a passage `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<OptionColumns>,
    /// Of exam items: the explanation of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// Of exam items whose answers are numbers: the number of the first option, 0 or 1 (default: inferred from the file's records).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1))]
    pub answers_from: Option<u8>,
}

/// The columns that hold the options of an exam item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OptionColumns {
    /// One that holds all of them.
    All(String),
    /// One for each.
    Each(Vec<String>),
}

impl OptionColumns {
    /// The columns' names.
    pub fn names(&self) -> &[String] {
        match self {
            Self::All(name) => std::slice::from_ref(name),
            Self::Each(names) => names,
        }
    }
}

impl Columns {
    /// Whether they name keys of a conversation. Empty names do not count, except `train`.
    pub fn of_conversations(&self) -> bool {
        let names = [&self.messages, &self.role, &self.content];
        let is_named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
        names.into_iter().any(is_named) || self.roles.is_some() || self.train.is_some()
    }

    /// Whether they name fields, which `answers_from` alone does not.
    pub fn name_fields(&self) -> bool {
        Self { answers_from: None, ..self.clone() } != Self::default()
    }
}

/// Names of a conversation's speakers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Roles {
    /// Who asks (`user` and `human` always are).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<String>,
    /// Who answers (`assistant`, `gpt`, `chatgpt`, `bot` and `model` always are).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assistant: Vec<String>,
    /// Who says what holds for all that follows (`system` always is).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<String>,
}

impl Roles {
    /// The names that are not understood anyway; `None` where there is none.
    pub fn unusual(mut self) -> Option<Self> {
        let roles =
            [(&mut self.user, Role::User), (&mut self.assistant, Role::Assistant), (&mut self.system, Role::System)];
        for (names, role) in roles {
            names.retain(|name| usual_role(name) != Some(role));
        }
        (self != Self::default()).then_some(self)
    }
}

/// The usual role of a name.
pub fn usual_role(name: &str) -> Option<Role> {
    match name.to_ascii_lowercase().as_str() {
        "system" => Some(Role::System),
        "user" | "human" => Some(Role::User),
        "assistant" | "gpt" | "chatgpt" | "bot" | "model" => Some(Role::Assistant),
        _ => None,
    }
}

/// How a source is read. Its files' layout and its records' shape are recognised; a value other than `auto` overrides one
/// of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceFormat {
    /// Recognise both: files by their content, records by their keys (or by the columns named).
    #[default]
    Auto,
    /// Records are `instruction`, `input`, `output` (or the columns named), without conversion.
    Alpaca,
    /// Records are conversations: `messages` (role, content) or `conversations` (from, value).
    Messages,
    /// Files are JSON: an array or an object of records, JSON Lines, or objects one after another.
    Json,
    /// Files are tables with a header, comma-separated.
    Csv,
    /// Files are tables with a header, tab-separated.
    Tsv,
}

/// Which of a conversation's answers are learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Supervise {
    /// Every answer, but those that the record itself marks with `weight = 0` or `train = false`.
    #[default]
    All,
    /// The last answer; the ones before it are read.
    Last,
}

/// One pool of records: everything its parts hold, taken together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSpec {
    /// Where the records are, in the recipe's order. In TOML: `path`, a string, a table, or a list of both.
    pub parts: Vec<SourcePart>,
    /// At most this many different records, those with the smallest keys: a draw that is the same however large the mix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_records: Option<usize>,
}

/// One place that records of a pool come from. In TOML a string takes the options beside `path` in
/// `[sources.X]`; a table `{ path = …, columns = … }` overrides them for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePart {
    /// A file, directory, glob, or hub data set (`owner/name`). A relative path is relative to the recipe's folder or,
    /// where nothing is found there, to the working directory; what is found in neither and has the form `owner/name`
    /// is a hub data set.
    pub path: String,
    /// How files and records are read, where that is not to be recognised.
    pub format: SourceFormat,
    /// Field names, where they are not recognised.
    pub columns: Columns,
    /// What the text is written in, where that is not recognised: `gb18030`, `big5`, or any other label of the web.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Which of a conversation's answers are learned.
    #[serde(default)]
    pub supervise: Supervise,
    /// Which of its records are taken.
    #[serde(default, skip_serializing_if = "FilterSpec::is_empty")]
    pub filter: FilterSpec,
    /// For a hub data set or a directory: which of its files, as a glob (default: every data file).
    pub files: Option<String>,
    /// For a hub data set or a directory: which of its configurations, by the name that its README or a folder has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// For a hub data set or a directory: which of its splits (`train`, `validation`, `test`, …; default: all of them).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// For a hub data set: branch, tag or commit (default `main`).
    pub revision: Option<String>,
    /// Licence, as the publisher states it.
    pub licence: Option<String>,
    /// False where the licence or the publisher forbids commercial use.
    pub commercial_use: Option<bool>,
}

/// Unit of an amount of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Samples, however long.
    #[default]
    Samples,
    /// Tokens after rendering and truncation, prompts included.
    Tokens,
    /// Of these, the tokens that the loss looks at.
    SupervisedTokens,
}

impl Unit {
    /// In words, for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Tokens => "tokens",
            Self::SupervisedTokens => "supervised tokens",
        }
    }
}

/// The order in which a mix is written and every epoch is trained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Order {
    /// Every sample anywhere: each tenth holds its share of each source but for chance.
    #[default]
    Shuffled,
    /// Each source in turn, as the mixture tree names them.
    Sequential,
    /// The sources by turns, so that every beginning of the epoch holds each source's share to within a sample or so.
    Interleaved,
    /// One source or group after all the others: `medical-last`.
    Last(String),
}

/// What follows the name of a source or group that comes last.
const LAST: &str = "-last";

impl TryFrom<String> for Order {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let unknown = "expected shuffled, sequential, interleaved or NAME-last";
        Self::parse(&text).ok_or_else(|| format!("unknown order `{text}`: {unknown}"))
    }
}

impl From<Order> for String {
    fn from(order: Order) -> Self {
        match order {
            Order::Shuffled => "shuffled".to_owned(),
            Order::Sequential => "sequential".to_owned(),
            Order::Interleaved => "interleaved".to_owned(),
            Order::Last(name) => format!("{name}{LAST}"),
        }
    }
}

impl Order {
    /// Reads an order as recipes write it; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "shuffled" => Self::Shuffled,
            "sequential" => Self::Sequential,
            "interleaved" => Self::Interleaved,
            other => Self::Last(other.strip_suffix(LAST).filter(|name| !name.is_empty())?.to_owned()),
        })
    }
}

/// A whole mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MixSpec {
    /// How much in all, in `size_in`; 0 where `epochs` decides it.
    pub size: usize,
    /// What `size` counts.
    #[serde(skip_serializing_if = "is_default")]
    pub size_in: Unit,
    /// Seed of the draw; another seed is another draw.
    pub seed: u64,
    /// The mixture tree's root.
    pub ratio: MixtureRatio,
    /// What the ratio is a ratio of.
    #[serde(skip_serializing_if = "is_default")]
    pub ratio_in: Unit,
    /// The tree at the end of training, where shares change over it in a straight line.
    #[serde(skip_serializing_if = "is_default")]
    pub ratio_end: Option<MixtureRatio>,
    /// How often each source's records are taken, by source, where that is asked for instead of a size and a ratio.
    #[serde(skip_serializing_if = "is_default")]
    pub epochs: IndexMap<String, f64>,
    /// The order of the written mix and of training.
    #[serde(skip_serializing_if = "is_default")]
    pub order: Order,
    /// What to do when a pool is too small.
    pub on_shortage: OnShortage,
    /// With [`OnShortage::Repeat`]: a pool's records come at most so often on average.
    #[serde(skip_serializing_if = "is_default")]
    pub max_epochs: Option<f64>,
    /// By how much a share may miss what was asked for, 0 to 1, besides what one sample makes (by tokens twenty average ones).
    #[serde(skip_serializing_if = "is_default_tolerance")]
    pub tolerance: f64,
    /// The validation split.
    pub validation: Validation,
    /// What becomes of records that share text with the exam.
    #[serde(default, skip_serializing_if = "is_default")]
    pub contamination: Contamination,
    /// Leaves out records that say nearly the same as another, within and across pools (default: all stay).
    #[serde(default, skip_serializing_if = "is_default")]
    pub near_duplicates: Option<NearDuplicates>,
    /// Every source that the tree names, in the recipe's order: a record in two pools belongs to the first.
    pub sources: IndexMap<String, SourceSpec>,
}

/// Half a percentage point.
pub const DEFAULT_TOLERANCE: f64 = 0.005;

impl Default for MixSpec {
    fn default() -> Self {
        Self {
            size: 0,
            size_in: Unit::default(),
            seed: 42,
            ratio: MixtureRatio::Group(Vec::new()),
            ratio_in: Unit::default(),
            ratio_end: None,
            epochs: IndexMap::new(),
            order: Order::default(),
            on_shortage: OnShortage::default(),
            max_epochs: None,
            tolerance: DEFAULT_TOLERANCE,
            validation: Validation::default(),
            contamination: Contamination::default(),
            near_duplicates: None,
            sources: IndexMap::new(),
        }
    }
}

impl MixSpec {
    /// Whether samples must be measured in tokens to draw the mix.
    pub fn needs_tokens(&self) -> bool {
        self.size_in != Unit::Samples || self.ratio_in != Unit::Samples
    }
}

/// For serde: whether a setting has its default value.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_default_tolerance(tolerance: &f64) -> bool {
    *tolerance == DEFAULT_TOLERANCE
}
