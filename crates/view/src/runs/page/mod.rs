//! A run as one self-contained HTML page (no network requests).

mod compare;
mod exam;
mod facts;
mod plot;

use std::fmt::Write as _;

use medley_mixture::Ledger;

use crate::page::{Page, composition, escape, left_out};
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
    let mut body = header(record, options);
    body += &tiles(record);
    let charts = run_charts(&record.curves, &sources, &run.resumed);
    if charts.is_empty() {
        body += "<section><h2>Curves</h2><p class=quiet>No metrics yet.</p></section>";
    } else {
        let plots: String = charts.iter().map(|chart| plot::plot(chart, "step")).collect();
        let _ = write!(body, "<section><h2>Curves</h2><div class=charts>{plots}</div></section>");
    }
    body += &record.ledger.as_ref().map(|ledger| mix(record, ledger, &sources)).unwrap_or_default();
    body += &exam::section(record);
    body += &facts::section(record);
    let _ = write!(
        body,
        "<footer>Written by Medley {} on {}, from <code>{}</code> alone.</footer>",
        env!("CARGO_PKG_VERSION"),
        date(options.now),
        escape(&run.path)
    );
    let refresh = options.refresh.filter(|_| run.status.is_active());
    let script = plot::script(&record.curves);
    Page { title: &run.name, refresh, body: &body, script: &script }.html()
}

fn header(record: &RunRecord, options: PageOptions) -> String {
    let run = &record.overview;
    let mut html = format!(
        "<header><h1>{}</h1><span class=\"status {status}\">{status}</span>",
        escape(&run.name),
        status = run.status
    );
    let mix = [
        run.method.clone(),
        run.base.as_deref().map(|base| base.trim_end_matches('/').rsplit('/').next().unwrap_or(base).to_owned()),
        run.ratio.clone().filter(|ratio| ratio.contains(':')),
        run.size.map(|size| format!("{} samples", grouped(size))),
        Some(run.device.split(':').next().unwrap_or_default().to_owned()).filter(|device| !device.is_empty()),
    ];
    let mix: Vec<String> = mix.into_iter().flatten().map(|text| escape(&text)).collect();
    let _ = write!(html, "<p class=quiet>{}</p></header>", mix.join(" · "));
    html += &progress(run);
    if run.status.is_active() {
        let how = options.refresh.map(|seconds| format!("; it reloads every {seconds} s")).unwrap_or_default();
        let _ = write!(
            html,
            "<p class=quiet>The run is in progress: this page shows it as of {}{how}.</p>",
            date(options.now)
        );
    }
    if let Some(error) = record.error.as_deref().filter(|_| run.status == RunStatus::Failed) {
        let _ = write!(html, "<div class=\"banner failed\"><b>Failed</b><pre>{}</pre></div>", escape(error));
    }
    if let Some(hint) = &run.hint {
        let _ = write!(html, "<div class=banner><b>Continue with</b><pre>{}</pre></div>", escape(hint));
    }
    for note in &record.notes {
        let _ = write!(html, "<div class=banner><b>Note</b><pre>{}</pre></div>", escape(note));
    }
    html
}

fn progress(run: &RunOverview) -> String {
    let Some(total) = run.total_steps else { return String::new() };
    let share = 100.0 * run.step as f64 / total as f64;
    let left = run.seconds_left.map(|seconds| format!(", {} left", span(seconds))).unwrap_or_default();
    format!(
        "<div class=progress role=progressbar aria-valuenow={} aria-valuemax={total}><i style=\"width:{share:.1}%\"></i></div>\
         <p class=quiet>step {} of {}{left}</p>",
        run.step,
        grouped(run.step as u64),
        grouped(total as u64)
    )
}

fn mix(record: &RunRecord, ledger: &Ledger, sources: &[String]) -> String {
    let tree = record.manifest.as_ref().map(|manifest| composition::tree(&manifest.spec, ledger, sources));
    let parts = [
        composition::bars(ledger, sources),
        tree.unwrap_or_default(),
        composition::table(ledger),
        left_out::reasons(ledger),
        left_out::duplicates(ledger),
    ];
    format!("<section><h2>Mix</h2>{}</section>", parts.concat())
}

/// Key figures.
fn tiles(record: &RunRecord) -> String {
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
