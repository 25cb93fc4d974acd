//! Another tool's file written as a recipe.

use std::fmt::Write as _;

use medley_mixture::SourcePart;
use medley_recipe::emit::{inline, key};
use serde_json::{Map, Value, json};

use super::amounts::{Shares, reduced, whole};
use super::document::{Fate, Note};
use super::plan::{Plan, Set};
use super::training::LEFT_TO_TOOL;

/// Samples where the file gives shares and no number.
const SIZE: u64 = 10_000;

/// A model where the file names none.
const MODEL: &str = "Qwen/Qwen1.5-0.5B";

const EVERYTHING: &str = "All of every set, once, as the file takes them.";
const PARTS: &str = "Of every set the part that the file takes.";
const OWN_SHARES: &str = "For shares of your own, write `size` and `ratio` in place of `epochs`.";

/// The widest line of a comment.
const WIDTH: usize = 110;

pub(super) fn recipe(plan: &Plan, shares: &Shares, file: &str, notes: &[Note]) -> String {
    let mut text = String::new();
    let tool = plan.tool;
    let sets = if plan.sets.len() == 1 { "1 set".to_owned() } else { format!("{} sets", plan.sets.len()) };
    comment(&mut text, &format!("Imported from {file} ({tool}): {sets}."));
    // Defaults have a comment of their own beside them.
    let is_beside = |note: &&Note| note.why.ends_with(LEFT_TO_TOOL);
    for note in notes.iter().filter(|note| note.set.is_none() && !is_beside(note)) {
        comment(&mut text, &note.to_string());
    }
    if let Some(name) = &plan.training.name {
        text.push('\n');
        setting(&mut text, "name", &json!(name));
    }
    model_and_chat(&mut text, plan);
    mix(&mut text, plan, shares);
    for set in &plan.sets {
        source(&mut text, set, notes);
    }
    training(&mut text, plan);
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
    plan.training.section("model", false).iter().for_each(|(name, value)| setting(text, name, value));
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

/// Training settings: those of the file, then the tool's defaults.
fn training(text: &mut String, plan: &Plan) {
    for section in ["train", "train.lora"] {
        let (given, defaults) = (plan.training.section(section, false), plan.training.section(section, true));
        if given.is_empty() && defaults.is_empty() {
            continue;
        }
        let _ = write!(text, "\n[{section}]\n");
        given.iter().for_each(|(name, value)| setting(text, name, value));
        if !defaults.is_empty() {
            comment(text, &format!("{}'s defaults, where the file gives nothing:", plan.tool));
        }
        defaults.iter().for_each(|(name, value)| setting(text, name, value));
    }
}

fn mix(text: &mut String, plan: &Plan, shares: &Shares) {
    let _ = write!(text, "\n[mix]\n");
    let by_name =
        |numbers: Vec<Value>| Value::Object(plan.sets.iter().map(|set| set.name.clone()).zip(numbers).collect());
    let weights = |weights: Vec<u64>| by_name(weights.into_iter().map(Value::from).collect());
    match shares {
        Shares::Epochs(passes) => {
            let why = if passes.iter().all(|passes| *passes == 1.0) { EVERYTHING } else { PARTS };
            comment(text, &format!("{why} {OWN_SHARES}"));
            // Whole numbers are written as such.
            let number = |passes: &f64| if *passes == 1.0 { json!(1) } else { json!(passes) };
            setting(text, "epochs", &by_name(passes.iter().map(number).collect()));
        }
        Shares::Samples(samples) => {
            comment(text, "As many samples of each set as the file takes; where a set has fewer, records repeat.");
            setting(text, "size", &json!(samples.iter().sum::<u64>()));
            setting(text, "on_shortage", &json!("repeat"));
            setting(text, "ratio", &weights(reduced(samples)));
        }
        Shares::Weights(shares) => {
            comment(text, "The file's shares. The size is yours to say; where a set has too few, the mix is smaller.");
            setting(text, "size", &json!(SIZE));
            setting(text, "on_shortage", &json!("shrink"));
            setting(text, "ratio", &weights(whole(shares)));
        }
    }
    if let Some(fraction) = plan.validation {
        setting(text, "validation", &json!({ "fraction": fraction }));
    }
}

fn source(text: &mut String, set: &Set, notes: &[Note]) {
    text.push('\n');
    comment(text, &set.origin);
    for note in notes.iter().filter(|note| note.set.as_deref() == Some(&set.name) && note.fate != Fate::LeftOut) {
        comment(text, &note.to_string());
    }
    let name = key(&set.name);
    let parts: Vec<Map<String, Value>> = set.source.parts.iter().map(options).collect();
    let most = set.source.max_records.map(Value::from);
    if let [part] = parts.as_slice() {
        let _ = writeln!(text, "[sources.{name}]");
        part.iter().for_each(|(name, value)| setting(text, name, value));
        most.iter().for_each(|most| setting(text, MAX_RECORDS, most));
        return;
    }
    if let Some(most) = most {
        let _ = writeln!(text, "[sources.{name}]");
        setting(text, MAX_RECORDS, &most);
    }
    for part in &parts {
        let _ = writeln!(text, "[[sources.{name}.path]]");
        part.iter().for_each(|(name, value)| setting(text, name, value));
    }
}

const MAX_RECORDS: &str = "max_records";

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

/// A comment, broken into lines. Control characters, which TOML allows in no comment, are shown as unknown ones.
fn comment(text: &mut String, what: &str) {
    let what = what.replace(|letter: char| letter.is_control() && !letter.is_whitespace(), "\u{fffd}");
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
