//! `medley plan`: memory, work and disk of a recipe's training, compared with this machine.

use std::path::{Path, PathBuf};

use burn::tensor::DType;
use medley_chat::ChatTokenizer;
use medley_mixture::TrainingOrder;
use medley_model::{DecoderConfig, DeviceKind, DeviceRequest, device};
use medley_recipe::TrainSpec;
use medley_trainer::metrics::resident_memory;
use medley_trainer::plan::{Budget, Plan, PlanInput, advice, readable_bytes as bytes};
use medley_trainer::{Base, Sample};
use miette::{IntoDiagnostic, miette};

use crate::base::describe_base;
use crate::choice::RecipeChoice;
use crate::encode::encode;
use crate::errors::report;
use crate::exam_check::RecipeExam;
use crate::mix::mix_recipe;
use crate::plan_table;
use crate::progress::{say, tell};
use crate::train::requested;

/// Arguments of `medley plan`.
#[derive(clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    recipe: RecipeChoice,
    /// auto, cuda, wgpu or cpu; a GPU need not be present
    #[arg(long, default_value = "auto")]
    device: DeviceRequest,
    /// Memory to plan for, such as 24GiB, 8GB or 8e9 [default: this machine's, or its control group's]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    budget: Option<usize>,
    /// The run's folder, for the free space of its disk [default: checkpoints]
    #[arg(long, value_name = "DIR", default_value = "checkpoints", hide_default_value = true)]
    out: PathBuf,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

/// Mixes, encodes, and prints the plan; no weight is read.
pub fn run(args: PlanArgs) -> miette::Result<()> {
    let resolved = args.recipe.load()?;
    let recipe = &resolved.recipe;
    let kind = device_kind(args.device)?;
    let (base, tokenizer) = describe_base(&resolved)?;
    let config = base.config().map_err(report)?;
    let tokenizer = ChatTokenizer::from_dir(&tokenizer).map_err(report)?.with_system(recipe.chat.system.clone());
    let exam = RecipeExam::checked(&resolved, &tokenizer, config.max_position_embeddings)?;
    let mut mix = mix_recipe(&resolved, &tokenizer, &exam.papers)?;
    let (samples, validation) = encode(&mut mix, &tokenizer, &recipe.chat)?;
    mix.release_samples();
    let order = TrainingOrder::of(&recipe.mix).map_err(report)?;
    let budget = args.budget.map(Budget::given).or_else(|| Budget::of(kind));
    let dtype = kind.dtype(requested(recipe.model.dtype)).map_err(report)?;
    let input = PlanInput {
        spec: &recipe.train,
        config: &config,
        dtype,
        device: kind,
        samples: &samples,
        order: &order,
        validation: &validation,
        process: resident_memory() as usize,
        budget: budget.as_ref(),
        root: &args.out,
        saves_base: base.is_new(),
        save_dtype: base.save_dtype(&recipe.train, dtype).map_err(report)?,
    };
    let plan = Plan::new(&input).ok_or_else(|| miette!("there is nothing to train on: the mix has no samples"))?;
    let remedies = if plan.fits() { Vec::new() } else { input.remedies() };
    if args.json {
        println!(
            "{}",
            medley_chat::escaped(&serde_json::to_string_pretty(&plan_table::json(&plan, &remedies)).into_diagnostic()?)
        );
        return Ok(());
    }
    println!("{}", plan_table::table(&plan, &input));
    if !plan.fits() {
        say(format!("this does not fit; {}", advice(&remedies)));
    }
    if !plan.disk.fits() {
        say("this run's checkpoints and model do not fit on the disk");
    }
    Ok(())
}

fn device_kind(request: DeviceRequest) -> miette::Result<DeviceKind> {
    Ok(match request {
        DeviceRequest::Cpu => DeviceKind::Cpu,
        DeviceRequest::Cuda => DeviceKind::Cuda,
        DeviceRequest::Wgpu => DeviceKind::Wgpu,
        DeviceRequest::Auto => device::select(request).map_err(report)?.kind,
    })
}

/// A training that is about to start.
pub struct Start<'a> {
    pub spec: &'a TrainSpec,
    pub base: &'a Base,
    pub config: &'a DecoderConfig,
    pub dtype: DType,
    pub device: DeviceKind,
    pub samples: &'a [Sample],
    pub order: &'a TrainingOrder,
    pub validation: &'a [Sample],
    pub root: &'a Path,
    /// Memory limit in bytes, if the user sets one.
    pub budget: Option<usize>,
    /// Train even if the plan does not fit.
    pub ignore_plan: bool,
}

/// Prints the plan of a training, and returns its settings with the block policy resolved.
///
/// # Errors
/// Too little memory or disk, with the settings that would fit.
pub fn check(start: &Start<'_>) -> miette::Result<TrainSpec> {
    let budget = start.budget.map(Budget::given).or_else(|| Budget::of(start.device));
    let input = PlanInput {
        spec: start.spec,
        config: start.config,
        dtype: start.dtype,
        device: start.device,
        samples: start.samples,
        order: start.order,
        validation: start.validation,
        process: resident_memory() as usize,
        budget: budget.as_ref(),
        root: start.root,
        saves_base: start.base.is_new(),
        save_dtype: start.base.save_dtype(start.spec, start.dtype).map_err(report)?,
    };
    // Training reports an empty mix.
    let Some(plan) = Plan::new(&input) else { return Ok(start.spec.clone()) };
    plan_table::lines(&plan).into_iter().for_each(|(label, text)| tell(label, text));
    if !plan.fits() {
        let problem = plan_table::too_large(&plan);
        let advice = advice(&input.remedies());
        if !start.ignore_plan {
            let help = format!("{advice}; or train anyway with --ignore-plan");
            return Err(miette!(help = help, "{problem}"));
        }
        tell("note", format!("{problem}; {advice}"));
    }
    if !plan.disk.fits() {
        let free = bytes(plan.disk.free.unwrap_or(0));
        let problem = format!(
            "{}: {} are free and this run writes up to {} ({} checkpoints of {}, and the model)",
            start.root.display(),
            free,
            bytes(plan.disk.total - plan.disk.written.min(plan.disk.total)),
            plan.disk.checkpoints,
            bytes(plan.disk.checkpoint)
        );
        if !start.ignore_plan {
            let help = "make room, name another folder with --out, or keep fewer checkpoints (train.save_total_limit); \
                        or train anyway with --ignore-plan";
            return Err(miette!(help = help, "{problem}"));
        }
        tell("note", problem);
    }
    Ok(TrainSpec { block_policy: plan.block_policy, ..start.spec.clone() })
}

/// A size in bytes: `24GiB`, `24G` (the same), `8GB`, `512 MiB`, `8e9`, or a bare number of bytes. `K`, `M`, `G` and `T`
/// are powers of 1024, as `KiB`, …; `KB`, `MB`, `GB` and `TB` are powers of 1000.
///
/// # Errors
/// An unknown unit, no number, or a number of bytes that is not between 1 and 2^60.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    const EXAMPLES: &str = "write for example 24GiB, 8GB, 8e9 or 8000000000";
    let text = text.trim();
    let (number, unit) = text.split_at(number_length(text));
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "byte" | "bytes" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1048576.0,
        "g" | "gib" => 1073741824.0,
        "t" | "tib" => 1099511627776.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ if number.is_empty() => return Err(format!("`{text}` is not a size; {EXAMPLES}")),
        _ => return Err(format!("unknown unit `{}`; expected B, KiB, MiB, GiB, TiB, KB, MB, GB or TB", unit.trim())),
    };
    let bytes = match number.replace('_', "").parse::<f64>() {
        Ok(number) => number * factor,
        Err(_) => return Err(format!("`{text}` is not a size; {EXAMPLES}")),
    };
    if (1.0..=LARGEST).contains(&bytes) {
        return Ok(bytes as usize);
    }
    Err(format!("`{text}` is {bytes:e} bytes; a size is between 1 byte and 2^60"))
}

/// Largest size; sums of a few do not overflow.
const LARGEST: f64 = (1_u64 << 60) as f64;

/// Length of the number at the start of a size, with its exponent: an `e` without digits behind it begins a unit.
fn number_length(text: &str) -> usize {
    let is_digit = |letter: char| letter.is_ascii_digit() || matches!(letter, '.' | '_');
    let signless = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mantissa = text.len() - signless.trim_start_matches(is_digit).len();
    let Some(exponent) = text[mantissa..].strip_prefix(['e', 'E']) else { return mantissa };
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.starts_with(|letter: char| letter.is_ascii_digit()) {
        return text.len() - digits.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    }
    mantissa
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("24GiB", 24 << 30),
            ("24G", 24 << 30),
            ("1.5g", 3 << 29),
            ("512 MiB", 512 << 20),
            ("8GB", 8_000_000_000),
            ("8e9", 8_000_000_000),
            ("8E+9", 8_000_000_000),
            ("8e0GB", 8_000_000_000),
            ("0.5e3 MB", 500_000_000),
            (" 8_000_000_000 ", 8_000_000_000),
            ("1024 bytes", 1024),
            ("7B", 7),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn invalid_sizes_are_refused_with_examples() {
        let refused = |text: &str| parse_bytes(text).expect_err(text);
        assert_eq!(refused("24 apples"), "unknown unit `apples`; expected B, KiB, MiB, GiB, TiB, KB, MB, GB or TB");
        assert!(refused("8eb").starts_with("unknown unit `eb`"));
        for text in ["GiB", "", "nan", "inf", "1.2.3GB", "."] {
            assert!(refused(text).contains("is not a size; write for example 24GiB"), "{text}: {}", refused(text));
        }
        for text in ["0", "-8e9", "1e400", "9e30", "0.1", "-1GiB"] {
            assert!(refused(text).contains("between 1 byte and 2^60"), "{text}: {}", refused(text));
        }
    }
}
