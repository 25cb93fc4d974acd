//! LLaMA-Factory: a `dataset_info.json`, or the YAML file of a training that names sets of one.

use std::path::{Path, PathBuf};

use medley_mixer::yaml::YamlEntry;
use medley_mixer::{Columns, Roles, SourcePart, Supervise};

use super::document::{Document, Fate, Reading};
use super::plan::{Places, Plan, Set, Where, free_name, is_hub_id};
use super::sets::{self, BASE, Location, Read, none, why};
use super::table::{Known, Table};
use crate::error::{RecipeErrors, nearest, quoted_list};

const TOOL: &str = "LLaMA-Factory";

/// Where a set may be; the first that is there counts.
const PLACES: [&str; 6] = ["hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name", "file_name"];

/// Options of a set that say what a recipe needs not say, or cannot.
const TAGS: [Known; 2] = [
    (
        "observation_tag",
        Fate::NotCarriedOver,
        "turns of tools are not trained on: their conversations are rejected and counted",
    ),
    (
        "function_tag",
        Fate::NotCarriedOver,
        "function calls are not trained on: their conversations are rejected and counted",
    ),
];

/// Options of a training that concern data.
const OPTIONS: [Known; 21] = [
    ("template", Fate::NotNeeded, "the model's own chat template is used"),
    ("eval_dataset", Fate::NotCarriedOver, why::VALIDATION),
    ("media_dir", Fate::NotCarriedOver, "Medley trains on text"),
    ("train_on_prompt", Fate::NotCarriedOver, why::ANSWERS),
    ("streaming", Fate::NotNeeded, why::STREAMED),
    ("buffer_size", Fate::NotNeeded, "a sample is drawn from the whole source, without a buffer"),
    ("overwrite_cache", Fate::NotNeeded, why::CONTENT),
    ("preprocessing_batch_size", Fate::NotNeeded, "nothing is cached in batches"),
    ("preprocessing_num_workers", Fate::NotNeeded, why::CORES),
    ("max_samples", Fate::NotCarriedOver, "it takes a set's first rows; `mix.size` draws a sample of all of them"),
    ("eval_num_beams", Fate::NotCarriedOver, "the exam's answers are greedy"),
    ("ignore_pad_token_for_loss", Fate::NotNeeded, why::PADDING),
    ("eval_on_each_dataset", Fate::NotNeeded, "validation is told by source"),
    ("packing", Fate::NotNeeded, why::PACKED),
    ("neat_packing", Fate::NotNeeded, why::PACKED),
    ("tool_format", Fate::NotCarriedOver, why::TOOLS),
    ("enable_thinking", Fate::NotCarriedOver, "no empty chain of thought is added to answers"),
    ("preserve_thinking", Fate::NotCarriedOver, "answers are learned as they stand"),
    ("tokenized_path", Fate::NotNeeded, "a run keeps what it was made from"),
    ("data_shared_file_system", Fate::NotNeeded, "one process reads the data"),
    (
        "mix_strategy",
        Fate::NotCarriedOver,
        "shares are exact: `mix.ratio`, `mix.size` and `mix.on_shortage` say how much of what",
    ),
];

/// Whether a table describes data sets.
pub(super) fn is_dataset_info(root: &[YamlEntry]) -> bool {
    let describes = |entry: &YamlEntry| PLACES.iter().any(|place| entry.value.get(place).is_some());
    root.iter().any(describes)
}

/// Whether a table is a training of LLaMA-Factory.
pub(super) fn is_training(root: &[YamlEntry]) -> bool {
    let has = |key: &str| root.iter().any(|entry| entry.key == key);
    let names = root.iter().find(|entry| entry.key == "dataset").map(|entry| &entry.value);
    let are_names = names.is_some_and(|names| {
        names.text().is_some() || names.items().is_some_and(|items| items.iter().all(|item| item.text().is_some()))
    });
    are_names && ["dataset_dir", "template", "finetuning_type", "stage", "cutoff_len"].into_iter().any(has)
}

/// The sets of a `dataset_info.json`: those named, or all.
pub(super) fn dataset_info(only: &[String], places: &Places, reading: &mut Reading<'_>) -> Plan {
    let document = reading.document;
    let mut plan = Plan { tool: TOOL, ..Plan::default() };
    let entries = document.root.entries().unwrap_or_default();
    for wanted in only.iter().filter(|wanted| entries.iter().all(|entry| entry.key != **wanted)) {
        let near = nearest(wanted, entries.iter().map(|entry| entry.key.as_str()));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        reading.error(&(0..0), format!("no set is called `{wanted}`{hint}"), "");
    }
    let chosen = |entry: &&YamlEntry| only.is_empty() || only.contains(&entry.key);
    for entry in entries.iter().filter(chosen) {
        if let Some(set) = read_set(entry, &plan.sets, places, reading) {
            plan.sets.push(set);
        }
    }
    plan
}

fn read_set(entry: &YamlEntry, before: &[Set], places: &Places, reading: &mut Reading<'_>) -> Option<Set> {
    let table = Table::of(&entry.value, &entry.key, reading)?;
    let name = free_name(&entry.key, before);
    let parts = place_of(&name, &table, entry, places, reading);
    let formatting = table.take("formatting");
    let kind = table.text("formatting", reading).unwrap_or_else(|| "alpaca".to_owned());
    let is_ranking = table.truth("ranking", reading).unwrap_or(false);
    let columns = table.table("columns", reading);
    let tags = table.table("tags", reading);
    let samples = table.count("num_samples", reading);
    let read = match kind.as_str() {
        "alpaca" => alpaca(columns.as_ref(), reading),
        "sharegpt" | "openai" => Ok(conversations(&table, columns.as_ref(), tags.as_ref(), reading)),
        other => {
            let span = formatting.map_or(&entry.key_span, |entry| &entry.value.span);
            let hint = "alpaca, sharegpt or openai";
            reading.error(span, format!("`formatting` is `{other}`; expected {hint}"), hint);
            Ok(Read::default())
        }
    };
    let preference = columns.as_ref().and_then(untrainable).or(is_ranking.then_some(RANKING));
    let read = preference.map_or(read, Err);
    for (table, known) in [(columns, &[("tools", Fate::NotCarriedOver, why::TOOLS)][..]), (tags, &TAGS[..])] {
        if let Some(table) = table.filter(|_| read.is_ok()) {
            table.account(known, Some(&name), reading);
        }
    }
    table.account(&[], Some(&name), reading);
    match read {
        Err(why) => {
            reading.left_out(&entry.key, &entry.key_span, why);
            None
        }
        Ok(read) => {
            let origin = reading.document.origin(&entry.key_span);
            Some(Set { samples, ..sets::set(name, &entry.key, origin, parts?, read) })
        }
    }
}

const RANKING: &str = "it ranks answers, for preference training; to learn the chosen answers alone, write it as a source \
                       with `columns = { output = \"chosen\" }`";

/// Why a set with these columns is not trained on.
fn untrainable(columns: &Table<'_>) -> Option<&'static str> {
    const MEDIA: &str = "it has pictures, films or sounds; Medley trains on text";
    const MARKED: &str = "it marks answers as good or bad, for KTO; keep the good ones in a file of their own";
    let reasons = [
        ("images", MEDIA),
        ("videos", MEDIA),
        ("audios", MEDIA),
        ("chosen", RANKING),
        ("rejected", RANKING),
        ("kto_tag", MARKED),
    ];
    reasons.into_iter().find(|(key, _)| columns.take(key).is_some()).map(|(_, why)| why)
}

/// The parts that hold a set's records, without how these are read.
fn place_of(
    name: &str,
    table: &Table<'_>,
    entry: &YamlEntry,
    places: &Places,
    reading: &mut Reading<'_>,
) -> Option<Vec<SourcePart>> {
    let found = PLACES.into_iter().find(|key| table.has(key));
    let Some(key) = found else {
        let hint = "file_name, hf_hub_url, …";
        reading.error(&entry.key_span, format!("`{name}` does not say where it is: no {}", quoted_list(PLACES)), hint);
        return None;
    };
    let given = table.text(key, reading)?;
    for other in PLACES.into_iter().filter(|other| *other != key) {
        if let Some(entry) = table.take(other) {
            reading.note(Fate::NotNeeded, Some(name), entry, &format!("`{key}` is used"));
        }
    }
    let out = |reading: &mut Reading<'_>, why: &str| {
        reading.left_out(&entry.key, &entry.key_span, why);
        None
    };
    match key {
        "hf_hub_url" if is_hub_id(&given) => Some(on_hub(given, table, name, reading)),
        "hf_hub_url" => out(reading, &format!("`{given}` is not a full id: write `owner/name`")),
        "ms_hub_url" | "om_hub_url" => {
            out(reading, "it is on another hub than Hugging Face's: fetch it and name its files with `path`")
        }
        "script_url" => {
            out(reading, "its loading script is code, which Medley does not run: name its files with `path`")
        }
        "cloud_file_name" => out(reading, "it lies in cloud storage: fetch it and name its files with `path`"),
        _ => match places.find(&given) {
            Where::Local(path) => Some(vec![SourcePart { path, ..SourcePart::default() }]),
            _ => {
                let base = places.bases.first().cloned().unwrap_or_default();
                let written = places.written(&base.join(&given));
                let why = format!("`{given}` is not there; {BASE}");
                let what = format!("`path = \"{written}\"`");
                reading.add(Fate::Assumed, Some(name), what, why, &entry.key_span);
                Some(vec![SourcePart { path: written, ..SourcePart::default() }])
            }
        },
    }
}

/// The parts of a set on the hub.
fn on_hub(path: String, table: &Table<'_>, name: &str, reading: &mut Reading<'_>) -> Vec<SourcePart> {
    let location = Location {
        configs: table.text("subset", reading).into_iter().collect(),
        folder: table.text("folder", reading),
        splits: table.splits(name, reading),
        ..Location::default()
    };
    location.on_hub(path)
}

/// Only the columns that are named are read; without any, `instruction`, `input` and `output`. An error is why the set is
/// left out.
fn alpaca(columns: Option<&Table<'_>>, reading: &mut Reading<'_>) -> Result<Read, &'static str> {
    let Some(table) = columns else { return Ok(Read::asked(sets::question_and_answer(None, None, None))) };
    let mut named = |key: &str| table.text(key, reading);
    let (prompt, query, output) = (named("prompt"), named("query"), named("response"));
    let (history, system) = (named("history").or_else(none), named("system").or_else(none));
    table.take("messages");
    let (instruction, input) = match (prompt, query) {
        (None, query) => (query, none()),
        (prompt, query) => (prompt, query.or_else(none)),
    };
    if instruction.is_none() || output.is_none() {
        return Err("it has questions or texts without answers; Medley fine-tunes on answers");
    }
    Ok(Read::asked(Columns { history, system, ..sets::question_and_answer(instruction, input, output) }))
}

fn conversations(
    set: &Table<'_>,
    columns: Option<&Table<'_>>,
    tags: Option<&Table<'_>>,
    reading: &mut Reading<'_>,
) -> Read {
    let mut messages = Some("conversations".to_owned());
    let mut system = None;
    if let Some(table) = columns {
        messages = table.text("messages", reading);
        system = table.text("system", reading);
        for key in ["prompt", "query", "response", "history"] {
            table.take(key);
        }
        if messages.is_none() {
            let hint = "messages: the column that holds the turns";
            reading.error(&set.span, "`columns` names no `messages`".to_owned(), hint);
        }
    }
    let mut tag = |key: &str| tags.and_then(|tags| tags.text(key, reading));
    let list = |name: Option<String>| name.into_iter().collect::<Vec<_>>();
    let roles =
        Roles { user: list(tag("user_tag")), assistant: list(tag("assistant_tag")), system: list(tag("system_tag")) };
    let (role, content) = (tag("role_tag"), tag("content_tag"));
    let system = system.or_else(none);
    let columns =
        Columns { roles: roles.unusual(), system, ..sets::turns(messages.unwrap_or_default(), role, content) };
    Read::conversations(columns)
}

/// The sets that a training names, from the `dataset_info.json` of its `dataset_dir`.
pub(super) fn training(
    base: Option<&Path>,
    recipe_folder: &Path,
    only: &[String],
    reading: &mut Reading<'_>,
) -> Result<Plan, RecipeErrors> {
    let document = reading.document;
    let Some(table) = Table::of(&document.root, "the file", reading) else { return Ok(Plan::default()) };
    let folder = table.text("dataset_dir", reading).unwrap_or_else(|| "data".to_owned());
    let list = |texts: Vec<String>| -> Vec<String> {
        let names = texts.iter().flat_map(|text| text.split(','));
        names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    let names = list(table.texts("dataset", reading));
    let probabilities = list(table.texts("interleave_probs", reading));
    let bases = base.map_or_else(|| vec![PathBuf::from("."), document.folder.clone()], |base| vec![base.to_owned()]);
    let dataset_dir =
        bases.iter().map(|base| base.join(&folder)).find(|folder| folder.join("dataset_info.json").is_file());
    let Some(dataset_dir) = dataset_dir else {
        let span = table.take("dataset_dir").map_or(0..0, |entry| entry.value.span.clone());
        reading.error(&span, format!("`{folder}/dataset_info.json` is not there"), BASE);
        return Ok(Plan::default());
    };
    let info = Document::read(&dataset_dir.join("dataset_info.json"))?;
    let mut inner = Reading::new(&info);
    let wanted: Vec<String> = names.iter().filter(|name| only.is_empty() || only.contains(name)).cloned().collect();
    let places = Places { bases: vec![dataset_dir], recipe_folder: recipe_folder.to_owned() };
    let mut plan = dataset_info(&wanted, &places, &mut inner);
    reading.problems.append(&mut inner.problems);
    reading.notes.append(&mut inner.notes);
    // As the training names them.
    plan.sets.sort_by_key(|set| names.iter().position(|name| *name == set.given));
    settings(&table, &mut plan, reading);
    if let Some(entry) = table.take("interleave_probs") {
        shares(&names, &probabilities, entry, &mut plan, reading);
    }
    table.account_for_file(&OPTIONS, reading);
    Ok(plan)
}

fn settings(table: &Table<'_>, plan: &mut Plan, reading: &mut Reading<'_>) {
    plan.model = table.text("model_name_or_path", reading);
    plan.max_tokens = table.count("cutoff_len", reading);
    plan.system = table.text("default_system", reading);
    plan.validation = table.validation("val_size", reading);
    if table.truth("mask_history", reading) == Some(true) {
        let parts = plan.sets.iter_mut().flat_map(|set| &mut set.source.parts);
        parts.for_each(|part| part.supervise = Supervise::Last);
    }
}

fn shares(names: &[String], probabilities: &[String], entry: &YamlEntry, plan: &mut Plan, reading: &mut Reading<'_>) {
    let share = |text: &String| text.parse().ok().filter(|share: &f64| share.is_finite() && *share > 0.0);
    let shares: Option<Vec<f64>> = probabilities.iter().map(share).collect();
    let Some(shares) = shares.filter(|shares| shares.len() == names.len()) else {
        let message = format!("`interleave_probs` is not a positive number for each of {} sets", names.len());
        return reading.error(&entry.value.span, message, "one for each name in `dataset`");
    };
    for set in &mut plan.sets {
        set.weight = names.iter().position(|name| *name == set.given).map(|index| shares[index]);
    }
}
