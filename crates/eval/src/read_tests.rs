use medley_recipe::AnswerForm::{self, Letter, Text};

use super::*;
use crate::grade::{Failure, grade};

fn item(kind: Kind, answer: &str) -> Item {
    let texts = ["脾、胃经", "脾经", "肝经", "Vitamin C", "肝胆经", "以上都对"];
    Item {
        id: "1".to_owned(),
        exam: "physician".to_owned(),
        kind,
        question: "白术的归经是？".to_owned(),
        options: ('A'..).zip(texts).map(|(letter, text)| AnswerOption { letter, text: text.to_owned() }).collect(),
        answer: answer.chars().collect(),
        passages: Vec::new(),
        lure: None,
    }
}

fn result(answer: &str, item: &Item, form: AnswerForm) -> (String, &'static str) {
    let grade = grade(answer, item, form, false);
    (grade.chosen.iter().collect(), grade.failure.map_or("right", Failure::name))
}

#[test]
fn letters_are_read_in_every_usual_form() {
    let single = item(Kind::Single, "B");
    for answer in [
        "B",
        "B.",
        "B。",
        " B\n",
        "Ｂ",
        "b",
        "（B）",
        "答案：B",
        "答案是B。",
        "正确答案为：B",
        "选B",
        "应选择B",
        "故选B。",
        "B项",
        "选项B",
        "B. 脾经",
        "B、脾经。",
        "B 脾经",
        "B：脾经",
        "The answer is B.",
        "**B**",
        "“B”",
    ] {
        assert_eq!(result(answer, &single, Letter), ("B".to_owned(), "right"), "{answer}");
    }
    let multiple = item(Kind::Multiple, "BC");
    for answer in
        ["BC", "B、C", "B,C", "B，C。", "ＢＣ", "CB", "B C", "B和C", "答案：B、C", "B. 脾经\nC. 肝经", "选BC", "B/C"]
    {
        assert_eq!(result(answer, &multiple, Letter), ("BC".to_owned(), "right"), "{answer}");
    }
}

#[test]
fn letters_that_fail_say_why() {
    let single = item(Kind::Single, "B");
    for (answer, chosen, reason) in [
        ("C", "C", "wrong"),
        ("BC", "BC", "wrong"),
        ("", "", "empty"),
        ("  \n", "", "empty"),
        ("不知道", "", "no option found"),
        ("Z", "", "no option found"),
        ("B还是C", "", "ambiguous"),
        ("A不对，所以是B", "", "ambiguous"),
        ("B因为白术健脾", "B", "right in another form"),
        ("根据资料，正确的是B选项，白术健脾。", "B", "right in another form"),
        ("脾经", "B", "right in another form"),
        ("白术归脾经。", "B", "right in another form"),
        ("白术归肝经。", "C", "wrong"),
        ("归脾经和肝经", "", "ambiguous"),
        ("B. 肝经", "", "ambiguous"),
    ] {
        assert_eq!(result(answer, &single, Letter), (chosen.to_owned(), reason), "{answer}");
    }
    let multiple = item(Kind::Multiple, "BC");
    for (answer, chosen, reason) in [
        ("B", "B", "partial"),
        ("BD", "BD", "wrong"),
        ("BCD", "BCD", "wrong"),
        ("脾经、肝经", "BC", "right in another form"),
    ] {
        assert_eq!(result(answer, &multiple, Letter), (chosen.to_owned(), reason), "{answer}");
    }
}

#[test]
fn texts_are_read_but_for_width_space_and_end_punctuation() {
    for (key, answers) in [
        ("A", &["脾、胃经", "脾、胃经。", " 脾、 胃经 ", "“脾、胃经”"][..]),
        ("B", &["脾经", "脾经。"]),
        ("D", &["Vitamin C", "ｖｉｔａｍｉｎ　Ｃ", "vitamin c."]),
    ] {
        for answer in answers {
            assert_eq!(result(answer, &item(Kind::Single, key), Text), (key.to_owned(), "right"), "{answer}");
        }
    }
    let multiple = item(Kind::Multiple, "AC");
    for answer in ["脾、胃经\n肝经", "肝经、脾、胃经", "脾、胃经；肝经。", "脾、胃经和肝经"]
    {
        assert_eq!(result(answer, &multiple, Text), ("AC".to_owned(), "right"), "{answer}");
    }
}

#[test]
fn texts_that_fail_say_why_and_content_counts_apart() {
    let single = item(Kind::Single, "A");
    for (answer, chosen, reason) in [
        ("肝经", "C", "wrong"),
        ("白术的归经是脾、胃经。", "A", "right in another form"),
        ("A", "A", "right in another form"),
        ("A. 脾、胃经", "A", "right in another form"),
        ("白术归肝胆经", "E", "wrong"),
        ("脾经或肝经", "", "ambiguous"),
        ("心经", "", "no option found"),
        ("", "", "empty"),
    ] {
        assert_eq!(result(answer, &single, Text), (chosen.to_owned(), reason), "{answer}");
    }
    let grade = |answer| grade(answer, &single, Text, false);
    assert!(grade("脾、胃经").well_formed && grade("肝经").well_formed);
    assert!(!grade("白术的归经是脾、胃经。").well_formed && grade("白术的归经是脾、胃经。").content);
    assert!(!grade("白术归肝经").content);
    assert_eq!(result("脾、胃经", &item(Kind::Multiple, "AC"), Text), ("A".to_owned(), "partial"));
}

#[test]
fn a_cut_prompt_is_the_reason_unless_the_answer_is_right() {
    let single = item(Kind::Single, "B");
    assert_eq!(grade("C", &single, Letter, true).failure, Some(Failure::TruncatedPrompt));
    assert_eq!(grade("", &single, Letter, true).failure, Some(Failure::TruncatedPrompt));
    assert_eq!(grade("B", &single, Letter, true).failure, None);
    assert_eq!(grade("是脾经", &single, Letter, true).failure, Some(Failure::Form));
}
