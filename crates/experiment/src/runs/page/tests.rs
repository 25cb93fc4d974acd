use std::path::Path;

use super::*;
use crate::metrics::tests::{text, train, validation};
use crate::metrics::{Metrics, ValidationMetrics};
use crate::records::{RunState, Status};
use crate::run_dir::RunDir;

/// A run's folder with nothing in it but its state.
fn run(root: &Path, status: Status) -> RunDir {
    let run = RunDir::open(root).expect("free");
    run.write_state(&RunState { total_steps: 100, ..RunState::new("ratio-9-1", "00ff").with_status(status) })
        .expect("written");
    run
}

fn page(root: &Path, refresh: Option<u32>) -> String {
    run_page(&RunRecord::read(root).expect("a run"), PageOptions { refresh, now: 1_795_279_168 })
}

#[test]
fn a_run_that_has_only_begun_has_a_page() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let held = run(folder.path(), Status::Training);
    let html = page(folder.path(), None);
    assert!(html.contains("No metrics yet") && html.contains("step 0 of 100"), "{html}");
    assert!(!html.contains("http-equiv=refresh"), "nobody writes it again");
    assert!(page(folder.path(), Some(5)).contains("<meta http-equiv=refresh content=5>"));
    drop(held);
    assert!(!page(folder.path(), Some(5)).contains("http-equiv=refresh"), "the run does not go on");
}

#[test]
fn what_users_wrote_stays_text() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let held = run(folder.path(), Status::Training);
    let evil = "<script>alert('&')</script>";
    let mut state = RunState::new(evil, evil).with_status(Status::Failed);
    state.error = Some(format!("{evil}\nsecond line"));
    state.device = evil.to_owned();
    held.write_state(&state).expect("written");
    let sources = [(evil.to_owned(), 2.0)].into();
    let lines =
        [Metrics::Train(train(10, 2.0)), Metrics::Validation(ValidationMetrics { sources, ..validation(10, 2.0) })];
    std::fs::write(held.metrics(), text(&lines)).expect("written");
    std::fs::write(held.recipe(), format!("name = \"{evil}\"")).expect("written");
    std::fs::create_dir_all(held.mix()).expect("made");
    let source = r#"{"path": "", "requested_share": 1, "requested": 1, "read": 1, "rejected": {}, "exam_items": {"count": 0},
        "duplicates_within": 0, "duplicates_across": {}, "held_out": 0, "validation": 0, "available": 1, "chosen": 1,
        "repeated": 0, "realised_share": 1}"#;
    let ledger = format!("{{\"requested\": 1, \"chosen\": 1, \"sources\": {{\"{evil}\": {source}}}}}");
    std::fs::write(held.mix().join("ledger.json"), ledger).expect("written");
    let html = page(folder.path(), None);
    assert!(html.contains("second line") && html.matches("&lt;script&gt;alert(&#39;&amp;&#39;)").count() >= 6);
    assert!(!html.contains("<script>alert"), "{html}");
    assert_eq!(html.matches("<script").count(), html.matches("</script>").count());
}

#[test]
fn nothing_outside_the_page_is_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let held = run(folder.path(), Status::Complete);
    std::fs::write(held.metrics(), text(&[Metrics::Train(train(10, 2.0))])).expect("written");
    let html = page(folder.path(), None);
    for request in ["http:", "https:", "src=", "@import", "url(", "fetch("] {
        assert!(!html.contains(request), "{request}");
    }
    assert_eq!(html.matches("href=").count(), html.matches("href=\"data:,\"").count());
}

#[test]
fn a_hundred_thousand_steps_give_a_small_page() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let held = run(folder.path(), Status::Complete);
    let mut lines = Vec::new();
    for step in 1..=100_000 {
        let noise = (step as f64 * 0.7).sin();
        lines.push(Metrics::Train(train(step, 2.0 + noise)));
        if step % 50 == 0 {
            lines.push(Metrics::Validation(validation(step, 2.0 + noise)));
        }
    }
    std::fs::write(held.metrics(), text(&lines)).expect("written");
    let started = std::time::Instant::now();
    let html = page(folder.path(), None);
    assert!(html.len() < 500_000, "{} bytes", html.len());
    // A second in the release profile is generous; a quadratic pass would take minutes.
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn torn_files_are_named_and_the_rest_is_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let held = run(folder.path(), Status::Complete);
    std::fs::create_dir_all(held.mix()).expect("made");
    std::fs::create_dir_all(held.exam()).expect("made");
    std::fs::write(held.mix().join("ledger.json"), "{\"requested\": 1").expect("written");
    std::fs::write(held.exam().join("report.json"), "{}").expect("written");
    std::fs::write(held.metrics(), format!("nonsense\n{}", text(&[Metrics::Train(train(10, f64::NAN))])))
        .expect("written");
    let html = page(folder.path(), None);
    for named in ["ledger.json", "report.json", "the first is line 1", "not a finite number at step 10"] {
        assert!(html.contains(named), "{named}");
    }
    assert!(!html.contains("NaN"));
}
