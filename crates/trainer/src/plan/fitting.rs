//! Settings under which a run would fit, found with the memory model: first those that cost time only, then those that change
//! what is trained.

use std::fmt;

use medley_recipe::{BlockPolicy, LoraSpec, Method, TrainSpec};
use serde::Serialize;

use super::{Plan, PlanInput, Workload, readable_bytes};

/// Smallest token budget that is proposed.
const FEWEST_TOKENS: usize = 64;

/// A setting to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// As in a recipe: `train.block_policy`.
    pub key: &'static str,
    /// As in a recipe: `"recompute"`.
    pub value: String,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} = {}", self.key, self.value)
    }
}

/// Changes that together make a run fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// The settings.
    pub changes: Vec<Change>,
    /// The peak with them, in bytes.
    pub peak: usize,
    /// Whether the trained weights stay the same (but for rounding).
    pub same_result: bool,
}

/// `this would fit: train.block_policy = "recompute" (1.20 GiB, the same result)`.
pub fn advice(remedies: &[Remedy]) -> String {
    let shown = |remedy: &Remedy| {
        let changes: Vec<String> = remedy.changes.iter().map(Change::to_string).collect();
        let note = if remedy.same_result { "the same result" } else { "another training" };
        format!("{} ({}, {note})", changes.join(" with "), readable_bytes(remedy.peak as u64))
    };
    match remedies {
        [] => "no setting that is known would fit: take a smaller model, or a machine with more memory".to_owned(),
        all => format!("this would fit: {}", all.iter().map(shown).collect::<Vec<_>>().join("; or ")),
    }
}

/// A way to need less memory.
#[derive(Clone)]
struct Attempt {
    spec: TrainSpec,
    changes: Vec<Change>,
    same_result: bool,
    /// Samples are cut to so many tokens.
    longest: Option<usize>,
}

impl Attempt {
    fn with(&self, key: &'static str, value: String, change: impl FnOnce(&mut TrainSpec)) -> Self {
        let mut spec = self.spec.clone();
        change(&mut spec);
        let change = Change { key, value };
        let changes = self.changes.iter().cloned().chain([change]).collect();
        Self { spec, changes, same_result: self.same_result, longest: self.longest }
    }
}

impl PlanInput<'_> {
    /// What would make a plan fit that does not: at most one remedy that keeps the result and one that does not. Empty where
    /// nothing that is known helps, or where the budget is not known.
    pub fn remedies(&self) -> Vec<Remedy> {
        let Some(budget) = self.budget else { return Vec::new() };
        self.remedies_under(budget.bytes)
    }

    /// What would need less than `bytes`.
    pub fn remedies_under(&self, bytes: usize) -> Vec<Remedy> {
        let workload = Workload::new(self.samples, self.validation, self.spec, self.order);
        let start = Attempt { spec: self.spec.clone(), changes: Vec::new(), same_result: true, longest: None };
        let mut remedies: Vec<Remedy> = self.cheapest(&start, &workload, bytes).into_iter().collect();
        remedies.extend(self.other_training(&start).iter().find_map(|next| self.cheapest(next, &workload, bytes)));
        remedies
    }

    /// The first that fits of: as it is, recomputing, updates in the backward pass and smaller micro-batches.
    fn cheapest(&self, start: &Attempt, workload: &Workload, bytes: usize) -> Option<Remedy> {
        let mut attempts = Vec::new();
        if !start.changes.is_empty() {
            attempts.push(start.clone());
        }
        let recomputing = match start.spec.block_policy {
            BlockPolicy::Keep => start.with("train.block_policy", "\"recompute\"".to_owned(), |spec| {
                spec.block_policy = BlockPolicy::Recompute;
            }),
            _ => start.clone(),
        };
        attempts.push(recomputing.clone());
        let in_backward = |spec: &mut TrainSpec| spec.optimizer_in_backward = true;
        let uncut = workload.largest_step() <= start.spec.tokens_per_micro_batch;
        let updating = (start.spec.method == Method::Full && uncut)
            .then(|| recomputing.with("train.optimizer_in_backward", "true".to_owned(), in_backward));
        let smaller =
            if start.spec.optimizer_in_backward { Vec::new() } else { self.smaller_micro_batches(&recomputing) };
        // Updates cost nothing, but with clipping every step is computed twice.
        if start.spec.max_grad_norm > 0.0 {
            attempts.extend(smaller.into_iter().chain(updating));
        } else {
            attempts.extend(updating.into_iter().chain(smaller));
        }
        attempts.into_iter().find_map(|attempt| {
            let peak = self.peak_of(&attempt, workload)?;
            let fits = peak <= bytes && !attempt.changes.is_empty();
            fits.then_some(Remedy { changes: attempt.changes, peak, same_result: attempt.same_result })
        })
    }

    fn smaller_micro_batches(&self, start: &Attempt) -> Vec<Attempt> {
        let largest = start.spec.tokens_per_micro_batch.saturating_sub(1);
        let powers = std::iter::successors(Some(largest.checked_ilog2().map_or(0, |bits| 1usize << bits)), |tokens| {
            Some(tokens / 2)
        });
        let smaller = |tokens: usize| {
            start.with("train.tokens_per_micro_batch", tokens.to_string(), |spec| {
                spec.tokens_per_micro_batch = tokens;
            })
        };
        powers.take_while(|&tokens| tokens >= FEWEST_TOKENS).map(smaller).collect()
    }

    /// Other trainings that need less: shorter samples, updates without clipping in the backward pass, adapters alone.
    fn other_training(&self, start: &Attempt) -> Vec<Attempt> {
        let mut others = Vec::new();
        let mut longest = Workload::new(self.samples, &[], self.spec, self.order).longest() / 2;
        while longest >= 2 * FEWEST_TOKENS {
            let shorter = start.with("chat.max_tokens", longest.to_string(), |_| {});
            others.push(Attempt { longest: Some(longest), same_result: false, ..shorter });
            longest /= 2;
        }
        if start.spec.method == Method::Full {
            let rank_8 = |spec: &mut TrainSpec| {
                spec.method = Method::Lora(LoraSpec {
                    rank: 8,
                    alpha: 16.0,
                    dropout: 0.05,
                    target: vec!["all-linear".to_owned()],
                });
                spec.optimizer_in_backward = false;
            };
            others.push(Attempt { same_result: false, ..start.with("train.method", "\"lora\"".to_owned(), rank_8) });
        }
        others
    }

    fn peak_of(&self, attempt: &Attempt, workload: &Workload) -> Option<usize> {
        let shortened = attempt.longest.map(|longest| workload.shortened(longest));
        let input = PlanInput { spec: &attempt.spec, ..*self };
        Some(Plan::of(&input, shortened.as_ref().unwrap_or(workload))?.peak)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::DType;
    use medley_mixture::TrainingOrder;
    use medley_model::DeviceKind;
    use medley_recipe::Optimizer;

    use super::super::Budget;
    use super::super::sizes::tests::config;
    use super::*;
    use crate::sample::Sample;
    use crate::sample::tests::sample;
    use crate::tests::spec;

    fn samples() -> Vec<Sample> {
        (0..40).map(|key| sample(key, &vec![7; 600], 200)).collect()
    }

    fn remedies(spec: &TrainSpec, samples: &[Sample], bytes: usize) -> Vec<Remedy> {
        let (budget, config) = (Budget::given(bytes), config(12));
        let input = PlanInput {
            spec,
            config: &config,
            dtype: DType::F32,
            device: DeviceKind::Cpu,
            samples,
            order: &TrainingOrder::default(),
            validation: &[],
            process: 100 << 20,
            budget: Some(&budget),
            root: Path::new("."),
            saves_base: false,
            save_dtype: DType::F32,
        };
        let found = input.remedies();
        for remedy in &found {
            assert!(remedy.peak <= bytes, "{remedy:?}");
            // What is said holds when it is set.
            let set = apply(spec, &remedy.changes);
            if let Some(set) = set {
                let plan = Plan::new(&PlanInput { spec: &set, ..input }).expect("samples");
                assert_eq!(plan.peak, remedy.peak);
            }
        }
        found
    }

    /// The settings with the changes in them; `None` where one is not of `[train]`.
    fn apply(spec: &TrainSpec, changes: &[Change]) -> Option<TrainSpec> {
        let mut spec = spec.clone();
        for change in changes {
            match change.key {
                "train.block_policy" => spec.block_policy = BlockPolicy::Recompute,
                "train.optimizer_in_backward" => spec.optimizer_in_backward = true,
                "train.tokens_per_micro_batch" => spec.tokens_per_micro_batch = change.value.parse().expect("a number"),
                _ => return None,
            }
        }
        Some(spec)
    }

    fn said(remedies: &[Remedy]) -> Vec<String> {
        let line = |remedy: &Remedy| remedy.changes.iter().map(Change::to_string).collect::<Vec<_>>().join(", ");
        remedies.iter().map(line).collect()
    }

    #[test]
    fn the_least_change_that_fits_is_named() {
        let mebibytes = |count: usize| count << 20;
        let base = TrainSpec { tokens_per_micro_batch: 8192, batch_size: 8, epochs: 1, ..spec() };
        let adapted = TrainSpec { method: crate::tests::lora(), ..base.clone() };
        let keep = TrainSpec { block_policy: BlockPolicy::Keep, ..adapted.clone() };
        assert_eq!(said(&remedies(&keep, &samples(), mebibytes(1500)))[0], "train.block_policy = \"recompute\"");
        let smaller = said(&remedies(&keep, &samples(), mebibytes(700)));
        assert!(
            smaller[0].starts_with("train.block_policy = \"recompute\", train.tokens_per_micro_batch = "),
            "{smaller:?}"
        );
        let full = TrainSpec { max_grad_norm: 0.0, optimizer: Optimizer::AdamW, ..base };
        let in_backward = said(&remedies(&full, &samples(), mebibytes(2400)));
        assert_eq!(in_backward[0], "train.optimizer_in_backward = true");
        let other = remedies(&full, &samples(), mebibytes(900));
        assert_eq!((said(&other)[0].as_str(), other[0].same_result), ("train.method = \"lora\"", false));
        assert!(remedies(&full, &samples(), mebibytes(300)).is_empty(), "the weights alone are more");
    }

    #[test]
    fn a_long_sample_is_named_where_it_alone_is_too_much() {
        let mut long = samples();
        long.push(sample(99, &vec![7; 30_000], 100));
        let spec = TrainSpec { method: crate::tests::lora(), batch_size: 8, epochs: 1, ..spec() };
        let found = said(&remedies(&spec, &long, 1200 << 20));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("chat.max_tokens = "), "{found:?}");
    }
}
