use medley_chat::Role;
use medley_mixture::{Boilerplate, Bounds, Html, Patterns, Rejection};

use super::*;

fn record(question: &str, answer: &str) -> Vec<Message> {
    vec![Message::new(Role::User, question), Message::new(Role::Assistant, answer)]
}

fn filter(spec: FilterSpec) -> Filter {
    let filter = Filter::new(&spec, Path::new(".")).unwrap_or_else(|(problem, _)| panic!("{problem}"));
    filter.unwrap_or_else(|| panic!("nothing is asked"))
}

fn reason(spec: FilterSpec, question: &str, answer: &str) -> Option<Rejection> {
    filter(spec).judge(&mut record(question, answer)).err().map(|finding| finding.reason)
}

#[test]
fn lengths_are_counted_in_characters() {
    let bounds = |min, max| Some(Bounds { min, max });
    let question = FilterSpec { question_chars: bounds(Some(3), Some(5)), ..FilterSpec::default() };
    assert_eq!(reason(question.clone(), " 麻黄\n", "答"), Some(Rejection::QuestionTooShort));
    assert_eq!(reason(question.clone(), "麻黄汤", "答"), None);
    assert_eq!(reason(question, "麻黄汤的功效", "答"), Some(Rejection::QuestionTooLong));
    let answer = FilterSpec { answer_chars: bounds(Some(2), Some(4)), ..FilterSpec::default() };
    assert_eq!(reason(answer.clone(), "问", "答"), Some(Rejection::AnswerTooShort));
    assert_eq!(reason(answer, "问", "答答答答答"), Some(Rejection::AnswerTooLong));
    let whole = FilterSpec { chars: bounds(Some(4), Some(4)), ..FilterSpec::default() };
    assert_eq!(reason(whole.clone(), "问", "答答"), Some(Rejection::TooShort));
    assert_eq!(reason(whole.clone(), "问问", "答答"), None);
    assert_eq!(reason(whole, "问问", "答答答"), Some(Rejection::TooLong));
}

#[test]
fn expressions_are_looked_for_where_they_are_meant() {
    let list = |text: &str| vec![text.to_owned()];
    let reject = |patterns| FilterSpec { reject: Some(patterns), ..FilterSpec::default() };
    let require = |patterns| FilterSpec { require: Some(patterns), ..FilterSpec::default() };
    let answer = Patterns { answer: list("^略$"), ..Patterns::default() };
    assert_eq!(reason(reject(answer.clone()), "略", "答"), None);
    assert_eq!(reason(reject(answer), "问", "略"), Some(Rejection::RejectedByExpression));
    let any = Patterns { any: list("(?i)http"), ..Patterns::default() };
    assert_eq!(reason(reject(any), "见HTTP", "答"), Some(Rejection::RejectedByExpression));
    let question = Patterns { question: list("[？?]$"), ..Patterns::default() };
    assert_eq!(reason(require(question.clone()), "麻黄", "答？"), Some(Rejection::LacksExpression));
    assert_eq!(reason(require(question), "麻黄？", "答"), None);
}

#[test]
fn a_finding_says_what_and_shows_where() {
    let spec = FilterSpec { html: Some(Html::Drop), ..FilterSpec::default() };
    let finding = filter(spec).judge(&mut record("耳鸣", "指导意见：<br>休息")).expect_err("a remnant");
    assert_eq!((finding.detail.as_str(), finding.excerpt.as_str()), ("<br>", "指导意见：<br>休息"));
    let spec = FilterSpec { html: Some(Html::Strip), ..FilterSpec::default() };
    let mut stripped = record("耳鸣", "指导意见：<br>休息");
    assert!(filter(spec.clone()).judge(&mut stripped).expect("kept").is_some());
    assert_eq!(stripped[1].content, "指导意见：\n休息");
    assert_eq!(reason(spec, "耳鸣", "<br>&nbsp;"), Some(Rejection::HtmlRemnant), "nothing is left");
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    let spec = FilterSpec {
        chars: Some(Bounds { min: Some(5), max: Some(2) }),
        reject: Some(Patterns { any: vec!["ok".into(), "(".into()], ..Patterns::default() }),
        conditions: Some(vec!["score > 3".into(), "score".into()]),
        ..FilterSpec::default()
    };
    let places: Vec<String> = spec.problems().iter().map(|problem| problem.path.join(".")).collect();
    assert_eq!(places, ["chars", "reject.any.1", "where.1"]);
    assert!(Filter::new(&spec, Path::new(".")).is_err());
    assert!(Filter::new(&FilterSpec::default(), Path::new(".")).expect("nothing is wrong").is_none());
}

#[test]
fn a_source_says_nothing_where_it_means_the_default() {
    let default = FilterSpec { html: Some(Html::Drop), boilerplate: Some(Boilerplate::Drop), ..FilterSpec::default() };
    let own = FilterSpec { html: Some(Html::Keep), ..FilterSpec::default() };
    let merged = own.or(&default);
    assert_eq!((merged.html, merged.boilerplate), (Some(Html::Keep), Some(Boilerplate::Drop)));
}
