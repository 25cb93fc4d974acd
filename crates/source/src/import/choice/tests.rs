use medley_mixture::spec::Columns;
use serde_json::json;

use super::options::choices_of;
use super::record::kind_of_question;
use super::*;

fn item<'a>(options: &Value, answers: Vec<&'a Value>, multiple: Option<bool>) -> ChoiceQuestion<'a> {
    ChoiceQuestion {
        question: "问？".to_owned(),
        passage: String::new(),
        choices: choices_of(options, "options").expect("options"),
        answers,
        explanation: String::new(),
        multiple,
        answers_from: None,
    }
}

fn asked(options: &Value, answer: &Value, multiple: Option<bool>) -> Result<String, Rejection> {
    let none = KeyEvidence::default();
    match item(options, vec![answer], multiple).conversation(|| &none).expect("no question about the file") {
        Imported::Conversation(messages) => Ok(messages.into_iter().map(|m| m.content).collect::<Vec<_>>().join("|")),
        Imported::Rejected(reason) => Err(reason),
    }
}

/// The letters of the right options of every record of a file, or why there are none.
fn keys(records: &[Value], columns: &Columns) -> Vec<Result<String, Unanswered>> {
    let record = |record: &'static Value| record.as_object().expect("an object");
    let records: &'static [Value] = Box::leak(records.to_vec().into_boxed_slice());
    let read =
        |value: &'static Value| ChoiceQuestion::of(record(value), columns).expect("readable").expect("an exam item");
    let mut evidence = KeyEvidence::default();
    records.iter().for_each(|value| evidence.observe(&read(value)));
    records.iter().map(|value| read(value).right(|| &evidence).map(|letters| letters.into_iter().collect())).collect()
}

fn all_keys(records: &[Value]) -> Vec<String> {
    keys(records, &Columns::default()).into_iter().map(|key| key.expect("a key")).collect()
}

fn question_about(records: &[Value]) -> String {
    match keys(records, &Columns::default()).into_iter().next().expect("a record") {
        Err(Unanswered::File(RecordProblem { problem, hint })) => format!("{problem} | {hint}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn options_and_answers_of_every_form() {
    let expected = Ok("问？\nA. 甲\nB. 乙|B. 乙".to_owned());
    for (options, answer) in [
        (json!({"A": "甲", "B": "乙"}), json!("B")),
        (json!({"A": "甲", "B": "乙"}), json!("b")),
        (json!({"a": "甲", "b": "乙"}), json!("b")),
        (json!({"A": "甲", "B": "乙", "C": ""}), json!("（B）")),
        (json!({"A": "甲", "B": "乙"}), json!("B. 乙")),
        (json!({"A": "甲", "B": "乙"}), json!("答案：B")),
        (json!({"A": "甲", "B": "乙"}), json!({"label": "B", "text": "乙"})),
        (json!(["甲", "乙"]), json!(["乙"])),
        (json!(["甲", "乙"]), json!([false, true])),
        (json!(["A.甲", "B.乙"]), json!(["B"])),
        (json!("A 甲\nB 乙"), json!("B")),
        (json!("(A) 甲\n(B) 乙"), json!("Ｂ")),
        (json!([{"label": "A", "text": "甲"}, {"label": "B", "text": "乙", "correct": true}]), json!(null)),
        (json!("[\"甲\", \"乙\"]"), json!("乙")),
        (json!({"text": ["甲", "乙"], "label": ["A", "B"]}), json!("B")),
        (json!({"text": ["甲", "乙"], "label": ["1", "2"]}), json!("2")),
        (json!({"1": "甲", "2": "乙"}), json!(2)),
        (json!({"option1": "甲", "option2": "乙"}), json!("option2")),
    ] {
        assert_eq!(asked(&options, &answer, None), expected, "{options} {answer}");
    }
    let several = Ok("问？\nA. 甲\nB. 乙\nC. 丙|A. 甲\nC. 丙".to_owned());
    let options = json!({"A": "甲", "B": "乙", "C": "丙"});
    for answer in [
        json!("AC"),
        json!("C、A"),
        json!(["甲", "丙"]),
        json!(["A", "C"]),
        json!("A|C"),
        json!("A/C"),
        json!("A and C"),
        json!("a,c"),
        json!("甲\n丙"),
        json!("甲;丙"),
        json!("[\"甲\", \"丙\"]"),
        json!("['A', 'C']"),
        json!([1, 0, 1]),
        json!([true, false, true]),
    ] {
        assert_eq!(asked(&options, &answer, Some(true)), several, "{answer}");
    }
}

#[test]
fn items_without_a_right_option_are_rejected() {
    let options = json!({"A": "甲", "B": "乙"});
    assert_eq!(asked(&options, &json!("C"), None), Err(Rejection::AnswerNotAmongOptions));
    assert_eq!(asked(&options, &json!("B. 甲"), None), Err(Rejection::AnswerNotAmongOptions));
    assert_eq!(asked(&options, &json!(["甲", "丙"]), None), Err(Rejection::AnswerNotAmongOptions));
    assert_eq!(asked(&options, &json!(7), None), Err(Rejection::AnswerNotAmongOptions));
    assert_eq!(asked(&options, &json!([0, 1]), None), Err(Rejection::AnswerNotAmongOptions), "numbers or marks");
    assert_eq!(asked(&options, &json!(""), None), Err(Rejection::EmptyAnswer));
    assert_eq!(asked(&options, &json!(-1), None), Err(Rejection::EmptyAnswer));
    assert_eq!(asked(&options, &json!("B"), Some(true)), Err(Rejection::KeyCutShort));
    assert_eq!(asked(&json!(["甲"]), &json!("A"), None), Err(Rejection::TooFewOptions));
    assert_eq!(asked(&json!(["甲"]), &json!(["甲"]), None), Ok("问？|甲".to_owned()), "the answer stands there");
}

fn kor(answer: Value) -> Value {
    json!({"question": "哪个？", "A": "甲", "B": "乙", "C": "丙", "D": "丁", "E": "戊", "answer": answer, "cot": ""})
}

/// One record that can be read in one way only decides for its file; numbers are the same as numbers and as texts.
#[test]
fn numbers_count_from_what_the_file_shows() {
    assert_eq!(all_keys(&[kor(json!(2)), kor(json!(5)), kor(json!(1))]), ["B", "E", "A"]);
    assert_eq!(all_keys(&[kor(json!(2)), kor(json!(0)), kor(json!(4))]), ["C", "A", "E"]);
    assert_eq!(all_keys(&[kor(json!("2")), kor(json!("5"))]), ["B", "E"]);
    assert_eq!(all_keys(&[kor(json!(2.0)), kor(json!("5.0"))]), ["B", "E"]);
    let lists = |answer: Value| json!({"question": "q", "choices": ["w", "x", "y"], "answer": answer});
    assert_eq!(all_keys(&[lists(json!(1)), lists(json!(3))]), ["A", "C"]);
    let medmcqa = |cop: i64| json!({"question": "q", "opa": "w", "opb": "x", "opc": "y", "opd": "z", "cop": cop, "choice_type": "multi"});
    assert_eq!(all_keys(&[medmcqa(1), medmcqa(4)]), ["A", "D"]);
    assert_eq!(all_keys(&[medmcqa(1), medmcqa(0)]), ["B", "A"]);
    // An option without text does not count as one, and does not move the others.
    let four = |answer: i64| json!({"question": "q", "A": "w", "B": "", "C": "y", "D": "z", "E": "", "answer": answer});
    assert_eq!(all_keys(&[four(1), four(3), four(4)]), ["A", "C", "D"]);
    // Another key of the same record may resolve it.
    let both = json!({"question": "q", "choices": ["w", "x", "y"], "answer": "B", "answer_index": 1});
    assert_eq!(all_keys(&[both, json!({"question": "q", "choices": ["w", "x", "y"], "answer_index": 1})]), ["B", "B"]);
}

#[test]
fn numbers_that_no_record_explains_are_asked_about() {
    let asked = question_about(&[kor(json!(2)), kor(json!(3)), kor(json!(4))]);
    assert!(asked.contains("numbers (2 to 4 of 5 options)") && asked.contains("from 0 or from 1"), "{asked}");
    assert!(asked.contains("columns = { answers_from = 1 }"), "{asked}");
    let contradiction = question_about(&[kor(json!(2)), kor(json!(0)), kor(json!(5))]);
    assert!(contradiction.contains("from 0 in some records and from 1 in others"), "{contradiction}");
    for (first, expected) in [(0, ["C", "D"]), (1, ["B", "C"])] {
        let columns = Columns { answers_from: Some(first), ..Columns::default() };
        let keys: Vec<_> = keys(&[kor(json!(2)), kor(json!(3))], &columns).into_iter().flatten().collect();
        assert_eq!(keys, expected, "from {first}");
    }
    // The recipe's setting also applies to a number that is out of its range.
    let columns = Columns { answers_from: Some(1), ..Columns::default() };
    assert_eq!(keys(&[kor(json!(0))], &columns), [Err(Unanswered::Record(Rejection::AnswerNotAmongOptions))]);
}

/// Blood groups: `B` is a letter and the text of another option.
#[test]
fn a_letter_that_is_a_text_too_is_read_as_its_file_reads_others() {
    let groups = |answer: &str| json!({"question": "q", "options": ["O", "A", "B", "AB"], "answer": answer});
    let plain = |answer: &str| json!({"question": "q", "options": ["w", "x", "y", "z"], "answer": answer});
    assert_eq!(all_keys(&[groups("B"), plain("D")]), ["B", "D"]);
    assert_eq!(all_keys(&[groups("B"), plain("z")]), ["C", "D"]);
    let ambiguous = |records: &[Value]| {
        keys(records, &Columns::default())[0] == Err(Unanswered::Record(Rejection::AnswerAmbiguous))
    };
    assert!(ambiguous(&[groups("B")]));
    assert!(ambiguous(&[groups("B"), plain("z"), plain("D")]));
    let with_both = json!({"question": "q", "options": ["O", "A", "B", "AB"], "answer": "A", "answer_idx": "B"});
    assert_eq!(all_keys(&[with_both]), ["B"], "the two keys agree in one reading");
    let counts = |answer: Value| json!({"question": "q", "options": ["1", "2", "3", "0"], "answer": answer});
    assert_eq!(
        all_keys(&[counts(json!("2")), json!({"question": "q", "options": ["1", "7"], "answer": "7"})]),
        ["B", "B"]
    );
    assert_eq!(all_keys(&[counts(json!(2)), kor(json!(0))]), ["C", "A"]);
}

#[test]
fn a_text_that_stands_twice_agrees_with_either_letter() {
    let twice =
        json!({"question": "q", "options": {"A": "甲", "B": "乙", "C": "甲"}, "answer": "甲", "answer_idx": "C"});
    assert_eq!(keys(&[twice], &Columns::default()), [Ok("C".to_owned())]);
}

#[test]
fn answers_that_disagree_are_rejected() {
    let options = json!({"A": "甲", "B": "乙", "C": "丙"});
    let disagree = json!({"question": "q", "options": options, "answer": "丙", "answer_idx": "B"});
    assert_eq!(keys(&[disagree], &Columns::default()), [Err(Unanswered::Record(Rejection::AnswersDisagree))]);
    let explained = json!({"question": "q", "options": options, "answer": "因为乙归肝经", "answer_idx": "B"});
    assert_eq!(all_keys(&[explained]), ["B"], "a text that names no option is no other answer");
    let marked = json!({"question": "q", "options": [{"text": "甲", "correct": true}, {"text": "乙"}], "answer": "B"});
    assert_eq!(keys(&[marked], &Columns::default()), [Err(Unanswered::Record(Rejection::AnswersDisagree))]);
}

/// The layouts of public exams, each with its key.
#[test]
fn items_of_public_layouts_have_their_keys() {
    for (record, key) in [
        (
            json!({"question": "q", "answers": {"a": "w", "b": "x", "c": "y"}, "correct_answers": ["a", "c"], "number_correct_answers": 2}),
            "AC",
        ),
        (json!({"question": "q", "answer_a": "w", "option_a": "w", "option_b": "x", "answer": "option_b"}), "B"),
        (
            json!({"question": {"stem": "q", "choices": [{"label": "A", "text": "w"}, {"label": "B", "text": "x"}]}, "answerKey": "B"}),
            "B",
        ),
        (json!({"question": "q", "choices": {"label": ["A", "B"], "text": ["w", "x"]}, "answerKey": "B"}), "B"),
        (
            json!({"qtext": "q", "ra": 2, "answers": [{"aid": 1, "atext": "w"}, {"aid": 2, "atext": "x"}], "image": ""}),
            "B",
        ),
        (json!({"qtext": "q", "ra": "2", "answers": [{"aid": 1, "atext": "w"}, {"aid": 2, "atext": "x"}]}), "B"),
        (
            json!({"question": "q", "answer_options": "{\"option1\": \"w\", \"option2\": \"x\"}", "correct_answer": "option2", "question_type": "MCQ"}),
            "B",
        ),
        (json!({"question": "q", "context": {"contexts": ["w"]}, "final_decision": "maybe", "long_answer": "l"}), "C"),
        (json!({"Question": "q", "A": "w", "B": "x", "C": "y", "D": "z", "Answer": "D", "": "0"}), "D"),
        (json!({"question": "q", "options": ["w", "x"], "answer": "I", "answer_index": 1}), "B"),
        (json!({"题目": "q", "选项": {"A": "w", "B": "x"}, "答案": "B"}), "B"),
        (json!({"question": "q", "options": ["w", "x", "y"], "label": "y"}), "C"),
    ] {
        let record = &record;
        if record.get("answer") == Some(&json!("I")) {
            // No option I: the other key alone is left, and its file must say how it counts.
            assert!(matches!(keys(std::slice::from_ref(record), &Columns::default())[0], Err(Unanswered::File(_))));
            continue;
        }
        assert_eq!(all_keys(std::slice::from_ref(record)), [key], "{record}");
    }
}

#[test]
fn columns_name_what_no_key_tells() {
    let columns = |text: &str| -> Columns { serde_json::from_str(text).expect("columns") };
    let record = json!({"stem_text": "q", "o": {"x": ["w", "x"]}, "k": "B", "w1": "w", "w2": "x", "why": "因"});
    for (text, key) in [
        (r#"{"instruction": "stem_text", "options": "o.x", "output": "k"}"#, "B"),
        (r#"{"instruction": "stem_text", "options": ["w1", "w2"], "output": "k", "explanation": "why"}"#, "B"),
    ] {
        let found: Vec<_> = keys(std::slice::from_ref(&record), &columns(text)).into_iter().flatten().collect();
        assert_eq!(found, [key], "{text}");
    }
}

#[test]
fn the_name_of_a_question_s_form_is_not_the_number_of_its_answers() {
    for (name, several) in [
        ("", None),
        ("多项选择题", Some(true)),
        ("单项选择题", Some(false)),
        ("最佳选择题", Some(false)),
        ("不定项选择题", None),
        ("multiple_choice", None),
        ("Multiple Choice", None),
        ("mcq", None),
        ("multi", Some(true)),
        ("multiple", Some(true)),
        ("multi-answer", Some(true)),
        ("Multiple Response", Some(true)),
        ("single", Some(false)),
        ("X型题", Some(true)),
    ] {
        assert_eq!(kind_of_question(name), several, "{name}");
    }
}
