//! Axolotl: the `datasets` list of a configuration.

use medley_files::yaml::Yaml;
use medley_mixture::{Columns, Roles, Supervise};
use medley_recipe::tools;

use super::amounts::{Amount, Asked};
use super::document::{Fate, Reading};
use super::plan::{Places, Plan, Set};
use super::sets::{self, Location, Read, question_and_answer, why};
use super::table::{Known, Table};
use super::training::{self, AXOLOTL};

const TEMPLATE: &str = "the model's own chat template renders the turns";
const THINKING: &str = "reasoning in a field of its own is not read; answers are learned unchanged";
const END: &str = "the token that ends a learned answer is learned, no other";
const SHARDS: &str = "it takes a part of all rows; `mix.epochs` takes a part of a source";

/// Options of a set that are carried over; candidates for misspelt ones.
const SPELLED: [&str; 20] = [
    "path",
    "type",
    "name",
    "split",
    "data_files",
    "revision",
    "shards",
    "field_messages",
    "message_property_mappings",
    "message_field_role",
    "message_field_content",
    "message_field_training",
    "field_system",
    "field_instruction",
    "field_input",
    "field_output",
    "system_prompt",
    "roles",
    "roles_to_train",
    "train_on_eos",
];

/// Data set options that are not needed or not supported.
const SET_OPTIONS: [Known; 23] = [
    ("ds_type", Fate::NotNeeded, "files are recognised by their content"),
    ("conversation", Fate::NotNeeded, TEMPLATE),
    ("chat_template", Fate::NotNeeded, TEMPLATE),
    ("chat_template_jinja", Fate::NotCarriedOver, TEMPLATE),
    ("field_tools", Fate::NotCarriedOver, why::TOOLS),
    ("field_thinking", Fate::NotCarriedOver, THINKING),
    ("template_thinking_key", Fate::NotCarriedOver, THINKING),
    ("split_thinking", Fate::NotCarriedOver, THINKING),
    ("message_field_training_detail", Fate::NotCarriedOver, "a turn is learned whole or not at all"),
    ("train_on_eos", Fate::NotCarriedOver, END),
    ("train_on_eot", Fate::NotCarriedOver, END),
    ("drop_system_message", Fate::NotCarriedOver, "system turns are kept; take them out of the file"),
    ("shards_idx", Fate::NotNeeded, "the part that `shards` takes is drawn by hashes"),
    ("preprocess_shards", Fate::NotNeeded, why::STREAMED),
    ("trust_remote_code", Fate::NotCarriedOver, why::CODE),
    ("input_transform", Fate::NotCarriedOver, why::CODE),
    ("input_format", Fate::NotCarriedOver, TEMPLATE),
    ("field", Fate::NotCarriedOver, "it is for plain text, which has no answers"),
    ("field_human", Fate::NotCarriedOver, "write it as `columns = { instruction = … }`"),
    ("field_model", Fate::NotCarriedOver, "write it as `columns = { output = … }`"),
    ("logprobs_field", Fate::NotCarriedOver, "it is for distillation"),
    ("temperature", Fate::NotCarriedOver, "it is for distillation"),
    ("roles_to_train", Fate::NotCarriedOver, "answers are learned, and no other turns"),
];

/// Options of the whole file that concern data.
const OPTIONS: [Known; 20] = [
    ("test_datasets", Fate::NotCarriedOver, why::VALIDATION),
    ("pretraining_dataset", Fate::NotCarriedOver, "Medley fine-tunes on answers, not on plain text"),
    ("shuffle_merged_datasets", Fate::NotNeeded, "samples are always shuffled, by hashes"),
    ("shuffle_before_merging_datasets", Fate::NotNeeded, "samples are always shuffled, by hashes"),
    ("dataset_prepared_path", Fate::NotNeeded, why::CONTENT),
    ("dataset_shard_num", Fate::NotCarriedOver, SHARDS),
    ("dataset_shard_idx", Fate::NotCarriedOver, SHARDS),
    ("dataset_processes", Fate::NotNeeded, why::CORES),
    ("dataset_num_proc", Fate::NotNeeded, why::CORES),
    (
        "dataset_exact_deduplication",
        Fate::NotNeeded,
        "exact duplicates always fall out, within a source and across sources",
    ),
    ("dataset_keep_in_memory", Fate::NotNeeded, why::STREAMED),
    ("train_on_inputs", Fate::NotCarriedOver, why::ANSWERS),
    (
        "excess_length_strategy",
        Fate::NotCarriedOver,
        "a sample that is too long is cut, passages first, the question never",
    ),
    ("sample_packing", Fate::NotNeeded, why::PACKED),
    ("pad_to_sequence_len", Fate::NotNeeded, why::PADDING),
    ("curriculum_sampling", Fate::NotCarriedOver, "the order of training is a hash of the seed"),
    ("chat_template", Fate::NotNeeded, TEMPLATE),
    ("chat_template_jinja", Fate::NotCarriedOver, TEMPLATE),
    ("eot_tokens", Fate::NotNeeded, END),
    ("remove_unused_columns", Fate::NotNeeded, "only the columns that are named are read"),
];

/// The sets of the list, or of these the ones named (by path or by the name in the recipe).
pub(super) fn config(only: &[String], places: &Places, reading: &mut Reading<'_>) -> Plan {
    let document = reading.document;
    let mut plan = Plan { tool: tools::AXOLOTL, ..Plan::default() };
    let Some(table) = Table::of(&document.root, "the file", reading) else { return plan };
    let sets = table.take("datasets").and_then(|entry| entry.value.items()).unwrap_or_default();
    for (index, value) in sets.iter().enumerate() {
        read_set(index, value, only, &mut plan.sets, places, reading);
    }
    plan.model = table.text("base_model", reading);
    plan.max_tokens = table.max_tokens("sequence_len", reading);
    plan.system = table.text("default_system_message", reading);
    plan.validation = table.validation("val_set_size", reading);
    plan.training = training::of_transformers(&table, AXOLOTL, reading);
    training::longest(&mut plan, &table, &["sequence_len"], 512, reading);
    table.account_for_file(&OPTIONS, reading);
    plan
}

fn read_set(
    index: usize,
    value: &Yaml,
    only: &[String],
    taken: &mut Vec<Set>,
    places: &Places,
    reading: &mut Reading<'_>,
) {
    let Some(table) = Table::of(value, &format!("datasets[{index}]"), reading) else { return };
    let Some(path) = table.text("path", reading) else {
        let message = format!("`datasets[{index}]` has no `path`");
        reading.error(&table.span, message, "path: a file, a directory or a hub id");
        return;
    };
    let location = Location { path, files: table.texts("data_files", reading), ..Location::default() };
    let Some(name) = location.wanted_name(only, taken) else { return };
    let read = records(&table, &name, reading);
    let (splits, slice) = table.splits(&name, reading);
    let shards = table.take("shards");
    let shards = shards.zip(table.count("shards", reading)).filter(|(_, shards)| *shards > 0);
    let shards = shards.map(|(entry, shards)| Asked::new(Amount::Part(1.0 / shards as f64), &name, entry, reading));
    let configs = table.texts("name", reading);
    let location = Location { configs, revision: table.text("revision", reading), splits, ..location };
    match read.and_then(|read| Ok((read, location.parts(places)?))) {
        Err(why) => {
            reading.left_out(location.called(), &table.span, why);
            let known: Vec<&str> = SPELLED.iter().copied().chain(SET_OPTIONS.iter().map(|(name, ..)| *name)).collect();
            table.account_unknown(&known, location.called(), reading);
        }
        Ok((read, parts)) => {
            table.account(&SET_OPTIONS, &SPELLED, Some(&name), reading);
            let set = sets::set(name, location.called(), reading.document.origin(&table.span), parts, read);
            taken.push(Set { asked: slice.into_iter().chain(shards).collect(), ..set });
        }
    }
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
    let kind = Yaml::scalar_text(&entry.value).unwrap_or_default();
    let base = kind.split(':').next().unwrap_or(&kind);
    if base != kind && base != "chat_template" {
        reading.note(Fate::NotNeeded, Some(name), entry, TEMPLATE);
    }
    match base {
        "chat_template" => Ok(chat_template(table, name, reading)),
        _ if base.split('.').next() == Some("sharegpt") || base == "pygmalion" => {
            let messages = table.text("field_messages", reading).or_else(|| Some("conversations".to_owned()));
            Ok(Read::conversations(Columns { messages, ..Columns::default() }))
        }
        _ => instruction_columns(base).map(Read::asked),
    }
}

/// The columns of Axolotl's own instruction formats, as its code reads them.
fn instruction_columns(kind: &str) -> Result<Columns, String> {
    let columns = |instruction: &str, input: &str, output: &str, system: &str| Columns {
        system: Some(system.to_owned()),
        // `input` is the one field that may be missing everywhere.
        ..question_and_answer(
            Some(instruction.to_owned()),
            (input != "input").then(|| input.to_owned()),
            Some(output.to_owned()),
        )
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
        "completion" | "pretrain" => return Err(why::PLAIN_TEXT.to_owned()),
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
        system: optional(system, "system"),
        ..question_and_answer(Some(instruction), optional(input, "input"), Some(output))
    };
    let system = own.text("system_prompt", reading).filter(|text| !text.is_empty());
    let known = ["format", "no_input_format", "system_format"].map(|key| (key, Fate::NotCarriedOver, TEMPLATE));
    own.account(&known, &[], Some(name), reading);
    Read { system, ..Read::asked(columns) }
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
        mappings.account(&[], &["role", "content"], Some(name), reading);
    }
    let roles = table.table("roles", reading).and_then(|roles| {
        let mut of = |role: &str| roles.texts(role, reading);
        let (user, assistant, system) = (of("user"), of("assistant"), of("system"));
        roles.account(&[("tool", Fate::NotCarriedOver, why::TOOLS)], &[], Some(name), reading);
        Roles { user, assistant, system }.unusual()
    });
    let columns = Columns {
        train: table.text("message_field_training", reading).filter(|key| key != "train"),
        system: table.text("field_system", reading).filter(|key| key != "system"),
        roles,
        ..sets::turns(messages, role, content)
    };
    Read { supervise: supervised(table, name, reading), ..Read::conversations(columns) }
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
    let roles = table.texts("roles_to_train", reading);
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
