//! LLaMA-Factory: a `dataset_info.json`, or the YAML file of a training that names sets of one.

use std::path::Path;

use medley_files::yaml::{YamlEntry, YamlValue};
use medley_mixture::{Columns, Roles, SourcePart, Supervise};
use medley_recipe::{RecipeErrors, nearest, quoted_list, tools};

use super::amounts::{Amount, Asked};
use super::description::{Description, description, note_repeated};
use super::document::{Fate, Reading};
use super::plan::{Places, Plan, Set, Where, free_name, is_hub_id};
use super::sets::{self, BASE, Location, Read, none, why};
use super::table::{Known, Table};
use super::training;

/// Known keys of a data set.
const SPELLED: [&str; 16] = [
    "hf_hub_url",
    "ms_hub_url",
    "om_hub_url",
    "script_url",
    "cloud_file_name",
    "file_name",
    "formatting",
    "ranking",
    "subset",
    "split",
    "folder",
    "num_samples",
    "columns",
    "tags",
    "file_sha1",
    "system",
];

/// Known keys of `columns`.
const SPELLED_COLUMNS: [&str; 13] = [
    "prompt", "query", "response", "history", "messages", "system", "tools", "images", "videos", "audios", "chosen",
    "rejected", "kto_tag",
];

/// Known keys of `tags`.
const SPELLED_TAGS: [&str; 7] =
    ["role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag"];

/// Known keys of `tags` without a counterpart.
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

const COLUMNS: [Known; 4] = [
    ("tools", Fate::NotCarriedOver, why::TOOLS),
    ("images", Fate::NotCarriedOver, NO_MEDIA),
    ("videos", Fate::NotCarriedOver, NO_MEDIA),
    ("audios", Fate::NotCarriedOver, NO_MEDIA),
];

const NO_MEDIA: &str = "Medley trains on text: records with media are rejected and counted";

/// Options of a set that are for sets on a hub.
const SET_OPTIONS: [Known; 3] = [
    ("subset", Fate::NotNeeded, "files have no configurations"),
    ("folder", Fate::NotNeeded, "the files are named"),
    ("file_sha1", Fate::NotNeeded, "the mix's manifest has every file's BLAKE3"),
];

/// Options of a training that concern data.
const OPTIONS: [Known; 19] = [
    ("template", Fate::NotNeeded, "the model's own chat template is used"),
    ("eval_dataset", Fate::NotCarriedOver, why::VALIDATION),
    ("media_dir", Fate::NotCarriedOver, "Medley trains on text"),
    ("train_on_prompt", Fate::NotCarriedOver, why::ANSWERS),
    ("streaming", Fate::NotNeeded, why::STREAMED),
    ("buffer_size", Fate::NotNeeded, "a sample is drawn from the whole source, without a buffer"),
    ("overwrite_cache", Fate::NotNeeded, why::CONTENT),
    ("preprocessing_batch_size", Fate::NotNeeded, "nothing is cached in batches"),
    ("preprocessing_num_workers", Fate::NotNeeded, why::CORES),
    ("eval_num_beams", Fate::NotCarriedOver, "the exam's answers are greedy"),
    ("ignore_pad_token_for_loss", Fate::NotNeeded, why::PADDING),
    ("eval_on_each_dataset", Fate::NotNeeded, "validation losses are reported by source"),
    ("packing", Fate::NotNeeded, why::PACKED),
    ("neat_packing", Fate::NotNeeded, why::PACKED),
    ("tool_format", Fate::NotCarriedOver, why::TOOLS),
    ("enable_thinking", Fate::NotCarriedOver, "no empty chain of thought is added to answers"),
    ("preserve_thinking", Fate::NotCarriedOver, "answers are learned unchanged"),
    ("tokenized_path", Fate::NotNeeded, "a run keeps what it was made from"),
    ("data_shared_file_system", Fate::NotNeeded, "one process reads the data"),
];

/// Maximum number of data sets listed when a name is not found.
const SETS_NAMED: usize = 8;

/// The sets of a `dataset_info.json`: those named, or all.
pub(super) fn dataset_info(only: &[String], places: &Places, reading: &mut Reading<'_>) -> Plan {
    let document = reading.document;
    let mut plan = Plan { tool: tools::LLAMA_FACTORY, ..Plan::default() };
    let entries = document.root.entries().unwrap_or_default();
    let described: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).take(SETS_NAMED).collect();
    let more = if entries.len() > SETS_NAMED { ", …" } else { "" };
    let described = match described[..] {
        [] => "the file describes no set".to_owned(),
        _ => format!("the file describes {}{more}", quoted_list(described)),
    };
    for wanted in only.iter().filter(|wanted| entries.iter().all(|entry| entry.key != **wanted)) {
        let near = nearest(wanted, entries.iter().map(|entry| entry.key.as_str()));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        reading.error(&(0..0), format!("no set is called `{wanted}`{hint}"), &described);
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
    let columns = table.table("columns", reading);
    let tags = table.table("tags", reading);
    let samples = table.take("num_samples").zip(table.count("num_samples", reading));
    let read = match samples {
        Some((_, 0)) => Err("`num_samples: 0` takes nothing of it"),
        _ => read(&table, columns.as_ref(), tags.as_ref(), entry, reading),
    };
    let found =
        read.map_err(str::to_owned).and_then(|read| Ok((read, located(&name, &table, entry, places, reading)?)));
    let (read, (parts, slice)) = match found {
        Ok(found) => found,
        Err(why) => {
            reading.left_out(&entry.key, &entry.key_span, why);
            table.account_unknown(&SPELLED, &entry.key, reading);
            for (inner, spelled) in [(columns, &SPELLED_COLUMNS[..]), (tags, &SPELLED_TAGS[..])] {
                inner.into_iter().for_each(|inner| inner.account_unknown(spelled, &entry.key, reading));
            }
            return None;
        }
    };
    let inner = [(columns, &COLUMNS[..], &SPELLED_COLUMNS[..]), (tags, &TAGS[..], &SPELLED_TAGS[..])];
    for (table, known, spelled) in inner {
        if let Some(table) = table {
            table.account(known, spelled, Some(&name), reading);
        }
    }
    table.account(&SET_OPTIONS, &SPELLED, Some(&name), reading);
    let samples = samples.map(|(entry, count)| Asked::new(Amount::Samples(count), &name, entry, reading));
    let origin = reading.document.origin(&entry.key_span);
    let set = sets::set(name, &entry.key, origin, parts, read);
    Some(Set { asked: samples.into_iter().chain(slice).collect(), ..set })
}

/// How a set's records are read; an error is why it is left out.
fn read(
    table: &Table<'_>,
    columns: Option<&Table<'_>>,
    tags: Option<&Table<'_>>,
    entry: &YamlEntry,
    reading: &mut Reading<'_>,
) -> Result<Read, &'static str> {
    let is_ranking = table.truth("ranking", reading).unwrap_or(false);
    if let Some(why) = columns.and_then(untrainable).or(is_ranking.then_some(RANKING)) {
        return Err(why);
    }
    let formatting = table.take("formatting");
    match table.text("formatting", reading).as_deref() {
        None | Some("alpaca") => alpaca(columns, reading),
        Some("sharegpt" | "openai") => Ok(conversations(table, columns, tags, reading)),
        Some(other) => {
            let span = formatting.map_or(&entry.key_span, |entry| &entry.value.span);
            let hint = "alpaca, sharegpt or openai";
            reading.error(span, format!("`formatting` is `{other}`; expected {hint}"), hint);
            Ok(Read::default())
        }
    }
}

const RANKING: &str = "it ranks answers, for preference training; to learn the chosen answers alone, write it as a source \
                       with `columns = { output = \"chosen\" }`";

const MEDIA: &str = "its column of images, videos or audio has a name that Medley does not recognise; rename it to `images`, \
                     `videos` or `audios`: records that use it are then rejected one by one";

/// Whether a column of images, videos or audio has a name that the importer does not recognise.
fn unread_media(columns: &Table<'_>) -> bool {
    let known = ["image", "images", "video", "videos", "audio", "audios"];
    let columns = ["images", "videos", "audios"].into_iter().filter_map(|key| columns.peek(key));
    columns.into_iter().any(|entry| entry.value.text().is_none_or(|name| !name.is_empty() && !known.contains(&name)))
}

/// Why a set with these columns is not trained on.
fn untrainable(columns: &Table<'_>) -> Option<&'static str> {
    const MARKED: &str = "it marks answers as good or bad, for KTO; keep the good ones in a file of their own";
    let reasons = [("chosen", RANKING), ("rejected", RANKING), ("kto_tag", MARKED)];
    let marked = reasons.into_iter().find(|(key, _)| columns.take(key).is_some()).map(|(_, why)| why);
    marked.or_else(|| unread_media(columns).then_some(MEDIA))
}

/// The parts that hold a set's records, and the slice that is taken of them; an error is why the set is left out.
fn located(
    name: &str,
    table: &Table<'_>,
    entry: &YamlEntry,
    places: &Places,
    reading: &mut Reading<'_>,
) -> Result<(Vec<SourcePart>, Option<Asked>), String> {
    let nowhere = Ok((Vec::new(), None));
    let Some(key) = tools::LOCATION_KEYS.into_iter().find(|key| table.has(key)) else {
        let message = format!("`{name}` does not say where it is: no {}", quoted_list(tools::LOCATION_KEYS));
        reading.error(&entry.key_span, message, "file_name, hf_hub_url, …");
        return nowhere;
    };
    let Some(given) = table.text(key, reading) else { return nowhere };
    let refused = match key {
        "hf_hub_url" if !is_hub_id(&given) => Some("it is not a full hub id: write `owner/name`"),
        "ms_hub_url" | "om_hub_url" => {
            Some("it is on another hub than Hugging Face's: fetch it and name its files with `path`")
        }
        "script_url" => Some("its loading script is code, which Medley does not run: name its files with `path`"),
        "cloud_file_name" => Some("it lies in cloud storage: fetch it and name its files with `path`"),
        _ => None,
    };
    if let Some(why) = refused {
        return Err(why.to_owned());
    }
    for other in tools::LOCATION_KEYS.into_iter().filter(|other| *other != key) {
        if let Some(entry) = table.take(other) {
            reading.note(Fate::NotNeeded, Some(name), entry, &format!("`{key}` is used"));
        }
    }
    let (splits, slice) = table.splits(name, reading);
    if let Some(id) = places.hub.as_ref().filter(|_| key == "file_name") {
        let part = SourcePart { path: id.clone(), files: Some(given), ..SourcePart::default() };
        return Ok((vec![part], slice));
    }
    if key != "hf_hub_url" {
        // Every file of a directory is read, whatever its name says.
        let path = path_of(&given, name, entry, places, reading);
        return Ok((vec![SourcePart { path, ..SourcePart::default() }], slice));
    }
    let configs = table.text("subset", reading).into_iter().collect();
    let folder = table.text("folder", reading);
    Ok((Location { configs, folder, splits, ..Location::default() }.of_data_set(given), slice))
}

/// A file or directory as the recipe writes it; one that is not there is expected where the first relative path starts.
fn path_of(given: &str, name: &str, entry: &YamlEntry, places: &Places, reading: &mut Reading<'_>) -> String {
    if let Where::File(path) | Where::Folder(path) = places.find(given) {
        return path;
    }
    let base = places.bases.first().cloned().unwrap_or_default();
    let written = places.written(&base.join(given));
    let why = format!("`{given}` is not there; {BASE}");
    reading.add(Fate::Assumed, Some(name), format!("`path = \"{written}\"`"), why, &entry.key_span);
    written
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
    // Early files name every column, and a text for pre-training has an answer called "".
    let is_named = |column: &Option<String>| column.as_ref().is_some_and(|column| !column.is_empty());
    if !is_named(&instruction) || !is_named(&output) {
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
    let list = |texts: Vec<String>| -> Vec<String> {
        let names = texts.iter().flat_map(|text| text.split(','));
        names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    let names = list(table.texts("dataset", reading));
    let probabilities = list(table.texts("interleave_probs", reading));
    let Some(Description { document: info, folder, hub }) = description(&table, &names, base, reading)? else {
        return Ok(Plan::default());
    };
    note_repeated(&table, &names, reading);
    let mut inner = Reading::new(&info);
    let wanted = if only.is_empty() { &names[..] } else { only };
    let unknown = wanted.iter().find(|name| !names.contains(name));
    if wanted.is_empty() || unknown.is_some() {
        let named = quoted_list(names.iter().map(String::as_str));
        let message = unknown.map_or("`dataset` names no set".to_owned(), |name| {
            format!("no set is called `{name}`: `dataset` names {named}")
        });
        let span = table.take("dataset").map_or(0..0, |entry| entry.value.span.clone());
        reading.error(&span, message, "names of dataset_info.json");
        return Ok(Plan::default());
    }
    let places = Places { bases: vec![folder], recipe_folder: recipe_folder.to_owned(), hub };
    let mut plan = dataset_info(wanted, &places, &mut inner);
    reading.problems.append(&mut inner.problems);
    reading.notes.append(&mut inner.notes);
    // As the training names them.
    plan.sets.sort_by_key(|set| names.iter().position(|name| *name == set.given));
    settings(&table, &mut plan, reading);
    amounts(&table, &mut plan, reading);
    if let Some(entry) = table.take("interleave_probs") {
        shares(&names, &probabilities, entry, &mut plan, reading);
    }
    table.account_for_file(&OPTIONS, reading);
    Ok(plan)
}

fn settings(table: &Table<'_>, plan: &mut Plan, reading: &mut Reading<'_>) {
    plan.model = table.text("model_name_or_path", reading);
    plan.max_tokens = table.max_tokens("cutoff_len", reading);
    plan.system = table.text("default_system", reading);
    plan.validation = table.validation("val_size", reading);
    plan.training = training::of_transformers(table, training::LLAMA_FACTORY, reading);
    if let Some(entry) = table.take("stage").filter(|entry| entry.value.text() != Some("sft")) {
        let why = match entry.value.text() {
            Some("pt") => "it learns plain text; Medley fine-tunes on the answers of these sets",
            _ => "Medley learns answers (supervised fine-tuning), not preferences or rewards",
        };
        reading.note(Fate::NotCarriedOver, None, entry, why);
    }
    if table.truth("mask_history", reading) == Some(true) {
        let parts = plan.sets.iter_mut().flat_map(|set| &mut set.source.parts);
        parts.for_each(|part| part.supervise = Supervise::Last);
    }
}

/// Applies `streaming`, `max_samples` and `mix_strategy` to the amounts of the sets.
fn amounts(table: &Table<'_>, plan: &mut Plan, reading: &mut Reading<'_>) {
    if reading.document.root.get("streaming").is_some_and(|value| value.value == YamlValue::Boolean(true)) {
        for asked in plan.sets.iter_mut().flat_map(|set| set.asked.extract_if(.., |asked| asked.samples().is_some())) {
            reading.notes.push(asked.note(Fate::NotNeeded, "LLaMA-Factory passes over it where `streaming` is true"));
        }
    }
    if let Some((entry, most)) = table.take("max_samples").zip(table.count("max_samples", reading)) {
        if most == 0 {
            reading.error(&entry.value.span, "`max_samples: 0` takes nothing of any set".to_owned(), "1 or more");
        }
        for set in &mut plan.sets {
            // Samples that are asked for are drawn, and the first of them are taken.
            let drawn = set.asked.iter_mut().find(|asked| asked.samples().is_some());
            let amount = if drawn.is_some() { Amount::Samples(most) } else { Amount::Rows(most) };
            let asked = Asked::new(amount, &set.name, entry, reading);
            match drawn {
                Some(drawn) if drawn.samples() > Some(most) => *drawn = asked,
                Some(_) => {}
                None => set.asked.push(asked),
            }
        }
    }
    if let Some(entry) = table.take("mix_strategy") {
        let (fate, why) = if entry.value.text() == Some("concat") {
            (Fate::NotNeeded, "all of every set is taken where nothing else is said")
        } else {
            let why = "shares are exact: `mix.ratio`, `mix.size` and `mix.on_shortage` say how much of what";
            (Fate::NotCarriedOver, why)
        };
        reading.note(fate, None, entry, why);
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
