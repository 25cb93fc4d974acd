//! Source files of a mix, on a page.

use maud::{Markup, html};
use medley_mixture::Manifest;

use crate::page::code;
use crate::words::{bytes, grouped};

/// Files that a page names; the manifest has them all.
const NAMED: usize = 300;

/// Source files with hashes, collapsed.
pub(crate) fn table(manifest: &Manifest) -> Markup {
    let files =
        || manifest.sources.iter().flat_map(|(name, source)| source.files.iter().map(move |file| (name, source, file)));
    let count = files().count();
    html! {
        details {
            summary { "Data files (" (count) ")" }
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "source" } th.text { "file" } th.text { "layout" } th { "records" } th { "size" }
                            th.text { "licence" } th.text { "blake3" }
                        }
                    }
                    tbody {
                        @for (name, source, file) in files().take(NAMED) {
                            @let licence = source.parts.get(file.part).and_then(|part| part.licence.as_deref());
                            tr {
                                th { (name) }
                                td.text { (code(&file.file)) }
                                td.text { (file.layout) }
                                td { (grouped(file.records)) }
                                td { (bytes(file.bytes)) }
                                td.text { (licence.unwrap_or("not stated")) }
                                td.text { (code(&file.blake3)) }
                            }
                        }
                        @if count > NAMED {
                            tr { th {} td.text { "and " (count - NAMED) " more in manifest.json" } }
                        }
                    }
                }
            }
        }
    }
}
