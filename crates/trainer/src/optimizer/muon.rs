//! Muon (Keller Jordan, <https://github.com/KellerJordan/Muon>): momentum 0.95 with Nesterov, the update of a matrix replaced by
//! the nearest orthogonal one (five Newton-Schulz steps, here in f32), scaled by `sqrt(max(1, rows / columns))`.

use std::collections::BTreeMap;

use burn::Tensor;

use crate::parameters::TensorMap;

const MOMENTUM: f64 = 0.95;
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];
const STEPS: usize = 5;
/// Matrices of one shape are worked on together, up to this many elements.
pub(crate) const STACK_ELEMENTS: usize = 1 << 25;

/// The advanced momentum, and the update that looks ahead.
pub(super) fn momentum(momentum: Tensor<1>, gradient: Tensor<1>) -> (Tensor<1>, Tensor<1>) {
    let momentum = momentum.clone() + (gradient.clone() - momentum) * (1.0 - MOMENTUM);
    let update = gradient.clone() + (momentum.clone() - gradient) * MOMENTUM;
    (momentum, update)
}

/// Orthogonalises each update (`[out features, in features]`) and flattens it.
pub(super) fn orthogonalise(updates: Vec<(String, Tensor<2>)>) -> TensorMap {
    let mut by_shape: BTreeMap<[usize; 2], Vec<(String, Tensor<2>)>> = BTreeMap::new();
    for (path, update) in updates {
        by_shape.entry(update.dims()).or_default().push((path, update));
    }
    let mut directions = TensorMap::new();
    for ([rows, columns], group) in by_shape {
        let scale = (rows as f64 / columns as f64).max(1.0).sqrt();
        for part in group.chunks((STACK_ELEMENTS / (rows * columns)).max(1)) {
            let stack: Tensor<3> = Tensor::stack(part.iter().map(|(_, update)| update.clone()).collect(), 0);
            let flat: Tensor<2> = (newton_schulz(stack) * scale).reshape([part.len(), rows * columns]);
            for ((path, _), direction) in part.iter().zip(flat.chunk(part.len(), 0)) {
                directions.insert(path.clone(), direction.reshape([rows * columns]));
            }
        }
    }
    directions
}

/// Pulls every singular value of each matrix towards 1, `[matrices, rows, columns]`.
fn newton_schulz(stack: Tensor<3>) -> Tensor<3> {
    let [_, rows, columns] = stack.dims();
    let tall = rows > columns;
    let wide = if tall { stack.swap_dims(1, 2) } else { stack };
    let squares: Tensor<3> = (wide.clone() * wide.clone()).sum_dim(2).sum_dim(1);
    let mut x = wide / (squares.sqrt() + 1e-7);
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..STEPS {
        let gram = x.clone().matmul(x.clone().swap_dims(1, 2));
        let polynomial = gram.clone() * b + gram.clone().matmul(gram) * c;
        x = x.clone() * a + polynomial.matmul(x);
    }
    if tall { x.swap_dims(1, 2) } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    /// Fixed numbers that look random.
    fn matrix(rows: usize, columns: usize, seed: u32) -> Tensor<2> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let values: Vec<f32> = (0..rows * columns).map(|_| next()).collect();
        Tensor::from_data(TensorData::new(values, [rows, columns]), &Device::flex())
    }

    #[test]
    fn the_direction_is_nearly_orthogonal_and_scaled() {
        for (rows, columns) in [(24, 8), (8, 24), (16, 16)] {
            let directions =
                orthogonalise(vec![("w".into(), matrix(rows, columns, 1)), ("v".into(), matrix(rows, columns, 2))]);
            let direction = directions["w"].clone().reshape([rows, columns]);
            let scale = (rows as f32 / columns as f32).max(1.0);
            let gram = if rows > columns {
                direction.clone().transpose().matmul(direction)
            } else {
                direction.clone().matmul(direction.transpose())
            };
            let gram: Vec<f32> = gram.into_data().try_to_vec::<f32>().expect("f32");
            let size = rows.min(columns);
            for row in 0..size {
                let diagonal = gram[row * size + row] / scale;
                assert!((0.3..1.7).contains(&diagonal), "{rows}x{columns}: {diagonal}");
            }
        }
    }

    #[test]
    fn a_stack_gives_what_each_matrix_gives_alone() {
        let together = orthogonalise(vec![("w".into(), matrix(6, 4, 1)), ("v".into(), matrix(6, 4, 2))]);
        let alone = orthogonalise(vec![("v".into(), matrix(6, 4, 2))]);
        let values = |map: &TensorMap| map["v"].clone().into_data().try_to_vec::<f32>().expect("f32");
        assert_eq!(values(&together), values(&alone));
    }
}
