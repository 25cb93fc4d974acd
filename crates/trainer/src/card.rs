//! The model card of a run: `model/README.md`.

use std::fmt::Write;

use medley_recipe::{Method, TrainSpec};

/// A place that a source's records come from, as the card names it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CardSource {
    /// The source's name in the recipe.
    pub name: String,
    /// A hub data set with the commit that was read, or the path in the recipe.
    pub origin: String,
    /// Id of the hub data set, where it is one.
    pub data_set: Option<String>,
    /// Licence, where the recipe states it.
    pub licence: Option<String>,
    /// Whether commercial use is allowed, where the recipe states it.
    pub commercial_use: Option<bool>,
    /// Training samples taken from it; `None` where they are counted with another line that reads the same files.
    pub samples: Option<usize>,
}

/// What a card tells beyond the settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Card {
    /// The run's name.
    pub name: String,
    /// The base model, as the recipe names it.
    pub base: String,
    /// The sources.
    pub sources: Vec<CardSource>,
}

/// How the training ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CardResult {
    pub(crate) steps: usize,
    pub(crate) tokens: u64,
    pub(crate) validation_loss: Option<f64>,
}

/// The card's text.
pub(crate) fn render(card: &Card, spec: &TrainSpec, result: CardResult) -> String {
    let library = match spec.method {
        Method::Full => "transformers",
        Method::Lora(_) => "peft",
    };
    let mut text = format!(
        "---\nbase_model: {base}\nlibrary_name: {library}\npipeline_tag: text-generation\n{data_sets}tags:\n- medley\n---\n\n\
         # {name}\n\nFine-tuned from `{base}` with Medley {version}.\n\n## Data\n\n",
        base = card.base,
        data_sets = data_sets(&card.sources),
        name = card.name,
        version = env!("CARGO_PKG_VERSION"),
    );
    put_sources(&mut text, &card.sources);
    put(&mut text, format_args!("\n## Training\n\n| setting | value |\n|---|---|"));
    for (name, value) in settings(spec) {
        put(&mut text, format_args!("| {name} | {value} |"));
    }
    put(&mut text, format_args!("| optimizer steps | {} |\n| tokens | {} |", result.steps, result.tokens));
    if let Some(loss) = result.validation_loss {
        put(&mut text, format_args!("| validation loss | {loss:.4} |"));
    }
    text
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
        let (name, origin) = (cell(&source.name), cell(&source.origin));
        let samples = source.samples.map_or("counted above".to_owned(), |samples| samples.to_string());
        put(text, format_args!("| {name} | `{origin}` | {samples} | {licence} | {commercial} |"));
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
        let card = Card { name: "ratio-9-1".into(), base: "Qwen/Qwen1.5-7B".into(), sources };
        let spec = crate::tests::spec();
        let text = render(&card, &spec, CardResult { steps: 7, tokens: 99, validation_loss: Some(1.25) });
        for part in [
            "base_model: Qwen/Qwen1.5-7B",
            "datasets:\n- owner/set\ntags:",
            "| general | `data/a\\|b.jsonl` | 12 | licence not stated | not stated |",
            "| tcm | `owner/set@0af3` | 12 | cc-by-nc-4.0 | **forbidden** |",
            "| tcm | `owner/set@0af3` | counted above | MIT | allowed |",
            "must not be used commercially",
            "ask the publisher",
            "| learning rate | 0.01 |",
            "| validation loss | 1.2500 |",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let free = vec![source("general", "data/a.jsonl", Some("MIT"), Some(true))];
        let card = Card { sources: free, ..card };
        let text = render(&card, &spec, CardResult { steps: 7, tokens: 99, validation_loss: None });
        for part in ["datasets:", "commercially", "ask the publisher"] {
            assert!(!text.contains(part), "{part} has no reason in\n{text}");
        }
    }
}
