//! The model card of a run: `model/README.md`.

use std::fmt::Write;
use std::path::Path;

use medley_recipe::{Method, TrainResult, TrainSpec};

/// A file or data set of a source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CardSource {
    /// The source's name in the recipe.
    pub name: String,
    /// A hub data set with the commit that was read, or the path in the recipe.
    pub origin: String,
    /// Id of the data set on the hub; `None` for local files.
    pub data_set: Option<String>,
    /// Licence, where the recipe states it.
    pub licence: Option<String>,
    /// Whether commercial use is allowed, where the recipe states it.
    pub commercial_use: Option<bool>,
    /// Training samples taken from it; `None` where another entry with the same files counts them.
    pub samples: Option<usize>,
}

/// Content of a card beyond the settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Card {
    /// The run's name.
    pub name: String,
    /// The base model's name in the recipe; of a local path at most the last three parts.
    pub base: String,
    /// The base's repository on the hub; `None` for a local model.
    pub hub: Option<HubModel>,
    /// The licence that the base's own card states.
    pub base_licence: Option<String>,
    /// The sources.
    pub sources: Vec<CardSource>,
}

/// A model of the hub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubModel {
    /// `owner/name`.
    pub id: String,
    /// The commit that was read, where known.
    pub commit: Option<String>,
}

/// How the training ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CardResult {
    /// Optimizer steps taken.
    pub(crate) steps: usize,
    /// Optimizer steps without early stopping.
    pub(crate) total_steps: usize,
    pub(crate) tokens: u64,
    /// Step and loss of the validation of the written weights.
    pub(crate) validation: Option<(usize, f64)>,
    /// Note on stop tokens.
    pub(crate) end_of_turn: Option<String>,
}

/// The card's text.
pub(crate) fn render(card: &Card, spec: &TrainSpec, result: &CardResult) -> String {
    let mut text = front_matter(card, spec);
    put(&mut text, format_args!("\n# {}\n", heading(&card.name)));
    put(
        &mut text,
        format_args!("Fine-tuned from {} with Medley {}.\n\n## Data\n", base_link(card), env!("CARGO_PKG_VERSION")),
    );
    put_sources(&mut text, &card.sources);
    put_licence(&mut text, card);
    put_use(&mut text, card, spec);
    put(&mut text, format_args!("\n## Training\n\n| setting | value |\n|---|---|"));
    for (name, value) in settings(spec) {
        put(&mut text, format_args!("| {name} | {value} |"));
    }
    let early = match spec.early_stopping {
        Some(_) if result.steps < result.total_steps => {
            format!(" of {}: stopped early, the validation loss no longer fell", result.total_steps)
        }
        _ => String::new(),
    };
    put(&mut text, format_args!("| optimizer steps | {}{early} |\n| tokens | {} |", result.steps, result.tokens));
    if let Some((step, loss)) = result.validation {
        put(&mut text, format_args!("| validation loss | {loss:.4} |"));
        if spec.result == TrainResult::Best {
            put(&mut text, format_args!("| weights | after step {step}, with the lowest validation loss |"));
        }
    }
    if let Some(end_of_turn) = &result.end_of_turn {
        put(&mut text, format_args!("\n## End of a turn\n\n{end_of_turn}"));
    }
    text
}

/// Metadata for the hub: only certain facts, and ids only of repositories on the hub, which refuses others.
fn front_matter(card: &Card, spec: &TrainSpec) -> String {
    let (library, relation) = match spec.method {
        Method::Full => ("transformers", "finetune"),
        Method::Lora(_) => ("peft", "adapter"),
    };
    let mut text = String::from("---\n");
    if let Some(HubModel { id, .. }) = &card.hub {
        put(&mut text, format_args!("base_model: {id}\nbase_model_relation: {relation}"));
    }
    put(&mut text, format_args!("library_name: {library}\npipeline_tag: text-generation"));
    if let Some(licence) = licence(card) {
        put(&mut text, format_args!("license: {licence}"));
    }
    text += &data_sets(&card.sources);
    text + "tags:\n- medley\n---\n"
}

/// The licence of the result: the base's, unless a source has no licence or forbids commercial use.
fn licence(card: &Card) -> Option<&str> {
    let free = |source: &CardSource| source.licence.is_some() && source.commercial_use != Some(false);
    card.base_licence.as_deref().filter(|licence| is_identifier(licence) && card.sources.iter().all(free))
}

/// Whether a licence is an identifier as the hub's metadata requires: `apache-2.0`, `mit`, `other`.
fn is_identifier(licence: &str) -> bool {
    !licence.is_empty() && licence.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._+".contains(letter))
}

fn base_link(card: &Card) -> String {
    let Some(HubModel { id, commit }) = &card.hub else { return format!("`{}`, a local model", code(&card.base)) };
    let link = format!("[{id}](https://huggingface.co/{id})");
    match commit {
        Some(commit) => format!("{link} (commit [`{commit}`](https://huggingface.co/{id}/tree/{commit}))"),
        None => link,
    }
}

/// Licence of the base, and advice where the licence of the result is unclear.
fn put_licence(text: &mut String, card: &Card) {
    put(text, format_args!("\n## Licence\n"));
    match &card.base_licence {
        Some(licence) => put(text, format_args!("The base model's card states `{}`.", code(licence))),
        None => {
            put(text, format_args!("The licence of the base model was not found beside its weights; see its own page."))
        }
    }
    let doubtful = licence(card).is_none();
    if doubtful {
        let advice =
            "The metadata above names no licence: choose one that base and data allow before you publish the model.";
        put(text, format_args!("{advice}"));
    }
}

/// Python code that loads the model.
fn put_use(text: &mut String, card: &Card, spec: &TrainSpec) {
    let (package, class, note) = match spec.method {
        Method::Full => ("transformers", "AutoModelForCausalLM", ""),
        Method::Lora(_) => ("peft", "AutoPeftModelForCausalLM", "  # loads the base model, too"),
    };
    put(
        text,
        format_args!(
            "\n## Use\n\n```python\nfrom transformers import AutoTokenizer\nfrom {package} import {class}\n\n\
             path = \"{}\"  # this folder, or its id on the hub\ntokenizer = AutoTokenizer.from_pretrained(path)\n\
             model = {class}.from_pretrained(path){note}\n\
             messages = [{{\"role\": \"user\", \"content\": \"...\"}}]\n\
             inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors=\"pt\", return_dict=True)\n\
             output = model.generate(**inputs, max_new_tokens=256)\n\
             print(tokenizer.decode(output[0, inputs[\"input_ids\"].shape[1]:], skip_special_tokens=True))\n```",
            heading(&card.name).replace(['"', '\\'], "")
        ),
    );
}

/// Text for a heading: one line without HTML.
fn heading(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('<', "&lt;")
}

/// Text for a code span.
fn code(text: &str) -> String {
    cell(text).replace('`', "'")
}

/// The hub data sets for the card's metadata, each once, in the recipe's order.
fn data_sets(sources: &[CardSource]) -> String {
    let mut ids: Vec<&str> = Vec::new();
    for id in sources.iter().filter_map(|source| source.data_set.as_deref()) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let lines: String = ids.iter().map(|id| format!("- {id}\n")).collect();
    if lines.is_empty() { lines } else { format!("datasets:\n{lines}") }
}

/// Every place that data came from, with its licence; what may not be used commercially is said once more.
fn put_sources(text: &mut String, sources: &[CardSource]) {
    put(text, format_args!("| source | origin | samples | licence | commercial use |\n|---|---|---:|---|---|"));
    for source in sources {
        let licence = source.licence.as_deref().map_or("licence not stated".to_owned(), cell);
        let commercial = match source.commercial_use {
            Some(true) => "allowed",
            Some(false) => "**forbidden**",
            None => "not stated",
        };
        let (name, origin) = (cell(&source.name), origin(source));
        let samples = source.samples.map_or("counted above".to_owned(), |samples| samples.to_string());
        put(text, format_args!("| {name} | {origin} | {samples} | {licence} | {commercial} |"));
    }
    if sources.iter().any(|source| source.commercial_use == Some(false)) {
        put(
            text,
            format_args!(
                "\nTrained in part on data that must not be used commercially; the same may hold for this model."
            ),
        );
    }
    if sources.iter().any(|source| source.licence.is_none()) {
        put(
            text,
            format_args!(
                "\n\"licence not stated\": the recipe does not say; ask the publisher before you pass the model on."
            ),
        );
    }
}

/// Link to a data set at the commit that was read, or a shortened local path.
fn origin(source: &CardSource) -> String {
    let Some(id) = &source.data_set else { return format!("`{}`", code(&short_path(&source.origin))) };
    let commit = source.origin.split_once('@').map(|(_, commit)| format!("/tree/{commit}")).unwrap_or_default();
    format!("[`{}`](https://huggingface.co/datasets/{id}{commit})", code(&source.origin))
}

/// A path for publication: an absolute one is cut to its last three parts, which do not identify user or machine.
pub fn short_path(path: &str) -> String {
    if !Path::new(path).is_absolute() {
        return path.to_owned();
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts[parts.len().saturating_sub(3)..].join("/")
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn settings(spec: &TrainSpec) -> Vec<(&'static str, String)> {
    let method = match &spec.method {
        Method::Full => "full: every weight".to_owned(),
        Method::Lora(lora) => format!(
            "LoRA: rank {}, alpha {}, dropout {}, target {}",
            lora.rank,
            lora.alpha,
            lora.dropout,
            lora.target.join(", ")
        ),
    };
    let warmup = match spec.warmup_steps {
        Some(steps) => format!("of {steps} steps"),
        None => format!("{} of all steps", spec.warmup_ratio),
    };
    vec![
        ("method", method),
        ("optimizer", format!("{:?}", spec.optimizer)),
        ("learning rate", spec.learning_rate.to_string()),
        ("schedule", format!("{:?}, warm-up {warmup}", spec.schedule)),
        ("weight decay", spec.weight_decay.to_string()),
        ("betas, epsilon", format!("{}, {}, {}", spec.beta1, spec.beta2, spec.epsilon)),
        ("largest gradient norm", spec.max_grad_norm.to_string()),
        ("epochs", spec.epochs.to_string()),
        ("samples in a step", spec.batch_size.to_string()),
        ("seed", spec.seed.to_string()),
    ]
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, origin: &str, licence: Option<&str>, commercial_use: Option<bool>) -> CardSource {
        let data_set = origin.split_once('@').map(|(id, _)| id.to_owned());
        let (name, origin, licence) = (name.to_owned(), origin.to_owned(), licence.map(str::to_owned));
        CardSource { name, origin, data_set, licence, commercial_use, samples: Some(12) }
    }

    #[test]
    fn a_card_names_base_data_licence_and_settings() {
        let sources = vec![
            source("general", "data/a|b.jsonl", None, None),
            source("tcm", "owner/set@0af3", Some("cc-by-nc-4.0"), Some(false)),
            CardSource { samples: None, ..source("tcm", "owner/set@0af3", Some("MIT"), Some(true)) },
        ];
        let hub = Some(HubModel { id: "Qwen/Qwen1.5-7B".into(), commit: Some("8a1b".into()) });
        let card = Card {
            name: "ratio-9-1".into(),
            base: "Qwen/Qwen1.5-7B".into(),
            hub,
            base_licence: Some("apache-2.0".into()),
            sources,
        };
        let spec = crate::tests::spec();
        let text = render(
            &card,
            &spec,
            &CardResult { steps: 7, total_steps: 7, tokens: 99, validation: Some((7, 1.25)), end_of_turn: None },
        );
        for part in [
            "base_model: Qwen/Qwen1.5-7B\nbase_model_relation: ",
            "[Qwen/Qwen1.5-7B](https://huggingface.co/Qwen/Qwen1.5-7B) (commit [`8a1b`](https://huggingface.co/Qwen/Qwen1.5-7B/tree/8a1b))",
            "states `apache-2.0`",
            "names no licence",
            "datasets:\n- owner/set\ntags:",
            "| general | `data/a\\|b.jsonl` | 12 | licence not stated | not stated |",
            "| tcm | [`owner/set@0af3`](https://huggingface.co/datasets/owner/set/tree/0af3) | 12 | cc-by-nc-4.0 | **forbidden** |",
            "| tcm | [`owner/set@0af3`](https://huggingface.co/datasets/owner/set/tree/0af3) | counted above | MIT | allowed |",
            "must not be used commercially",
            "ask the publisher",
            "| learning rate | 0.01 |",
            "| validation loss | 1.2500 |",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let free = vec![source("general", "data/a.jsonl", Some("MIT"), Some(true))];
        let card = Card { sources: free, ..card };
        let text = render(&card, &spec, &CardResult { steps: 7, total_steps: 7, tokens: 99, ..CardResult::default() });
        for part in ["datasets:", "commercially", "ask the publisher"] {
            assert!(!text.contains(part), "{part} has no reason in\n{text}");
        }
        assert!(text.contains("\nlicense: apache-2.0\n"), "{text}");
    }

    #[test]
    fn local_bases_get_no_hub_id_and_absolute_paths_are_cut() {
        let sources = vec![source("general", "/home/someone/secret/data/general/*.jsonl", Some("MIT"), None)];
        let card = Card { name: "a\n# b".into(), base: "runs/first".into(), sources, ..Card::default() };
        let text = render(&card, &crate::tests::spec(), &CardResult::default());
        assert!(!text.contains("base_model") && !text.contains("license:"), "{text}");
        assert!(text.contains("`runs/first`, a local model") && text.contains("`data/general/*.jsonl`"), "{text}");
        assert!(!text.contains("someone") && text.contains("# a # b\n"), "{text}");
    }
}
