//! Update rules: `adamw` for everything, or `muon` for the matrices inside the blocks and AdamW for the rest.
//!
//! All state is f32 and kept by parameter name. Where weights are of less precision, their master copy is f32 as well.

mod adamw;
mod muon;
mod state;

use std::collections::BTreeMap;

use burn::Tensor;
use burn::tensor::DType;
use medley_model::Decoder;
use medley_ops::is_flex;
use medley_recipe::{Optimizer as Rule, TrainSpec};

use crate::parameters::{ParameterInfo, TensorMap};

/// Muon works on matrices of one shape together, up to this many elements.
pub(crate) use muon::STACK_ELEMENTS;

/// AdamW's share of the learning rate where Muon has the matrices.
const REST_OF_MUON: f64 = 0.5;

/// How one parameter is updated.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Treatment {
    AdamW { decay: bool },
    Muon { rows: usize, columns: usize },
}

/// What an update rule remembers of a parameter, each `[elements]` in f32.
#[derive(Clone, Debug)]
struct ParameterState {
    /// First moment of AdamW, momentum of Muon.
    first: Tensor<1>,
    /// Second moment of AdamW.
    second: Option<Tensor<1>>,
    /// The weight itself, where the model's is of less precision.
    master: Option<Tensor<1>>,
}

/// An update rule with its state.
#[derive(Clone, Debug)]
pub struct Optimizer {
    settings: Settings,
    treatments: BTreeMap<String, Treatment>,
    states: BTreeMap<String, ParameterState>,
    /// Steps taken.
    step: usize,
}

/// The numbers of the rule.
#[derive(Clone, Copy, Debug)]
struct Settings {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
    /// AdamW's learning rate as a share of the step's.
    adamw_share: f64,
}

impl Optimizer {
    /// The recipe's rule for the trained `parameters`. Weight decay is on for matrices only, as in Hugging Face's Trainer: not
    /// for biases and the weights of norms.
    pub fn new(spec: &TrainSpec, parameters: &[ParameterInfo]) -> Self {
        let treatment = |info: &ParameterInfo| match (spec.optimizer, &info.shape[..]) {
            (Rule::Muon, &[rows, columns]) if info.name.contains(".layers.") => Treatment::Muon { rows, columns },
            (_, shape) => Treatment::AdamW { decay: shape.len() >= 2 },
        };
        Self {
            settings: Settings {
                beta1: spec.beta1,
                beta2: spec.beta2,
                epsilon: spec.epsilon,
                weight_decay: spec.weight_decay,
                adamw_share: if spec.optimizer == Rule::Muon { REST_OF_MUON } else { 1.0 },
            },
            treatments: parameters.iter().map(|info| (info.name.clone(), treatment(info))).collect(),
            states: BTreeMap::new(),
            step: 0,
        }
    }

    /// Takes one step with learning rate `lr`, every gradient multiplied by `clip` first.
    ///
    /// # Panics
    /// When a trained parameter has no gradient.
    pub fn step(&mut self, decoder: &mut Decoder, gradients: TensorMap, lr: f64, clip: f64) {
        self.assert_complete(|name| gradients.contains_key(name));
        self.begin_step();
        self.update(decoder, gradients, lr, clip);
    }

    /// Makes the state that the first step would make, so that its memory is there from the start.
    pub fn allocate(&mut self, decoder: &Decoder) {
        for (name, weight) in decoder.trainable() {
            let Some(&treatment) = self.treatments.get(&name) else { continue };
            let new = || ParameterState::new(&weight.flatten(), matches!(treatment, Treatment::AdamW { .. }));
            self.states.entry(name).or_insert_with(new);
        }
    }

    /// Counts a step; its gradients are then handed to [`update`](Self::update), all together or block by block.
    pub fn begin_step(&mut self) {
        self.step += 1;
    }

    /// # Panics
    /// When a trained parameter has no gradient: a defect of the backward pass that must not train on unseen.
    pub fn assert_complete(&self, has_gradient: impl Fn(&str) -> bool) {
        for name in self.treatments.keys() {
            assert!(has_gradient(name), "the backward pass gave {name} no gradient");
        }
    }

    /// Updates the parameters that have a gradient here.
    pub fn update(&mut self, decoder: &mut Decoder, mut gradients: TensorMap, lr: f64, clip: f64) {
        let mut directions = self.muon_directions(&mut gradients, clip);
        for mut slot in decoder.slots() {
            let Some(&treatment) = self.treatments.get(&slot.name) else { continue };
            let given = match treatment {
                Treatment::AdamW { .. } => gradients.remove(&slot.name),
                Treatment::Muon { .. } => directions.remove(&slot.name),
            };
            let Some(given) = given else { continue };
            let parameter = slot.get();
            let weight = parameter.clone().flatten();
            let updated = match treatment {
                Treatment::AdamW { decay } => self.adamw(&slot.name, weight, given, lr, clip, decay),
                Treatment::Muon { .. } => self.apply_direction(&slot.name, weight, given, lr),
            };
            slot.set(parameter.like(updated));
        }
    }

    fn adamw(
        &mut self,
        name: &str,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        lr: f64,
        clip: f64,
        decay: bool,
    ) -> Tensor<1> {
        let update = adamw::Update {
            lr: lr * self.settings.adamw_share,
            beta1: self.settings.beta1,
            beta2: self.settings.beta2,
            epsilon: self.settings.epsilon,
            weight_decay: if decay { self.settings.weight_decay } else { 0.0 },
            step: self.step,
            clip,
        };
        let state = self.states.remove(name).unwrap_or_else(|| ParameterState::new(&weight, true));
        let dtype = weight.dtype();
        let moments = [state.first, state.second.expect("AdamW keeps a second moment")];
        let gradient = gradient.cast(DType::F32);
        let current = state.master.unwrap_or(weight);
        let (weight, [first, second]) = if is_flex(&current.device()) {
            update.on_host(current, gradient, moments)
        } else {
            update.on_device(current, gradient, moments)
        };
        let (weight, master) = split_master(weight, dtype);
        self.states.insert(name.to_owned(), ParameterState { first, second: Some(second), master });
        weight
    }

    /// Advances the momentum of the Muon matrices that have a gradient here and orthogonalises the updates.
    fn muon_directions(&mut self, gradients: &mut TensorMap, clip: f64) -> TensorMap {
        let mut updates = Vec::new();
        for (name, treatment) in &self.treatments {
            let &Treatment::Muon { rows, columns } = treatment else { continue };
            let Some(gradient) = gradients.remove(name) else { continue };
            let gradient = gradient.cast(DType::F32) * clip;
            let state = self.states.remove(name).unwrap_or_else(|| ParameterState::new(&gradient, false));
            let (first, update) = muon::momentum(state.first, gradient);
            self.states.insert(name.clone(), ParameterState { first, second: None, master: state.master });
            updates.push((name.clone(), update.reshape([rows, columns])));
        }
        muon::orthogonalise(updates)
    }

    fn apply_direction(&mut self, name: &str, weight: Tensor<1>, direction: Tensor<1>, lr: f64) -> Tensor<1> {
        let dtype = weight.dtype();
        let state = self.states.get_mut(name).expect("its momentum was advanced just before");
        let current = state.master.take().unwrap_or_else(|| weight.cast(DType::F32));
        let updated = current * (1.0 - lr * self.settings.weight_decay) - direction * lr;
        let (weight, master) = split_master(updated, dtype);
        state.master = master;
        weight
    }
}

impl ParameterState {
    fn new(weight: &Tensor<1>, two_moments: bool) -> Self {
        let zeros = || Tensor::zeros(weight.shape(), (&weight.device(), DType::F32));
        Self {
            first: zeros(),
            second: two_moments.then(zeros),
            master: (weight.dtype() != DType::F32).then(|| weight.clone().cast(DType::F32)),
        }
    }
}

/// The weight in the model's precision, and the f32 one where that differs.
fn split_master(weight: Tensor<1>, dtype: DType) -> (Tensor<1>, Option<Tensor<1>>) {
    if dtype == DType::F32 { (weight, None) } else { (weight.clone().cast(dtype), Some(weight)) }
}
