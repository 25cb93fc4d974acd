//! Mixes by tokens and by epochs, orders, and shares that change, over small pools made here.

use std::fs;
use std::path::Path;

use medley_chat::{Message, Role};
use medley_files::WithHelp as _;
use medley_mixer::{Mix, MixContext, mix};
use medley_mixture::{
    Lengths, MeasureTokens, MixError, MixSpec, MixtureNode, MixtureRatio, OnShortage, Order, TrainingOrder, Unit,
    Validation,
};
use proptest::prelude::*;

/// A token a character.
struct Characters;

impl MeasureTokens for Characters {
    fn lengths(&self, messages: &[Message]) -> Lengths {
        let count = |message: &Message| message.content.chars().count() as u32;
        let answers = messages.iter().filter(|message| message.role == Role::Assistant);
        Lengths { tokens: messages.iter().map(count).sum(), supervised_tokens: answers.map(count).sum() }
    }

    fn identity(&self) -> String {
        "characters".to_owned()
    }
}

/// A pool of `count` records with answers of `low..high` characters.
fn put(folder: &Path, name: &str, count: usize, (low, high): (usize, usize)) {
    let line = |number: usize| {
        let answer = "答".repeat(low + number * 7919 % (high - low));
        format!("{}\n", serde_json::json!({ "instruction": format!("{name}{number:04}"), "output": answer }))
    };
    fs::write(folder.join(format!("{name}.jsonl")), (0..count).map(line).collect::<String>()).expect("written");
}

fn tree(weights: &[(&str, u64)]) -> MixtureRatio {
    let leaf = |name: &str| MixtureNode { name: name.to_owned(), ratio: MixtureRatio::Source(name.to_owned()) };
    MixtureRatio::Group(weights.iter().map(|(name, weight)| (*weight, leaf(name))).collect())
}

fn spec(size: usize, weights: &[(&str, u64)]) -> MixSpec {
    let source = |name: &str| medley_mixture::SourceSpec {
        parts: vec![medley_mixture::SourcePart {
            path: format!("{name}.jsonl"),
            ..medley_mixture::SourcePart::default()
        }],
        ..medley_mixture::SourceSpec::default()
    };
    MixSpec {
        size,
        ratio: tree(weights),
        validation: Validation { fraction: 0.0, max_samples: 0 },
        sources: weights.iter().map(|(name, _)| ((*name).to_owned(), source(name))).collect(),
        ..MixSpec::default()
    }
}

fn run(folder: &Path, spec: &MixSpec) -> Result<Mix, MixError> {
    mix(spec, &MixContext { measure: Some(&Characters), threads: Some(2), ..MixContext::new(folder) })
}

fn tokens(mix: &Mix, source: &str) -> u64 {
    let of_source = mix.train.iter().filter(|record| record.source == source);
    of_source.map(|record| u64::from(Characters.lengths(&record.messages).tokens)).sum()
}

#[test]
fn a_ratio_of_tokens_is_one_of_tokens_and_the_ledger_counts_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    put(folder.path(), "short", 3000, (10, 40));
    put(folder.path(), "long", 800, (100, 900));
    let spec = MixSpec {
        size: 60_000,
        size_in: Unit::Tokens,
        ratio_in: Unit::Tokens,
        ..spec(0, &[("short", 1), ("long", 1)])
    };
    let mixed = run(folder.path(), &spec).expect("mixed");
    let (short, long) = (tokens(&mixed, "short"), tokens(&mixed, "long"));
    assert!((59_000..=60_000).contains(&(short + long)), "{short} + {long}");
    assert!(short.abs_diff(long) <= 900, "{short} and {long}");
    let ledger = |source: &str| mixed.ledger.sources[source].tokens.expect("counted").tokens;
    assert_eq!((ledger("short"), ledger("long")), (short, long));
    let by_samples = run(folder.path(), &MixSpec { ratio_in: Unit::Samples, ..spec.clone() }).expect("mixed");
    let count = |source: &str| by_samples.ledger.sources[source].chosen;
    assert!(count("short").abs_diff(count("long")) <= 1);
    assert_ne!(mixed.manifest().mix_hash, by_samples.manifest().mix_hash);
    let without = mix(&spec, &MixContext::new(folder.path()));
    assert!(without.expect_err("nothing counts").with_help().contains("tokenizer"));
}

#[test]
fn epochs_decide_how_often_each_source_comes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    put(folder.path(), "a", 200, (10, 40));
    put(folder.path(), "b", 40, (10, 40));
    let epochs = [("a".to_owned(), 0.5), ("b".to_owned(), 2.5)].into_iter().collect();
    let mixed = run(folder.path(), &MixSpec { epochs, ..spec(0, &[("a", 1), ("b", 1)]) }).expect("mixed");
    let line = |source: &str| &mixed.ledger.sources[source];
    assert_eq!((line("a").chosen, line("a").repeated), (100, 0));
    assert_eq!((line("b").chosen, line("b").repeated), (100, 60));
    assert!((line("a").requested_share - 0.5).abs() < 1e-12);
}

#[test]
fn repeats_have_a_limit_where_one_is_set() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    put(folder.path(), "a", 100, (10, 40));
    let thrice = MixSpec { on_shortage: OnShortage::Repeat, max_epochs: Some(3.0), ..spec(300, &[("a", 1)]) };
    assert_eq!(run(folder.path(), &thrice).expect("three times").train.len(), 300);
    let error = run(folder.path(), &MixSpec { size: 301, ..thrice }).expect_err("more than three times").with_help();
    assert!(error.contains("pool `a` has 100 records") && error.contains("mix.max_epochs"), "{error}");
}

/// The written file, and an epoch of training: the same turns of the sources, other samples in them.
#[test]
fn the_file_and_the_training_have_the_order_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    put(folder.path(), "a", 200, (10, 40));
    put(folder.path(), "b", 200, (10, 40));
    let sources = |order: &str, end: Option<MixtureRatio>| -> Vec<String> {
        let order = Order::parse(order).expect("an order");
        let spec = MixSpec { order, ratio_end: end, ..spec(200, &[("a", 1), ("b", 1)]) };
        let mixed = run(folder.path(), &spec).expect("mixed");
        let order = TrainingOrder::of(&spec).expect("an order");
        let place = |record: &medley_mixture::MixedRecord| medley_mixture::training_place(1, 0, record.key, 0);
        let records = mixed.train.records();
        let samples: Vec<(&str, u128)> = records.iter().map(|record| (record.source.as_str(), place(record))).collect();
        let trained: Vec<&str> = order.sorted(&samples).into_iter().map(|index| samples[index].0).collect();
        let written: Vec<String> = mixed.train.iter().map(|record| record.source.clone()).collect();
        if spec.order != Order::Shuffled {
            assert_eq!(written, trained);
        }
        written
    };
    assert_eq!(sources("a-last", None), [vec!["b"; 100], vec!["a"; 100]].concat());
    assert_eq!(sources("sequential", None), [vec!["a"; 100], vec!["b"; 100]].concat());
    assert_eq!(sources("interleaved", None), ["a", "b"].repeat(100));
    let changing = sources("shuffled", Some(tree(&[("b", 1)])));
    let early = changing[..50].iter().filter(|source| *source == "a").count();
    assert!((20..=23).contains(&early), "{early}: from 50 % down to 37.5 %");
    assert_eq!(changing[196..].iter().filter(|source| *source == "a").count(), 0, "none at the end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Larger mixes by tokens hold the smaller ones, in whatever files the records lie.
    #[test]
    fn mixes_by_tokens_are_nested(size in 500..20_000usize, more in 0..20_000usize, weights in (1..9u64, 1..9u64)) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        put(folder.path(), "a", 400, (5, 80));
        put(folder.path(), "b", 300, (30, 300));
        let small = MixSpec {
            size,
            size_in: Unit::SupervisedTokens,
            ratio_in: Unit::Tokens,
            on_shortage: OnShortage::Repeat,
            ..spec(0, &[("a", weights.0), ("b", weights.1)])
        };
        let keys = |size: usize| -> std::collections::HashSet<(medley_mixture::Key, u32)> {
            let mixed = run(folder.path(), &MixSpec { size, ..small.clone() }).expect("mixed");
            mixed.train.iter().map(|record| (record.key, record.copy)).collect()
        };
        prop_assert!(keys(size).is_subset(&keys(size + more)));
    }
}
