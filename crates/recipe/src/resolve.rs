//! From a name and `--set` arguments to a resolved recipe.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use medley_mixture::{FilterSpec, MixSpec, Order, SourcePart, SourceSpec, Unit};
use miette::{Diagnostic, Severity};

use crate::check;
use crate::columns;
use crate::document::{Node, NodeValue};
use crate::emit;
use crate::empty;
use crate::error::{Problem, RecipeErrors};
use crate::filters;
use crate::layers::{self, Layered, entries};
use crate::lookup::{self, Found};
use crate::mixture::{self, Mixture};
use crate::origin::Origin;
use crate::paths;
use crate::raw::{
    LoraTarget, MOST_SAMPLES, MOST_TOKENS, MethodName, OneOrMany, RawEpochs, RawPaper, RawPart, RawPasses, RawPath,
    RawRecipe, RawSource, RawTrain,
};
use crate::schema::SCHEMA;
use crate::typed::{ChatSpec, ExamSpec, LoraSpec, Method, ModelSpec, Recipe, TrainSpec};

/// A recipe with every default written out, and where each value came from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The typed recipe.
    pub recipe: Recipe,
    /// The folder that relative paths start from; what is not found there is looked for in the working directory. A
    /// shipped recipe's is the source tree that this was built from, as long as that is there.
    pub base_dir: PathBuf,
    /// Origin of each setting, by its dotted path as `to_toml` writes it.
    pub origins: IndexMap<String, Origin>,
    /// Warnings.
    pub warnings: Vec<Problem>,
}

/// Loads a recipe by path or name and lays `--set` arguments (`train.learning_rate=2e-4`) over it.
///
/// A name is looked up as a path here, in `./recipes`, then among the shipped recipes, with or without `.toml`; a run
/// directory stands for the recipe stored in it. `shipped:NAME` looks among the shipped recipes only.
///
/// # Errors
/// Everything that is wrong, at once: see [`RecipeErrors`].
pub fn load<S: AsRef<str>>(name_or_path: &str, sets: &[S]) -> Result<Resolved, RecipeErrors> {
    resolve(layers::read(lookup::find(name_or_path)?, sets)?)
}

/// Resolves a recipe's text; `name` is what messages call it, `folder` what its relative paths start from.
///
/// # Errors
/// Everything that is wrong, at once: see [`RecipeErrors`].
pub fn parse<S: AsRef<str>>(
    name: &str,
    text: &str,
    folder: Option<&Path>,
    sets: &[S],
) -> Result<Resolved, RecipeErrors> {
    resolve(layers::read(Found::text(name, text, folder), sets)?)
}

impl Resolved {
    /// The recipe as TOML with every default written out, to be stored with a run: paths that lead to local files are
    /// made absolute, so that the stored recipe means the same from any folder.
    pub fn to_toml(&self) -> String {
        paths::anchored(&self.recipe, &self.base_dir).to_toml()
    }

    /// The recipe as TOML, the origin of each value behind it as a comment.
    pub fn show(&self) -> String {
        emit::with_origins(&self.recipe, &self.origins)
    }

    /// Where a relative path of the recipe leads: the recipe's folder or, where nothing is there, the working
    /// directory.
    pub fn find(&self, path: &str) -> PathBuf {
        paths::find(&self.base_dir, path)
    }
}

impl Recipe {
    /// The recipe as TOML with every default written out; reading it gives the same recipe.
    pub fn to_toml(&self) -> String {
        emit::to_toml(self)
    }
}

fn resolve(layered: Layered) -> Result<Resolved, RecipeErrors> {
    let Layered { root, recipe: text } = layered;
    let mut problems = check::check(&root, &SCHEMA);
    report_missing(&root, &mut problems);
    let mixture = mixture::build(&root, &mut problems);
    report_repeated_books(&root, &mut problems);
    report_optimizer_in_backward(&root, &mut problems);
    report_missing_validation(&root, &mut problems);
    report_size(&root, &mut problems);
    let warmup_in_steps = warmup_counts_steps(&root, &mut problems);
    empty::check(&root, &mut problems);
    columns::check(&root, &mut problems);
    filters::check(&root, &mut problems);
    problems.sort_by_cached_key(Problem::position);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|problem| problem.severity() != Some(Severity::Warning));
    let fail = |problems| Err(RecipeErrors::of_recipe(&text.name, problems));
    let Some(mixture) = mixture.filter(|_| errors.is_empty()) else { return fail(errors) };
    let raw: RawRecipe = match serde_json::from_value(root.to_json()) {
        Ok(raw) => raw,
        Err(error) => return fail(vec![Problem::at(&root.place, format!("the recipe cannot be read: {error}"), "")]),
    };
    let base_dir = text.folder.clone().unwrap_or_else(|| PathBuf::from("."));
    let file_stem =
        Path::new(&text.name).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let mut recipe = typed(raw, mixture, &file_stem.replace(' ', "-"));
    if warmup_in_steps {
        recipe.train.warmup_ratio = 0.0;
    } else {
        recipe.train.warmup_steps = None;
    }
    paths::adopt_bases(&mut recipe, &root, &base_dir);
    let origins = emit::setting_paths(&recipe).into_iter().map(|path| (path.join("."), origin(&root, &path))).collect();
    Ok(Resolved { recipe, base_dir, origins, warnings })
}

/// Settings that have no default.
fn report_missing(root: &Node, problems: &mut Vec<Problem>) {
    let mut need = |table: Option<&Node>, section: &str, key: &str, hint: &str| {
        if table.and_then(|node| node.get(&[key])).is_none() {
            let place = table.map_or(&root.place, |node| &node.key);
            let message = format!("`{section}.{key}` is missing");
            problems.push(Problem::at(place, message, format!("hint: {hint}")));
        }
    };
    need(root.get(&["model"]), "model", "base", "base = \"Qwen/Qwen1.5-0.5B\" in [model], or a local directory");
    if root.get(&["mix", "epochs"]).is_none() {
        need(root.get(&["mix"]), "mix", "size", "size = 10_000 in [mix]: how many samples in all");
    }
    for (name, source) in entries(root, &["sources"]) {
        let section = format!("sources.{name}");
        need(Some(source), &section, "path", "path = a file, a directory, a glob or a hub data set");
        let Some(NodeValue::Array(parts)) = source.get(&["path"]).map(|path| &path.value) else { continue };
        for (index, part) in parts.iter().enumerate().filter(|(_, part)| part.table().is_some()) {
            need(Some(part), &format!("{section}.path.{index}"), "path", "path = a file or a hub data set");
        }
    }
    for (path, paper) in papers(root).iter().filter(|(_, paper)| paper.table().is_some()) {
        need(Some(paper), path, "path", "path = a file, a directory, a glob or a hub data set");
    }
}

/// Entries of `exam.papers` with their path in the recipe.
pub(crate) fn papers(root: &Node) -> Vec<(String, &Node)> {
    let Some(papers) = root.get(&["exam", "papers"]) else { return Vec::new() };
    match &papers.value {
        NodeValue::Array(papers) => {
            papers.iter().enumerate().map(|(index, paper)| (format!("exam.papers.{index}"), paper)).collect()
        }
        _ => vec![("exam.papers".to_owned(), papers)],
    }
}

fn report_repeated_books(root: &Node, problems: &mut Vec<Problem>) {
    let Some(NodeValue::Array(books)) = root.get(&["exam", "books"]).map(|books| &books.value) else { return };
    for (index, book) in books.iter().enumerate() {
        if books[..index].iter().any(|earlier| earlier.string() == book.string()) {
            problems.push(Problem::at(&book.place, "`exam.books` names a book twice", "again"));
        }
    }
}

/// The bound on samples, which is below the schema's, that on tokens.
fn report_size(root: &Node, problems: &mut Vec<Problem>) {
    let by_samples = root.get(&["mix", "size_in"]).is_none_or(|unit| unit.string() == Some("samples"));
    let Some(size) = root.get(&["mix", "size"]).filter(|_| by_samples) else { return };
    let NodeValue::Integer(samples) = size.value else { return };
    if (MOST_SAMPLES + 1..=MOST_TOKENS).contains(&samples) {
        let message = format!(
            "`mix.size` is {samples}; expected a whole number of at least 1 and at most {MOST_SAMPLES} samples"
        );
        problems.push(Problem::at(&size.place, message, "too large"));
    }
}

/// Whether the warm-up is given in steps: `warmup_steps` or `warmup_ratio`, whichever is in the later layer.
fn warmup_counts_steps(root: &Node, problems: &mut Vec<Problem>) -> bool {
    let Some(steps) = root.get(&["train", "warmup_steps"]) else { return false };
    let Some(ratio) = root.get(&["train", "warmup_ratio"]) else { return true };
    if steps.layer == ratio.layer {
        let message = "`train.warmup_ratio` and `train.warmup_steps` both give the length of the warm-up";
        problems.push(Problem::at(&steps.key, message, "leave out one of the two"));
    }
    steps.layer > ratio.layer
}

/// Settings that exclude `optimizer_in_backward`, written or by default.
fn report_optimizer_in_backward(root: &Node, problems: &mut Vec<Problem>) {
    let Some(train) = root.get(&["train"]) else { return };
    let Some(wish) = train.get(&["optimizer_in_backward"]) else { return };
    if !matches!(wish.value, NodeValue::Boolean(true)) {
        return;
    }
    let method = train.get(&["method"]);
    if method.is_none_or(|method| method.string() == Some("lora")) {
        let message = "`train.optimizer_in_backward` is for full fine-tuning; `train.method` is \"lora\"";
        let problem = Problem::at(&method.unwrap_or(wish).place, message, "hint: method = \"full\" in [train]");
        problems.push(problem.with_help("the gradients of adapters are small: with LoRA leave the key out"));
    }
}

/// Settings that depend on the validation loss, in a recipe without validation during training.
fn report_missing_validation(root: &Node, problems: &mut Vec<Problem>) {
    let best = root.get(&["train", "result"]).filter(|result| result.string() == Some("best"));
    let settings = [("result", best), ("early_stopping", root.get(&["train", "early_stopping"]))];
    let zero = |path: &[&str]| {
        root.get(path).filter(|node| match node.value {
            NodeValue::Integer(number) => number == 0,
            NodeValue::Float(number) => number == 0.0,
            _ => false,
        })
    };
    let no_validation_set = zero(&["mix", "validation", "fraction"]).or(zero(&["mix", "validation", "max_samples"]));
    for (key, setting) in settings {
        let Some(setting) = setting else { continue };
        let mut refuse = |reason: &str, hint: &str| {
            let message = format!("`train.{key}` requires the validation loss, but {reason}");
            problems.push(Problem::at(&setting.place, message, format!("hint: {hint}")));
        };
        if no_validation_set.is_some() {
            refuse("there is no validation set", "validation = { fraction = 0.01, max_samples = 500 } in [mix]");
        }
        if zero(&["train", "eval_steps"]).is_some() {
            refuse("it is computed only at the end", "eval_steps = 100 in [train]");
        }
    }
}

fn typed(raw: RawRecipe, mixture: Mixture, default_name: &str) -> Recipe {
    let mut sources = raw.sources;
    let for_every_source = raw.mix.filter.unwrap_or_default();
    let chosen = mixture.sources.into_iter().filter_map(|name| {
        let source = source_spec(sources.shift_remove(&name)?, &for_every_source);
        Some((name, source))
    });
    let by_epochs = mixture.by_epochs;
    let epochs = raw.mix.epochs.filter(|_| by_epochs).map(|RawEpochs(epochs)| epochs).unwrap_or_default();
    let mix = MixSpec {
        size: raw.mix.size.filter(|_| !by_epochs).unwrap_or_default(),
        size_in: if by_epochs { Unit::Samples } else { raw.mix.size_in },
        seed: raw.mix.seed,
        ratio: mixture.ratio,
        ratio_in: if by_epochs { Unit::Samples } else { raw.mix.ratio_in },
        ratio_end: mixture.ratio_end,
        epochs: epochs.into_iter().map(|(name, RawPasses(passes))| (name, passes)).collect(),
        order: Order::parse(&raw.mix.order).unwrap_or_default(),
        on_shortage: raw.mix.on_shortage,
        max_epochs: raw.mix.max_epochs,
        tolerance: raw.mix.tolerance,
        validation: raw.mix.validation,
        contamination: raw.mix.contamination,
        near_duplicates: raw.mix.near_duplicates,
        sources: chosen.collect(),
    };
    let exam = ExamSpec {
        papers: raw.exam.papers.into_vec().into_iter().map(paper).collect(),
        prompt: raw.exam.prompt,
        answer: raw.exam.answer,
        books: raw.exam.books.into_vec(),
        max_prompt_tokens: raw.exam.max_prompt_tokens,
        max_new_tokens: raw.exam.max_new_tokens,
        batch_size: raw.exam.batch_size,
        keep_prompts: raw.exam.keep_prompts,
    };
    Recipe {
        name: raw.name.unwrap_or_else(|| default_name.to_owned()),
        description: raw.description,
        model: ModelSpec {
            base: raw.model.base.unwrap_or_default(),
            revision: raw.model.revision,
            dtype: raw.model.dtype,
        },
        chat: ChatSpec { max_tokens: raw.chat.max_tokens, system: raw.chat.system },
        mix,
        train: train_spec(raw.train),
        exam,
    }
}

fn paper(raw: RawPaper) -> SourcePart {
    match raw {
        RawPaper::Text(path) => SourcePart { path, ..SourcePart::default() },
        RawPaper::Table(paper) => SourcePart {
            path: paper.path.unwrap_or_default(),
            format: paper.format.unwrap_or_default(),
            columns: paper.columns.unwrap_or_default(),
            encoding: paper.encoding,
            files: paper.files,
            config: paper.config,
            split: paper.split,
            revision: paper.revision,
            ..SourcePart::default()
        },
    }
}

/// Every part with all its options: its own, or else those beside `path`.
fn source_spec(source: RawSource, for_every_source: &FilterSpec) -> SourceSpec {
    let filter = source.filter.unwrap_or_default().or(for_every_source);
    let paths = source.path.map(OneOrMany::into_vec).unwrap_or_default();
    let part = |path: RawPath| {
        let own = match path {
            RawPath::Text(path) => RawPart { path: Some(path), ..RawPart::default() },
            RawPath::Table(part) => *part,
        };
        SourcePart {
            path: own.path.unwrap_or_default(),
            format: own.format.or(source.format).unwrap_or_default(),
            columns: own.columns.or_else(|| source.columns.clone()).unwrap_or_default(),
            encoding: own.encoding.or_else(|| source.encoding.clone()),
            supervise: own.supervise.or(source.supervise).unwrap_or_default(),
            filter: own.filter.unwrap_or_default().or(&filter),
            files: own.files.or_else(|| source.files.clone()),
            config: own.config.or_else(|| source.config.clone()),
            split: own.split.or_else(|| source.split.clone()),
            revision: own.revision.or_else(|| source.revision.clone()),
            licence: own.licence.or_else(|| source.licence.clone()),
            commercial_use: own.commercial_use.or(source.commercial_use),
        }
    };
    SourceSpec { parts: paths.into_iter().map(part).collect(), max_records: source.max_records }
}

fn train_spec(raw: RawTrain) -> TrainSpec {
    let method = match raw.method {
        MethodName::Full => Method::Full,
        MethodName::Lora => {
            let named = raw.lora.target.into_vec();
            let all = named.contains(&LoraTarget::AllLinear);
            let target = LoraTarget::ALL.into_iter().filter(|target| all || named.contains(target));
            Method::Lora(LoraSpec {
                rank: raw.lora.rank,
                alpha: raw.lora.alpha,
                dropout: raw.lora.dropout,
                target: target.map(|target| target.name().to_owned()).collect(),
            })
        }
    };
    TrainSpec {
        method,
        optimizer: raw.optimizer,
        learning_rate: raw.learning_rate,
        schedule: raw.schedule,
        warmup_ratio: raw.warmup_ratio,
        warmup_steps: raw.warmup_steps,
        weight_decay: raw.weight_decay,
        beta1: raw.beta1,
        beta2: raw.beta2,
        epsilon: raw.epsilon,
        max_grad_norm: raw.max_grad_norm,
        epochs: raw.epochs,
        max_steps: raw.max_steps,
        batch_size: raw.batch_size,
        tokens_per_micro_batch: raw.tokens_per_micro_batch,
        block_policy: raw.block_policy,
        optimizer_in_backward: raw.optimizer_in_backward,
        early_stopping: raw.early_stopping,
        result: raw.result,
        save_dtype: raw.save_dtype,
        keep: raw.keep,
        seed: raw.seed,
        logging_steps: raw.logging_steps,
        eval_steps: raw.eval_steps,
        save_steps: raw.save_steps,
        save_total_limit: raw.save_total_limit,
    }
}

/// Place of the setting at a path of the resolved recipe.
fn origin(root: &Node, path: &[String]) -> Origin {
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    let node = match keys.as_slice() {
        ["sources", source, "path", index, "filter", keys @ ..] => filters::setting(root, source, index, keys),
        ["sources", source, "path", index, key] => part_setting(root, source, index, key),
        ["exam", "papers", index, key] => paper_setting(root, index, key),
        keys => root.get(keys),
    };
    let Some(node) = node else { return Origin::Default };
    let source = &node.place.source;
    if source.is_set {
        Origin::Set(source.name.clone())
    } else {
        Origin::File { name: source.name.clone(), line: source.line(node.key.span.start) }
    }
}

/// An option of an exam paper.
fn paper_setting<'a>(root: &'a Node, index: &str, key: &str) -> Option<&'a Node> {
    let (_, paper) = papers(root).into_iter().nth(index.parse().ok()?)?;
    match paper.table() {
        Some(options) => options.get(key),
        None => Some(paper).filter(|_| key == "path"),
    }
}

/// An option of a part: its own, or else the one beside `path`.
fn part_setting<'a>(root: &'a Node, source: &str, index: &str, key: &str) -> Option<&'a Node> {
    let source = root.get(&["sources", source])?;
    let path = source.get(&["path"])?;
    let part = match &path.value {
        NodeValue::Array(parts) => parts.get(index.parse::<usize>().ok()?)?,
        _ => path,
    };
    match (part.table(), key) {
        (Some(options), key) if options.contains_key(key) => options.get(key),
        (None, "path") => Some(part),
        (_, key) => source.get(&[key]),
    }
}
