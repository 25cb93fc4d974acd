//! A mix made again from its sources, and compared with what was written.

use std::path::Path;

use medley_mixture::diff::{SettingDifference, file_differences, setting_differences};
use medley_mixture::spec::MixSpec;
use medley_mixture::{MixError, MixFolder, Split};
use serde::Serialize;

use super::lock::describe;
use crate::mix::{Mix, MixContext, mix};

/// Result of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The mix is what its sources and its settings make, to the bit.
    pub verified: bool,
    /// Name of the comparison.
    pub checked: Vec<String>,
    /// Why it is not: settings and files that differ first, then what follows from them.
    pub problems: Vec<String>,
}

/// Makes the mix of `spec` again and compares it with the one in `folder`: settings, source files, versions, and every byte
/// of `mix.jsonl` and `validation.jsonl`. Of a run's folder, which keeps no records, their hashes.
///
/// # Errors
/// A folder without a mix, or sources that cannot be read.
pub fn verify(folder: &Path, spec: &MixSpec, context: &MixContext<'_>) -> Result<Verification, MixError> {
    let folder = MixFolder::open(folder)?;
    let fresh = mix(spec, context)?;
    let mut found = Verification::default();
    for SettingDifference { key, a, b } in setting_differences(&folder.manifest, fresh.manifest()) {
        let value = |value: Option<String>| value.unwrap_or_else(|| "not set".to_owned());
        found.problems.push(format!("{key} was {}, is {}", value(a), value(b)));
    }
    found.problems.extend(file_differences(&folder.manifest, fresh.manifest()).iter().map(describe));
    for split in [Split::Train, Split::Validation] {
        check_split(&folder, &fresh, split, &mut found)?;
    }
    if found.problems.is_empty() && folder.manifest.mix_hash != fresh.manifest().mix_hash {
        found
            .problems
            .push("the mix's hash is another: the exam's questions or the tokenizer that counts changed".to_owned());
    }
    found.verified = found.problems.is_empty();
    Ok(found)
}

fn check_split(folder: &MixFolder, fresh: &Mix, split: Split, found: &mut Verification) -> Result<(), MixError> {
    let again = match split {
        Split::Train => &fresh.manifest().mix,
        Split::Validation => &fresh.manifest().validation,
    };
    let written = folder.written(split);
    let name = folder.path.join(split.file());
    let on_disk = folder.has(split).then(|| folder.records(split, |_| ())).transpose()?;
    if on_disk.as_ref().is_some_and(|blake3| *blake3 != written.blake3) {
        found.problems.push(format!("{} was changed after it was written", name.display()));
    }
    if again.blake3 == written.blake3 {
        let where_from = if on_disk.is_some() { "on the disk and " } else { "" };
        found.checked.push(format!(
            "{}: {} records, the same bytes {where_from}made again",
            split.file(),
            again.records
        ));
    } else {
        let counts = if again.records == written.records {
            format!("{} records, other ones or in another order", again.records)
        } else {
            format!("{} records were written, {} are made now", written.records, again.records)
        };
        found.problems.push(format!("{}: {counts}", split.file()));
    }
    Ok(())
}
