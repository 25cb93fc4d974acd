//! `torch.save` files of tensors (`adapter_model.bin`), parsed without executing anything.
//!
//! Such a file is a ZIP archive of a pickle and of raw storages. A pickle is a program for a stack machine that can call any Python
//! function. The machine here has only the opcodes of a dictionary of tensors and an allow-list of globals (the storage types,
//! `OrderedDict`, and torch's two functions that rebuild tensors), and refuses everything else.

mod machine;
mod zip;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::Dtype;

use crate::error::{ModelError, Result};
use crate::weights::read::decode;

/// A strided tensor in the archive.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pickled {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// In elements.
    pub(super) strides: Vec<usize>,
    /// Index of the first element in the storage.
    pub(super) offset: usize,
    /// Byte range of the storage in the file.
    pub(super) storage: Range<usize>,
}

/// A file that `torch.save` wrote.
#[derive(Debug)]
pub(crate) struct PickleFile {
    map: Mmap,
    tensors: BTreeMap<String, Pickled>,
}

impl PickleFile {
    /// Opens the file and lists its tensors.
    ///
    /// # Errors
    /// When it cannot be opened, or holds anything but a dictionary of dense tensors in f32, f16, bf16 or f64.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let read = |source| ModelError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        // SAFETY: the file is only read; another process changing it meanwhile would corrupt any reader.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        let tensors = list(&map).map_err(|problem| ModelError::Pickle { path: PathBuf::from(path), problem })?;
        Ok(Self { map, tensors })
    }

    /// Names, shapes and formats.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &[usize], Dtype)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice(), tensor.dtype))
    }

    /// The elements of a tensor in row-major order.
    ///
    /// # Panics
    /// When there is no such tensor.
    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        let tensor = &self.tensors[name];
        let mut stored = Vec::new();
        decode(&self.map[tensor.storage.clone()], tensor.dtype, &mut stored);
        let count = tensor.shape.iter().product();
        let mut place = vec![0usize; tensor.shape.len()];
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            let index: usize = place.iter().zip(&tensor.strides).map(|(place, stride)| place * stride).sum();
            values.push(stored[tensor.offset + index]);
            for dimension in (0..place.len()).rev() {
                place[dimension] += 1;
                if place[dimension] < tensor.shape[dimension] {
                    break;
                }
                place[dimension] = 0;
            }
        }
        values
    }
}

/// The tensors of an archive, each within its storage.
fn list(file: &[u8]) -> std::result::Result<BTreeMap<String, Pickled>, String> {
    let entries = zip::entries(file)?;
    let (root, pickle) = entries
        .iter()
        .find_map(|(name, range)| Some((name.strip_suffix("data.pkl")?, range.clone())))
        .ok_or("it holds no data.pkl")?;
    if entries.get(&format!("{root}byteorder")).is_some_and(|order| &file[order.clone()] != b"little") {
        return Err("its numbers are not little-endian".to_owned());
    }
    let mut tensors = BTreeMap::new();
    for (name, tensor) in machine::run(&file[pickle])? {
        let storage = entries
            .get(&format!("{root}data/{}", tensor.storage))
            .ok_or_else(|| format!("the data of {name} (data/{}) is missing", tensor.storage))?;
        let found = Pickled {
            dtype: tensor.dtype,
            shape: tensor.shape,
            strides: tensor.strides,
            offset: tensor.offset,
            storage: storage.clone(),
        };
        if !is_inside(&found) {
            return Err(format!("{name} {:?} reaches beyond its data", found.shape));
        }
        tensors.insert(name, found);
    }
    Ok(tensors)
}

/// Whether all elements are inside the storage. A tensor larger than its storage is refused even so: with strides of 0 a small file
/// could ask for any amount of memory.
fn is_inside(tensor: &Pickled) -> bool {
    let stored = tensor.storage.len() / (tensor.dtype.bitsize() / 8);
    let count = tensor.shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    let last = tensor.shape.iter().zip(&tensor.strides).try_fold(tensor.offset, |last, (&size, &stride)| {
        last.checked_add(size.saturating_sub(1).checked_mul(stride)?)
    });
    let (Some(count), Some(last)) = (count, last) else { return false };
    tensor.shape.len() == tensor.strides.len() && count <= stored && (count == 0 || last < stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> Vec<u8> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/parity/adapters/bin/adapter_model.bin");
        std::fs::read(path).expect("the fixture is there")
    }

    #[test]
    fn tensors_are_listed_and_damage_never_panics() {
        let file = fixture();
        let tensors = list(&file).expect("torch wrote it");
        assert_eq!(tensors.len(), 8);
        let tensor = &tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"];
        assert_eq!((tensor.shape.as_slice(), tensor.dtype), (&[4, 48][..], Dtype::F32));
        for place in 0..file.len() {
            for change in [1u8, 0x40, 0xff] {
                let mut damaged = file.clone();
                damaged[place] ^= change;
                // Damaged element values cannot be detected; every listed tensor must be inside the file.
                for tensor in list(&damaged).unwrap_or_default().values() {
                    assert!(is_inside(tensor) && tensor.storage.end <= file.len(), "byte {place}");
                }
            }
            assert!(list(&file[..place]).is_err(), "cut after {place} bytes");
        }
    }

    #[test]
    fn a_tensor_beyond_its_data_is_refused() {
        let tensor = |shape: &[usize], strides: &[usize], offset| Pickled {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
            offset,
            storage: 0..64,
        };
        assert!(is_inside(&tensor(&[4, 4], &[4, 1], 0)));
        assert!(is_inside(&tensor(&[4, 4], &[1, 4], 0)), "transposed");
        assert!(!is_inside(&tensor(&[4, 4], &[4, 1], 1)));
        assert!(!is_inside(&tensor(&[1 << 40], &[0], 0)), "a broadcast element");
        assert!(!is_inside(&tensor(&[usize::MAX, 2], &[1, 1], 0)), "the count overflows");
        assert!(!is_inside(&tensor(&[2], &[usize::MAX], 1)), "the index overflows");
    }
}
