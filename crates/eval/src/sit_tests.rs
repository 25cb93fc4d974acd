use std::cell::RefCell;
use std::collections::BTreeSet;

use medley_files::WithHelp as _;
use medley_recipe::AnswerForm;

use super::*;
use crate::item::{AnswerOption, Kind};
use crate::test_codec::Characters;

/// Chooses the first option whose text the material contains, else "A"; may die after some prompts.
#[derive(Default)]
struct Reader {
    asked: usize,
    largest_batch: usize,
    dies_after: Option<usize>,
}

impl Solver for Reader {
    fn answer(&mut self, prompts: &[Vec<u32>], max_new_tokens: usize) -> Result<Vec<Vec<u32>>, EvalError> {
        if self.dies_after.is_some_and(|limit| self.asked + prompts.len() > limit) {
            return Err(EvalError::Solver("killed".to_owned()));
        }
        self.asked += prompts.len();
        self.largest_batch = self.largest_batch.max(prompts.len());
        let answer = |prompt: &Vec<u32>| {
            let text = Characters.decode(prompt);
            let (material, question) = text.split_once("问题：").unwrap_or(("", &text));
            let options = question.lines().filter_map(|line| line.split_once(". "));
            let letter =
                options.into_iter().find(|(_, text)| material.contains(*text)).map_or("A", |(letter, _)| letter);
            letter.chars().map(u32::from).take(max_new_tokens).collect()
        };
        Ok(prompts.iter().map(answer).collect())
    }
}

fn papers() -> Papers {
    let exams = ["nursing", "physician", "extra"];
    let item = |index: usize| Item {
        id: format!("item-{index}"),
        exam: exams[index % 3].to_owned(),
        kind: Kind::Single,
        question: format!("第{index}种药归何经？"),
        options: ('A'..='D').map(|letter| AnswerOption { letter, text: format!("{letter}{index}经") }).collect(),
        answer: [char::from(b'A' + (index % 4) as u8)].into(),
        passages: vec![format!("第{index}种药归{}{index}经。", char::from(b'A' + (index % 4) as u8))],
        lure: Some(char::from(b'A' + ((index + 1) % 4) as u8)),
    };
    Papers { items: (0..24).map(item).collect(), files: Vec::new() }
}

fn spec(batch_size: usize) -> ExamSpec {
    ExamSpec {
        papers: Vec::new(),
        prompt: "zh".to_owned(),
        answer: AnswerForm::Letter,
        books: vec![Book::Open, Book::Closed],
        max_prompt_tokens: 500,
        max_new_tokens: 4,
        batch_size,
        keep_prompts: false,
    }
}

struct Setup {
    papers: Papers,
    spec: ExamSpec,
    model_hash: &'static str,
    exchange_passages: bool,
    limit: Option<usize>,
}

impl Setup {
    fn new(batch_size: usize) -> Self {
        Self { papers: papers(), spec: spec(batch_size), model_hash: "m1", exchange_passages: false, limit: None }
    }

    fn sit(&self, solver: &mut dyn Solver, folder: &Path) -> Result<ExamReport, EvalError> {
        let template = PromptTemplate::load("zh", Path::new("."))?;
        let progress = RefCell::new(Vec::new());
        let sitting = Sitting {
            papers: &self.papers,
            spec: &self.spec,
            template: &template,
            codec: &Characters,
            model: "reader".to_owned(),
            model_hash: self.model_hash.to_owned(),
            device: "test".to_owned(),
            exchange_passages: self.exchange_passages,
            limit: self.limit,
            progress: &|book, done, total| progress.borrow_mut().push((book, done, total)),
        };
        let report = sit(solver, &sitting, folder)?;
        assert_eq!(progress.borrow().last(), Some(&(Book::Closed, report.items, report.items)));
        Ok(report)
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn lines(folder: &Path) -> BTreeSet<String> {
    let text = |book| std::fs::read_to_string(folder.join(book).join("answers.jsonl")).expect("answers");
    [text("open"), text("closed")].iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
}

#[test]
fn a_reader_scores_open_book_and_guesses_closed_book() {
    let folder = folder();
    let report = Setup::new(5).sit(&mut Reader::default(), folder.path()).expect("sat");
    let open = report.book(Book::Open).expect("asked");
    let closed = report.book(Book::Closed).expect("asked");
    assert_eq!(open.strict.average.value, 1.0);
    assert_eq!(closed.strict.average.value, 0.25);
    assert_eq!(report.guess.average.value, 0.25);
    assert_eq!(report.string_match.average.value, 1.0);
    assert_eq!((closed.failures["wrong"], closed.lures, closed.lures_chosen), (18, 24, 6));
    let names: Vec<&str> = open.strict.exams.iter().map(|exam| exam.exam.as_str()).collect();
    assert_eq!(names, ["physician", "nursing", "extra"]);
    assert!(open.strict.exams.iter().all(|exam| exam.small && exam.items == 8));
    let paired = report.open_minus_closed.as_ref().expect("both books");
    assert_eq!((paired.counts.first_only, paired.counts.both), (18, 6));
    assert!(paired.difference.low > 0.4 && paired.p_value < 1e-4);
    let read = ExamReport::read(&folder.path().join("report.json")).expect("report.json is whole");
    // But for the last digit of a float, which JSON may lose.
    assert_eq!((&read.inputs, read.items), (&report.inputs, report.items));
    assert_eq!(read.book(Book::Closed).expect("asked").failures, closed.failures);
    assert_eq!(read.book(Book::Open).expect("asked").strict.average.value, open.strict.average.value);
}

#[test]
fn the_batch_size_changes_nothing() {
    let (one, seven) = (folder(), folder());
    let mut alone = Reader::default();
    let mut batched = Reader::default();
    let first = Setup::new(1).sit(&mut alone, one.path()).expect("sat");
    let second = Setup::new(7).sit(&mut batched, seven.path()).expect("sat");
    assert_eq!((alone.largest_batch, batched.largest_batch), (1, 7));
    assert_eq!(first, second);
    assert_eq!(lines(one.path()), lines(seven.path()));
}

#[test]
fn a_killed_exam_goes_on_where_it_stopped() {
    let (killed, whole) = (folder(), folder());
    let setup = Setup::new(5);
    let expected = setup.sit(&mut Reader::default(), whole.path()).expect("sat");
    let mut dying = Reader { dies_after: Some(37), ..Reader::default() };
    setup.sit(&mut dying, killed.path()).expect_err("it dies");
    assert!(!killed.path().join("report.json").exists());
    // The kill came in the middle of a line.
    let journal = killed.path().join("closed").join("answers.jsonl");
    let mut text = std::fs::read_to_string(&journal).expect("answers");
    let kept = text.lines().count() - 1;
    text.push_str("{\"id\": \"item-");
    std::fs::write(&journal, text).expect("written");
    let mut second = Reader::default();
    let report = setup.sit(&mut second, killed.path()).expect("sat");
    assert_eq!(second.asked, 24 - kept);
    assert_eq!(report, expected);
    assert_eq!(lines(killed.path()), lines(whole.path()));
    let mut third = Reader::default();
    setup.sit(&mut third, killed.path()).expect("sat");
    assert_eq!(third.asked, 0);
}

#[test]
fn answers_of_another_exam_are_refused_by_name() {
    let folder = folder();
    Setup::new(5).sit(&mut Reader::default(), folder.path()).expect("sat");
    let refused = |setup: Setup| setup.sit(&mut Reader::default(), folder.path()).expect_err("foreign").with_help();
    let message = refused(Setup { model_hash: "m2", ..Setup::new(5) });
    assert!(message.contains("model = m1, now it is m2") && message.contains("answers.jsonl"), "{message}");
    let mut papers = papers();
    papers.items[3].question.push('？');
    assert!(refused(Setup { papers, ..Setup::new(5) }).contains("with items = "));
    let spec = ExamSpec { answer: AnswerForm::Text, ..spec(5) };
    assert!(refused(Setup { spec, ..Setup::new(5) }).contains("answer = letter, now it is text"));
    let journal = folder.path().join("open").join("answers.jsonl");
    let text = std::fs::read_to_string(&journal).expect("answers").replace("\"item-3\"", "item-3");
    std::fs::write(&journal, text).expect("written");
    let message = refused(Setup::new(5));
    assert!(message.contains("is damaged") && message.contains("help: remove the file"), "{message}");
}

#[test]
fn with_exchanged_passages_reading_is_worth_no_more_than_chance() {
    let folder = folder();
    let setup = Setup { exchange_passages: true, ..Setup::new(5) };
    let report = setup.sit(&mut Reader::default(), folder.path()).expect("sat");
    assert!(report.inputs.passages_exchanged);
    assert_eq!(report.book(Book::Open).expect("asked").strict.average.value, 0.25);
    assert_eq!(report.string_match.average.value, 0.25);
}

#[test]
fn a_limit_takes_from_every_exam() {
    let folder = folder();
    let report = Setup { limit: Some(7), ..Setup::new(5) }.sit(&mut Reader::default(), folder.path()).expect("sat");
    let counts: Vec<usize> = report.guess.exams.iter().map(|exam| exam.items).collect();
    assert_eq!(counts, [2, 3, 2]);
}

#[test]
fn two_exams_on_the_same_items_are_compared_pair_by_pair() {
    let (reading, exchanged, other) = (folder(), folder(), folder());
    let report = Setup::new(5).sit(&mut Reader::default(), reading.path()).expect("sat");
    let again = Setup { model_hash: "m2", ..Setup::new(3) };
    again.sit(&mut Silent, exchanged.path()).expect("sat");
    let paired =
        medley_run::compare_exams(reading.path(), exchanged.path(), Book::Open).expect("the same items").average;
    assert_eq!((paired.counts.first_only, paired.counts.total()), (24, report.items as u64));
    assert!(paired.difference.value == 1.0 && paired.p_value < 1e-6);
    Setup { limit: Some(6), ..Setup::new(5) }.sit(&mut Reader::default(), other.path()).expect("sat");
    let error =
        medley_run::compare_exams(reading.path(), other.path(), Book::Open).expect_err("other items").to_string();
    assert!(error.contains("answers other items than"), "{error}");
}

/// Says nothing.
struct Silent;

impl Solver for Silent {
    fn answer(&mut self, prompts: &[Vec<u32>], _: usize) -> Result<Vec<Vec<u32>>, EvalError> {
        Ok(vec![Vec::new(); prompts.len()])
    }
}

#[test]
fn a_folder_is_locked_during_an_exam_and_cleaned_of_leftovers() {
    let folder = folder();
    let lock = FolderLock::take_for(folder.path(), "exam").expect("free");
    let refused = Setup::new(4).sit(&mut Reader::default(), folder.path()).expect_err("another exam is sat here");
    assert!(matches!(refused, EvalError::Locked { .. }), "{refused}");
    assert!(!folder.path().join("report.json").exists(), "nothing was written");
    drop(lock);
    let half_written = folder.path().join(".partial-report.json-1");
    std::fs::write(&half_written, "{").expect("written");
    Setup::new(4).sit(&mut Reader::default(), folder.path()).expect("nobody else");
    assert!(!half_written.exists(), "what a killed exam left is removed");
    assert!(!folder.path().join(".lock").exists(), "the lock is released");
}

#[test]
fn a_foreign_report_is_not_overwritten() {
    let folder = folder();
    let report = folder.path().join("report.json");
    std::fs::write(&report, "mine\n").expect("written");
    let refused = Setup::new(4).sit(&mut Reader::default(), folder.path()).expect_err("a file of the user");
    assert!(refused.to_string().contains("it is no exam report, and would be overwritten"), "{refused}");
    assert_eq!(std::fs::read_to_string(&report).expect("still there"), "mine\n");
}
