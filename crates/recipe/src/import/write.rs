//! The recipe that a file of another tool comes to.

use std::fmt::Write as _;

use medley_mixer::SourcePart;
use serde_json::{Map, Value, json};

use super::document::{Fate, Note};
use super::plan::{Plan, Set};
use crate::emit::{inline, key};

/// Samples where the file gives shares and no number.
const SIZE: u64 = 10_000;

/// A model where the file names none.
const MODEL: &str = "Qwen/Qwen1.5-0.5B";

/// The widest line of a comment.
const WIDTH: usize = 110;

/// What a weight may be at most.
const MAX_WEIGHT: u64 = 1_000_000;

pub(super) fn recipe(plan: &Plan, file: &str, notes: &[Note]) -> String {
    let mut text = String::new();
    let sets = if plan.sets.len() == 1 { "1 set".to_owned() } else { format!("{} sets", plan.sets.len()) };
    comment(&mut text, &format!("Imported from {file} ({}): {sets}.", plan.tool));
    for note in notes.iter().filter(|note| note.set.is_none()) {
        comment(&mut text, &note.to_string());
    }
    model_and_chat(&mut text, plan);
    mix(&mut text, plan);
    for set in &plan.sets {
        source(&mut text, set, notes);
    }
    let out: Vec<&Note> = notes.iter().filter(|note| note.fate == Fate::LeftOut).collect();
    if !out.is_empty() {
        text.push('\n');
        out.iter().for_each(|note| comment(&mut text, &note.to_string()));
    }
    text
}

fn model_and_chat(text: &mut String, plan: &Plan) {
    let _ = write!(text, "\n[model]\n");
    if plan.model.is_none() {
        comment(text, "The file names no model: put yours here.");
    }
    setting(text, "base", &json!(plan.model.as_deref().unwrap_or(MODEL)));
    // Where every set is given the same system message, it is the recipe's.
    let system = plan.system.clone().or_else(|| common_system(&plan.sets));
    if plan.max_tokens.is_some() || system.is_some() {
        let _ = write!(text, "\n[chat]\n");
        plan.max_tokens.iter().for_each(|tokens| setting(text, "max_tokens", &json!(tokens)));
        system.iter().for_each(|system| setting(text, "system", &json!(system)));
    }
}

/// The system message that all sets share.
pub(super) fn common_system(sets: &[Set]) -> Option<String> {
    let first = sets.first()?.system.clone()?;
    sets.iter().all(|set| set.system.as_ref() == Some(&first)).then_some(first)
}

fn mix(text: &mut String, plan: &Plan) {
    let _ = write!(text, "\n[mix]\n");
    let by_name = |numbers: &[u64]| {
        let numbers = plan.sets.iter().zip(numbers).map(|(set, number)| (set.name.clone(), json!(number)));
        Value::Object(numbers.collect())
    };
    match Shares::of(&plan.sets) {
        Shares::Everything => {
            let why = "All of every set, once, as the file takes them. For shares of your own, write `size` and `ratio` \
                       in place of `epochs`.";
            comment(text, why);
            setting(text, "epochs", &by_name(&vec![1; plan.sets.len()]));
        }
        Shares::Samples(samples) => {
            comment(text, "As many samples of each set as the file takes; where a set has fewer, records repeat.");
            setting(text, "size", &json!(samples.iter().sum::<u64>()));
            setting(text, "on_shortage", &json!("repeat"));
            setting(text, "ratio", &by_name(&reduced(&samples)));
        }
        Shares::Weights(weights) => {
            comment(text, "The file's shares. The size is yours to say; where a set has too few, the mix is smaller.");
            setting(text, "size", &json!(SIZE));
            setting(text, "on_shortage", &json!("shrink"));
            setting(text, "ratio", &by_name(&whole(&weights)));
        }
    }
    if let Some(fraction) = plan.validation {
        setting(text, "validation", &json!({ "fraction": fraction }));
    }
}

/// How much of what.
enum Shares {
    /// Every record once.
    Everything,
    /// So many samples of each.
    Samples(Vec<u64>),
    /// These parts of the whole.
    Weights(Vec<f64>),
}

impl Shares {
    fn of(sets: &[Set]) -> Self {
        let samples: Option<Vec<u64>> = sets.iter().map(|set| set.samples.filter(|count| *count > 0)).collect();
        let weights: Option<Vec<f64>> = sets.iter().map(|set| set.weight).collect();
        match (samples, weights) {
            (Some(samples), _) => Self::Samples(samples),
            (None, Some(weights)) => Self::Weights(weights),
            (None, None) => Self::Everything,
        }
    }
}

/// Weights without a common divisor, and none too large.
fn reduced(weights: &[u64]) -> Vec<u64> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let largest = weights.iter().max().map_or(0, |largest| largest / divisor);
    let scale = |weight: u64| {
        if largest <= MAX_WEIGHT {
            weight
        } else {
            ((weight as f64 / largest as f64) * MAX_WEIGHT as f64).round() as u64
        }
    };
    weights.iter().map(|weight| scale(weight / divisor).max(1)).collect()
}

fn gcd(left: u64, right: u64) -> u64 {
    if right == 0 { left } else { gcd(right, left % right) }
}

/// Shares as whole numbers.
fn whole(shares: &[f64]) -> Vec<u64> {
    let sum: f64 = shares.iter().sum();
    let parts: Vec<u64> =
        shares.iter().map(|share| (share / sum * MAX_WEIGHT as f64).round().max(1.0) as u64).collect();
    reduced(&parts)
}

fn source(text: &mut String, set: &Set, notes: &[Note]) {
    text.push('\n');
    comment(text, &set.origin);
    for note in notes.iter().filter(|note| note.set.as_deref() == Some(&set.name) && note.fate != Fate::LeftOut) {
        comment(text, &note.to_string());
    }
    let name = key(&set.name);
    let parts: Vec<Map<String, Value>> = set.source.parts.iter().map(options).collect();
    for part in &parts {
        let header = if parts.len() == 1 { format!("[sources.{name}]") } else { format!("[[sources.{name}.path]]") };
        let _ = writeln!(text, "{header}");
        part.iter().for_each(|(name, value)| setting(text, name, value));
    }
}

/// A part's options that say something.
fn options(part: &SourcePart) -> Map<String, Value> {
    let default = serde_json::to_value(SourcePart::default()).unwrap_or_default();
    let mut value = serde_json::to_value(part).unwrap_or_default();
    let Some(options) = value.as_object_mut() else { return Map::new() };
    options.retain(|name, value| Some(&*value) != default.get(name));
    if let Some(columns) = options.get_mut("columns").and_then(Value::as_object_mut) {
        columns.retain(|_, name| !name.is_null());
    }
    std::mem::take(options)
}

fn setting(text: &mut String, name: &str, value: &Value) {
    let _ = writeln!(text, "{} = {}", key(name), inline(value));
}

/// A comment, broken into lines.
fn comment(text: &mut String, what: &str) {
    let (mut line, mut width) = ("#".to_owned(), 1);
    for word in what.split_whitespace() {
        let length = word.chars().map(|letter| if letter >= '\u{1100}' { 2 } else { 1 }).sum::<usize>();
        if width + length >= WIDTH && width > 3 {
            let _ = writeln!(text, "{line}");
            (line, width) = ("#  ".to_owned(), 3);
        }
        line = format!("{line} {word}");
        width += length + 1;
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_whole_and_small() {
        assert_eq!(whole(&[0.7, 0.3]), [7, 3]);
        assert_eq!(whole(&[2.0, 1.0, 1.0]), [2, 1, 1]);
        assert_eq!(reduced(&[40_000, 5_000]), [8, 1]);
        assert_eq!(reduced(&[3_000_001, 1]), [1_000_000, 1]);
    }
}
