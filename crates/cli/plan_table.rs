//! A plan as a table, as a few lines at the start of a run, and as JSON.

use comfy_table::{CellAlignment, Table, presets};
use medley_model::DeviceKind;
use medley_trainer::plan::{Plan, PlanInput, Remedy, readable_bytes as bytes};
use medley_view::grouped;
use serde_json::{Value, json};

/// `12,345`.
pub fn count(number: usize) -> String {
    grouped(number as u64)
}

/// `1.23 PFLOP`.
fn operations(number: f64) -> String {
    let units = ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP", "ZFLOP"];
    let at = ((number.max(1.0).log10() / 3.0) as usize).min(units.len() - 1);
    format!("{:.2} {}", number / 1000f64.powi(at as i32), units[at])
}

/// The whole plan, at most 80 columns wide.
pub fn table(plan: &Plan, input: &PlanInput<'_>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["memory", "at most", "at the peak", ""]);
    for ((name, most), (_, at_peak)) in plan.most.named().into_iter().zip(plan.parts.named()) {
        if most > 0 {
            let at_peak = if at_peak > 0 { bytes(at_peak as u64) } else { String::new() };
            table.add_row([name.to_owned(), bytes(most as u64), at_peak, describe_part(name, plan, input)]);
        }
    }
    table.add_row(["peak".to_owned(), String::new(), bytes(plan.peak as u64), plan.moment.describe().to_owned()]);
    if let Some(budget) = &plan.budget {
        let verdict = if plan.fits() { "fits" } else { "DOES NOT FIT" };
        let free = budget.available.map_or(String::new(), |free| format!(", {} free", bytes(free as u64)));
        let note = format!("{}{free}: {verdict}", budget.origin);
        table.add_row(["available".to_owned(), String::new(), bytes(budget.bytes as u64), note]);
    }
    for column in table.column_iter_mut().skip(1).take(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n{}{}", work_table(plan), if input.device == DeviceKind::Cpu { "" } else { UNMEASURED })
}

const UNMEASURED: &str = "\nOn GPUs the operations' own buffers are counted by formula and have not been measured.";

fn describe_part(name: &str, plan: &Plan, input: &PlanInput<'_>) -> String {
    let format = format!("{:?}", input.dtype).to_lowercase();
    match name {
        "process" if input.device == DeviceKind::Cpu => "program, tokenizer, mix, samples".to_owned(),
        "process" => "driver and kernels".to_owned(),
        "weights" => format!("{} in {format}", count(plan.parameters)),
        "adapters" => format!("{} in {format}", count(plan.trained_parameters)),
        "gradients" => "until the optimizer has them".to_owned(),
        "optimizer" => "moments and master weights".to_owned(),
        "blocks" => format!("kept for backward: {}", policy(plan)),
        "workspace" => "of one block, or of an update".to_owned(),
        "loss" => "hidden states, a chunk of logits".to_owned(),
        _ => "freed by a block, kept for the next".to_owned(),
    }
}

fn work_table(plan: &Plan) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    for row in workload_rows(plan) {
        table.add_row(row);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn policy(plan: &Plan) -> String {
    format!("{}{}", plan.block_policy.name(), if plan.automatic { " (auto)" } else { "" })
}

fn workload_rows(plan: &Plan) -> Vec<[String; 3]> {
    let largest = &plan.largest_micro_batch;
    let row = |name: &str, value: String, note: String| [name.to_owned(), value, note];
    let disk = &plan.disk;
    let free = disk.free.map_or(String::new(), |free| format!("; {} free", bytes(free)));
    vec![
        row("steps", count(plan.steps), format!("{} micro-batches", count(plan.micro_batches))),
        row("tokens", count(plan.tokens), format!("{} supervised", count(plan.supervised))),
        row(
            "micro-batch",
            count(largest.tokens),
            format!("tokens, {} supervised, {} samples", count(largest.supervised), count(largest.samples)),
        ),
        row("longest sample", count(plan.longest_sample), "tokens".to_owned()),
        row("operations", operations(plan.operations), "in all steps".to_owned()),
        row("disk", bytes(disk.total), format!("model, {}{free}", checkpoints(disk.checkpoints))),
    ]
}

fn checkpoints(count: usize) -> String {
    if count == 1 { "1 checkpoint".to_owned() } else { format!("{count} checkpoints") }
}

/// Short form of the plan: labels and texts.
pub fn lines(plan: &Plan) -> Vec<(&'static str, String)> {
    let of = plan.budget.as_ref().map_or(String::new(), |budget| format!(" of {}", bytes(budget.bytes as u64)));
    let parts: Vec<String> = plan
        .parts
        .named()
        .into_iter()
        .filter(|(_, size)| *size > 0)
        .map(|(name, size)| format!("{name} {}", bytes(size as u64)))
        .collect();
    let memory = format!("{}{of} at the peak, in {}", bytes(plan.peak as u64), plan.moment.describe());
    let work = format!(
        "{} steps of {} micro-batches, {} tokens, {}; blocks: {}",
        count(plan.steps),
        count(plan.micro_batches),
        count(plan.tokens),
        operations(plan.operations),
        policy(plan)
    );
    let free = plan.disk.free.map_or(String::new(), |free| format!(", {} free", bytes(free)));
    let disk = format!("{} for {} and the model{free}", bytes(plan.disk.total), checkpoints(plan.disk.checkpoints));
    vec![("memory", memory), ("", parts.join(", ")), ("work", work), ("disk", disk)]
}

/// Why a plan is refused.
pub fn too_large(plan: &Plan) -> String {
    let there_is = plan
        .budget
        .as_ref()
        .map_or(String::new(), |budget| format!("; {} has {}", budget.origin, bytes(budget.bytes as u64)));
    format!("this training needs {} in {}{there_is}", bytes(plan.peak as u64), plan.moment.describe())
}

/// The plan as JSON.
pub fn json(plan: &Plan, remedies: &[Remedy]) -> Value {
    let mut value = json!(plan);
    value["fits"] = json!(plan.fits());
    value["disk"]["fits"] = json!(plan.disk.fits());
    value["remedies"] = json!(remedies);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([count(7), count(1234), count(1_000_000)], ["7", "1,234", "1,000,000"]);
        assert_eq!([operations(1.5e15), operations(12.0)], ["1.50 PFLOP", "12.00 FLOP"]);
    }
}
