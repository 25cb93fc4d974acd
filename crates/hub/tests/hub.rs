//! The hub client against a hub on this machine.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use medley_files::WithHelp as _;
use medley_hub::{DatasetRequest, Download, Hub, HubConfig, HubError, HubObserver, Snapshot};

#[path = "../../../tests/support/hub_server.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod hub_server;

use hub_server::{HubServer, Slow};

const RECORDS: &str = "{\"instruction\":\"麻黄的功效？\",\"output\":\"发汗解表。\"}\n";

fn hub(server: &HubServer, cache: &Path) -> Hub {
    let (endpoint, cache_dir) = (server.endpoint(), cache.to_owned());
    Hub::new(HubConfig { endpoint, token: None, cache_dir, offline: false, silence: Duration::from_secs(10) })
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

/// Collects the events of downloads.
#[derive(Default)]
struct Events(Mutex<Vec<(String, String, Download)>>);

impl HubObserver for Events {
    fn download(&self, id: &str, file: &str, event: Download) {
        self.0.lock().expect("not poisoned").push((id.to_owned(), file.to_owned(), event));
    }
}

#[test]
fn downloads_are_observed_from_start_to_end() {
    let (data, large) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    let events = Arc::new(Events::default());
    let hub = hub(&server, cache.path()).with_observer(events.clone());
    hub.dataset_files(&ask("owner/data", None, Some("train/*"))).expect("fetches");
    let size = large.len() as u64;
    let seen = std::mem::take(&mut *events.0.lock().expect("not poisoned"));
    assert!(seen.iter().all(|(id, file, _)| id == "owner/data" && file == "train/large.jsonl"), "{seen:?}");
    let seen: Vec<Download> = seen.into_iter().map(|(.., event)| event).collect();
    assert_eq!(seen.first(), Some(&Download::Started { size: Some(size) }));
    assert_eq!(seen.last(), Some(&Download::Finished));
    let received: Vec<u64> = seen
        .iter()
        .filter_map(|event| match event {
            Download::Received { bytes } => Some(*bytes),
            _ => None,
        })
        .collect();
    assert!(received.is_sorted() && received.first() == Some(&0) && received.last() == Some(&size), "{received:?}");
    assert_eq!(seen.len(), received.len() + 2);
    hub.dataset_files(&ask("owner/data", None, Some("train/*"))).expect("cached");
    assert!(events.0.lock().expect("not poisoned").is_empty(), "nothing is downloaded again");
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
    let error = hub.dataset_files(&ask("owner/data", None, None)).expect_err("the other is missing").with_help();
    assert!(error.contains("`train/large.jsonl` was never fetched"), "{error}");
    let error = hub.dataset_files(&ask("owner/other", None, None)).expect_err("nothing is here").with_help();
    for part in ["owner/other", &endpoint, "HF_ENDPOINT", "datasets--owner--other"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let offline = Hub::new(HubConfig { offline: true, ..hub.config().clone() });
    let error = offline.model_snapshot("owner/model", None).expect_err("nothing is here").with_help();
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
    let error = hub.dataset_files(&ask("owner/gated", None, None)).expect_err("no token").with_help();
    assert!(
        error.contains("401") && error.contains("set HF_TOKEN") && error.contains("/datasets/owner/gated"),
        "{error}"
    );
    let with = |token: &str| Hub::new(HubConfig { token: Some(token.to_owned()), ..hub.config().clone() });
    let error = with("wrong").dataset_files(&ask("owner/gated", None, None)).expect_err("wrong token").with_help();
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
    let error = hub.dataset_files(&ask("shibing642/alpaca_zh", None, None)).expect_err("misspelt").with_help();
    assert!(
        error.contains("`shibing642/alpaca_zh`") && error.contains("did you mean `shibing624/alpaca-zh`?"),
        "{error}"
    );
    let error = hub.dataset_files(&ask("shibing624/alpaca-zh", Some("v2"), None)).expect_err("no such tag").with_help();
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
    let error = odd.dataset_files(&ask("owner/data", None, None)).expect_err("no description").with_help();
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

const CONFIGS: &str = "---\nconfigs:\n- config_name: exam\n  data_files:\n  - {split: train, path: 'exam/*.jsonl'}\n\
                       - config_name: clin\n  data_files: clin/a.jsonl\n---\n";

#[test]
fn a_configuration_and_a_split_are_all_that_is_fetched() {
    let large = RECORDS.repeat(100);
    let data = folder(&[
        ("README.md", CONFIGS),
        ("exam/train.jsonl", RECORDS),
        ("clin/a.jsonl", &large),
        ("clin/b.jsonl", &large),
    ]);
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/cmb", data.path());
    let hub = hub(&server, cache.path());
    let exam = DatasetRequest { config: Some("exam"), split: Some("train"), ..ask("owner/cmb", None, None) };
    let fetched = hub.dataset_files(&exam).expect("fetches");
    assert_eq!(texts(&fetched), [("exam/train.jsonl", RECORDS.to_owned())]);
    assert!(server.requests().iter().all(|request| !request.contains("clin")), "{:?}", server.requests());
    let error = hub.dataset_files(&DatasetRequest { split: Some("test"), ..exam }).expect_err("none").with_help();
    assert!(error.contains("no split `test`; it has `train`") && error.contains("split = \"train\""), "{error}");
    let error = hub.dataset_files(&DatasetRequest { config: None, ..exam }).expect_err("two").with_help();
    assert!(error.contains("several configurations: `exam`, `clin`"), "{error}");
    let offline = Hub::new(HubConfig { offline: true, ..hub.config().clone() });
    assert_eq!(offline.dataset_files(&exam).expect("is here").files, fetched.files);
    let clin = DatasetRequest { config: Some("clin"), split: None, ..exam };
    let error = offline.dataset_files(&clin).expect_err("not here").with_help();
    assert!(error.contains("`clin/a.jsonl` was never fetched"), "{error}");
}

#[test]
fn the_parquet_branch_is_a_revision_with_folders_of_configurations_and_splits() {
    let data = folder(&[("loader.py", "print()")]);
    let parquet = folder(&[
        ("exam/train/0000.parquet", "PAR1 a"),
        ("exam/train/0001.parquet", "PAR1 b"),
        ("exam/val/0000.parquet", "PAR1 c"),
        ("clin/test/0000.parquet", "PAR1 d"),
    ]);
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/cmb", data.path());
    server.branch("owner/cmb", "refs/convert/parquet", parquet.path());
    let hub = hub(&server, cache.path());
    let request = DatasetRequest {
        config: Some("exam"),
        split: Some("train"),
        ..ask("owner/cmb", Some("refs/convert/parquet"), None)
    };
    let fetched = hub.dataset_files(&request).expect("fetches");
    let expected = [("exam/train/0000.parquet", "PAR1 a"), ("exam/train/0001.parquet", "PAR1 b")];
    assert_eq!(texts(&fetched), expected.map(|(name, text)| (name, text.to_owned())));
    let asked = server.requests();
    assert!(asked.iter().any(|request| request.contains("/revision/refs%2Fconvert%2Fparquet")), "{asked:?}");
    assert!(asked.iter().any(|request| request.contains(&format!("/resolve/{}/exam", fetched.commit))), "{asked:?}");
    drop(server);
    assert_eq!(hub.dataset_files(&request).expect("the cache is enough").commit, fetched.commit);
    let pinned = DatasetRequest { revision: Some(&fetched.commit), ..request };
    assert_eq!(hub.dataset_files(&pinned).expect("the commit is here").files, fetched.files);
}

#[test]
fn a_busy_hub_is_asked_again_when_it_says() {
    let (data, large) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    let hub = hub(&server, cache.path());
    server.excuse("/revision/", 1, "429 Too Many Requests", Some("1"));
    server.excuse("/resolve/", 1, "429 Too Many Requests", Some("1"));
    let start = Instant::now();
    let files = hub.dataset_files(&ask("owner/data", None, Some("*.jsonl"))).expect("the second time");
    assert!(start.elapsed() >= Duration::from_secs(2), "waits as it is told: {:?}", start.elapsed());
    assert_eq!(texts(&files)[0].1, large);

    server.excuse("/revision/", usize::MAX, "429 Too Many Requests", Some("3600"));
    let before = server.requests().len();
    let start = Instant::now();
    let error = hub.dataset_files(&ask("owner/other", None, None)).expect_err("an hour").with_help();
    assert!(error.contains("429") && error.contains("asks to wait 3600 s") && error.contains("HF_TOKEN"), "{error}");
    assert_eq!(server.requests().len() - before, 1, "nobody asks again before the hour is over");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(hub.dataset_files(&ask("owner/data", None, Some("*.jsonl"))).expect("what is here").from_cache);
}

#[test]
fn a_hub_that_fails_is_asked_a_few_times() {
    let (data, large) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    let hub = hub(&server, cache.path());
    server.excuse("/revision/", 2, "503 Service Unavailable", None);
    server.excuse("/resolve/", 2, "502 Bad Gateway", None);
    let files = hub.dataset_files(&ask("owner/data", None, Some("*.jsonl"))).expect("the third time");
    assert_eq!(texts(&files)[0].1, large);
    server.excuse("/revision/", usize::MAX, "500 Internal Server Error", None);
    let before = server.requests().len();
    let error = hub.dataset_files(&ask("owner/other", None, None)).expect_err("never").with_help();
    assert!(error.contains("500") && error.contains("too busy"), "{error}");
    assert_eq!(server.requests().len() - before, 4);
}

#[test]
fn a_file_that_only_fails_is_given_up_and_what_came_stays() {
    let (data, _) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    server.excuse("/large/", usize::MAX, "504 Gateway Timeout", None);
    let before = Instant::now();
    let error = hub(&server, cache.path()).dataset_files(&ask("owner/data", None, Some("*.jsonl")));
    let error = error.expect_err("never").with_help();
    assert!(error.contains("504") && error.contains("owner/data"), "{error}");
    assert_eq!(server.requests().iter().filter(|request| request.contains("/large/")).count(), 4);
    assert!(before.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_connection_that_stalls_or_trickles_is_dead() {
    let (data, large) = dataset();
    for slow in [Slow::Stall, Slow::Trickle] {
        let cache = tempfile::tempdir().expect("temporary directory");
        let server = HubServer::start();
        server.dataset("owner/data", data.path());
        let config = HubConfig { silence: Duration::from_millis(500), ..hub(&server, cache.path()).config().clone() };
        let hub = Hub::new(config);
        server.slow("train/large.jsonl", slow, 1);
        let start = Instant::now();
        let files = hub.dataset_files(&ask("owner/data", None, Some("*.jsonl"))).expect("the second time");
        assert_eq!(texts(&files)[0].1, large);
        assert!(start.elapsed() < Duration::from_secs(5), "{slow:?}: {:?}", start.elapsed());
        let ranges = server.requests().iter().filter(|request| request.contains("/large/")).count();
        assert_eq!(ranges, 2, "{slow:?}");
    }
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    server.slow("train/large.jsonl", Slow::Trickle, usize::MAX);
    let config = HubConfig { silence: Duration::from_millis(300), ..hub(&server, cache.path()).config().clone() };
    let error = Hub::new(config).dataset_files(&ask("owner/data", None, None)).expect_err("never whole");
    let HubError::Truncated { got, problem: Some(problem), .. } = &error else { panic!("{error}") };
    assert!(*got > 0 && problem.contains("bytes in"), "{error}");
}

#[test]
fn a_small_file_that_arrives_damaged_is_thrown_away_too() {
    let (data, _) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    server.damage("内科 1.json");
    let error =
        hub(&server, cache.path()).dataset_files(&ask("owner/data", None, Some("*.json"))).expect_err("damaged");
    let HubError::Damaged { file, expected, .. } = &error else { panic!("{error}") };
    assert_eq!((file.as_str(), expected.len()), ("内科 1.json", 40), "Git's name for its content");
}

#[test]
fn a_file_that_is_listed_and_not_there_is_named() {
    let (data, _) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    server.lose("train/large.jsonl");
    let error = hub(&server, cache.path()).dataset_files(&ask("owner/data", None, Some("*.jsonl")));
    let error = error.expect_err("not there").with_help();
    assert!(error.contains("it lists `train/large.jsonl`") && error.contains("does not have it"), "{error}");
}

fn hub_at(endpoint: String, token: Option<&str>, cache: &Path) -> Hub {
    let (token, cache_dir) = (token.map(str::to_owned), cache.to_owned());
    Hub::new(HubConfig { endpoint, token, cache_dir, offline: false, silence: Duration::from_secs(10) })
}

/// Another port of the same host is another origin.
#[test]
fn the_token_is_sent_to_the_hubs_own_origin_alone() {
    let (data, large) = dataset();
    let (hub_server, storage) = (HubServer::start(), HubServer::start());
    for server in [&hub_server, &storage] {
        server.dataset("owner/data", data.path());
    }
    hub_server.gate("datasets/owner/data", "secret");
    for (elsewhere, may_see) in [(None, true), (Some(storage.endpoint()), false)] {
        let cache = tempfile::tempdir().expect("temporary directory");
        if let Some(elsewhere) = &elsewhere {
            hub_server.send_from(elsewhere);
        }
        let hub = hub_at(hub_server.endpoint(), Some("secret"), cache.path());
        let fetched = hub.dataset_files(&ask("owner/data", None, None)).expect("fetches");
        assert_eq!(texts(&fetched)[0], ("train/large.jsonl", large.clone()));
        assert!(hub_server.authorizations().iter().all(|sent| sent.as_deref() == Some("Bearer secret")));
        assert!(storage.authorizations().iter().all(Option::is_none), "{may_see}");
        assert_eq!(storage.requests().is_empty(), may_see);
    }
}

#[test]
fn redirections_without_end_are_given_up() {
    let (data, _) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    // The redirected request is for the same file, so the answer redirects again.
    server.send_from(&format!("{}/datasets/owner/data/resolve/main/train/large.jsonl?", server.endpoint()));
    let error = hub(&server, cache.path()).dataset_files(&ask("owner/data", None, None)).expect_err("a circle");
    assert!(error.to_string().contains("redirections"), "{error}");
}

/// Neither in messages nor in the `Debug` output of errors.
#[test]
fn credentials_of_the_endpoint_are_not_shown() {
    let (data, _) = dataset();
    let cache = tempfile::tempdir().expect("temporary directory");
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    let endpoint = |server: &HubServer| server.endpoint().replace("http://", "http://me:hunter2@");
    let hub = hub_at(endpoint(&server), Some("hf_secret"), cache.path());
    let of = |hub: &Hub, id: &str| hub.dataset_files(&ask(id, None, None)).expect_err("refused");
    let mut errors = vec![of(&hub, "owner/missing")];
    server.gate("datasets/owner/data", "other");
    errors.push(of(&hub, "owner/data"));
    server.excuse("/revision/", 9, "500 Internal Server Error", Some("3600"));
    errors.push(of(&hub, "owner/busy"));
    drop(server);
    errors.push(of(&hub, "owner/data"));
    errors.push(of(&hub_at("http://me:hunter2@no host".to_owned(), Some("hf_secret"), cache.path()), "owner/data"));
    errors.push(of(&hub_at("me:hunter2@host".to_owned(), Some("hf_secret"), cache.path()), "owner/data"));
    for error in errors {
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains("hunter2") && !shown.contains("hf_secret"), "{shown}");
        }
    }
    assert!(!format!("{:?}", hub.config()).contains("hunter2"));
}

/// A hub that sends more bytes than it lists must not fill the disk.
#[test]
fn a_download_ends_at_the_first_byte_too_many() {
    let (data, large) = dataset();
    let server = HubServer::start();
    server.dataset("owner/data", data.path());
    for file in ["train/large.jsonl", "内科 1.json"] {
        server.lengthen(file, 50 << 20);
    }
    for files in ["large.jsonl", "内科*"] {
        let cache = tempfile::tempdir().expect("temporary directory");
        let error =
            hub(&server, cache.path()).dataset_files(&ask("owner/data", None, Some(files))).expect_err("longer");
        assert!(matches!(error, HubError::TooLong { .. }), "{error}");
        let kept = walk(cache.path());
        assert!(kept < large.len() as u64 + (1 << 20), "{kept} bytes are kept");
    }
}

/// The size in bytes of all files below a folder.
fn walk(folder: &Path) -> u64 {
    let of = |entry: fs::DirEntry| {
        let found = entry.metadata().expect("readable");
        if found.is_dir() { walk(&entry.path()) } else { found.len() }
    };
    fs::read_dir(folder).expect("a folder").map(|entry| of(entry.expect("an entry"))).sum()
}
