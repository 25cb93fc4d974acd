//! `medley runs show`: a run in the terminal and as an HTML page.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::{Args, ValueEnum};
use console::{Style, Term};
use medley_experiment::runs::curve::run_charts;
use medley_experiment::runs::{PageOptions, RunRecord, run_page, short, span};
use medley_experiment::{atomic, exam_table, seconds_since_1970};
use miette::{Result, miette};

use crate::errors::report;
use crate::progress::say;
use crate::runs_chart;

/// Arguments of `medley runs show`.
#[derive(Args)]
pub struct ShowArgs {
    /// The run's folder, or its name in checkpoints
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where the page goes [default: report.html in the run's folder]
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the page anew every few seconds, and let it load itself again, until the run ends
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

/// Seconds between two looks at a run that goes on.
const PAUSE: u32 = 3;

/// Columns where standard output is no terminal.
const WIDTH: u16 = 100;

/// Runs `medley runs show`.
pub fn run(args: &ShowArgs) -> Result<()> {
    let folder = find(&args.run)?;
    let page = args.html.clone().unwrap_or_else(|| folder.join("report.html"));
    let screen = Term::stdout();
    let mut record = RunRecord::read(&folder).map_err(report)?;
    let mut watching = args.watch && record.overview.status.goes_on();
    write_page(&record, &page, watching)?;
    if args.open == Open::Yes {
        open(&page);
    }
    if watching {
        say(format!(
            "page     {} (written anew every {PAUSE} s until the run ends; Ctrl-C ends the watch)",
            page.display()
        ));
    }
    while watching {
        if screen.is_term() {
            // A screen that cannot be cleared only scrolls.
            let _ = screen.clear_screen();
            print!("{}", terminal(&record, &screen));
        }
        std::thread::sleep(Duration::from_secs(u64::from(PAUSE)));
        record = RunRecord::read(&folder).map_err(report)?;
        watching = record.overview.status.goes_on();
        write_page(&record, &page, watching)?;
    }
    if args.watch && screen.is_term() {
        let _ = screen.clear_screen();
    }
    print!("{}", terminal(&record, &screen));
    say(format!("page     {}", page.display()));
    Ok(())
}

/// A folder as given, or of this name in `checkpoints`.
pub fn find(run: &Path) -> Result<PathBuf> {
    let named = Path::new("checkpoints").join(run);
    if run.exists() || run.is_absolute() || !named.exists() {
        let problem =
            || miette!(help = "`medley runs` lists the runs that there are", "{}: there is no such run", run.display());
        return if run.exists() { Ok(run.to_path_buf()) } else { Err(problem()) };
    }
    Ok(named)
}

fn write_page(record: &RunRecord, path: &Path, watching: bool) -> Result<()> {
    let options = PageOptions { refresh: watching.then_some(PAUSE), now: seconds_since_1970() };
    atomic::write_file(path, run_page(record, options).as_bytes())
        .map_err(|error| miette!(help = "choose another place with --html FILE", "the page cannot be written: {error}"))
}

/// Hands the page to the desktop's browser.
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

/// Columns that there are to draw in.
pub fn width(screen: &Term) -> u16 {
    if screen.is_term() { screen.size().1 } else { WIDTH }
}

/// The run as text: how it stands, its curves, its mix, its exam.
fn terminal(record: &RunRecord, screen: &Term) -> String {
    let mut text = heading(record);
    let charts = run_charts(&record.curves, &record.sources(), &record.overview.resumed);
    text += &runs_chart::draw(&charts, "step", width(screen));
    if let Some(ledger) = &record.ledger {
        text += &format!("{ledger}\n");
    }
    if let Some(exam) = &record.exam {
        let base = record.base_exam.as_ref().map(|base| ("base", base));
        let columns: Vec<_> = base.into_iter().chain([("fine-tuned", exam)]).collect();
        text += &exam_table(&columns);
    }
    text
}

fn heading(record: &RunRecord) -> String {
    let run = &record.overview;
    let bold = Style::new().bold();
    let mut text = format!("{}  {}  {}\n", bold.apply_to(&run.name), run.status, run.path);
    let parts = [run.method.clone(), run.ratio.clone(), run.size.map(|size| format!("{size} samples"))];
    let device = run.device.split(':').next().unwrap_or_default().to_owned();
    text += &parts.into_iter().flatten().chain([device]).collect::<Vec<_>>().join(" · ");
    text.push('\n');
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
    text += &format!("{progress}\n");
    if let Some(error) = record.error.as_ref().filter(|_| run.error.is_some()) {
        text += &format!("failed: {error}\n");
    }
    text += &run.hint.as_ref().map(|hint| format!("go on: {hint}\n")).unwrap_or_default();
    record.notes.iter().for_each(|note| text += &format!("note: {note}\n"));
    text.push('\n');
    text
}
