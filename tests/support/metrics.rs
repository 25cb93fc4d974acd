//! Metric lines for tests.

use std::collections::BTreeMap;

use crate::metrics::{Metrics, TrainMetrics, ValidationMetrics};

pub(crate) fn train(step: usize, loss: f64) -> TrainMetrics {
    TrainMetrics {
        step,
        epoch: step as f64 / 100.0,
        loss,
        lr: 1e-4,
        grad_norm: 1.5,
        tokens: 1000 * step as u64,
        supervised_tokens: 100 * step as u64,
        tokens_per_second: 5000.0,
        seconds: 0.5 * step as f64,
        memory_bytes: 1 << 30,
        peak_memory_bytes: 1 << 30,
        time: 1.7e9 + 0.5 * step as f64,
    }
}

pub(crate) fn validation(step: usize, loss: f64) -> ValidationMetrics {
    ValidationMetrics {
        step,
        loss,
        sources: BTreeMap::from([("general".to_owned(), loss), ("中医".to_owned(), loss + 0.5)]),
        supervised_tokens: 10,
        seconds: 0.1,
        time: 1.7e9,
    }
}

pub(crate) fn text(lines: &[Metrics]) -> String {
    lines.iter().map(|line| serde_json::to_string(line).expect("JSON") + "\n").collect()
}
