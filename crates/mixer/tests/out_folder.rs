//! Output folders of mixes, merges and shards: foreign files are never lost, and no two processes write at once.

use std::fs;
use std::path::Path;

use medley_files::FolderLock;
use medley_files::WithHelp as _;
use medley_mixer::{MixContext, OutFolder, ShardNumber, merge_shards, mix, mix_shard};
use medley_mixture::{MixError, MixSpec, MixtureNode, MixtureRatio, SourcePart, SourceSpec, Validation};

fn rows(count: usize) -> String {
    (0..count).map(|number| format!("{{\"instruction\":\"问{number}\",\"output\":\"答{number}\"}}\n")).collect()
}

fn spec(path: &str) -> MixSpec {
    let node = MixtureNode { name: "a".to_owned(), ratio: MixtureRatio::Source("a".to_owned()) };
    let part = SourcePart { path: path.to_owned(), ..SourcePart::default() };
    MixSpec {
        size: 20,
        seed: 1,
        ratio: MixtureRatio::Group(vec![(1, node)]),
        validation: Validation { fraction: 0.2, max_samples: 5 },
        sources: [("a".to_owned(), SourceSpec { parts: vec![part], ..SourceSpec::default() })].into_iter().collect(),
        ..MixSpec::default()
    }
}

fn with_rows() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("rows.jsonl"), rows(100)).expect("written");
    folder
}

/// Mixes like `medley mix --out`.
fn make(folder: &Path, path: &str, out: &str) -> Result<(), MixError> {
    let mut out = OutFolder::claim(&folder.join(out))?;
    let mixed = mix(&spec(path), &MixContext { out: Some(&out), ..MixContext::new(folder) })?;
    out.write(&mixed, &[])
}

fn shard(folder: &Path, path: &str, out: &str) -> Result<(), MixError> {
    let number = ShardNumber { number: 1, of: 1 };
    mix_shard(&spec(path), &MixContext::new(folder), number, 0.05, &folder.join(out)).map(drop)
}

fn merge(folder: &Path, path: &str, from: &str, out: &str) -> Result<(), MixError> {
    let mut out = OutFolder::claim(&folder.join(out))?;
    let context = MixContext { out: Some(&out), ..MixContext::new(folder) };
    let mixed = merge_shards(&spec(path), &context, &[folder.join(from)])?;
    out.write(&mixed, &[])
}

/// Names and bytes of a folder's files.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |entry: fs::DirEntry| {
        (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap_or_default())
    };
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| read(entry.expect("an entry"))).collect();
    files.sort();
    files
}

fn names(folder: &Path) -> Vec<String> {
    files(folder).into_iter().map(|(name, _)| name).collect()
}

const MIX: [&str; 4] = ["ledger.json", "manifest.json", "mix.jsonl", "validation.jsonl"];

#[test]
fn a_folder_with_other_files_is_left_as_it_is() {
    for (name, content) in [
        ("validation.jsonl", "mine"),
        ("mix.jsonl", "mine"),
        ("ledger.json", "{}"),
        ("report.html", "<!doctype html><title>Thesis</title>"),
        ("manifest.json", "{\"name\":\"a web app\",\"manifest_version\":3}"),
        ("manifest.json", "not even JSON"),
        ("shard.json", "{\"shard\":1}"),
        ("run.json", "{}"),
        ("notes.txt", "years of work"),
        (".lock", "another program's"),
    ] {
        let folder = with_rows();
        shard(folder.path(), "rows.jsonl", "shard").expect("a shard");
        let out = folder.path().join("out");
        fs::create_dir(&out).expect("made");
        fs::write(out.join(name), content).expect("written");
        fs::write(out.join("b.txt"), "b").expect("written");
        let before = files(&out);
        for refused in [
            make(folder.path(), "rows.jsonl", "out"),
            shard(folder.path(), "rows.jsonl", "out"),
            merge(folder.path(), "rows.jsonl", "shard", "out"),
        ] {
            let message = refused.expect_err(name).with_help();
            assert!(message.contains("--out") && message.contains("out"), "{name}: {message}");
            assert_eq!(files(&out), before, "{name}");
        }
    }
}

#[test]
fn the_own_earlier_result_is_replaced() {
    let folder = with_rows();
    for out in ["new", "deep/er", "empty"] {
        if out == "empty" {
            fs::create_dir(folder.path().join(out)).expect("made");
        }
        make(folder.path(), "rows.jsonl", out).expect("mixed");
        let first = files(&folder.path().join(out));
        assert_eq!(names(&folder.path().join(out)), MIX);
        // A user's own file beside a mix stays.
        fs::write(folder.path().join(out).join("notes.txt"), "mine").expect("written");
        make(folder.path(), "rows.jsonl", out).expect("mixed again");
        assert_eq!(fs::read_to_string(folder.path().join(out).join("notes.txt")).expect("there"), "mine");
        fs::remove_file(folder.path().join(out).join("notes.txt")).expect("removed");
        assert_eq!(files(&folder.path().join(out)), first);
    }
    shard(folder.path(), "rows.jsonl", "shards/1").expect("a shard");
    let first = files(&folder.path().join("shards/1"));
    shard(folder.path(), "rows.jsonl", "shards/1").expect("a shard again");
    assert_eq!(files(&folder.path().join("shards/1")), first);
    assert_eq!(names(&folder.path().join("shards")), ["1"]);
    // The folder of a shard is replaced as a whole, so nothing else may be in it.
    fs::write(folder.path().join("shards/1/notes.txt"), "mine").expect("written");
    let message = shard(folder.path(), "rows.jsonl", "shards/1").expect_err("other files").with_help();
    assert!(message.contains("notes.txt"), "{message}");
}

#[test]
fn a_mix_and_a_shard_do_not_take_each_others_place() {
    let folder = with_rows();
    make(folder.path(), "rows.jsonl", "mix").expect("mixed");
    shard(folder.path(), "rows.jsonl", "shard").expect("a shard");
    let before = [files(&folder.path().join("mix")), files(&folder.path().join("shard"))];
    let message = shard(folder.path(), "rows.jsonl", "mix").expect_err("a mix").with_help();
    assert!(message.contains("contains a mix, not a shard"), "{message}");
    for refused in [make(folder.path(), "rows.jsonl", "shard"), merge(folder.path(), "rows.jsonl", "shard", "shard")] {
        let message = refused.expect_err("a shard").with_help();
        assert!(message.contains("contains a shard, not a mix"), "{message}");
    }
    assert_eq!([files(&folder.path().join("mix")), files(&folder.path().join("shard"))], before);
}

/// Records that changed since the mix was written are not lost.
#[test]
fn changed_records_are_not_overwritten() {
    let folder = with_rows();
    make(folder.path(), "rows.jsonl", "out").expect("mixed");
    fs::write(folder.path().join("out/validation.jsonl"), "mine").expect("written");
    let before = files(&folder.path().join("out"));
    let message = make(folder.path(), "rows.jsonl", "out").expect_err("changed").with_help();
    assert!(message.contains("validation.jsonl: this is not the file that the mix wrote"), "{message}");
    assert_eq!(files(&folder.path().join("out")), before);
    fs::remove_file(folder.path().join("out/validation.jsonl")).expect("removed");
    make(folder.path(), "rows.jsonl", "out").expect("what is missing is no loss");
}

#[test]
fn a_source_is_never_overwritten() {
    let folder = with_rows();
    make(folder.path(), "rows.jsonl", "out").expect("mixed");
    let small = |path: &str| MixSpec { size: 2, ..spec(path) };
    let before = files(&folder.path().join("out"));
    let mut paths = vec!["out/mix.jsonl", "out/../out/mix.jsonl", "out/*.jsonl", "out"];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.path().join("out"), folder.path().join("link")).expect("linked");
        std::os::unix::fs::symlink(folder.path().join("out/mix.jsonl"), folder.path().join("l.jsonl")).expect("linked");
        paths.extend(["link/mix.jsonl", "l.jsonl"]);
    }
    for path in paths {
        let out = OutFolder::claim(&folder.path().join("out")).expect("the own folder");
        let context = MixContext { out: Some(&out), ..MixContext::new(folder.path()) };
        let message = mix(&small(path), &context).expect_err(path).with_help();
        assert!(message.contains("would overwrite this source"), "{path}: {message}");
        // The ledger in the folder is not a file of records, so there is no shard of the whole folder.
        if path != "out" {
            let (number, shard) = (ShardNumber { number: 1, of: 1 }, folder.path().join("shard"));
            mix_shard(&small(path), &MixContext::new(folder.path()), number, 0.05, &shard).expect("a shard");
            let message = merge_shards(&small(path), &context, &[shard]).expect_err(path).with_help();
            assert!(message.contains("would overwrite this source"), "{path}: {message}");
        }
        drop(out);
        assert_eq!(files(&folder.path().join("out")), before, "{path}");
    }
    // A source in the folder is accepted if no output has its name.
    fs::write(folder.path().join("out/more.jsonl"), rows(50)).expect("written");
    let mut out = OutFolder::claim(&folder.path().join("out")).expect("the own folder");
    let context = MixContext { out: Some(&out), ..MixContext::new(folder.path()) };
    let mixed = mix(&small("out/more.jsonl"), &context).expect("mixed");
    out.write(&mixed, &[]).expect("written");
    let inside = shard(folder.path(), "shard/sample-0.jsonl", "shard").expect_err("its own").with_help();
    assert!(inside.contains("would overwrite this source"), "{inside}");
}

#[test]
fn a_merge_does_not_overwrite_its_source() {
    let folder = with_rows();
    make(folder.path(), "rows.jsonl", "out").expect("mixed");
    fs::write(folder.path().join("other.jsonl"), rows(100)).expect("written");
    let path = "out/more/../validation.jsonl";
    fs::create_dir(folder.path().join("out/more")).expect("made");
    let number = ShardNumber { number: 1, of: 1 };
    let small = MixSpec { size: 1, ..spec(path) };
    mix_shard(&small, &MixContext::new(folder.path()), number, 0.05, &folder.path().join("s")).expect("a shard");
    let out = OutFolder::claim(&folder.path().join("out")).expect("the own folder");
    let context = MixContext { out: Some(&out), ..MixContext::new(folder.path()) };
    let message = merge_shards(&small, &context, &[folder.path().join("s")]).expect_err("its source").with_help();
    assert!(message.contains("would overwrite this source"), "{message}");
}

#[test]
fn the_second_of_two_is_refused() {
    let folder = with_rows();
    shard(folder.path(), "rows.jsonl", "shard").expect("a shard");
    let held = OutFolder::claim(&folder.path().join("out")).expect("free");
    for refused in [make(folder.path(), "rows.jsonl", "out"), merge(folder.path(), "rows.jsonl", "shard", "out")] {
        let message = refused.expect_err("held").with_help();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    }
    drop(held);
    assert!(!folder.path().join("out").exists(), "a folder that was made for nothing goes again");
    make(folder.path(), "rows.jsonl", "out").expect("free again");
    assert_eq!(names(&folder.path().join("out")), MIX);

    // Eight at once: each succeeds or is refused, and the result is complete.
    let ended: Vec<Result<(), MixError>> = std::thread::scope(|scope| {
        let each = |_| scope.spawn(|| make(folder.path(), "rows.jsonl", "many"));
        let threads: Vec<_> = (0..8).map(each).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(ended.iter().any(Result::is_ok));
    for error in ended.into_iter().filter_map(Result::err) {
        assert!(error.to_string().contains("works in this folder"), "{error}");
    }
    assert_eq!(files(&folder.path().join("many")), files(&folder.path().join("out")));

    let ended: Vec<Result<(), MixError>> = std::thread::scope(|scope| {
        let each = |_| scope.spawn(|| shard(folder.path(), "rows.jsonl", "shards/1"));
        let threads: Vec<_> = (0..8).map(each).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(ended.iter().any(Result::is_ok));
    assert_eq!(files(&folder.path().join("shards/1")), files(&folder.path().join("shard")));
    assert_eq!(names(&folder.path().join("shards")), ["1"]);
}

/// The next process removes the temporary files of killed ones, and nothing else.
#[test]
fn leftovers_of_killed_processes_go() {
    let folder = with_rows();
    let out = folder.path().join("out");
    make(folder.path(), "rows.jsonl", "whole").expect("mixed");
    let whole = files(&folder.path().join("whole"));
    // Killed while it read, while it wrote, and between two renames.
    for (lock, left) in [
        ("process 1, mix", vec![]),
        ("process 1, mix", vec![".partial-a1b2c3"]),
        ("process 1, mix (replacing files)", vec!["mix.jsonl", ".partial-a1b2c3"]),
        ("process 1, mix (replacing files)", vec!["mix.jsonl", "validation.jsonl", "ledger.json"]),
    ] {
        fs::create_dir(&out).expect("made");
        fs::write(out.join(".lock"), lock).expect("written");
        for name in &left {
            fs::write(out.join(name), "half").expect("written");
        }
        make(folder.path(), "rows.jsonl", "out").expect("mixed");
        assert_eq!(files(&out), whole, "{lock} {left:?}");
        fs::remove_dir_all(&out).expect("removed");
    }
    // A mix that fails keeps the mark of files without a manifest.
    fs::create_dir(&out).expect("made");
    fs::write(out.join(".lock"), "process 1, mix (replacing files)").expect("written");
    fs::write(out.join("mix.jsonl"), "half").expect("written");
    make(folder.path(), "missing.jsonl", "out").expect_err("no source");
    make(folder.path(), "rows.jsonl", "out").expect("mixed");
    assert_eq!(files(&out), whole);
    // A lock file of a mix that had only begun does not make this file one of the mix.
    fs::remove_dir_all(&out).expect("removed");
    fs::create_dir(&out).expect("made");
    fs::write(out.join(".lock"), "process 1, mix").expect("written");
    fs::write(out.join("validation.jsonl"), "mine").expect("written");
    make(folder.path(), "rows.jsonl", "out").expect_err("a foreign file");

    let shards = folder.path().join("shards");
    fs::create_dir_all(shards.join(".partial-1-a1b2c3")).expect("made");
    fs::create_dir_all(shards.join(".partial-old-1-77")).expect("made");
    fs::create_dir_all(shards.join(".partial-12-a1b2c3")).expect("made");
    shard(folder.path(), "rows.jsonl", "shards/1").expect("a shard");
    assert_eq!(names(&shards), [".partial-12-a1b2c3", "1"], "the next shard's are its own");
}

/// Refusals change nothing and leave no lock behind.
#[test]
fn a_mix_that_fails_leaves_an_earlier_one() {
    let folder = with_rows();
    make(folder.path(), "rows.jsonl", "out").expect("mixed");
    let before = files(&folder.path().join("out"));
    make(folder.path(), "missing.jsonl", "out").expect_err("no source");
    assert_eq!(files(&folder.path().join("out")), before);
    make(folder.path(), "missing.jsonl", "new/er").expect_err("no source");
    assert!(!folder.path().join("new/er").exists());
    fs::write(folder.path().join("file"), "mine").expect("written");
    let message = make(folder.path(), "rows.jsonl", "file").expect_err("a file").with_help();
    assert!(message.contains("this is a file, not a folder"), "{message}");
    assert!(FolderLock::holder(&folder.path().join("out")).is_none());
}

#[test]
fn a_runs_folders_are_not_written_to() {
    let folder = with_rows();
    fs::create_dir_all(folder.path().join("run/mix")).expect("made");
    fs::write(folder.path().join("run/run.json"), "{}").expect("written");
    for out in ["run", "run/mix"] {
        let message = make(folder.path(), "rows.jsonl", out).expect_err("a run").with_help();
        assert!(message.contains("belongs to a training run"), "{message}");
    }
    // A training run holds its lock.
    let lock = FolderLock::take(&folder.path().join("run")).expect("free");
    make(folder.path(), "rows.jsonl", "run").expect_err("held");
    drop(lock);
}
