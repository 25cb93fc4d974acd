//! Languages on the page: a bar and a table row for every source.

use maud::{Markup, html};
use medley_mixture::Ledger;

use crate::mix_report::gather::{Gathered, SourceFacts};
use crate::page::composition::{is_slim, share_text, shown};
use crate::page::percent;
use crate::words::grouped;

/// Languages with a colour and a column of their own; the others are summed.
const NAMED: usize = 7;

/// The section.
pub(super) fn section(gathered: &Gathered, ledger: &Ledger) -> Markup {
    let languages = gathered.languages();
    let named = &languages[..languages.len().min(NAMED)];
    let others = languages.len() > NAMED;
    let columns: Vec<&str> = named.iter().map(|code| spoken(code)).chain(others.then_some("others")).collect();
    let name = |source| ledger.sources.get(source).map_or(source, |line| shown(source, line));
    html! {
        section {
            h2 { "Languages" }
            div.bars {
                @for (source, facts) in &gathered.sources { span { (name(source)) } (bar(facts, named)) }
            }
            p.legend.key {
                @for (at, column) in columns.iter().enumerate() { span { i class=(format!("l{at}")) {} (column) } }
            }
            div.scroll {
                table.narrow {
                    thead { tr { th { "source" } @for column in &columns { th { (column) } } } }
                    tbody {
                        @for (source, facts) in &gathered.sources {
                            tr {
                                th { (name(source)) }
                                @for (_, count) in counts(facts, named).iter().take(columns.len()) {
                                    td { @if *count > 0 { (grouped(*count)) } @else { "–" } }
                                }
                            }
                        }
                    }
                }
            }
            p.quiet {
                "Detected by script and letters from questions and answers together; texts of few letters are left \
                 undetermined."
            }
        }
    }
}

/// A source's languages as shares of a bar.
fn bar(facts: &SourceFacts, named: &[String]) -> Markup {
    let share = |count: u64| count as f64 / facts.answers.count().max(1) as f64;
    html! {
        div.stack {
            @for (at, (language, count)) in counts(facts, named).into_iter().enumerate().filter(|(_, (_, count))| *count > 0) {
                i class={ "l" (at) @if is_slim(share(count)) { " slim" } }
                    style=(format!("width:{:.3}%", 100.0 * share(count)))
                    title={ (language) ": " (grouped(count)) " (" (percent(share(count))) ")" } { (share_text(share(count))) }
            }
        }
    }
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
