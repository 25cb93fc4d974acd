//! The resolved recipe as TOML.

use indexmap::IndexMap;
use medley_mixture::{MixtureRatio, SourcePart, SourceSpec};
use serde_json::{Map, Value};

use crate::origin::Origin;
use crate::raw::{
    LoraTarget, MethodName, OneOrMany, RawBooks, RawChat, RawEpochs, RawExam, RawGroup, RawLora, RawMix, RawModel,
    RawPaper, RawPaperTable, RawPart, RawPasses, RawPath, RawRatio, RawRecipe, RawSource, RawTrain, RawWeight,
};
use crate::typed::{Method, Recipe};

/// Tables that are written on one line.
const INLINE: [&str; 14] = [
    "ratio",
    "ratio_end",
    "epochs",
    "columns",
    "validation",
    "contamination",
    "early_stopping",
    "near_duplicates",
    "question_chars",
    "answer_chars",
    "chars",
    "reject",
    "require",
    "keywords",
];

/// Rightmost column at which origin comments are aligned.
const COMMENT_COLUMN: usize = 72;

/// A line of TOML; a setting's has the setting's path.
struct Line {
    text: String,
    path: Option<Vec<String>>,
}

pub(crate) fn to_toml(recipe: &Recipe) -> String {
    lines(recipe).into_iter().map(|line| line.text + "\n").collect()
}

/// The path of every setting that is written, in order.
pub(crate) fn setting_paths(recipe: &Recipe) -> Vec<Vec<String>> {
    lines(recipe).into_iter().filter_map(|line| line.path).collect()
}

pub(crate) fn with_origins(recipe: &Recipe, origins: &IndexMap<String, Origin>) -> String {
    let lines = lines(recipe);
    let widths = lines.iter().filter(|line| line.path.is_some()).map(|line| width(&line.text));
    let column = widths.filter(|width| *width < COMMENT_COLUMN).max().unwrap_or_default() + 2;
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.text);
        if let Some(origin) = line.path.and_then(|path| origins.get(&path.join("."))) {
            let gap = column.saturating_sub(width(&line.text)).max(2);
            text.extend(std::iter::repeat_n(' ', gap));
            text.push_str(&format!("# {origin}"));
        }
        text.push('\n');
    }
    text
}

/// Columns in a terminal: a Chinese character takes two.
fn width(text: &str) -> usize {
    text.chars().map(|character| if character >= '\u{1100}' { 2 } else { 1 }).sum()
}

fn lines(recipe: &Recipe) -> Vec<Line> {
    let mut value = serde_json::to_value(raw(recipe)).unwrap_or_default();
    drop_unset(&mut value);
    if let (Method::Full, Some(train)) = (&recipe.train.method, value["train"].as_object_mut()) {
        train.shift_remove("lora");
    }
    if let (Some(_), Some(train)) = (recipe.train.warmup_steps, value["train"].as_object_mut()) {
        train.shift_remove("warmup_ratio");
    }
    let mut writer = Writer { lines: Vec::new() };
    if let Some(table) = value.as_object() {
        writer.table(&mut Vec::new(), table);
    }
    writer.lines
}

/// Leaves out what has no value: TOML has no null.
fn drop_unset(value: &mut Value) {
    match value {
        Value::Object(table) => {
            table.retain(|_, value| !value.is_null());
            table.values_mut().for_each(drop_unset);
            table.retain(|key, value| key != "columns" || value.as_object().is_some_and(|columns| !columns.is_empty()));
        }
        Value::Array(items) => items.iter_mut().for_each(drop_unset),
        _ => {}
    }
}

struct Writer {
    lines: Vec<Line>,
}

impl Writer {
    fn plain(&mut self, text: impl Into<String>) {
        self.lines.push(Line { text: text.into(), path: None });
    }

    /// Settings first, then the tables below.
    fn table(&mut self, path: &mut Vec<String>, table: &Map<String, Value>) {
        for (name, value) in table.iter().filter(|(name, value)| !is_section(name, value)) {
            path.push(name.clone());
            self.lines.push(Line { text: format!("{} = {}", key(name), inline(value)), path: Some(path.clone()) });
            path.pop();
        }
        for (name, value) in table.iter().filter(|(name, value)| is_section(name, value)) {
            path.push(name.clone());
            let header = path.iter().filter(|part| part.parse::<usize>().is_err()).map(|part| key(part));
            let header = header.collect::<Vec<_>>().join(".");
            match value {
                Value::Array(items) => {
                    for (index, item) in items.iter().enumerate() {
                        self.plain("");
                        self.plain(format!("[[{header}]]"));
                        path.push(index.to_string());
                        self.table(path, item.as_object().unwrap_or(&Map::new()));
                        path.pop();
                    }
                }
                Value::Object(entries) => {
                    if entries.iter().any(|(name, value)| !is_section(name, value)) {
                        self.plain("");
                        self.plain(format!("[{header}]"));
                    }
                    self.table(path, entries);
                }
                _ => {}
            }
            path.pop();
        }
    }
}

/// Whether a value is emitted as a section with a header.
fn is_section(name: &str, value: &Value) -> bool {
    match value {
        Value::Object(_) => !INLINE.contains(&name),
        Value::Array(items) => items.first().is_some_and(Value::is_object),
        _ => false,
    }
}

/// A TOML key, quoted where it must be.
pub fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter));
    if bare { name.to_owned() } else { toml::Value::String(name.to_owned()).to_string() }
}

/// A value in TOML, on one line.
pub fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => toml::Value::String(text.clone()).to_string(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) if float != 0.0 && float.abs() < 1e-3 => format!("{float:e}"),
            Some(float) => format!("{float:?}"),
            None => number.to_string(),
        },
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let entries = table.iter().map(|(name, value)| format!("{} = {}", key(name), inline(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn raw(recipe: &Recipe) -> RawRecipe {
    let Recipe { name, description, model, chat, mix, train: _, exam } = recipe;
    let mut groups = IndexMap::new();
    let by_epochs = !mix.epochs.is_empty();
    let ratio = raw_ratio(&mix.ratio, &mut groups);
    let ratio_end = mix.ratio_end.as_ref().map(|end| raw_ratio_end(end, &mut groups));
    let epochs = mix.epochs.iter().map(|(name, passes)| (name.clone(), RawPasses(*passes))).collect();
    RawRecipe {
        extends: None,
        name: Some(name.clone()),
        description: description.clone(),
        model: RawModel { base: Some(model.base.clone()), revision: model.revision.clone(), dtype: model.dtype },
        chat: RawChat { max_tokens: chat.max_tokens, system: chat.system.clone() },
        mix: RawMix {
            size: Some(mix.size).filter(|_| !by_epochs),
            size_in: mix.size_in,
            seed: mix.seed,
            ratio: Some(ratio).filter(|_| !by_epochs),
            ratio_in: mix.ratio_in,
            ratio_end,
            epochs: by_epochs.then_some(RawEpochs(epochs)),
            order: mix.order.clone().into(),
            on_shortage: mix.on_shortage,
            max_epochs: mix.max_epochs,
            tolerance: mix.tolerance,
            validation: mix.validation,
            contamination: mix.contamination,
            near_duplicates: mix.near_duplicates,
            // Every part has its own.
            filter: None,
            groups,
        },
        sources: mix.sources.iter().map(|(name, source)| (name.clone(), raw_source(source))).collect(),
        train: raw_train(recipe),
        exam: RawExam {
            papers: OneOrMany::Many(raw_papers(&exam.papers)),
            prompt: exam.prompt.clone(),
            answer: exam.answer,
            books: RawBooks::List(exam.books.clone()),
            max_prompt_tokens: exam.max_prompt_tokens,
            max_new_tokens: exam.max_new_tokens,
            batch_size: exam.batch_size,
            keep_prompts: exam.keep_prompts,
        },
    }
}

/// A list of plain paths if no path has options of its own.
fn raw_papers(papers: &[SourcePart]) -> Vec<RawPaper> {
    let is_plain = |paper: &SourcePart| *paper == SourcePart { path: paper.path.clone(), ..SourcePart::default() };
    if papers.iter().all(is_plain) {
        return papers.iter().map(|paper| RawPaper::Text(paper.path.clone())).collect();
    }
    let table = |paper: &SourcePart| RawPaperTable {
        path: Some(paper.path.clone()),
        format: Some(paper.format),
        columns: Some(paper.columns.clone()),
        encoding: paper.encoding.clone(),
        files: paper.files.clone(),
        config: paper.config.clone(),
        split: paper.split.clone(),
        revision: paper.revision.clone(),
    };
    papers.iter().map(|paper| RawPaper::Table(Box::new(table(paper)))).collect()
}

fn raw_ratio(ratio: &MixtureRatio, groups: &mut IndexMap<String, RawGroup>) -> RawRatio {
    match ratio {
        MixtureRatio::Source(name) => RawRatio(IndexMap::from([(name.clone(), RawWeight(1.into()))])),
        MixtureRatio::Group(children) => {
            let mut weights = IndexMap::new();
            for (weight, child) in children {
                weights.insert(child.name.clone(), RawWeight((*weight).into()));
                if matches!(child.ratio, MixtureRatio::Group(_)) {
                    let ratio = raw_ratio(&child.ratio, groups);
                    groups.insert(child.name.clone(), RawGroup { ratio: Some(ratio), ratio_end: None });
                }
            }
            RawRatio(weights)
        }
    }
}

/// Appends the tree; a group in both trees keeps both ratios.
fn raw_ratio_end(end: &MixtureRatio, groups: &mut IndexMap<String, RawGroup>) -> RawRatio {
    let mut at_end = IndexMap::new();
    let ratio = raw_ratio(end, &mut at_end);
    for (name, group) in at_end {
        groups.entry(name).or_default().ratio_end = group.ratio;
    }
    ratio
}

fn raw_source(source: &SourceSpec) -> RawSource {
    let parts = source.parts.iter().map(|part| {
        RawPath::Table(Box::new(RawPart {
            path: Some(part.path.clone()),
            format: Some(part.format),
            columns: Some(part.columns.clone()),
            encoding: part.encoding.clone(),
            supervise: Some(part.supervise),
            filter: (!part.filter.is_empty()).then(|| part.filter.clone()),
            files: part.files.clone(),
            config: part.config.clone(),
            split: part.split.clone(),
            revision: part.revision.clone(),
            licence: part.licence.clone(),
            commercial_use: part.commercial_use,
        }))
    });
    RawSource { path: Some(OneOrMany::Many(parts.collect())), max_records: source.max_records, ..RawSource::default() }
}

fn raw_train(recipe: &Recipe) -> RawTrain {
    let train = &recipe.train;
    let (method, lora) = match &train.method {
        Method::Full => (MethodName::Full, RawLora::default()),
        Method::Lora(lora) => {
            let is_named = |target: &LoraTarget| lora.target.iter().any(|name| name == target.name());
            let named: Vec<LoraTarget> = LoraTarget::ALL.into_iter().filter(is_named).collect();
            let all = named.len() == LoraTarget::ALL.len();
            let target = if all { OneOrMany::One(LoraTarget::AllLinear) } else { OneOrMany::Many(named) };
            (MethodName::Lora, RawLora { rank: lora.rank, alpha: lora.alpha, dropout: lora.dropout, target })
        }
    };
    RawTrain {
        method,
        lora,
        optimizer: train.optimizer,
        learning_rate: train.learning_rate,
        schedule: train.schedule,
        warmup_ratio: train.warmup_ratio,
        warmup_steps: train.warmup_steps,
        weight_decay: train.weight_decay,
        beta1: train.beta1,
        beta2: train.beta2,
        epsilon: train.epsilon,
        max_grad_norm: train.max_grad_norm,
        epochs: train.epochs,
        max_steps: train.max_steps,
        batch_size: train.batch_size,
        tokens_per_micro_batch: train.tokens_per_micro_batch,
        block_policy: train.block_policy,
        optimizer_in_backward: train.optimizer_in_backward,
        early_stopping: train.early_stopping,
        result: train.result,
        save_dtype: train.save_dtype,
        keep: train.keep,
        seed: train.seed,
        logging_steps: train.logging_steps,
        eval_steps: train.eval_steps,
        save_steps: train.save_steps,
        save_total_limit: train.save_total_limit,
    }
}
