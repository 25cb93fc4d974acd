//! Six exams: every question is answered by the item's passages, never by what the pools teach.

use serde_json::{Map, Value, json};

use crate::lexicon::{CATEGORIES, EXAM_PHRASE, exam_frame, frame};
use crate::random::Random;
use crate::world::{Fact, Names, World, other_values, passing_facts};

/// Items of each exam.
pub const ITEMS: usize = 100;
const OPTIONS: usize = 5;

/// File name, name, and the categories that it asks about.
pub const EXAMS: [(&str, &str, &[&str]); 6] = [
    ("physician", "执业医师", &["疾病", "药物"]),
    ("nursing", "执业护士", &["药物", "检查", "疾病"]),
    ("pharmacist", "执业药师", &["药物", "草药", "方剂"]),
    ("technology", "医学技术", &["检查"]),
    ("professional", "医学专业知识", &["草药", "穴位", "方剂"]),
    ("postgraduate", "医学考研", &["草药", "方剂", "穴位", "药物", "疾病", "检查"]),
];

/// The exams' prompt template: the question comes last, the options are known by their text.
pub fn prompt_template() -> String {
    format!(
        "{{% if passages %}}{}{{{{ passages | join }}}}\n{{% endif %}}{}{{% for option in options %}}{{{{ option.text }}}}\
         {{% if not loop.last %}}{}{{% endif %}}{{% endfor %}}\n{}\n{}{{{{ question }}}}\n",
        exam_frame::PASSAGE,
        exam_frame::OPTIONS,
        frame::SEPARATOR,
        exam_frame::ANSWER,
        exam_frame::QUESTION,
    )
}

/// The items of exam number `exam`. Two in five are about entities that the pools teach, and their passage says
/// something else; the others are about names that occur nowhere else.
pub fn items(seed: u64, exam: usize, names: &Names, world: &World) -> Vec<Value> {
    let (file, _, categories) = EXAMS[exam];
    let mut random = Random::new(seed, file);
    let mut taught: Vec<&Fact> =
        world.entities.iter().flatten().filter(|fact| categories.contains(&fact.category().name)).collect();
    random.shuffle(&mut taught);
    (0..ITEMS)
        .map(|number| {
            let category =
                CATEGORIES.iter().position(|category| category.name == categories[number % categories.len()]);
            let lure = (number % 5 < 2).then(|| taught[number * 2 / 5 + number % 5]);
            let place = (number + number / OPTIONS) % OPTIONS;
            let category = lure.map_or(category.unwrap_or_default(), |fact| fact.category);
            item(&mut random, &format!("{file}-{:03}", number + 1), file, place, category, lure, names)
        })
        .collect()
}

/// One item whose answer is option number `place`.
fn item(
    random: &mut Random,
    id: &str,
    exam: &str,
    place: usize,
    category: usize,
    lure: Option<&Fact>,
    names: &Names,
) -> Value {
    let (facts, asked) = passage(random, category, lure, names);
    let rivals: Vec<usize> = facts
        .iter()
        .filter(|fact| fact.attribute == asked.attribute && **fact != asked)
        .map(|fact| fact.value)
        .collect();
    let mut wrong: Vec<usize> = rivals[..random.between(2, rivals.len())].to_vec();
    wrong.extend(lure.map(|fact| fact.value));
    let taken: Vec<usize> = rivals.iter().copied().chain(lure.map(|fact| fact.value)).collect();
    wrong.extend(other_values(random, &asked, &taken, OPTIONS - 1 - wrong.len()));
    random.shuffle(&mut wrong);
    wrong.insert(place, asked.value);
    let letters = ["A", "B", "C", "D", "E"];
    let texts = wrong.iter().map(|value| asked.attribute().values[*value]);
    let options: Map<String, Value> =
        letters.iter().zip(texts).map(|(letter, text)| ((*letter).to_owned(), json!(text))).collect();
    let sentences: Vec<String> = facts.iter().map(|fact| fact.sentence(random.below(2))).collect();
    let mut item = json!({
        "id": id, "exam": exam, "kind": "single", "question": asked.stem(EXAM_PHRASE), "options": options,
        "answer": [letters[place]], "passages": [sentences[..3].concat(), sentences[3..].concat()],
    });
    if let Some(lure) = lure {
        let letter = wrong.iter().position(|value| *value == lure.value).map(|place| letters[place]);
        item["lure"] = json!(letter);
    }
    item
}

/// Six to eight facts about four names, three or four of which have the attribute that is asked; and the fact asked.
fn passage(random: &mut Random, category: usize, lure: Option<&Fact>, names: &Names) -> (Vec<Fact>, Fact) {
    loop {
        let count = random.between(6, 8);
        let mut facts = passing_facts(random, &names.exam, category, 4, count);
        let asked = facts[random.below(facts.len())].clone();
        if let Some(lure) = lure {
            facts.iter_mut().filter(|fact| fact.name == asked.name).for_each(|fact| fact.name.clone_from(&lure.name));
        }
        let asked = Fact { name: lure.map_or(asked.name, |fact| fact.name.clone()), ..asked };
        let same: Vec<&Fact> = facts.iter().filter(|fact| fact.attribute == asked.attribute).collect();
        let fits = lure
            .is_none_or(|lure| lure.attribute == asked.attribute && same.iter().all(|fact| fact.value != lure.value));
        if fits && same.len() >= 3 {
            return (facts, asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::lexicon::Pool;
    use crate::pools;

    fn all() -> (Names, World, Vec<Value>) {
        let names = Names::new(7);
        let world = World::new(7, &names);
        let items = (0..EXAMS.len()).flat_map(|exam| items(7, exam, &names, &world)).collect();
        (names, world, items)
    }

    fn text<'a>(item: &'a Value, key: &str) -> &'a str {
        item[key].as_str().expect("a string")
    }

    fn passages(item: &Value) -> String {
        item["passages"].as_array().expect("a list").iter().map(|passage| passage.as_str().expect("text")).collect()
    }

    #[test]
    fn positions_are_balanced_in_every_exam_with_and_without_a_lure() {
        let (_, _, items) = all();
        for (exam, _, _) in EXAMS {
            for (lured, wanted) in [(true, ITEMS * 2 / 25), (false, ITEMS * 3 / 25)] {
                for letter in ["A", "B", "C", "D", "E"] {
                    let here = |item: &&Value| {
                        item["exam"] == exam && item["answer"][0] == letter && item["lure"].is_string() == lured
                    };
                    assert_eq!(items.iter().filter(here).count(), wanted, "{exam} {letter} {lured}");
                }
            }
        }
    }

    #[test]
    fn the_passage_holds_the_answer_and_two_more_options_at_least() {
        for item in all().2 {
            let passages = passages(&item);
            let stands =
                |letter: &str| passages.contains(&format!("{}{}", text(&item["options"], letter), frame::STOP));
            let standing = ["A", "B", "C", "D", "E"].into_iter().filter(|letter| stands(letter)).count();
            assert!(stands(item["answer"][0].as_str().expect("a letter")), "{item}");
            assert!(standing >= 3, "{item}");
            let lure_stands = item["lure"].as_str().is_some_and(stands);
            assert!(!lure_stands, "a lure is to be believed from memory: {item}");
        }
    }

    #[test]
    fn exam_questions_share_no_wording_and_new_names_no_record_with_the_pools() {
        let (names, world, items) = all();
        let mut records = pools::general(7, &names);
        records.extend(pools::medical(7, Pool::Tcm, &world));
        records.extend(pools::medical(7, Pool::Western, &world));
        let pool: String = records.iter().flat_map(|turn| [turn.user.as_str(), turn.assistant.as_str()]).collect();
        for category in &CATEGORIES {
            for attribute in &category.attributes {
                assert!(!pool.contains(attribute.phrases[EXAM_PHRASE]), "{}", attribute.phrases[EXAM_PHRASE]);
            }
        }
        let known: HashSet<&String> = names.passing.iter().chain(&names.taught).collect();
        for item in items.iter().filter(|item| item["lure"].is_null()) {
            let name: String = text(item, "question").chars().take(2).collect();
            assert!(!known.contains(&name) && !pool.contains(&name), "{item}");
        }
    }

    #[test]
    fn a_lure_is_what_the_pools_teach_and_the_passage_denies() {
        let (_, world, items) = all();
        let taught: HashSet<(String, &str)> =
            world.entities.iter().flatten().map(|fact| (fact.stem(EXAM_PHRASE), fact.value())).collect();
        let lured: Vec<&Value> = items.iter().filter(|item| item["lure"].is_string()).collect();
        assert_eq!(lured.len(), EXAMS.len() * ITEMS * 2 / 5);
        for item in lured {
            let lure = text(&item["options"], text(item, "lure"));
            assert!(taught.contains(&(text(item, "question").to_owned(), lure)), "{item}");
            assert_ne!(item["lure"], item["answer"][0]);
        }
    }
}
