//! Arithmetic of merging: products and sums in f32, rounded once to the weight's format.

use burn::Tensor;
use burn::tensor::{DType, TensorData, s};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::weights::PIECE_ELEMENTS;

/// The factors of one adapter.
pub(crate) struct Update {
    /// A, [rank, in].
    pub(crate) a: Vec<f32>,
    /// B, [out, rank].
    pub(crate) b: Vec<f32>,
    /// Factor of `B A`.
    pub(crate) scale: f32,
    /// Norm of every row of the merged weight (DoRA).
    pub(crate) magnitude: Option<Vec<f32>>,
}

impl Update {
    /// `W + scale * B A`, and with magnitudes m `(m / |row|) * (W + scale * B A)`, for W [out, in].
    pub(crate) fn add_to(&self, weight: &mut [f32], input: usize) {
        let rank = self.a.len() / input;
        weight.par_chunks_exact_mut(input).zip(self.b.par_chunks_exact(rank)).enumerate().for_each(
            |(number, (row, factors))| {
                let mut delta = vec![0.0f32; input];
                for (factor, a) in factors.iter().zip(self.a.chunks_exact(input)) {
                    delta.iter_mut().zip(a).for_each(|(delta, a)| *delta += factor * a);
                }
                row.iter_mut().zip(delta).for_each(|(value, delta)| *value += delta * self.scale);
                if let Some(magnitude) = &self.magnitude {
                    let square = |&value: &f32| f64::from(value) * f64::from(value);
                    let length = row.iter().map(square).sum::<f64>().sqrt() as f32;
                    let factor = magnitude[number] / length;
                    row.iter_mut().for_each(|value| *value *= factor);
                }
            },
        );
    }
}

/// The elements of a tensor on the host.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().try_into_vec().expect("the elements were cast to f32")
}

/// Whether a matrix has these elements; compared in pieces, because a copy of a table would double its memory.
pub(crate) fn equals(matrix: &Tensor<2>, values: &[f32]) -> bool {
    let [rows, columns] = matrix.dims();
    let step = (PIECE_ELEMENTS / columns).max(1);
    (0..rows).step_by(step).all(|first| {
        let end = rows.min(first + step);
        host(matrix.clone().slice(s![first..end])) == values[first * columns..end * columns]
    })
}

/// New elements in the shape, format and device of `old`, rounded to nearest, ties to even.
pub(crate) fn like<const D: usize>(old: &Tensor<D>, values: Vec<f32>) -> Tensor<D> {
    let options = (&old.device(), old.dtype());
    match old.dtype() {
        DType::BF16 => {
            let values: Vec<bf16> = values.into_par_iter().map(bf16::from_f32).collect();
            Tensor::from_data(TensorData::new(values, old.dims()), options)
        }
        DType::F16 => {
            let values: Vec<f16> = values.into_par_iter().map(f16::from_f32).collect();
            Tensor::from_data(TensorData::new(values, old.dims()), options)
        }
        _ => Tensor::from_data(TensorData::new(values, old.dims()), options),
    }
}

/// Rounds f32 values to the precision of a format.
pub(crate) fn round_to(values: &mut [f32], dtype: DType) {
    match dtype {
        DType::BF16 => values.par_iter_mut().for_each(|value| *value = bf16::from_f32(*value).to_f32()),
        DType::F16 => values.par_iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32()),
        _ => {}
    }
}

/// [rows, columns] as [columns, rows].
pub(crate) fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    (0..values.len()).map(|place| values[place % rows * columns + place / rows]).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_sum_is_rounded_once() {
        // 1 + 3 * 2^-9 lies between two neighbours in bf16; the product alone would round to 2^-7 or to 0 beside 1.
        let update = Update { a: vec![0.011_718_75], b: vec![1.0], scale: 0.5, magnitude: None };
        let weight = Tensor::<2>::from_data(TensorData::new(vec![bf16::ONE], [1, 1]), (&Device::flex(), DType::BF16));
        let mut values = host(weight.clone());
        update.add_to(&mut values, 1);
        assert_eq!(values, [1.005_859_4]);
        assert_eq!(host(like(&weight, values)), [1.007_812_5]);
        let mut tie = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0];
        round_to(&mut tie, DType::BF16);
        assert_eq!(tie, [1.0, 1.015_625], "ties go to even");
        assert!(equals(&weight, &[1.0]) && !equals(&weight, &[1.007_812_5]));
    }

    #[test]
    fn rows_are_rescaled_to_their_magnitude() {
        let update = Update { a: vec![1.0, 0.0], b: vec![3.0, 0.0], scale: 1.0, magnitude: Some(vec![10.0, 1.0]) };
        let mut weight = [0.0, 4.0, 0.0, 2.0];
        update.add_to(&mut weight, 2);
        assert_eq!(weight, [6.0, 8.0, 0.0, 1.0]);
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
