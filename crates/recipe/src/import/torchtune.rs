//! torchtune: the `dataset` of a configuration, one component or a list of them.

use medley_mixer::yaml::{Yaml, YamlEntry};
use medley_mixer::{Columns, SourceFormat, SourcePart, SourceSpec};

use super::axolotl::BUILDERS;
use super::document::{Fate, Reading, Table};
use super::plan::{Places, Plan, Set, Where, for_each, free_name, name_of_path, split_names};

const CODE: &str = "Medley runs no code of a data set";

/// Options of a set that say what a recipe needs not say, or cannot.
const SET_OPTIONS: [(&str, Fate, &str); 13] = [
    ("train_on_input", Fate::NotCarriedOver, "only answers are learned"),
    ("packed", Fate::NotNeeded, "samples are always packed and never attend across one another"),
    ("split_across_pack", Fate::NotNeeded, "a sample is never split"),
    ("filter_fn", Fate::NotCarriedOver, CODE),
    ("trust_remote_code", Fate::NotCarriedOver, CODE),
    ("cache_dir", Fate::NotNeeded, "HF_HOME says where the cache is"),
    ("token", Fate::NotNeeded, "HF_TOKEN is used"),
    ("streaming", Fate::NotNeeded, "every source is streamed"),
    ("num_proc", Fate::NotNeeded, "every core is used"),
    ("download_mode", Fate::NotNeeded, "a revision is fetched once"),
    ("verification_mode", Fate::NotNeeded, "what is fetched is checked by its hash"),
    ("keep_in_memory", Fate::NotNeeded, "every source is streamed"),
    ("max_seq_len", Fate::NotCarriedOver, "write it as `[chat] max_tokens`"),
];

/// Whether a table is a configuration of torchtune.
pub(super) fn is_config(root: &[YamlEntry]) -> bool {
    let dataset = root.iter().find(|entry| entry.key == "dataset").map(|entry| &entry.value);
    let items = dataset.map(|dataset| dataset.items().unwrap_or(std::slice::from_ref(dataset))).unwrap_or_default();
    items.iter().any(|item| item.get("_component_").is_some())
}

/// The sets of `dataset`, or of these the ones named (by source or by the name in the recipe).
pub(super) fn config(only: &[String], places: &Places, reading: &mut Reading<'_>) -> Plan {
    let document = reading.document;
    let mut plan = Plan { tool: "torchtune", ..Plan::default() };
    let Some(table) = Table::of(&document.root, "the file", reading) else { return plan };
    let Some(dataset) = table.take("dataset").map(|entry| &entry.value) else { return plan };
    let listed = dataset.get("datasets").filter(|_| component_of(dataset) == Some("ConcatDataset"));
    let sets = listed.unwrap_or(dataset);
    for value in sets.items().unwrap_or(std::slice::from_ref(sets)) {
        read_set(value, only, &mut plan.sets, places, reading);
    }
    if let Some(tokenizer) = table.take("tokenizer").filter(|entry| entry.value.entries().is_some()) {
        let tokens =
            Table::of(&tokenizer.value, "tokenizer", reading).and_then(|own| own.number("max_seq_len", reading));
        plan.max_tokens = tokens.map(|tokens| tokens as u64);
    }
    for key in ["dataset_val", "eval_dataset"] {
        if let Some(entry) = table.take(key) {
            reading.note(
                Fate::NotCarriedOver,
                None,
                entry,
                "validation is held out of every source: `[mix.validation]`",
            );
        }
    }
    if let Some(checkpoint) = table.take("checkpointer").and_then(|entry| entry.value.get("checkpoint_dir")) {
        plan.model = checkpoint.text().map(str::to_owned);
    }
    super::not_about_data(&table.rest(), reading);
    plan
}

/// The last part of `_component_`.
fn component_of(value: &Yaml) -> Option<&str> {
    value.get("_component_")?.text()?.rsplit('.').next()
}

/// What a builder reads.
struct Builder {
    source: Option<&'static str>,
    read: Read,
}

enum Read {
    /// Instruction, input and output, under names that `column_map` may change.
    Columns { instruction: &'static str, input: Option<&'static str>, output: &'static str },
    /// `conversations` in ShareGPT's or OpenAI's style.
    Conversations(Option<&'static str>),
    /// Nothing that has answers to learn.
    Untrainable(&'static str),
}

fn builder(component: &str) -> Option<Builder> {
    let columns = |source, instruction, output| {
        let input = None;
        Builder { source, read: Read::Columns { instruction, input, output } }
    };
    let alpaca = |source| {
        let read = Read::Columns { instruction: "instruction", input: Some("input"), output: "output" };
        Builder { source: Some(source), read }
    };
    let untrainable = |why| Builder { source: None, read: Read::Untrainable(why) };
    Some(match component {
        "alpaca_dataset" => alpaca("tatsu-lab/alpaca"),
        "alpaca_cleaned_dataset" => alpaca("yahma/alpaca-cleaned"),
        "instruct_dataset" => columns(None, "input", "output"),
        "grammar_dataset" => columns(Some("liweili/c4_200m"), "input", "output"),
        "samsum_dataset" => columns(Some("Samsung/samsum"), "dialogue", "summary"),
        "chat_dataset" => Builder { source: None, read: Read::Conversations(None) },
        "slimorca_dataset" => {
            let read = Read::Conversations(Some("conversations"));
            Builder { source: Some("Open-Orca/SlimOrca-Dedup"), read }
        }
        "text_completion_dataset" | "TextCompletionDataset" | "cnn_dailymail_articles_dataset" | "wikitext_dataset" => {
            untrainable("it is plain text without answers; Medley fine-tunes on answers")
        }
        "preference_dataset" | "hh_rlhf_helpful_dataset" | "stack_exchange_paired_dataset" | "PreferenceDataset" => {
            untrainable("it ranks answers, for preference training")
        }
        name if name.contains("multimodal")
            || name.contains("llava")
            || name.contains("cauldron")
            || name.contains("vqa") =>
        {
            untrainable("it has pictures; Medley trains on text")
        }
        _ => return None,
    })
}

fn read_set(value: &Yaml, only: &[String], sets: &mut Vec<Set>, places: &Places, reading: &mut Reading<'_>) {
    let Some(table) = Table::of(value, "dataset", reading) else { return };
    let component = table.text("_component_", reading).unwrap_or_default();
    let short = component.rsplit('.').next().unwrap_or(&component).to_owned();
    let built = builder(&short);
    let default_source = built.as_ref().and_then(|builder| builder.source);
    let source = table.text("source", reading).or_else(|| default_source.map(str::to_owned));
    let source = source.unwrap_or_else(|| short.clone());
    let files = data_files(&table, reading);
    let called = if BUILDERS.contains(&source.as_str()) { files.first().unwrap_or(&source) } else { &source };
    let called = called.clone();
    let name = free_name(&name_of_path(&called), sets);
    if !only.is_empty() && !only.contains(&called) && !only.contains(&name) {
        return;
    }
    let out = |reading: &mut Reading<'_>, why: &str| reading.left_out(&called, &table.span, why);
    let Some(built) = built else {
        return out(
            reading,
            &format!(
                "the component `{component}` has no counterpart; if it asks and answers, name its fields with `columns`"
            ),
        );
    };
    let columns = match built.read {
        Read::Untrainable(why) => return out(reading, why),
        Read::Conversations(column) => conversations(&table, column, reading),
        Read::Columns { instruction, input, output } => {
            Some(named_columns(&table, instruction, input, output, reading))
        }
    };
    let Some((format, columns)) = columns else { return };
    if table.take("field").is_some() {
        return out(reading, "its records lie in a field of one JSON object: write that list to a file of its own");
    }
    if short.starts_with("alpaca") && !table.has("train_on_input") {
        let why =
            "torchtune also learns the prompt here (`train_on_input` is true by default); only answers are learned";
        reading.add(Fate::Assumed, Some(&name), "answers only".to_owned(), why.to_owned(), &table.span);
    }
    match located(&source, &files, &table, &name, places, reading) {
        Err(why) => out(reading, &why),
        Ok(parts) => {
            let system = table.text("new_system_prompt", reading);
            table.account(&SET_OPTIONS, Some(&name), reading);
            let with = |part: SourcePart| SourcePart { format, columns: columns.clone(), ..part };
            let source = SourceSpec { parts: parts.into_iter().map(with).collect(), ..SourceSpec::default() };
            let origin = reading.document.origin(&table.span);
            sets.push(Set { name, origin, source, system, ..Set::default() });
        }
    }
}

/// The files that are named; of a table by splits those of the split that is read.
fn data_files(table: &Table<'_>, reading: &mut Reading<'_>) -> Vec<String> {
    let Some(entry) = table.take("data_files") else { return Vec::new() };
    if entry.value.entries().is_none() {
        return table.texts("data_files", reading).unwrap_or_default();
    }
    let split = table.text("split", reading).unwrap_or_else(|| "train".to_owned());
    let by_split = Table::of(&entry.value, "data_files", reading);
    let names = split_names(&split).0;
    let files = by_split.map(|own| names.iter().filter_map(|name| own.texts(name, reading)).flatten().collect());
    files.unwrap_or_default()
}

fn named_columns(
    table: &Table<'_>,
    instruction: &str,
    input: Option<&str>,
    output: &str,
    reading: &mut Reading<'_>,
) -> (SourceFormat, Columns) {
    let map = table.table("column_map", reading);
    let mut mapped = |key: &str| map.as_ref().and_then(|map| map.text(key, reading));
    let none = || Some(String::new());
    let columns = match input {
        // A question that torchtune itself puts together of two fields.
        Some(_) => Columns {
            instruction: mapped("instruction").or_else(|| Some(instruction.to_owned())),
            input: mapped("input").filter(|input| input != "input"),
            output: mapped("output").or_else(|| Some(output.to_owned())),
            history: none(),
            system: none(),
            ..Columns::default()
        },
        None => Columns {
            instruction: mapped("input").or_else(|| Some(instruction.to_owned())),
            input: none(),
            output: mapped("output").or_else(|| Some(output.to_owned())),
            history: none(),
            system: none(),
            ..Columns::default()
        },
    };
    if let Some(map) = map {
        map.account(&[], None, reading);
    }
    (SourceFormat::Alpaca, columns)
}

fn conversations(
    table: &Table<'_>,
    column: Option<&str>,
    reading: &mut Reading<'_>,
) -> Option<(SourceFormat, Columns)> {
    let style = table.take("conversation_style");
    let named = table.text("conversation_column", reading).or_else(|| {
        let map = table.table("column_map", reading)?;
        map.text("conversations", reading)
    });
    match style.and_then(|entry| entry.value.text().map(|text| (entry, text))) {
        Some((_, "sharegpt" | "openai")) => {}
        Some((entry, other)) => {
            let message = format!("`conversation_style` is `{other}`; expected sharegpt or openai");
            reading.error(&entry.value.span, message, "sharegpt or openai");
        }
        None if column.is_none() => {
            reading.error(&table.span, "the chat_dataset has no `conversation_style`".to_owned(), "sharegpt or openai");
        }
        None => {}
    }
    let Some(messages) = named.or_else(|| column.map(str::to_owned)) else {
        reading.error(&table.span, "the chat_dataset has no `conversation_column`".to_owned(), "the column of turns");
        return None;
    };
    let columns = Columns { messages: Some(messages), system: Some(String::new()), ..Columns::default() };
    Some((SourceFormat::Auto, columns))
}

/// Where a set's records are; an error is why it is left out.
fn located(
    source: &str,
    files: &[String],
    table: &Table<'_>,
    name: &str,
    places: &Places,
    reading: &mut Reading<'_>,
) -> Result<Vec<SourcePart>, String> {
    let config = table.text("name", reading);
    let (revision, folder) = (table.text("revision", reading), table.text("data_dir", reading));
    let splits = table.splits(name, reading);
    let below = |file: &str| {
        folder.as_ref().map_or_else(|| file.to_owned(), |folder| format!("{}/{file}", folder.trim_end_matches('/')))
    };
    let local = |path: String| SourcePart { path, ..SourcePart::default() };
    if BUILDERS.contains(&source) {
        if files.is_empty() {
            return Err(format!("the source is `{source}` and no `data_files` say which"));
        }
        let found = |file: &String| match places.find(&below(file)) {
            Where::Local(path) => Ok(local(path)),
            _ => Err(format!("`{}` is not there; --base says where relative paths start", below(file))),
        };
        return files.iter().map(found).collect();
    }
    match places.find(source) {
        Where::Local(path) => Ok(vec![local(path)]),
        Where::Hub(id) => {
            let part = SourcePart { path: id, config, revision, ..SourcePart::default() };
            let wanted: Vec<String> = match (&folder, files) {
                (Some(_), []) => vec![below("*")],
                (_, files) => files.iter().map(|file| below(file)).collect(),
            };
            let parts = for_each(vec![part], &wanted, |part, files| part.files = Some(files));
            // Files that are named are all for training.
            let splits = if files.is_empty() { &splits[..] } else { &[] };
            Ok(for_each(parts, splits, |part, split| part.split = Some(split)))
        }
        Where::Elsewhere => {
            Err("it lies at an address that Medley does not read: fetch it and name its files with `path`".to_owned())
        }
        Where::Nowhere => {
            Err(format!("`{source}` is neither there nor a hub id; --base says where relative paths start"))
        }
    }
}
