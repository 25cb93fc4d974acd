//! Reading, in two steps: the headers are checked against the configuration, with all mismatches in one error; only then are
//! weights allocated and read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, Metadata, TensorView};
use safetensors::{SafeTensorError, SafeTensors};

use super::header;
use crate::config::DecoderConfig;
use crate::decoder::{EMBED_TOKENS, LM_HEAD};
use crate::error::{ModelError, Result};
use crate::parameter::{Parameter, Slot};
use crate::skeleton;

/// File name of a model's weights that are not sharded.
pub(super) const SINGLE_FILE: &str = "model.safetensors";
/// File name of the index of sharded weights.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Bytes of a file in memory at a time; a multiple of every element size.
const PIECE: usize = 32 << 20;

/// Supported formats of weights in files.
pub(crate) const FORMATS: [Dtype; 4] = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64];

/// Frequencies of the rotary embedding in checkpoints of the LLaMA 1 era; they are computed from the configuration instead.
const ROTARY_FREQUENCIES: &str = "rotary_emb.inv_freq";

/// What the decoder's tensors begin with in a whole model.
const BASE_PREFIX: &str = "model.";

/// The safetensors files of a model.
#[derive(Debug)]
pub(crate) struct WeightFiles {
    path: PathBuf,
    files: Vec<TensorFile>,
}

/// File and view of every tensor, by its name in the model.
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

    /// Every tensor by name, and the names that more than one file has.
    fn found(&self) -> Result<(Found<'_>, Vec<String>)> {
        let mut problems = Vec::new();
        let mut found = Found::new();
        let tensors: Vec<_> =
            self.files.iter().map(|file| Ok((file, file.tensors()?.tensors()))).collect::<Result<_>>()?;
        let names = || tensors.iter().flat_map(|(_, tensors)| tensors.iter().map(|(name, _)| name));
        // transformers also loads files of the bare decoder, without its name in the whole model.
        let bare = !names().any(|name| name.starts_with(BASE_PREFIX));
        for (file, tensors) in tensors {
            for (name, view) in tensors {
                if name.ends_with(ROTARY_FREQUENCIES) {
                    continue;
                }
                let name = if bare && name != LM_HEAD { format!("{BASE_PREFIX}{name}") } else { name };
                if let Some((other, _)) = found.insert(name.clone(), (file, view)) {
                    problems.push(format!("{name} is in {} and in {}", file_name(&other.path), file_name(&file.path)));
                }
            }
        }
        Ok((found, problems))
    }

    /// Checks the headers against the tensors of a configuration. Nothing is allocated, whatever sizes the configuration has.
    pub(crate) fn check(&self, config: &DecoderConfig) -> Result<()> {
        let (found, mut problems) = self.found()?;
        if config.num_hidden_layers > found.len() {
            let problem = format!(
                "is {}, but the weights have only {} tensors: config.json and weights are of different models",
                config.num_hidden_layers,
                found.len()
            );
            let path = if self.path.is_dir() { self.path.join("config.json") } else { self.path.clone() };
            return Err(ModelError::Config { path, key: "num_hidden_layers".to_owned(), problem });
        }
        compare(&skeleton::shapes(config), &found, optional(config), &mut problems);
        self.refuse(problems)
    }

    /// Reads the weights of a model whose configuration was checked.
    pub(crate) fn fill(&self, slots: &mut [Slot<'_>]) -> Result<()> {
        let (mut found, _) = self.found()?;
        let mut embedding = None;
        for slot in slots.iter_mut() {
            let Some((file, view)) = found.remove(&slot.name) else {
                return self.refuse(vec![format!("missing: {} {:?}", slot.name, slot.get().shape())]);
            };
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

/// Tensors that may be missing: a tied head may be in the file as a copy of the embedding.
fn optional(config: &DecoderConfig) -> &'static [&'static str] {
    if config.tie_word_embeddings { &[LM_HEAD] } else { &[] }
}

/// Lists missing, unexpected and misshapen tensors, and those in an unsupported format.
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

/// A memory-mapped safetensors file; pages are released after reading.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    map: Mmap,
    header: Metadata,
}

impl TensorFile {
    /// Opens the file and checks its header.
    ///
    /// # Errors
    /// When it cannot be opened or its header is invalid; the error names the tensor.
    pub fn open(path: &Path) -> Result<Self> {
        let read = |source| ModelError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        // SAFETY: the file is only read; another process changing it meanwhile would corrupt any reader.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        let damaged = |problem| ModelError::Safetensors { path: path.to_owned(), problem };
        header::check(&map).map_err(damaged)?;
        let (_, header) = SafeTensors::read_metadata(&map).map_err(|error| damaged(error.to_string()))?;
        Ok(Self { path: path.to_owned(), map, header })
    }

    /// Its tensors.
    ///
    /// # Errors
    /// When it is not a whole safetensors file.
    pub fn tensors(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.map).map_err(|error| self.damaged(error))
    }

    /// One of its tensors.
    ///
    /// # Errors
    /// When there is no tensor of this name.
    pub(crate) fn tensor(&self, name: &str) -> Result<TensorView<'_>> {
        let missing = || self.damaged(SafeTensorError::TensorNotFound(name.to_owned()));
        let info = self.header.info(name).ok_or_else(missing)?;
        let data = &self.map[self.map.len() - self.header.data_len()..];
        let data = &data[info.data_offsets.0..info.data_offsets.1];
        TensorView::new(info.dtype, info.shape.clone(), data).map_err(|error| self.damaged(error))
    }

    /// The metadata of its header.
    pub fn metadata(&self) -> HashMap<String, String> {
        self.header.metadata().clone().unwrap_or_default()
    }

    fn damaged(&self, error: SafeTensorError) -> ModelError {
        ModelError::Safetensors { path: self.path.clone(), problem: error.to_string() }
    }

    /// The elements of one of its tensors as f32 (exact for f16 and bf16, rounded for f64). The file's pages are released as they
    /// are read, so that they do not double the memory of the weights.
    ///
    /// # Panics
    /// When the tensor's format is not f32, f16, bf16 or f64.
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

    /// Releases the pages under `piece` (`madvise`); a later access reads them from the file again.
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

/// Decodes little-endian elements to f32 and appends them.
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
        other => panic!("unsupported format of weights {other:?}"),
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

/// The weight files of a model directory.
pub(super) fn weight_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let (single, index) = (directory.join(SINGLE_FILE), directory.join(INDEX));
    if single.exists() {
        return Ok(vec![single]);
    }
    if !index.exists() {
        let problem = "has neither model.safetensors nor model.safetensors.index.json; weights of other formats \
                       (.bin, .gguf) have to be converted with transformers' save_pretrained";
        return Err(ModelError::NotAModel { path: directory.to_owned(), problem: problem.to_owned() });
    }
    let object = crate::keys::read_object(&index)?;
    let wrong = |problem: String| ModelError::Config { path: index.clone(), key: "weight_map".into(), problem };
    let map = object.get("weight_map").and_then(|map| map.as_object());
    let map = map.filter(|map| !map.is_empty()).ok_or_else(|| wrong("is missing, empty or no object".into()))?;
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    for (tensor, name) in map {
        let name = name.as_str().ok_or_else(|| wrong(format!("gives {tensor} a value that is not a file name")))?;
        // Path traversal: an index from elsewhere must not name files outside the model's directory.
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
