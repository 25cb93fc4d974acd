//! Origin and licence of the data, one row for each part of each source.

use std::fmt::Write as _;

use medley_mixture::{Ledger, Manifest, ManifestSource};

use crate::page::composition::shown;
use crate::page::{code, escape};
use crate::words::{bytes, grouped};

/// The section.
pub(super) fn section(manifest: &Manifest, ledger: &Ledger) -> String {
    let mut rows = String::new();
    for (name, source) in &manifest.sources {
        let name = ledger.sources.get(name).map_or(name.as_str(), |line| shown(name, line));
        for part in 0..source.parts.len() {
            rows += &row(name, source, part);
        }
    }
    format!(
        "<section><h2>Origin and licence</h2><div class=scroll><table><thead><tr><th>source<th class=text>origin<th class=text>licence\
         <th class=text>commercial use<th>files<th>records<th>size</thead><tbody>{rows}</tbody></table></div>{}{}</section>",
        heuristics(ledger),
        read_as(ledger)
    )
}

fn row(name: &str, source: &ManifestSource, index: usize) -> String {
    let part = &source.parts[index];
    let files = || source.files.iter().filter(move |file| file.part == index);
    let licence = match &part.licence {
        Some(licence) => escape(licence),
        None => "<span class=doubt>licence not stated</span>".to_owned(),
    };
    let commercial = match part.commercial_use {
        Some(true) => "allowed",
        Some(false) => "<span class=doubt>forbidden</span>",
        None => "not stated",
    };
    format!(
        "<tr><th>{}<td class=text>{}<td class=text>{licence}<td class=text>{commercial}<td>{}<td>{}<td>{}",
        escape(name),
        code(&source.origin(index)),
        grouped(files().count() as u64),
        grouped(files().map(|file| file.records).sum::<u64>()),
        bytes(files().map(|file| file.bytes).sum())
    )
}

/// Sources whose roles were detected by a heuristic.
fn heuristics(ledger: &Ledger) -> String {
    let mut items = String::new();
    for (name, line) in &ledger.sources {
        for heuristic in &line.heuristic {
            let _ = write!(items, "<li>{}: detected by a heuristic: {}", escape(shown(name, line)), escape(heuristic));
        }
    }
    if items.is_empty() { items } else { format!("<ul class=reasons>{items}</ul>") }
}

/// Detected layouts of files and records.
fn read_as(ledger: &Ledger) -> String {
    let mut rows = String::new();
    for (name, line) in &ledger.sources {
        for read in &line.read_as {
            let _ = write!(
                rows,
                "<tr><th>{}<td class=text>{}<td class=text>{}<td>{}<td>{}<td class=text>{}",
                escape(shown(name, line)),
                escape(&read.shape),
                escape(&read.layout),
                grouped(read.records),
                grouped(read.files),
                code(&read.example)
            );
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<h3>Recognised as</h3><div class=scroll><table><thead><tr><th>source<th class=text>records<th class=text>files\
         <th>records<th>files<th class=text>the first of them</thead><tbody>{rows}</tbody></table></div>"
    )
}
