//! `medley runs show`: a run in the terminal and as an HTML page.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::{Args, ValueEnum};
use console::Term;
use medley_run::{atomic, seconds_since_1970};
use medley_view::runs::curve::run_charts;
use medley_view::runs::{
    PageOptions, RunRecord, continuation_text, mix_text, plain, plain_lines, run_page, short, span,
};
use medley_view::{TextStyle, Tone, exam_table_within, gain_title, paired_note, wrapped};
use miette::{Result, miette};

use crate::errors::report;
use crate::progress::say;
use crate::screen::{relative, style};
use crate::{named_run, runs_chart};

/// Arguments of `medley runs show`.
#[derive(Args)]
pub struct ShowArgs {
    /// The run: its folder, its name, its hash, or a unique prefix of one of these
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Output file of the page [default: report.html in the run's folder]
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Rewrite the page every few seconds, and let it reload itself, until the run ends
    #[arg(long)]
    watch: bool,
    /// Open the page in the browser
    #[arg(long, value_name = "yes|no", num_args = 0..=1, default_value = "no", default_missing_value = "yes", hide_possible_values = true, hide_default_value = true)]
    open: Open,
}

/// Whether the page is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Open {
    Yes,
    No,
}

/// Seconds between two readings of a run in progress.
const PAUSE: u32 = 3;

/// Runs `medley runs show`.
pub fn run(args: &ShowArgs) -> Result<()> {
    let folder = named_run::run(&args.run)?;
    let page = args.html.clone().unwrap_or_else(|| folder.join("report.html"));
    if args.html.is_none() {
        crate::mix::check_own_page(&folder)?;
    }
    let screen = Term::stdout();
    let mut record = RunRecord::read(&folder).map_err(report)?;
    let mut watching = args.watch && record.overview.status.is_active();
    write_page(&record, &page, watching)?;
    if args.open == Open::Yes {
        open(&page);
    }
    if watching {
        say(format!(
            "page     {} (rewritten every {PAUSE} s until the run ends; Ctrl-C ends the watch)",
            relative(&page).display()
        ));
    }
    while watching {
        if screen.is_term() {
            // A screen that cannot be cleared only scrolls.
            let _ = screen.clear_screen();
            print!("{}", terminal(&record, style()));
        }
        std::thread::sleep(Duration::from_secs(u64::from(PAUSE)));
        record = RunRecord::read(&folder).map_err(report)?;
        watching = record.overview.status.is_active();
        write_page(&record, &page, watching)?;
    }
    if args.watch && screen.is_term() {
        let _ = screen.clear_screen();
    }
    print!("{}", terminal(&record, style()));
    say(format!("page     {}", relative(&page).display()));
    Ok(())
}

fn write_page(record: &RunRecord, path: &Path, watching: bool) -> Result<()> {
    let options = PageOptions { refresh: watching.then_some(PAUSE), now: seconds_since_1970() };
    atomic::write_file(path, run_page(record, options).as_bytes())
        .map_err(|error| miette!(help = "choose another place with --html FILE", "the page cannot be written: {error}"))
}

/// Opens the page in the desktop's browser.
fn open(page: &Path) {
    let program: &[&str] = match std::env::consts::OS {
        "macos" => &["open"],
        "windows" => &["cmd", "/c", "start", ""],
        _ => &["xdg-open"],
    };
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        say(format!("note: no browser could be started ({}: {error}); open {} in one", program[0], page.display()));
    }
}

/// The run as text: state, curves, mix, exam.
fn terminal(record: &RunRecord, style: TextStyle) -> String {
    let mut text = heading(record, style);
    let charts = run_charts(&record.curves, &record.sources(), &record.overview.resumed);
    text += &runs_chart::draw(&charts, "step", style.width);
    if let Some(ledger) = &record.ledger {
        text += &format!("{}\n", mix_text(ledger, style));
    }
    if let Some(exam) = &record.exam {
        let base = record.base_exam.as_ref().map(|base| ("base", base));
        let columns: Vec<_> = base.into_iter().chain([("fine-tuned", exam)]).collect();
        text += &exam_table_within(&columns, style.width);
        for (book, paired) in &record.gains {
            text += &wrapped(&paired_note(&gain_title(*book), &paired.average), style.width, 2);
        }
    }
    text
}

fn heading(record: &RunRecord, style: TextStyle) -> String {
    let run = &record.overview;
    let status = style.paint(&run.status.to_string(), run.status.tone());
    let mut text = format!("{}  {status}  {}\n", style.paint(&plain(&run.name), Tone::Bold), plain(&run.path));
    let parts = [run.method.clone(), run.ratio.clone(), run.size.map(|size| format!("{size} samples"))];
    let device = run.device.split(':').next().unwrap_or_default().to_owned();
    let parts: Vec<String> = parts.into_iter().flatten().chain([device]).filter(|part| !part.is_empty()).collect();
    let mut line = |words: &str, indent: usize| text += &format!("{}\n", wrapped(words, style.width, indent));
    line(&plain(&parts.join(" · ")), 0);
    line(&progress(record), 0);
    if let Some(error) = record.error.as_ref().filter(|_| run.error.is_some()) {
        line(&format!("failed: {}", plain_lines(error)), 2);
    }
    record.notes.iter().for_each(|note| line(&format!("note: {}", plain_lines(note)), 2));
    text += &continuation_text(run, "", style);
    text.push('\n');
    text
}

/// `step 40 of 357, 61.2k tokens in 34s, 4m10s left, resumed from step 20`.
fn progress(record: &RunRecord) -> String {
    let run = &record.overview;
    let mut progress = match run.total_steps {
        Some(total) => format!("step {} of {total}", run.step),
        None => format!("step {}", run.step),
    };
    if let Some(line) = record.curves.train.last() {
        progress += &format!(", {} tokens in {}", short(line.tokens as f64), span(line.seconds));
    }
    if let Some(left) = run.seconds_left {
        progress += &format!(", {} left", span(left));
    }
    for resumed in &run.resumed {
        progress += &format!(", resumed from step {}", resumed.step);
    }
    progress
}
