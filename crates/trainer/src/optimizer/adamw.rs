//! AdamW as torch defines it (`torch.optim.AdamW`, single tensor): decoupled decay, bias correction, epsilon added to the root
//! of the corrected second moment.

use burn::Tensor;
use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

/// One step's numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update {
    pub(super) lr: f64,
    pub(super) beta1: f64,
    pub(super) beta2: f64,
    pub(super) epsilon: f64,
    pub(super) weight_decay: f64,
    /// 1-based.
    pub(super) step: usize,
    /// What the gradient is multiplied by.
    pub(super) clip: f64,
}

/// Elements that one thread updates at a time.
const CHUNK: usize = 1 << 16;

impl Update {
    /// Updates weight and moments in the host's memory, in place where nobody else holds them.
    pub(super) fn on_host(
        &self,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        [first, second]: [Tensor<1>; 2],
    ) -> (Tensor<1>, [Tensor<1>; 2]) {
        let device = weight.device();
        let gradient = gradient.into_data();
        let mut data = [weight, first, second].map(Tensor::into_data);
        let [weight, first, second] = data.each_mut().map(|data| floats_mut(data).par_chunks_mut(CHUNK));
        let gradient = gradient.as_slice::<f32>().expect("gradients are cast to f32");
        let parts = weight.zip(gradient.par_chunks(CHUNK)).zip(first.zip(second));
        parts.for_each(|((weight, gradient), (first, second))| self.on_slice(weight, gradient, first, second));
        let [weight, first, second] = data.map(|data| Tensor::from_data(data, (&device, DType::F32)));
        (weight, [first, second])
    }

    fn on_slice(&self, weight: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let Factors { keep, step_size, root_correction } = self.factors();
        let (keep, step_size, root_correction) = (keep as f32, step_size as f32, root_correction as f32);
        let (rest1, beta2, rest2) = ((1.0 - self.beta1) as f32, self.beta2 as f32, (1.0 - self.beta2) as f32);
        let (epsilon, clip) = (self.epsilon as f32, self.clip as f32);
        for (((weight, &gradient), first), second) in weight.iter_mut().zip(gradient).zip(first).zip(second) {
            let gradient = gradient * clip;
            *first += rest1 * (gradient - *first);
            *second = *second * beta2 + rest2 * gradient * gradient;
            let denominator = second.sqrt() / root_correction + epsilon;
            *weight = *weight * keep - step_size * (*first / denominator);
        }
    }

    /// The same on any device.
    pub(super) fn on_device(
        &self,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        [first, second]: [Tensor<1>; 2],
    ) -> (Tensor<1>, [Tensor<1>; 2]) {
        let Factors { keep, step_size, root_correction } = self.factors();
        let gradient = gradient * self.clip;
        let first = first.clone() + (gradient.clone() - first) * (1.0 - self.beta1);
        let second = second * self.beta2 + gradient.clone() * gradient * (1.0 - self.beta2);
        let denominator = second.clone().sqrt() / root_correction + self.epsilon;
        (weight * keep - first.clone() / denominator * step_size, [first, second])
    }

    fn factors(&self) -> Factors {
        let step = self.step as i32;
        Factors {
            keep: 1.0 - self.lr * self.weight_decay,
            step_size: self.lr / (1.0 - self.beta1.powi(step)),
            root_correction: (1.0 - self.beta2.powi(step)).sqrt(),
        }
    }
}

/// What the weight is multiplied by, the corrected learning rate, and the root of the second moment's correction.
struct Factors {
    keep: f64,
    step_size: f64,
    root_correction: f64,
}

fn floats_mut(data: &mut TensorData) -> &mut [f32] {
    data.as_mut_slice::<f32>().expect("weights and moments are f32 here")
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    const UPDATE: Update =
        Update { lr: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1, step: 1, clip: 0.5 };

    fn tensor(values: &[f32]) -> Tensor<1> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &Device::flex())
    }

    fn three_steps(on_host: bool) -> Vec<f32> {
        let (mut weight, mut moments) = (tensor(&[1.0, -2.0, 0.5]), [tensor(&[0.0; 3]), tensor(&[0.0; 3])]);
        for (at, gradient) in [[0.2, -0.4, 1.0], [0.4, 0.4, -1.0], [-0.6, 0.0, 3.0]].iter().enumerate() {
            let update = Update { step: at + 1, ..UPDATE };
            let step = if on_host { Update::on_host } else { Update::on_device };
            (weight, moments) = step(&update, weight, tensor(gradient), moments);
        }
        weight.into_data().try_to_vec::<f32>().expect("f32")
    }

    #[test]
    fn both_ways_follow_torch() {
        let torch = TORCH;
        for on_host in [true, false] {
            let ours = three_steps(on_host);
            for (ours, torch) in ours.iter().zip(torch) {
                assert!((ours - torch).abs() <= 2e-6 * torch.abs(), "{ours} is not {torch} (on host: {on_host})");
            }
        }
    }

    /// `torch.optim.AdamW` with these numbers and halved gradients.
    const TORCH: [f32; 3] = [0.783_508_2, -1.851_876_3, 0.336_476_77];
}
