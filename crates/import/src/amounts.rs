//! How much of each set: what the file takes becomes `size` and `ratio`, `epochs` or `max_records`.

use medley_files::yaml::YamlEntry;
use medley_recipe::common_divisor;

use super::document::{Fate, Note, Reading};
use super::plan::{Plan, Set};

/// Largest weight that an import writes: shares are rounded to millionths.
const MAX_WEIGHT: u64 = 1_000_000;

/// How much of a set an option takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Amount {
    /// This number of samples drawn from the whole set; repeated if the set is smaller.
    Samples(u64),
    /// At most this number of rows, from the start.
    Rows(u64),
    /// This part of the rows, from the whole set.
    Part(f64),
    /// This part of the rows, contiguous.
    Piece(f64),
    /// A choice that a recipe cannot express.
    Other,
}

/// An option that takes less, or more, than a set once.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub amount: Amount,
    /// The option, without what became of it.
    option: Note,
}

impl Asked {
    pub fn new(amount: Amount, set: &str, entry: &YamlEntry, reading: &Reading<'_>) -> Self {
        Self { amount, option: reading.of_option(Some(set), entry) }
    }

    /// The samples that are asked for, however many the set has.
    pub fn samples(&self) -> Option<u64> {
        if let Amount::Samples(samples) = self.amount { Some(samples) } else { None }
    }

    /// Fate of the option.
    pub fn note(&self, fate: Fate, why: &str) -> Note {
        Note { fate, why: why.to_owned(), ..self.option.clone() }
    }
}

/// How much the recipe takes of each set.
pub(super) enum Shares {
    /// Passes over each set.
    Epochs(Vec<f64>),
    /// Number of samples of each.
    Samples(Vec<u64>),
    /// Weights of a ratio.
    Weights(Vec<f64>),
}

impl Shares {
    fn of(sets: &[Set]) -> Self {
        let weights: Option<Vec<f64>> = sets.iter().map(|set| set.weight).collect();
        let samples: Option<Vec<u64>> = sets.iter().map(|set| set.asked.iter().find_map(Asked::samples)).collect();
        match (weights, samples) {
            (Some(weights), _) => Self::Weights(weights),
            (None, Some(samples)) => Self::Samples(samples),
            (None, None) => Self::Epochs(vec![1.0; sets.len()]),
        }
    }
}

/// Decides how much of each set the recipe takes, and says where that is not what the file takes.
pub(super) fn settle(plan: &mut Plan, notes: &mut Vec<Note>) -> Shares {
    let mut shares = Shares::of(&plan.sets);
    let by_samples = matches!(shares, Shares::Samples(_));
    for (index, set) in plan.sets.iter_mut().enumerate() {
        cap(set, by_samples, notes);
        let passes = match &mut shares {
            Shares::Epochs(passes) => Some(&mut passes[index]),
            Shares::Samples(_) | Shares::Weights(_) => None,
        };
        take_part(set, passes, notes);
    }
    shares
}

/// Sets `max_records` where the file limits a set.
fn cap(set: &mut Set, by_samples: bool, notes: &mut Vec<Note>) {
    for asked in &set.asked {
        let (count, why) = match asked.amount {
            Amount::Samples(count) if !by_samples => {
                (count, "`max_records` takes this number, each once: where the set has fewer, none of them comes again")
            }
            Amount::Rows(count) => {
                (count, "`max_records` takes this number, but anywhere in the set and not its first rows")
            }
            _ => continue,
        };
        notes.push(asked.note(Fate::Assumed, why));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let most = set.source.max_records.get_or_insert(count);
        *most = count.min(*most);
    }
}

/// A part of a set, which `epochs` can say where these decide and the part is one of all records.
fn take_part(set: &Set, passes: Option<&mut f64>, notes: &mut Vec<Note>) {
    let mut passes = passes.filter(|_| set.source.max_records.is_none());
    for asked in &set.asked {
        match (asked.amount, &mut passes) {
            (Amount::Samples(_) | Amount::Rows(_), _) => {}
            (Amount::Part(part), Some(passes)) => **passes *= part,
            (Amount::Piece(part), Some(passes)) => {
                **passes *= part;
                let why = "`mix.epochs` takes such a part, but anywhere in the set and not these rows";
                notes.push(asked.note(Fate::Assumed, why));
            }
            _ => notes.push(asked.note(Fate::NotCarriedOver, WHOLE)),
        }
    }
}

const WHOLE: &str = "the whole set is drawn from; `max_records` or `mix.epochs` take less of it";

/// Weights without a common divisor, and none too large.
pub(super) fn reduced(weights: &[u64]) -> Vec<u64> {
    let divisor = common_divisor(weights);
    let largest = weights.iter().max().map_or(0, |largest| largest / divisor);
    let scale = |weight: u64| {
        if largest <= MAX_WEIGHT {
            weight
        } else {
            ((weight as f64 / largest as f64) * MAX_WEIGHT as f64).round() as u64
        }
    };
    weights.iter().map(|weight| scale(weight / divisor).max(1)).collect()
}

/// Shares as whole numbers.
pub(super) fn whole(shares: &[f64]) -> Vec<u64> {
    let largest = shares.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    // In steps that a share of 0.1 is a whole number of.
    let sum: f64 = shares.iter().map(|share| share / largest).sum();
    let part = |share: &f64| (share / largest / sum * MAX_WEIGHT as f64).round().max(1.0) as u64;
    reduced(&shares.iter().map(part).collect::<Vec<_>>())
}

/// Part of a split that a slice of `datasets` takes: `[:500]`, `[10%:20%]`, `[-100:]`.
pub(super) fn of_slice(slice: &str) -> Amount {
    let Some((from, to)) = slice.trim().split_once(':') else { return Amount::Other };
    let (from, to) = (from.trim(), to.trim());
    let percent = |text: &str, all: f64| -> Option<f64> {
        if text.is_empty() {
            return Some(all);
        }
        let number: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
        Some(if number < 0.0 { 100.0 + number } else { number }.clamp(0.0, 100.0))
    };
    if let (Some(from), Some(to)) = (percent(from, 0.0), percent(to, 100.0)) {
        let part = (to - from) / 100.0;
        return if part > 0.0 { Amount::Piece(part) } else { Amount::Other };
    }
    let rows = match (from.parse::<i64>(), to.parse::<i64>()) {
        (Err(_), Ok(to)) if from.is_empty() => Some(to),
        (Ok(from), Ok(to)) if from >= 0 || to < 0 => to.checked_sub(from),
        (Ok(from), Err(_)) if to.is_empty() && from < 0 => from.checked_neg(),
        _ => None,
    };
    match rows.and_then(|rows| u64::try_from(rows).ok()) {
        Some(rows) if rows > 0 => Amount::Rows(rows),
        _ => Amount::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_whole_and_small() {
        assert_eq!(whole(&[0.7, 0.3]), [7, 3]);
        assert_eq!(whole(&[2.0, 1.0, 1.0]), [2, 1, 1]);
        assert_eq!(whole(&[1e300, 1e300]), [1, 1]);
        assert_eq!(reduced(&[40_000, 5_000]), [8, 1]);
        assert_eq!(reduced(&[3_000_001, 1]), [1_000_000, 1]);
    }

    #[test]
    fn slices_are_numbers_of_rows_or_parts() {
        for (slice, amount) in [
            (":500", Amount::Rows(500)),
            ("100:600", Amount::Rows(500)),
            ("-500:", Amount::Rows(500)),
            ("-500:-100", Amount::Rows(400)),
            (":10%", Amount::Piece(0.1)),
            ("10%:35%", Amount::Piece(0.25)),
            ("-25%:", Amount::Piece(0.25)),
            (":-75%", Amount::Piece(0.25)),
            ("100:", Amount::Other),
            (":-100", Amount::Other),
            ("-100:5", Amount::Other),
            (":0", Amount::Other),
            ("60%:50%", Amount::Other),
            ("5", Amount::Other),
            (":9223372036854775808", Amount::Other),
        ] {
            assert_eq!(of_slice(slice), amount, "{slice}");
        }
    }
}
