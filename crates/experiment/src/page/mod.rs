//! Self-contained HTML pages: everything is in the file, and nothing outside it is asked for. What the page of a run and
//! that of a mix have in common.

pub(crate) mod composition;
pub(crate) mod files;
pub(crate) mod left_out;

use serde_json::Value;

/// A page before it is written.
pub(crate) struct Page<'a> {
    /// Its title, as plain text.
    pub title: &'a str,
    /// Seconds after which it loads itself again.
    pub refresh: Option<u32>,
    /// What it shows.
    pub body: &'a str,
    /// Script elements, with their data.
    pub script: &'a str,
}

impl Page<'_> {
    /// The whole document. Its policy forbids every request, should a text have found a way through [`escape`].
    pub fn html(&self) -> String {
        let Self { title, refresh, body, script } = self;
        let refresh = refresh.map(|seconds| format!("<meta http-equiv=refresh content={seconds}>")).unwrap_or_default();
        format!(
            "<!doctype html>\n<html lang=en><head><meta charset=utf-8>{refresh}\
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

/// Text as HTML shows it.
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

/// Text in a typewriter's letters.
pub(crate) fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// JSON inside a page: no text in it may end the script element.
pub(crate) fn script_data(attributes: &str, value: &Value) -> String {
    let text = value.to_string().replace(".0,", ",").replace(".0]", "]");
    format!("<script type=\"application/json\"{attributes}>{}</script>", text.replace('<', "\\u003c"))
}

/// Numbers that a reader looks for first: name, value, a note.
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
