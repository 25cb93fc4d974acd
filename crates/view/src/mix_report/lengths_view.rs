//! Lengths on the page: a histogram of questions and answers for every source, all on one logarithmic axis.

use maud::{Markup, html};
use medley_mixture::Ledger;

use crate::mix_report::gather::{Gathered, SourceFacts};
use crate::mix_report::lengths::{Lengths, edge, place};
use crate::page::composition::{colour_class, shown};
use crate::page::percent;
use crate::words::{grouped, short};

/// Units of a drawing from left to right and from top to bottom.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;

/// The section.
pub(super) fn section(gathered: &Gathered, ledger: &Ledger, sources: &[String]) -> Markup {
    let longest = gathered.longest();
    html! {
        section {
            h2 { "Lengths" }
            div.lengths {
                span {} b { "questions" } b { "answers" }
                @for (source, facts) in &gathered.sources {
                    @let colour = colour_class(sources, source);
                    span { (name(ledger, source)) }
                    (histogram(&facts.questions, longest, &colour, "questions"))
                    (histogram(&facts.answers, longest, &colour, "answers"))
                }
                span {} (axis(longest)) (axis(longest))
            }
            p.quiet {
                "Characters, on a logarithmic axis; a bar's height is its share of the source. Lines: the median, and the \
                 length that 90 % do not exceed. A question is all that the model reads before its answers, an answer all \
                 that it says."
            }
            (table(gathered, ledger))
        }
    }
}

fn name<'a>(ledger: &'a Ledger, source: &'a str) -> &'a str {
    ledger.sources.get(source).map_or(source, |line| shown(source, line))
}

fn histogram(lengths: &Lengths, longest: u32, colour: &str, what: &str) -> Markup {
    let counts = lengths.histogram(longest);
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let (median, within) = (lengths.quantile(0.5), lengths.quantile(0.9));
    let line = |length: u32| format!("M{:.1} 0V{HEIGHT}", WIDTH * place(length, longest));
    html! {
        div class={ "histogram " (colour) } data-what=(what) {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img"
                aria-label={ (what) ": median " (median) ", 90 % within " (within) " characters" } {
                @for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                    (histogram_bar(at, *count, counts.len(), most, lengths))
                }
                path.median d=(line(median)) {}
                path.most d=(line(within)) {}
            }
        }
    }
}

/// The bar at `at` of `bars`, with its lengths and its share of `lengths`.
fn histogram_bar(at: usize, count: u64, bars: usize, most: f64, lengths: &Lengths) -> Markup {
    let width = WIDTH / bars as f64;
    // Bars of rare lengths stay visible.
    let height = (HEIGHT * count as f64 / most).max(1.5);
    let (from, to) = (edge(at), edge(at + 1).saturating_sub(1));
    let unit = |value: f64| format!("{value:.1}");
    html! {
        rect x=(unit(at as f64 * width)) y=(unit(HEIGHT - height)) width=(unit(width - 1.5)) height=(unit(height)) {
            title {
                (grouped(from)) @if from != to { " to " (grouped(to)) }
                " characters: " (grouped(count)) " (" (percent(count as f64 / lengths.count() as f64)) ")"
            }
        }
    }
}

/// Marks at the powers of ten.
fn axis(longest: u32) -> Markup {
    let powers =
        std::iter::successors(Some(1u32), |power| power.checked_mul(10)).take_while(|power| *power <= longest.max(1));
    html! {
        div.axis {
            @for power in powers {
                span style=(format!("left:{:.2}%", 100.0 * place(power, longest))) { (grouped(i64::from(power))) }
            }
        }
    }
}

type Cell = fn(&SourceFacts) -> String;

const QUANTILES: [(&str, f64); 4] = [("median", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("longest", 1.0)];

const SHARES: [(&str, &str, Cell); 3] = [
    ("dialogue", "samples with more than one answer", |facts| share(facts.dialogues, facts)),
    ("system", "samples with a system message", |facts| share(facts.systems, facts)),
    ("passage", "samples with a passage that is marked as reading matter", |facts| share(facts.passages, facts)),
];

fn table(gathered: &Gathered, ledger: &Ledger) -> Markup {
    let tokens = ledger.sources.values().any(|line| line.tokens.is_some());
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th {} th.over colspan="5" { "questions" } th.over colspan="5" { "answers" }
                        th.over colspan="3" { "samples with a" }
                        @if tokens { th.over colspan="2" { "tokens a sample" } }
                    }
                    tr {
                        th { "source" }
                        @for _ in 0..2 { th { "mean" } @for (name, _) in QUANTILES { th { (name) } } }
                        @for (name, title, _) in SHARES { th title=(title) { (name) } }
                        @if tokens { th { "mean" } th { "supervised" } }
                    }
                }
                tbody {
                    @for (source, facts) in &gathered.sources {
                        tr {
                            th { (name(ledger, source)) }
                            @for lengths in [&facts.questions, &facts.answers] {
                                td { (short(lengths.mean())) }
                                @for (_, share) in QUANTILES { td { (grouped(i64::from(lengths.quantile(share)))) } }
                            }
                            @for (_, _, cell) in SHARES { td { (cell(facts)) } }
                            (token_cells(ledger, source))
                        }
                    }
                }
            }
        }
    }
}

/// Tokens and supervised tokens a sample; nothing where they were not counted.
fn token_cells(ledger: &Ledger, source: &str) -> Markup {
    let counts = ledger.sources.get(source).and_then(|line| line.tokens).filter(|counts| counts.samples > 0);
    html! {
        @if let Some(counts) = counts {
            @for tokens in [counts.tokens, counts.supervised_tokens] { td { (short(tokens as f64 / counts.samples as f64)) } }
        }
    }
}

fn share(count: u64, facts: &SourceFacts) -> String {
    match count {
        0 => "–".to_owned(),
        count => percent(count as f64 / facts.answers.count() as f64),
    }
}
