//! The control: every question with another question's passages. A model that reads falls to chance.

use crate::error::EvalError;
use crate::item::Item;

/// Gives every item that has passages those of another item, by a fixed permutation (of the ids' hashes) in which no
/// item keeps passages equal to its own.
///
/// # Errors
/// There is no such permutation: too many items share their passages.
pub fn exchange_passages(items: &[Item]) -> Result<Vec<Item>, EvalError> {
    let mut order: Vec<usize> = (0..items.len()).filter(|index| !items[*index].passages.is_empty()).collect();
    order.sort_by_key(|index| *blake3::hash(items[*index].id.as_bytes()).as_bytes());
    let count = order.len();
    let mut giver: Vec<usize> = (0..count).map(|position| order[(position + 1) % count]).collect();
    let same = |position: usize, giver: usize| items[order[position]].passages == items[giver].passages;
    for position in 0..count {
        if !same(position, giver[position]) {
            continue;
        }
        // Trade with the next position for which both then differ from their own.
        let partner = (1..count)
            .map(|step| (position + step) % count)
            .find(|other| !same(position, giver[*other]) && !same(*other, giver[position]));
        let Some(partner) = partner else {
            let id = &items[order[position]].id;
            return Err(EvalError::Exchange(format!("no other item's passages are free for item {id}")));
        };
        giver.swap(position, partner);
    }
    let mut exchanged = items.to_vec();
    for (position, giver) in giver.into_iter().enumerate() {
        exchanged[order[position]].passages = items[giver].passages.clone();
    }
    Ok(exchanged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{AnswerOption, Kind};

    fn items(passages: &[&str]) -> Vec<Item> {
        let item = |(index, passage): (usize, &&str)| Item {
            id: format!("item-{index}"),
            exam: "physician".to_owned(),
            kind: Kind::Single,
            question: "？".to_owned(),
            options: vec![AnswerOption { letter: 'A', text: "甲".to_owned() }],
            answer: ['A'].into(),
            passages: if passage.is_empty() { Vec::new() } else { vec![(*passage).to_owned()] },
            lure: None,
        };
        passages.iter().enumerate().map(item).collect()
    }

    #[test]
    fn every_passage_moves_to_another_question_and_none_is_lost() {
        for passages in [vec!["a", "b"], vec!["a", "b", "c", "d", "e"], vec!["a", "a", "b", "b", "", "c", "c"]] {
            let before = items(&passages);
            let after = exchange_passages(&before).expect("there is a permutation");
            let mut moved: Vec<_> = after.iter().map(|item| item.passages.clone()).collect();
            let mut all: Vec<_> = before.iter().map(|item| item.passages.clone()).collect();
            for (old, new) in before.iter().zip(&after) {
                assert_eq!(old.passages.is_empty(), new.passages.is_empty());
                assert!(old.passages.is_empty() || old.passages != new.passages);
            }
            moved.sort();
            all.sort();
            assert_eq!(moved, all);
            assert_eq!(exchange_passages(&before).expect("as before"), after, "the permutation is fixed");
        }
    }

    #[test]
    fn items_that_share_one_passage_cannot_exchange() {
        assert!(exchange_passages(&items(&["a", "a", "a", "b"])).is_err());
        assert!(exchange_passages(&items(&["a"])).is_err());
    }
}
