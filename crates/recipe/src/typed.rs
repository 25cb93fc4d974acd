//! The resolved recipe: every default written out, every value checked.

use medley_mixture::{MixSpec, SourcePart};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A resolved recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Short name; the run directory starts with it.
    pub name: String,
    /// One line that says what the recipe is for.
    pub description: Option<String>,
    /// The model that is fine-tuned.
    pub model: ModelSpec,
    /// How samples are rendered and cut.
    pub chat: ChatSpec,
    /// The data.
    pub mix: MixSpec,
    /// The training.
    pub train: TrainSpec,
    /// The exam.
    pub exam: ExamSpec,
}

/// The model that is fine-tuned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Hub id, local directory (weights, an earlier run or a PEFT adapter), or `init:FILE` for fresh random weights.
    pub base: String,
    /// Hub branch, tag or commit.
    pub revision: Option<String>,
    /// Number format of weights and activations.
    pub dtype: DtypeSpec,
}

/// Number format of weights and activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DtypeSpec {
    /// bf16 on CUDA, f32 elsewhere.
    #[default]
    Auto,
    /// IEEE single precision.
    F32,
    /// bfloat16.
    Bf16,
}

/// How samples are rendered and cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatSpec {
    /// Longest sample in tokens; longer ones are cut, passages first.
    pub max_tokens: usize,
    /// System message for samples that have none; `None` leaves it to the chat template.
    pub system: Option<String>,
}

/// The training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainSpec {
    /// What is trained.
    pub method: Method,
    /// Update rule.
    pub optimizer: Optimizer,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Shape of the learning rate after the warm-up.
    pub schedule: Schedule,
    /// Share of all steps over which the learning rate rises from 0, 0 to 1.
    pub warmup_ratio: f64,
    /// Steps over which the learning rate rises from 0; where given, `warmup_ratio` is 0.
    pub warmup_steps: Option<usize>,
    /// Decoupled weight decay on matrices (not on biases and norms).
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Largest global norm of the gradient; 0 switches clipping off.
    pub max_grad_norm: f64,
    /// Passes over the mix.
    pub epochs: usize,
    /// Stop after this many optimizer steps.
    pub max_steps: Option<usize>,
    /// Samples in an optimizer step, whatever the device.
    pub batch_size: usize,
    /// Token budget of one forward and backward pass: memory and speed only, never the result.
    pub tokens_per_micro_batch: usize,
    /// Activations kept of each block between forward and backward: memory and speed only, never the result.
    pub block_policy: BlockPolicy,
    /// Update each block as soon as its gradient exists: memory and, with clipping, speed only, never the result. Full
    /// fine-tuning in steps of one micro-batch.
    pub optimizer_in_backward: bool,
    /// Stop when the validation loss no longer falls; `None` trains all steps.
    pub early_stopping: Option<EarlyStopping>,
    /// Which weights become the run's model.
    pub result: TrainResult,
    /// Number format of the saved model.
    pub save_dtype: SaveDtype,
    /// Checkpoints that are kept once the run's model is saved.
    pub keep: Keep,
    /// Seed of order, dropout and fresh weights.
    pub seed: u64,
    /// Optimizer steps between two lines of metrics.
    pub logging_steps: usize,
    /// Optimizer steps between two validations; 0 only at the end.
    pub eval_steps: usize,
    /// Optimizer steps between two checkpoints; 0 only at the end.
    pub save_steps: usize,
    /// Number of latest checkpoints that are kept, besides the best.
    pub save_total_limit: usize,
}

/// What is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum Method {
    /// Every weight.
    Full,
    /// Low-rank adapters beside frozen weights.
    Lora(LoraSpec),
}

/// Low-rank adapters, in PEFT's terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraSpec {
    /// Rank of the two factors.
    pub rank: usize,
    /// The update is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Dropout on the adapters' input, 0 to 1.
    pub dropout: f64,
    /// Names of the linear layers that are adapted (`q_proj`, …); `all-linear` resolves to every one but the head.
    pub target: Vec<String>,
}

/// When training stops before its last step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EarlyStopping {
    /// Number of validations in a row without improvement after which training stops.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub patience: usize,
    /// Smallest decrease below the best validation loss so far that counts as an improvement.
    #[schemars(range(min = 0.0, max = 1e6))]
    pub min_delta: f64,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self { patience: 3, min_delta: 0.0 }
    }
}

/// Which weights become the run's model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrainResult {
    /// Those after the last step.
    #[default]
    Last,
    /// Those with the lowest validation loss; a checkpoint is saved at each new minimum.
    Best,
}

/// Number format of a saved model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SaveDtype {
    /// That of the base model's files.
    #[default]
    Base,
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
}

/// Checkpoints that are kept once the run's model is saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// None: the model alone.
    #[default]
    Model,
    /// The last one, with its optimizer state.
    Last,
    /// All that `save_total_limit` kept.
    All,
}

/// Update rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// AdamW as torch defines it.
    #[default]
    AdamW,
    /// Muon for the matrices inside blocks, AdamW for the rest.
    Muon,
}

/// Shape of the learning rate after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Half a cosine down to 0.
    #[default]
    Cosine,
    /// A line down to 0.
    Linear,
    /// Stays at the peak.
    Constant,
}

/// Which activations are kept between forward and backward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BlockPolicy {
    /// `keep` where the memory plan says that it fits this machine with a margin, else `recompute`.
    #[default]
    Auto,
    /// Keep every block's input, recompute inside one block at a time.
    Recompute,
    /// Keep every block's graph: fastest, most memory.
    Keep,
}

impl BlockPolicy {
    /// As a recipe writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Recompute => "recompute",
            Self::Keep => "keep",
        }
    }
}

/// The exam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExamSpec {
    /// Sources of the exam items; empty for no exam.
    pub papers: Vec<SourcePart>,
    /// Prompt template: `zh`, `en` (built in) or a file.
    pub prompt: String,
    /// What the model is asked for, and how it is graded.
    pub answer: AnswerForm,
    /// With passages, without, or both.
    pub books: Vec<Book>,
    /// Longest prompt in tokens; passages are cut first, the question never.
    pub max_prompt_tokens: usize,
    /// Longest answer in tokens.
    pub max_new_tokens: usize,
    /// Items answered at a time: memory and speed only, never the result.
    pub batch_size: usize,
    /// Store the full prompt of every answer in `answers.jsonl`.
    pub keep_prompts: bool,
}

/// What the model is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnswerForm {
    /// The letters of the right options.
    #[default]
    Letter,
    /// The text of the right option.
    Text,
}

/// Whether the passages are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Book {
    /// The passages are part of the prompt.
    Open,
    /// Only the question and its options.
    Closed,
}
