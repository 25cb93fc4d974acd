//! `medley train`: a recipe from its data to an exam score.

use std::path::{Path, PathBuf};
use std::time::Duration;

use burn::tensor::DType;
use console::style;
use indicatif::HumanDuration;
use medley_chat::ChatTokenizer;
use medley_files::WithHelp as _;
use medley_mixer::Mix;
use medley_mixer::lineage::Lock;
use medley_mixture::TrainingOrder;
use medley_model::{DeviceKind, DeviceRequest, RunDevice, device};
use medley_recipe::{DtypeSpec, Resolved, TrainResult, TrainSpec};
use medley_run::{RunDir, RunState, Status};
use medley_trainer::{Card, Identity, Sample, TrainInput, TrainOutcome};
use miette::{IntoDiagnostic, miette};

use crate::base::{FoundBase, find_base};
use crate::card::card;
use crate::choice::RecipeChoice;
use crate::encode::encode;
use crate::errors::report;
use crate::exam_after::{exam_after, show_exam};
use crate::exam_check::RecipeExam;
use crate::foreign_run::what_differs;
use crate::logging;
use crate::mix::mix_recipe;
use crate::mix_summary::say_ledger;
use crate::named_run;
use crate::plan;
use crate::progress::{say, tell};
use crate::screen::shown;
use crate::stop;
use crate::train_progress::TrainProgress;

/// Arguments of `medley train`.
#[derive(clap::Args)]
pub struct TrainArgs {
    #[command(flatten)]
    recipe: RecipeChoice,
    /// The run's folder [default: checkpoints/<name>-<hash>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// auto, cuda, wgpu or cpu
    #[arg(long, default_value = "auto")]
    device: DeviceRequest,
    /// Resume from the run's last valid checkpoint; without one, train from the start
    #[arg(long)]
    resume: bool,
    /// Sit only the trained model, not the base, down to the exam
    #[arg(long)]
    skip_base_exam: bool,
    /// Memory that training may take, such as 8GiB [default: this machine's, or its control group's]
    #[arg(long, value_name = "SIZE", value_parser = plan::parse_bytes)]
    budget: Option<usize>,
    /// Refuse sources that are not those of this manifest (or of the mix or run in this folder)
    #[arg(long, value_name = "MANIFEST")]
    locked: Option<PathBuf>,
    /// Train although the plan says that memory or disk is not enough
    #[arg(long)]
    ignore_plan: bool,
}

impl TrainArgs {
    /// Arguments to repeat when the run is continued, besides recipe, folder, device and `--resume`.
    fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        flags.extend(self.skip_base_exam.then(|| "--skip-base-exam".to_owned()));
        flags.extend(self.ignore_plan.then(|| "--ignore-plan".to_owned()));
        if let Some(bytes) = self.budget {
            flags.extend(["--budget".to_owned(), format!("{bytes}B")]);
        }
        if let Some(locked) = &self.locked {
            let locked = std::path::absolute(locked).unwrap_or_else(|_| locked.clone());
            flags.extend(["--locked".to_owned(), locked.display().to_string()]);
        }
        flags
    }
}

/// Everything that is prepared before training.
struct Prepared {
    resolved: Resolved,
    device: RunDevice,
    dtype: DType,
    base: FoundBase,
    tokenizer: ChatTokenizer,
    exam: RecipeExam,
    mix: Mix,
    card: Card,
    order: TrainingOrder,
    train: Vec<Sample>,
    validation: Vec<Sample>,
    identity: Identity,
    train_hash: String,
}

/// Mixes, trains, examines.
pub fn run(args: TrainArgs) -> miette::Result<()> {
    stop::watch()?;
    let prepared = prepare(&args)?;
    let recipe = &prepared.resolved.recipe;
    let root =
        args.out.clone().unwrap_or_else(|| PathBuf::from("checkpoints").join(recipe.run_name(&prepared.train_hash)));
    let spec = planned(&args, &prepared, &root)?;
    let run_dir = RunDir::open(&root).map_err(report)?;
    let before = known_state(&run_dir, &prepared)?;
    logging::log_to(&run_dir.log());
    tell("run", shown(&root));
    if before.as_ref().is_some_and(|state| state.status == Status::Complete) {
        say("this run is complete; its report follows (to train again, change --out or the seed)");
        return show_exam(&run_dir);
    }
    let state = begin(&args, &run_dir, &prepared, before)?;
    let result = train_and_examine(&args, &prepared, &spec, &run_dir, &state);
    if let Err(error) = &result {
        let latest = run_dir.state().unwrap_or(state);
        // `trained` is kept: after a failed exam, continuing the run repeats only the exam.
        let failed = RunState { error: Some(error.with_help()), ..latest.with_status(Status::Failed) };
        // A state that cannot be written, as on a full disk, must not hide the error.
        let _ = run_dir.write_state(&failed);
    }
    result
}

fn prepare(args: &TrainArgs) -> miette::Result<Prepared> {
    let mut resolved = args.recipe.load()?;
    let lock = args.locked.as_deref().map(named_run::mix_or_run).transpose()?;
    let lock = lock.as_deref().map(Lock::read).transpose().map_err(report)?;
    if let Some(lock) = &lock {
        lock.pin(&mut resolved.recipe.mix);
    }
    let recipe = &resolved.recipe;
    tell("recipe", format!("{} ({})", recipe.name, args.recipe.name));
    let device = device::select(args.device).map_err(report)?;
    let dtype = device.dtype(requested(recipe.model.dtype)).map_err(report)?;
    tell("device", device_line(&device, args.device));
    let base = find_base(&resolved)?;
    let tokenizer = ChatTokenizer::from_dir(&base.tokenizer).map_err(report)?.with_system(recipe.chat.system.clone());
    let context = base.base.config().map_err(report)?.max_position_embeddings;
    let exam = RecipeExam::checked(&resolved, &tokenizer, context)?;
    let mut mix = mix_recipe(&resolved, &tokenizer, &exam.papers)?;
    lock.map_or(Ok(()), |lock| lock.check(mix.manifest())).map_err(report)?;
    let (train, validation) = encode(&mut mix, &tokenizer, &recipe.chat)?;
    say_ledger(&mix.ledger);
    let card = card(recipe, &base.base, &mix);
    // Training needs the encoded samples alone.
    mix.release_samples();
    let order = TrainingOrder::of(&recipe.mix).map_err(report)?;
    let template = medley_run::hash_files(tokenizer.files()).into_diagnostic()?;
    let train_hash = recipe.train_hash(&mix.manifest().mix_hash, &base.hash, &template);
    let identity =
        Identity { data: mix.manifest().mix_hash.clone(), weights: base.hash.clone(), recipe: train_hash.clone() };
    Ok(Prepared {
        device,
        dtype,
        base,
        tokenizer,
        exam,
        mix,
        card,
        order,
        train,
        validation,
        identity,
        train_hash,
        resolved,
    })
}

/// The device, with a note where it is slower than expected; the log has the full reason.
fn device_line(device: &RunDevice, request: DeviceRequest) -> String {
    tracing::info!("device {device}");
    let note = match (request, device.kind) {
        (DeviceRequest::Auto, DeviceKind::Cpu) => ": no GPU that can be used was found (-v says why)",
        _ if device.why.contains("software rasteriser") => ": a software rasteriser, slower than --device cpu",
        _ => "",
    };
    format!("{}{note}", device.short())
}

fn model_line(outcome: &TrainOutcome, spec: &TrainSpec) -> String {
    let early = if outcome.stopped_early { ", stopped early" } else { "" };
    let validation = match spec.result {
        TrainResult::Last => outcome.validation,
        TrainResult::Best => outcome.best_validation,
    };
    let validation = validation.map_or(String::new(), |(_, loss)| format!(", validation loss {loss:.4}"));
    let time = HumanDuration(Duration::from_secs_f64(outcome.seconds.max(0.0)));
    format!("{} ({} steps{early}, {time}{validation})", shown(&outcome.model), outcome.step)
}

/// The number format that a recipe asks for; `None` leaves it to the device.
pub fn requested(dtype: DtypeSpec) -> Option<DType> {
    match dtype {
        DtypeSpec::Auto => None,
        DtypeSpec::F32 => Some(DType::F32),
        DtypeSpec::Bf16 => Some(DType::BF16),
    }
}

/// State of the same run that an earlier process left in the folder.
fn known_state(run_dir: &RunDir, prepared: &Prepared) -> miette::Result<Option<RunState>> {
    let Ok(state) = run_dir.state() else { return Ok(None) };
    if state.train_hash == prepared.train_hash {
        return Ok(Some(state));
    }
    Err(miette!(
        help = "choose another folder with --out, or restore the recipe, data and weights that the run began with",
        "{}: contains another run ({}), made from {}",
        run_dir.root().display(),
        state.name,
        what_differs(run_dir, &prepared.resolved, &prepared.identity, &state)
    ))
}

/// The settings with the block policy resolved, after a check of memory and disk; unchanged for a trained run.
fn planned(args: &TrainArgs, prepared: &Prepared, root: &Path) -> miette::Result<TrainSpec> {
    let spec = &prepared.resolved.recipe.train;
    let earlier = RunDir::view(root).and_then(|run| run.state());
    if earlier.is_ok_and(|state| state.is_trained()) {
        return Ok(spec.clone());
    }
    plan::check(&plan::Start {
        spec,
        base: &prepared.base.base,
        config: &prepared.base.base.config().map_err(report)?,
        dtype: prepared.dtype,
        device: prepared.device.kind,
        samples: &prepared.train,
        order: &prepared.order,
        validation: &prepared.validation,
        root,
        budget: args.budget,
        ignore_plan: args.ignore_plan,
    })
}

/// Writes recipe, summary of the mix, and state, before training.
fn begin(
    args: &TrainArgs,
    run_dir: &RunDir,
    prepared: &Prepared,
    before: Option<RunState>,
) -> miette::Result<RunState> {
    let toml = prepared.resolved.to_toml();
    medley_run::atomic::write_file(&run_dir.recipe(), toml.as_bytes()).into_diagnostic()?;
    prepared.mix.write_summary(&run_dir.mix()).map_err(report)?;
    let fresh = RunState::new(&prepared.resolved.recipe.name, &prepared.train_hash);
    let state = RunState {
        device: prepared.device.to_string(),
        error: None,
        data_hash: prepared.identity.data.clone(),
        weights_hash: prepared.identity.weights.clone(),
        flags: args.flags(),
        ..before.unwrap_or(fresh)
    };
    let status = if state.is_trained() { Status::Trained } else { Status::Training };
    let state = state.with_status(status);
    run_dir.write_state(&state).map_err(report)?;
    Ok(state)
}

fn train_and_examine(
    args: &TrainArgs,
    prepared: &Prepared,
    spec: &TrainSpec,
    run_dir: &RunDir,
    state: &RunState,
) -> miette::Result<()> {
    let mut state = state.clone();
    if !state.is_trained() {
        let outcome = train(args, prepared, spec, run_dir)?;
        state = run_dir.state().map_err(report)?;
        state.step = outcome.step;
        // A run that stopped early has no steps left.
        state.total_steps = if outcome.stopped_early { outcome.step } else { outcome.total_steps };
        let status = if outcome.finished { Status::Trained } else { Status::Stopped };
        state = state.with_status(status);
        run_dir.write_state(&state).map_err(report)?;
        if !outcome.finished {
            let stopped = style("stopped").yellow().for_stderr();
            tell(
                "run",
                format!("{stopped} at step {} of {}; continue with --resume", outcome.step, outcome.total_steps),
            );
            return Ok(());
        }
        tell("model", model_line(&outcome, spec));
    }
    // Only after `run.json` states that the model is written: a run killed before continues from a checkpoint.
    medley_trainer::keep_checkpoints(run_dir, spec.keep, &prepared.identity).map_err(report)?;
    let recipe = &prepared.resolved.recipe;
    if !recipe.exam.papers.is_empty() && stop::requested() {
        let stopped = style("stopped").yellow().for_stderr();
        tell("run", format!("{stopped} before the exam; continue with --resume"));
        return Ok(());
    }
    if !recipe.exam.papers.is_empty() {
        let Prepared { resolved, exam, base, device, dtype, .. } = prepared;
        exam_after(resolved, exam, base, device, *dtype, run_dir, args.skip_base_exam)?;
    }
    run_dir.write_state(&state.with_status(Status::Complete)).map_err(report)?;
    let root = shown(run_dir.root());
    tell("run", format!("{}; `medley runs show {root}` shows its curves", style("complete").green().for_stderr()));
    show_exam(run_dir)
}

fn train(args: &TrainArgs, prepared: &Prepared, spec: &TrainSpec, run_dir: &RunDir) -> miette::Result<TrainOutcome> {
    let input = TrainInput {
        spec,
        base: prepared.base.base.clone(),
        tokenizer: &prepared.base.tokenizer,
        device: &prepared.device.device,
        dtype: prepared.dtype,
        run_dir,
        samples: &prepared.train,
        order: &prepared.order,
        validation: &prepared.validation,
        end_of_turn: prepared.tokenizer.end_of_turn(),
        end_of_turn_text: end_of_turn_text(&prepared.tokenizer),
        tokenizer_tokens: prepared.tokenizer.vocab_size(),
        identity: prepared.identity.clone(),
        resume: args.resume,
        card: prepared.card.clone(),
    };
    let progress = TrainProgress::new(run_dir);
    let outcome = stop::with_a_checkpoint(|| medley_trainer::train(&input, &progress)).map_err(report);
    progress.finish();
    outcome
}

/// Text of the token that ends an assistant's turn, if encoding it gives the token again.
fn end_of_turn_text(tokenizer: &ChatTokenizer) -> Option<String> {
    let id = *tokenizer.end_of_turn().first()?;
    let text = tokenizer.decode_with_special_tokens(&[id]);
    let read = tokenizer.encode(&text).ok()?;
    (read == [id]).then_some(text)
}
