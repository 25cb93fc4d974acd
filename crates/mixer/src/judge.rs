//! The judgement of one record, before anything is drawn: import, conditions, filters, exam.

use medley_chat::Message;
use medley_mixture::Rejection;
use medley_mixture::filter::Finding;
use medley_source::Imported;

use crate::examine::{AuditPair, Examination, Examined};
use crate::filter::Filter;

/// Whether a record may be drawn, or the reason for leaving it out.
pub(crate) enum Verdict {
    /// It may be drawn, with the texts that the filters left.
    Accepted(Vec<Message>),
    Rejected(Rejection),
    Filtered(Box<Finding>),
    /// Its question is one of the exam's.
    ExamItem,
}

/// A judged record.
pub(crate) struct Judged {
    pub verdict: Verdict,
    /// Findings in a record that is kept.
    pub noted: Vec<Finding>,
    /// The exam item beside the record, in an audit.
    pub audited: Option<Box<AuditPair>>,
}

impl From<Verdict> for Judged {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, noted: Vec::new(), audited: None }
    }
}

/// Judges an imported record; `unmet` is the condition that it does not meet.
pub(crate) fn judge(
    imported: Imported,
    unmet: Option<Box<Finding>>,
    filter: Option<&Filter>,
    exam: &Examination<'_>,
) -> Judged {
    let mut messages = match (imported, unmet) {
        (Imported::Rejected(reason), _) => return Verdict::Rejected(reason).into(),
        (_, Some(finding)) => return Verdict::Filtered(finding).into(),
        (Imported::Conversation(messages), None) => messages,
    };
    let mut noted = match filter.map_or(Ok(None), |filter| filter.judge(&mut messages)) {
        Ok(noted) => noted.map_or_else(Vec::new, |finding| vec![*finding]),
        Err(finding) => return Verdict::Filtered(finding).into(),
    };
    let (examined, audited) = exam.of(&messages);
    let verdict = match examined {
        Examined::Nothing => Verdict::Accepted(messages),
        Examined::SameQuestion => Verdict::ExamItem,
        Examined::Shares(finding) => Verdict::Filtered(finding),
        Examined::Noted(finding) => {
            noted.push(*finding);
            Verdict::Accepted(messages)
        }
    };
    Judged { verdict, noted, audited }
}
