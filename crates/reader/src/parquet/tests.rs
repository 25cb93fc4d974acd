use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name)
}

fn rows(file: File, wants: &dyn Fn(&str) -> bool) -> Result<Vec<Value>, String> {
    let told = |problem: Problem| format!("{} | {}", problem.problem, problem.hint);
    let mut reader = ParquetReader::new(file, wants).map_err(told)?;
    let mut rows = Vec::new();
    while let Some(batch) = reader.next_batch().map_err(|(_, problem)| told(problem))? {
        let row = |span: &Span| serde_json::from_slice(&batch.bytes[span.range.clone()]).expect("JSON");
        rows.extend(batch.spans.iter().map(row));
    }
    Ok(rows)
}

fn written() -> Vec<Value> {
    let lines = std::fs::read_to_string(fixture("rows.jsonl")).expect("the fixture");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What pyarrow wrote comes back, whatever the codec, the encoding and the page's version.
#[test]
fn rows_come_back() {
    for name in ["snappy", "gzip_v2", "zstd_small_pages", "lz4_plain", "deltas"] {
        let file = File::open(fixture(&format!("{name}.parquet"))).expect("the fixture");
        let found = rows(file, &|_| true).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (index, (found, written)) in found.iter().zip(written()).enumerate() {
            assert_eq!(*found, written, "{name}, row {index}");
        }
        assert_eq!(found.len(), 120, "{name}");
    }
}

#[test]
fn columns_that_nobody_looks_at_are_null() {
    let open = || File::open(fixture("snappy.parquet")).expect("the fixture");
    let found = rows(open(), &|name| name == "answer").expect("well-formed");
    assert_eq!((&found[1]["answer"], &found[1]["messages"]), (&written()[1]["answer"], &Value::Null));
    assert_eq!(rows(open(), &|_| false).expect("well-formed"), written(), "none known: all are shown");
}

#[test]
fn a_codec_that_is_not_read_is_named() {
    let file = File::open(fixture("brotli.parquet")).expect("the fixture");
    let error = rows(file, &|_| true).expect_err("brotli");
    assert!(error.starts_with("a Parquet page is packed with brotli, which is not read | write it anew"), "{error}");
}

fn changed(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<Value>, String> {
    let mut bytes = std::fs::read(fixture(name)).expect("the fixture");
    change(&mut bytes);
    let mut file = tempfile::tempfile().expect("a temporary file");
    io::Write::write_all(&mut file, &bytes).expect("written");
    rows(file, &|_| true)
}

#[test]
fn truncated_files_are_refused() {
    for length in [0, 4, 7, 12, 1000, 5000] {
        let error = changed("snappy.parquet", |bytes| bytes.truncate(length)).expect_err("truncated");
        assert!(error.contains("truncated or corrupt"), "{length}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever bytes are changed, reading ends with rows or an error.
    #[test]
    fn no_change_makes_it_panic_or_hang(
        name in prop_oneof![Just("snappy"), Just("gzip_v2"), Just("zstd_small_pages"), Just("lz4_plain"), Just("deltas")],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..6),
    ) {
        let _ = changed(&format!("{name}.parquet"), |bytes| {
            for (place, byte, late) in changes {
                // Half of the changes hit the metadata at the end.
                let range = if late { bytes.len().saturating_sub(6000)..bytes.len() } else { 0..bytes.len() };
                let at = range.start + place.index(range.len());
                bytes[at] = byte;
            }
        });
    }
}
