//! Making a conversation fit, at the cost of what matters least.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::Rejection;
use crate::message::{Message, Role};
use crate::tokenizer::ChatTokenizer;

/// Stands where text was cut out of the middle.
pub(crate) const ELLIPSIS: &str = "…";

/// Tokens that a shortened passage or user turn keeps at each end, as long as there is something else to cut: a question
/// stands at one of them.
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
    /// What it belonged to.
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
    /// Where each of `messages` stood before.
    pub(crate) places: Vec<usize>,
    pub(crate) cuts: Vec<Cut>,
}

/// How many tokens a conversation has, template and all.
type Measure<'a> = &'a dyn Fn(&[Message]) -> Result<usize, Rejection>;

/// Cuts passages, long user turns and old turns until `measure` gives at most `max_tokens` or nothing is left that may
/// go. `tokens` is what it gives before.
pub(crate) fn fit(
    tokenizer: &ChatTokenizer,
    messages: &[Message],
    tokens: usize,
    max_tokens: usize,
    measure: Measure<'_>,
) -> Result<Fitted, Rejection> {
    let turns = (0..messages.len()).collect();
    let mut cutter = Cutter { tokenizer, messages, turns, regions: Vec::new(), measure, tokens, max_tokens };
    if tokens > max_tokens {
        cutter.regions = cutter.find_regions()?;
        cutter.shorten(Some(CutPart::Passage), MARGIN)?;
        cutter.shorten(Some(CutPart::Text), MARGIN)?;
        let history = cutter.drop_history()?;
        cutter.shorten(Some(CutPart::Passage), 0)?;
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
    measure: Measure<'a>,
    /// Tokens that the current conversation has.
    tokens: usize,
    max_tokens: usize,
}

impl Cutter<'_> {
    fn find_regions(&self) -> Result<Vec<Region>, Rejection> {
        let users = self.messages.iter().enumerate().filter(|(_, message)| message.role == Role::User);
        let mut regions = users
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
        regions.sort_by_key(|region| std::cmp::Reverse(region.tokens()));
        Ok(regions)
    }

    /// Takes tokens from the middle of every region of `part`, longest first, down to `margin` tokens at each end, until
    /// the conversation fits.
    fn shorten(&mut self, part: Option<CutPart>, margin: usize) -> Result<(), Rejection> {
        for index in 0..self.regions.len() {
            let region = &self.regions[index];
            let most = region.tokens().saturating_sub(2 * margin);
            if part.is_some_and(|part| part != region.part) || !self.turns.contains(&region.message) {
                continue;
            }
            while self.tokens > self.max_tokens && self.regions[index].cut < most {
                // One more for the ellipsis. Tokens merge and split at the cut, so what is left is measured again.
                let excess = self.tokens - self.max_tokens + 1;
                let region = &mut self.regions[index];
                region.cut = (region.cut + excess).min(most);
                self.tokens = (self.measure)(&self.current())?;
            }
        }
        Ok(())
    }

    /// Drops the oldest turns, from one user turn up to the next, as long as a later user turn is left.
    fn drop_history(&mut self) -> Result<Vec<Cut>, Rejection> {
        let mut cuts = Vec::new();
        while self.tokens > self.max_tokens {
            let is_user = |place: &usize| self.messages[*place].role == Role::User;
            let first = self.turns.iter().position(|place| self.messages[*place].role != Role::System);
            let Some(first) = first else { break };
            let next = self.turns.iter().skip(first + 1).position(is_user).map(|offset| first + 1 + offset);
            let Some(next) = next else { break };
            for place in self.turns.drain(first..next) {
                let content = &self.messages[place].content;
                let tokens = self.tokenizer.tokens(content)?.ids.len();
                cuts.push(Cut { part: CutPart::History, message: place, range: 0..content.len(), tokens });
            }
            self.tokens = (self.measure)(&self.current())?;
        }
        Ok(cuts)
    }

    /// The conversation as it is left.
    fn current(&self) -> Vec<Message> {
        self.turns
            .iter()
            .map(|place| {
                let message = &self.messages[*place];
                let region = self.regions.iter().find(|region| region.message == *place && region.cut > 0);
                let Some(removed) = region.map(Region::removed) else { return message.clone() };
                let (head, tail) = (&message.content[..removed.start], &message.content[removed.end..]);
                Message::new(message.role, format!("{head}{ELLIPSIS}{tail}"))
            })
            .collect()
    }

    fn region_cuts(&self) -> Vec<Cut> {
        let cut = |region: &Region| region.cut > 0 && self.turns.contains(&region.message);
        self.regions
            .iter()
            .filter(|region| cut(region))
            .map(|region| Cut {
                part: region.part,
                message: region.message,
                range: region.removed(),
                tokens: region.cut,
            })
            .collect()
    }
}
