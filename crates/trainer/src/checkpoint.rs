//! Checkpoints: `steps/<n>/` with weights or adapter, optimizer state, and `state.json`, which says what run it belongs to and what
//! bytes its files hold, itself included. A checkpoint appears whole or not at all; one that was damaged later is found out before
//! it is used.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use medley_run::atomic;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::TrainError;

const STATE_FILE: &str = "state.json";
const FORMAT: u32 = 2;

/// Hashes of all that decides a run's result: a checkpoint with others is of another run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Hash of the data in its order.
    pub data: String,
    /// Hash of the base weights.
    pub weights: String,
    /// Hash of the settings that decide the result.
    pub recipe: String,
}

/// Where a run stands, beside weights and optimizer state. Numbers that must survive to the last bit are kept as bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPosition {
    /// Optimizer steps taken; schedule and dropout follow from it.
    pub step: usize,
    /// Epoch of the next step, 0-based.
    pub epoch: usize,
    /// Samples of that epoch already trained.
    pub offset: usize,
    /// Tokens computed so far.
    pub tokens: u64,
    /// Supervised tokens so far.
    pub supervised_tokens: u64,
    /// Bits of the seconds trained so far.
    pub seconds_bits: u64,
    /// Bits of the loss summed since the last line of metrics.
    pub window_loss_bits: u64,
    /// Supervised tokens since then.
    pub window_supervised: u64,
    /// Step and bits of the lowest validation loss so far.
    pub best: Option<(usize, u64)>,
    /// Step and bits of the last validation loss.
    pub last_validation: Option<(usize, u64)>,
    /// State of early stopping.
    #[serde(default, skip_serializing_if = "Plateau::is_unset")]
    pub plateau: Plateau,
}

/// State of early stopping: the lowest loss that counted, and the validations since then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plateau {
    /// Bits of the last validation loss that was an improvement by more than `min_delta`.
    pub lowest: Option<u64>,
    /// Validations since then.
    pub validations: usize,
}

impl Plateau {
    /// Whether there is no early stopping: the field is then left out, as in checkpoints of earlier versions.
    fn is_unset(&self) -> bool {
        *self == Self::default()
    }

    /// Counts a validation; a loss of NaN is no improvement.
    pub(crate) fn count(&mut self, loss: f64, min_delta: f64) {
        let lowest = self.lowest.map_or(f64::INFINITY, f64::from_bits);
        if loss < lowest - min_delta {
            *self = Self { lowest: Some(loss.to_bits()), validations: 0 };
        } else {
            self.validations += 1;
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    format: u32,
    identity: Identity,
    position: RunPosition,
    /// Bits of the validation loss at this step, where one was computed.
    validation_bits: Option<u64>,
    files: Vec<FileRecord>,
    /// SHA-256 of all of the above.
    #[serde(default)]
    checksum: String,
}

impl State {
    /// The checksum of everything but the checksum.
    fn digest(&self) -> String {
        let parts =
            serde_json::to_vec(&(self.format, &self.identity, &self.position, self.validation_bits, &self.files));
        hexadecimal(Sha256::new_with_prefix(parts.expect("numbers and strings always become JSON")))
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileRecord {
    name: String,
    bytes: u64,
    sha256: String,
}

/// A checkpoint that was read and found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its directory.
    pub path: PathBuf,
    /// Where the run stood.
    pub position: RunPosition,
}

/// A run's checkpoints.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    root: PathBuf,
    identity: Identity,
    keep: usize,
}

impl Checkpoints {
    /// The checkpoints under `root`, of which the last `keep` (at least one) and the best are kept.
    pub fn new(root: &Path, identity: Identity, keep: usize) -> Self {
        Self { root: root.to_path_buf(), identity, keep: keep.max(1) }
    }

    /// Saves a checkpoint: `fill` writes weights and optimizer state into the directory that it is given. Then older ones go.
    ///
    /// # Errors
    /// When it cannot be written; then the ones before are all still there.
    pub fn save(
        &self,
        position: &RunPosition,
        validation_loss: Option<f64>,
        fill: impl FnOnce(&Path) -> Result<(), TrainError>,
    ) -> Result<PathBuf, TrainError> {
        let path = self.root.join(position.step.to_string());
        atomic::write_folder::<SaveError>(&path, |folder| {
            fill(folder)?;
            let mut state = State {
                format: FORMAT,
                identity: self.identity.clone(),
                position: position.clone(),
                validation_bits: validation_loss.map(f64::to_bits),
                files: file_records(folder)?,
                checksum: String::new(),
            };
            state.checksum = state.digest();
            let text = serde_json::to_vec_pretty(&state).expect("numbers and strings always become JSON");
            Ok(fs::write(folder.join(STATE_FILE), text)?)
        })
        .map_err(|error| error.named(&path))?;
        self.prune()?;
        Ok(path)
    }

    /// The newest checkpoint that is whole, and what was passed over because it is damaged. `None` where there is none at all.
    ///
    /// # Errors
    /// A checkpoint of other data, weights or recipe; or damaged ones only.
    pub fn newest_good(&self) -> Result<(Option<Checkpoint>, Vec<String>), TrainError> {
        let mut torn = Vec::new();
        for step in self.steps().into_iter().rev() {
            let path = self.root.join(step.to_string());
            match self.read_state(&path) {
                Err(problem) => torn.push(format!("{}: {problem}", path.display())),
                Ok(state) => {
                    self.check_identity(&path, &state.identity)?;
                    return Ok((Some(Checkpoint { path, position: state.position }), torn));
                }
            }
        }
        match torn.is_empty() {
            true => Ok((None, torn)),
            false => Err(TrainError::NoGoodCheckpoint { path: self.root.clone(), torn }),
        }
    }

    /// The directory of the checkpoint after `step` steps, verified to be intact and of this run.
    ///
    /// # Errors
    /// When it is missing, damaged or of another run.
    pub fn verified(&self, step: usize) -> Result<PathBuf, TrainError> {
        let path = self.root.join(step.to_string());
        match self.read_state(&path) {
            Ok(state) => self.check_identity(&path, &state.identity).map(|()| path),
            Err(problem) => Err(TrainError::Setting(format!(
                "the checkpoint with the lowest validation loss, {}, cannot be used: {problem}; to make the run's model from \
                 the last step, train into another folder with `train.result = \"last\"`",
                path.display()
            ))),
        }
    }

    /// Removes all checkpoints but the last `count`.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn keep_last(&self, count: usize) -> Result<(), TrainError> {
        let steps = self.steps();
        steps[..steps.len().saturating_sub(count)].iter().try_for_each(|&step| self.remove(step))
    }

    /// Removes every checkpoint after `step`: a resumed run writes them anew.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove_after(&self, step: usize) -> Result<(), TrainError> {
        self.steps().into_iter().filter(|&other| other > step).try_for_each(|other| self.remove(other))
    }

    fn steps(&self) -> Vec<usize> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut steps: Vec<usize> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        steps.sort_unstable();
        steps
    }

    fn read_state(&self, path: &Path) -> Result<State, String> {
        let text = fs::read(path.join(STATE_FILE)).map_err(|error| format!("{STATE_FILE}: {error}"))?;
        let state: State = serde_json::from_slice(&text).map_err(|error| format!("{STATE_FILE}: {error}"))?;
        if state.format != FORMAT {
            return Err(format!("{STATE_FILE}: format {} where {FORMAT} is read", state.format));
        }
        if state.checksum != state.digest() {
            return Err(format!("{STATE_FILE} is damaged: not the content that was saved"));
        }
        for record in &state.files {
            let found = file_record(path, &record.name).map_err(|error| format!("{}: {error}", record.name))?;
            if found != *record {
                return Err(format!(
                    "{} is damaged: {} bytes, not the content that was saved",
                    record.name, found.bytes
                ));
            }
        }
        Ok(state)
    }

    fn check_identity(&self, path: &Path, found: &Identity) -> Result<(), TrainError> {
        let own = &self.identity;
        let parts = [
            ("data", &found.data, &own.data),
            ("weights", &found.weights, &own.weights),
            ("recipe", &found.recipe, &own.recipe),
        ];
        match parts.into_iter().find(|(_, found, own)| found != own) {
            None => Ok(()),
            Some((what, found, own)) => Err(TrainError::ForeignCheckpoint {
                path: path.to_path_buf(),
                what,
                found: found.clone(),
                expected: own.clone(),
            }),
        }
    }

    /// Removes all checkpoints but the last ones and the one with the lowest validation loss. Called after every save, and on
    /// resuming, because a process that is killed between saving and pruning leaves one too many.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn prune(&self) -> Result<(), TrainError> {
        let steps = self.steps();
        let old = &steps[..steps.len().saturating_sub(self.keep)];
        let best = steps.iter().filter_map(|&step| Some((self.validation_loss(step)?, step)));
        let best = best.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, step)| step);
        old.iter().filter(|&&step| Some(step) != best).try_for_each(|&step| self.remove(step))
    }

    fn validation_loss(&self, step: usize) -> Option<f64> {
        let text = fs::read(self.root.join(step.to_string()).join(STATE_FILE)).ok()?;
        serde_json::from_slice::<State>(&text).ok()?.validation_bits.map(f64::from_bits)
    }

    /// Renames first: a directory that is half removed when the process is killed must not look like a checkpoint.
    fn remove(&self, step: usize) -> Result<(), TrainError> {
        let path = self.root.join(step.to_string());
        let retired = self.root.join(format!(".partial-removed-{step}"));
        if retired.exists() {
            fs::remove_dir_all(&retired).map_err(TrainError::io(&retired))?;
        }
        fs::rename(&path, &retired).map_err(TrainError::io(&path))?;
        fs::remove_dir_all(&retired).map_err(TrainError::io(&retired))
    }
}

/// Lets `write_folder` carry both kinds of error.
enum SaveError {
    Train(TrainError),
    Io(std::io::Error),
}

impl From<std::io::Error> for SaveError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<TrainError> for SaveError {
    fn from(error: TrainError) -> Self {
        Self::Train(error)
    }
}

impl SaveError {
    fn named(self, path: &Path) -> TrainError {
        match self {
            Self::Train(error) => error,
            Self::Io(source) => TrainError::Io { path: path.to_path_buf(), source },
        }
    }
}

/// Fills a directory whole or not at all.
pub(crate) fn write_whole(path: &Path, fill: impl FnOnce(&Path) -> Result<(), TrainError>) -> Result<(), TrainError> {
    atomic::write_folder::<SaveError>(path, |folder| Ok(fill(folder)?)).map_err(|error| error.named(path))
}

fn file_records(folder: &Path) -> std::io::Result<Vec<FileRecord>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    names.iter().map(|name| file_record(folder, name)).collect()
}

fn file_record(folder: &Path, name: &str) -> std::io::Result<FileRecord> {
    let mut file = fs::File::open(folder.join(name))?;
    let (mut hasher, mut buffer, mut bytes) = (Sha256::new(), vec![0; 1 << 20], 0);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
    Ok(FileRecord { name: name.to_owned(), bytes, sha256: hexadecimal(hasher) })
}

fn hexadecimal(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use medley_files::WithHelp as _;

    use super::*;

    fn identity() -> Identity {
        Identity { data: "d".into(), weights: "w".into(), recipe: "r".into() }
    }

    fn save(checkpoints: &Checkpoints, step: usize, loss: Option<f64>) -> Result<PathBuf, TrainError> {
        let position = RunPosition { step, ..RunPosition::default() };
        checkpoints.save(&position, loss, |folder| {
            for file in ["weights.safetensors", "optimizer.safetensors", "config.json"] {
                fs::write(folder.join(file), format!("{file} {step}")).map_err(TrainError::io(folder))?;
            }
            Ok(())
        })
    }

    #[test]
    fn the_last_ones_and_the_best_are_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let checkpoints = Checkpoints::new(folder.path(), identity(), 2);
        for (step, loss) in [(10, 3.0), (20, 1.0), (30, 2.0), (40, 1.5), (50, 1.2)] {
            save(&checkpoints, step, Some(loss)).expect("saved");
        }
        assert_eq!(checkpoints.steps(), [20, 40, 50]);
        let (newest, torn) = checkpoints.newest_good().expect("good");
        assert_eq!((newest.expect("there").position.step, torn.len()), (50, 0));
        assert!(fs::read_dir(folder.path()).expect("readable").count() == 3, "nothing else is left");
    }

    #[test]
    fn pruning_keeps_the_last_and_the_best_and_is_idempotent() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let generous = Checkpoints::new(folder.path(), identity(), 9);
        for (step, loss) in [(10, 1.0), (20, 3.0), (30, 2.0), (40, 1.5)] {
            save(&generous, step, Some(loss)).expect("saved");
        }
        let checkpoints = Checkpoints::new(folder.path(), identity(), 2);
        checkpoints.prune().expect("pruned");
        assert_eq!(checkpoints.steps(), [10, 30, 40], "the best and the last two");
        checkpoints.prune().expect("pruned again");
        assert_eq!(checkpoints.steps(), [10, 30, 40]);
    }

    #[test]
    fn a_torn_one_is_passed_over_by_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let checkpoints = Checkpoints::new(folder.path(), identity(), 3);
        assert_eq!(checkpoints.newest_good().expect("none is fine").0, None);
        (1..=3).for_each(|step| drop(save(&checkpoints, step, None).expect("saved")));
        fs::write(folder.path().join("3/weights.safetensors"), "weights").expect("cut short");
        fs::write(folder.path().join("2/weights.safetensors"), "weightz 2").expect("changed");
        let (newest, torn) = checkpoints.newest_good().expect("the first is good");
        assert_eq!(newest.expect("there").position.step, 1);
        assert!(torn.len() == 2 && torn[0].contains("/3: weights.safetensors is damaged"), "{torn:?}");
        fs::remove_file(folder.path().join("1/state.json")).expect("removed");
        assert!(matches!(checkpoints.newest_good(), Err(TrainError::NoGoodCheckpoint { .. })));
    }

    #[test]
    fn whatever_is_damaged_in_the_newest_the_one_before_is_used() {
        let harm = |damage: &str, path: &Path| {
            let mut bytes = fs::read(path).expect("readable");
            let middle = bytes.len() / 2;
            match damage {
                "missing" => return fs::remove_file(path).expect("removed"),
                "cut" => bytes.truncate(middle),
                "emptied" => bytes.clear(),
                _ => bytes[middle] ^= 1,
            }
            fs::write(path, bytes).expect("written");
        };
        for file in ["weights.safetensors", "optimizer.safetensors", "config.json", STATE_FILE] {
            for damage in ["missing", "cut", "emptied", "flipped"] {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let checkpoints = Checkpoints::new(folder.path(), identity(), 3);
                (1..=2).for_each(|step| drop(save(&checkpoints, step, Some(0.5)).expect("saved")));
                harm(damage, &folder.path().join("2").join(file));
                let (newest, torn) = checkpoints.newest_good().expect("the first is good");
                assert_eq!(newest.expect("there").position.step, 1, "{file} {damage}");
                assert!(torn.len() == 1 && torn[0].contains(&format!("/2: {file}")), "{file} {damage}: {torn:?}");
            }
        }
    }

    #[test]
    fn no_flipped_bit_of_the_state_goes_unseen() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let checkpoints = Checkpoints::new(folder.path(), identity(), 3);
        let path = save(&checkpoints, 1, Some(0.5)).expect("saved").join(STATE_FILE);
        let whole = fs::read(&path).expect("readable");
        let good = checkpoints.newest_good().expect("good");
        for at in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            fs::write(&path, &bytes).expect("written");
            // What is read then is refused, or (white space for white space) the very same.
            assert!(checkpoints.newest_good().map_or(true, |found| found == good), "bit {at}");
        }
    }

    #[test]
    fn a_foreign_one_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        save(&Checkpoints::new(folder.path(), identity(), 3), 1, None).expect("saved");
        for (what, other) in [
            ("data", Identity { data: "x".into(), ..identity() }),
            ("weights", Identity { weights: "x".into(), ..identity() }),
            ("recipe", Identity { recipe: "x".into(), ..identity() }),
        ] {
            let error = Checkpoints::new(folder.path(), other, 3).newest_good().expect_err("foreign").with_help();
            assert!(error.contains(&format!("other {what}")), "{error}");
        }
    }

    #[test]
    fn a_failed_save_keeps_the_one_before_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let checkpoints = Checkpoints::new(folder.path(), identity(), 1);
        save(&checkpoints, 1, None).expect("saved");
        let position = RunPosition { step: 2, ..RunPosition::default() };
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let failed = checkpoints.save(&position, None, |inside| Err(TrainError::io(inside)(full())));
        assert!(failed.is_err_and(|error| error.with_help().contains("last good checkpoint is kept")));
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
        assert_eq!(checkpoints.newest_good().expect("good").0.expect("there").position.step, 1);
    }
}
