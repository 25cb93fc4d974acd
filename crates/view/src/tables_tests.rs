use std::path::PathBuf;

use medley_recipe::{AnswerForm, Book};
use medley_run::RunState;
use medley_run::report::{BookReport, ExamReport, ExamScore, PairedComparison, REPORT_VERSION, ReportInputs, Scores};
use medley_run::statistics::PairedCounts;

use super::*;
use crate::report_runs::read_runs;

fn estimate(value: f64, half: f64) -> Estimate {
    Estimate { value, low: value - half, high: value + half }
}

fn scores(value: f64, half: f64) -> Scores {
    let exam = |exam: &str, items| ExamScore {
        exam: exam.to_owned(),
        items,
        small: items < 100,
        accuracy: estimate(value, 1.5 * half),
    };
    Scores { average: estimate(value, half), exams: vec![exam("physician", 120), exam("nursing", 60)] }
}

fn book(book: Book, value: f64) -> BookReport {
    BookReport {
        book,
        strict: scores(value, 0.04),
        content: scores(value + 0.02, 0.04),
        well_formed: 170,
        failures: [("wrong".to_owned(), 50), ("no option found".to_owned(), 3)].into(),
        truncated_prompts: usize::from(book == Book::Open),
        lures: 40,
        lures_chosen: 4,
    }
}

fn exam(open: f64) -> ExamReport {
    ExamReport {
        version: REPORT_VERSION,
        inputs: ReportInputs { items_hash: "items".to_owned(), answer: AnswerForm::Text, ..ReportInputs::default() },
        items: 180,
        items_without_passage: 0,
        guess: scores(0.2, 0.0),
        string_match: scores(0.31, 0.05),
        books: vec![book(Book::Open, open), book(Book::Closed, 0.24)],
        open_minus_closed: Some(PairedComparison {
            difference: estimate(open - 0.24, 0.05),
            counts: PairedCounts { both: 40, first_only: 80, second_only: 4, neither: 56 },
            p_value: 1.25e-19,
        }),
    }
}

struct Runs(tempfile::TempDir);

impl Runs {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn add(&self, name: &str, base: &str, mix: &str, seed: u64, open: Option<f64>) -> PathBuf {
        let folder = self.path(name);
        std::fs::create_dir_all(folder.join("exam")).expect("made");
        let recipe = format!(
            "name = \"{name}\"\n[model]\nbase = \"{base}\"\n[mix]\nseed = {seed}\n{mix}\n[train]\nmethod = \"lora\"\n\
             learning_rate = 1e-4\nseed = {seed}\n"
        );
        std::fs::write(folder.join("recipe.toml"), recipe).expect("written");
        if let Some(open) = open {
            let report = serde_json::to_string(&exam(open)).expect("serialises");
            std::fs::write(folder.join("exam").join("report.json"), report).expect("written");
        }
        folder
    }

    fn show(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

const QWEN: &str = "Qwen/Qwen1.5-7B";

fn mix(size: u64, ratio: &str) -> String {
    format!("size = {size}\nratio = {{ {ratio} }}")
}

#[test]
fn table_4_from_runs() {
    let runs = Runs::new();
    let nine = mix(100_000, "general = 9, medical = 1");
    let folders = vec![
        runs.add("nine-a", QWEN, &nine, 1, Some(0.63)),
        runs.add("nine-b", QWEN, &nine, 2, Some(0.61)),
        runs.add("nine-c", QWEN, &nine, 3, Some(0.65)),
        runs.add("two-two", QWEN, &mix(100_000, "general = 2, medical = 2"), 1, Some(0.602)),
        runs.add("three", QWEN, &mix(100_000, "general = 3, medical = 1"), 1, Some(0.58)),
        runs.add("tiny", "data/quickstart/model", &mix(2000, "medical = 9, general = 1"), 1, Some(0.91)),
        runs.add("other", QWEN, &mix(100_000, "code = 1, general = 1"), 1, Some(0.5)),
        runs.add("medical", QWEN, &mix(100_000, "tcm = 1, western = 1"), 1, Some(0.55)),
        runs.add("unexamined", QWEN, &nine, 4, None),
        runs.path("nine-a"),
    ];
    let table = tabulate(PaperTable::Table4, &read_runs(&folders).0);
    insta::assert_snapshot!(runs.show(&table.render(100)), @r#"
    Table 4: models fine-tuned on general:medical mixtures
    ┌──────────────────────────┬─────────────────────┬──────────────┬───────────────────┬──────────────┐
    │ model                    ┆                 9:1 ┆          3:1 ┆               1:1 ┆          1:9 │
    ╞══════════════════════════╪═════════════════════╪══════════════╪═══════════════════╪══════════════╡
    │ Qwen1.5-7B · 100k · lora ┆ 63.0 ± 2.0, 3 seeds ┆ 58.0, 1 seed ┆      60.2, 1 seed ┆              │
    │                          ┆        [58.0, 68.0] ┆ [54.0, 62.0] ┆      [56.2, 64.2] ┆              │
    │                          ┆   paper 62.96, +0.0 ┆              ┆ paper 60.42, -0.2 ┆              │
    │ quickstart · 2k · lora   ┆                     ┆              ┆                   ┆ 91.0, 1 seed │
    │                          ┆                     ┆              ┆                   ┆ [87.0, 95.0] │
    └──────────────────────────┴─────────────────────┴──────────────┴───────────────────┴──────────────┘
    Open-book accuracy in %, average over exams. One seed: the run's score and its 95 % interval over
    the exam's items. Several: mean ± standard deviation over seeds, and the 95 % interval of the mean
    (Student's t). Below them the paper's value and ours minus the paper's, in points.
    note: other: not in this table (base Qwen/Qwen1.5-7B, ratio 1:1 (code:general), size
          100k): 50.0 [46.0, 54.0]
    note: medical: not in this table (base Qwen/Qwen1.5-7B, ratio 1:1 (tcm:western),
          size 100k): 55.0 [51.0, 59.0]
    note: unexamined: no exam score (there is no exam/report.json)
    paper: Yang, Wang, Chen, Su, Tan: Fine-Tuning Medical Language Models for Enhanced Long-Contextual
           Understanding and Domain Expertise (ICML 2024 workshop on long-context foundation models)
    "#);
    insta::assert_snapshot!(table.to_csv(), @r#"
    table,row,column,value,low,high,deviation,seeds,paper,difference
    4,"Qwen1.5-7B · 100k · lora",9:1,63.0000,58.0317,67.9683,2.0000,3,62.9600,0.0400
    4,"Qwen1.5-7B · 100k · lora",3:1,58.0000,54.0000,62.0000,,1,,
    4,"Qwen1.5-7B · 100k · lora",1:1,60.2000,56.2000,64.2000,,1,60.4200,-0.2200
    4,"quickstart · 2k · lora",1:9,91.0000,87.0000,95.0000,,1,,
    "#);
    let nine = &table.cells.iter().find(|cell| cell.runs.len() == 3).expect("three seeds are one cell");
    assert!((nine.value - 63.0).abs() < 1e-9 && (nine.deviation.expect("of three") - 2.0).abs() < 1e-9);
    assert_eq!(nine.paper, Some(62.96));
}

#[test]
fn table_5_from_runs() {
    let runs = Runs::new();
    let folders = vec![
        runs.add("ten", "Qwen/Qwen1.5-7B-Chat", &mix(10_000, "tcm = 1, western = 1"), 1, Some(0.57)),
        runs.add("all", "Qwen/Qwen1.5-7B-Chat", &mix(200_000, "medical = 1"), 1, Some(0.55)),
    ];
    let (read, _) = read_runs(&folders);
    assert_eq!(PaperTable::fitting(&read), [PaperTable::Table5]);
    insta::assert_snapshot!(runs.show(&tabulate(PaperTable::Table5, &read).render(100)), @r#"
    Table 5: models fine-tuned on medical data alone, by number of samples
    ┌────────────────────────┬───────────────────┬───────────────────┐
    │ model                  ┆               10k ┆              200k │
    ╞════════════════════════╪═══════════════════╪═══════════════════╡
    │ Qwen1.5-7B-Chat · lora ┆      57.0, 1 seed ┆      55.0, 1 seed │
    │                        ┆      [53.0, 61.0] ┆      [51.0, 59.0] │
    │                        ┆ paper 57.60, -0.6 ┆ paper 56.12, -1.1 │
    └────────────────────────┴───────────────────┴───────────────────┘
    Open-book accuracy in %, average over exams. One seed: the run's score and its 95 % interval over
    the exam's items. Several: mean ± standard deviation over seeds, and the 95 % interval of the mean
    (Student's t). Below them the paper's value and ours minus the paper's, in points.
    paper: Yang, Wang, Chen, Su, Tan: Fine-Tuning Medical Language Models for Enhanced Long-Contextual
           Understanding and Domain Expertise (ICML 2024 workshop on long-context foundation models)
    "#);
}

#[test]
fn unlike_runs_of_a_cell_and_unlike_exams_are_told() {
    let runs = Runs::new();
    let nine = mix(100_000, "general = 9, medical = 1");
    let first = runs.add("a", QWEN, &nine, 1, Some(0.6));
    let second = runs.add("b", QWEN, &nine, 2, Some(0.6));
    let recipe = std::fs::read_to_string(second.join("recipe.toml")).expect("there").replace("1e-4", "3e-4");
    std::fs::write(second.join("recipe.toml"), recipe).expect("written");
    let mut other = exam(0.6);
    other.inputs.items_hash = "others".to_owned();
    let third = runs.add("c", QWEN, &nine, 3, Some(0.6));
    std::fs::write(third.join("exam/report.json"), serde_json::to_string(&other).expect("serialises"))
        .expect("written");
    let table = tabulate(PaperTable::Table4, &read_runs(&[first, second, third]).0);
    assert_eq!(table.notes.len(), 2);
    assert!(table.notes[0].ends_with("differ in more than seeds: train.learning_rate"), "{}", table.notes[0]);
    assert!(table.notes[1].starts_with("not all runs sat the same exam"), "{}", table.notes[1]);
}

#[test]
fn what_is_no_run_is_named_and_the_others_are_read() {
    let runs = Runs::new();
    let good = runs.add("good", QWEN, &mix(10, "general = 1, medical = 1"), 1, Some(0.5));
    let without = runs.add("a", QWEN, "size = 5", 1, None);
    let (read, unreadable) = read_runs(&[runs.path("absent"), good, without]);
    let errors: Vec<String> = unreadable.iter().map(|error| format!("{error}; {}", error.hint)).collect();
    assert_eq!((read.len(), errors.len()), (1, 2), "{errors:?}");
    assert!(errors[0].contains("absent/recipe.toml") && errors[0].contains("name the folders of runs"), "{errors:?}");
    assert!(errors[1].contains("`mix.ratio` is missing"), "{errors:?}");
    let damaged = runs.add("b", QWEN, &mix(10, "general = 1, medical = 1"), 1, Some(0.5));
    std::fs::write(damaged.join("exam/report.json"), "{\"version\": 1").expect("written");
    let table = tabulate(PaperTable::Table4, &read_runs(&[damaged]).0);
    assert!(table.cells.is_empty() && table.notes[0].contains("no exam score (EOF"), "{:?}", table.notes);
}

#[test]
fn a_run_without_an_exam_yet_says_how_far_it_is() {
    let runs = Runs::new();
    let folder = runs.add("killed", QWEN, &mix(10, "general = 1, medical = 1"), 1, None);
    let state = RunState { step: 40, total_steps: 100, ..RunState::new("x", "00ff") };
    std::fs::write(folder.join("run.json"), serde_json::to_string(&state).expect("serialises")).expect("written");
    let table = tabulate(PaperTable::Table4, &read_runs(&[folder]).0);
    assert!(table.notes[0].ends_with("no exam score (no exam yet: killed, step 40 of 100)"), "{:?}", table.notes);
}

#[test]
fn one_training_is_one_seed_however_often_it_was_copied_or_examined() {
    let runs = Runs::new();
    let nine = mix(100_000, "general = 9, medical = 1");
    let hashed = |name: &str, seed: u64, hash: &str, open: Option<f64>| {
        let folder = runs.add(name, QWEN, &nine, seed, open);
        let state = serde_json::to_string(&RunState::new("nine", hash)).expect("serialises");
        std::fs::write(folder.join("run.json"), state).expect("written");
        folder
    };
    let folders = [
        hashed("unexamined-copy", 1, "aaaa", None),
        hashed("first", 1, "aaaa", Some(0.6)),
        hashed("copy", 1, "aaaa", Some(0.6)),
        hashed("examined-again", 1, "aaaa", Some(0.9)),
        hashed("second", 2, "bbbb", Some(0.62)),
    ];
    let table = tabulate(PaperTable::Table4, &read_runs(&folders).0);
    let cell = &table.cells[0];
    assert_eq!((cell.seeds, cell.runs.len()), (2, 2), "{cell:?}");
    assert!((cell.value - 61.0).abs() < 1e-9, "the copies do not pull the mean: {cell:?}");
    let notes = runs.show(&table.notes.join("\n"));
    assert_eq!(
        notes.matches("the same training as first (train hash aaaa): one seed, counted once").count(),
        3,
        "{notes}"
    );
    assert!(notes.contains("its other exam result is not counted: 90.0"), "{notes}");
    let one = tabulate(PaperTable::Table4, &read_runs(&folders[..4]).0);
    assert_eq!((one.cells[0].seeds, one.cells[0].deviation), (1, None));

    // A copy without run.json is recognised by the hash of its examined weights.
    let weights = |name: &str, seed| {
        let folder = runs.add(name, QWEN, &nine, seed, Some(0.6));
        let mut report = exam(0.6);
        report.inputs.model_hash = "the same weights".to_owned();
        std::fs::write(folder.join("exam/report.json"), serde_json::to_string(&report).expect("serialises"))
            .expect("written");
        folder
    };
    let by_weights = tabulate(PaperTable::Table4, &read_runs(&[weights("x", 1), weights("y", 1)]).0);
    assert_eq!(by_weights.cells[0].seeds, 1);
}

#[test]
fn decimal_ratios_stand_in_the_columns_of_whole_ones() {
    let runs = Runs::new();
    for (name, ratio, expected) in [
        ("a", "general = 0.9, medical = 0.1", Some(Column::Ratio { general: 9, medical: 1 })),
        ("b", "general = 18, medical = 2.0", Some(Column::Ratio { general: 9, medical: 1 })),
        ("c", "general = 0.333, medical = 0.667", Some(Column::Ratio { general: 333, medical: 667 })),
        ("d", "tcm = 0.5, western = 0.5", Some(Column::Size(10_000))),
        ("e", "tcm = 0.5, western = 0.25", None),
        ("f", "general = -1, medical = 1", None),
        ("g", "general = 0, medical = 0", None),
        ("h", "general = 1e300, medical = 1", None),
    ] {
        let folder = runs.add(name, QWEN, &mix(10_000, ratio), 1, None);
        assert_eq!(RunSummary::read(&folder).expect("a run").column, expected, "{ratio}");
    }
}

#[test]
fn a_table_is_at_most_as_wide_as_asked() {
    let runs = Runs::new();
    let sizes = [10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 70_000, 80_000, 90_000, 100_000, 110_000, 200_000];
    let add = |size: u64| runs.add(&size.to_string(), QWEN, &mix(size, "tcm = 1, western = 1"), 1, Some(0.57));
    let (read, _) = read_runs(&sizes.map(add));
    let text = tabulate(PaperTable::Table5, &read).render(100);
    assert!(text.lines().all(|line| text_width(line) <= 100), "{text}");
    assert!(["10k", "110k", "200k"].iter().all(|size| text.contains(&format!("{size} "))), "{text}");
}

#[test]
fn every_number_of_the_paper_is_there() {
    let ours = |table: PaperTable, model: &str| {
        table.columns().iter().map(|column| table.published(model, *column).expect("published")).sum::<f64>()
    };
    for (model, sum) in
        [("Qwen1.5-1.8B", 182.38), ("Qwen1.5-4B", 255.77), ("Qwen1.5-7B", 305.26), ("Qwen1.5-14B-Chat", 335.41)]
    {
        assert!((ours(PaperTable::Table4, model) - sum).abs() < 1e-9, "{model}");
    }
    assert!((ours(PaperTable::Table5, "Qwen1.5-7B") - 441.1).abs() < 1e-9);
    assert_eq!(PaperTable::Table4.published("Qwen1.5-0.5B", Column::Ratio { general: 9, medical: 1 }), None);
}

#[test]
fn the_table_after_an_exam() {
    let (base, tuned) = (ExamReport { items_without_passage: 7, ..exam(0.55) }, exam(0.62));
    insta::assert_snapshot!(crate::exam_table(&[("base", &base), ("tuned", &tuned)]), @r#"
    ┌───────────────┬───────┬───────┬───────────┬───────────┬─────────────┬───────────┬─────────────┐
    │ exam          ┆ items ┆ guess ┆    string ┆      base ┆        base ┆     tuned ┆       tuned │
    │               ┆       ┆       ┆     match ┆ open book ┆ closed book ┆ open book ┆ closed book │
    ╞═══════════════╪═══════╪═══════╪═══════════╪═══════════╪═════════════╪═══════════╪═════════════╡
    │ physician     ┆   120 ┆  20.0 ┆      31.0 ┆      55.0 ┆        24.0 ┆      62.0 ┆        24.0 │
    │ nursing*      ┆    60 ┆  20.0 ┆      31.0 ┆      55.0 ┆        24.0 ┆      62.0 ┆        24.0 │
    │ average       ┆   180 ┆  20.0 ┆      31.0 ┆      55.0 ┆        24.0 ┆      62.0 ┆        24.0 │
    │ 95 % interval ┆       ┆       ┆ 26.0–36.0 ┆ 51.0–59.0 ┆   20.0–28.0 ┆ 58.0–66.0 ┆   20.0–28.0 │
    │ content right ┆       ┆       ┆           ┆      57.0 ┆        26.0 ┆      64.0 ┆        26.0 │
    └───────────────┴───────┴───────┴───────────┴───────────┴─────────────┴───────────┴─────────────┘
    accuracy in %; average: unweighted over exams
    * fewer than 100 items: too few to conclude about this exam by itself
    7 of 180 items have no passage: open book is closed book for them
    base, open book: no option found 3, wrong 50, prompts with passages cut 1, lure chosen 4 of 40
    base, closed book: no option found 3, wrong 50, lure chosen 4 of 40
    base, open minus closed: +31.0 [+26.0, +36.0] points, McNemar's exact p = 1.3e-19
    tuned, open book: no option found 3, wrong 50, prompts with passages cut 1, lure chosen 4 of 40
    tuned, closed book: no option found 3, wrong 50, lure chosen 4 of 40
    tuned, open minus closed: +38.0 [+33.0, +43.0] points, McNemar's exact p = 1.3e-19
    "#);
    assert_eq!(crate::exam_table(&[]), "");
}
