//! torchtune: the `dataset` of a configuration, one component or a list of them.

use medley_files::yaml::Yaml;
use medley_mixture::Columns;
use medley_recipe::aliases::NO_QUANTISATION;
use medley_recipe::tools;

use super::document::{Fate, Reading};
use super::plan::{Places, Plan, Set, split_names};
use super::sets::{self, Location, Read, why};
use super::settings::{SCHEDULES, Settings};
use super::table::{Known, Table};
use super::training::{TORCHTUNE, Training};

/// Options of a set that are carried over; candidates for misspelt ones.
const SPELLED: [&str; 10] = [
    "source",
    "data_files",
    "data_dir",
    "name",
    "split",
    "revision",
    "column_map",
    "conversation_column",
    "conversation_style",
    "new_system_prompt",
];

/// Data set options that are not needed or not supported.
const SET_OPTIONS: [Known; 13] = [
    ("train_on_input", Fate::NotCarriedOver, why::ANSWERS),
    ("packed", Fate::NotNeeded, why::PACKED),
    ("split_across_pack", Fate::NotNeeded, "a sample is never split"),
    ("filter_fn", Fate::NotCarriedOver, why::CODE),
    ("trust_remote_code", Fate::NotCarriedOver, why::CODE),
    ("cache_dir", Fate::NotNeeded, "HF_HOME says where the cache is"),
    ("token", Fate::NotNeeded, "HF_TOKEN is used"),
    ("streaming", Fate::NotNeeded, why::STREAMED),
    ("num_proc", Fate::NotNeeded, why::CORES),
    ("download_mode", Fate::NotNeeded, "a revision is fetched once"),
    ("verification_mode", Fate::NotNeeded, "what is fetched is checked by its hash"),
    ("keep_in_memory", Fate::NotNeeded, why::STREAMED),
    ("max_seq_len", Fate::NotCarriedOver, "write it as `[chat] max_tokens`"),
];

/// Options of the whole file that concern data.
const OPTIONS: [Known; 2] =
    [("dataset_val", Fate::NotCarriedOver, why::VALIDATION), ("eval_dataset", Fate::NotCarriedOver, why::VALIDATION)];

/// The sets of `dataset`, or of these the ones named (by source or by the name in the recipe).
pub(super) fn config(only: &[String], places: &Places, reading: &mut Reading<'_>) -> Plan {
    let document = reading.document;
    let mut plan = Plan { tool: tools::TORCHTUNE, ..Plan::default() };
    let Some(table) = Table::of(&document.root, "the file", reading) else { return plan };
    let Some(dataset) = table.take("dataset").map(|entry| &entry.value) else { return plan };
    let listed = dataset.get("datasets").filter(|_| component_of(dataset) == Some("ConcatDataset"));
    let sets = listed.unwrap_or(dataset);
    for value in sets.items().unwrap_or(std::slice::from_ref(sets)) {
        read_set(value, only, &mut plan.sets, places, reading);
    }
    if let Some(tokenizer) = table.take("tokenizer").filter(|entry| entry.value.entries().is_some()) {
        let own = Table::of(&tokenizer.value, "tokenizer", reading);
        plan.max_tokens = own.and_then(|own| own.max_tokens("max_seq_len", reading));
    }
    if let Some(checkpoint) = table.take("checkpointer").and_then(|entry| entry.value.get("checkpoint_dir")) {
        plan.model = checkpoint.text().map(str::to_owned);
    }
    plan.training = training(&table, reading);
    table.account_for_file(&OPTIONS, reading);
    plan
}

/// Training settings, some of them in inner tables: `model`, `optimizer`, `lr_scheduler`.
fn training(table: &Table<'_>, reading: &mut Reading<'_>) -> Training {
    let marks = ["model", "optimizer", "epochs", "batch_size", "lr_scheduler"];
    if !marks.iter().any(|key| table.has(key)) {
        return Training::default();
    }
    let inner = |key: &str, reading: &mut Reading<'_>| {
        let is_table = table.take(key).is_some_and(|entry| entry.value.entries().is_some());
        is_table.then(|| table.table(key, reading)).flatten()
    };
    let (model, optimizer) = (inner("model", reading), inner("optimizer", reading));
    let scheduler = inner("lr_scheduler", reading);
    let mut settings = Settings { table, reading, training: Training::default(), defaults: TORCHTUNE };
    whole_file(&mut settings);
    for (own, prefix, read) in [
        (model, "model.", lora as fn(&mut Settings<'_, '_, '_, '_>)),
        (optimizer, "optimizer.", optimisation),
        (scheduler, "lr_scheduler.", schedule),
    ] {
        let Some(own) = own else { continue };
        let training = std::mem::take(&mut settings.training);
        let mut below = Settings { table: &own, reading: settings.reading, training, defaults: TORCHTUNE };
        read(&mut below);
        settings.training = below.training;
        own.account_below(prefix, &[], settings.reading);
    }
    let method = settings.training.given.get("train.method").cloned();
    if method.as_ref().is_some_and(|method| *method == "full") && settings.is_true("optimizer_in_bwd").is_some() {
        settings.training.given.insert("train.optimizer_in_backward", true.into());
    }
    if method.is_some() {
        settings.fill();
    }
    settings.training
}

fn whole_file(settings: &mut Settings<'_, '_, '_, '_>) {
    if let Some((entry, name)) = settings.text(&["dtype"]) {
        let known = match name.as_str() {
            "bf16" => Some("bf16"),
            "fp32" => Some("f32"),
            _ => None,
        };
        match known {
            Some(dtype) => _ = settings.training.given.insert("model.dtype", dtype.into()),
            None => settings.reading.note(Fate::NotCarriedOver, None, entry, "`model.dtype` is \"bf16\" or \"f32\""),
        }
    }
    settings.carry_whole("train.epochs", &["epochs"]);
    settings.batch(&["batch_size"], &["gradient_accumulation_steps"], &[]);
    settings.carry("train.max_grad_norm", &["clip_grad_norm"]);
    settings.carry_whole("train.seed", &["seed"]);
    settings.carry_whole("train.logging_steps", &["log_every_n_steps"]);
    settings.carry_whole("train.eval_steps", &["run_val_every_n_steps"]);
    // Steps per epoch equal total steps only with one epoch.
    if settings.training.given.get("train.epochs").is_some_and(|epochs| *epochs == 1) {
        settings.carry_whole("train.max_steps", &["max_steps_per_epoch"]);
    }
}

/// LoRA or full fine-tuning, by the model builder's name.
fn lora(settings: &mut Settings<'_, '_, '_, '_>) {
    let Some((entry, component)) = settings.text(&["_component_"]) else { return };
    let short = component.rsplit('.').next().unwrap_or(&component);
    let is_lora = short.starts_with("lora_") || short.starts_with("qlora_");
    let method = if is_lora { "lora" } else { "full" };
    settings.training.given.insert("train.method", method.into());
    if short.starts_with("qlora_") || settings.is_true("quantize_base").is_some() {
        settings.reading.note(Fate::NotCarriedOver, None, entry, NO_QUANTISATION);
    }
    if !is_lora {
        return;
    }
    settings.carry_whole("train.lora.rank", &["lora_rank"]);
    settings.carry("train.lora.alpha", &["lora_alpha"]);
    settings.carry("train.lora.dropout", &["lora_dropout"]);
    let Some(entry) = settings.find(&["lora_attn_modules"]) else { return };
    let mlp = settings.is_true("apply_lora_to_mlp").map(|_| "gate_proj,up_proj,down_proj".to_owned());
    let items = entry.value.items().unwrap_or(std::slice::from_ref(&entry.value));
    let names: Vec<String> = items.iter().filter_map(|item| item.text().map(str::to_owned)).chain(mlp).collect();
    settings.targets(entry, &names);
}

/// Reads `lr`, `betas`, `eps` as torch names them.
fn optimisation(settings: &mut Settings<'_, '_, '_, '_>) {
    settings.optimizer(&["_component_"]);
    settings.carry("train.learning_rate", &["lr"]);
    settings.carry("train.weight_decay", &["weight_decay"]);
    settings.carry("train.epsilon", &["eps"]);
    let Some(entry) = settings.find(&["betas"]) else { return };
    let betas: Vec<serde_json::Value> = entry
        .value
        .items()
        .unwrap_or_default()
        .iter()
        .filter_map(|beta| beta.scalar_text()?.parse::<f64>().ok().map(Into::into))
        .collect();
    match <[serde_json::Value; 2]>::try_from(betas) {
        Ok([beta1, beta2]) => {
            settings.training.given.insert("train.beta1", beta1);
            settings.training.given.insert("train.beta2", beta2);
        }
        Err(_) => {
            settings.reading.note(Fate::NotCarriedOver, None, entry, "`train.beta1` and `train.beta2`: two numbers")
        }
    }
}

fn schedule(settings: &mut Settings<'_, '_, '_, '_>) {
    let Some((entry, component)) = settings.text(&["_component_"]) else { return };
    match component.rsplit('.').next() {
        Some("get_cosine_schedule_with_warmup") => {
            settings.training.given.insert("train.schedule", "cosine".into());
        }
        _ => {
            settings.reading.note(Fate::NotCarriedOver, None, entry, SCHEDULES);
        }
    }
    settings.warmup(&["num_warmup_steps"], &[]);
    if settings.number(&["num_cycles"]).is_some_and(|(_, cycles)| cycles != 0.5) {
        let why = "the schedule is half a cosine, down to 0";
        settings.reading.note(Fate::NotCarriedOver, None, entry, why);
    }
}

/// The last part of `_component_`.
fn component_of(value: &Yaml) -> Option<&str> {
    value.get("_component_")?.text()?.rsplit('.').next()
}

/// Layout that a builder reads.
struct Builder {
    source: Option<&'static str>,
    records: Records,
}

enum Records {
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
        Builder { source, records: Records::Columns { instruction, input, output } }
    };
    let alpaca = |source| {
        let records = Records::Columns { instruction: "instruction", input: Some("input"), output: "output" };
        Builder { source: Some(source), records }
    };
    let untrainable = |why| Builder { source: None, records: Records::Untrainable(why) };
    Some(match component {
        "alpaca_dataset" => alpaca("tatsu-lab/alpaca"),
        "alpaca_cleaned_dataset" => alpaca("yahma/alpaca-cleaned"),
        "instruct_dataset" => columns(None, "input", "output"),
        "grammar_dataset" => columns(Some("liweili/c4_200m"), "input", "output"),
        "samsum_dataset" => columns(Some("Samsung/samsum"), "dialogue", "summary"),
        "chat_dataset" => Builder { source: None, records: Records::Conversations(None) },
        "slimorca_dataset" => {
            let records = Records::Conversations(Some("conversations"));
            Builder { source: Some("Open-Orca/SlimOrca-Dedup"), records }
        }
        "text_completion_dataset" | "TextCompletionDataset" | "cnn_dailymail_articles_dataset" | "wikitext_dataset" => {
            untrainable(why::PLAIN_TEXT)
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

fn read_set(value: &Yaml, only: &[String], taken: &mut Vec<Set>, places: &Places, reading: &mut Reading<'_>) {
    let Some(table) = Table::of(value, "dataset", reading) else { return };
    let component = table.text("_component_", reading).unwrap_or_default();
    let short = component.rsplit('.').next().unwrap_or(&component).to_owned();
    let built = builder(&short);
    let location = location(&table, built.as_ref().and_then(|builder| builder.source).unwrap_or(&short), reading);
    let Some(name) = location.wanted_name(only, taken) else { return };
    let read = match built {
        Some(builder) => read(&builder, &table, reading),
        None => Err(format!(
            "the component `{component}` has no counterpart; if it asks and answers, name its fields with `columns`"
        )),
    };
    let read = match read {
        Ok(read) => read,
        Err(why) => return reading.left_out(location.called(), &table.span, why),
    };
    if short.starts_with("alpaca") && !table.has("train_on_input") {
        let why =
            "torchtune also learns the prompt here (`train_on_input` is true by default); only answers are learned";
        reading.add(Fate::Assumed, Some(&name), "answers only".to_owned(), why.to_owned(), &table.span);
    }
    let (splits, slice) = table.splits(&name, reading);
    let location = Location { splits, ..location };
    match location.parts(places) {
        Err(why) => reading.left_out(location.called(), &table.span, why),
        Ok(parts) => {
            table.account(&SET_OPTIONS, &SPELLED, Some(&name), reading);
            let set = sets::set(name, location.called(), reading.document.origin(&table.span), parts, read);
            taken.push(Set { asked: slice.into_iter().collect(), ..set });
        }
    }
}

fn location(table: &Table<'_>, default_source: &str, reading: &mut Reading<'_>) -> Location {
    Location {
        path: table.text("source", reading).unwrap_or_else(|| default_source.to_owned()),
        files: data_files(table, reading),
        folder: table.text("data_dir", reading),
        configs: table.text("name", reading).into_iter().collect(),
        revision: table.text("revision", reading),
        ..Location::default()
    }
}

/// The files that are named; of a table by splits those of the split that is read.
fn data_files(table: &Table<'_>, reading: &mut Reading<'_>) -> Vec<String> {
    let Some(entry) = table.take("data_files") else { return Vec::new() };
    if entry.value.entries().is_none() {
        return table.texts("data_files", reading);
    }
    let split = table.text("split", reading).unwrap_or_else(|| "train".to_owned());
    let by_split = Table::of(&entry.value, "data_files", reading);
    let (names, _) = split_names(&split);
    let files = by_split.map(|own| names.iter().flat_map(|name| own.texts(name, reading)).collect());
    files.unwrap_or_default()
}

/// How a builder's records are read; an error is why the set is left out.
fn read(builder: &Builder, table: &Table<'_>, reading: &mut Reading<'_>) -> Result<Read, String> {
    let mut read = match builder.records {
        Records::Untrainable(why) => return Err(why.to_owned()),
        Records::Conversations(column) => Read::conversations(conversations(table, column, reading)),
        Records::Columns { instruction, input, output } => {
            Read::asked(named_columns(table, instruction, input, output, reading))
        }
    };
    if table.take("field").is_some() {
        return Err("its records lie in a field of one JSON object: write that list to a file of its own".to_owned());
    }
    read.system = table.text("new_system_prompt", reading);
    Ok(read)
}

fn named_columns(
    table: &Table<'_>,
    instruction: &str,
    input: Option<&str>,
    output: &str,
    reading: &mut Reading<'_>,
) -> Columns {
    let map = table.table("column_map", reading);
    let mut mapped = |key: &str| map.as_ref().and_then(|map| map.text(key, reading));
    // Where there is an input, torchtune itself puts the question together of two fields.
    let (asked, context) = match input {
        Some(_) => (mapped("instruction"), mapped("input").filter(|input| input != "input")),
        None => (mapped("input"), sets::none()),
    };
    let named = |mapped: Option<String>, usual: &str| mapped.or_else(|| Some(usual.to_owned()));
    let columns = sets::question_and_answer(named(asked, instruction), context, named(mapped("output"), output));
    if let Some(map) = map {
        map.account(&[], &["instruction", "input", "output", "conversations"], None, reading);
    }
    columns
}

fn conversations(table: &Table<'_>, column: Option<&str>, reading: &mut Reading<'_>) -> Columns {
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
    let messages = named.or_else(|| column.map(str::to_owned));
    if messages.is_none() {
        reading.error(&table.span, "the chat_dataset has no `conversation_column`".to_owned(), "the column of turns");
    }
    Columns { system: sets::none(), ..sets::turns(messages.unwrap_or_default(), None, None) }
}
