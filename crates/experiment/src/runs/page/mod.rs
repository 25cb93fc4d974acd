//! A run as one self-contained HTML page: everything is in the file, and nothing outside it is asked for.

mod compare;
mod exam;
mod facts;
mod mix;
mod plot;

use std::fmt::Write as _;

use crate::runs::curve::run_charts;
use crate::runs::overview::{RunOverview, RunStatus};
use crate::runs::record::RunRecord;
use crate::runs::words::{date, grouped, short, significant, span};

pub use compare::comparison_page;

/// How a page is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageOptions {
    /// Seconds after which the page loads itself again, as long as a process works on the run.
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
    body += &mix::section(record, &sources);
    body += &exam::section(record);
    body += &facts::section(record);
    let _ = write!(
        body,
        "<footer>Written by Medley {} on {}, from <code>{}</code> alone.</footer>",
        env!("CARGO_PKG_VERSION"),
        date(options.now),
        escape(&run.path)
    );
    let refresh = options.refresh.filter(|_| run.status.goes_on());
    document(&run.name, refresh, &plot::steps_data(&record.curves), &body)
}

/// The page around `body`. Its policy forbids every request, should a text have found a way through [`escape`].
fn document(title: &str, refresh: Option<u32>, data: &str, body: &str) -> String {
    let refresh = refresh.map(|seconds| format!("<meta http-equiv=refresh content={seconds}>")).unwrap_or_default();
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>{refresh}\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'; script-src \
         'unsafe-inline'; img-src data:\">\
         <meta name=viewport content=\"width=device-width,initial-scale=1\"><meta name=color-scheme content=\"light dark\">\
         <link rel=icon href=\"data:,\"><title>{} · Medley</title>\n<style>{}</style></head>\n<body>\n{body}\n{data}\
         <script>{}</script>\n</body></html>\n",
        escape(title),
        include_str!("style.css"),
        include_str!("script.js")
    )
}

/// Text as HTML shows it.
fn escape(text: &str) -> String {
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
        run.size.map(|size| format!("{} samples", grouped(size as i64))),
        Some(run.device.split(':').next().unwrap_or_default().to_owned()).filter(|device| !device.is_empty()),
    ];
    let mix: Vec<String> = mix.into_iter().flatten().map(|text| escape(&text)).collect();
    let _ = write!(html, "<p class=quiet>{}</p></header>", mix.join(" · "));
    html += &progress(run);
    if run.status.goes_on() {
        let how =
            options.refresh.map(|seconds| format!("; it loads itself again every {seconds} s")).unwrap_or_default();
        let _ =
            write!(html, "<p class=quiet>The run goes on: this page shows it as of {}{how}.</p>", date(options.now));
    }
    if let Some(error) = record.error.as_deref().filter(|_| run.status == RunStatus::Failed) {
        let _ = write!(html, "<div class=\"banner failed\"><b>Failed</b><pre>{}</pre></div>", escape(error));
    }
    if let Some(hint) = &run.hint {
        let _ = write!(html, "<div class=banner><b>To go on</b><pre>{}</pre></div>", escape(hint));
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
        grouped(run.step as i64),
        grouped(total as i64)
    )
}

/// The numbers that a reader looks for first.
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
            false => format!("best {} at step {}", significant(best.loss, 4), grouped(best.step as i64)),
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
        tiles.push(("Memory", crate::runs::words::bytes(memory), "highest resident".to_owned()));
    }
    let tile = |(name, value, note): &(&str, String, String)| {
        format!("<div class=tile><span>{name}</span><b>{}</b><small>{}</small></div>", escape(value), escape(note))
    };
    format!("<div class=tiles>{}</div>", tiles.iter().map(tile).collect::<String>())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
