//! Reading: every tensor of the files is used exactly once, or all that does not fit is named at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::decoder::EMBED_TOKENS;
use crate::error::{ModelError, Result};
use crate::parameter::{Parameter, Slot};

/// Bytes of a file that are in memory at a time; a multiple of every width of a number.
const PIECE: usize = 32 << 20;

/// Fills the slots from a safetensors file, or from the files of a model directory.
///
/// `rename` maps a name in the file to a slot's; `optional` names may be present as copies of the embedding.
pub(crate) fn fill(
    path: &Path,
    slots: &mut [Slot<'_>],
    rename: &dyn Fn(&str) -> String,
    optional: &[&str],
) -> Result<()> {
    let files = if path.is_dir() { weight_files(path)? } else { vec![path.to_owned()] };
    let files = files.iter().map(|file| TensorFile::open(file)).collect::<Result<Vec<TensorFile>>>()?;
    let mut problems = Vec::new();
    let mut found: BTreeMap<String, (&TensorFile, TensorView<'_>)> = BTreeMap::new();
    for file in &files {
        for (name, view) in file.tensors()?.tensors() {
            let name = rename(&name);
            if found.insert(name.clone(), (file, view)).is_some() {
                problems.push(format!("{name} stands in the files twice"));
            }
        }
    }
    check(slots, &found, optional, &mut problems);
    if !problems.is_empty() {
        return Err(ModelError::Tensors { path: path.to_owned(), problems });
    }
    let mut embedding = None;
    for slot in slots.iter_mut() {
        let (file, view) = found.remove(&slot.name).expect("checked above");
        let old = slot.get();
        let data = TensorData::new(file.floats(&view), old.shape());
        slot.set(Parameter::from_data(data, &old.device(), old.dtype()));
        if slot.name == EMBED_TOKENS {
            embedding = Some((file, view));
        }
    }
    if let Some((name, (file, view))) = found.pop_first()
        && embedding.is_some_and(|(its_file, embedding)| its_file.floats(&embedding) != file.floats(&view))
    {
        let problem = format!("{name} differs from {EMBED_TOKENS}, but config.json says tie_word_embeddings = true");
        return Err(ModelError::Tensors { path: path.to_owned(), problems: vec![problem] });
    }
    Ok(())
}

/// A safetensors file, of which no more is in memory than is being read.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    map: Mmap,
}

impl TensorFile {
    /// Opens the file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let read = |source| ModelError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        // SAFETY: the file is only read; another process changing it meanwhile would corrupt any reader.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        Ok(Self { path: path.to_owned(), map })
    }

    /// Its tensors.
    ///
    /// # Errors
    /// When it is not a whole safetensors file.
    pub fn tensors(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.map).map_err(|error| self.damaged(error))
    }

    /// What its header says beside the tensors.
    ///
    /// # Errors
    /// When it has no sound header.
    pub fn metadata(&self) -> Result<HashMap<String, String>> {
        let (_, metadata) = SafeTensors::read_metadata(&self.map).map_err(|error| self.damaged(error))?;
        Ok(metadata.metadata().clone().unwrap_or_default())
    }

    fn damaged(&self, error: safetensors::SafeTensorError) -> ModelError {
        ModelError::Safetensors { path: self.path.clone(), problem: error.to_string() }
    }

    /// The elements of one of its tensors as f32 (exact for f16 and bf16). Pages that were read are given back to the system:
    /// they would stand in memory beside what is made from them.
    ///
    /// # Panics
    /// When the tensor is of another format.
    pub fn floats(&self, view: &TensorView<'_>) -> Vec<f32> {
        let mut values = Vec::with_capacity(view.shape().iter().product());
        for piece in view.data().chunks(PIECE) {
            let [twos, fours] = [2, 4].map(|width| piece.par_chunks_exact(width));
            match view.dtype() {
                Dtype::F32 => values.par_extend(fours.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
                Dtype::F16 => values.par_extend(twos.map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())),
                Dtype::BF16 => values.par_extend(twos.map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32())),
                other => panic!("{other:?} is no format of weights"),
            }
            self.give_back(piece);
        }
        values
    }

    /// Tells the system that the pages under `piece` are not needed; they come from the file again if they are.
    #[cfg(unix)]
    fn give_back(&self, piece: &[u8]) {
        let start = piece.as_ptr() as usize - self.map.as_ptr() as usize;
        // Only memory is lost where the system says no.
        // SAFETY: the map is shared and only read, so its pages hold the same bytes when they come again.
        let _ = unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, piece.len()) };
    }

    #[cfg(not(unix))]
    fn give_back(&self, _piece: &[u8]) {}
}

/// Names what is missing, unexpected, misshapen or in a format that is not supported.
fn check(
    slots: &[Slot<'_>],
    found: &BTreeMap<String, (&TensorFile, TensorView<'_>)>,
    optional: &[&str],
    problems: &mut Vec<String>,
) {
    let wanted: HashMap<&str, Vec<usize>> = slots.iter().map(|slot| (slot.name.as_str(), slot.get().shape())).collect();
    for slot in slots {
        if !found.contains_key(&slot.name) {
            problems.push(format!("missing: {} {:?}", slot.name, wanted[slot.name.as_str()]));
        }
    }
    for (name, (_, view)) in found {
        match wanted.get(name.as_str()) {
            None if optional.contains(&name.as_str()) => {}
            None => problems.push(format!("unexpected: {name} {:?}", view.shape())),
            Some(shape) if shape != view.shape() => {
                problems.push(format!("misshapen: {name} is {:?}, expected {shape:?}", view.shape()));
            }
            Some(_) => {}
        }
        if !matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            problems.push(format!("{name} is {:?}, expected F32, F16 or BF16", view.dtype()));
        }
    }
}

/// The weights' files of a model directory.
pub(super) fn weight_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let index = directory.join("model.safetensors.index.json");
    let single = directory.join("model.safetensors");
    if single.exists() {
        return Ok(vec![single]);
    }
    if !index.exists() {
        let problem = "has neither model.safetensors nor model.safetensors.index.json; weights of other formats \
                       (.bin, .gguf) have to be converted with transformers' save_pretrained";
        return Err(ModelError::NotAModel { path: directory.to_owned(), problem: problem.to_owned() });
    }
    let object = crate::config::read_object(&index)?;
    let wrong =
        |problem: &str| ModelError::Config { path: index.clone(), key: "weight_map".into(), problem: problem.into() };
    let map =
        object.get("weight_map").and_then(|map| map.as_object()).ok_or_else(|| wrong("is missing or no object"))?;
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    for name in map.values() {
        let name = name.as_str().ok_or_else(|| wrong("has a value that is not a file name"))?;
        if seen.insert(name) {
            names.push(directory.join(name));
        }
    }
    Ok(names)
}
