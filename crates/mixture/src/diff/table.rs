//! The difference of two mixes as a reader sees it: within 120 columns where the texts allow it.

use std::fmt;

use comfy_table::Table;

use crate::diff::{Example, FileDifference, Leak, MixDiff, SampleCounts, SettingDifference, SplitDiff};
use crate::table::{align, aligned, grouped};

/// Characters of two values that fit on one line.
const ON_ONE_LINE: usize = 90;

impl fmt::Display for MixDiff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notes.iter().try_for_each(|note| writeln!(formatter, "note: {note}"))?;
        if self.identical {
            return writeln!(
                formatter,
                "The two mixes are identical: settings, source files, samples and their order."
            );
        }
        write_settings(&self.settings, formatter)?;
        write_files(&self.files, formatter)?;
        let Some(records) = &self.records else {
            let said = |same| if same { "the same to the byte" } else { "different" };
            writeln!(formatter, "\nsamples: {}", said(self.same_mix))?;
            return writeln!(formatter, "validation: {}", said(self.same_validation));
        };
        write_split("samples", &records.train, self.same_mix, formatter)?;
        write_split("validation", &records.validation, self.same_validation, formatter)?;
        write_leak("A", "B", &records.validation_a_in_train_b, formatter)?;
        write_leak("B", "A", &records.validation_b_in_train_a, formatter)
    }
}

fn write_settings(settings: &[SettingDifference], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    if settings.is_empty() {
        return writeln!(formatter, "settings: the same");
    }
    writeln!(formatter, "settings that differ (A → B)")?;
    for SettingDifference { key, a, b } in settings {
        let [a, b] = [a, b].map(|value| value.as_deref().unwrap_or("not set"));
        if key.chars().count() + a.chars().count() + b.chars().count() <= ON_ONE_LINE {
            writeln!(formatter, "  {key}: {a} → {b}")?;
        } else {
            writeln!(formatter, "  {key}:\n    A  {a}\n    B  {b}")?;
        }
    }
    Ok(())
}

fn write_files(files: &[FileDifference], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    if files.is_empty() {
        return writeln!(formatter, "source files: the same");
    }
    writeln!(formatter, "\nsource files that differ")?;
    let mut table = aligned(&["source", "file", "", "records in A", "records in B", "blake3 in A", "blake3 in B"]);
    for file in files {
        let name = match (&file.a, &file.b) {
            (Some(a), Some(b)) if a.file != b.file => format!("{} → {}", a.file, b.file),
            (Some(file), _) | (None, Some(file)) => file.file.clone(),
            (None, None) => String::new(),
        };
        let records =
            [&file.a, &file.b].map(|file| file.as_ref().map_or("–".to_owned(), |file| grouped(file.records)));
        let hashes = [&file.a, &file.b]
            .map(|file| file.as_ref().map_or("–".to_owned(), |file| file.blake3.chars().take(12).collect()));
        let front = [file.source.clone(), name, file.what().to_owned()];
        table.add_row(front.into_iter().chain(records).chain(hashes));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    writeln!(formatter, "{}", table.trim_fmt())
}

fn write_split(what: &str, split: &SplitDiff, same_bytes: bool, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let sum = |number: fn(&SampleCounts) -> u64| split.sources.values().map(number).sum();
    let all = SampleCounts {
        same: sum(|line| line.same),
        only_a: sum(|line| line.only_a),
        only_b: sum(|line| line.only_b),
        moved: sum(|line| line.moved),
    };
    if same_bytes {
        return writeln!(formatter, "{what}: all {} the same, to the byte", grouped(all.same));
    }
    let moved = all.moved > 0;
    let header = [what, "in both", "only in A", "only in B", "in B under another source"];
    let mut table = aligned(&header[..4 + usize::from(moved)]);
    for (source, line) in &split.sources {
        add_row(&mut table, source, line, moved);
    }
    add_row(&mut table, "in all", &all, moved);
    align(&mut table);
    writeln!(formatter, "\n{}", table.trim_fmt())?;
    let only_places = all.only_a + all.only_b == 0 && split.same_order;
    let order = match split.same_order {
        _ if all.same == 0 => "Nothing is in both.",
        true if all.only_b == 0 && all.only_a > 0 => "All of B is in A, in the same order.",
        true if all.only_a == 0 && all.only_b > 0 => "All of A is in B, in the same order.",
        true if only_places => {
            "The same contents in the same order; what differs is how they are spelt or where they stand."
        }
        true => "What is in both stands in the same order.",
        false => "What is in both stands in another order.",
    };
    writeln!(formatter, "{order}")?;
    write_examples("only in A", &split.only_a, formatter)?;
    write_examples("only in B", &split.only_b, formatter)
}

fn add_row(table: &mut Table, name: &str, line: &SampleCounts, moved: bool) {
    let numbers = [line.same, line.only_a, line.only_b, line.moved];
    let shown = numbers.iter().take(3 + usize::from(moved)).map(|number| grouped(*number));
    table.add_row(std::iter::once(name.to_owned()).chain(shown));
}

fn write_examples(title: &str, examples: &[Example], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    if examples.is_empty() {
        return Ok(());
    }
    writeln!(formatter, "{title}, for example")?;
    for Example { source, key, place, question } in examples {
        writeln!(formatter, "  {source}  {place}  key {key}\n    {question}")?;
    }
    Ok(())
}

fn write_leak(held: &str, trained: &str, leak: &Leak, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let count: u64 = leak.sources.values().sum();
    if count == 0 {
        return Ok(());
    }
    let sources: Vec<String> =
        leak.sources.iter().map(|(source, count)| format!("{source} {}", grouped(*count))).collect();
    writeln!(
        formatter,
        "\nWARNING: {} samples of {trained} are held out for validation in {held} ({}): a model trained on {trained} must not be \
         judged by {held}'s validation split",
        grouped(count),
        sources.join(", ")
    )?;
    write_examples(&format!("trained on in {trained}"), &leak.examples, formatter)
}
