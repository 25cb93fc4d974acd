//! `metrics.jsonl`: one JSON object a line, the same run's TensorBoard events beside it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use medley_run::atomic;
use medley_run::metrics::read_lines;
pub use medley_run::metrics::{Metrics, TrainMetrics, ValidationMetrics, read};

use crate::error::TrainError;
use crate::tensorboard::EventWriter;

/// Names and values of a line's TensorBoard scalars.
fn scalars(line: &Metrics) -> Vec<(String, f64)> {
    let named = |name: &str, value: f64| (name.to_owned(), value);
    match line {
        Metrics::Train(line) => vec![
            named("train/loss", line.loss),
            named("train/learning_rate", line.lr),
            named("train/grad_norm", line.grad_norm),
            named("train/tokens_per_second", line.tokens_per_second),
            named("train/memory_bytes", line.memory_bytes as f64),
            named("train/peak_memory_bytes", line.peak_memory_bytes as f64),
            named("train/epoch", line.epoch),
        ],
        Metrics::Validation(line) => {
            let sources = line.sources.iter().map(|(source, &loss)| (format!("validation/loss/{source}"), loss));
            std::iter::once(named("validation/loss", line.loss)).chain(sources).collect()
        }
    }
}

/// Writes `metrics.jsonl` and the events file beside it.
#[derive(Debug)]
pub struct MetricsWriter {
    path: PathBuf,
    lines: RetryingFile,
    events: EventWriter,
}

/// An append-only file that keeps bytes in memory while the disk is full and retries with the next ones: losing training steps
/// for a line of metrics would be worse.
#[derive(Debug)]
pub(crate) struct RetryingFile {
    file: File,
    pending: Vec<u8>,
}

impl RetryingFile {
    pub(crate) fn new(file: File) -> Self {
        Self { file, pending: Vec::new() }
    }

    /// Appends bytes, which stay pending if the disk is full.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        match self.write_pending() {
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => Ok(()),
            result => result,
        }
    }

    fn write_pending(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.file.write(&self.pending) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => drop(self.pending.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl MetricsWriter {
    /// Opens the run's metrics. Lines after `resumed_step` are removed, so that no step is repeated, and the events file is
    /// rewritten from the others.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn open(path: &Path, resumed_step: usize) -> Result<Self, TrainError> {
        let mut kept = read_lines(path).map_err(TrainError::io(path))?;
        kept.retain(|(_, line)| resumed_step > 0 && line.step() <= resumed_step);
        // The lines' own text: numbers that were read and written again could differ in their last digit.
        let text: String = kept.iter().flat_map(|(text, _)| [text.as_str(), "\n"]).collect();
        atomic::write_file(path, text.as_bytes()).map_err(TrainError::io(path))?;
        let events_path = path.with_file_name("events.out.tfevents.1.medley");
        let events = EventWriter::create(&events_path).map_err(TrainError::io(&events_path))?;
        let file = OpenOptions::new().append(true).open(path).map_err(TrainError::io(path))?;
        let mut writer = Self { path: path.to_path_buf(), lines: RetryingFile::new(file), events };
        for (_, line) in &kept {
            writer.write_events(line)?;
        }
        Ok(writer)
    }

    /// Appends a line; it is in the file when this returns, or pending if the disk is full.
    ///
    /// # Errors
    /// When it cannot be written for a reason other than a full disk.
    pub fn write(&mut self, line: &Metrics) -> Result<(), TrainError> {
        self.lines.write(&json_line(line)).map_err(TrainError::io(&self.path))?;
        self.write_events(line)
    }

    /// Whether lines are pending because the disk is full.
    pub fn has_pending(&self) -> bool {
        !self.lines.pending.is_empty()
    }

    /// Writes pending lines and syncs the file.
    ///
    /// # Errors
    /// When the file system reports one, a full disk included.
    pub fn sync(&mut self) -> Result<(), TrainError> {
        self.lines.write_pending().and_then(|()| self.lines.file.sync_data()).map_err(TrainError::io(&self.path))
    }

    fn write_events(&mut self, line: &Metrics) -> Result<(), TrainError> {
        self.events.write(line.time(), line.step(), &scalars(line)).map_err(TrainError::io(&self.path))
    }
}

fn json_line(line: &Metrics) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).expect("numbers and strings always become JSON");
    text.push(b'\n');
    text
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// Resident memory of this process in bytes; 0 where the system does not tell.
pub fn resident_memory() -> u64 {
    process_status("VmRSS:")
}

/// The most that was resident since this process began, in bytes; 0 where the system does not tell.
pub fn peak_resident_memory() -> u64 {
    process_status("VmHWM:")
}

fn process_status(key: &str) -> u64 {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn line(step: usize) -> Metrics {
        Metrics::Validation(ValidationMetrics {
            step,
            // Read and written again by serde_json, this number ends in another digit.
            loss: 1.061_518_091_932_496_7,
            sources: BTreeMap::from([("中医".to_owned(), 1.25)]),
            supervised_tokens: 10,
            seconds: 0.1,
            time: 1.7e9,
        })
    }

    #[test]
    fn resuming_cuts_off_later_and_unfinished_lines() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.jsonl");
        let mut writer = MetricsWriter::open(&path, 0).expect("new");
        (1..=4).for_each(|step| writer.write(&line(step)).expect("written"));
        drop(writer);
        let written = std::fs::read_to_string(&path).expect("readable");
        OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(b"{\"kind\":\"\xe4\xb8"))
            .expect("written");
        let mut writer = MetricsWriter::open(&path, 2).expect("resumed");
        writer.write(&line(3)).expect("written");
        let resumed = std::fs::read_to_string(&path).expect("readable");
        assert_eq!(resumed.lines().collect::<Vec<_>>(), written.lines().take(3).collect::<Vec<_>>());
        MetricsWriter::open(&path, 0).expect("started anew");
        assert!(read(&path).expect("readable").is_empty());
    }

    /// Readers of event files disagree on repeated steps, so there must be none.
    #[test]
    fn resuming_rewrites_the_event_file_up_to_the_checkpoint() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let events = |run: &str| folder.path().join(run).join("events.out.tfevents.1.medley");
        let open =
            |run: &str, step| MetricsWriter::open(&folder.path().join(run).join("metrics.jsonl"), step).expect("opens");
        let mut whole = open("whole", 0);
        (1..=5).for_each(|step| whole.write(&line(step)).expect("written"));
        let mut killed = open("killed", 0);
        (1..=4).for_each(|step| killed.write(&line(step)).expect("written"));
        drop(killed);
        // Killed in the middle of a frame.
        let bytes = std::fs::read(events("killed")).expect("readable");
        std::fs::write(events("killed"), &bytes[..bytes.len() - 7]).expect("written");
        let mut resumed = open("killed", 2);
        (3..=5).for_each(|step| resumed.write(&line(step)).expect("written"));
        assert_eq!(
            std::fs::read(events("killed")).expect("readable"),
            std::fs::read(events("whole")).expect("readable")
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn lines_are_pending_while_the_disk_is_full() {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("a full device");
        let mut file = RetryingFile::new(full);
        file.write(b"one\n").expect("pending");
        file.write(b"two\n").expect("pending");
        assert_eq!(
            file.write_pending().expect_err("a checkpoint must not outlive its lines").kind(),
            ErrorKind::StorageFull
        );
        let mut roomy = tempfile::tempfile().expect("a temporary file");
        file.file = roomy.try_clone().expect("the same file");
        file.write(b"three\n").expect("written");
        let mut text = String::new();
        io::Seek::rewind(&mut roomy).expect("rewound");
        io::Read::read_to_string(&mut roomy, &mut text).expect("readable");
        assert_eq!((text.as_str(), file.pending.len()), ("one\ntwo\nthree\n", 0));
    }

    #[test]
    fn memory_is_told() {
        let (now, peak) = (resident_memory(), peak_resident_memory());
        assert!(!cfg!(target_os = "linux") || (now > 1 << 20 && peak >= now));
    }
}
