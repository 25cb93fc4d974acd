//! Weights by their Hugging Face name.

use burn::Tensor;
use burn::tensor::{DType, Device, Gradients, TensorData};

/// A weight or its gradient: a bias or norm, or a matrix [out, in].
#[derive(Clone, Debug)]
pub enum Parameter {
    /// A bias or the scale of a norm.
    Vector(Tensor<1>),
    /// A projection [out, in], an embedding or a head [vocabulary, hidden].
    Matrix(Tensor<2>),
}

macro_rules! each {
    ($self:expr, $tensor:ident => $body:expr) => {
        match $self {
            Parameter::Vector($tensor) => $body,
            Parameter::Matrix($tensor) => $body,
        }
    };
}

impl Parameter {
    /// Sizes of its dimensions.
    pub fn shape(&self) -> Vec<usize> {
        each!(self, tensor => tensor.dims().to_vec())
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape().iter().product()
    }

    /// Number format.
    pub fn dtype(&self) -> DType {
        each!(self, tensor => tensor.dtype())
    }

    /// Where it lives.
    pub fn device(&self) -> Device {
        each!(self, tensor => tensor.device())
    }

    /// Copy of the elements on the host.
    pub fn into_data(self) -> TensorData {
        each!(self, tensor => tensor.into_data())
    }

    /// From elements on the host, in the given format.
    ///
    /// # Panics
    /// When the data is neither of one nor of two dimensions.
    pub fn from_data(data: TensorData, device: &Device, dtype: DType) -> Self {
        let options = (device, dtype);
        match data.shape().len() {
            1 => Self::Vector(Tensor::from_data(data, options)),
            2 => Self::Matrix(Tensor::from_data(data, options)),
            dimensions => panic!("a weight has one or two dimensions, not {dimensions}"),
        }
    }

    /// As one row of elements.
    pub fn flatten(self) -> Tensor<1> {
        let elements = self.elements();
        each!(self, tensor => tensor.reshape([elements]))
    }

    /// A flat tensor in the shape of `self`.
    pub fn like(&self, flat: Tensor<1>) -> Self {
        match self {
            Self::Vector(_) => Self::Vector(flat),
            Self::Matrix(matrix) => Self::Matrix(flat.reshape(matrix.dims())),
        }
    }

    /// `self * factor`.
    pub fn scale(self, factor: f64) -> Self {
        match self {
            Self::Vector(tensor) => Self::Vector(tensor * factor),
            Self::Matrix(tensor) => Self::Matrix(tensor * factor),
        }
    }

    /// In another number format.
    pub fn cast(self, dtype: DType) -> Self {
        match self {
            Self::Vector(tensor) => Self::Vector(tensor.cast(dtype)),
            Self::Matrix(tensor) => Self::Matrix(tensor.cast(dtype)),
        }
    }

    /// A leaf of a new graph.
    pub fn require_grad(self) -> Self {
        match self {
            Self::Vector(tensor) => Self::Vector(tensor.without_autodiff().autodiff().require_grad()),
            Self::Matrix(tensor) => Self::Matrix(tensor.without_autodiff().autodiff().require_grad()),
        }
    }

    /// The leaf's gradient, taken out.
    pub fn gradient(&self, gradients: &mut Gradients) -> Option<Self> {
        match self {
            Self::Vector(tensor) => tensor.grad_remove(gradients).map(Self::Vector),
            Self::Matrix(tensor) => tensor.grad_remove(gradients).map(Self::Matrix),
        }
    }
}

impl std::ops::Add for Parameter {
    type Output = Self;

    /// Elementwise, for equal shapes.
    ///
    /// # Panics
    /// When one is a vector and the other a matrix.
    fn add(self, other: Self) -> Self {
        match (self, other) {
            (Self::Vector(left), Self::Vector(right)) => Self::Vector(left + right),
            (Self::Matrix(left), Self::Matrix(right)) => Self::Matrix(left + right),
            _ => panic!("a vector cannot be added to a matrix"),
        }
    }
}

/// The place of a weight inside a model.
pub struct Slot<'a> {
    /// Hugging Face name, `model.layers.0.self_attn.q_proj.weight`; an adapter's factors end in `lora_A.weight` and
    /// `lora_B.weight` (PEFT's names without `base_model.model.`).
    pub name: String,
    /// Whether it belongs to a LoRA adapter.
    pub adapter: bool,
    pub(crate) value: Place<'a>,
}

pub(crate) enum Place<'a> {
    Vector(&'a mut Tensor<1>),
    Matrix(&'a mut Tensor<2>),
}

impl Slot<'_> {
    /// The weight (a cheap handle).
    pub fn get(&self) -> Parameter {
        match &self.value {
            Place::Vector(tensor) => Parameter::Vector((*tensor).clone()),
            Place::Matrix(tensor) => Parameter::Matrix((*tensor).clone()),
        }
    }

    /// Puts another weight of the same shape in its place.
    ///
    /// # Panics
    /// When the shapes differ.
    pub fn set(&mut self, parameter: Parameter) {
        assert_eq!(self.get().shape(), parameter.shape(), "the shape of {} changed", self.name);
        match (&mut self.value, parameter) {
            (Place::Vector(place), Parameter::Vector(tensor)) => **place = tensor,
            (Place::Matrix(place), Parameter::Matrix(tensor)) => **place = tensor,
            _ => unreachable!("equal shapes have equal dimensions"),
        }
    }
}

/// Collects slots under a growing name.
pub(crate) struct Slots<'a> {
    pub(crate) slots: Vec<Slot<'a>>,
}

impl<'a> Slots<'a> {
    pub(crate) fn vector(&mut self, name: String, tensor: &'a mut Tensor<1>) {
        self.slots.push(Slot { name, adapter: false, value: Place::Vector(tensor) });
    }

    pub(crate) fn matrix(&mut self, name: String, adapter: bool, tensor: &'a mut Tensor<2>) {
        self.slots.push(Slot { name, adapter, value: Place::Matrix(tensor) });
    }
}
