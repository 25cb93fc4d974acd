//! Records in one of the languages that are asked for.

use std::path::Path;

use medley_chat::Message;
use medley_mixture::filter::{Finding, language};
use medley_mixture::{FilterSpec, Language, Rejection};

use super::{Built, RecordFilter, Verdict};

struct Languages(Vec<Language>);

pub(super) fn build(spec: &FilterSpec, _folder: &Path) -> Built {
    Ok(spec.language.as_ref().map(|allowed| Box::new(Languages(allowed.clone())) as _))
}

impl RecordFilter for Languages {
    fn judge(&self, messages: &mut [Message]) -> Verdict {
        let detected = language::of(messages);
        if detected.is_among(&self.0) {
            return Ok(None);
        }
        Err(Finding::of_record(Rejection::OtherLanguage, detected.name(), messages))
    }
}
