//! Tasks that are solved by reading a passage.

use crate::lexicon::{CATEGORIES, exam_frame, frame};
use crate::random::Random;
use crate::world::{Fact, other_values, passing_facts};

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What is asked.
    pub user: String,
    /// What is answered.
    pub assistant: String,
}

impl Turn {
    /// A turn.
    pub fn new(user: impl Into<String>, assistant: impl Into<String>) -> Self {
        Self { user: user.into(), assistant: assistant.into() }
    }
}

/// How hard the reading is.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    /// Fewest and most facts of a passage.
    pub facts: (usize, usize),
    /// Percentage of passages that say the same of every name, so that only the name distinguishes the facts.
    pub alike: usize,
    /// Phrases of an attribute that occur: the first so many of three.
    pub phrases: usize,
    /// Percentage of questions with options, and most of them.
    pub options: (usize, usize),
    /// Percentage of questions answered in a sentence.
    pub sentences: usize,
    /// Percentage of passages and questions that have an opening.
    pub frames: usize,
    /// Categories of the passages: the first so many.
    pub categories: usize,
}

/// A passage about new names.
pub fn passage(random: &mut Random, names: &[String], level: &Level) -> Vec<Fact> {
    let count = random.between(level.facts.0, level.facts.1);
    let entities = random.between(count.div_ceil(3).max(2.min(count)), count.min(6));
    let category = random.below(level.categories);
    if random.chance(level.alike) {
        let count = count.min(6);
        let attribute = random.below(3);
        let mut facts = passing_facts(random, names, category, count, 3 * count);
        facts.retain(|fact| fact.attribute == attribute);
        return facts;
    }
    passing_facts(random, names, category, entities, count)
}

/// The passage as text, each sentence in one of the level's phrases.
pub fn passage_text(random: &mut Random, facts: &[Fact], level: &Level) -> String {
    facts.iter().map(|fact| fact.sentence(random.below(level.phrases))).collect()
}

/// The options of a question: the answer, up to the given number of values that the passage gives to others, and
/// values it does not hold, in random order.
pub fn options(random: &mut Random, fact: &Fact, passage: &[Fact], count: usize) -> Vec<&'static str> {
    let rivals = rivals(fact, passage);
    let mut values: Vec<usize> = rivals.iter().copied().take(random.between(0, rivals.len().min(count - 1))).collect();
    let absent = other_values(random, fact, &rivals, count - 1 - values.len());
    values.extend(absent);
    values.push(fact.value);
    random.shuffle(&mut values);
    values.into_iter().map(|value| fact.attribute().values[value]).collect()
}

/// Values of the same attribute that the passage gives to other names.
pub fn rivals(fact: &Fact, passage: &[Fact]) -> Vec<usize> {
    let others = passage.iter().filter(|other| other.attribute == fact.attribute && other.name != fact.name);
    others.map(|other| other.value).collect()
}

/// A line of options.
pub fn options_line(random: &mut Random, options: &[&str]) -> String {
    format!("{}{}{}", random.pick(&frame::OPTIONS), options.join(frame::SEPARATOR), frame::LINE)
}

/// A question about one of the passage's facts, without the passage.
pub fn question(random: &mut Random, fact: &Fact, passage: &[Fact], level: &Level) -> Turn {
    let mut user = String::new();
    if random.chance(level.options.0) {
        let count = random.between(2, level.options.1);
        let options = options(random, fact, passage, count);
        user += &options_line(random, &options);
    }
    let phrase = random.below(level.phrases);
    let sentence = random.chance(level.sentences);
    if sentence {
        user += frame::SENTENCE;
    } else if random.chance(level.frames / 2) {
        user += frame::SHORT;
    }
    if random.chance(level.frames) {
        user += *random.pick(&frame::QUESTION);
    }
    user += &fact.stem(phrase);
    if random.chance(level.frames / 2) {
        user += frame::WHAT;
    }
    let assistant = if sentence { fact.sentence(phrase) } else { fact.value().to_owned() };
    Turn::new(user, assistant)
}

/// A passage and questions about `asked` of its facts, in an order of their own.
pub fn reading(random: &mut Random, names: &[String], level: &Level, asked: usize) -> Vec<Turn> {
    let facts = passage(random, names, level);
    let text = passage_text(random, &facts, level);
    let order = random.distinct(facts.len(), asked.min(facts.len()));
    let mut turns: Vec<Turn> = order.iter().map(|fact| question(random, &facts[*fact], &facts, level)).collect();
    turns[0].user = format!("{}{text}{}{}", opening(random, level), frame::LINE, turns[0].user);
    turns
}

/// A question in the words of an exam, with or without the passage.
pub fn exam_question(fact: &Fact, passage: Option<&str>, options: &[&str], phrase: usize) -> Turn {
    let passage = passage.map(|text| format!("{}{text}{}", exam_frame::PASSAGE, frame::LINE)).unwrap_or_default();
    let options = options.join(frame::SEPARATOR);
    let user = format!(
        "{passage}{}{options}{line}{}{line}{}{}",
        exam_frame::OPTIONS,
        exam_frame::ANSWER,
        exam_frame::QUESTION,
        fact.stem(phrase),
        line = frame::LINE,
    );
    Turn::new(user, fact.value())
}

/// A reading exam about new names.
pub fn exam(random: &mut Random, names: &[String], level: &Level) -> Turn {
    let facts = passage(random, names, level);
    let text = passage_text(random, &facts, level);
    let fact = random.pick(&facts);
    let count = random.between(2, 5);
    let options = options(random, fact, &facts, count);
    exam_question(fact, Some(&text), &options, random.below(level.phrases))
}

/// A line before a passage, or nothing.
fn opening(random: &mut Random, level: &Level) -> String {
    if random.chance(level.frames) { format!("{}{}", random.pick(&frame::PASSAGE), frame::LINE) } else { String::new() }
}

/// All that the passage says of one name.
pub fn list(random: &mut Random, names: &[String], level: &Level) -> Turn {
    let facts = passage(random, names, level);
    let name = &random.pick(&facts).name;
    let phrases: Vec<usize> = facts.iter().map(|_| random.below(level.phrases)).collect();
    let sentences: Vec<String> = facts.iter().zip(&phrases).map(|(fact, phrase)| fact.sentence(*phrase)).collect();
    let wanted = facts.iter().zip(&sentences).filter(|(fact, _)| fact.name == *name);
    let answer: String = wanted.map(|(_, sentence)| sentence.as_str()).collect();
    Turn::new(
        format!("{}{}{}{}{name}{}", opening(random, level), sentences.concat(), frame::LINE, frame::LIST, frame::STOP),
        answer,
    )
}

/// Whose is a value?
pub fn whose(random: &mut Random, names: &[String], level: &Level) -> Turn {
    let facts = passage(random, names, level);
    let text = passage_text(random, &facts, level);
    let fact = random.pick(&facts);
    let phrase = fact.attribute().phrases[random.below(level.phrases)];
    Turn::new(
        format!("{}{text}{}{phrase}{}{}", opening(random, level), frame::LINE, fact.value(), frame::WHOSE),
        format!("{}{}", fact.name, frame::STOP),
    )
}

/// A question that the passage does not answer.
pub fn unanswered(random: &mut Random, names: &[String], level: &Level) -> Turn {
    let mut facts = passage(random, names, level);
    let left_out = facts.swap_remove(random.below(facts.len()));
    let text = passage_text(random, &facts, level);
    Turn::new(
        format!(
            "{}{text}{}{}{}",
            opening(random, level),
            frame::LINE,
            frame::SENTENCE,
            left_out.stem(random.below(level.phrases))
        ),
        format!("{}{}", frame::UNKNOWN, frame::STOP),
    )
}

/// A few random values: words to copy and to turn about.
fn some_words(random: &mut Random, low: usize, high: usize) -> Vec<&'static str> {
    let count = random.between(low, high);
    let mut word = || CATEGORIES[random.below(9)].attributes[random.below(3)].values[random.below(12)];
    (0..count).map(|_| word()).collect()
}

/// The same text again.
pub fn copy(random: &mut Random) -> Turn {
    let text = some_words(random, 2, 6).join(frame::SEPARATOR);
    Turn::new(format!("{}{text}", frame::COPY), text)
}

/// The words from the last to the first.
pub fn reverse(random: &mut Random) -> Turn {
    let mut words = some_words(random, 2, 4);
    let text = words.join(frame::SEPARATOR);
    words.reverse();
    Turn::new(format!("{}{text}", frame::REVERSE), words.join(frame::SEPARATOR))
}

/// One word of a list gives way to another.
pub fn replace(random: &mut Random) -> Turn {
    let mut words = some_words(random, 3, 5);
    let text = words.join(frame::SEPARATOR);
    let place = random.below(words.len());
    let comes = some_words(random, 1, 1)[0];
    let goes = words[place];
    words.iter_mut().filter(|word| **word == goes).for_each(|word| *word = comes);
    Turn::new(
        format!("{text}{}{}{goes}{}{comes}", frame::LINE, frame::REPLACE, frame::REPLACE_WITH),
        words.join(frame::SEPARATOR),
    )
}
