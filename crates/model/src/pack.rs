//! The samples of a micro-batch, one after the other, without padding.

use std::sync::Arc;

use burn::tensor::{DType, Device};
use medley_ops::Rotation;

use crate::config::DecoderConfig;
use crate::rope::{Placed, Rotations};

/// What a decoder layer has to know about packed tokens beside their hidden states [tokens, hidden].
#[derive(Clone, Debug)]
pub struct Pack {
    /// Borders of the samples, from 0 to the number of tokens.
    pub cu_seqlens: Arc<[usize]>,
    pub(crate) rotations: Rotations,
    /// One hash per token of seed, step, sample and position; absent where nothing drops out.
    pub(crate) dropout: Option<Arc<[u64]>>,
}

/// What LoRA dropout depends on besides the token's position, the layer, the module and the feature.
#[derive(Clone, Debug)]
pub struct DropoutContext<'a> {
    /// Seed of the training.
    pub seed: u64,
    /// Optimizer step.
    pub step: u64,
    /// An identity of each sample of the pack that does not depend on how the step is cut (its key, or its place in
    /// the order of training).
    pub samples: &'a [u64],
}

impl Pack {
    /// Packs samples of the given lengths; positions start at 0 in each. `device` and `dtype` are the hidden states'.
    pub fn new(config: &DecoderConfig, lengths: &[usize], device: &Device, dtype: DType) -> Self {
        let mut cu_seqlens = vec![0];
        for length in lengths {
            cu_seqlens.push(cu_seqlens[cu_seqlens.len() - 1] + length);
        }
        let tokens = lengths.iter().flat_map(|&length| (0..length).map(move |position| Placed { position, length }));
        Self { rotations: Rotations::new(config, tokens, device, dtype), cu_seqlens: cu_seqlens.into(), dropout: None }
    }

    /// Switches LoRA dropout on: without this call adapters see their input whole, as in validation.
    ///
    /// # Panics
    /// When there is not one identity per sample.
    #[must_use]
    pub fn with_dropout(mut self, context: &DropoutContext<'_>) -> Self {
        let borders = self.cu_seqlens.windows(2);
        assert_eq!(borders.len(), context.samples.len(), "one identity per sample");
        let start = mix(mix(context.seed) ^ context.step);
        let keys = borders.zip(context.samples).flat_map(|(borders, &sample)| {
            let sample = mix(start ^ sample);
            (0..(borders[1] - borders[0]) as u64).map(move |position| mix(sample ^ position))
        });
        self.dropout = Some(keys.collect());
        self
    }

    /// Rotation of the tokens in layers with a window, or without.
    pub(crate) fn rotation(&self, windowed: bool) -> &Rotation {
        match &self.rotations.windowed {
            Some(rotation) if windowed => rotation,
            _ => &self.rotations.full,
        }
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.cu_seqlens[self.cu_seqlens.len() - 1]
    }

    /// Keys of the tokens for one module of one layer.
    pub(crate) fn dropout_keys(&self, layer: usize, module: u64) -> Option<Arc<[u64]>> {
        let place = mix((layer as u64) << 8 | module);
        self.dropout.as_ref().map(|keys| keys.iter().map(|key| mix(key ^ place)).collect())
    }
}

/// SplitMix64's output function (Steele, Lea and Flood 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
