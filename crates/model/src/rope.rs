//! Angles of the rotary position encoding (Su et al. 2021), as transformers computes them: in f32.

/// Inverse frequencies of a head's pairs: `theta^(-2i / head_dim)`.
pub(crate) fn inverse_frequencies(theta: f64, head_dim: usize) -> Vec<f32> {
    (0..head_dim / 2).map(|i| 1.0 / (theta as f32).powf((2 * i) as f32 / head_dim as f32)).collect()
}

/// Angles in radians, [positions, head_dim / 2], row-major.
pub(crate) fn angles(positions: impl Iterator<Item = usize>, theta: f64, head_dim: usize) -> Vec<f32> {
    let frequencies = inverse_frequencies(theta, head_dim);
    positions.flat_map(|position| frequencies.iter().map(move |frequency| position as f32 * frequency)).collect()
}
