//! The command line of Medley: arguments, progress, and the steps of a run in order.
//!
//! Standard output is for data (tables, JSON, generated text); everything else goes to standard error and to the run's
//! `log.txt`.

#[macro_use]
mod output;

mod base;
mod card;
mod card_exam;
mod chat;
mod choice;
mod commands;
mod encode;
mod errors;
mod exam;
mod exam_after;
mod exam_check;
mod foreign_run;
mod hub_bars;
mod inference_plan;
mod logging;
mod mix;
mod mix_summary;
mod models;
mod named_run;
mod out_of_memory;
mod plan;
mod plan_table;
mod preview;
mod preview_exam;
mod progress;
mod recipe;
mod report;
mod runs;
mod runs_chart;
mod runs_compare;
mod runs_show;
mod screen;
mod selftest;
mod stop;
mod train;
mod train_progress;

use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

/// Which mixture of general and medical data should a language model be fine-tuned on?
#[derive(Parser)]
#[command(name = "medley", version, max_term_width = 110, arg_required_else_help = true)]
struct Medley {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// `train`: the same as `medley train`.
#[derive(Parser)]
#[command(name = "train", version, max_term_width = 110)]
struct Train {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    args: train::TrainArgs,
}

#[derive(Args)]
struct Global {
    /// More output: -v for the decisions of each stage, -vv for debug output (RUST_LOG overrides)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    /// Run a recipe: mix its data, fine-tune the model, sit the exam
    Train(Box<train::TrainArgs>),
    /// Mix the data of a recipe at its exact ratio and size
    Mix(Box<mix::MixArgs>),
    /// Plan a recipe's training: memory by part, steps, operations, disk
    Plan(plan::PlanArgs),
    /// Show samples as the model sees them: prompt, supervised, cut
    Preview(preview::PreviewArgs),
    /// Show, list and describe recipes
    Recipe(recipe::RecipeArgs),
    /// Chat with a model
    Chat(chat::ChatArgs),
    /// Examine a model with multiple-choice questions, open-book and closed-book
    Exam(Box<exam::ExamArgs>),
    /// Tabulate runs as the paper's Table 4 or 5
    Report(report::ReportArgs),
    /// Check a device's operations for correctness, and measure its matrix products
    Selftest(selftest::SelftestArgs),
    /// List runs with their status; show or compare them, in the terminal and as a page
    Runs(runs::RunsArgs),
    /// Write a completion script for a shell
    Completions(commands::CompletionsArgs),
    /// Write manual pages
    Man(commands::ManArgs),
}

/// Runs `medley` with the process's arguments.
pub fn medley() -> ExitCode {
    prepare_streams();
    let Medley { global, command } = parsed(commands::definition());
    if command.leaves_its_result_on_disk() {
        output::outlive_the_reader();
    }
    let trouble = if let Command::Mix(args) = &command { args.trouble() } else { 1 };
    let is_training = matches!(command, Command::Train(_));
    let code = run(&global, trouble, || done(command));
    if is_training { code } else { output::judged(code) }
}

/// Runs `train` with the process's arguments.
pub fn train() -> ExitCode {
    prepare_streams();
    let Train { global, args } = parsed(Train::command());
    output::outlive_the_reader();
    run(&global, 1, || done(Command::Train(Box::new(args))))
}

/// Signals and colours, before anything is printed.
fn prepare_streams() {
    output::end_with_the_reader();
    screen::choose_colours();
    errors::follow_colours();
}

/// The process's arguments. Help and errors go through [`output`], because errors quote the arguments.
fn parsed<T: FromArgMatches>(definition: clap::Command) -> T {
    let matches = definition.try_get_matches();
    matches.and_then(|matches| T::from_arg_matches(&matches)).unwrap_or_else(|error| {
        let colours = if error.use_stderr() { console::colors_enabled_stderr() } else { console::colors_enabled() };
        let text = if colours { error.render().ansi().to_string() } else { error.render().to_string() };
        if error.use_stderr() {
            eprint!("{text}");
        } else {
            print!("{text}");
        }
        std::process::exit(error.exit_code())
    })
}

impl Command {
    /// Whether it reads data or weights, in parallel.
    fn computes(&self) -> bool {
        match self {
            Self::Mix(_) | Self::Train(_) | Self::Plan(_) | Self::Preview(_) => true,
            Self::Chat(_) | Self::Exam(_) | Self::Selftest(_) => true,
            Self::Recipe(_) | Self::Report(_) | Self::Runs(_) | Self::Completions(_) | Self::Man(_) => false,
        }
    }

    /// Such commands continue without their terminal; others end when the reader of their output does.
    fn leaves_its_result_on_disk(&self) -> bool {
        match self {
            Self::Train(_) | Self::Exam(_) => true,
            Self::Mix(args) => args.writes_a_mix(),
            _ => false,
        }
    }
}

fn done(command: Command) -> miette::Result<ExitCode> {
    if command.computes() {
        start_threads()?;
    }
    match command {
        Command::Mix(args) => return mix::run(&args),
        Command::Train(args) => train::run(*args),
        Command::Plan(args) => plan::run(args),
        Command::Preview(args) => preview::run(args),
        Command::Recipe(args) => recipe::run(args),
        Command::Chat(args) => chat::run(args),
        Command::Exam(args) => exam::run(*args),
        Command::Report(args) => report::run(args),
        Command::Selftest(args) => selftest::run(args),
        Command::Runs(args) => runs::run(args),
        Command::Completions(args) => commands::completions(&args),
        Command::Man(args) => commands::man(&args),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a command; an error is printed to standard error and ends the process with status `trouble`.
fn run(global: &Global, trouble: u8, command: impl FnOnce() -> miette::Result<ExitCode>) -> ExitCode {
    out_of_memory::end_with_a_message();
    quiet_drivers();
    logging::start(global.verbose);
    match command() {
        Ok(code) => {
            stop::end_if_requested();
            code
        }
        Err(report) => {
            tracing::debug!("failed: {report:?}");
            eprintln!("{:?}", errors::shown(&report));
            ExitCode::from(trouble)
        }
    }
}

/// Starts rayon's global pool, which panics on first use where it cannot start its threads.
fn start_threads() -> miette::Result<()> {
    use std::error::Error;
    match rayon::ThreadPoolBuilder::new().build_global() {
        // Only a failure to start threads has a source.
        Err(error) if error.source().is_some() => Err(miette::miette!(
            help = "raise the limit on memory or processes, or lower the number of threads with RAYON_NUM_THREADS",
            "cannot start threads: {error}"
        )),
        _ => Ok(()),
    }
}

/// Sets `XDG_RUNTIME_DIR` if no session has: without it Mesa's Vulkan drivers print a warning at every probe.
fn quiet_drivers() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the process has just started and has one thread.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}
