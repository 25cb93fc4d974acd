//! A run as one self-contained HTML page (no network requests).

mod compare;
mod exam;
mod facts;
mod plot;

use maud::{Markup, html};
use medley_mixture::Ledger;

use crate::page::{Page, composition, footer, left_out};
use crate::runs::curve::run_charts;
use crate::runs::overview::{RunOverview, RunStatus};
use crate::runs::record::RunRecord;
use crate::words::{date, grouped, short, significant, span};

pub use compare::comparison_page;

/// Options of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageOptions {
    /// Seconds after which the page reloads itself, while a process works on the run.
    pub refresh: Option<u32>,
    /// Seconds since 1970 at which it is written.
    pub now: u64,
}

/// The page of a run.
pub fn run_page(record: &RunRecord, options: PageOptions) -> String {
    let run = &record.overview;
    let sources = record.sources();
    let charts = run_charts(&record.curves, &sources, &run.resumed);
    let body = html! {
        (header(record, options))
        (tiles(record))
        section {
            h2 { "Curves" }
            @if charts.is_empty() { p.quiet { "No metrics yet." } } @else { (plot::charts(&charts, "step")) }
        }
        @if let Some(ledger) = &record.ledger { (mix(record, ledger, &sources)) }
        @if let Some(report) = &record.exam { (exam::section(record, report)) }
        (facts::section(record))
        (footer(options.now, Some(&run.path)))
        (plot::steps_data(&record.curves))
    };
    let refresh = options.refresh.filter(|_| run.status.is_active());
    Page { title: &run.name, refresh, body, script: Some(plot::SCRIPT) }.html()
}

fn header(record: &RunRecord, options: PageOptions) -> Markup {
    let run = &record.overview;
    let error = record.error.as_deref().filter(|_| run.status == RunStatus::Failed);
    html! {
        header {
            h1 { (run.name) }
            span class={ "status " (run.status) } { (run.status) }
            p.quiet { (summary(run)) }
        }
        (progress(run))
        @if run.status.is_active() {
            p.quiet {
                "The run is in progress: this page shows it as of " (date(options.now))
                @if let Some(seconds) = options.refresh { "; it reloads every " (seconds) " s" }
                "."
            }
        }
        @if let Some(error) = error { div.banner.failed { b { "Failed" } pre { (error) } } }
        @if let Some(hint) = &run.hint { div.banner { b { "Continue with" } pre { (hint) } } }
        @for note in &record.notes { div.banner { b { "Note" } pre { (note) } } }
    }
}

/// `full · base · 9:1 (general:medical) · 2,000 samples · cpu (2 threads)`.
fn summary(run: &RunOverview) -> String {
    let parts = [
        run.method.clone(),
        run.base.as_deref().map(|base| base.trim_end_matches('/').rsplit('/').next().unwrap_or(base).to_owned()),
        run.ratio.clone().filter(|ratio| ratio.contains(':')),
        run.size.map(|size| format!("{} samples", grouped(size))),
        Some(run.device.split(':').next().unwrap_or_default().to_owned()).filter(|device| !device.is_empty()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn progress(run: &RunOverview) -> Markup {
    let Some(total) = run.total_steps else { return html! {} };
    let share = 100.0 * run.step as f64 / total as f64;
    html! {
        div.progress role="progressbar" aria-valuenow=(run.step) aria-valuemax=(total) {
            i style=(format!("width:{share:.1}%")) {}
        }
        p.quiet {
            "step " (run.step) " of " (grouped(total as u64))
            @if let Some(seconds) = run.seconds_left { ", " (span(seconds)) " left" }
        }
    }
}

fn mix(record: &RunRecord, ledger: &Ledger, sources: &[String]) -> Markup {
    html! {
        section {
            h2 { "Mix" }
            (composition::bars(ledger, sources))
            @if let Some(manifest) = &record.manifest { (composition::tree(&manifest.spec, ledger, sources)) }
            (composition::table(ledger))
            @if let Some(reasons) = left_out::reasons(ledger) { (reasons) }
            @if let Some(duplicates) = left_out::duplicates(ledger) { (duplicates) }
        }
    }
}

/// Key figures.
fn tiles(record: &RunRecord) -> Markup {
    let (run, curves) = (&record.overview, &record.curves);
    let mut tiles = Vec::new();
    if let (Some(first), Some(last)) = (curves.train.first(), curves.train.last()) {
        tiles.push(("Training loss", significant(last.loss, 4), format!("from {}", significant(first.loss, 4))));
    }
    let finite = curves.validation.iter().filter(|line| line.loss.is_finite());
    if let (Some(last), Some(best)) = (curves.validation.last(), finite.min_by(|a, b| a.loss.total_cmp(&b.loss))) {
        let best = match best.step == last.step {
            true => "the best so far".to_owned(),
            false => format!("best {} at step {}", significant(best.loss, 4), grouped(best.step as u64)),
        };
        tiles.push(("Validation loss", significant(last.loss, 4), best));
    }
    if let Some(exam) = &run.exam {
        let interval = format!("95 % interval {:.1} to {:.1}", 100.0 * exam.low, 100.0 * exam.high);
        tiles.push(("Exam, open book", format!("{:.1} %", 100.0 * exam.value), interval));
    }
    tiles.extend(exam::gain_tile(&record.gains));
    if let Some(last) = curves.train.last() {
        let seconds = span(last.seconds);
        tiles.push(("Training time", seconds, format!("{} tokens", short(last.tokens as f64))));
        let mean = short(last.tokens as f64 / last.seconds.max(1e-9));
        tiles.push(("Tokens per second", mean, format!("{} at the end", short(last.tokens_per_second))));
    }
    let memory = curves.train.iter().map(|line| line.memory_bytes).max().unwrap_or(0);
    if memory > 0 {
        tiles.push(("Memory", crate::words::bytes(memory), "highest resident".to_owned()));
    }
    crate::page::tiles(&tiles)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
