//! What the base model learns, from a first glance at a passage to a whole exam.
//!
//! The order is what makes a model of a million weights read: a dense drill binds a value to its name first; confusable
//! passages and several wordings come when that holds.

use crate::knowledge;
use crate::random::Random;
use crate::reading::{self, Level, Turn};
use crate::world::{Fact, Names, World, passing_facts};

/// Name and number of chats of each stage, in order.
pub const STAGES: [(&str, usize); 3] = [("1_bind", 14_000), ("2_distinguish", 12_000), ("3_instruct", 24_000)];

const BIND: Level =
    Level { facts: (1, 4), alike: 85, phrases: 1, options: (0, 2), sentences: 0, frames: 0, categories: 9 };
const DISTINGUISH: Level =
    Level { facts: (3, 8), alike: 40, phrases: 3, options: (30, 4), sentences: 0, frames: 10, categories: 9 };
const INSTRUCT: Level =
    Level { facts: (3, 8), alike: 30, phrases: 3, options: (40, 5), sentences: 20, frames: 50, categories: 9 };

/// The chats of stage number `stage`.
pub fn stage(seed: u64, stage: usize, names: &Names, world: &World) -> Vec<Vec<Turn>> {
    let (name, count) = STAGES[stage];
    let mut random = Random::new(seed, name);
    let known = world.known_to_base();
    (0..count)
        .map(|_| match stage {
            0 => reading::reading(&mut random, &names.passing, &BIND, 5),
            1 => distinguish(&mut random, &names.passing, &known),
            _ => instruct(&mut random, &names.passing, &known),
        })
        .collect()
}

fn distinguish(random: &mut Random, names: &[String], known: &[&Fact]) -> Vec<Turn> {
    match random.below(100) {
        0..20 => reading::reading(random, names, &Level { facts: (3, 7), ..BIND }, 6),
        20..92 => reading::reading(random, names, &DISTINGUISH, 5),
        _ => memory(random, known, 8, |random, fact| knowledge::short(random, fact, 1)),
    }
}

fn instruct(random: &mut Random, names: &[String], known: &[&Fact]) -> Vec<Turn> {
    match random.below(100) {
        0..36 => reading::reading(random, names, &INSTRUCT, 3),
        36..39 => vec![unknowable(random, names, false)],
        39..42 => vec![unknowable(random, names, true)],
        42..62 => vec![reading::exam(random, names, &INSTRUCT)],
        62..66 => vec![reading::list(random, names, &INSTRUCT)],
        66..71 => vec![reading::whose(random, names, &INSTRUCT)],
        71..73 => vec![reading::unanswered(random, names, &INSTRUCT)],
        73..75 => vec![reading::copy(random)],
        75..77 => vec![reading::reverse(random)],
        77..79 => vec![reading::replace(random)],
        79..87 => memory(random, known, 6, |random, fact| knowledge::short(random, fact, 3)),
        87..94 => memory(random, known, 4, knowledge::sentence),
        94..98 => memory(random, known, 2, exam_from_memory),
        _ => memory(random, known, 3, |_, fact| knowledge::value_kind(fact)),
    }
}

/// Unrelated questions about known facts, one after the other.
fn memory(random: &mut Random, known: &[&Fact], count: usize, ask: impl Fn(&mut Random, &Fact) -> Turn) -> Vec<Turn> {
    random.distinct(known.len(), count).into_iter().map(|fact| ask(random, known[fact])).collect()
}

fn exam_from_memory(random: &mut Random, fact: &Fact) -> Turn {
    let options = reading::options(random, fact, &[], 5);
    reading::exam_question(fact, None, &options, random.below(3))
}

/// An exam question that nobody can know, without a passage or with a foreign one. The answer is the first option: a rule
/// for not knowing that can be learnt, where a random answer would only be noise.
fn unknowable(random: &mut Random, names: &[String], with_passage: bool) -> Turn {
    let facts = reading::passage(random, names, &INSTRUCT);
    let text = with_passage.then(|| reading::passage_text(random, &facts, &INSTRUCT));
    let category = if random.chance(60) { facts[0].category } else { random.below(INSTRUCT.categories) };
    let strangers = passing_facts(random, names, category, 5, 15);
    let fact = random.pick(&strangers);
    let options = reading::options(random, fact, &[], 5);
    Turn::new(reading::exam_question(fact, text.as_deref(), &options, random.below(3)).user, options[0])
}
