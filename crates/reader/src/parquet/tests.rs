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
    for name in ["snappy", "gzip_v2", "zstd_small_pages", "lz4_plain", "brotli", "deltas"] {
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
    let error = codec::unpack(3, b"", 1).map_err(Problem::from).expect_err("LZO");
    assert_eq!(error.problem, "a Parquet page is packed with LZO, which is not read");
    assert!(error.hint.starts_with("write it anew with snappy, gzip, brotli, zstd or lz4"), "{error:?}");
}

/// Pages of one frame, of several, without a stated length, and those that state more than they hold.
#[test]
fn zstd_pages_of_any_frames() {
    let text = b"text ".repeat(1000);
    let frame = zstd::bulk::compress(&text, 3).expect("packs");
    assert!(codec::unpack(6, &frame, text.len()).expect("one frame") == text);
    let two = [&frame[..], &frame].concat();
    assert!(codec::unpack(6, &two, 2 * text.len()).expect("two frames") == text.repeat(2));
    let streamed = zstd::encode_all(&text[..], 3).expect("packs");
    assert!(codec::unpack(6, &streamed, text.len()).expect("no length") == text);
    for length in [text.len() - 1, text.len() + 1, 0, LARGEST_PAGE] {
        assert!(codec::unpack(6, &frame, length).is_err(), "{length}");
        assert!(codec::unpack(6, &streamed, length).is_err(), "{length}");
    }
}

#[test]
fn brotli_pages_with_large_windows_are_refused() {
    // The reserved window bits, then 30 as the size of the window.
    assert!(codec::unpack(4, &[0x11, 30, 3], 1).is_err());
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
        name in prop_oneof![Just("snappy"), Just("gzip_v2"), Just("zstd_small_pages"), Just("lz4_plain"), Just("brotli"), Just("deltas")],
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
