//! Lengths on the page: a histogram of questions and answers for every source, all on one logarithmic axis.

use std::fmt::Write as _;

use medley_mixture::Ledger;

use crate::mix_report::gather::{Gathered, SourceFacts};
use crate::mix_report::lengths::{Lengths, edge, place};
use crate::page::composition::{colour, shown};
use crate::page::{escape, percent};
use crate::words::{grouped, short};

/// Units of a drawing from left to right and from top to bottom.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;

/// The section.
pub(super) fn section(gathered: &Gathered, ledger: &Ledger, sources: &[String]) -> String {
    let longest = gathered.longest();
    let mut html =
        String::from("<section><h2>Lengths</h2><div class=lengths><span></span><b>questions</b><b>answers</b>");
    let name =
        |source: &str| ledger.sources.get(source).map_or(source.to_owned(), |line| shown(source, line).to_owned());
    for (source, facts) in &gathered.sources {
        let colour = colour(sources, source);
        let _ = write!(
            html,
            "<span>{}</span>{}{}",
            escape(&name(source)),
            histogram(&facts.questions, longest, colour, "questions"),
            histogram(&facts.answers, longest, colour, "answers")
        );
    }
    let axis = axis(longest);
    let _ = write!(
        html,
        "<span></span>{axis}{axis}</div><p class=quiet>Characters, on a logarithmic axis; a bar's height is its share of the \
         source. Lines: the median, and the length that 90 % do not exceed. A question is all that the model reads \
         before its answers, an answer all that it says.</p>"
    );
    html += &table(gathered, ledger, &name);
    html + "</section>"
}

fn histogram(lengths: &Lengths, longest: u32, colour: usize, what: &str) -> String {
    let counts = lengths.histogram(longest);
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let width = WIDTH / counts.len() as f64;
    let mut bars = String::new();
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        // Bars of rare lengths stay visible.
        let height = (HEIGHT * *count as f64 / most).max(1.5);
        let (from, to) = (edge(at), edge(at + 1).saturating_sub(1));
        let range = if from == to { grouped(from) } else { format!("{} to {}", grouped(from), grouped(to)) };
        let _ = write!(
            bars,
            "<rect x={:.1} y={:.1} width={:.1} height={height:.1}><title>{range} characters: {} ({})</title></rect>",
            at as f64 * width,
            HEIGHT - height,
            width - 1.5,
            grouped(*count),
            percent(*count as f64 / lengths.count() as f64)
        );
    }
    let mut lines = String::new();
    for (class, share) in [("median", 0.5), ("most", 0.9)] {
        let x = WIDTH * place(lengths.quantile(share), longest);
        let _ = write!(lines, "<path class={class} d=\"M{x:.1} 0V{HEIGHT}\"/>");
    }
    format!(
        "<div class=\"histogram c{colour}\" data-what={what}><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=none role=img aria-label=\"\
         {what}: median {}, 90 % within {} characters\">{bars}{lines}</svg></div>",
        lengths.quantile(0.5),
        lengths.quantile(0.9)
    )
}

/// Marks at the powers of ten.
fn axis(longest: u32) -> String {
    let powers =
        std::iter::successors(Some(1u32), |power| power.checked_mul(10)).take_while(|power| *power <= longest.max(1));
    let mark = |power: u32| {
        format!("<span style=\"left:{:.2}%\">{}</span>", 100.0 * place(power, longest), grouped(i64::from(power)))
    };
    format!("<div class=axis>{}</div>", powers.map(mark).collect::<String>())
}

type Cell = fn(&SourceFacts) -> String;

fn table(gathered: &Gathered, ledger: &Ledger, name: &dyn Fn(&str) -> String) -> String {
    const QUANTILES: [(&str, f64); 4] = [("median", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("longest", 1.0)];
    const SHARES: [(&str, &str, Cell); 3] = [
        ("dialogue", "samples with more than one answer", |facts| share(facts.dialogues, facts)),
        ("system", "samples with a system message", |facts| share(facts.systems, facts)),
        ("passage", "samples with a passage that is marked as reading matter", |facts| share(facts.passages, facts)),
    ];
    let tokens = ledger.sources.values().any(|line| line.tokens.is_some());
    let quantiles: String = QUANTILES.iter().map(|(name, _)| format!("<th>{name}")).collect();
    let mut html = format!(
        "<div class=scroll><table><thead><tr><th><th class=over colspan=5>questions<th class=over colspan=5>answers<th class=over \
         colspan=3>samples with a{}<tr><th>source<th>mean{quantiles}<th>mean{quantiles}",
        if tokens { "<th class=over colspan=2>tokens a sample" } else { "" }
    );
    SHARES.iter().for_each(|(name, title, _)| html += &format!("<th title=\"{title}\">{name}"));
    html += if tokens { "<th>mean<th>supervised</thead><tbody>" } else { "</thead><tbody>" };
    for (source, facts) in &gathered.sources {
        let _ = write!(html, "<tr><th>{}", escape(&name(source)));
        for lengths in [&facts.questions, &facts.answers] {
            let _ = write!(html, "<td>{}", short(lengths.mean()));
            for (_, share) in QUANTILES {
                let _ = write!(html, "<td>{}", grouped(i64::from(lengths.quantile(share))));
            }
        }
        SHARES.iter().for_each(|(_, _, cell)| html += &format!("<td>{}", cell(facts)));
        let counts = ledger.sources.get(source).and_then(|line| line.tokens).filter(|counts| counts.samples > 0);
        if let Some(counts) = counts {
            let mean = |tokens: u64| short(tokens as f64 / counts.samples as f64);
            let _ = write!(html, "<td>{}<td>{}", mean(counts.tokens), mean(counts.supervised_tokens));
        }
    }
    html + "</tbody></table></div>"
}

fn share(count: u64, facts: &SourceFacts) -> String {
    match count {
        0 => "–".to_owned(),
        count => percent(count as f64 / facts.answers.count() as f64),
    }
}
