//! Axolotl: the `datasets` list of a configuration.

use medley_mixer::yaml::{Yaml, YamlEntry};
use medley_mixer::{Columns, Roles, SourceFormat, SourcePart, SourceSpec, Supervise};

use super::document::{Fate, Reading, Table, value_text};
use super::plan::{Places, Plan, Set, Where, for_each, free_name, name_of_path};

const TEMPLATE: &str = "the model's own chat template renders the turns";
const TOOLS: &str = "tool definitions are not part of a prompt; conversations with tool turns are rejected and counted";
const THINKING: &str = "reasoning in a field of its own is not read; answers are learned as they stand";
const END: &str = "the token that ends a learned answer is learned, no other";
const SHARDS: &str = "it takes a part of the rows; `mix.size` draws a sample of all of them";
const CODE: &str = "Medley runs no code of a data set";

const PLAIN_TEXT: &str = "it is plain text without answers; Medley fine-tunes on answers";

/// Options of a set that say what a recipe needs not say, or cannot.
const SET_OPTIONS: [(&str, Fate, &str); 24] = [
    ("ds_type", Fate::NotNeeded, "files are recognised by their content"),
    ("conversation", Fate::NotNeeded, TEMPLATE),
    ("chat_template", Fate::NotNeeded, TEMPLATE),
    ("chat_template_jinja", Fate::NotCarriedOver, TEMPLATE),
    ("field_tools", Fate::NotCarriedOver, TOOLS),
    ("field_thinking", Fate::NotCarriedOver, THINKING),
    ("template_thinking_key", Fate::NotCarriedOver, THINKING),
    ("split_thinking", Fate::NotCarriedOver, THINKING),
    ("message_field_training_detail", Fate::NotCarriedOver, "a turn is learned whole or not at all"),
    ("train_on_eos", Fate::NotCarriedOver, END),
    ("train_on_eot", Fate::NotCarriedOver, END),
    ("drop_system_message", Fate::NotCarriedOver, "system turns are kept; take them out of the file"),
    ("shards", Fate::NotCarriedOver, SHARDS),
    ("shards_idx", Fate::NotCarriedOver, SHARDS),
    ("preprocess_shards", Fate::NotNeeded, "every source is streamed"),
    ("trust_remote_code", Fate::NotCarriedOver, CODE),
    ("input_transform", Fate::NotCarriedOver, CODE),
    ("input_format", Fate::NotCarriedOver, TEMPLATE),
    ("field", Fate::NotCarriedOver, "it is for plain text, which has no answers"),
    ("field_human", Fate::NotCarriedOver, "write it as `columns = { instruction = … }`"),
    ("field_model", Fate::NotCarriedOver, "write it as `columns = { output = … }`"),
    ("logprobs_field", Fate::NotCarriedOver, "it is for distillation"),
    ("temperature", Fate::NotCarriedOver, "it is for distillation"),
    ("roles_to_train", Fate::NotCarriedOver, "answers are learned, and no other turns"),
];

/// Options of the whole file that concern data.
const OPTIONS: [(&str, Fate, &str); 20] = [
    ("test_datasets", Fate::NotCarriedOver, "validation is held out of every source: `[mix.validation]`"),
    ("pretraining_dataset", Fate::NotCarriedOver, "Medley fine-tunes on answers, not on plain text"),
    ("shuffle_merged_datasets", Fate::NotNeeded, "samples are always shuffled, by hashes"),
    ("shuffle_before_merging_datasets", Fate::NotNeeded, "samples are always shuffled, by hashes"),
    ("dataset_prepared_path", Fate::NotNeeded, "a changed source is noticed by its content"),
    ("dataset_shard_num", Fate::NotCarriedOver, SHARDS),
    ("dataset_shard_idx", Fate::NotCarriedOver, SHARDS),
    ("dataset_processes", Fate::NotNeeded, "every core is used; `medley mix --threads` says otherwise"),
    ("dataset_num_proc", Fate::NotNeeded, "every core is used; `medley mix --threads` says otherwise"),
    (
        "dataset_exact_deduplication",
        Fate::NotNeeded,
        "exact duplicates always fall out, within a source and across sources",
    ),
    ("dataset_keep_in_memory", Fate::NotNeeded, "every source is streamed"),
    ("train_on_inputs", Fate::NotCarriedOver, "only answers are learned"),
    (
        "excess_length_strategy",
        Fate::NotCarriedOver,
        "a sample that is too long is cut, passages first, the question never",
    ),
    ("sample_packing", Fate::NotNeeded, "samples are always packed and never attend across one another"),
    ("pad_to_sequence_len", Fate::NotNeeded, "there is no padding"),
    ("curriculum_sampling", Fate::NotCarriedOver, "the order of training is a hash of the seed"),
    ("chat_template", Fate::NotNeeded, TEMPLATE),
    ("chat_template_jinja", Fate::NotCarriedOver, TEMPLATE),
    ("eot_tokens", Fate::NotNeeded, END),
    ("remove_unused_columns", Fate::NotNeeded, "only the columns that are named are read"),
];

/// Builders of `datasets` that stand where a path does.
pub(super) const BUILDERS: [&str; 5] = ["json", "csv", "parquet", "text", "arrow"];

/// Whether a table is a configuration of Axolotl.
pub(super) fn is_config(root: &[YamlEntry]) -> bool {
    let sets = root.iter().find(|entry| entry.key == "datasets").and_then(|entry| entry.value.items());
    sets.is_some_and(|sets| sets.iter().any(|set| set.get("path").is_some()))
}

/// The sets of the list, or of these the ones named (by path or by the name in the recipe).
pub(super) fn config(only: &[String], places: &Places, reading: &mut Reading<'_>) -> Plan {
    let document = reading.document;
    let mut plan = Plan { tool: "Axolotl", ..Plan::default() };
    let Some(table) = Table::of(&document.root, "the file", reading) else { return plan };
    let sets = table.take("datasets").and_then(|entry| entry.value.items()).unwrap_or_default();
    for (index, value) in sets.iter().enumerate() {
        read_set(index, value, only, &mut plan.sets, places, reading);
    }
    plan.model = table.text("base_model", reading);
    plan.max_tokens = table.number("sequence_len", reading).map(|tokens| tokens as u64);
    plan.system = table.text("default_system_message", reading);
    let size = table.number("val_set_size", reading).filter(|size| *size > 0.0);
    match (size, table.take("val_set_size")) {
        (Some(share), _) if share <= 0.5 => plan.validation = Some(share),
        (Some(_), Some(entry)) => {
            reading.note(
                Fate::NotCarriedOver,
                None,
                entry,
                "write a share of up to 0.5 as `[mix.validation] fraction`",
            );
        }
        _ => {}
    }
    let (known, other): (Vec<_>, Vec<_>) =
        table.rest().into_iter().partition(|entry| OPTIONS.iter().any(|(key, ..)| *key == entry.key));
    for entry in known {
        let option = OPTIONS.iter().find(|(key, ..)| *key == entry.key);
        option.into_iter().for_each(|(_, fate, why)| reading.note(*fate, None, entry, why));
    }
    super::not_about_data(&other, reading);
    plan
}

fn read_set(
    index: usize,
    value: &Yaml,
    only: &[String],
    sets: &mut Vec<Set>,
    places: &Places,
    reading: &mut Reading<'_>,
) {
    let Some(table) = Table::of(value, &format!("datasets[{index}]"), reading) else { return };
    let Some(path) = table.text("path", reading) else {
        reading.error(
            &table.span,
            format!("`datasets[{index}]` has no `path`"),
            "path: a file, a directory or a hub id",
        );
        return;
    };
    let files = table.texts("data_files", reading).unwrap_or_default();
    let called = if BUILDERS.contains(&path.as_str()) { files.first().unwrap_or(&path) } else { &path };
    let name = free_name(&name_of_path(called), sets);
    if !only.is_empty() && !only.contains(&path) && !only.contains(&name) {
        return;
    }
    let read = records(&table, &name, reading);
    let parts = located(&path, &files, &table, &name, places, reading);
    match (read, parts) {
        (Err(why), _) | (_, Err(why)) => {
            table.rest();
            reading.left_out(&path, &table.span, why);
        }
        (Ok(read), Ok(parts)) => {
            table.account(&SET_OPTIONS, Some(&name), reading);
            let with = |part: SourcePart| SourcePart {
                format: read.format,
                columns: read.columns.clone(),
                supervise: read.supervise,
                ..part
            };
            let source = SourceSpec { parts: parts.into_iter().map(with).collect(), ..SourceSpec::default() };
            let origin = reading.document.origin(&table.span);
            sets.push(Set { name, origin, source, system: read.system, ..Set::default() });
        }
    }
}

/// Where a set's records are; an error is why it is left out.
fn located(
    path: &str,
    files: &[String],
    table: &Table<'_>,
    name: &str,
    places: &Places,
    reading: &mut Reading<'_>,
) -> Result<Vec<SourcePart>, String> {
    let config = table.texts("name", reading).unwrap_or_default();
    let revision = table.text("revision", reading);
    let splits = table.splits(name, reading);
    let local = |path: String| SourcePart { path, ..SourcePart::default() };
    let inside = |file: &String| match places.find(&format!("{}/{file}", path.trim_end_matches('/'))) {
        Where::Local(path) => Ok(local(path)),
        _ => match places.find(file) {
            Where::Local(path) => Ok(local(path)),
            _ => Err(format!("`{file}` is not there; --base says where relative paths start")),
        },
    };
    if BUILDERS.contains(&path) && !files.is_empty() {
        return files.iter().map(inside).collect();
    }
    match places.find(path) {
        Where::Local(_) if !files.is_empty() => files.iter().map(inside).collect(),
        Where::Local(path) => Ok(vec![local(path)]),
        Where::Hub(id) => {
            let part = SourcePart { path: id, revision, ..SourcePart::default() };
            let parts = for_each(vec![part], files, |part, files| part.files = Some(files));
            let parts = for_each(parts, &config, |part, config| part.config = Some(config));
            // Files that are named are all for training.
            let splits = if files.is_empty() { &splits[..] } else { &[] };
            Ok(for_each(parts, splits, |part, split| part.split = Some(split)))
        }
        Where::Elsewhere => {
            Err("it lies at an address that Medley does not read: fetch it and name its files with `path`".to_owned())
        }
        Where::Nowhere => Err("it is neither there nor a hub id; --base says where relative paths start".to_owned()),
    }
}

/// How a set's records are read.
#[derive(Default)]
struct Read {
    format: SourceFormat,
    columns: Columns,
    supervise: Supervise,
    system: Option<String>,
}

fn records(table: &Table<'_>, name: &str, reading: &mut Reading<'_>) -> Result<Read, String> {
    let Some(entry) = table.take("type") else {
        return Err("it has no `type`: its rows are tokens already, and Medley trains on text".to_owned());
    };
    if entry.value.entries().is_some() {
        let Some(own) = Table::of(&entry.value, "type", reading) else {
            return Err("its type is not understood".to_owned());
        };
        return Ok(user_defined(&own, name, reading));
    }
    let kind = value_text(&entry.value).unwrap_or_default();
    let base = kind.split(':').next().unwrap_or(&kind);
    if base != kind && base != "chat_template" {
        reading.note(Fate::NotNeeded, Some(name), entry, TEMPLATE);
    }
    match base {
        "chat_template" => Ok(chat_template(table, name, reading)),
        _ if base.split('.').next() == Some("sharegpt") || base == "pygmalion" => {
            let messages = table.text("field_messages", reading).or_else(|| Some("conversations".to_owned()));
            let columns = Columns { messages, ..Columns::default() };
            Ok(Read { columns, ..Read::default() })
        }
        _ => instruction_columns(base).map(|columns| Read { format: SourceFormat::Alpaca, columns, ..Read::default() }),
    }
}

/// The columns of Axolotl's own instruction formats, as its code reads them.
fn instruction_columns(kind: &str) -> Result<Columns, String> {
    let none = || Some(String::new());
    let columns = |instruction: &str, input: &str, output: &str, system: &str| Columns {
        instruction: Some(instruction.to_owned()),
        // `input` is the one field that may be missing everywhere.
        input: (input != "input").then(|| input.to_owned()),
        output: Some(output.to_owned()),
        history: none(),
        system: Some(system.to_owned()),
        ..Columns::default()
    };
    Ok(match kind {
        "alpaca"
        | "alpaca_instruct"
        | "alpaca_instruct.load_no_prompt"
        | "alpaca_chat"
        | "alpaca_chat.load_concise"
        | "alpaca_chat.load_no_prompt" => columns("instruction", "input", "output", ""),
        "alpaca_w_system" | "alpaca_w_system.load_instruct" | "alpaca_w_system.load_chat" => {
            columns("instruction", "input", "output", "system")
        }
        "alpaca_w_system.load_open_orca" | "alpaca_w_system.load_open_orca_chatml" => {
            columns("question", "", "response", "system_prompt")
        }
        "alpaca_chat.load_qa" => columns("question", "", "answer", ""),
        "alpaca_chat.load_camel_ai" => columns("message_1", "", "message_2", ""),
        "gpteacher" => columns("instruction", "input", "response", ""),
        "oasst" => columns("INSTRUCTION", "", "RESPONSE", ""),
        "gpt4all" => columns("prompt", "", "response", ""),
        "jeopardy" => columns("question", "category", "answer", ""),
        "summarizetldr" => columns("article", "", "summary", ""),
        "context_qa" => columns("question", "article", "answer", ""),
        "context_qa.load_v2" => columns("question", "context", "answer", ""),
        "metharme" => columns("prompt", "", "generation", ""),
        "completion" | "pretrain" => return Err(PLAIN_TEXT.to_owned()),
        "explainchoice" | "concisechoice" => {
            return Err("write it as a source without `columns`: options and answers are recognised".to_owned());
        }
        "input_output" => {
            return Err(
                "its rows are segments that are learned or not; write them as conversations with `train` on each turn"
                    .to_owned(),
            );
        }
        other => {
            return Err(format!(
                "the type `{other}` has no counterpart; if it asks and answers, name its fields with `columns`"
            ));
        }
    })
}

/// A type that the file describes by its fields.
fn user_defined(own: &Table<'_>, name: &str, reading: &mut Reading<'_>) -> Read {
    let mut field = |key: &str, default: &str| own.text(key, reading).unwrap_or_else(|| default.to_owned());
    let (instruction, output) = (field("field_instruction", "instruction"), field("field_output", "output"));
    let (input, system) = (field("field_input", "input"), field("field_system", "system"));
    // Fields that need not be there are not asked for by name.
    let optional = |name: String, usual: &str| (name != usual).then_some(name);
    let columns = Columns {
        instruction: Some(instruction),
        output: Some(output),
        input: optional(input, "input"),
        system: optional(system, "system"),
        history: Some(String::new()),
        ..Columns::default()
    };
    let system = own.text("system_prompt", reading).filter(|text| !text.is_empty());
    let known = ["format", "no_input_format", "system_format"].map(|key| (key, Fate::NotCarriedOver, TEMPLATE));
    own.account(&known, Some(name), reading);
    Read { format: SourceFormat::Alpaca, columns, system, ..Read::default() }
}

fn chat_template(table: &Table<'_>, name: &str, reading: &mut Reading<'_>) -> Read {
    let messages = table.text("field_messages", reading).unwrap_or_else(|| "messages".to_owned());
    let mappings = table.table("message_property_mappings", reading);
    let mut key = |property: &str, legacy: &str| {
        let mapped = mappings.as_ref().and_then(|mappings| mappings.text(property, reading));
        mapped.or_else(|| table.text(legacy, reading))
    };
    let (role, content) = (key("role", "message_field_role"), key("content", "message_field_content"));
    if let Some(mappings) = &mappings {
        mappings.account(&[], Some(name), reading);
    }
    let unusual = |name: Option<String>, usual: [&str; 2]| name.filter(|name| !usual.contains(&name.as_str()));
    let roles = table.table("roles", reading).and_then(|roles| {
        let mut of = |role: &str| roles.texts(role, reading).unwrap_or_default();
        let (user, assistant, system) = (of("user"), of("assistant"), of("system"));
        roles.account(&[("tool", Fate::NotCarriedOver, TOOLS)], Some(name), reading);
        Roles { user, assistant, system }.unusual()
    });
    let columns = Columns {
        messages: Some(messages),
        role: unusual(role, ["role", "from"]),
        content: unusual(content, ["content", "value"]),
        train: table.text("message_field_training", reading).filter(|key| key != "train"),
        system: table.text("field_system", reading).filter(|key| key != "system"),
        roles,
        ..Columns::default()
    };
    Read { columns, supervise: supervised(table, name, reading), ..Read::default() }
}

/// `roles_to_train` and `train_on_eos` left empty are its old way to learn the last answer alone; by default all are.
fn supervised(table: &Table<'_>, name: &str, reading: &mut Reading<'_>) -> Supervise {
    let answers = ["assistant", "gpt", "model"];
    let is_empty = |key: &str| {
        let value = table.has(key).then(|| table.take(key));
        value.is_some_and(|entry| entry.is_none_or(|entry| entry.value.items().is_some_and(<[Yaml]>::is_empty)))
    };
    let has_flags = table.take("message_field_training").is_some();
    if !has_flags && is_empty("roles_to_train") && is_empty("train_on_eos") {
        return Supervise::Last;
    }
    let roles = table.texts("roles_to_train", reading).unwrap_or_default();
    if let Some(entry) =
        table.take("roles_to_train").filter(|_| roles.iter().any(|role| !answers.contains(&role.as_str())))
    {
        reading.note(Fate::NotCarriedOver, Some(name), entry, "answers are learned, and no other turns");
    }
    for key in ["train_on_eos", "train_on_eot"] {
        let usual = table.text(key, reading).is_none_or(|value| value == "turn");
        if let Some(entry) = table.take(key).filter(|_| !usual) {
            reading.note(Fate::NotCarriedOver, Some(name), entry, END);
        }
    }
    Supervise::All
}
