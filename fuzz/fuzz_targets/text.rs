//! JSON, tables and other texts, in any encoding. Plain records are known again from the file's bytes, others are read by an
//! importer: a filter that takes everything makes all records others, and the mix must be the same.
#![no_main]

#[path = "common.rs"]
mod common;

use medley_mixture::{Bounds, FilterSpec};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    common::in_folder(|folder| {
        std::fs::write(folder.join("a.txt"), bytes).expect("written");
        let everything = FilterSpec { chars: Some(Bounds { min: Some(0), max: None }), ..FilterSpec::default() };
        let quick = common::filtered(folder, "a.txt", FilterSpec::default());
        match (quick, common::filtered(folder, "a.txt", everything)) {
            (Ok(quick), Ok(read)) => {
                assert_eq!(quick.train.records(), read.train.records());
                assert_eq!(quick.validation.records(), read.validation.records());
                assert_eq!(common::ledger(&quick), common::ledger(&read));
            }
            (quick, read) => assert_eq!(quick.map_err(|e| e.to_string()).err(), read.map_err(|e| e.to_string()).err()),
        }
    });
});
