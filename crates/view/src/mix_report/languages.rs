//! Languages on the page: a bar and a table row for every source.

use std::fmt::Write as _;

use medley_mixture::Ledger;

use crate::mix_report::gather::{Gathered, SourceFacts};
use crate::page::composition::{share_text, shown, slim};
use crate::page::{escape, percent};
use crate::words::grouped;

/// Languages with a colour and a column of their own; the others are summed.
const NAMED: usize = 7;

/// The section.
pub(super) fn section(gathered: &Gathered, ledger: &Ledger) -> String {
    let languages = gathered.languages();
    let named = &languages[..languages.len().min(NAMED)];
    let others = languages.len() > NAMED;
    let mut bars = String::new();
    let mut rows = String::new();
    for (source, facts) in &gathered.sources {
        let name = ledger.sources.get(source).map_or(source.as_str(), |line| shown(source, line));
        let _ = write!(rows, "<tr><th>{}", escape(name));
        let _ = write!(bars, "<span>{}</span><div class=stack>", escape(name));
        for (at, (language, count)) in counts(facts, named).into_iter().enumerate() {
            let share = count as f64 / facts.answers.count().max(1) as f64;
            let text = share_text(share);
            if count > 0 {
                let _ = write!(
                    bars,
                    "<i class=\"l{at}{}\" style=\"width:{:.3}%\" title=\"{}: {} ({})\">{text}</i>",
                    slim(share),
                    100.0 * share,
                    escape(language),
                    grouped(count),
                    percent(share)
                );
            }
            if at < named.len() || others {
                let _ = write!(rows, "<td>{}", if count > 0 { grouped(count) } else { "–".to_owned() });
            }
        }
        bars += "</div>";
    }
    let columns: Vec<&str> = named.iter().map(|code| spoken(code)).chain(others.then_some("others")).collect();
    let key: String = columns
        .iter()
        .enumerate()
        .map(|(at, name)| format!("<span><i class=l{at}></i>{}</span>", escape(name)))
        .collect();
    let head: String = columns.iter().map(|name| format!("<th>{}", escape(name))).collect();
    format!(
        "<section><h2>Languages</h2><div class=bars>{bars}</div><p class=\"legend key\">{key}</p><div class=scroll><table class=narrow><thead><tr>\
         <th>source{head}</thead><tbody>{rows}</tbody></table></div><p class=quiet>Detected by script and letters from questions and \
         answers together; texts of few letters are left undetermined.</p></section>"
    )
}

/// Samples in each of these languages, and in all others.
fn counts<'a>(facts: &SourceFacts, named: &'a [String]) -> Vec<(&'a str, u64)> {
    let count = |language: &'a String| (spoken(language), facts.languages.get(language).copied().unwrap_or(0));
    let mut counts: Vec<_> = named.iter().map(count).collect();
    let known: u64 = counts.iter().map(|(_, count)| count).sum();
    counts.push(("others", facts.answers.count() as u64 - known));
    counts
}

/// A language's English name.
pub(super) fn spoken(code: &str) -> &str {
    match code {
        "zh" => "Chinese",
        "en" => "English",
        "ja" => "Japanese",
        "ko" => "Korean",
        "ar" => "Arabic",
        "de" => "German",
        "es" => "Spanish",
        "fr" => "French",
        "hi" => "Hindi",
        "it" => "Italian",
        "nl" => "Dutch",
        "pt" => "Portuguese",
        "ru" => "Russian",
        "sv" => "Swedish",
        "tr" => "Turkish",
        "vi" => "Vietnamese",
        other => other,
    }
}
