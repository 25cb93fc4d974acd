//! What becomes of a conversation, and where it goes if it may be chosen.

use medley_chat::Message;
use medley_mixture::canonical::{ContentId, content_id};
use medley_mixture::filter::Finding;
use medley_mixture::key::Key;
use medley_mixture::{Lengths, Rejection};

use super::PoolScan;
use crate::examine::{AuditPair, Examined};
use crate::filter::{Filter, Signature};

/// What became of one record, and what is to be remembered of it.
pub(super) struct Judged {
    pub outcome: Outcome,
    /// What was found in a record that is kept.
    pub noted: Vec<Finding>,
    pub audited: Option<Box<AuditPair>>,
    pub signature: Option<Box<Signature>>,
}

impl From<Outcome> for Judged {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, noted: Vec::new(), audited: None, signature: None }
    }
}

/// What became of one record.
pub(super) enum Outcome {
    Rejected(Rejection),
    Filtered(Box<Finding>),
    ExamItem,
    /// Where it goes if it may be chosen, with its messages.
    Read(ContentId, Option<(Destination, Measured)>),
}

/// Messages, and how long they are where the mix counts tokens.
pub(super) type Measured = (Vec<Message>, Lengths);

pub(super) enum Destination {
    Sample(Key),
    HeldOut(Key),
}

impl PoolScan<'_> {
    /// What becomes of a conversation.
    pub(super) fn judged(&self, mut messages: Vec<Message>, filter: Option<&Filter>) -> Judged {
        let mut noted = match filter.map_or(Ok(None), |filter| filter.judge(&mut messages)) {
            Ok(noted) => noted.map_or_else(Vec::new, |finding| vec![*finding]),
            Err(finding) => return Outcome::Filtered(finding).into(),
        };
        let (examined, audited) = self.exam.of(&messages);
        match examined {
            Examined::Nothing => {}
            Examined::SameQuestion => return Judged { audited, ..Outcome::ExamItem.into() },
            Examined::Shares(finding) => return Judged { audited, ..Outcome::Filtered(finding).into() },
            Examined::Noted(finding) => noted.push(*finding),
        }
        let signature = self.sketching.then(|| Box::new(Signature::of(&messages)));
        Judged { outcome: self.conversation(messages), noted, audited, signature }
    }

    fn conversation(&self, messages: Vec<Message>) -> Outcome {
        let content = content_id(&messages);
        let destination = self.destination(content, self.draw.key(content), self.validation.key(content));
        Outcome::Read(content, destination.map(|destination| (destination, self.measured(messages))))
    }

    fn measured(&self, messages: Vec<Message>) -> Measured {
        let lengths = self.measure.map_or_else(Lengths::default, |measure| measure.lengths(&messages));
        (messages, lengths)
    }

    /// Where a record goes if it may be chosen.
    pub(super) fn destination(&self, content: ContentId, key: Key, validation: Key) -> Option<Destination> {
        let held_out = validation.0 < self.validation_bound;
        let wanted = if held_out { self.held_out.wants(validation) } else { self.sample.wants(key) };
        let stands_elsewhere = || self.earlier.iter().any(|pool| stands_in(content, pool));
        if !wanted || stands_elsewhere() || (!self.left_out.is_empty() && stands_in(content, self.left_out)) {
            return None;
        }
        Some(if held_out { Destination::HeldOut(validation) } else { Destination::Sample(key) })
    }
}

/// Whether a content is one of `sorted`. They are hashes, so it stands near its share of the way.
pub(crate) fn stands_in(content: ContentId, sorted: &[ContentId]) -> bool {
    let guess = (((content.0 >> 64) * sorted.len() as u128) >> 64) as usize;
    let mut step = 16;
    let (mut low, mut high) = (guess, guess);
    while low > 0 && sorted[low - 1] >= content {
        low = low.saturating_sub(step);
        step *= 4;
    }
    step = 16;
    while high < sorted.len() && sorted[high] <= content {
        high = (high + step).min(sorted.len());
        step *= 4;
    }
    sorted[low..high].binary_search(&content).is_ok()
}
