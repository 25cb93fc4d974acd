//! TRL's and Unsloth's files, and transformers' `TrainingArguments` beside a data set: `dataset_name`, or a list
//! `datasets` beside `model_name_or_path`.

use medley_mixture::SourcePart;
use medley_recipe::tools;

use super::amounts::{Amount, Asked};
use super::document::{Fate, Reading};
use super::plan::{Places, Plan, Set};
use super::sets::{self, Location, Read, why};
use super::table::{Known, Table};
use super::training::{self, TRL};

/// Options of a set that a recipe does without.
const SET_OPTIONS: [Known; 2] = [
    ("columns", Fate::NotNeeded, "only the columns that a sample needs are read"),
    ("streaming", Fate::NotNeeded, why::STREAMED),
];

/// Options of the whole file that concern data.
const OPTIONS: [Known; 4] = [
    ("dataset_text_field", Fate::NotCarriedOver, why::PLAIN_TEXT),
    ("dataset_test_split", Fate::NotCarriedOver, why::VALIDATION),
    ("eval_dataset", Fate::NotCarriedOver, why::VALIDATION),
    ("assistant_only_loss", Fate::NotNeeded, why::ANSWERS),
];

/// The sets of the file, or of these the ones named (by path or by the name in the recipe).
pub(super) fn config(only: &[String], places: &Places, reading: &mut Reading<'_>) -> Plan {
    let document = reading.document;
    let mut plan = Plan { tool: tools::TRL, ..Plan::default() };
    let Some(table) = Table::of(&document.root, "the file", reading) else { return plan };
    let listed = table.take("datasets").and_then(|entry| entry.value.items()).unwrap_or_default();
    for (index, value) in listed.iter().enumerate() {
        let Some(own) = Table::of(value, &format!("datasets[{index}]"), reading) else { continue };
        let path = own.text("path", reading).unwrap_or_default();
        let location = Location {
            path,
            files: own.texts("data_files", reading),
            folder: own.text("data_dir", reading),
            configs: own.texts("name", reading),
            ..Location::default()
        };
        read_set(&own, location, only, &mut plan.sets, places, reading);
    }
    if listed.is_empty() {
        named(&table, only, &mut plan.sets, places, reading);
    }
    plan.model = table.text("model_name_or_path", reading).or_else(|| table.text("model_name", reading));
    for key in ["max_length", "max_seq_length"] {
        plan.max_tokens = plan.max_tokens.or_else(|| table.max_tokens(key, reading));
    }
    plan.validation = table.validation("test_split_size", reading);
    plan.training = training::of_transformers(&table, TRL, reading);
    training::longest(&mut plan, &table, &["max_length", "max_seq_length"], 1024, reading);
    if !table.has("assistant_only_loss") {
        let what = "answers only".to_owned();
        let why = "TRL also learns the questions of a conversation without `assistant_only_loss: true`";
        reading.add(Fate::Assumed, None, what, why.to_owned(), &table.span);
    }
    table.account_for_file(&OPTIONS, reading);
    plan
}

/// The data set that a file names by one key; without one, a source with a path to fill in.
fn named(table: &Table<'_>, only: &[String], sets: &mut Vec<Set>, places: &Places, reading: &mut Reading<'_>) {
    let name = tools::DATASET_KEYS.into_iter().find(|key| table.has(key)).and_then(|key| table.text(key, reading));
    let Some(path) = name else {
        let part = SourcePart { path: "data.jsonl".to_owned(), ..SourcePart::default() };
        let why = "the file names no data: put your file, folder or hub data set here";
        reading.add(Fate::Assumed, Some("data"), "`path = \"data.jsonl\"`".to_owned(), why.to_owned(), &table.span);
        let origin = reading.document.origin(&table.span);
        sets.push(sets::set("data".to_owned(), "data", origin, vec![part], Read::default()));
        return;
    };
    let split = table.text("dataset_train_split", reading).unwrap_or_else(|| "train".to_owned());
    let configs = table.text("dataset_config", reading).or_else(|| table.text("dataset_config_name", reading));
    let location =
        Location { path, configs: configs.into_iter().collect(), splits: vec![split], ..Location::default() };
    let Some(name) = location.wanted_name(only, sets) else { return };
    add(name, location, Vec::new(), &table.span, sets, places, reading);
}

fn read_set(
    own: &Table<'_>,
    location: Location,
    only: &[String],
    sets: &mut Vec<Set>,
    places: &Places,
    reading: &mut Reading<'_>,
) {
    let Some(name) = location.wanted_name(only, sets) else { return };
    let (splits, slice) = own.splits(&name, reading);
    let fraction = own.take("fraction").zip(own.number("fraction", reading));
    let part = fraction.map(|(entry, part)| Asked::new(Amount::Part(part.clamp(0.0, 1.0)), &name, entry, reading));
    own.account(&SET_OPTIONS, &["path", "name", "data_dir", "data_files", "split", "fraction"], Some(&name), reading);
    add(
        name,
        Location { splits, ..location },
        slice.into_iter().chain(part).collect(),
        &own.span,
        sets,
        places,
        reading,
    );
}

fn add(
    name: String,
    location: Location,
    asked: Vec<Asked>,
    span: &std::ops::Range<usize>,
    sets: &mut Vec<Set>,
    places: &Places,
    reading: &mut Reading<'_>,
) {
    match location.parts(places) {
        Err(why) => reading.left_out(location.called(), span, why),
        Ok(parts) => {
            let origin = reading.document.origin(span);
            let set = sets::set(name, location.called(), origin, parts, Read::default());
            sets.push(Set { asked, ..set });
        }
    }
}
