//! A mix of one file with the fuzzer's bytes: it ends in a mix or an error.

use std::cell::OnceCell;

use medley_mixer::{
    MixContext, MixError, MixSpec, MixtureNode, MixtureRatio, OnShortage, SourcePart, SourceSpec, Validation, mix,
};

thread_local! {
    /// In memory where there is such a place.
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// Mixes `bytes` as a file called `name`; the numbers of the ledger must add up.
pub fn mixed(name: &str, bytes: &[u8]) {
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| {
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
        });
        std::fs::write(folder.path().join(name), bytes).expect("written");
        let node = MixtureNode { name: "a".to_owned(), ratio: MixtureRatio::Source("a".to_owned()) };
        let part = SourcePart { path: name.to_owned(), ..SourcePart::default() };
        let spec = MixSpec {
            size: 3,
            seed: 1,
            ratio: MixtureRatio::Group(vec![(1, node)]),
            on_shortage: OnShortage::Shrink,
            validation: Validation::default(),
            sources: [("a".to_owned(), SourceSpec { parts: vec![part], ..SourceSpec::default() })].into_iter().collect(),
            ..MixSpec::default()
        };
        let context = MixContext { threads: None, ..MixContext::new(folder.path()) };
        match mix(&spec, &context) {
            Ok(mixed) => {
                let line = &mixed.ledger.sources["a"];
                let known = line.rejected_in_all() + line.duplicates_within + line.held_out + line.available;
                assert_eq!(line.read, known);
                assert_eq!(line.read, line.read_as.iter().map(|read| read.records).sum::<u64>());
            }
            Err(MixError::Write(error)) => panic!("nothing was written: {error}"),
            Err(error) => assert!(error.to_string().contains("\n  hint: "), "{error}"),
        }
    });
}
