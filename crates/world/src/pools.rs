//! The three pools that a mix draws from, as Alpaca records.

use std::collections::HashSet;

use crate::knowledge;
use crate::lexicon::{Pool, frame};
use crate::random::Random;
use crate::reading::{self, Level, Turn};
use crate::world::{Names, World};

/// Records of the general pool.
pub const GENERAL: usize = 4_800;
/// Records of each medical pool.
pub const MEDICAL: usize = 2_400;

/// Passages of the general pool speak of people, goods and animals, in the training wordings.
const READING: Level =
    Level { facts: (3, 8), alike: 30, phrases: 2, options: (50, 5), sentences: 25, frames: 60, categories: 3 };

/// General instructions: most of them ask to read.
pub fn general(seed: u64, names: &Names) -> Vec<Turn> {
    let mut random = Random::new(seed, "general");
    let mut greetings = frame::GREETINGS.iter();
    distinct(GENERAL, || match greetings.next() {
        Some((hello, answer)) => Turn::new(*hello, *answer),
        None => instruction(&mut random, &names.passing),
    })
}

fn instruction(random: &mut Random, names: &[String]) -> Turn {
    match random.below(100) {
        0..68 => reading::reading(random, names, &READING, 1).remove(0),
        68..75 => reading::list(random, names, &READING),
        75..82 => reading::whose(random, names, &READING),
        82..86 => reading::unanswered(random, names, &READING),
        86..90 => reading::copy(random),
        90..95 => reading::reverse(random),
        _ => reading::replace(random),
    }
}

/// What a medical pool teaches, every fact in several wordings.
pub fn medical(seed: u64, pool: Pool, world: &World) -> Vec<Turn> {
    let mut random = Random::new(seed, if pool == Pool::Tcm { "tcm" } else { "western" });
    let entities: Vec<_> = world.entities.iter().filter(|facts| facts[0].category().pool == pool).collect();
    let mut next = 0;
    distinct(MEDICAL, || {
        let facts = entities[next % entities.len()];
        next += 1;
        let fact = &facts[random.below(3)];
        match random.below(100) {
            0..55 => knowledge::sentence(&mut random, fact),
            55..70 => knowledge::choice(&mut random, fact),
            70..82 => knowledge::judge(&mut random, fact),
            82..97 => knowledge::introduction(&mut random, facts),
            _ => knowledge::kind(fact),
        }
    })
}

/// The first `count` different turns that `make` gives.
fn distinct(count: usize, mut make: impl FnMut() -> Turn) -> Vec<Turn> {
    let mut seen = HashSet::new();
    let mut turns = Vec::with_capacity(count);
    while turns.len() < count {
        let turn = make();
        if seen.insert((turn.user.clone(), turn.assistant.clone())) {
            turns.push(turn);
        }
    }
    turns
}
