//! The schema of a recipe file, and the only place of names, defaults, ranges and descriptions: the checks, the
//! JSON schema and the resolved recipe are all made from these types.

use indexmap::IndexMap;
use medley_mixture::{
    Columns, Contamination, DEFAULT_TOLERANCE, FilterSpec, NearDuplicates, OnShortage, Order, SourceFormat, Supervise,
    Unit, Validation,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::typed::{
    AnswerForm, BlockPolicy, Book, DtypeSpec, EarlyStopping, Keep, Optimizer, SaveDtype, Schedule, TrainResult,
};

/// Largest `mix.size` in tokens.
pub(crate) const MOST_TOKENS: i64 = 1_000_000_000_000_000;

/// Largest `mix.size` in samples, which are kept in memory one by one.
pub(crate) const MOST_SAMPLES: i64 = 10_000_000_000;

/// A Medley recipe: a mixture of data, a model that is fine-tuned on it, and an exam.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "Medley recipe")]
pub(crate) struct RawRecipe {
    /// Another recipe that this one is laid over: a file relative to this one, or the name of a shipped recipe. Tables
    /// are merged, later keys win, a `ratio` is replaced as a whole.
    pub(crate) extends: Option<String>,
    /// Short name; the run directory starts with it (default: the file's name).
    pub(crate) name: Option<String>,
    /// One line that says what the recipe is for.
    pub(crate) description: Option<String>,
    /// The model that is fine-tuned.
    pub(crate) model: RawModel,
    /// How samples are rendered and cut.
    pub(crate) chat: RawChat,
    /// The mixture: how much, of what, at which ratio.
    pub(crate) mix: RawMix,
    /// The pools of records that the mixture draws from, by name. A record in two pools belongs to the first.
    pub(crate) sources: IndexMap<String, RawSource>,
    /// The training.
    pub(crate) train: RawTrain,
    /// The exam after the training.
    pub(crate) exam: RawExam,
}

/// The model that is fine-tuned.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct RawModel {
    /// Hub id, local directory (weights, an earlier run or a PEFT adapter), or `init:FILE` for fresh random weights.
    #[schemars(length(min = 1))]
    pub(crate) base: Option<String>,
    /// Hub branch, tag or commit.
    #[schemars(length(min = 1))]
    pub(crate) revision: Option<String>,
    /// Number format of weights and activations.
    pub(crate) dtype: DtypeSpec,
}

/// How samples are rendered and cut.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct RawChat {
    /// Longest sample in tokens; longer ones are cut, passages first.
    #[schemars(range(min = 16, max = 100_000_000))]
    pub(crate) max_tokens: usize,
    /// System message for samples that have none (default: what the chat template says).
    pub(crate) system: Option<String>,
}

impl Default for RawChat {
    fn default() -> Self {
        Self { max_tokens: 2048, system: None }
    }
}

/// The mixture: how much, of what, at which ratio. A further table `[mix.NAME]` is a group with a ratio of its own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct RawMix {
    /// How much in all: samples, or what `size_in` says.
    #[schemars(range(min = 1, max = MOST_TOKENS))]
    pub(crate) size: Option<usize>,
    /// What `size` counts. Tokens are counted by the base model's tokenizer, after truncation.
    pub(crate) size_in: Unit,
    /// Seed of the draw; another seed is another draw.
    pub(crate) seed: u64,
    /// Weights of sources and groups at the root of the mixture tree (default: the only source).
    pub(crate) ratio: Option<RawRatio>,
    /// What the ratio is a ratio of.
    pub(crate) ratio_in: Unit,
    /// Weights at the end of training; shares go there in a straight line, and `train.epochs` must be 1.
    pub(crate) ratio_end: Option<RawRatio>,
    /// How often each source's records are taken, instead of a size and a ratio: `{ general = 1, tcm = 2.5 }`.
    pub(crate) epochs: Option<RawEpochs>,
    /// The order of the written mix and of every epoch: `shuffled`, `sequential` (source after source), `interleaved` (by
    /// turns), or `NAME-last`, where NAME is a source or group.
    #[schemars(length(min = 1))]
    pub(crate) order: String,
    /// What to do when a pool is too small.
    pub(crate) on_shortage: OnShortage,
    /// With `on_shortage = "repeat"`: a pool's records come at most so often on average.
    #[schemars(range(min = 1.0, max = 1_000_000.0))]
    pub(crate) max_epochs: Option<f64>,
    /// By how much the share of a source may miss what was asked for (0.005 is half a percentage point), besides what one
    /// sample makes (by tokens twenty average ones); a mix that is off by more is an error.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(crate) tolerance: f64,
    /// Share of every pool that is held out for validation.
    pub(crate) validation: Validation,
    /// What becomes of records that share a long run of text with an item of the exam.
    pub(crate) contamination: Contamination,
    /// Leaves out records that say nearly the same as another, within and across sources: of two the one of the source named
    /// first stays (default: all stay).
    pub(crate) near_duplicates: Option<NearDuplicates>,
    /// Which records are taken, of every source that does not say otherwise.
    pub(crate) filter: Option<FilterSpec>,
    /// A group: a ratio of its own.
    #[serde(flatten)]
    pub(crate) groups: IndexMap<String, RawGroup>,
}

impl Default for RawMix {
    fn default() -> Self {
        Self {
            size: None,
            size_in: Unit::default(),
            seed: 42,
            ratio: None,
            ratio_in: Unit::default(),
            ratio_end: None,
            epochs: None,
            order: Order::default().into(),
            on_shortage: OnShortage::default(),
            max_epochs: None,
            tolerance: DEFAULT_TOLERANCE,
            validation: Validation::default(),
            contamination: Contamination::default(),
            near_duplicates: None,
            filter: None,
            groups: IndexMap::new(),
        }
    }
}

/// A group of the mixture tree.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct RawGroup {
    /// Weights of the sources and groups inside this group.
    pub(crate) ratio: Option<RawRatio>,
    /// Weights at the end of training, where they change (default: those of `ratio`).
    pub(crate) ratio_end: Option<RawRatio>,
}

/// Weights by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct RawRatio(pub(crate) IndexMap<String, RawWeight>);

/// Parts of the whole: a whole number or an exact decimal fraction (`0.1` is one tenth).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct RawWeight(#[schemars(with = "f64", extend("exclusiveMinimum" = 0))] pub(crate) serde_json::Number);

/// Passes over each source by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct RawEpochs(pub(crate) IndexMap<String, RawPasses>);

/// Passes over a source's records; 0.5 takes half of them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct RawPasses(#[schemars(range(max = 1000.0), extend("exclusiveMinimum" = 0))] pub(crate) f64);

/// One value, or a list of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany<T> {
    /// A list. First, because serde derives structs that also accept a list of their fields' values: `[]` would be a
    /// `One` of defaults.
    Many(Vec<T>),
    /// A single value.
    One(T),
}

impl<T> OneOrMany<T> {
    pub(crate) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

/// One pool of records. The options beside `path` hold for each of its paths that does not say otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct RawSource {
    /// Where the records are: files, directories, globs, hub data sets (`owner/name`), or tables with options of their
    /// own. A relative path is relative to the recipe's folder or, where nothing is found there, to the working
    /// directory.
    pub(crate) path: Option<OneOrMany<RawPath>>,
    /// How it is read, where that is not to be recognised.
    pub(crate) format: Option<SourceFormat>,
    /// Field names, where they are not recognised.
    pub(crate) columns: Option<Columns>,
    /// What the text is written in, where that is not recognised: `gb18030`, `big5`, or any other label of the web.
    pub(crate) encoding: Option<String>,
    /// Which of a conversation's answers are learned.
    pub(crate) supervise: Option<Supervise>,
    /// Which of its records are taken; what is not said here, `[mix.filter]` says.
    pub(crate) filter: Option<FilterSpec>,
    /// At most this many different records, those with the smallest keys: the same ones however large the mix.
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub(crate) max_records: Option<usize>,
    /// Which files of a hub data set or directory, as a glob (default: every data file).
    pub(crate) files: Option<String>,
    /// Which configuration of a hub data set or directory, by the name that its README or a folder has.
    pub(crate) config: Option<String>,
    /// Which split of a hub data set or directory: `train`, `validation`, `test`, … (default: all of them).
    pub(crate) split: Option<String>,
    /// Branch, tag or commit of a hub data set (default: `main`).
    pub(crate) revision: Option<String>,
    /// Licence, as the publisher states it.
    pub(crate) licence: Option<String>,
    /// False where the licence or the publisher forbids commercial use.
    pub(crate) commercial_use: Option<bool>,
}

/// A place that records come from.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawPath {
    /// A file, directory, glob or hub data set.
    Text(#[schemars(length(min = 1))] String),
    /// The same with options of its own.
    Table(Box<RawPart>),
}

/// A place that records come from, with options of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct RawPart {
    /// A file, directory, glob or hub data set (`owner/name`).
    #[schemars(length(min = 1))]
    pub(crate) path: Option<String>,
    /// How it is read, where that is not to be recognised.
    pub(crate) format: Option<SourceFormat>,
    /// Field names, where they are not recognised.
    pub(crate) columns: Option<Columns>,
    /// What the text is written in, where that is not recognised: `gb18030`, `big5`, or any other label of the web.
    pub(crate) encoding: Option<String>,
    /// Which of a conversation's answers are learned.
    pub(crate) supervise: Option<Supervise>,
    /// Which of its records are taken; what is not said here, the source's filter says.
    pub(crate) filter: Option<FilterSpec>,
    /// Which files of a hub data set or directory, as a glob (default: every data file).
    pub(crate) files: Option<String>,
    /// Which configuration of a hub data set or directory, by the name that its README or a folder has.
    pub(crate) config: Option<String>,
    /// Which split of a hub data set or directory: `train`, `validation`, `test`, … (default: all of them).
    pub(crate) split: Option<String>,
    /// Branch, tag or commit of a hub data set (default: `main`).
    pub(crate) revision: Option<String>,
    /// Licence, as the publisher states it.
    pub(crate) licence: Option<String>,
    /// False where the licence or the publisher forbids commercial use.
    pub(crate) commercial_use: Option<bool>,
}

/// The training.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct RawTrain {
    /// What is trained.
    pub(crate) method: MethodName,
    /// Low-rank adapters, in PEFT's terms; ignored by `method = "full"`.
    pub(crate) lora: RawLora,
    /// Update rule.
    pub(crate) optimizer: Optimizer,
    /// Peak learning rate.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
    pub(crate) learning_rate: f64,
    /// Shape of the learning rate after the warm-up.
    pub(crate) schedule: Schedule,
    /// Share of all steps over which the learning rate rises from 0.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(crate) warmup_ratio: f64,
    /// Steps over which the learning rate rises from 0, in place of `warmup_ratio`.
    #[schemars(range(max = 1_000_000_000))]
    pub(crate) warmup_steps: Option<usize>,
    /// Decoupled weight decay on matrices (not on biases and norms).
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(crate) weight_decay: f64,
    /// Decay of the first moment.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub(crate) beta1: f64,
    /// Decay of the second moment.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub(crate) beta2: f64,
    /// Added to the root of the second moment.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
    pub(crate) epsilon: f64,
    /// Largest global norm of the gradient; 0 switches clipping off.
    #[schemars(range(min = 0.0, max = 1e12))]
    pub(crate) max_grad_norm: f64,
    /// Passes over the mix.
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) epochs: usize,
    /// Stop after this many optimizer steps (default: when the epochs are over).
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(crate) max_steps: Option<usize>,
    /// Samples in an optimizer step, whatever the device.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(crate) batch_size: usize,
    /// Token budget of one forward and backward pass: memory and speed only, never the result.
    #[schemars(range(min = 16, max = 1_000_000_000))]
    pub(crate) tokens_per_micro_batch: usize,
    /// Which activations are kept between forward and backward: memory and speed only, never the result.
    pub(crate) block_policy: BlockPolicy,
    /// Update each block as soon as the backward pass has its gradient, so that never all gradients are alive: less
    /// memory, the same result. For `method = "full"` and steps that fit into one micro-batch. Clipping needs the norm of
    /// all gradients first: with `max_grad_norm` above 0 every step is computed twice.
    pub(crate) optimizer_in_backward: bool,
    /// Stop when the validation loss no longer falls (default: train all steps). Requires `eval_steps` and a validation set.
    pub(crate) early_stopping: Option<EarlyStopping>,
    /// Which weights become the run's model. `best` requires `eval_steps` and a validation set.
    pub(crate) result: TrainResult,
    /// Number format of the saved model; `base` saves an adapter in f32.
    pub(crate) save_dtype: SaveDtype,
    /// Checkpoints that are kept once the run's model is saved.
    pub(crate) keep: Keep,
    /// Seed of order, dropout and fresh weights.
    pub(crate) seed: u64,
    /// Optimizer steps between two lines of metrics.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(crate) logging_steps: usize,
    /// Optimizer steps between two validations; 0 only at the end.
    #[schemars(range(max = 1_000_000_000))]
    pub(crate) eval_steps: usize,
    /// Optimizer steps between two checkpoints; 0 only at the end.
    #[schemars(range(max = 1_000_000_000))]
    pub(crate) save_steps: usize,
    /// Number of latest checkpoints that are kept, besides the best.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) save_total_limit: usize,
}

impl Default for RawTrain {
    fn default() -> Self {
        Self {
            method: MethodName::Lora,
            lora: RawLora::default(),
            optimizer: Optimizer::default(),
            learning_rate: 1e-4,
            schedule: Schedule::default(),
            warmup_ratio: 0.03,
            warmup_steps: None,
            weight_decay: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            max_grad_norm: 1.0,
            epochs: 1,
            max_steps: None,
            batch_size: 64,
            tokens_per_micro_batch: 8192,
            block_policy: BlockPolicy::default(),
            optimizer_in_backward: false,
            early_stopping: None,
            result: TrainResult::default(),
            save_dtype: SaveDtype::default(),
            keep: Keep::default(),
            seed: 42,
            logging_steps: 10,
            eval_steps: 100,
            save_steps: 200,
            save_total_limit: 2,
        }
    }
}

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MethodName {
    /// Low-rank adapters beside frozen weights.
    Lora,
    /// Every weight.
    Full,
}

/// Low-rank adapters, in PEFT's terms.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct RawLora {
    /// Rank of the two factors.
    #[schemars(range(min = 1, max = 65_536))]
    pub(crate) rank: usize,
    /// The update is scaled by `alpha / rank`.
    #[schemars(range(max = 1_000_000.0), extend("exclusiveMinimum" = 0))]
    pub(crate) alpha: f64,
    /// Dropout on the adapters' input.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub(crate) dropout: f64,
    /// The linear layers that are adapted.
    pub(crate) target: OneOrMany<LoraTarget>,
}

impl Default for RawLora {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0, dropout: 0.05, target: OneOrMany::One(LoraTarget::AllLinear) }
    }
}

/// A linear layer that can be adapted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoraTarget {
    /// Every linear layer but the head.
    #[serde(rename = "all-linear")]
    AllLinear,
    /// Attention's queries.
    QProj,
    /// Attention's keys.
    KProj,
    /// Attention's values.
    VProj,
    /// Attention's output.
    OProj,
    /// The MLP's gate.
    GateProj,
    /// The MLP's way up.
    UpProj,
    /// The MLP's way down.
    DownProj,
}

impl LoraTarget {
    /// Every linear layer of a decoder block, in the order of the block.
    pub const ALL: [Self; 7] =
        [Self::QProj, Self::KProj, Self::VProj, Self::OProj, Self::GateProj, Self::UpProj, Self::DownProj];

    /// The layer's name in a checkpoint.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllLinear => "all-linear",
            Self::QProj => "q_proj",
            Self::KProj => "k_proj",
            Self::VProj => "v_proj",
            Self::OProj => "o_proj",
            Self::GateProj => "gate_proj",
            Self::UpProj => "up_proj",
            Self::DownProj => "down_proj",
        }
    }
}

/// The exam after the training.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RawExam {
    /// Exam items: files, directories, globs, hub data sets (`owner/name`), or tables with further options; empty for no
    /// exam.
    pub(crate) papers: OneOrMany<RawPaper>,
    /// Prompt template: `zh`, `en` (built in) or a file.
    #[schemars(length(min = 1))]
    pub(crate) prompt: String,
    /// What the model is asked for, and how it is graded.
    pub(crate) answer: AnswerForm,
    /// With passages, without, or both: `open`, `closed`, `both`, or a list.
    pub(crate) books: RawBooks,
    /// Longest prompt in tokens; passages are cut first, the question never.
    #[schemars(range(min = 16, max = 100_000_000))]
    pub(crate) max_prompt_tokens: usize,
    /// Longest answer in tokens.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub(crate) max_new_tokens: usize,
    /// Items answered at a time: memory and speed only, never the result.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) batch_size: usize,
    /// Store the full prompt of every answer in `answers.jsonl`.
    pub(crate) keep_prompts: bool,
}

/// A source of exam items.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawPaper {
    /// A file, directory, glob or hub data set.
    Text(String),
    /// The same with further options.
    Table(Box<RawPaperTable>),
}

/// A source of exam items with options.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct RawPaperTable {
    /// A file, directory, glob or hub data set (`owner/name`).
    pub(crate) path: Option<String>,
    /// Record format (default: detected).
    pub(crate) format: Option<SourceFormat>,
    /// Field names (default: detected): `instruction` is the question, `options` the options, `output` the answer.
    pub(crate) columns: Option<Columns>,
    /// Character encoding (default: detected): `gb18030`, `big5`, or another label of the WHATWG encoding standard.
    pub(crate) encoding: Option<String>,
    /// Which files of a hub data set or directory, as a glob (default: every data file).
    pub(crate) files: Option<String>,
    /// Which configuration of a hub data set or directory, by its name in the README or its folder's name.
    pub(crate) config: Option<String>,
    /// Which split of a hub data set or directory: `train`, `validation`, `test`, … (default: all of them).
    pub(crate) split: Option<String>,
    /// Branch, tag or commit of a hub data set (default: `main`).
    pub(crate) revision: Option<String>,
}

/// Open book, closed book, or both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawBooks {
    /// `open`, `closed` or `both`.
    Word(BooksWord),
    /// A list.
    List(Vec<Book>),
}

/// Open book, closed book, or both, as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BooksWord {
    /// The passages are part of the prompt.
    Open,
    /// Only the question and its options.
    Closed,
    /// Once each.
    Both,
}

impl RawBooks {
    pub(crate) fn into_vec(self) -> Vec<Book> {
        match self {
            Self::Word(BooksWord::Open) => vec![Book::Open],
            Self::Word(BooksWord::Closed) => vec![Book::Closed],
            Self::Word(BooksWord::Both) => vec![Book::Open, Book::Closed],
            Self::List(books) => books,
        }
    }
}

impl Default for RawExam {
    fn default() -> Self {
        Self {
            papers: OneOrMany::Many(Vec::new()),
            prompt: "zh".to_owned(),
            answer: AnswerForm::default(),
            books: RawBooks::List(vec![Book::Open]),
            max_prompt_tokens: 4096,
            max_new_tokens: 32,
            batch_size: 16,
            keep_prompts: false,
        }
    }
}
