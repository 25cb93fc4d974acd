//! Files that are broken on purpose: every one ends in an error with its place, nothing is half-written, memory is bounded.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use medley_files::WithHelp as _;
use medley_mixer::{Mix, MixContext, ShardNumber, merge_shards, mix, mix_shard};
use medley_mixture::{MixError, MixSpec, MixtureNode, MixtureRatio, OnShortage, SourcePart, SourceSpec, Validation};

fn spec(path: &str) -> MixSpec {
    let node = MixtureNode { name: "a".to_owned(), ratio: MixtureRatio::Source("a".to_owned()) };
    let part = SourcePart { path: path.to_owned(), ..SourcePart::default() };
    MixSpec {
        size: 1,
        seed: 1,
        ratio: MixtureRatio::Group(vec![(1, node)]),
        on_shortage: OnShortage::Error,
        validation: Validation { fraction: 0.0, max_samples: 0 },
        sources: [("a".to_owned(), SourceSpec { parts: vec![part], ..SourceSpec::default() })].into_iter().collect(),
        ..MixSpec::default()
    }
}

fn run(folder: &Path, path: &str) -> Result<Mix, MixError> {
    mix(&spec(path), &MixContext::new(folder))
}

/// Problem and hint of a file with this content.
fn refused(name: &str, content: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(name), content).expect("written");
    run(folder.path(), name).err().map_or_else(|| panic!("{name} was accepted"), |error| error.with_help())
}

fn rows(count: usize) -> String {
    (0..count).map(|number| format!("{{\"instruction\":\"问{number}\",\"output\":\"答\"}}\n")).collect()
}

fn gzip(content: impl Read) -> Vec<u8> {
    let mut content = content;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::copy(&mut content, &mut encoder).expect("packs");
    encoder.finish().expect("packs")
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(format!("{}/../reader/tests/formats/{name}", env!("CARGO_MANIFEST_DIR"))).expect("the fixture")
}

/// The whole records before the break are counted, so that the error says where the file stops.
#[test]
fn a_truncated_packed_file_says_where_it_stops() {
    let packed = gzip(rows(20_000).as_bytes());
    let message = refused("a.jsonl.gz", &packed[..packed.len() / 2]);
    let place = message.strip_prefix("a.jsonl.gz:").and_then(|rest| rest.split(':').next()).expect("a place");
    let line: u64 = place.parse().expect("a line");
    assert!((5_000..15_000).contains(&line), "{message}");
    assert!(
        message.contains(&format!(": record {line}: the gzip stream ends early: the file is truncated")),
        "{message}"
    );
    for (name, packing) in [("rows.jsonl.zst", "zstd"), ("rows.jsonl.xz", "xz")] {
        let packed = fixture(name);
        let message = refused(name, &packed[..packed.len() - 40]);
        assert!(message.contains(&format!("the {packing} stream ends early: the file is truncated")), "{message}");
    }
}

#[test]
fn broken_content_names_file_and_record() {
    let good = rows(2);
    let with = |line: &str| format!("{good}{line}\n").into_bytes();
    let bomb = format!("{{\"instruction\":\"q\",\"output\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (content, expected) in [
        (with("{\"instruction\":\"q\",\"output\":\"a\0b\"}"), "a.jsonl:3: record 3: not valid JSON: control character"),
        (with("\0\0\0"), "a.jsonl:3: record 3: not valid JSON"),
        (with(&bomb), "a.jsonl:3: record 3: not valid JSON: recursion limit exceeded"),
        (
            with("{\"instruction\":\"q\",\"output\":\"a\",\"instruction\":\"r\"}"),
            "record 3: `instruction` appears twice in the record",
        ),
        (with("{\"instruction\":{\"a\":1},\"output\":\"a\"}"), "record 3: `instruction` is an object"),
        (with("{\"instruction\":true,\"output\":\"a\"}"), "record 3: `instruction` is true or false"),
        (with("{\"messages\":7}"), "record 3: `messages` is a number"),
        (with("[]"), "a.jsonl:3: record 3: the record is a list that begins with nothing"),
        (with("{\"instruction\":\"q\",\"output\":\"\\ud800\"}"), "a.jsonl:3: record 3: not valid JSON"),
        (
            [good.as_bytes(), b"{\"instruction\":\"\xff\",\"output\":\"a\"}\n"].concat(),
            "a.jsonl:3: record 3: not UTF-8 (byte 17",
        ),
        (b"\0\0\0\0".to_vec(), "a.jsonl: the file holds binary data"),
        (b"PK\x03\x04....".to_vec(), "a.jsonl: the file is packed as a zip archive"),
        (b"PAR1".to_vec(), "a.jsonl: the Parquet file ends early"),
        (gzip(&b"PAR1....PAR1"[..]), "a.jsonl: a Parquet file inside gzip"),
        (b"\n \n".to_vec(), "a.jsonl: the file is empty"),
        (gzip(&b""[..]), "a.jsonl: the file is empty"),
    ] {
        let message = refused("a.jsonl", &content);
        assert!(message.contains(expected), "expected {expected}: {message}");
        assert!(message.contains("\n  help: "), "{message}");
    }
    let table = refused("a.csv", b"question,answer\nq,a\n\"q\n,a\n");
    assert!(table.starts_with("a.csv:3: record 2: a quote opens in this row and is never closed"), "{table}");
    let table = refused("a.csv", b"question,answer\nq,\"a\"b\n");
    assert!(table.starts_with("a.csv:2: record 1: text follows a closing quote"), "{table}");
}

/// Runs one of the ignored tests below in a process of its own and gives back what it prints.
fn alone(test: &str) -> String {
    let this = std::env::current_exe().expect("this test");
    let output = Command::new(this).args([test, "--exact", "--ignored", "--nocapture"]).output().expect("runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

/// Peak memory of this process, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") / 1024
}

#[test]
#[cfg(target_os = "linux")]
fn memory_is_bounded() {
    for test in ["a_line_of_200_megabytes", "a_bomb_of_blank_lines", "an_array_on_one_line"] {
        let printed = alone(test);
        let peak = printed.split("peak ").nth(1).and_then(|rest| rest.split_whitespace().next());
        let peak: u64 = peak.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{printed}"));
        assert!(peak < 400, "{test}: {peak} MiB");
    }
}

#[test]
#[ignore = "run by memory_is_bounded in a process of its own"]
fn a_line_of_200_megabytes() {
    let line = (&b"{\"instruction\":\"q\",\"output\":\""[..]).chain_bytes(200 << 20, b'x').chain_end(b"\"}\n");
    let message = refused("a.jsonl.gz", &gzip(line));
    assert!(message.starts_with("a.jsonl.gz:1: record 1: the record is longer than 64 MiB"), "{message}");
    println!("peak {} MiB", peak());
}

#[test]
#[ignore = "run by memory_is_bounded in a process of its own"]
fn a_bomb_of_blank_lines() {
    let bomb = (&b"{\"instruction\":\"q\",\"output\":\"a\"}"[..]).chain_bytes(64 << 20, b'\n').chain_end(b"x");
    let message = refused("a.jsonl.gz", &gzip(bomb));
    assert!(message.contains(": record 2: not valid JSON"), "{message}");
    println!("peak {} MiB", peak());
}

/// An array far larger than what is held of it, all on one line.
#[test]
#[ignore = "run by memory_is_bounded in a process of its own"]
fn an_array_on_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = std::io::BufWriter::new(fs::File::create(folder.path().join("a.json")).expect("created"));
    let filler = "长".repeat(300);
    for number in 0..200_000 {
        let before = if number == 0 { "[" } else { "," };
        write!(file, "{before}{{\"instruction\":\"问{number}\",\"output\":\"{filler}\"}}").expect("written");
    }
    file.write_all(b"]").and_then(|()| file.flush()).expect("written");
    let read = run(folder.path(), "a.json").expect("an array").ledger.sources["a"].read;
    assert_eq!(read, 200_000);
    println!("peak {} MiB", peak());
}

/// Readers of much text that is never held.
trait Much: Read + Sized {
    fn chain_bytes(self, count: u64, byte: u8) -> std::io::Chain<Self, std::io::Take<std::io::Repeat>> {
        self.chain(std::io::repeat(byte).take(count))
    }

    fn chain_end(self, end: &'static [u8]) -> std::io::Chain<Self, &'static [u8]> {
        self.chain(end)
    }
}

impl<R: Read> Much for R {}

/// A file that grows or goes while it is read.
#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    for remove in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.jsonl");
        fs::write(&path, rows(100_000)).expect("written");
        let done = AtomicBool::new(false);
        let meddle = |_: medley_mixer::MixProgress<'_>| {
            if !done.swap(true, Ordering::Relaxed) {
                match remove {
                    true => fs::remove_file(&path).expect("removed"),
                    false => {
                        let mut file = fs::OpenOptions::new().append(true).open(&path).expect("opened");
                        file.write_all(rows(1).as_bytes()).expect("written");
                    }
                }
            }
        };
        let context = MixContext { progress: Some(&meddle), ..MixContext::new(folder.path()) };
        let message = mix(&spec("a.jsonl"), &context).expect_err("changed").to_string();
        assert!(message.starts_with("a.jsonl: the file changed or disappeared while it was read"), "{message}");
    }
}

#[test]
#[cfg(unix)]
fn what_may_not_be_read_is_named() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().expect("a folder");
    symlink("nowhere", folder.path().join("dangling.jsonl")).expect("a link");
    let message = run(folder.path(), "dangling.jsonl").expect_err("dangling").to_string();
    assert!(message.contains("`dangling.jsonl` does not exist"), "{message}");
    let path = folder.path().join("secret.jsonl");
    fs::write(&path, rows(1)).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("set");
    if fs::read(&path).is_ok() {
        eprintln!("SKIPPED: this user may read everything, so a missing permission cannot be tried");
        return;
    }
    let message = run(folder.path(), "secret.jsonl").expect_err("secret").to_string();
    assert!(message.starts_with("secret.jsonl: cannot be read: Permission denied"), "{message}");
    assert!(message.contains("permissions"), "{message}");
}

/// A disk that takes no more: the limit on a file's size stands for it.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_nothing_half_written() {
    let this = std::env::current_exe().expect("this test");
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" writing_to_a_full_disk --exact --ignored";
    let output = Command::new("sh").args(["-c", script]).arg(this).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "run by a_full_disk_leaves_nothing_half_written under a limit"]
fn writing_to_a_full_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    for part in 0..40 {
        let lines: String = (0..20)
            .map(|number| format!("{{\"instruction\":\"问{part}-{number}\",\"output\":\"{}\"}}\n", "答".repeat(100)))
            .collect();
        fs::write(folder.path().join(format!("{part}.jsonl")), lines).expect("below the limit");
    }
    let mixed = mix(&MixSpec { size: 700, ..spec("*.jsonl") }, &MixContext::new(folder.path())).expect("mixed");
    let out = folder.path().join("out");
    let message = mixed.write(&out).expect_err("no room").to_string();
    assert!(message.contains("mix.jsonl") && message.contains("File too large"), "{message}");
    let left = |folder: &Path| -> Vec<_> {
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect()
    };
    assert!(left(&out).is_empty(), "{:?}", left(&out));
    let (shards, shard) = (folder.path().join("shards"), ShardNumber { number: 1, of: 1 });
    let all = MixSpec { size: 700, ..spec("*.jsonl") };
    let shard = mix_shard(&all, &MixContext::new(folder.path()), shard, 0.05, &shards.join("1"));
    assert!(shard.expect_err("no room").to_string().contains("File too large"));
    assert!(left(&shards).is_empty(), "{:?}", left(&shards));
}

/// A process that is killed while it writes leaves what was there before, or the whole of what it wrote.
#[test]
#[cfg(target_os = "linux")]
fn a_killed_writer_leaves_nothing_half_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let this = std::env::current_exe().expect("this test");
    for round in 0..12u64 {
        let mut writer = Command::new(&this)
            .args(["writing_until_killed", "--exact", "--ignored"])
            .env("MEDLEY_TEST_FOLDER", folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("runs");
        let started = std::time::Instant::now();
        while !folder.path().join("mix/manifest.json").exists() && started.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(round * 7 % 40));
        writer.kill().expect("killed");
        writer.wait().expect("ended");
        // A manifest is there only with the files that it describes.
        if let Ok(manifest) = fs::read_to_string(folder.path().join("mix/manifest.json")) {
            let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("whole");
            let mix = fs::read(folder.path().join("mix/mix.jsonl")).expect("there");
            assert_eq!(manifest["mix"]["records"], mix.iter().filter(|byte| **byte == b'\n').count());
        }
        if folder.path().join("shards/1").exists() {
            let shards = [folder.path().join("shards/1")];
            merge_shards(&spec("a.jsonl"), &MixContext::new(folder.path()), &shards).expect("a whole shard");
        }
    }
}

#[test]
#[ignore = "run by a_killed_writer_leaves_nothing_half_written, which kills it"]
fn writing_until_killed() {
    let folder = std::path::PathBuf::from(std::env::var("MEDLEY_TEST_FOLDER").expect("a folder"));
    fs::write(folder.join("a.jsonl"), rows(3000)).expect("written");
    let (spec, context) = (spec("a.jsonl"), MixContext::new(&folder));
    for _ in 0..2000 {
        mix(&spec, &context).expect("mixed").write(&folder.join("mix")).expect("written");
        let shard = ShardNumber { number: 1, of: 1 };
        mix_shard(&spec, &context, shard, 0.05, &folder.join("shards/1")).expect("written");
    }
}
