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

fn english(texts: &[&str], answer: &str) -> Item {
    let options = ('A'..).zip(texts).map(|(letter, text)| AnswerOption { letter, text: (*text).to_owned() }).collect();
    Item { question: "Which?".to_owned(), options, answer: answer.chars().collect(), ..item(Kind::Single, answer) }
}

#[test]
fn articles_pronouns_and_terms_are_not_option_letters_and_declared_answers_are() {
    let diseases = ["malaria", "typhoid", "dengue", "vitamin C deficiency", "hepatitis B"];
    let item = english(&diseases, "B");
    for (answer, chosen, reason) in [
        // Nothing but the letter.
        ("B", "B", "right"),
        ("b", "B", "right"),
        ("(B)", "B", "right"),
        ("**B**", "B", "right"),
        ("Answer: B", "B", "right"),
        ("Answer: **B**", "B", "right"),
        ("**Answer:** B", "B", "right"),
        ("**Answer: B**", "B", "right"),
        ("Answer: (B)", "B", "right"),
        ("\\boxed{B}", "B", "right"),
        ("$\\boxed{B}$", "B", "right"),
        ("\\boxed{\\text{B}}", "B", "right"),
        ("The answer is \\boxed{B}.", "B", "right"),
        ("The answer is B.", "B", "right"),
        ("The correct answer is **B**.", "B", "right"),
        ("The correct option is (B).", "B", "right"),
        ("B. typhoid", "B", "right"),
        ("**B. typhoid**", "B", "right"),
        ("B) Typhoid.", "B", "right"),
        ("Option B", "B", "right"),
        ("`B`", "B", "right"),
        ("A", "A", "wrong"),
        ("A.", "A", "wrong"),
        ("A malaria", "A", "wrong"),
        // Articles and pronouns.
        ("A fever.", "", "no option found"),
        ("A patient with a fever needs rest.", "", "no option found"),
        ("A 45-year-old man needs rest.", "", "no option found"),
        ("A Gram stain is needed.", "", "no option found"),
        ("I think so.", "", "no option found"),
        ("a fever", "", "no option found"),
        ("a bad cab", "", "no option found"),
        ("A bad bed", "", "no option found"),
        ("A patient with a fever. The answer is B.", "B", "right in another form"),
        ("A patient with malaria would shiver. The answer is B.", "B", "right in another form"),
        ("I would choose B", "B", "right in another form"),
        ("I think the answer is B", "B", "right in another form"),
        ("A 45-year-old man. Answer: B", "B", "right in another form"),
        ("A typhoid infection", "B", "right in another form"),
        // Letters that are options in prose.
        ("A is correct.", "A", "wrong"),
        ("B is correct.", "B", "right in another form"),
        ("It must be B because of the rash.", "B", "right in another form"),
        ("The answer is B because a rash is seen.", "B", "right in another form"),
        ("The answer is B, not A.", "B", "right in another form"),
        ("not A but B", "B", "right in another form"),
        ("The answer is not A.", "", "no option found"),
        ("The answer is B: typhoid", "B", "right"),
        ("So the answer is (B) typhoid, as a rash is seen.", "B", "right in another form"),
        ("Either A or B", "", "ambiguous"),
        ("The answer is A or B.", "", "ambiguous"),
        ("The answer is B or C.", "", "ambiguous"),
        ("The answer is B. malaria", "", "ambiguous"),
        ("The answer is A. No, the answer is B.", "", "ambiguous"),
        ("A: no. B: yes.", "", "ambiguous"),
        ("B. malaria", "", "ambiguous"),
        // Terms.
        ("vitamin C is low", "", "no option found"),
        ("Vitamin C deficiency", "D", "wrong"),
        ("hepatitis B", "E", "wrong"),
        ("T cells and B cells are low", "", "no option found"),
        ("type A blood", "", "no option found"),
        ("维生素C缺乏", "", "no option found"),
        ("B超可见", "", "no option found"),
        ("A型血", "", "no option found"),
        ("C反应蛋白升高", "", "no option found"),
        // Chinese.
        ("答案：**B**", "B", "right"),
        ("正确答案是B", "B", "right"),
        ("【答案】B", "B", "right in another form"),
        ("本题选B。", "B", "right"),
        ("答案是B，因为有皮疹。", "B", "right in another form"),
        ("维生素C缺乏不符，答案是B", "B", "right in another form"),
        ("A不对，答案是B", "B", "right in another form"),
        ("答案是A还是B", "", "ambiguous"),
        ("不是A，是B", "B", "right in another form"),
        ("选A或B", "", "ambiguous"),
    ] {
        assert_eq!(result(answer, &item, Letter), (chosen.to_owned(), reason), "{answer}");
    }
}

#[test]
fn options_of_one_letter_match_whole_words_only() {
    let groups = english(&["O", "A", "B", "AB"], "C");
    for (answer, chosen, reason) in [
        ("a fever", "", "no option found"),
        ("C", "C", "right"),
        ("C. B", "C", "right"),
        ("because of the blood", "", "no option found"),
    ] {
        assert_eq!(result(answer, &groups, Letter), (chosen.to_owned(), reason), "{answer}");
    }
    assert_eq!(result("B", &groups, Text), ("C".to_owned(), "right"));
    let nine = english(&["w", "x", "y", "z", "v", "u", "t", "s", "r"], "I");
    for (answer, chosen, reason) in
        [("I", "I", "right"), ("I think so", "", "no option found"), ("I is right", "I", "right in another form")]
    {
        assert_eq!(result(answer, &nine, Letter), (chosen.to_owned(), reason), "{answer}");
    }
}
