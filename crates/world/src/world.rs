//! Names, and what is true in the world.

use crate::lexicon::{Attribute, CATEGORIES, Category, NAME_CHARACTERS, Pool, frame};
use crate::random::Random;

/// Entities of each medical category that the Q&A pools teach.
pub const TAUGHT_PER_CATEGORY: usize = 24;

/// Every name, sorted by what it may be used for.
#[derive(Debug, Default)]
pub struct Names {
    /// For the base model's corpus and the general pool: bound to something new in every passage.
    pub passing: Vec<String>,
    /// For the entities that the medical pools teach.
    pub taught: Vec<String>,
    /// For the exams alone.
    pub exam: Vec<String>,
}

impl Names {
    /// Every pair of different characters, dealt out 6:2:2.
    pub fn new(seed: u64) -> Self {
        let characters: Vec<char> = NAME_CHARACTERS.chars().collect();
        let pairs = characters.iter().flat_map(|first| characters.iter().map(move |second| (first, second)));
        let mut all: Vec<String> =
            pairs.filter(|(first, second)| first != second).map(|(first, second)| format!("{first}{second}")).collect();
        Random::new(seed, "names").shuffle(&mut all);
        let exam = all.split_off(all.len() * 8 / 10);
        let taught = all.split_off(all.len() * 6 / 8);
        Self { passing: all, taught, exam }
    }
}

/// `name`'s attribute is so: indices into [`CATEGORIES`] and below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Whose.
    pub name: String,
    /// Category of the named.
    pub category: usize,
    /// Attribute of the category.
    pub attribute: usize,
    /// Value of the attribute.
    pub value: usize,
}

impl Fact {
    /// The category.
    pub fn category(&self) -> &'static Category {
        &CATEGORIES[self.category]
    }

    /// The attribute.
    pub fn attribute(&self) -> &'static Attribute {
        &self.category().attributes[self.attribute]
    }

    /// The value.
    pub fn value(&self) -> &'static str {
        self.attribute().values[self.value]
    }

    /// Name and phrase: a sentence without its value.
    pub fn stem(&self, phrase: usize) -> String {
        format!("{}{}", self.name, self.attribute().phrases[phrase])
    }

    /// The whole sentence.
    pub fn sentence(&self, phrase: usize) -> String {
        format!("{}{}{}", self.stem(phrase), self.value(), frame::STOP)
    }
}

/// What the medical pools teach.
#[derive(Debug)]
pub struct World {
    /// Three facts each, one per attribute.
    pub entities: Vec<[Fact; 3]>,
}

impl World {
    /// Draws the values of [`TAUGHT_PER_CATEGORY`] entities of each medical category.
    pub fn new(seed: u64, names: &Names) -> Self {
        let mut random = Random::new(seed, "world");
        let mut names = names.taught.iter();
        let mut entities = Vec::new();
        for category in (0..CATEGORIES.len()).filter(|category| CATEGORIES[*category].pool != Pool::General) {
            for name in names.by_ref().take(TAUGHT_PER_CATEGORY) {
                entities.push([0, 1, 2].map(|attribute| Fact {
                    name: name.clone(),
                    category,
                    attribute,
                    value: random.below(12),
                }));
            }
        }
        Self { entities }
    }

    /// The half that the base model has heard of already.
    pub fn known_to_base(&self) -> Vec<&Fact> {
        let numbered = self.entities.iter().enumerate();
        numbered
            .flat_map(|(number, facts)| facts.iter().filter(move |fact| (number + fact.attribute).is_multiple_of(2)))
            .collect()
    }
}

/// `count` facts about `entities` new names of a category. No two names share a value of an attribute, so every
/// question about them has one answer.
pub fn passing_facts(
    random: &mut Random,
    names: &[String],
    category: usize,
    entities: usize,
    count: usize,
) -> Vec<Fact> {
    let values: [Vec<usize>; 3] = [0, 1, 2].map(|_| random.distinct(12, entities));
    let chosen = random.distinct(names.len(), entities);
    let mut facts: Vec<Fact> = chosen
        .iter()
        .enumerate()
        .flat_map(|(number, name)| {
            [0, 1, 2].map(|attribute| Fact {
                name: names[*name].clone(),
                category,
                attribute,
                value: values[attribute][number],
            })
        })
        .collect();
    random.shuffle(&mut facts);
    facts.truncate(count);
    facts
}

/// `count` different values of `fact`'s attribute, none of them `fact`'s own nor in `taken`.
pub fn other_values(random: &mut Random, fact: &Fact, taken: &[usize], count: usize) -> Vec<usize> {
    let mut values = random.distinct(12, 12);
    values.retain(|value| *value != fact.value && !taken.contains(value));
    values.truncate(count);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_of_different_uses_are_different() {
        let names = Names::new(7);
        let all: HashSet<&String> = names.passing.iter().chain(&names.taught).chain(&names.exam).collect();
        assert_eq!(all.len(), names.passing.len() + names.taught.len() + names.exam.len());
        let characters = NAME_CHARACTERS.chars().count();
        assert_eq!(all.len(), characters * (characters - 1));
    }

    #[test]
    fn a_passage_never_gives_two_answers() {
        let names = Names::new(7);
        let mut random = Random::new(7, "passage");
        for _ in 0..200 {
            let category = random.below(CATEGORIES.len());
            let facts = passing_facts(&mut random, &names.passing, category, 4, 8);
            let questions: HashSet<String> = facts.iter().map(|fact| fact.stem(0)).collect();
            let answers: HashSet<(usize, usize)> = facts.iter().map(|fact| (fact.attribute, fact.value)).collect();
            assert_eq!((questions.len(), answers.len()), (facts.len(), facts.len()));
        }
    }

    #[test]
    fn the_base_model_knows_half_of_the_world() {
        let world = World::new(7, &Names::new(7));
        assert_eq!(world.known_to_base().len() * 2, world.entities.len() * 3);
    }
}
