//! The model card of a run: `model/README.md`.

use std::fmt::Write;

use medley_recipe::{Method, TrainSpec};

/// A source of the mix, as the card names it.
#[derive(Clone, Debug, PartialEq)]
pub struct CardSource {
    /// Name in the recipe.
    pub name: String,
    /// Where it comes from.
    pub origin: String,
    /// Licence, where the recipe states it.
    pub licence: Option<String>,
    /// False where commercial use is forbidden.
    pub commercial_use: Option<bool>,
    /// Training samples taken from it.
    pub samples: usize,
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
        "---\nbase_model: {base}\nlibrary_name: {library}\npipeline_tag: text-generation\ntags:\n- medley\n---\n\n# {name}\n\n\
         Fine-tuned from `{base}` with Medley {version}.\n\n## Data\n\n| source | origin | samples | licence |\n|---|---|---:|---|\n",
        base = card.base,
        name = card.name,
        version = env!("CARGO_PKG_VERSION"),
    );
    for source in &card.sources {
        let licence = source.licence.as_deref().unwrap_or("not stated");
        let commercial = if source.commercial_use == Some(false) { ", not for commercial use" } else { "" };
        put(
            &mut text,
            format_args!("| {} | {} | {} | {licence}{commercial} |", source.name, source.origin, source.samples),
        );
    }
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
    vec![
        ("method", method),
        ("optimizer", format!("{:?}", spec.optimizer)),
        ("learning rate", spec.learning_rate.to_string()),
        ("schedule", format!("{:?}, warm-up {} of all steps", spec.schedule, spec.warmup_ratio)),
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

    #[test]
    fn a_card_names_base_data_licence_and_settings() {
        let source = CardSource {
            name: "tcm".into(),
            origin: "owner/set".into(),
            licence: Some("cc-by-nc-4.0".into()),
            commercial_use: Some(false),
            samples: 12,
        };
        let card = Card { name: "ratio-9-1".into(), base: "Qwen/Qwen1.5-7B".into(), sources: vec![source] };
        let spec = crate::tests::spec();
        let text = render(&card, &spec, CardResult { steps: 7, tokens: 99, validation_loss: Some(1.25) });
        for part in [
            "base_model: Qwen/Qwen1.5-7B",
            "| tcm | owner/set | 12 | cc-by-nc-4.0, not for commercial use |",
            "| learning rate | 0.01 |",
            "| validation loss | 1.2500 |",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
