//! `medley exam`: an exam of any model.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use medley_chat::ChatTokenizer;
use medley_eval::{EvalError, ExamReport, ModelSolver, Papers, PromptTemplate, Sitting, check_exam, fit_context, sit};
use medley_mixture::{Columns, SourcePart};
use medley_model::{DeviceRequest, OpenedModel};
use medley_recipe::{AnswerForm, Book, ExamSpec, hash8};
use medley_run::RunDir;
use medley_run::report::PaperInput;
use medley_view::exam_table;
use miette::{IntoDiagnostic, Result, miette};

use crate::card_exam::put_exam;
use crate::errors::report;
use crate::exam_check::read_papers;
use crate::inference_plan::Answering;
use crate::logging;
use crate::models::{FoundModel, find_model, model_hash};
use crate::named_run::is_hub_id;
use crate::progress::{self, tell};
use crate::screen::shown;

/// Arguments of `medley exam`.
#[derive(Args)]
pub struct ExamArgs {
    /// A model directory in Hugging Face layout, a PEFT adapter, a run (folder, name or hash), or a hub model (owner/name)
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// The base model of an adapter, if it is not where adapter_config.json says
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Exam items: files, folders, globs or hub data sets (JSON, CSV, Parquet, …, as sources) [default: the recipe's]
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    papers: Vec<String>,
    /// Columns of the papers, in a recipe's notation: 'options = ["a", "b"], output = "key"'
    #[arg(long, value_name = "COLUMNS", requires = "papers", value_parser = medley_recipe::parse_columns)]
    columns: Option<Columns>,
    /// Character encoding of the papers, where it is not detected: gb18030, big5, …
    #[arg(long, value_name = "ENCODING", requires = "papers")]
    encoding: Option<String>,
    /// Take the exam's settings from this recipe [default: the run's own, where MODEL is a run]
    #[arg(long, value_name = "RECIPE")]
    recipe: Option<String>,
    /// Prompt template: zh, en or a file
    #[arg(long, value_name = "TEMPLATE")]
    prompt: Option<String>,
    /// Form of the answers
    #[arg(long, value_enum)]
    answer: Option<Answer>,
    /// With the passages, without, or both
    #[arg(long, value_enum)]
    book: Option<Books>,
    /// Items answered at a time: memory and speed only, never the result
    #[arg(long, value_name = "N", value_parser = positive)]
    batch_size: Option<usize>,
    /// Longest prompt in tokens; passages are cut first, the question never
    #[arg(long, value_name = "N", value_parser = positive)]
    max_prompt_tokens: Option<usize>,
    /// Longest answer in tokens
    #[arg(long, value_name = "N", value_parser = positive)]
    max_new_tokens: Option<usize>,
    /// auto, cuda, wgpu or cpu
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceRequest::Auto)]
    device: DeviceRequest,
    /// Output folder; a killed exam continues there [default: a run's exam/, else checkpoints/exams/…]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Control: give every question another question's passages (the score must fall to chance)
    #[arg(long)]
    shuffle_passages: bool,
    /// Largest number of items, spread over the exams
    #[arg(long, value_name = "N", value_parser = positive)]
    limit: Option<usize>,
    /// Load the model even if the memory plan says that it does not fit
    #[arg(long)]
    ignore_plan: bool,
    /// Store the full prompt of every answer in answers.jsonl
    #[arg(long)]
    keep_prompts: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Answer {
    /// The letters of the right options
    Letter,
    /// The text of the right options
    Text,
}

#[derive(Clone, Copy, ValueEnum)]
enum Books {
    /// With the passages
    Open,
    /// Without
    Closed,
    /// Once each
    Both,
}

fn positive(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected a whole number from 1".to_owned())
}

/// Runs `medley exam`.
pub fn run(args: ExamArgs) -> Result<()> {
    let found = find_model(&args.model)?;
    let settings = settings(&args, &found)?;
    let papers = read_papers(&settings.spec.papers, &settings.base_dir)?;
    say_papers(&papers);
    let template = PromptTemplate::load(&settings.spec.prompt, &settings.base_dir).map_err(report)?;
    let answering = Answering {
        batch_size: settings.spec.batch_size,
        prompt_tokens: settings.spec.max_prompt_tokens,
        new_tokens: settings.spec.max_new_tokens,
        ignore_plan: args.ignore_plan,
    };
    let loaded = found.load(args.base.as_deref(), args.device, settings.system, &answering)?;
    if args.limit.is_none() {
        let context = loaded.opened.model.config.max_position_embeddings;
        check_exam(&papers, &settings.spec, &template, &loaded.tokenizer, context).map_err(report)?;
    }
    let examined = Examined {
        name: found.name.clone(),
        hash: model_hash(&loaded.opened, &found.directory)?,
        opened: &loaded.opened,
        tokenizer: &loaded.tokenizer,
        device: loaded.device.to_string(),
    };
    let folder = args.out.clone().unwrap_or_else(|| default_folder(&args, &found, &examined));
    let asked = args.limit.map_or(papers.items.len(), |limit| limit.min(papers.items.len()));
    tell("exam", format!("{asked} items into {}", shown(&folder)));
    let options = Options { exchange_passages: args.shuffle_passages, limit: args.limit };
    let result = examine(&examined, &papers, &settings.spec, &template, options, &folder)?;
    if let Some(run) = found.run.as_ref().filter(|run| run.join("exam") == folder) {
        put_exam(&RunDir::view(run).map_err(report)?)?;
    }
    show(&examined.name, &result, args.json)
}

/// A loaded model with its identity.
pub struct Examined<'a> {
    /// As the user named it.
    pub name: String,
    /// Hash of its files.
    pub hash: String,
    /// The weights.
    pub opened: &'a OpenedModel,
    /// Its tokenizer, with the recipe's system message.
    pub tokenizer: &'a ChatTokenizer,
    /// Description of the device.
    pub device: String,
}

/// Deviations from a recipe's exam.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// The control with exchanged passages.
    pub exchange_passages: bool,
    /// Largest number of items.
    pub limit: Option<usize>,
}

/// Runs an exam with a progress bar; answers that are already in `folder` are kept.
///
/// # Errors
/// As [`sit`], and a model whose context has no room for an answer.
pub fn examine(
    examined: &Examined,
    papers: &Papers,
    spec: &ExamSpec,
    template: &PromptTemplate,
    options: Options,
    folder: &Path,
) -> Result<ExamReport> {
    let context = examined.opened.model.config.max_position_embeddings;
    let no_room = || report(EvalError::NoRoom { context, answer: spec.max_new_tokens });
    let fitted = fit_context(spec, context).ok_or_else(no_room)?;
    let bar = progress::bar("exam", 0);
    let sitting = Sitting {
        papers,
        spec: &fitted,
        template,
        codec: examined.tokenizer,
        model: examined.name.clone(),
        model_hash: examined.hash.clone(),
        device: examined.device.clone(),
        exchange_passages: options.exchange_passages,
        limit: options.limit,
        progress: &|book, done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            bar.set_message(match book {
                Book::Open => "open book",
                Book::Closed => "closed book",
            });
        },
    };
    let result = sit(&mut ModelSolver::new(&examined.opened.model, examined.tokenizer), &sitting, folder);
    bar.finish_and_clear();
    result.map_err(report)
}

/// Prints the report as a table or as JSON.
fn show(name: &str, result: &ExamReport, json: bool) -> Result<()> {
    if json {
        println!("{}", medley_chat::escaped(&serde_json::to_string_pretty(result).into_diagnostic()?));
    } else {
        let short = name.trim_end_matches('/').rsplit('/').next().unwrap_or(name);
        print!("{}", exam_table(&[(short, result)]));
    }
    Ok(())
}

/// Prints the number of items that were read and rejected: by file with `-v` or for a single file, else in total.
pub fn say_papers(papers: &Papers) {
    let by_file = logging::is_verbose() || papers.files.len() < 2;
    let name = |file: &PaperInput| shown(Path::new(&file.path));
    if !by_file {
        let items: usize = papers.files.iter().map(|file| file.items).sum();
        let mut layouts: Vec<&str> = papers.files.iter().map(|file| file.layout.as_str()).collect();
        layouts.sort_unstable();
        layouts.dedup();
        tell("papers", format!("{items} items of {} files ({})", papers.files.len(), layouts.join(", ")));
    }
    for file in &papers.files {
        if by_file {
            tell("papers", format!("{}: {} items ({})", name(file), file.items, file.layout));
        }
        for (reason, count) in file.refused.iter().chain(&file.mended) {
            let place = if by_file { String::new() } else { format!("{}: ", name(file)) };
            tell("", format!("{place}{count}: {reason}"));
        }
    }
}

/// Settings of an exam, with the folder that their paths are relative to.
struct Settings {
    spec: ExamSpec,
    base_dir: PathBuf,
    system: Option<String>,
}

fn settings(args: &ExamArgs, found: &FoundModel) -> Result<Settings> {
    let of_run = found.run.as_ref().map(|run| run.join("recipe.toml").display().to_string());
    let mut settings = match args.recipe.clone().or(of_run) {
        Some(name) => {
            let resolved = medley_recipe::load(&name, &[] as &[&str])?;
            Settings { spec: resolved.recipe.exam, base_dir: resolved.base_dir, system: resolved.recipe.chat.system }
        }
        None => Settings { spec: bare_spec(), base_dir: PathBuf::new(), system: None },
    };
    let spec = &mut settings.spec;
    if !args.papers.is_empty() {
        let part = |pattern: &String| -> Result<SourcePart> {
            let columns = args.columns.clone().unwrap_or_default();
            let path = if is_hub_name(pattern) { pattern.clone() } else { absolute(pattern)? };
            Ok(SourcePart { path, columns, encoding: args.encoding.clone(), ..SourcePart::default() })
        };
        spec.papers = args.papers.iter().map(part).collect::<Result<_>>()?;
    }
    if spec.papers.is_empty() {
        return Err(miette!(
            help = "name files of items with --papers, or a recipe with an exam with --recipe",
            "no exam papers"
        ));
    }
    if let Some(prompt) = &args.prompt {
        spec.prompt = if matches!(prompt.as_str(), "zh" | "en") { prompt.clone() } else { absolute(prompt)? };
    }
    if let Some(answer) = args.answer {
        spec.answer = match answer {
            Answer::Letter => AnswerForm::Letter,
            Answer::Text => AnswerForm::Text,
        };
    }
    if let Some(books) = args.book {
        spec.books = match books {
            Books::Open => vec![Book::Open],
            Books::Closed => vec![Book::Closed],
            Books::Both => vec![Book::Open, Book::Closed],
        };
    }
    spec.keep_prompts |= args.keep_prompts;
    spec.batch_size = args.batch_size.unwrap_or(spec.batch_size);
    spec.max_prompt_tokens = args.max_prompt_tokens.unwrap_or(spec.max_prompt_tokens);
    spec.max_new_tokens = args.max_new_tokens.unwrap_or(spec.max_new_tokens);
    Ok(settings)
}

/// A path of the command line is relative to the working directory, not to the recipe's folder.
fn absolute(pattern: &str) -> Result<String> {
    let path = std::env::current_dir().into_diagnostic()?.join(pattern);
    Ok(path.display().to_string())
}

/// Whether papers are a data set of the hub: `owner/name`, without a local file of that name.
fn is_hub_name(pattern: &str) -> bool {
    is_hub_id(pattern) && !pattern.contains(['*', '?', '[']) && !Path::new(pattern).exists()
}

/// The exam without a recipe.
fn bare_spec() -> ExamSpec {
    ExamSpec {
        papers: Vec::new(),
        prompt: "zh".to_owned(),
        answer: AnswerForm::Letter,
        books: vec![Book::Open, Book::Closed],
        max_prompt_tokens: 4096,
        max_new_tokens: 32,
        batch_size: 16,
        keep_prompts: false,
    }
}

/// A run's own exam goes into the run; any other into a folder named by a hash of model and options, so that the same
/// command continues an exam that was killed.
fn default_folder(args: &ExamArgs, found: &FoundModel, examined: &Examined) -> PathBuf {
    let usual = args.papers.is_empty()
        && args.recipe.is_none()
        && !args.shuffle_passages
        && args.limit.is_none()
        && args.prompt.is_none()
        && args.answer.is_none()
        && args.book.is_none()
        && args.max_prompt_tokens.is_none()
        && args.max_new_tokens.is_none();
    match &found.run {
        Some(run) if usual => run.join("exam"),
        _ => {
            let asked = format!(
                "{} {:?} {:?} {:?} {:?} {:?} {:?}",
                examined.hash,
                args.papers,
                args.recipe,
                args.prompt,
                args.answer.map(|answer| matches!(answer, Answer::Text)),
                (args.shuffle_passages, args.limit),
                (args.max_prompt_tokens, args.max_new_tokens),
            );
            let columns = args.columns.as_ref().map(|columns| format!(" {columns:?}")).unwrap_or_default();
            let asked = asked + &columns;
            let hash = medley_run::hash_bytes(asked.as_bytes());
            let name = examined.name.trim_end_matches('/').rsplit('/').next().unwrap_or("model");
            Path::new("checkpoints").join("exams").join(format!("{name}-{}", hash8(&hash)))
        }
    }
}
