//! The hub client against a hub on this machine.

use std::fs;
use std::path::Path;

use medley_mixer::DatasetRequest;
use medley_mixer::hub::{Hub, HubConfig, HubError, Snapshot};

#[path = "../../../tests/support/hub_server.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod hub_server;

use hub_server::HubServer;

const RECORDS: &str = "{\"instruction\":\"麻黄的功效？\",\"output\":\"发汗解表。\"}\n";

fn hub(server: &HubServer, cache: &Path) -> Hub {
    Hub::new(HubConfig { endpoint: server.endpoint(), token: None, cache_dir: cache.to_owned(), offline: false })
}

fn ask<'a>(id: &'a str, revision: Option<&'a str>, files: Option<&'a str>) -> DatasetRequest<'a> {
    DatasetRequest { id, revision, files, ..DatasetRequest::default() }
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary directory");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("has a parent")).expect("makes folders");
        fs::write(path, text).expect("writes");
    }
    folder
}

fn texts(snapshot: &Snapshot) -> Vec<(&str, String)> {
    let read = |path: &Path| fs::read_to_string(path).expect("a fetched file");
    snapshot.files.iter().map(|(name, path)| (name.as_str(), read(path))).collect()
}

/// A data set with a small file, a large one and one with a Chinese name.
fn dataset() -> (tempfile::TempDir, String) {
    let large = RECORDS.repeat(100);
    let folder = folder(&[
        ("README.md", "# data"),
        ("dataset_infos.json", "{}"),
        ("train/large.jsonl", &large),
        ("内科 1.json", "[]"),
    ]);
    (folder, large)
}

#[test]
fn a_data_set_is_fetched_once_and_then_read_without_the_hub() {
    let (data, large) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    let hub = hub(&server, cache.path());
    let first = hub.dataset_files(&ask("owner/data", None, None)).expect("fetches");
    assert_eq!(texts(&first), [("train/large.jsonl", large.clone()), ("内科 1.json", "[]".to_owned())]);
    assert_eq!(first.commit.len(), 40);
    assert!(!first.from_cache);

    let before = server.requests().len();
    let second = hub.dataset_files(&ask("owner/data", None, None)).expect("asks again");
    assert_eq!(second, first);
    let asked = server.requests()[before..].to_vec();
    assert!(asked.len() == 1 && asked[0].contains("/revision/main"), "only the revision is asked for: {asked:?}");
    let before = server.requests().len();
    let pinned = hub.dataset_files(&ask("owner/data", Some(&first.commit), None)).expect("is here");
    assert_eq!(pinned, first);
    assert_eq!(server.requests().len(), before, "a commit that is here needs no question");

    drop(server);
    let third = hub.dataset_files(&ask("owner/data", None, None)).expect("the cache is enough");
    assert!(third.from_cache);
    assert_eq!(Snapshot { from_cache: false, ..third }, first);
    let offline = Hub::new(HubConfig { offline: true, ..hub.config().clone() });
    assert!(offline.dataset_files(&ask("owner/data", None, None)).expect("the cache is enough").from_cache);
}

#[test]
fn a_changed_data_set_is_a_new_commit_and_the_old_one_stays() {
    let (data, large) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    let hub = hub(&server, cache.path());
    let old = hub.dataset_files(&ask("owner/data", None, None)).expect("fetches");
    fs::write(data.path().join("内科 1.json"), "[1]").expect("writes");
    let new = hub.dataset_files(&ask("owner/data", None, None)).expect("fetches");
    assert_ne!(new.commit, old.commit);
    assert_eq!(texts(&new), [("train/large.jsonl", large.clone()), ("内科 1.json", "[1]".to_owned())]);
    assert_eq!(texts(&old), [("train/large.jsonl", large), ("内科 1.json", "[]".to_owned())]);
    let fetched = server.requests().iter().filter(|request| request.contains("/large/")).count();
    assert_eq!(fetched, 1, "the same content is not fetched twice");
}

#[test]
fn without_the_hub_an_incomplete_cache_is_an_error_that_says_where_it_looked() {
    let (data, _) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    let hub = hub(&server, cache.path());
    hub.dataset_files(&ask("owner/data", None, Some("*.json"))).expect("fetches one file of two");
    let endpoint = server.endpoint();
    drop(server);
    let error = hub.dataset_files(&ask("owner/data", None, None)).expect_err("the other is missing").to_string();
    assert!(error.contains("`train/large.jsonl` was never fetched"), "{error}");
    let error = hub.dataset_files(&ask("owner/other", None, None)).expect_err("nothing is here").to_string();
    for part in ["owner/other", &endpoint, "HF_ENDPOINT", "datasets--owner--other"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let offline = Hub::new(HubConfig { offline: true, ..hub.config().clone() });
    let error = offline.model_snapshot("owner/model", None).expect_err("nothing is here").to_string();
    assert!(error.contains("HF_HUB_OFFLINE") && error.contains("models--owner--model"), "{error}");
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let (data, large) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    server.break_off("train/large.jsonl", 2);
    let files =
        hub(&server, cache.path()).dataset_files(&ask("owner/data", None, Some("*.jsonl"))).expect("the third time");
    assert_eq!(texts(&files), [("train/large.jsonl", large)]);
}

#[test]
fn a_download_that_breaks_off_for_good_leaves_nothing_that_looks_whole() {
    let (data, large) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    server.break_off("train/large.jsonl", usize::MAX);
    let hub = hub(&server, cache.path());
    let error = hub.dataset_files(&ask("owner/data", None, None)).expect_err("never whole");
    let HubError::Truncated { got, expected, .. } = &error else { panic!("{error}") };
    assert!(*got < *expected && *expected == large.len() as u64);
    let text = error.to_string();
    assert!(text.contains("owner/data") && text.contains("train/large.jsonl"), "{text}");
    let offline = Hub::new(HubConfig { offline: true, ..hub.config().clone() });
    assert!(offline.dataset_files(&ask("owner/data", None, None)).is_err());
    server.break_off("train/large.jsonl", 0);
    assert_eq!(texts(&hub.dataset_files(&ask("owner/data", None, Some("*.jsonl"))).expect("goes on"))[0].1, large);
}

#[test]
fn a_damaged_download_is_thrown_away() {
    let (data, _) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    server.damage("train/large.jsonl");
    let error = hub(&server, cache.path()).dataset_files(&ask("owner/data", None, None)).expect_err("damaged");
    assert!(matches!(error, HubError::Damaged { .. }), "{error}");
    let blobs = fs::read_dir(cache.path().join("datasets--owner--data/blobs")).expect("made");
    let left: Vec<_> = blobs.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().ends_with(".lock")), "{left:?}");
}

#[test]
fn access_is_denied_with_what_to_do_about_it() {
    let (data, _) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/gated", data.path());
    server.gate("datasets/owner/gated", "right");
    let hub = hub(&server, cache.path());
    let error = hub.dataset_files(&ask("owner/gated", None, None)).expect_err("no token").to_string();
    assert!(
        error.contains("401") && error.contains("set HF_TOKEN") && error.contains("/datasets/owner/gated"),
        "{error}"
    );
    let with = |token: &str| Hub::new(HubConfig { token: Some(token.to_owned()), ..hub.config().clone() });
    let error = with("wrong").dataset_files(&ask("owner/gated", None, None)).expect_err("wrong token").to_string();
    assert!(error.contains("403") && error.contains("accept the terms"), "{error}");
    assert_eq!(with("right").dataset_files(&ask("owner/gated", None, None)).expect("allowed").files.len(), 2);
}

#[test]
fn what_does_not_exist_is_named_with_the_nearest_that_does() {
    let (data, _) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("shibing624/alpaca-zh", data.path());
    let hub = hub(&server, cache.path());
    let error = hub.dataset_files(&ask("shibing642/alpaca_zh", None, None)).expect_err("misspelt").to_string();
    assert!(
        error.contains("`shibing642/alpaca_zh`") && error.contains("did you mean `shibing624/alpaca-zh`?"),
        "{error}"
    );
    let error = hub.dataset_files(&ask("shibing624/alpaca-zh", Some("v2"), None)).expect_err("no such tag").to_string();
    assert!(error.contains("no revision `v2`"), "{error}");
    assert!(matches!(hub.dataset_files(&ask("no id", None, None)), Err(HubError::BadId { .. })));
}

#[test]
fn an_endpoint_that_is_no_hub_is_told_apart() {
    let (data, _) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    // This hub's list of data sets is JSON, but no description of one.
    let endpoint = format!("{}/api/datasets?x=", server.endpoint());
    let odd = Hub::new(HubConfig { endpoint, ..hub(&server, cache.path()).config().clone() });
    let error = odd.dataset_files(&ask("owner/data", None, None)).expect_err("no description").to_string();
    assert!(error.contains("not understood") && error.contains("HF_ENDPOINT"), "{error}");
}

#[test]
fn a_model_comes_as_a_folder_with_its_safetensors_alone() {
    let weights = "w".repeat(3000);
    let files = [
        ("config.json", "{}"),
        ("tokenizer.json", "{}"),
        ("model-00001-of-00002.safetensors", weights.as_str()),
        ("model-00002-of-00002.safetensors", "short"),
        ("model.safetensors.index.json", "{}"),
        ("pytorch_model.bin", weights.as_str()),
    ];
    let model = folder(&files);
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.model("owner/model", model.path());
    let snapshot = hub(&server, cache.path()).model_snapshot("owner/model", None).expect("fetches");
    for (name, text) in &files[..5] {
        assert_eq!(fs::read_to_string(snapshot.directory.join(name)).expect(name), *text);
    }
    assert!(!snapshot.directory.join("pytorch_model.bin").exists());
    assert_eq!(snapshot.files.len(), 5);
}
