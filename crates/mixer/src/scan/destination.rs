//! Destination of a record that may be drawn: the sample, the validation split, or neither.

use medley_mixture::canonical::ContentId;
use medley_mixture::key::Key;

use super::PoolScan;

pub(super) enum Destination {
    Sample(Key),
    HeldOut(Key),
}

impl PoolScan<'_> {
    /// `None`: its key is too large to be chosen, or the content belongs to an earlier pool or is a near-duplicate.
    pub(super) fn destination(&self, content: ContentId, key: Key, validation: Key) -> Option<Destination> {
        let held_out = validation.0 < self.validation_bound;
        let wanted = if held_out { self.held_out.wants(validation) } else { self.sample.wants(key) };
        let is_earlier = || self.earlier.iter().any(|pool| contains(pool, content));
        if !wanted || is_earlier() || (!self.left_out.is_empty() && contains(self.left_out, content)) {
            return None;
        }
        Some(if held_out { Destination::HeldOut(validation) } else { Destination::Sample(key) })
    }
}

/// Interpolation search: contents are uniform hashes, so it starts at `content / 2^128 * length` and gallops.
pub(crate) fn contains(sorted: &[ContentId], content: ContentId) -> bool {
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
