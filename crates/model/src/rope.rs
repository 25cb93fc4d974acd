//! Angles of the rotary position encoding (Su et al. 2021), as transformers computes them: in f32.

use burn::tensor::{DType, Device};
use medley_ops::Rotation;

use crate::config::{DecoderConfig, PositionEncoding, Rope, RopeScaling};

/// A token's place: its position, and the length of its sample up to the last token that is known.
pub(crate) struct Placed {
    pub(crate) position: usize,
    pub(crate) length: usize,
}

/// Rotations of some tokens.
#[derive(Clone, Debug)]
pub(crate) struct Rotations {
    /// In layers without a window, and in all where there is no other.
    pub(crate) full: Rotation,
    /// In layers with a window.
    pub(crate) windowed: Option<Rotation>,
}

impl Rotations {
    pub(crate) fn new(
        config: &DecoderConfig,
        tokens: impl Iterator<Item = Placed> + Clone,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let PositionEncoding::Rope(rope) = config.position;
        let rotation = |rope: Rope| {
            let angles = rope.angles(tokens.clone(), config.head_dim);
            Rotation::new(&angles, config.head_dim / 2, rope.amplitude(), device, dtype)
        };
        Self { full: rotation(rope), windowed: config.window_rope.map(rotation) }
    }
}

impl Rope {
    /// Angles in radians, [tokens, head_dim / 2], row-major.
    fn angles(&self, tokens: impl Iterator<Item = Placed>, head_dim: usize) -> Vec<f32> {
        let mut angles = Vec::new();
        let (mut frequencies, mut length) = (self.inverse_frequencies(head_dim, 0), 0);
        for token in tokens {
            if matches!(self.scaling, RopeScaling::Dynamic { .. }) && token.length != length {
                length = token.length;
                frequencies = self.inverse_frequencies(head_dim, length);
            }
            angles.extend(frequencies.iter().map(|frequency| token.position as f32 * frequency));
        }
        angles
    }

    /// Factor of cosines and sines.
    fn amplitude(&self) -> f32 {
        match self.scaling {
            RopeScaling::Yarn { attention_factor, .. } => attention_factor as f32,
            _ => 1.0,
        }
    }

    /// Inverse frequencies of a head's pairs, unscaled `theta^(-2i / head_dim)`, in a sample of `length` tokens.
    pub(crate) fn inverse_frequencies(&self, head_dim: usize, length: usize) -> Vec<f32> {
        let theta = self.theta as f32;
        match self.scaling {
            RopeScaling::Default => unscaled(theta, head_dim).collect(),
            RopeScaling::Linear { factor } => unscaled(theta, head_dim).map(|f| f / factor as f32).collect(),
            RopeScaling::Dynamic { factor, trained } if length > trained => {
                let stretch = factor as f32 * length as f32 / trained as f32 - (factor - 1.0) as f32;
                let exponent = head_dim as f64 / (head_dim as f64 - 2.0);
                unscaled(theta * stretch.powf(exponent as f32), head_dim).collect()
            }
            RopeScaling::Dynamic { .. } => unscaled(theta, head_dim).collect(),
            RopeScaling::Llama3 { factor, low, high, trained } => {
                let [factor, low, high, trained] = [factor, low, high, trained as f64].map(|value| value as f32);
                unscaled(theta, head_dim).map(|f| llama3(f, [factor, low, high, trained])).collect()
            }
            RopeScaling::Yarn { factor, ramp: [first, last], .. } => {
                let frequencies = unscaled(theta, head_dim).zip(powers(theta, head_dim)).enumerate();
                let interpolated = |(i, (extrapolated, power)): (usize, (f32, f32))| {
                    // The ramp's width is never 0: transformers widens it by a thousandth.
                    let width = if first == last { 0.001 } else { last - first };
                    let kept = 1.0 - ((i as f32 - first as f32) / width as f32).clamp(0.0, 1.0);
                    1.0 / (factor as f32 * power) * (1.0 - kept) + extrapolated * kept
                };
                frequencies.map(interpolated).collect()
            }
        }
    }
}

fn powers(theta: f32, head_dim: usize) -> impl Iterator<Item = f32> {
    (0..head_dim / 2).map(move |i| theta.powf((2 * i) as f32 / head_dim as f32))
}

fn unscaled(theta: f32, head_dim: usize) -> impl Iterator<Item = f32> {
    powers(theta, head_dim).map(|power| 1.0 / power)
}

/// One frequency of Llama 3.1.
fn llama3(frequency: f32, [factor, low, high, trained]: [f32; 4]) -> f32 {
    let wavelength = std::f32::consts::TAU / frequency;
    if wavelength > trained / low {
        frequency / factor
    } else if wavelength < trained / high {
        frequency
    } else {
        let smooth = (trained / wavelength - low) / (high - low);
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}
