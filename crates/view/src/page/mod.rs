//! Shared parts of the self-contained HTML pages (no network requests) of runs and mixes.

pub(crate) mod composition;
pub(crate) mod files;
pub(crate) mod left_out;

use std::io::Read;

use serde_json::Value;

/// A page before it is written.
pub(crate) struct Page<'a> {
    /// Its title, as plain text.
    pub title: &'a str,
    /// Seconds after which it reloads itself.
    pub refresh: Option<u32>,
    /// Its body, as HTML.
    pub body: &'a str,
    /// Script elements, with their data.
    pub script: &'a str,
}

impl Page<'_> {
    /// The whole document. Its content security policy forbids every request, should [`escape`] miss something.
    pub fn html(&self) -> String {
        let Self { title, refresh, body, script } = self;
        let refresh = refresh.map(|seconds| format!("<meta http-equiv=refresh content={seconds}>")).unwrap_or_default();
        format!(
            "<!doctype html>\n<html lang=en><head><meta charset=utf-8>{MARK}{refresh}\
             <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'; script-src \
             'unsafe-inline'; img-src data:\">\
             <meta name=viewport content=\"width=device-width,initial-scale=1\"><meta name=color-scheme content=\"light dark\">\
             <link rel=icon href=\"data:,\"><title>{} · Medley</title>\n<style>{}</style></head>\n<body>\n{body}\n{script}\n\
             </body></html>\n",
            escape(title),
            include_str!("style.css")
        )
    }
}

/// Mark of pages written by Medley, in their head.
const MARK: &str = "<meta name=generator content=Medley>";

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

/// Text as HTML, with special characters escaped and control characters visible.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            other => escaped.push(other),
        }
    }
    escaped
}

/// Text in a monospaced font.
pub(crate) fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// JSON inside a page: no text in it may end the script element.
pub(crate) fn script_data(attributes: &str, value: &Value) -> String {
    format!("<script type=\"application/json\"{attributes}>{}</script>", value.to_string().replace('<', "\\u003c"))
}

/// A number as short as JSON has it: `3` for 3.0.
pub(crate) fn json_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 { Value::from(number as i64) } else { Value::from(number) }
}

/// Key figures: name, value, note.
pub(crate) fn tiles(tiles: &[(&str, String, String)]) -> String {
    let tile = |(name, value, note): &(&str, String, String)| {
        format!("<div class=tile><span>{name}</span><b>{}</b><small>{}</small></div>", escape(value), escape(note))
    };
    format!("<div class=tiles>{}</div>", tiles.iter().map(tile).collect::<String>())
}

/// `12.3 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
