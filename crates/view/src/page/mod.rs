//! Shared parts of the self-contained HTML pages (no network requests) of runs and mixes.

pub(crate) mod composition;
pub(crate) mod files;
pub(crate) mod left_out;

use std::io::Read;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use crate::words::date;

/// Text of this crate that goes into a page without escaping: style sheet and scripts. Only constants can be one, so
/// everything that comes from records, recipes and files is escaped by [`html!`].
pub(crate) struct Asset(pub &'static str);

impl maud::Render for Asset {
    fn render(&self) -> Markup {
        PreEscaped(self.0.to_owned())
    }
}

/// A page before it is written.
pub(crate) struct Page<'a> {
    /// Its title, as plain text.
    pub title: &'a str,
    /// Seconds after which it reloads itself.
    pub refresh: Option<u32>,
    /// Its body.
    pub body: Markup,
    /// Its script.
    pub script: Option<Asset>,
}

impl Page<'_> {
    /// The whole document. Its content security policy forbids every request.
    pub fn html(&self) -> String {
        const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
        let Self { title, refresh, body, script } = self;
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="generator" content="Medley";
                    @if let Some(seconds) = refresh { meta http-equiv="refresh" content=(seconds); }
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width,initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    link rel="icon" href="data:,";
                    title { (title) " · Medley" }
                    style { (Asset(include_str!("style.css"))) }
                }
                body {
                    (body)
                    @if let Some(script) = script { script { (script) } }
                }
            }
        };
        page.into_string() + "\n"
    }
}

/// Mark of pages written by Medley, in their head.
const MARK: &str = "<meta name=\"generator\" content=\"Medley\">";

/// Whether the file is a page that this program wrote.
pub fn is_own_page(path: &std::path::Path) -> bool {
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    let head = String::from_utf8_lossy(&head);
    // Pages of earlier versions have only this end of the title.
    read.is_ok() && (head.contains(MARK) || head.contains(" · Medley</title>"))
}

/// Bytes at the beginning that are searched for the mark.
const HEAD: u64 = 16 << 10;

/// Bytes that a letter takes as HTML.
pub(crate) fn html_len(letter: char) -> usize {
    html! { (letter) }.0.len()
}

/// Text in a monospaced font.
pub(crate) fn code(text: &str) -> Markup {
    html! { code { (text) } }
}

/// A number as short as JSON has it: `3` for 3.0.
pub(crate) fn json_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 { Value::from(number as i64) } else { Value::from(number) }
}

/// Key figures: name, value, note.
pub(crate) fn tiles(tiles: &[(&str, String, String)]) -> Markup {
    html! {
        div.tiles {
            @for (name, value, note) in tiles {
                div.tile { span { (name) } b { (value) } small { (note) } }
            }
        }
    }
}

/// The page's last line: version, time of writing in seconds since 1970, and the folder that it was made from.
pub(crate) fn footer(now: u64, folder: Option<&str>) -> Markup {
    html! {
        footer {
            "Written by Medley " (env!("CARGO_PKG_VERSION")) " on " (date(now))
            @if let Some(folder) = folder { ", from " (code(folder)) " alone" }
            "."
        }
    }
}

/// `12.3 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
