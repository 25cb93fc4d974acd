//! What an exam gives without a model: chance, and looking for the options in the passages.

use crate::item::{Item, Kind};

/// Chance of a right answer when every answer that the form allows is equally likely: 1/n in single choice, 1/(2^n - 1)
/// in multiple choice, where any options but none may be chosen.
pub fn guess_credit(item: &Item) -> f64 {
    let count = item.options.len() as i32;
    match item.kind {
        Kind::Single => 1.0 / f64::from(count),
        Kind::Multiple => 1.0 / (2.0_f64.powi(count) - 1.0),
    }
}

/// Expected score of choosing the options found in the passages.
///
/// Single choice: the only option whose text is found there; among several, each with equal chance. Multiple choice: the
/// options found there. With none, chance.
pub fn string_match_credit(item: &Item) -> f64 {
    let stands = |text: &str| item.passages.iter().any(|passage| passage.contains(text));
    let found: Vec<char> =
        item.options.iter().filter(|option| stands(&option.text)).map(|option| option.letter).collect();
    if found.is_empty() {
        return guess_credit(item);
    }
    let right = match item.kind {
        Kind::Single => found.iter().any(|letter| item.answer.contains(letter)),
        Kind::Multiple => found.len() == item.answer.len() && found.iter().all(|letter| item.answer.contains(letter)),
    };
    let choices = if item.kind == Kind::Single { found.len() as f64 } else { 1.0 };
    f64::from(u8::from(right)) / choices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::AnswerOption;

    fn item(kind: Kind, answer: &str, passage: &str) -> Item {
        Item {
            id: "1".to_owned(),
            exam: "physician".to_owned(),
            kind,
            question: "归经？".to_owned(),
            options: ('A'..)
                .zip(["脾经", "肝经", "心经", "肺经"])
                .map(|(letter, text)| AnswerOption { letter, text: text.to_owned() })
                .collect(),
            answer: answer.chars().collect(),
            passages: vec![passage.to_owned()],
            lure: None,
        }
    }

    #[test]
    fn chance_counts_the_answers_that_the_form_allows() {
        assert_eq!(guess_credit(&item(Kind::Single, "A", "")), 0.25);
        assert_eq!(guess_credit(&item(Kind::Multiple, "AB", "")), 1.0 / 15.0);
    }

    #[test]
    fn matching_counts_what_stands_alone_or_its_share() {
        for (kind, answer, passage, credit) in [
            (Kind::Single, "A", "白术归脾经。", 1.0),
            (Kind::Single, "B", "白术归脾经。", 0.0),
            (Kind::Single, "A", "白术归脾经，柴胡归肝经。", 0.5),
            (Kind::Single, "D", "白术归脾经，柴胡归肝经。", 0.0),
            (Kind::Single, "A", "白术健脾。", 0.25),
            (Kind::Multiple, "AB", "白术归脾经，柴胡归肝经。", 1.0),
            (Kind::Multiple, "AB", "白术归脾经。", 0.0),
            (Kind::Multiple, "AB", "白术健脾。", 1.0 / 15.0),
        ] {
            assert_eq!(string_match_credit(&item(kind, answer, passage)), credit, "{answer} {passage}");
        }
    }
}
