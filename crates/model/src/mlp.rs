//! The gated feed-forward layer.

use burn::Tensor;
use medley_ops::{Activation, gated};

use crate::pack::Pack;
use crate::parameter::Slots;
use crate::projection::{Module, Projection};

/// `down(activation(gate(x)) * up(x))`.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// [intermediate, hidden].
    pub gate_proj: Projection,
    /// [intermediate, hidden].
    pub up_proj: Projection,
    /// [hidden, intermediate].
    pub down_proj: Projection,
    /// Of the gate.
    pub activation: Activation,
}

impl Mlp {
    /// # Shapes
    /// - `hidden`, output: [tokens, hidden]
    pub fn forward(&self, hidden: Tensor<2>, pack: &Pack, layer: usize) -> Tensor<2> {
        let gate = self.gate_proj.forward(hidden.clone(), pack, layer, Module::GateProj);
        let up = self.up_proj.forward(hidden, pack, layer, Module::UpProj);
        self.down_proj.forward(gated(gate, up, self.activation), pack, layer, Module::DownProj)
    }

    pub(crate) fn slots<'a>(&'a mut self, name: &str, slots: &mut Slots<'a>) {
        self.gate_proj.slots(&format!("{name}.gate_proj"), slots);
        self.up_proj.slots(&format!("{name}.up_proj"), slots);
        self.down_proj.slots(&format!("{name}.down_proj"), slots);
    }
}
