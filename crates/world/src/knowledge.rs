//! Tasks that are solved from memory: what the medical pools teach.

use crate::lexicon::frame;
use crate::random::Random;
use crate::reading::{Turn, options_line};
use crate::world::{Fact, other_values};

/// A question asked by itself, answered by the bare value.
pub fn short(random: &mut Random, fact: &Fact, phrases: usize) -> Turn {
    let mut user = if random.chance(30) { with_options(random, fact) } else { String::new() };
    if random.chance(30) {
        user += frame::SHORT;
    }
    user += &fact.stem(random.below(phrases));
    Turn::new(user, fact.value())
}

/// A line of two to five options, the answer among them.
fn with_options(random: &mut Random, fact: &Fact) -> String {
    let count = random.between(1, 4);
    let mut values = other_values(random, fact, &[], count);
    values.push(fact.value);
    random.shuffle(&mut values);
    let options: Vec<&str> = values.into_iter().map(|value| fact.attribute().values[value]).collect();
    options_line(random, &options)
}

/// A question answered in a sentence.
pub fn sentence(random: &mut Random, fact: &Fact) -> Turn {
    let phrase = random.below(2);
    let opening = match random.below(4) {
        0 => frame::SENTENCE,
        1 => frame::QUESTION[0],
        2 => frame::QUESTION[1],
        _ => "",
    };
    let mut user = format!("{opening}{}", fact.stem(phrase));
    if random.chance(60) {
        user += frame::WHAT;
    }
    Turn::new(user, fact.sentence(phrase))
}

/// A question with options, answered in a sentence.
pub fn choice(random: &mut Random, fact: &Fact) -> Turn {
    let phrase = random.below(2);
    Turn::new(format!("{}{}", with_options(random, fact), fact.stem(phrase)), fact.sentence(phrase))
}

/// Is a statement true? Where it is not, the answer puts it right.
pub fn judge(random: &mut Random, fact: &Fact) -> Turn {
    let phrase = random.below(2);
    if random.chance(50) {
        return Turn::new(format!("{}{}", frame::JUDGE, fact.sentence(phrase)), frame::TRUE);
    }
    let wrong = Fact { value: other_values(random, fact, &[], 1)[0], ..fact.clone() };
    Turn::new(
        format!("{}{}", frame::JUDGE, wrong.sentence(phrase)),
        format!("{}{}", frame::FALSE, fact.sentence(phrase)),
    )
}

/// All that is known of an entity, in one order or another.
pub fn introduction(random: &mut Random, facts: &[Fact; 3]) -> Turn {
    let order = random.distinct(3, 3);
    let answer: String = order.iter().map(|fact| facts[*fact].sentence(random.below(2))).collect();
    Turn::new(format!("{}{}{}", frame::INTRODUCE, facts[0].name, frame::STOP), answer)
}

/// Which category an entity belongs to.
pub fn kind(fact: &Fact) -> Turn {
    Turn::new(
        format!("{}{}", fact.name, frame::KIND),
        format!("{}{}{}{}", fact.name, frame::IS_KIND, fact.category().name, frame::STOP),
    )
}

/// Which attribute a value belongs to: common sense that needs no passage.
pub fn value_kind(fact: &Fact) -> Turn {
    Turn::new(format!("{}{}", fact.value(), frame::KIND), format!("{}{}", fact.attribute().name, frame::STOP))
}
