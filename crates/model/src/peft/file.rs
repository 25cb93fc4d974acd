//! The tensors of an adapter by module and role: factors, magnitudes, biases, rows, whole weights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use safetensors::tensor::Dtype;

use crate::error::{ModelError, Result};
use crate::lora::{ADAPTER_WEIGHTS, PREFIX};
use crate::weights::PickleFile;
use crate::weights::read::{FORMATS, TensorFile, finite};

/// File name of an adapter's tensors in older versions of PEFT, a `torch.save` archive.
pub const ADAPTER_PICKLE: &str = "adapter_model.bin";

/// The role of a tensor in its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// A, [rank, in].
    A,
    /// B, [out, rank].
    B,
    /// Bias of B, `[out]`.
    BiasOfB,
    /// DoRA's magnitude of every row, `[out]`.
    Magnitude,
    /// A of an embedding, [rank, vocabulary].
    TableA,
    /// B of an embedding, [hidden, rank].
    TableB,
    /// Trained rows of a table, [rows, hidden].
    Rows,
    /// A weight that replaces the base's.
    Weight,
    /// A bias that replaces the base's.
    Bias,
}

/// Path of a module (`model.layers.0.self_attn.q_proj`) and role of the tensor.
pub(super) type Key = (String, Part);

/// Parses a tensor name into its key and, where the file has it, the adapter's name (`default`).
fn parse(name: &str) -> Option<(Key, Option<&str>)> {
    let path = name.strip_prefix(PREFIX).unwrap_or(name);
    for (mark, parts) in MARKS {
        let Some((module, rest)) = path.split_once(mark) else { continue };
        let rest = rest.trim_start_matches('.');
        for &(tail, part) in parts {
            let own = if rest == tail { Some(None) } else { own_name(rest, tail).map(Some) };
            if let Some(own) = own {
                return Some(((module.to_owned(), part), own));
            }
        }
        return None;
    }
    let (module, kind) = path.rsplit_once('.')?;
    let module = module.strip_suffix(".base_layer").unwrap_or(module);
    let part = match kind {
        "weight" => Part::Weight,
        "bias" => Part::Bias,
        _ => return None,
    };
    Some(((module.to_owned(), part), None))
}

/// Name parts behind a module's path and their endings; the adapter's name may stand between the two.
const MARKS: [(&str, &[(&str, Part)]); 7] = [
    (".lora_A", &[("weight", Part::A)]),
    (".lora_B", &[("weight", Part::B), ("bias", Part::BiasOfB)]),
    (".lora_magnitude_vector", &[("weight", Part::Magnitude), ("", Part::Magnitude)]),
    (".lora_embedding_A", &[("", Part::TableA)]),
    (".lora_embedding_B", &[("", Part::TableB)]),
    (".token_adapter.trainable_tokens_delta", &[("", Part::Rows)]),
    (".modules_to_save", &[("weight", Part::Weight), ("bias", Part::Bias)]),
];

/// The adapter's name: `NAME` of `NAME.tail`, or of `NAME` where the tail is empty.
fn own_name<'a>(rest: &'a str, tail: &str) -> Option<&'a str> {
    let own = if tail.is_empty() { rest } else { rest.strip_suffix(tail)?.strip_suffix('.')? };
    (!own.is_empty() && !own.contains('.')).then_some(own)
}

#[derive(Debug)]
enum Source {
    Safetensors(TensorFile),
    Pickle(PickleFile),
}

/// The opened file of an adapter's tensors.
#[derive(Debug)]
pub(super) struct AdapterFile {
    pub(super) path: PathBuf,
    source: Source,
    /// Names in the file and shapes.
    tensors: BTreeMap<Key, (String, Vec<usize>)>,
}

impl AdapterFile {
    /// Opens `adapter_model.safetensors` or, where that is missing, `adapter_model.bin`; no tensor is read yet.
    ///
    /// Unknown and repeated names and unsupported formats are returned as problems.
    pub(super) fn open(directory: &Path) -> Result<(Self, Vec<String>)> {
        let (path, source) = Source::open(directory)?;
        let (mut tensors, mut problems, mut owners) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        for (name, shape, dtype) in source.list()? {
            if !FORMATS.contains(&dtype) {
                problems.push(format!("{name} is {dtype:?}, expected F32, F16, BF16 or F64"));
            }
            let Some((key, own)) = parse(&name) else {
                problems.push(format!("unexpected: {name} {shape:?}"));
                continue;
            };
            owners.extend(own.map(str::to_owned));
            if let Some((other, _)) = tensors.insert(key, (name.clone(), shape)) {
                problems.push(format!("{other} and {name} are the same weight"));
            }
        }
        if owners.len() > 1 {
            let names: Vec<String> = owners.into_iter().collect();
            problems.push(format!("the file holds several adapters: {}", names.join(", ")));
        }
        Ok((Self { path, source, tensors }, problems))
    }

    /// Every tensor's key, its name in the file and its shape.
    pub(super) fn tensors(&self) -> impl Iterator<Item = (&Key, &str, &[usize])> {
        self.tensors.iter().map(|(key, (name, shape))| (key, name.as_str(), shape.as_slice()))
    }

    pub(super) fn has(&self, path: &str, part: Part) -> bool {
        self.tensors.contains_key(&(path.to_owned(), part))
    }

    /// The elements of a tensor; `None` where the file does not have it.
    ///
    /// # Errors
    /// When an element is NaN or infinite.
    pub(super) fn read(&self, path: &str, part: Part) -> Result<Option<Vec<f32>>> {
        let Some((name, _)) = self.tensors.get(&(path.to_owned(), part)) else { return Ok(None) };
        let values = match &self.source {
            Source::Safetensors(file) => file.floats(&file.tensor(name)?),
            Source::Pickle(file) => file.floats(name),
        };
        finite(&self.path, name, &values)?;
        Ok(Some(values))
    }
}

impl Source {
    fn open(directory: &Path) -> Result<(PathBuf, Self)> {
        let (safetensors, pickle) = (directory.join(ADAPTER_WEIGHTS), directory.join(ADAPTER_PICKLE));
        if safetensors.exists() {
            let file = TensorFile::open(&safetensors)?;
            return Ok((safetensors, Self::Safetensors(file)));
        }
        if pickle.exists() {
            let file = PickleFile::open(&pickle)?;
            return Ok((pickle, Self::Pickle(file)));
        }
        let problem = format!("has neither {ADAPTER_WEIGHTS} nor {ADAPTER_PICKLE}: the adapter's weights are missing");
        Err(ModelError::NotAModel { path: directory.to_owned(), problem })
    }

    /// Name, shape and format of every tensor.
    fn list(&self) -> Result<Vec<(String, Vec<usize>, Dtype)>> {
        Ok(match self {
            Self::Safetensors(file) => {
                let views = file.tensors()?.tensors();
                views.into_iter().map(|(name, view)| (name, view.shape().to_vec(), view.dtype())).collect()
            }
            Self::Pickle(file) => {
                file.tensors().map(|(name, shape, dtype)| (name.to_owned(), shape.to_vec(), dtype)).collect()
            }
        })
    }
}

/// PEFT's name of a tensor, without the prefix.
pub(super) fn name_of((path, part): &Key) -> String {
    let tail = match part {
        Part::A => "lora_A.weight",
        Part::B => "lora_B.weight",
        Part::BiasOfB => "lora_B.bias",
        Part::Magnitude => "lora_magnitude_vector",
        Part::TableA => "lora_embedding_A",
        Part::TableB => "lora_embedding_B",
        Part::Rows => "token_adapter.trainable_tokens_delta",
        Part::Weight => "weight",
        Part::Bias => "bias",
    };
    format!("{path}.{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Option<(String, Part, Option<&str>)> {
        parse(name).map(|((path, part), own)| (path, part, own))
    }

    #[test]
    fn names_say_what_a_tensor_is() {
        let q = "model.layers.0.self_attn.q_proj".to_owned();
        for (tail, part, own) in [
            ("lora_A.weight", Part::A, None),
            ("lora_B.default.weight", Part::B, Some("default")),
            ("lora_B.bias", Part::BiasOfB, None),
            ("lora_magnitude_vector", Part::Magnitude, None),
            ("lora_magnitude_vector.weight", Part::Magnitude, None),
            ("lora_magnitude_vector.mine.weight", Part::Magnitude, Some("mine")),
            ("base_layer.bias", Part::Bias, None),
            ("bias", Part::Bias, None),
        ] {
            let name = format!("base_model.model.{q}.{tail}");
            assert_eq!(read(&name), Some((q.clone(), part, own)), "{name}");
            assert_eq!(read(&format!("{q}.{tail}")), Some((q.clone(), part, own)), "{tail} without the prefix");
        }
        let table = "model.embed_tokens".to_owned();
        assert_eq!(
            read("base_model.model.model.embed_tokens.lora_embedding_A"),
            Some((table.clone(), Part::TableA, None))
        );
        assert_eq!(read("model.embed_tokens.base_layer.weight"), Some((table.clone(), Part::Weight, None)));
        assert_eq!(read("model.embed_tokens.modules_to_save.weight"), Some((table, Part::Weight, None)));
        assert_eq!(read("base_model.model.lm_head.weight"), Some(("lm_head".to_owned(), Part::Weight, None)));
        for name in
            ["model.layers.0.self_attn.q_proj.lora_A.a.b.weight", "x.lora_C.weight.y", "x.lora_A.bias", "weight"]
        {
            assert_eq!(read(name), None, "{name}");
        }
    }
}
