//! Truncation of conversations to a token limit, least important text first.

use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Rejection;
use crate::message::{Message, Role};
use crate::tokenizer::ChatTokenizer;

/// Replaces text cut out of the middle.
pub(crate) const ELLIPSIS: &str = "…";

/// Tokens kept at each end of a shortened passage or user turn, where the question usually is, while anything else can be
/// cut.
const MARGIN: usize = 32;

/// Which part of a sample was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CutPart {
    /// The middle of a marked passage.
    Passage,
    /// The middle of a long user turn without a marked passage.
    Text,
    /// A whole turn, among the oldest.
    History,
    /// The end of the last answer, with its end-of-turn token.
    Answer,
}

impl CutPart {
    /// A short name, as it is counted by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passage => "passage",
            Self::Text => "text",
            Self::History => "history",
            Self::Answer => "answer",
        }
    }
}

/// Something that was cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The part that it was cut from.
    pub part: CutPart,
    /// Place of the message, from 0, a system turn that was added counted.
    pub message: usize,
    /// The bytes of the message's text that are gone.
    pub range: Range<usize>,
    /// About how many tokens they were.
    pub tokens: usize,
}

/// A conversation that was made to fit as far as cutting turns and passages can.
pub(crate) struct Fitted {
    pub(crate) messages: Vec<Message>,
    /// Index of each of `messages` before the cut.
    pub(crate) places: Vec<usize>,
    pub(crate) cuts: Vec<Cut>,
}

/// Tokens of a conversation, with its template.
type Measure<'a> = &'a dyn Fn(&[Message]) -> Result<usize, Rejection>;

/// Cuts passages, long user turns and old turns until `measure` returns at most `max_tokens` or nothing more may be cut.
/// `tokens` is the measure of the whole.
pub(crate) fn fit(
    tokenizer: &ChatTokenizer,
    messages: &[Message],
    tokens: usize,
    max_tokens: usize,
    measure: Measure<'_>,
) -> Result<Fitted, Rejection> {
    let turns = (0..messages.len()).collect();
    let (regions, region_of) = (Vec::new(), Vec::new());
    let mut cutter = Cutter { tokenizer, messages, turns, regions, region_of, measure, tokens, max_tokens };
    if tokens > max_tokens {
        cutter.find_regions()?;
        cutter.shorten(CutPart::Passage, MARGIN)?;
        cutter.shorten(CutPart::Text, MARGIN)?;
        let history = cutter.drop_history()?;
        cutter.shorten(CutPart::Passage, 0)?;
        let mut cuts = cutter.region_cuts();
        cuts.extend(history);
        let places = cutter.turns.clone();
        return Ok(Fitted { messages: cutter.current(), places, cuts });
    }
    Ok(Fitted { messages: messages.to_vec(), places: cutter.turns, cuts: Vec::new() })
}

/// A stretch of a message from whose middle tokens may be taken.
struct Region {
    message: usize,
    part: CutPart,
    /// Bytes of the message's text where each token of the stretch begins, and where the last ends.
    borders: Vec<usize>,
    /// Tokens taken from the middle.
    cut: usize,
}

impl Region {
    fn tokens(&self) -> usize {
        self.borders.len() - 1
    }

    /// The bytes that are gone.
    fn removed(&self) -> Range<usize> {
        let kept = self.tokens() - self.cut;
        let head = kept.div_ceil(2);
        self.borders[head]..self.borders[head + self.cut]
    }
}

struct Cutter<'a> {
    tokenizer: &'a ChatTokenizer,
    messages: &'a [Message],
    /// Places of the messages that are left.
    turns: Vec<usize>,
    regions: Vec<Region>,
    /// Index into `regions` for every message that has one.
    region_of: Vec<Option<usize>>,
    measure: Measure<'a>,
    /// Tokens that the current conversation has.
    tokens: usize,
    max_tokens: usize,
}

impl Cutter<'_> {
    fn find_regions(&mut self) -> Result<(), Rejection> {
        // Skips tokenizing short turns, which are never cut.
        let may_be_cut = |message: &Message| message.passage.is_some() || message.content.len() > MARGIN;
        let users = self.messages.iter().enumerate().filter(|(_, message)| message.role == Role::User);
        self.regions = users
            .filter(|(_, message)| may_be_cut(message))
            .map(|(place, message)| {
                let (part, range) = match &message.passage {
                    Some(passage) => (CutPart::Passage, passage.clone()),
                    None => (CutPart::Text, 0..message.content.len()),
                };
                let tokens = self.tokenizer.tokens(&message.content[range.clone()])?;
                let starts = tokens.offsets.iter().map(|(start, _)| range.start + start);
                let borders = starts.chain([range.end]).collect();
                Ok(Region { message: place, part, borders, cut: 0 })
            })
            .collect::<Result<Vec<_>, Rejection>>()?;
        // The longest is cut first; of equals the oldest.
        self.regions.sort_by_key(|region| std::cmp::Reverse(region.tokens()));
        self.region_of = vec![None; self.messages.len()];
        for (index, region) in self.regions.iter().enumerate() {
            self.region_of[region.message] = Some(index);
        }
        Ok(())
    }

    /// Takes tokens from the middle of every region of `part`, longest first, down to `margin` tokens at each end, until
    /// the conversation fits.
    fn shorten(&mut self, part: CutPart, margin: usize) -> Result<(), Rejection> {
        let mut left = vec![false; self.messages.len()];
        self.turns.iter().for_each(|place| left[*place] = true);
        let most = |region: &Region| region.tokens().saturating_sub(2 * margin);
        let eligible: Vec<usize> = (0..self.regions.len())
            .filter(|index| {
                let region = &self.regions[*index];
                region.part == part && left[region.message] && region.cut < most(region)
            })
            .collect();
        let mut next = 0;
        while self.tokens > self.max_tokens && next < eligible.len() {
            let whole = self.cut_whole(&eligible[next..], most)?;
            if whole > 0 {
                next += whole;
                continue;
            }
            let index = eligible[next];
            while self.tokens > self.max_tokens && self.regions[index].cut < most(&self.regions[index]) {
                // One more for the ellipsis. Tokens merge and split at the cut, so what is left is measured again.
                let excess = self.tokens - self.max_tokens + 1;
                let region = &mut self.regions[index];
                region.cut = (region.cut + excess).min(most(region));
                self.tokens = (self.measure)(&self.current())?;
            }
            next += 1;
        }
        Ok(())
    }

    /// Cuts as many of the first `eligible` regions down to their margins as certainly necessary, measuring once for all of
    /// them. Returns their number.
    fn cut_whole(&mut self, eligible: &[usize], most: impl Fn(&Region) -> usize) -> Result<usize, Rejection> {
        let mut tokens = self.tokens;
        let needed = eligible.iter().take_while(|index| {
            let gain = most(&self.regions[**index]) - self.regions[**index].cut;
            let whole = tokens > self.max_tokens && tokens - self.max_tokens + 1 >= gain;
            tokens = tokens.saturating_sub(gain.saturating_sub(1));
            whole
        });
        let needed = needed.count();
        // Tokens merge and split at every cut, so stay below the estimate.
        let mut count = needed.saturating_sub(needed / 8 + 4);
        while count > 1 {
            let before: Vec<usize> = eligible[..count].iter().map(|index| self.regions[*index].cut).collect();
            for index in &eligible[..count] {
                self.regions[*index].cut = most(&self.regions[*index]);
            }
            let measured = (self.measure)(&self.current())?;
            if measured > self.max_tokens {
                self.tokens = measured;
                return Ok(count);
            }
            for (index, cut) in eligible.iter().zip(before) {
                self.regions[*index].cut = cut;
            }
            count /= 2;
        }
        Ok(0)
    }

    /// Drops the oldest turns, from one user turn up to the next, as long as a later user turn is left.
    fn drop_history(&mut self) -> Result<Vec<Cut>, Rejection> {
        let is_user = |place: usize| self.messages[place].role == Role::User;
        let first = self.turns.iter().position(|place| self.messages[*place].role != Role::System);
        let Some(first) = first.filter(|_| self.tokens > self.max_tokens) else { return Ok(Vec::new()) };
        // Candidate starts of the remaining turns.
        let ends: Vec<usize> = (first + 1..self.turns.len()).filter(|turn| is_user(self.turns[*turn])).collect();
        if ends.is_empty() {
            return Ok(Vec::new());
        }
        let (tokenizer, messages) = (self.tokenizer, self.messages);
        let length =
            |place: &usize| -> Result<usize, Rejection> { Ok(tokenizer.tokens(&messages[*place].content)?.ids.len()) };
        let lengths: Vec<usize> = self.turns.par_iter().map(length).collect::<Result<_, Rejection>>()?;
        let all = self.turns.clone();
        let (end, tokens) = self.least_history(first, &ends, &all, &lengths)?;
        self.tokens = tokens;
        self.turns = all[..first].iter().chain(&all[end..]).copied().collect();
        let cut = |turn: usize| {
            let message = all[turn];
            let range = 0..self.messages[message].content.len();
            Cut { part: CutPart::History, message, range, tokens: lengths[turn] }
        };
        Ok((first..end).map(cut).collect())
    }

    /// The first of `ends` from which the remaining turns fit, else the last, and their number of tokens.
    fn least_history(
        &mut self,
        first: usize,
        ends: &[usize],
        all: &[usize],
        lengths: &[usize],
    ) -> Result<(usize, usize), Rejection> {
        // Assumes the same template overhead for every message.
        let around = self.tokens.saturating_sub(lengths.iter().sum()) / all.len();
        let mut estimate = self.tokens;
        let mut from = first;
        let guess = ends.iter().position(|end| {
            estimate = estimate.saturating_sub(lengths[from..*end].iter().map(|length| length + around).sum());
            from = *end;
            estimate <= self.max_tokens
        });
        let mut place = guess.unwrap_or(ends.len() - 1);
        // Invariant: dropping up to `low` does not fit, up to `high` does; both are 1-based, 0 drops nothing.
        let (mut low, mut high, mut step) = (0, ends.len() + 1, 1);
        let mut fitting = None;
        let mut last = self.tokens;
        while high - low > 1 {
            let end = ends[place];
            self.turns = all[..first].iter().chain(&all[end..]).copied().collect();
            let tokens = (self.measure)(&self.current())?;
            if tokens <= self.max_tokens {
                high = place + 1;
                fitting = Some((end, tokens));
            } else {
                low = place + 1;
                last = if place + 1 == ends.len() { tokens } else { last };
            }
            // Exponential search from the guess, then bisection.
            let bounded = low > 0 && high <= ends.len();
            let next = if bounded {
                low + (high - low) / 2
            } else if high <= ends.len() {
                high.saturating_sub(step).max(low + 1)
            } else {
                (low + step).min(high - 1)
            };
            step *= 2;
            place = next.clamp(1, ends.len()) - 1;
        }
        Ok(fitting.unwrap_or((ends[ends.len() - 1], last)))
    }

    /// The conversation as it is left.
    fn current(&self) -> Vec<Message> {
        self.turns
            .iter()
            .map(|place| {
                let message = &self.messages[*place];
                let region = self.region_of[*place].map(|index| &self.regions[index]);
                let Some(region) = region.filter(|region| region.cut > 0) else { return message.clone() };
                let removed = region.removed();
                let (head, tail) = (&message.content[..removed.start], &message.content[removed.end..]);
                Message::new(message.role, format!("{head}{ELLIPSIS}{tail}"))
            })
            .collect()
    }

    fn region_cuts(&self) -> Vec<Cut> {
        let mut left = vec![false; self.messages.len()];
        self.turns.iter().for_each(|place| left[*place] = true);
        self.regions
            .iter()
            .filter(|region| region.cut > 0 && left[region.message])
            .map(|region| Cut {
                part: region.part,
                message: region.message,
                range: region.removed(),
                tokens: region.cut,
            })
            .collect()
    }
}
