//! Raw access to the CPU backend's tensors.

use std::mem::MaybeUninit;

use burn::backend::flex::FlexTensor;
use burn::backend::{DispatchDevice, Shape, TensorData};
use burn::tensor::{DType, Device};

/// Whether `device` is the CPU backend (with or without autodiff).
pub fn is_flex(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Flex(_))
}

/// The f32 elements of a tensor in row-major order; copies only what is not contiguous.
pub(crate) struct Contiguous(FlexTensor);

impl Contiguous {
    pub(crate) fn new(tensor: FlexTensor) -> Self {
        assert_eq!(tensor.dtype(), DType::F32, "the CPU kernels compute in f32");
        if tensor.layout().contiguous_offsets().is_some() { Self(tensor) } else { Self(tensor.to_contiguous()) }
    }

    pub(crate) fn slice(&self) -> &[f32] {
        self.0.as_slice::<f32>().expect("made contiguous f32 when constructed")
    }
}

/// Rows and columns of a matrix.
pub(crate) fn dims(tensor: &FlexTensor) -> [usize; 2] {
    [tensor.layout().shape()[0], tensor.layout().shape()[1]]
}

/// A new tensor that owns `values`.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

/// Room for `len` elements: zeroing what a kernel overwrites would cost a pass over memory.
pub(crate) fn uninit(len: usize) -> Vec<MaybeUninit<f32>> {
    let mut values = Vec::with_capacity(len);
    // SAFETY: an element that may be uninitialised needs no initialisation.
    unsafe { values.set_len(len) };
    values
}

/// The elements, now that they are written.
///
/// # Safety
/// Every element must have been written.
pub(crate) unsafe fn init(values: Vec<MaybeUninit<f32>>) -> Vec<f32> {
    let mut values = std::mem::ManuallyDrop::new(values);
    let (start, len, capacity) = (values.as_mut_ptr().cast::<f32>(), values.len(), values.capacity());
    // SAFETY: the vector's own parts, in a layout that `MaybeUninit` shares with its content; written, as the caller says.
    unsafe { Vec::from_raw_parts(start, len, capacity) }
}
