//! A mix of one file with the fuzzer's bytes: it ends in a mix or an error.
#![allow(dead_code, reason = "every target takes what it needs")]

use std::cell::OnceCell;
use std::path::Path;

use medley_mixture::{FilterSpec, MixError, MixSpec, MixtureNode, MixtureRatio, OnShortage, SourceLedger, SourcePart, SourceSpec, Validation};
use medley_mixer::{Mix, MixContext, mix};
use miette::Diagnostic as _;

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// Hands over this process's own folder, which is in memory where there is such a place.
pub fn in_folder<R>(work: impl FnOnce(&Path) -> R) -> R {
    FOLDER.with(|folder| {
        let new = || tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder");
        work(folder.get_or_init(new).path())
    })
}

/// Mixes `bytes` as a file called `name`.
pub fn mixed(name: &str, bytes: &[u8]) {
    in_folder(|folder| {
        std::fs::write(folder.join(name), bytes).expect("written");
        let _ = filtered(folder, name, FilterSpec::default());
    });
}

/// Mixes the file `name` with a filter. The numbers of the ledger must add up, and an error must have a hint.
pub fn filtered(folder: &Path, name: &str, filter: FilterSpec) -> Result<Mix, MixError> {
    let node = MixtureNode { name: "a".to_owned(), ratio: MixtureRatio::Source("a".to_owned()) };
    let part = SourcePart { path: name.to_owned(), filter, ..SourcePart::default() };
    let spec = MixSpec {
        size: 3,
        seed: 1,
        ratio: MixtureRatio::Group(vec![(1, node)]),
        on_shortage: OnShortage::Shrink,
        validation: Validation::default(),
        sources: [("a".to_owned(), SourceSpec { parts: vec![part], ..SourceSpec::default() })].into_iter().collect(),
        ..MixSpec::default()
    };
    let result = mix(&spec, &MixContext { threads: None, ..MixContext::new(folder) });
    match &result {
        Ok(mixed) => {
            let line = ledger(mixed);
            let known = line.rejected_in_all() + line.duplicates_within + line.held_out + line.available;
            assert_eq!(line.read, known);
            assert_eq!(line.read, line.read_as.iter().map(|read| read.records).sum::<u64>());
        }
        Err(MixError::Write(error)) => panic!("nothing was written: {error}"),
        Err(error) => assert!(error.help().is_some(), "{error}"),
    }
    result
}

/// What is known of the only source.
pub fn ledger(mix: &Mix) -> &SourceLedger {
    &mix.ledger.sources["a"]
}
