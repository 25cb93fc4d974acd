//! Origin and licence of the data, one row for each part of each source.

use maud::{Markup, html};
use medley_mixture::{Ledger, Manifest, ManifestSource};

use crate::page::code;
use crate::page::composition::shown;
use crate::words::{bytes, grouped};

/// The section.
pub(super) fn section(manifest: &Manifest, ledger: &Ledger) -> Markup {
    html! {
        section {
            h2 { "Origin and licence" }
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "source" } th.text { "origin" } th.text { "licence" } th.text { "commercial use" }
                            th { "files" } th { "records" } th { "size" }
                        }
                    }
                    tbody {
                        @for (name, source) in &manifest.sources {
                            @let name = ledger.sources.get(name).map_or(name.as_str(), |line| shown(name, line));
                            @for part in 0..source.parts.len() { (row(name, source, part)) }
                        }
                    }
                }
            }
            (heuristics(ledger))
            @if ledger.sources.values().any(|line| !line.read_as.is_empty()) { (read_as(ledger)) }
        }
    }
}

fn row(name: &str, source: &ManifestSource, index: usize) -> Markup {
    let part = &source.parts[index];
    let files = || source.files.iter().filter(move |file| file.part == index);
    html! {
        tr {
            th { (name) }
            td.text { (code(&source.origin(index))) }
            td.text {
                @match &part.licence {
                    Some(licence) => (licence),
                    None => span.doubt { "licence not stated" },
                }
            }
            td.text {
                @match part.commercial_use {
                    Some(true) => "allowed",
                    Some(false) => span.doubt { "forbidden" },
                    None => "not stated",
                }
            }
            td { (grouped(files().count() as u64)) }
            td { (grouped(files().map(|file| file.records).sum::<u64>())) }
            td { (bytes(files().map(|file| file.bytes).sum())) }
        }
    }
}

/// Sources whose roles were detected by a heuristic.
fn heuristics(ledger: &Ledger) -> Markup {
    let all =
        ledger.sources.iter().flat_map(|(name, line)| line.heuristic.iter().map(move |found| (name, line, found)));
    let all: Vec<_> = all.collect();
    html! {
        @if !all.is_empty() {
            ul.reasons {
                @for (name, line, found) in all { li { (shown(name, line)) ": detected by a heuristic: " (found) } }
            }
        }
    }
}

/// Detected layouts of files and records.
fn read_as(ledger: &Ledger) -> Markup {
    html! {
        h3 { "Recognised as" }
        div.scroll {
            table {
                thead {
                    tr {
                        th { "source" } th.text { "records" } th.text { "files" } th { "records" } th { "files" }
                        th.text { "the first of them" }
                    }
                }
                tbody {
                    @for (name, line) in &ledger.sources {
                        @for read in &line.read_as {
                            tr {
                                th { (shown(name, line)) }
                                td.text { (read.shape) }
                                td.text { (read.layout) }
                                td { (grouped(read.records)) }
                                td { (grouped(read.files)) }
                                td.text { (code(&read.example)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
