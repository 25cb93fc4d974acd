//! Two mixes side by side, from their folders alone: what was asked for, what they were made of, what they hold.

mod files;
mod samples;
mod settings;
mod table;

use std::path::Path;

use serde::Serialize;

use crate::error::MixError;
use crate::folder::{MixFolder, Split};
use crate::manifest::Manifest;

pub use files::FileDifference;
pub use files::differences as file_differences;
pub use samples::{Example, Leak, SampleCounts, SplitDiff};
pub use settings::settings;

use samples::Contents;

/// A setting that two mixes do not have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingDifference {
    /// Its key in the recipe.
    pub key: String,
    /// Its value in A; `None` where it is not set.
    pub a: Option<String>,
    /// Its value in B.
    pub b: Option<String>,
}

/// The records of two mixes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordDiff {
    /// The samples.
    pub train: SplitDiff,
    /// The validation split.
    pub validation: SplitDiff,
    /// Records that A holds out for validation and B trains on.
    pub validation_a_in_train_b: Leak,
    /// Records that B holds out for validation and A trains on.
    pub validation_b_in_train_a: Leak,
}

/// In what two mixes differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MixDiff {
    /// True where there is nothing else to tell: the same settings, source files, and bytes.
    pub identical: bool,
    /// Settings that differ.
    pub settings: Vec<SettingDifference>,
    /// Source files that differ.
    pub files: Vec<FileDifference>,
    /// Whether `mix.jsonl` is the same to the byte.
    pub same_mix: bool,
    /// Whether `validation.jsonl` is the same to the byte.
    pub same_validation: bool,
    /// Comparison of the records; `None` where a folder keeps none, as a run's.
    pub records: Option<RecordDiff>,
    /// Notes about the folders.
    pub notes: Vec<String>,
}

/// Compares the mixes in two folders. Memory: 18 bytes a record of either, and as much again for a sort.
///
/// # Errors
/// A folder without a mix, or with files that cannot be read.
pub fn diff(a: &Path, b: &Path) -> Result<MixDiff, MixError> {
    let (a, b) = (MixFolder::open(a)?, MixFolder::open(b)?);
    let mut found = MixDiff {
        settings: setting_differences(&a.manifest, &b.manifest),
        files: files::differences(&a.manifest, &b.manifest),
        same_mix: a.manifest.mix == b.manifest.mix,
        same_validation: a.manifest.validation == b.manifest.validation,
        ..MixDiff::default()
    };
    let complete = |folder: &MixFolder| folder.has(Split::Train) && folder.has(Split::Validation);
    if complete(&a) && complete(&b) {
        compare_records(&a, &b, &mut found)?;
    } else {
        let keeps_none = [&a, &b].into_iter().filter(|folder| !complete(folder));
        found.notes.extend(keeps_none.map(|folder| format!("{} keeps no records", folder.path.display())));
    }
    found.identical = found.settings.is_empty() && found.files.is_empty() && found.same_mix && found.same_validation;
    Ok(found)
}

/// Enters what the records tell. A file that was changed after it was written counts as what it is now.
fn compare_records(a: &MixFolder, b: &MixFolder, found: &mut MixDiff) -> Result<(), MixError> {
    let mut names: Vec<String> = a.ledger.sources.keys().cloned().collect();
    let mut read = |folder: &MixFolder, split| -> Result<Contents, MixError> {
        let contents = Contents::read(folder, split, &mut names)?;
        if contents.blake3 != folder.written(split).blake3 {
            found.notes.push(format!("{} was changed after it was mixed", folder.path.join(split.file()).display()));
        }
        Ok(contents)
    };
    let train = [read(a, Split::Train)?, read(b, Split::Train)?];
    let validation = [read(a, Split::Validation)?, read(b, Split::Validation)?];
    found.same_mix = train[0].blake3 == train[1].blake3;
    found.same_validation = validation[0].blake3 == validation[1].blake3;
    let folders = [a, b];
    found.records = Some(RecordDiff {
        train: samples::compare(folders, Split::Train, train.each_ref(), &names)?,
        validation: samples::compare(folders, Split::Validation, validation.each_ref(), &names)?,
        validation_a_in_train_b: samples::leak(b, &validation[0], &train[1], &names)?,
        validation_b_in_train_a: samples::leak(a, &validation[1], &train[0], &names)?,
    });
    Ok(())
}

/// Settings that differ, in the order of the first manifest.
pub fn setting_differences(a: &Manifest, b: &Manifest) -> Vec<SettingDifference> {
    let (in_a, in_b) = (all_settings(a), all_settings(b));
    let only_b = in_b.keys().filter(|key| !in_a.contains_key(*key));
    let keys = in_a.keys().chain(only_b);
    let difference = |key: &String| {
        let (a, b) = (in_a.get(key).cloned(), in_b.get(key).cloned());
        (a != b).then(|| SettingDifference { key: key.clone(), a, b })
    };
    keys.filter_map(difference).collect()
}

/// The recipe's settings, and what else decides a mix.
fn all_settings(manifest: &Manifest) -> indexmap::IndexMap<String, String> {
    let mut all = settings(&manifest.spec);
    // A record in two sources belongs to the first.
    let order: Vec<&str> = manifest.spec.sources.keys().map(String::as_str).collect();
    all.insert("[sources], in this order".to_owned(), order.join(", "));
    all.insert("exam questions kept out".to_owned(), manifest.exam_questions.to_string());
    all.insert("version of keys and orders".to_owned(), manifest.canonical_version.to_string());
    all.insert("version of the importers".to_owned(), manifest.importer_version.to_string());
    all
}
