//! What can go wrong with a model.

use std::path::{Path, PathBuf};

/// Errors of this crate. Every message says which file and key it is about and how to mend it.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ModelError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    #[diagnostic(help("check the path, the permissions of the file and the disk"))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    #[diagnostic(help("check the permissions of the folder and the free space"))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not JSON.
    #[error("{} is not valid JSON: {source}", path.display())]
    #[diagnostic(help("the file is damaged or incomplete: take it from the model's repository again"))]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A key of a configuration is missing or has a value that cannot be used.
    #[error("{}: `{key}` {problem}", path.display())]
    #[diagnostic(help(
        "the key describes the weights, so another value does not help: take a model or adapter that Medley \
         supports"
    ))]
    Config {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with it and what is expected.
        problem: String,
    },
    /// A file of weights is damaged or not in the safetensors format.
    #[error("{} is not a readable safetensors file: {problem}", path.display())]
    #[diagnostic(help("fetch or copy the file again; a Git LFS pointer is fetched with `git lfs pull`"))]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A `torch.save` file is damaged or not a dictionary of tensors.
    #[error(
        "{} cannot be read: {problem}. Pickle files are parsed, never executed, and only dictionaries of tensors are supported",
        path.display()
    )]
    #[diagnostic(help("save it as .safetensors (PEFT's save_pretrained does)"))]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The tensors of a checkpoint do not fit the model.
    #[error("the tensors in {} do not fit the model:{}", path.display(), list(problems))]
    #[diagnostic(help("config.json and the weights must come from one model, complete with every shard"))]
    Tensors {
        /// The directory or file.
        path: PathBuf,
        /// One line for each missing, unexpected, misshapen or repeated tensor.
        problems: Vec<String>,
    },
    /// A weight is NaN or infinite.
    #[error(
        "{}: the {} weights are not finite: {count} of {elements} elements of {tensor} are NaN or infinite",
        path.display(), whose(path)
    )]
    #[diagnostic(help("the file is damaged or its training diverged: take an earlier checkpoint"))]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Elements that are not finite.
        count: usize,
        /// Elements of the tensor.
        elements: usize,
    },
    /// A weight overflows the requested number format.
    #[error("cannot write {}: {value} in {tensor} is beyond the range of f16 (65504)", path.display())]
    #[diagnostic(help("save in bf16 or f32 (`train.save_dtype`)"))]
    BeyondFormat {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its first element that overflows.
        value: f32,
    },
    /// A directory is not a model.
    #[error("{}: {problem}", path.display())]
    #[diagnostic(help("name a folder with config.json, weights and tokenizer, a run, or a model id of the hub"))]
    NotAModel {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// A LoRA configuration cannot be used.
    #[error("LoRA: {0}")]
    #[diagnostic(help(
        "check rank, alpha, dropout and target under [train.lora], or in the adapter's adapter_config.json"
    ))]
    Lora(String),
    /// The requested device cannot be used.
    #[error("device `{request}`: {problem}")]
    #[diagnostic(help("`--device cpu` works everywhere; see docs/devices.md"))]
    Device {
        /// What was asked for.
        request: String,
        /// Why it cannot be had and what can.
        problem: String,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, ModelError>;

/// Owner of a file's weights, for messages.
fn whose(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with("adapter_model") { "adapter's" } else { "base model's" }
}

fn list(problems: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut text: String = problems.iter().take(SHOWN).map(|problem| format!("\n  - {problem}")).collect();
    if problems.len() > SHOWN {
        text.push_str(&format!("\n  … and {} more", problems.len() - SHOWN));
    }
    text
}
