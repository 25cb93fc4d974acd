//! Reading: headers first. Nothing is allocated before every tensor's name, shape and format fit the configuration; all that
//! does not fit is named at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::header;
use crate::config::DecoderConfig;
use crate::decoder::{EMBED_TOKENS, LM_HEAD};
use crate::error::{ModelError, Result};
use crate::parameter::{Parameter, Slot};
use crate::skeleton;

/// Bytes of a file that are in memory at a time; a multiple of every width of a number.
const PIECE: usize = 32 << 20;

/// Formats that weights are read in.
pub(crate) const FORMATS: [Dtype; 4] = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64];

/// Angles of rotary positions, which files of the LLaMA 1 era hold; they follow from the configuration.
const ROTARY_ANGLES: &str = "rotary_emb.inv_freq";

/// The safetensors files of a model.
#[derive(Debug)]
pub(crate) struct WeightFiles {
    path: PathBuf,
    files: Vec<TensorFile>,
}

/// A tensor by its name in the model, and the file that holds it.
type Found<'a> = BTreeMap<String, (&'a TensorFile, TensorView<'a>)>;

impl WeightFiles {
    /// Opens the weights of a model directory, or one safetensors file; only headers are read.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let files = if path.is_dir() { weight_files(path)? } else { vec![path.to_owned()] };
        let files = files.iter().map(|file| TensorFile::open(file)).collect::<Result<_>>()?;
        Ok(Self { path: path.to_owned(), files })
    }

    /// The number format of most of the weights; f32 for f64.
    pub(crate) fn dtype(&self) -> Result<DType> {
        let mut elements: BTreeMap<Dtype, usize> = BTreeMap::new();
        for file in &self.files {
            for (_, view) in file.tensors()?.tensors() {
                *elements.entry(view.dtype()).or_default() += view.shape().iter().product::<usize>();
            }
        }
        let most = elements.into_iter().max_by_key(|&(dtype, count)| (count, dtype)).map(|(dtype, _)| dtype);
        Ok(match most {
            Some(Dtype::F16) => DType::F16,
            Some(Dtype::BF16) => DType::BF16,
            _ => DType::F32,
        })
    }

    /// Every tensor by the name that `rename` gives it, and those that stand in the files twice.
    fn found(&self, rename: &dyn Fn(&str) -> String) -> Result<(Found<'_>, Vec<String>)> {
        let mut problems = Vec::new();
        let mut found = Found::new();
        for file in &self.files {
            for (name, view) in file.tensors()?.tensors() {
                let name = rename(&name);
                if name.ends_with(ROTARY_ANGLES) {
                    continue;
                }
                if let Some((other, _)) = found.insert(name.clone(), (file, view)) {
                    let place = |file: &TensorFile| file_name(&file.path);
                    problems.push(format!("{name} stands in {} and in {}", place(other), place(file)));
                }
            }
        }
        Ok((found, problems))
    }

    /// Checks the headers against the tensors that a configuration asks for, whatever its sizes: nothing is allocated for them.
    pub(crate) fn check(&self, config: &DecoderConfig) -> Result<()> {
        let (found, mut problems) = self.found(&str::to_owned)?;
        if config.num_hidden_layers > found.len() {
            let problem = format!(
                "is {}, but the weights are {} tensors in all: config.json and weights are not of one model",
                config.num_hidden_layers,
                found.len()
            );
            let path = if self.path.is_dir() { self.path.join("config.json") } else { self.path.clone() };
            return Err(ModelError::Config { path, key: "num_hidden_layers".to_owned(), problem });
        }
        compare(&skeleton::shapes(config), &found, optional(config), &mut problems);
        self.refuse(problems)
    }

    /// Fills the slots of a model; `rename` maps a name in the files to a slot's.
    pub(crate) fn fill(
        &self,
        slots: &mut [Slot<'_>],
        rename: &dyn Fn(&str) -> String,
        optional: &[&str],
    ) -> Result<()> {
        let (mut found, mut problems) = self.found(rename)?;
        let wanted: Vec<(String, Vec<usize>)> =
            slots.iter().map(|slot| (slot.name.clone(), slot.get().shape())).collect();
        compare(&wanted, &found, optional, &mut problems);
        self.refuse(problems)?;
        let mut embedding = None;
        for slot in slots.iter_mut() {
            let (file, view) = found.remove(&slot.name).expect("checked above");
            let old = slot.get();
            let values = file.finite_floats(&slot.name, &view)?;
            slot.set(Parameter::from_data(TensorData::new(values, old.shape()), &old.device(), old.dtype()));
            if slot.name == EMBED_TOKENS {
                embedding = Some((file, view));
            }
        }
        if let Some((name, (file, view))) = found.pop_first()
            && embedding.is_some_and(|(its_file, embedding)| its_file.floats(&embedding) != file.floats(&view))
        {
            let problem =
                format!("{name} differs from {EMBED_TOKENS}, but config.json says tie_word_embeddings = true");
            return self.refuse(vec![problem]);
        }
        Ok(())
    }

    fn refuse(&self, problems: Vec<String>) -> Result<()> {
        match problems.is_empty() {
            true => Ok(()),
            false => Err(ModelError::Tensors { path: self.path.clone(), problems }),
        }
    }
}

/// Tensors that may be there or not: a tied head may stand in the file as a copy of the embedding.
pub(crate) fn optional(config: &DecoderConfig) -> &'static [&'static str] {
    if config.tie_word_embeddings { &[LM_HEAD] } else { &[] }
}

/// Names what is missing, unexpected, misshapen or in a format that is not supported.
fn compare(wanted: &[(String, Vec<usize>)], found: &Found<'_>, optional: &[&str], problems: &mut Vec<String>) {
    for (name, shape) in wanted {
        if !found.contains_key(name) {
            problems.push(format!("missing: {name} {shape:?}"));
        }
    }
    let wanted: HashMap<&str, &[usize]> =
        wanted.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    for (name, (_, view)) in found {
        match wanted.get(name.as_str()) {
            None if optional.contains(&name.as_str()) => {}
            None => problems.push(format!("unexpected: {name} {:?}", view.shape())),
            Some(shape) if *shape != view.shape() => {
                problems.push(format!("misshapen: {name} is {:?}, expected {shape:?}", view.shape()));
            }
            Some(_) => {}
        }
        if !FORMATS.contains(&view.dtype()) {
            problems.push(format!("{name} is {:?}, expected F32, F16, BF16 or F64", view.dtype()));
        }
    }
}

/// A safetensors file, of which no more is in memory than is being read.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    map: Mmap,
}

impl TensorFile {
    /// Opens the file and checks its header.
    ///
    /// # Errors
    /// When it cannot be opened or is not a whole safetensors file; the error names the tensor that is wrong.
    pub fn open(path: &Path) -> Result<Self> {
        let read = |source| ModelError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        // SAFETY: the file is only read; another process changing it meanwhile would corrupt any reader.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        header::check(&map).map_err(|problem| ModelError::Safetensors { path: path.to_owned(), problem })?;
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

    /// The elements of one of its tensors as f32 (exact for f16 and bf16, rounded for f64). Pages that were read are given back
    /// to the system: they would stand in memory beside what is made from them.
    ///
    /// # Panics
    /// When the tensor is of another format.
    pub fn floats(&self, view: &TensorView<'_>) -> Vec<f32> {
        let mut values = Vec::with_capacity(view.shape().iter().product());
        for piece in view.data().chunks(PIECE) {
            decode(piece, view.dtype(), &mut values);
            self.give_back(piece);
        }
        values
    }

    /// As [`floats`](Self::floats) for a weight called `name`.
    ///
    /// # Errors
    /// When an element is NaN or infinite.
    pub(crate) fn finite_floats(&self, name: &str, view: &TensorView<'_>) -> Result<Vec<f32>> {
        let values = self.floats(view);
        finite(&self.path, name, &values)?;
        Ok(values)
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

/// Appends little-endian numbers as f32.
///
/// # Panics
/// When the format is none of [`FORMATS`].
pub(crate) fn decode(bytes: &[u8], dtype: Dtype, values: &mut Vec<f32>) {
    let [twos, fours, eights] = [2, 4, 8].map(|width| bytes.par_chunks_exact(width));
    match dtype {
        Dtype::F32 => values.par_extend(fours.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
        Dtype::F16 => values.par_extend(twos.map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())),
        Dtype::BF16 => values.par_extend(twos.map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32())),
        Dtype::F64 => {
            let number = |b: &[u8]| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32;
            values.par_extend(eights.map(number));
        }
        other => panic!("{other:?} is no format of weights"),
    }
}

/// Refuses a tensor with NaN or infinite elements.
pub(crate) fn finite(path: &Path, name: &str, values: &[f32]) -> Result<()> {
    let count = values.par_iter().filter(|value| !value.is_finite()).count();
    match count {
        0 => Ok(()),
        count => {
            Err(ModelError::NotFinite { path: path.to_owned(), tensor: name.to_owned(), count, elements: values.len() })
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
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
    let wrong = |problem: String| ModelError::Config { path: index.clone(), key: "weight_map".into(), problem };
    let map = object.get("weight_map").and_then(|map| map.as_object());
    let map = map.filter(|map| !map.is_empty()).ok_or_else(|| wrong("is missing, empty or no object".into()))?;
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    for (tensor, name) in map {
        let name = name.as_str().ok_or_else(|| wrong(format!("gives {tensor} a value that is not a file name")))?;
        // A name with a folder could lead out of the model's directory, whoever made the index.
        if !name.ends_with(".safetensors") || name.contains(['/', '\\', ':']) || name.starts_with('.') {
            return Err(wrong(format!(
                "places {tensor} in \"{name}\", expected the name of a .safetensors file in the same directory"
            )));
        }
        if seen.insert(name) {
            names.push(directory.join(name));
        }
    }
    Ok(names)
}
