//! Source files of a mix, on a page.

use std::fmt::Write as _;

use medley_mixture::Manifest;

use crate::page::{code, escape};
use crate::words::{bytes, grouped};

/// Files that a page names; the manifest has them all.
const NAMED: usize = 300;

/// Source files with hashes, collapsed.
pub(crate) fn table(manifest: &Manifest) -> String {
    let mut rows = String::new();
    let mut count = 0;
    for (name, source) in &manifest.sources {
        for file in &source.files {
            let part = source.parts.get(file.part);
            let licence = part.and_then(|part| part.licence.as_deref()).unwrap_or("not stated");
            count += 1;
            if count > NAMED {
                continue;
            }
            let _ = write!(
                rows,
                "<tr><th>{}<td class=text>{}<td class=text>{}<td>{}<td>{}<td class=text>{}<td class=text>{}",
                escape(name),
                code(&file.file),
                escape(&file.layout),
                grouped(file.records),
                bytes(file.bytes),
                escape(licence),
                code(&file.blake3)
            );
        }
    }
    if count > NAMED {
        let _ = write!(rows, "<tr><th><td class=text>and {} more in manifest.json", count - NAMED);
    }
    format!(
        "<details><summary>Data files ({count})</summary><div class=scroll><table><thead><tr><th>source<th class=text>file\
         <th class=text>layout<th>records<th>size<th class=text>licence<th class=text>blake3</thead><tbody>{rows}</tbody>\
         </table></div></details>"
    )
}
