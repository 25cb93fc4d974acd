//! Which records of a source are taken, and why the others are not.
//!
//! Filters run after a record was read and before anything is drawn: what they decide depends on the record alone, so samples
//! stay nested and the order of records does not matter.

mod boilerplate;
mod contamination;
mod html;
mod keywords;
mod languages;
mod lengths;
mod near;
mod patterns;
mod units;

use std::path::Path;

use medley_chat::Message;
use medley_mixture::FilterSpec;
use medley_mixture::filter::{FilterProblem, Finding};

pub(crate) use contamination::{ExamRuns, Shared};
pub(crate) use near::{Near, NearIndex, Signature, Sketch};

/// A filter with its settings.
trait RecordFilter: Send + Sync {
    /// Judges a record; see [`Verdict`].
    fn judge(&self, messages: &mut [Message]) -> Verdict;

    /// The words that decide, described and for the hash.
    fn words(&self) -> Option<(String, &[String])> {
        None
    }
}

/// What was removed from a record's text, or the reason for leaving the record out.
type Verdict = Result<Option<Box<Finding>>, Box<Finding>>;

/// A filter as the settings ask for it; a problem and its remedy where it cannot be built. Files of words are looked for in the
/// folder, then in the working directory.
type Built = Result<Option<Box<dyn RecordFilter>>, (String, String)>;

/// All filters, in the order in which they judge: cheap ones first.
const FILTERS: [fn(&FilterSpec, &Path) -> Built; 7] = [
    html::build,
    lengths::build,
    patterns::build_reject,
    patterns::build_require,
    boilerplate::build,
    languages::build,
    keywords::build,
];

/// The filters of one part of a source.
pub(crate) struct Filter {
    filters: Vec<Box<dyn RecordFilter>>,
}

impl Filter {
    /// The filters that `spec` asks for; `None` where it asks for nothing but conditions, which the importer evaluates.
    ///
    /// # Errors
    /// A problem in the settings and its remedy.
    pub fn new(spec: &FilterSpec, folder: &Path) -> Result<Option<Self>, (String, String)> {
        if let Some(FilterProblem { path, problem, hint }) = spec.problems().into_iter().next() {
            return Err((format!("filter.{}: {problem}", path.join(".")), hint));
        }
        let built = FILTERS.iter().filter_map(|build| build(spec, folder).transpose());
        let filters = built.collect::<Result<Vec<_>, _>>()?;
        Ok((!filters.is_empty()).then_some(Self { filters }))
    }

    /// The words that split the source, described and for the hash.
    pub fn keywords(&self) -> Option<(String, &[String])> {
        self.filters.iter().find_map(|filter| filter.words())
    }

    /// Asks every filter.
    ///
    /// # Errors
    /// The reason for leaving the record out. Otherwise the first thing that was removed from its text, if any.
    pub fn judge(&self, messages: &mut [Message]) -> Verdict {
        let mut removed = None;
        for filter in &self.filters {
            let found = filter.judge(messages)?;
            removed = removed.or(found);
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests;
