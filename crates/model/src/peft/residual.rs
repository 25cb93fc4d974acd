//! Residual weights of PiSSA and OLoRA: the base weight minus its projection onto a low-dimensional subspace.
//!
//! The file has the factors after training, so the initial ones, which were subtracted from the base weight, are computed again.
//! Both subtractions are projections and independent of the signs of singular vectors and of Q's columns.

use rayon::prelude::*;

/// Up to this dimension the Lanczos iteration spans the whole space instead of stopping at convergence.
const SMALL: usize = 256;
/// Lanczos steps between convergence tests.
const STEPS: usize = 16;
/// Error of the principal subspace (residual over spectral gap) at which the iteration stops.
const TOLERANCE: f64 = 1e-9;
/// Rows per task; constant, so that the order of summation does not depend on the number of threads.
const ROWS: usize = 64;

/// A row-major matrix in f32, multiplied in f64.
struct Matrix<'a> {
    values: &'a [f32],
    columns: usize,
}

impl Matrix<'_> {
    fn times(&self, vector: &[f64]) -> Vec<f64> {
        let row = |row: &[f32]| row.iter().zip(vector).map(|(&a, b)| f64::from(a) * b).sum();
        self.values.par_chunks_exact(self.columns).map(row).collect()
    }

    fn transposed_times(&self, vector: &[f64]) -> Vec<f64> {
        let parts: Vec<Vec<f64>> = self
            .values
            .par_chunks(self.columns * ROWS)
            .zip(vector.par_chunks(ROWS))
            .map(|(rows, factors)| {
                let mut sum = vec![0.0; self.columns];
                for (row, factor) in rows.chunks_exact(self.columns).zip(factors) {
                    sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += factor * f64::from(value));
                }
                sum
            })
            .collect();
        let mut total = vec![0.0; self.columns];
        for part in parts {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
        total
    }
}

/// PiSSA's residual: subtracts the best approximation of rank `rank` from a `[rows, columns]` weight.
pub(super) fn subtract_principal(weight: &mut [f32], [rows, columns]: [usize; 2], rank: usize) {
    let matrix = Matrix { values: weight, columns };
    if columns <= rows {
        let basis = principal_vectors(columns, rank, |x| matrix.transposed_times(&matrix.times(x)));
        subtract_along_rows(weight, columns, &basis);
    } else {
        let basis = principal_vectors(rows, rank, |x| matrix.times(&matrix.transposed_times(x)));
        subtract_along_columns(weight, columns, &basis, 1.0);
    }
}

/// OLoRA's residual: subtracts `scale * Q[:, :rank] R[:rank, :]` of the weight's QR decomposition, the scaled projection onto
/// the span of its first `rank` columns.
///
/// # Errors
/// When those columns are linearly dependent, so that Q is not unique.
pub(super) fn subtract_first_columns(
    weight: &mut [f32],
    [rows, columns]: [usize; 2],
    rank: usize,
    scale: f64,
) -> Result<(), &'static str> {
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(rank);
    for column in 0..rank.min(columns).min(rows) {
        let mut vector: Vec<f64> = (0..rows).map(|row| f64::from(weight[row * columns + column])).collect();
        let before = norm(&vector);
        orthogonalise(&mut vector, &basis);
        let length = norm(&vector);
        if length <= 1e-7 * before || length == 0.0 {
            return Err("its first columns are linearly dependent, so its QR decomposition is not unique");
        }
        vector.iter_mut().for_each(|value| *value /= length);
        basis.push(vector);
    }
    subtract_along_columns(weight, columns, &basis, scale);
    Ok(())
}

/// `W -= W V V^T` for the columns of V.
fn subtract_along_rows(weight: &mut [f32], columns: usize, basis: &[Vec<f64>]) {
    weight.par_chunks_exact_mut(columns).for_each(|row| {
        let mut rest: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
        for vector in basis {
            let share: f64 = row.iter().zip(vector).map(|(&a, b)| f64::from(a) * b).sum();
            rest.iter_mut().zip(vector).for_each(|(rest, value)| *rest -= share * value);
        }
        row.iter_mut().zip(rest).for_each(|(value, rest)| *value = rest as f32);
    });
}

/// `W -= scale * U U^T W` for the columns of U.
fn subtract_along_columns(weight: &mut [f32], columns: usize, basis: &[Vec<f64>], scale: f64) {
    let matrix = Matrix { values: weight, columns };
    let shares: Vec<Vec<f64>> = basis.iter().map(|vector| matrix.transposed_times(vector)).collect();
    weight.par_chunks_exact_mut(columns).enumerate().for_each(|(number, row)| {
        let mut rest: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
        for (vector, share) in basis.iter().zip(&shares) {
            rest.iter_mut().zip(share).for_each(|(rest, value)| *rest -= scale * vector[number] * value);
        }
        row.iter_mut().zip(rest).for_each(|(value, rest)| *value = rest as f32);
    });
}

/// Eigenvectors of the `rank` largest eigenvalues of a positive semidefinite operator on `size` dimensions, by the Lanczos
/// iteration with full reorthogonalisation (Golub and Van Loan, section 10.3).
fn principal_vectors(size: usize, rank: usize, apply: impl Fn(&[f64]) -> Vec<f64>) -> Vec<Vec<f64>> {
    let rank = rank.min(size);
    let mut basis = vec![direction(size, 0, &[])];
    let (mut diagonal, mut below) = (Vec::new(), Vec::new());
    loop {
        let steps = basis.len();
        let mut next = apply(&basis[steps - 1]);
        diagonal.push(next.iter().zip(&basis[steps - 1]).map(|(a, b)| a * b).sum::<f64>());
        orthogonalise(&mut next, &basis);
        let length = norm(&next);
        let largest = diagonal.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        let broken = length <= 1e-14 * largest || largest == 0.0;
        if steps == size || (size > SMALL && steps % STEPS == 0 && steps > rank && !broken) {
            let (values, vectors) = tridiagonal_eigen(diagonal.clone(), &below);
            if steps == size || converged(&values, &vectors, rank, length) {
                return vectors.iter().take(rank).map(|weights| combine(&basis, weights)).collect();
            }
        }
        // Breakdown: the basis spans an invariant subspace, and the iteration restarts with a direction orthogonal to it.
        below.push(if broken { 0.0 } else { length });
        basis.push(match broken {
            true => direction(size, steps as u64, &basis),
            false => next.into_iter().map(|value| value / length).collect(),
        });
    }
}

/// Whether the leading eigenvectors have converged: their residuals are small relative to the spectral gap after them.
fn converged(values: &[f64], vectors: &[Vec<f64>], rank: usize, length: f64) -> bool {
    let residual = vectors.iter().take(rank).map(|weights| length * weights[weights.len() - 1].abs());
    let residual = residual.fold(0.0f64, f64::max);
    residual <= TOLERANCE * (values[rank - 1] - values[rank]) || residual <= 1e-15 * values[0]
}

fn combine(basis: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; basis[0].len()];
    for (vector, weight) in basis.iter().zip(weights) {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += weight * value);
    }
    sum
}

/// A pseudorandom unit vector orthogonal to the basis.
fn direction(size: usize, key: u64, basis: &[Vec<f64>]) -> Vec<f64> {
    let mut state = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut vector: Vec<f64> = (0..size)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        })
        .collect();
    orthogonalise(&mut vector, basis);
    let length = norm(&vector);
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

/// Gram-Schmidt orthogonalisation against the basis, run twice ("twice is enough", Kahan).
fn orthogonalise(vector: &mut [f64], basis: &[Vec<f64>]) {
    for _ in 0..2 {
        for other in basis {
            let share: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
            vector.iter_mut().zip(other).for_each(|(value, other)| *value -= share * other);
        }
    }
}

fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// Eigenvalues, largest first, and eigenvectors of a symmetric tridiagonal matrix by implicit QL (`tql2` of EISPACK).
fn tridiagonal_eigen(mut d: Vec<f64>, below: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = d.len();
    let mut e = below.to_vec();
    e.resize(n, 0.0);
    let mut vectors: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    let (mut shift, mut scale) = (0.0, 0.0f64);
    for l in 0..n {
        scale = scale.max(d[l].abs() + e[l].abs());
        let small = |value: f64| value.abs() <= f64::EPSILON * scale;
        let m = (l..n).find(|&m| small(e[m])).unwrap_or(n - 1);
        while m > l && !small(e[l]) {
            let g = d[l];
            let p = (d[l + 1] - g) / (2.0 * e[l]);
            let r = p.hypot(1.0).copysign(p);
            d[l] = e[l] / (p + r);
            d[l + 1] = e[l] * (p + r);
            let (next, h) = (d[l + 1], g - d[l]);
            d[l + 2..].iter_mut().for_each(|value| *value -= h);
            shift += h;
            sweep(&mut d, &mut e, &mut vectors, [l, m], next);
        }
        d[l] += shift;
        e[l] = 0.0;
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| d[b].total_cmp(&d[a]));
    (order.iter().map(|&i| d[i]).collect(), order.iter().map(|&i| std::mem::take(&mut vectors[i])).collect())
}

/// One implicit QL sweep from row `m` up to row `l`.
fn sweep(d: &mut [f64], e: &mut [f64], vectors: &mut [Vec<f64>], [l, m]: [usize; 2], next: f64) {
    let (mut c, mut c2, mut c3, mut s, mut s2) = (1.0, 1.0, 1.0, 0.0, 0.0);
    let (mut p, above) = (d[m], e[l + 1]);
    for i in (l..m).rev() {
        (c3, c2, s2) = (c2, c, s);
        let (g, h, r) = (c * e[i], c * p, p.hypot(e[i]));
        e[i + 1] = s * r;
        (s, c) = (e[i] / r, p / r);
        p = c * d[i] - s * g;
        d[i + 1] = h + s * (c * g + s * d[i]);
        let (left, right) = vectors.split_at_mut(i + 1);
        for (one, other) in left[i].iter_mut().zip(&mut right[0]) {
            (*other, *one) = (s * *one + c * *other, c * *one - s * *other);
        }
    }
    p = -s * s2 * c3 * above * e[l] / next;
    e[l] = s * p;
    d[l] = c * p;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `U diag(values) V^T`; the columns of U and V are the first columns of one Householder reflection each.
    fn with_singular_values(values: &[f64], rows: usize, columns: usize) -> Vec<f32> {
        let reflection = |size: usize, key| {
            let v = direction(size, key, &[]);
            move |i: usize, j: usize| f64::from(u8::from(i == j)) - 2.0 * v[i] * v[j]
        };
        let (u, v) = (reflection(rows, 1), reflection(columns, 2));
        let element = |i, j| values.iter().enumerate().map(|(k, s)| u(i, k) * s * v(j, k)).sum::<f64>() as f32;
        (0..rows * columns).map(|place| element(place / columns, place % columns)).collect()
    }

    #[test]
    fn pissa_residual_has_the_remaining_singular_values() {
        for (rows, columns, rank) in [(24, 40, 3), (40, 24, 3), (300, 320, 5), (320, 300, 5), (7, 9, 7), (600, 300, 1)]
        {
            let size = rows.min(columns);
            // A dominant singular value, and equal ones on both sides of the cut.
            let mut values: Vec<f64> = (0..size).map(|k| 1.0 / (1.0 + k as f64).sqrt()).collect();
            values[0] = 20.0;
            if rank > 2 {
                values[2] = values[1];
            }
            let mut weight = with_singular_values(&values, rows, columns);
            values[..rank].fill(0.0);
            let expected = with_singular_values(&values, rows, columns);
            subtract_principal(&mut weight, [rows, columns], rank);
            let worst = weight.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
            assert!(worst < 2e-6, "{rows}x{columns} less rank {rank}: off by {worst:e}");
        }
    }

    #[test]
    fn residuals_of_low_rank_and_zero_weights_are_zero() {
        let mut weight = with_singular_values(&[2.0, 1.0], 30, 20);
        subtract_principal(&mut weight, [30, 20], 4);
        assert!(weight.iter().all(|value| value.abs() < 1e-6));
        let mut weight = vec![0.0; 600];
        subtract_principal(&mut weight, [30, 20], 4);
        assert!(weight.iter().all(|&value| value == 0.0));
    }

    #[test]
    fn olora_residual_has_no_component_along_the_first_columns() {
        let mut weight = with_singular_values(&[3.0, 2.0, 1.0, 0.5], 6, 5);
        subtract_first_columns(&mut weight, [6, 5], 2, 1.0).expect("independent");
        for row in weight.chunks(5) {
            assert!(row[0].abs() < 1e-6 && row[1].abs() < 1e-6, "the first columns are in their own span");
        }
        assert!(weight.iter().any(|value| value.abs() > 0.1));
        let mut twice = [3.0, 1.0, 0.0, 2.0];
        subtract_first_columns(&mut twice, [2, 2], 1, 2.0).expect("one column");
        assert_eq!(twice, [-3.0, -1.0, 0.0, 2.0], "the projection is scaled");
        assert!(subtract_first_columns(&mut [1.0, 1.0, 2.0, 2.0], [2, 2], 2, 1.0).is_err());
    }
}
