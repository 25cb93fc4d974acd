use super::*;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/formats/{name}", env!("CARGO_MANIFEST_DIR"))).expect("the fixture")
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut encoder, content).expect("packs");
    encoder.finish().expect("packs")
}

fn unpacked(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let packing = Packing::recognise(&bytes);
    let mut unpacked = Vec::new();
    let read = packing.unpack(io::Cursor::new(bytes)).expect("memory").read_to_end(&mut unpacked);
    read.map_err(|error| Problem::of_reading(&error).problem)?;
    Ok(unpacked)
}

fn packed() -> [(Packing, Vec<u8>); 3] {
    let text = fixture("rows.jsonl");
    let (head, tail) = text.split_at(1000);
    [
        (Packing::Gzip, [gzip(head), gzip(tail)].concat()),
        (Packing::Zstandard, fixture("rows.jsonl.zst")),
        (Packing::Xz, fixture("rows.jsonl.xz")),
    ]
}

#[test]
fn every_packing_is_recognised_and_unpacked_to_its_last_stream() {
    let text = fixture("rows.jsonl");
    for (packing, bytes) in packed() {
        assert_eq!(Packing::recognise(&bytes), packing);
        assert!(unpacked(bytes).expect("unpacks") == text, "{packing}");
    }
    assert_eq!(unpacked(b"{}".to_vec()).expect("plain"), b"{}");
    // A skippable frame before the first one.
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &fixture("rows.jsonl.zst")].concat();
    assert!(unpacked(skipped).expect("unpacks") == text);
}

#[test]
fn truncated_streams_are_named() {
    for (packing, bytes) in packed() {
        for length in [bytes.len() - 1, bytes.len() - 9, bytes.len() / 2, 20] {
            let error = unpacked(bytes[..length].to_vec()).expect_err("truncated");
            assert_eq!(error, format!("the {packing} stream ends early: the file is truncated"), "{length}");
        }
    }
}

/// gzip pads with zeros; any other bytes may be lost data and are not called a truncated stream.
#[test]
fn bytes_behind_a_gzip_stream() {
    let text = b"{\"a\": 1}\n";
    for padding in [1, 512, 1 << 20] {
        assert_eq!(unpacked([gzip(text), vec![0; padding]].concat()).expect("padding"), text, "{padding}");
        let further = [gzip(text), vec![0; padding], gzip(text)].concat();
        assert_eq!(unpacked(further).expect("members"), text.repeat(2), "{padding}");
    }
    for junk in [&b"x"[..], b"\n", b"{\"a\": 2}\n{\"a\": 3}\n", &[0, 0, 7]] {
        let error = unpacked([&gzip(text), junk].concat()).expect_err("other bytes");
        assert_eq!(error, "the gzip stream is corrupt (other bytes follow it)", "{junk:?}");
    }
}

#[test]
fn bytes_behind_a_zstd_stream() {
    let error = unpacked([&fixture("rows.jsonl.zst")[..], b"{\"a\": 2}\n"].concat()).expect_err("other bytes");
    assert_eq!(error, "the zstd stream is corrupt (Unknown frame descriptor)");
}

#[test]
fn a_zstd_window_beyond_the_limit_is_refused_before_it_is_allocated() {
    // Magic number, a frame header of nothing but the window's logarithm, and an empty last block.
    let frame = |log: u8| vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3, 1, 0, 0];
    assert_eq!(unpacked(frame(27)).expect("within the limit"), b"");
    let error = unpacked(frame(28)).expect_err("beyond the limit");
    assert_eq!(error, "the zstd stream needs a window of more than 128 MiB");
}

#[test]
fn a_wrong_checksum_of_a_zstd_frame_is_corrupt() {
    let text = fixture("rows.jsonl");
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.include_checksum(true).expect("set");
    io::Write::write_all(&mut encoder, &text).expect("packs");
    let mut bytes = encoder.finish().expect("packs");
    assert!(unpacked(bytes.clone()).expect("unpacks") == text);
    *bytes.last_mut().expect("a checksum") ^= 1;
    let error = unpacked(bytes).expect_err("another checksum");
    assert!(error.starts_with("the zstd stream is corrupt ("), "{error}");
}

#[test]
fn corrupt_streams_are_named() {
    for (packing, bytes) in packed() {
        let mut corrupt = bytes.clone();
        let middle = corrupt.len() / 3;
        corrupt[middle..middle + 8].fill(0xa5);
        let error = unpacked(corrupt).expect_err("corrupt");
        assert!(error.starts_with(&format!("the {packing} stream ")), "{error}");
    }
}

#[test]
fn the_dictionary_of_an_xz_file_is_known_before_it_is_unpacked() {
    let mut bytes = fixture("rows.jsonl.xz");
    let found = xz_dictionary(&bytes).expect("a dictionary");
    assert!(found.is_power_of_two() && found >= 1 << 16, "{found}");
    assert!(Packing::Xz.check_memory(&bytes).is_ok());
    // The properties of LZMA2 follow its filter ID and their length.
    let at = bytes.windows(2).position(|pair| pair == [0x21, 1]).expect("the filter") + 2;
    bytes[at] = 40;
    assert_eq!(xz_dictionary(&bytes), Some(u32::MAX as usize));
    assert_eq!(xz_dictionary(&bytes[..at]), None);
}
