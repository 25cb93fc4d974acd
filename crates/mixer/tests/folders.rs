//! Folders as sources: clones of hub data sets, folders saved by `datasets`, and formats that are not read.

use std::fs;
use std::path::Path;

use medley_files::WithHelp as _;
use medley_mixer::{MixContext, mix};
use medley_mixture::{MixSpec, MixtureNode, MixtureRatio, OnShortage, SourcePart, SourceSpec, Validation};

const RECORD: &str = "{\"question\":\"头痛怎么办\",\"answer\":\"多休息\"}";

fn put(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, content).expect("written");
}

fn part(path: &str) -> SourcePart {
    SourcePart { path: path.to_owned(), ..SourcePart::default() }
}

/// The files that are read of a source and the number of their records, or the error.
fn read_part(folder: &Path, part: SourcePart) -> Result<(String, u64), String> {
    let node = MixtureNode { name: "a".to_owned(), ratio: MixtureRatio::Source("a".to_owned()) };
    let spec = MixSpec {
        size: 100,
        seed: 1,
        ratio: MixtureRatio::Group(vec![(1, node)]),
        on_shortage: OnShortage::Shrink,
        validation: Validation { fraction: 0.0, max_samples: 0 },
        sources: [("a".to_owned(), SourceSpec { parts: vec![part], ..SourceSpec::default() })].into_iter().collect(),
        ..MixSpec::default()
    };
    let mixed = mix(&spec, &MixContext::new(folder)).map_err(|error| error.with_help())?;
    let files: Vec<&str> = mixed.manifest().sources["a"].files.iter().map(|file| file.file.as_str()).collect();
    Ok((files.join(" "), mixed.ledger.sources["a"].read))
}

fn read(folder: &Path, path: &str) -> Result<(String, u64), String> {
    read_part(folder, part(path))
}

#[test]
fn descriptions_are_passed_over_as_on_the_hub() {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "clone/data/train.json", format!("[{RECORD}]"));
    for name in [
        "dataset_infos.json",
        "dataset_info.json",
        "dataset_dict.json",
        "state.json",
        "metadata.json",
        "data/metadata.json",
        "Dataset-Metadata.json",
        "README.md",
        "LICENSE",
        ".cache/huggingface/x.json",
    ] {
        put(folder.path(), &format!("clone/{name}"), "{\"default\": {\"features\": {}, \"splits\": [1]}}");
    }
    assert_eq!(read(folder.path(), "clone"), Ok(("clone/data/train.json".to_owned(), 1)));
}

/// A file that the recipe names is read even if its name is that of a description.
#[test]
fn a_file_that_is_named_is_read_whatever_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "mine/metadata.json", format!("{RECORD}\n"));
    assert_eq!(read(folder.path(), "mine/metadata.json"), Ok(("mine/metadata.json".to_owned(), 1)));
    assert_eq!(read(folder.path(), "mine/*.json"), Ok(("mine/metadata.json".to_owned(), 1)));
    let chosen = SourcePart { files: Some("metadata.json".to_owned()), ..part("mine") };
    assert_eq!(read_part(folder.path(), chosen), Ok(("mine/metadata.json".to_owned(), 1)));
    let message = read(folder.path(), "mine").expect_err("nothing else");
    assert!(message.contains("`metadata.json` is taken for a description"), "{message}");
    assert!(message.contains("name the file itself in `path`"), "{message}");
}

#[test]
fn of_copies_in_several_layouts_one_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let csv = "question,answer\n咳嗽怎么办,多喝水\n";
    // A clone is read as the data set on the hub is: one layout.
    put(folder.path(), "clone/README.md", "---\nlicense: mit\n---\n");
    put(folder.path(), "clone/all.json", format!("{RECORD}\n"));
    put(folder.path(), "clone/other.csv", csv);
    assert_eq!(read(folder.path(), "clone"), Ok(("clone/all.json".to_owned(), 1)));
    // In other folders, only copies with the same stem are skipped: other files may have other records.
    put(folder.path(), "mine/train.jsonl", format!("{RECORD}\n"));
    put(folder.path(), "mine/csv/train.csv", csv);
    put(folder.path(), "mine/extra.csv", csv);
    assert_eq!(read(folder.path(), "mine"), Ok(("mine/extra.csv mine/train.jsonl".to_owned(), 2)));
    let chosen = SourcePart { files: Some("*.csv".to_owned()), ..part("clone") };
    assert_eq!(read_part(folder.path(), chosen), Ok(("clone/other.csv".to_owned(), 1)));
}

#[test]
fn what_is_no_text_is_named_with_the_way_to_one() {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "saved/dataset_info.json", "{}");
    put(folder.path(), "saved/state.json", "{}");
    put(folder.path(), "saved/data-00000-of-00001.arrow", b"\xff\xff\xff\xff\xb0\x02\0\0\x10\0\0\0\0\0\x0a\0");
    for path in ["saved", "saved/data-00000-of-00001.arrow", "saved/*.arrow"] {
        let message = read(folder.path(), path).expect_err(path);
        assert!(message.contains("an Arrow file, as `datasets` saves it"), "{path}: {message}");
        assert!(message.contains("load_from_disk") && message.contains("to_json"), "{path}: {message}");
    }
    let tar = {
        let mut tar = vec![b'a'; 1024];
        tar[257..262].copy_from_slice(b"ustar");
        tar
    };
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, bytes).expect("packs");
        encoder.finish().expect("packs")
    };
    for (name, content, named, way) in [
        ("a.feather", b"ARROW1\0\0....".to_vec(), "an Arrow (Feather) file", "read_feather"),
        ("a.pickle", b"\x80\x04\x95....".to_vec(), "a Python pickle", "read_pickle"),
        ("a.pkl", b"\x80\x04\x95....".to_vec(), "a Python pickle", "read_pickle"),
        ("a.xlsx", b"PK\x03\x04....".to_vec(), "an Excel workbook", "CSV"),
        ("a.zip", b"PK\x03\x04....".to_vec(), "packed as a zip archive", "unpack it"),
        ("a.bin", b"PK\x03\x04....".to_vec(), "a file of PyTorch weights", "model.base"),
        ("a.tar.gz", gzip(&tar), "a tar archive", "tar xf"),
        ("a.tar", tar.clone(), "a tar archive", "tar xf"),
        (
            "a.json",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_vec(),
            "Git LFS",
            "git lfs pull",
        ),
        ("a.jsonl", b"<!DOCTYPE html><html>".to_vec(), "an HTML page", "fetch the file again"),
        ("a.sqlite", b"SQLite format 3\0...".to_vec(), "an SQLite database", "JSON Lines"),
    ] {
        put(folder.path(), &format!("kinds/{name}"), &content);
        let message = read(folder.path(), &format!("kinds/{name}")).expect_err(name);
        let (problem, hint) = message.split_once("\n  help: ").expect("a hint");
        assert!(problem.contains(named) && hint.contains(way), "{name}: {message}");
        // A folder of it alone is refused alike, if the suffix is known.
        put(folder.path(), &format!("only-{name}/x/{name}"), &content);
        let message = read(folder.path(), &format!("only-{name}")).expect_err(name);
        let expected = if name == "a.sqlite" { "holds no data files" } else { named };
        assert!(message.contains(expected), "{name}: {message}");
    }
}

/// Opening a pipe would block until there is a writer.
#[test]
#[cfg(unix)]
fn pipes_sockets_and_devices_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe.jsonl")).status();
    assert!(made.is_ok_and(|status| status.success()));
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket.jsonl")).expect("a socket");
    put(folder.path(), "in/a.jsonl", format!("{RECORD}\n"));
    fs::rename(folder.path().join("pipe.jsonl"), folder.path().join("in/pipe.jsonl")).expect("moved");
    for (path, what) in [
        ("in/pipe.jsonl", "a named pipe (FIFO)"),
        ("in", "a named pipe (FIFO)"),
        ("socket.jsonl", "a socket"),
        ("/dev/zero", "a device"),
    ] {
        let message = read(folder.path(), path).expect_err(path);
        assert!(message.contains(what) && message.contains("not a file"), "{path}: {message}");
    }
    for path in ["", " "] {
        let message = read(folder.path(), path).expect_err("empty");
        assert!(message.contains("`path` is empty"), "{message}");
    }
}

/// An invalid byte is reported with its position; a file in another encoding is refused with the encoding's name.
#[test]
fn a_damaged_byte_and_another_encoding_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let ascii: String = (0..2000).map(|number| format!("{{\"question\":\"q{number}\",\"answer\":\"a\"}}\n")).collect();
    for byte in [0x80u8, 0xa0, 0xc3, 0xe9, 0xff] {
        let mut bytes = ascii.clone().into_bytes();
        let at = ascii.find("q1234\"").expect("there") + 1;
        bytes[at] = byte;
        put(folder.path(), "a.jsonl", &bytes);
        let message = read(folder.path(), "a.jsonl").expect_err("damaged");
        let expected =
            format!("a.jsonl:1235: record 1235: not UTF-8 (byte 15 of the record): one damaged place, 0x{byte:02X}");
        assert!(message.starts_with(&expected), "{message}");
        assert!(!message.contains("encoding ="), "{message}");
    }
    put(folder.path(), "a.csv", b"question,answer\nhead\xfeache,rest\nfever,water\n");
    let message = read(folder.path(), "a.csv").expect_err("damaged");
    assert!(
        message.starts_with("a.csv:2: record 1: not UTF-8 (byte 5 of the record): one damaged place, 0xFE"),
        "{message}"
    );
    let (korean, _, _) = encoding_rs::EUC_KR.encode("question,answer\n머리가 아파요,쉬세요\n열이 나요,물을 드세요\n");
    put(folder.path(), "k.csv", &korean);
    let message = read(folder.path(), "k.csv").expect_err("Korean");
    assert!(message.starts_with("k.csv: the text is not UTF-8; it looks like EUC-KR"), "{message}");
    let named = SourcePart { encoding: Some("euc-kr".to_owned()), ..part("k.csv") };
    assert_eq!(read_part(folder.path(), named).map(|(_, count)| count), Ok(2));
}

/// A mix that exceeds the memory is refused before it is assembled.
#[test]
fn an_absurd_size_of_repeated_records_is_refused_with_a_message() {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "a.jsonl", format!("{RECORD}\n"));
    for size in [1 << 40, 1 << 50, usize::MAX / 4] {
        let node = MixtureNode { name: "a".to_owned(), ratio: MixtureRatio::Source("a".to_owned()) };
        let spec = MixSpec {
            size,
            seed: 1,
            ratio: MixtureRatio::Group(vec![(1, node)]),
            on_shortage: OnShortage::Repeat,
            validation: Validation { fraction: 0.0, max_samples: 0 },
            sources: [("a".to_owned(), SourceSpec { parts: vec![part("a.jsonl")], ..SourceSpec::default() })]
                .into_iter()
                .collect(),
            ..MixSpec::default()
        };
        let message = mix(&spec, &MixContext::new(folder.path())).expect_err("too large").to_string();
        assert!(message.contains(&format!("a mix of {size} samples takes at least")), "{message}");
        let threads = MixContext { threads: Some(60_000), ..MixContext::new(folder.path()) };
        let message = mix(&MixSpec { size: 1, ..spec }, &threads).expect_err("too many").to_string();
        assert!(message.contains("cannot start 60000 threads: 1024 are the most"), "{message}");
    }
}
