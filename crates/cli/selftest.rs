//! `medley selftest`: correctness of a device's operations, and speed of its matrix products.

use std::collections::BTreeMap;

use burn::tensor::DType;
use comfy_table::{CellAlignment, Table, presets};
use medley_model::{DeviceKind, DeviceRequest, RunDevice, device};
use medley_ops::bf16::Unit;
use medley_ops::selftest::{Check, Sizes, bf16_seconds, check, check_bf16_units, matmul_seconds};
use miette::{IntoDiagnostic, miette};
use serde_json::json;

use crate::errors::report;
use crate::progress;

/// Arguments of `medley selftest`.
#[derive(clap::Args)]
pub struct SelftestArgs {
    /// auto, cuda, wgpu or cpu
    #[arg(long, default_value = "auto")]
    device: DeviceRequest,
    /// Small sizes only, and no speed: a minute even on a software rasteriser
    #[arg(long, conflicts_with = "speed")]
    quick: bool,
    /// Only the speed of matrix products
    #[arg(long)]
    speed: bool,
    /// Print every comparison as JSON
    #[arg(long)]
    json: bool,
}

/// A matrix product's speed.
struct Peak {
    format: String,
    size: usize,
    /// Floating-point operations per second.
    rate: f64,
}

/// Runs `medley selftest`; fails where a difference exceeds its tolerance.
pub fn run(args: SelftestArgs) -> miette::Result<()> {
    let device = device::select(args.device).map_err(report)?;
    progress::say(format!("device   {device}"));
    let mut dtypes = vec![DType::F32];
    if device.dtype(Some(DType::BF16)).is_ok() {
        dtypes.push(DType::BF16);
    }
    let sizes = match (args.speed, args.quick) {
        (true, _) => Vec::new(),
        (_, true) => Sizes::small(),
        _ => Sizes::large(),
    };
    let mut found = Vec::new();
    for &dtype in &dtypes {
        let spinner = progress::spinner("selftest");
        check(&device.device, dtype, &sizes, &mut |check| {
            spinner.set_message(format!("{} {}", name(dtype), check.operation));
            found.push((dtype, check));
        });
        spinner.finish_and_clear();
    }
    if device.kind == DeviceKind::Cpu && !args.speed {
        check_bf16_units(&mut |check| found.push((DType::BF16, check)));
    }
    let peaks = if args.quick { Vec::new() } else { peaks(&device, &dtypes) };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&as_json(&device, &found, &peaks)).into_diagnostic()?);
    } else {
        print!("{}", tables(&found, &peaks));
    }
    let tensor_cores = device.kind == DeviceKind::Cuda;
    let (mut failed, mut coarse) = (0, 0);
    for (dtype, check) in found.iter().filter(|(_, check)| !check.passed()) {
        let excused = tensor_cores && *dtype == DType::F32 && check.passed_as_tf32();
        *(if excused { &mut coarse } else { &mut failed }) += 1;
    }
    if coarse > 0 {
        progress::say(format!(
            "note: {coarse} comparisons in f32 are as coarse as TF32: tensor cores round their factors"
        ));
    }
    match failed {
        0 => Ok(()),
        _ => Err(miette!(
            help = "do not train here: update the driver, or choose another device with --device",
            "{failed} of {} comparisons differ by more than rounding on {device}",
            found.len()
        )),
    }
}

fn peaks(device: &RunDevice, dtypes: &[DType]) -> Vec<Peak> {
    let size = if device.kind == DeviceKind::Cpu { 1024 } else { 8192 };
    let operations = 2.0 * (size as f64).powi(3);
    let peak = |&dtype: &DType| {
        let seconds = matmul_seconds(&device.device, dtype, size);
        Peak { format: name(dtype).to_owned(), size, rate: operations / seconds }
    };
    let mut peaks: Vec<Peak> = dtypes.iter().map(peak).collect();
    if device.kind == DeviceKind::Cpu {
        let unit = Unit::best();
        peaks.push(Peak {
            format: format!("bf16 ({})", unit.name()),
            size,
            rate: operations / bf16_seconds(unit, size),
        });
    }
    peaks
}

fn name(dtype: DType) -> &'static str {
    if dtype == DType::BF16 { "bf16" } else { "f32" }
}

/// One row for each operation and format: its worst comparison.
fn tables(found: &[(DType, Check)], peaks: &[Peak]) -> String {
    let mut worst: BTreeMap<(&str, &str), (usize, &Check)> = BTreeMap::new();
    for (dtype, check) in found {
        let (count, kept) = worst.entry((check.operation, name(*dtype))).or_insert((0, check));
        *count += 1;
        if check.difference / check.tolerance > kept.difference / kept.tolerance {
            *kept = check;
        }
    }
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["operation", "format", "comparisons", "worst difference", "tolerance", "where", ""]);
    for ((operation, format), (count, check)) in &worst {
        let passed = match (check.passed(), check.passed_as_tf32()) {
            (true, _) => "ok",
            (_, true) => "coarse",
            _ => "WRONG",
        };
        table.add_row([
            (*operation).to_owned(),
            (*format).to_owned(),
            count.to_string(),
            format!("{:.1e}", check.difference),
            format!("{:.1e}", check.tolerance),
            format!("{}, {}", check.part, check.size),
            passed.to_owned(),
        ]);
    }
    for column in 2..5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = if found.is_empty() { String::new() } else { format!("{table}\n") };
    for peak in peaks {
        let (format, size) = (&peak.format, peak.size);
        text += &format!("\nmatrix product {size} x {size} x {size}, {format}: {:.2} TFLOP/s", peak.rate / 1e12);
    }
    if peaks.is_empty() { text } else { text + "\n" }
}

fn as_json(device: &RunDevice, found: &[(DType, Check)], peaks: &[Peak]) -> serde_json::Value {
    let check = |(dtype, check): &(DType, Check)| {
        json!({
            "operation": check.operation, "format": name(*dtype), "size": check.size, "part": check.part,
            "difference": check.difference, "tolerance": check.tolerance, "passed": check.passed(),
        })
    };
    let peak = |peak: &Peak| json!({"format": peak.format, "size": peak.size, "flops_per_second": peak.rate});
    json!({
        "device": device.to_string(),
        "checks": found.iter().map(check).collect::<Vec<_>>(),
        "matmul": peaks.iter().map(peak).collect::<Vec<_>>(),
    })
}
