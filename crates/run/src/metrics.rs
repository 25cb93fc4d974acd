//! `metrics.jsonl`: training and validation metrics as JSON Lines, written by the trainer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Metrics {
    /// Training since the line before.
    Train(TrainMetrics),
    /// A pass over the validation set.
    Validation(ValidationMetrics),
}

/// Training since the line before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainMetrics {
    /// Optimizer steps taken so far.
    pub step: usize,
    /// Passes over the data so far.
    #[serde(deserialize_with = "number")]
    pub epoch: f64,
    /// Mean loss of a supervised token, over the steps since the line before.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// Learning rate of the last step.
    #[serde(deserialize_with = "number")]
    pub lr: f64,
    /// Global norm of the last step's gradient, before clipping.
    #[serde(deserialize_with = "number")]
    pub grad_norm: f64,
    /// Tokens computed so far.
    pub tokens: u64,
    /// Tokens that the loss counted so far.
    pub supervised_tokens: u64,
    /// Tokens computed per second since the line before.
    #[serde(deserialize_with = "number")]
    pub tokens_per_second: f64,
    /// Seconds of training so far, over all processes that worked on the run.
    #[serde(deserialize_with = "number")]
    pub seconds: f64,
    /// Resident memory of this process in bytes; 0 if unknown.
    pub memory_bytes: u64,
    /// Peak resident memory of this process so far in bytes; 0 if unknown.
    #[serde(default)]
    pub peak_memory_bytes: u64,
    /// Seconds since 1970.
    #[serde(deserialize_with = "number")]
    pub time: f64,
}

/// A pass over the validation set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationMetrics {
    /// Optimizer steps taken so far.
    pub step: usize,
    /// Mean loss of a supervised token, over all sources.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// The same of each source alone.
    #[serde(deserialize_with = "numbers")]
    pub sources: BTreeMap<String, f64>,
    /// Supervised tokens.
    pub supervised_tokens: u64,
    /// Seconds that the pass took.
    #[serde(deserialize_with = "number")]
    pub seconds: f64,
    /// Seconds since 1970.
    #[serde(deserialize_with = "number")]
    pub time: f64,
}

/// JSON has no word for a number that is not finite; serde_json writes `null`.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let values = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN))).collect())
}

impl Metrics {
    /// Optimizer steps taken so far.
    pub fn step(&self) -> usize {
        match self {
            Self::Train(line) => line.step,
            Self::Validation(line) => line.step,
        }
    }

    /// Seconds since 1970.
    pub fn time(&self) -> f64 {
        match self {
            Self::Train(line) => line.time,
            Self::Validation(line) => line.time,
        }
    }
}

/// The lines of a metrics file; empty without a file. Lines that cannot be parsed, such as a partial last one, are skipped.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<Metrics>> {
    Ok(read_lines(path)?.into_iter().map(|(_, line)| line).collect())
}

/// Like [`read`], each line with its own text.
///
/// # Errors
/// When the file cannot be read.
pub fn read_lines(path: &Path) -> io::Result<Vec<(String, Metrics)>> {
    let bytes = bytes_or_none(path)?;
    let texts = bytes.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    Ok(texts.filter_map(|text| Some((text.to_owned(), serde_json::from_str(text).ok()?))).collect())
}

fn bytes_or_none(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// The curves of a run: its metrics in order of steps, each step once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// Training, ascending by step.
    pub train: Vec<TrainMetrics>,
    /// Validation, ascending by step.
    pub validation: Vec<ValidationMetrics>,
    /// Numbers, from 1, of lines that cannot be parsed, except an unfinished last one.
    pub unreadable: Vec<usize>,
    /// Lines that a later process replaced by its own.
    pub replaced: usize,
}

impl Curves {
    /// Reads a metrics file; no file gives no curves. Of repeated steps the later lines count.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::parse(&bytes_or_none(path)?))
    }

    fn parse(bytes: &[u8]) -> Self {
        let mut curves = Self::default();
        let mut lines = bytes.split(|&byte| byte == b'\n').enumerate().peekable();
        while let Some((index, text)) = lines.next() {
            match serde_json::from_slice(text) {
                Ok(Metrics::Train(line)) => {
                    curves.replaced += cut_from(&mut curves.train, |other| other.step >= line.step);
                    curves.train.push(line);
                }
                Ok(Metrics::Validation(line)) => {
                    curves.replaced += cut_from(&mut curves.validation, |other| other.step >= line.step);
                    curves.validation.push(line);
                }
                Err(_) if text.trim_ascii().is_empty() || lines.peek().is_none() => {}
                Err(_) => curves.unreadable.push(index + 1),
            }
        }
        curves
    }
}

/// Removes the longest suffix of lines that are all `later`, and returns its length.
fn cut_from<T>(lines: &mut Vec<T>, later: impl Fn(&T) -> bool) -> usize {
    let kept = lines.len() - lines.iter().rev().take_while(|line| later(line)).count();
    lines.drain(kept..).count()
}

/// Bytes at the end of a metrics file that [`Latest::read`] reads: about 30,000 lines.
const TAIL_BYTES: u64 = 8 << 20;

/// The end of a run's metrics, for lists: files of long runs have millions of lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latest {
    /// The last line of training.
    pub train: Option<TrainMetrics>,
    /// A line of training some way before it, to measure the speed by.
    pub earlier: Option<TrainMetrics>,
    /// The last validation within the part of the file that is read.
    pub validation: Option<ValidationMetrics>,
}

impl Latest {
    /// Lines that the speed is measured over.
    const WINDOW: usize = 50;

    /// Reads the end of a metrics file; no file gives nothing.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Self::parse(&bytes))
    }

    fn parse(bytes: &[u8]) -> Self {
        let mut latest = Self::default();
        let mut trained = 0;
        for text in bytes.rsplit(|&byte| byte == b'\n') {
            let validates = text.starts_with(br#"{"kind":"validation""#);
            let wanted = if validates { latest.validation.is_none() } else { trained < Self::WINDOW };
            match wanted.then(|| serde_json::from_slice(text)) {
                Some(Ok(Metrics::Validation(line))) => latest.validation = Some(line),
                Some(Ok(Metrics::Train(line))) => {
                    trained += 1;
                    if latest.train.is_none() {
                        latest.train = Some(line);
                    } else if latest.earlier.as_ref().is_none_or(|earlier| line.step < earlier.step) {
                        latest.earlier = Some(line);
                    }
                }
                Some(Err(_)) | None => {}
            }
            if trained == Self::WINDOW && latest.validation.is_some() {
                break;
            }
        }
        latest
    }

    /// Seconds that a step takes, lately.
    pub fn seconds_per_step(&self) -> Option<f64> {
        let last = self.train.as_ref()?;
        let (step, seconds) = self.earlier.as_ref().map_or((0, 0.0), |line| (line.step, line.seconds));
        let steps = last.step.checked_sub(step).filter(|&steps| steps > 0)?;
        Some((last.seconds - seconds) / steps as f64).filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_metrics::{text, train, validation};

    #[test]
    fn a_number_that_is_not_finite_is_kept() {
        let written = text(&[Metrics::Train(train(10, f64::NAN)), Metrics::Validation(validation(10, f64::INFINITY))]);
        let curves = Curves::parse(written.as_bytes());
        assert!(curves.train[0].loss.is_nan() && curves.validation[0].sources["中医"].is_nan());
        assert_eq!(curves.train[0].grad_norm, 1.5);
        assert!(curves.unreadable.is_empty());
    }

    #[test]
    fn torn_foreign_and_repeated_lines() {
        let mut written = text(&[10, 20, 30].map(|step| Metrics::Train(train(step, 2.0))));
        written += &text(&[Metrics::Validation(validation(30, 2.0))]);
        written += "what is this\n\n";
        written += &text(&[20, 30].map(|step| Metrics::Train(train(step, 1.0))));
        written += &text(&[Metrics::Validation(validation(30, 1.0))]);
        let mut bytes = written.into_bytes();
        bytes.extend(b"{\"kind\":\"train\",\"step\":40,\"epo\xe4\xb8");
        let curves = Curves::parse(&bytes);
        assert_eq!(
            curves.train.iter().map(|line| (line.step, line.loss)).collect::<Vec<_>>(),
            [(10, 2.0), (20, 1.0), (30, 1.0)]
        );
        assert_eq!(curves.validation.len(), 1);
        assert_eq!((curves.unreadable.as_slice(), curves.replaced), (&[5][..], 3));
        let latest = Latest::parse(&bytes);
        assert_eq!(latest.train.as_ref().map(|line| line.step), Some(30));
        assert_eq!(latest.earlier.as_ref().map(|line| line.step), Some(10));
        assert_eq!(latest.validation.as_ref().map(|line| line.loss), Some(1.0));
        assert_eq!(latest.seconds_per_step(), Some(0.5));
    }

    #[test]
    fn nothing_and_no_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.jsonl");
        assert_eq!(Curves::read(&path).expect("no file"), Curves::default());
        assert_eq!(Latest::read(&path).expect("no file"), Latest::default());
        std::fs::write(&path, "").expect("written");
        assert_eq!(Curves::read(&path).expect("empty"), Curves::default());
        assert_eq!(Latest::read(&path).expect("empty").seconds_per_step(), None);
    }
}
