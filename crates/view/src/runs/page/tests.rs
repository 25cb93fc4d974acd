use std::path::Path;

use medley_recipe::Book;
use medley_run::metrics::{Metrics, TrainMetrics, ValidationMetrics};
use medley_run::report::{BookReport, ExamReport, ExamScore, REPORT_VERSION, Scores};
use medley_run::statistics::{PairedCounts, paired_difference};
use medley_run::{Estimate, RunDir, RunState, Status};
use proptest::prelude::*;

use super::*;
use crate::test_metrics::{text, train, validation};

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
    assert!(!html.contains("http-equiv=\"refresh\""), "nobody writes it again");
    assert!(page(folder.path(), Some(5)).contains("<meta http-equiv=\"refresh\" content=\"5\">"));
    drop(held);
    assert!(!page(folder.path(), Some(5)).contains("http-equiv=\"refresh\""), "the run is not in progress");
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
    assert!(html.contains("second line") && html.matches("&lt;script&gt;alert('&amp;')").count() >= 6);
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

/// A report of one exam of four items.
fn exam_report(accuracy: f64) -> ExamReport {
    let estimate = Estimate { value: accuracy, low: accuracy / 2.0, high: 1.0 };
    let exam = ExamScore { exam: "nursing".to_owned(), items: 4, small: true, accuracy: estimate };
    let scores = Scores { average: estimate, exams: vec![exam] };
    let book = BookReport {
        book: Book::Open,
        strict: scores.clone(),
        content: scores.clone(),
        well_formed: 4,
        failures: Default::default(),
        truncated_prompts: 0,
        lures: 0,
        lures_chosen: 0,
    };
    ExamReport {
        version: REPORT_VERSION,
        inputs: Default::default(),
        items: 4,
        items_without_passage: 0,
        guess: scores.clone(),
        string_match: scores,
        books: vec![book],
        open_minus_closed: None,
    }
}

/// Writes a report and its open-book answers, of which the first `right` are right.
fn write_exam(folder: &Path, right: usize) {
    std::fs::create_dir_all(folder.join("open")).expect("made");
    let report = serde_json::to_string(&exam_report(right as f64 / 4.0)).expect("JSON");
    std::fs::write(folder.join("report.json"), report).expect("written");
    let mut lines = "{\"inputs\": {\"items\": \"h\"}}\n".to_owned();
    for item in 0..4 {
        lines += &format!("{{\"id\": \"{item}\", \"exam\": \"nursing\", \"right\": {}}}\n", item < right);
    }
    std::fs::write(folder.join("open/answers.jsonl"), lines).expect("written");
}

#[test]
fn the_gain_over_the_base_comes_from_the_items_that_both_answered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let held = run(folder.path(), Status::Complete);
    write_exam(&held.exam(), 3);
    assert!(!page(folder.path(), None).contains("Gain over"), "the base was not examined");
    write_exam(&held.exam().join("base"), 1);
    let html = page(folder.path(), None);
    // Newcombe's interval of 1 both, 2 first only, 1 neither.
    let paired =
        paired_difference(&PairedCounts { both: 1, first_only: 2, second_only: 0, neither: 1 }).expect("items");
    let [low, high] = [paired.low, paired.high].map(|share| format!("{:+.1}", 100.0 * share));
    assert!(html.contains("Gain over the base</span><b>+50.0 points</b>"), "{html}");
    assert!(html.contains(&format!("open book, 95 % interval {low} to {high}")));
    assert!(html.contains(&format!("<td><b>+50.0</b> <small>{low} to {high}</small></td>")));
    assert!(html.contains(&format!("fine-tuned minus base, open book: +50.0 [{low}, {high}] points")));
    std::fs::remove_dir_all(held.exam().join("base/open")).expect("removed");
    assert!(!page(folder.path(), None).contains("minus base"), "reports alone are not paired");
}

#[test]
fn the_bundled_base_is_shown_by_its_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let held = run(folder.path(), Status::Complete);
    let base = "/home/someone/.cache/medley/bundled/0123456789abcdef/recipes/../data/base";
    let recipe = format!(
        "model.base = \"{base}\"\ntrain.method = \"full\"\nmix = {{ size = 9, ratio = {{ g = 1 }} }}\nsources.g.path = \"o/s\"\n"
    );
    std::fs::write(held.recipe(), recipe).expect("written");
    assert!(page(folder.path(), None).contains("<dt>base</dt><dd>bundled: base</dd>"));
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

/// Numbers as a metrics file holds them: of every size, and none at all.
fn any_number() -> impl Strategy<Value = f64> {
    let extreme = prop::sample::select(vec![
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        0.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e308,
    ]);
    prop_oneof![any::<f64>(), extreme, -10.0..10.0]
}

/// Steps from the usual to the largest.
fn any_step() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..1000, any::<usize>(), Just(usize::MAX)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_numbers_have_a_page_quickly(
        steps in prop::collection::vec((any_step(), any_number(), any_number()), 0..80),
        validated in prop::collection::vec((any_step(), any_number()), 0..10),
        memory in any::<u64>(),
    ) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let held = run(folder.path(), Status::Complete);
        let mut lines: Vec<Metrics> = Vec::new();
        for (step, loss, other) in steps {
            let line = train(10, loss);
            lines.push(Metrics::Train(TrainMetrics {
                step, tokens: step as u64, lr: other, grad_norm: loss, tokens_per_second: other, seconds: other,
                epoch: other, memory_bytes: memory, time: other, ..line
            }));
        }
        for (step, loss) in validated {
            let sources = [("general".to_owned(), loss)].into();
            lines.push(Metrics::Validation(ValidationMetrics { step, sources, ..validation(10, loss) }));
        }
        std::fs::write(held.metrics(), text(&lines)).expect("written");
        let started = std::time::Instant::now();
        let html = page(folder.path(), None);
        prop_assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
        prop_assert!(html.len() < 400_000 && html.ends_with("</html>\n"));
        prop_assert!(!html.contains("NaN") && !html.contains("inf,") && !html.contains(":inf"), "no number is drawn that is none");
        let record = RunRecord::read(folder.path()).expect("a run");
        let list = crate::runs::run_list(std::slice::from_ref(&record.overview), 0, crate::TextStyle::PLAIN);
        prop_assert!(list.lines().all(|line| crate::text_width(line) <= 100 || line.contains("medley train")), "{list}");
        comparison_page(&[record.clone(), record], 0);
    }

    #[test]
    fn any_bytes_as_metrics_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0usize..400) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let held = run(folder.path(), Status::Stopped);
        let good = text(&[Metrics::Train(train(10, 2.0)), Metrics::Validation(validation(10, 2.0))]);
        let torn = &good.as_bytes()[..cut.min(good.len())];
        std::fs::write(held.metrics(), [torn, &bytes].concat()).expect("written");
        prop_assert!(page(folder.path(), None).ends_with("</html>\n"));
    }
}
