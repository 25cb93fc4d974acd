//! A frozen linear layer with a low-rank adapter (Hu et al. 2021), as one operation.

use std::sync::Arc;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::DType;

use crate::dropout::{DropoutBackend, add_dropped, keyed_dropout};
use crate::flex::{Contiguous, dims, is_flex, tensor};
use crate::linear::linear;
use crate::product::{View, product};

/// The adapter of [`adapted_linear`].
#[derive(Clone, Debug)]
pub struct LowRank {
    /// A, [rank, in].
    pub a: Tensor<2>,
    /// B, [out, rank].
    pub b: Tensor<2>,
    /// `alpha / rank`.
    pub scale: f64,
    /// One key per token and the probability with which an input feature of the adapter drops out.
    pub dropout: Option<(Arc<[u64]>, f32)>,
}

/// `x W^T + b + scale * (dropout(x) A^T) B^T` for a frozen W and b: they never get a gradient.
///
/// The update is added to the base's output in place and the dropped input is not kept but hashed again, so an adapter
/// costs its own small products and [tokens, rank] of memory.
///
/// # Shapes
/// - `input`: [tokens, in]; `weight`: [out, in]; `bias`: `[out]`; output: [tokens, out]
pub fn adapted_linear(input: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>, adapter: LowRank) -> Tensor<2> {
    let (weight, bias) = (weight.without_autodiff(), bias.map(Tensor::without_autodiff));
    if !is_flex(&input.device()) || input.dtype() != DType::F32 {
        let seen = match &adapter.dropout {
            None => input.clone(),
            Some((keys, p)) => keyed_dropout(input.clone(), keys, *p),
        };
        let update = linear(linear(seen, adapter.a, None) * adapter.scale, adapter.b, None);
        return linear(input, weight, bias) + update;
    }
    let bias = bias.unwrap_or_else(|| Tensor::empty([0], (&weight.device(), DType::F32)));
    let (keys, p) = adapter.dropout.unwrap_or_else(|| (Arc::from([]), 0.0));
    Tensor::from_dispatch(<Dispatch as AdapterBackend>::adapted_linear(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        adapter.a.into_dispatch(),
        adapter.b.into_dispatch(),
        Settings { scale: adapter.scale as f32, keys, p },
    ))
}

/// Numbers of an adapter; p is 0 without dropout.
#[derive(Clone, Debug)]
pub struct Settings {
    scale: f32,
    keys: Arc<[u64]>,
    p: f32,
}

/// The operation as the dispatcher sees it.
#[backend_extension(Flex, Autodiff)]
pub trait AdapterBackend: Backend {
    /// See the function of the same name; an empty bias is none.
    fn adapted_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        settings: Settings,
    ) -> FloatTensor<Self>;
}

/// Kernels with what the backward pass needs.
pub trait AdapterKernels: AdapterBackend {
    /// Output and `dropout(x) A^T`, [tokens, rank].
    fn forward(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        factors: [FloatTensor<Self>; 2],
        settings: &Settings,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Gradients of the input (if wanted), A and B.
    fn backward(saved: Saved<Self>, gradient: FloatTensor<Self>, wants_input: bool) -> [Option<FloatTensor<Self>>; 3];
}

/// What the backward pass keeps.
#[derive(Clone, Debug)]
pub struct Saved<B: Backend> {
    input: FloatTensor<B>,
    weight: FloatTensor<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    low: FloatTensor<B>,
    settings: Settings,
}

/// The adapter's input: `input` itself or with features dropped.
fn seen(input: &FlexTensor, settings: &Settings) -> Contiguous {
    Contiguous::new(if settings.p > 0.0 {
        Flex::keyed_dropout(input.clone(), settings.keys.clone(), settings.p)
    } else {
        input.clone()
    })
}

impl AdapterBackend for Flex {
    fn adapted_linear(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        a: FlexTensor,
        b: FlexTensor,
        settings: Settings,
    ) -> FlexTensor {
        Self::forward(input, weight, bias, [a, b], &settings).0
    }
}

impl AdapterKernels for Flex {
    fn forward(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        [a, b]: [FlexTensor; 2],
        settings: &Settings,
    ) -> (FlexTensor, FlexTensor) {
        let ([tokens, width], [out, _], [rank, _]) = (dims(&input), dims(&weight), dims(&a));
        let seen = seen(&input, settings);
        let [input, weight, bias, a, b] = [input, weight, bias, a, b].map(Contiguous::new);
        let mut output = if bias.slice().is_empty() { vec![0.0; tokens * out] } else { bias.slice().repeat(tokens) };
        let mut low = vec![0.0f32; tokens * rank];
        let weights = View::rows(weight.slice(), width).transposed();
        let (a, b) = (View::rows(a.slice(), width).transposed(), View::rows(b.slice(), rank).transposed());
        let (input, seen) = (View::rows(input.slice(), width), View::rows(seen.slice(), width));
        let accumulate = !bias.slice().is_empty();
        // SAFETY: the outputs are owned vectors of these sizes, the views cover the matrices named above.
        unsafe {
            product([tokens, width, out], input, weights, output.as_mut_ptr(), out, accumulate, 1.0, true);
            product([tokens, width, rank], seen, a, low.as_mut_ptr(), rank, false, 1.0, true);
            let update = View::rows(&low, rank);
            product([tokens, rank, out], update, b, output.as_mut_ptr(), out, true, settings.scale, true);
        }
        (tensor(output, [tokens, out]), tensor(low, [tokens, rank]))
    }

    fn backward(saved: Saved<Self>, gradient: FlexTensor, wants_input: bool) -> [Option<FlexTensor>; 3] {
        let ([tokens, out], [rank, width]) = (dims(&gradient), dims(&saved.a));
        let Settings { scale, ref keys, p } = saved.settings;
        let seen = seen(&saved.input, &saved.settings);
        let [weight, a, b, low, gradient] = [saved.weight, saved.a, saved.b, saved.low, gradient].map(Contiguous::new);
        let upstream = View::rows(gradient.slice(), out);
        let (a, b) = (View::rows(a.slice(), width), View::rows(b.slice(), rank));
        let mut d_low = vec![0.0f32; tokens * rank];
        let mut d_a = vec![0.0f32; rank * width];
        let mut d_b = vec![0.0f32; out * rank];
        // SAFETY: as in the forward pass.
        unsafe {
            let low = View::rows(low.slice(), rank);
            product([tokens, out, rank], upstream, b, d_low.as_mut_ptr(), rank, false, scale, true);
            product([out, tokens, rank], upstream.transposed(), low, d_b.as_mut_ptr(), rank, false, scale, true);
            let (d_low, seen) = (View::rows(&d_low, rank), View::rows(seen.slice(), width));
            product([rank, tokens, width], d_low.transposed(), seen, d_a.as_mut_ptr(), width, false, 1.0, true);
        }
        let d_input = wants_input.then(|| {
            let mut d_input = vec![0.0f32; tokens * width];
            let (weights, d_low) = (View::rows(weight.slice(), width), View::rows(&d_low, rank));
            // SAFETY: as in the forward pass.
            unsafe {
                product([tokens, out, width], upstream, weights, d_input.as_mut_ptr(), width, false, 1.0, true);
                if p == 0.0 {
                    product([tokens, rank, width], d_low, a, d_input.as_mut_ptr(), width, true, 1.0, true);
                } else {
                    let mut update = vec![0.0f32; tokens * width];
                    product([tokens, rank, width], d_low, a, update.as_mut_ptr(), width, false, 1.0, true);
                    add_dropped(&mut d_input, &update, keys, p);
                }
            }
            tensor(d_input, [tokens, width])
        });
        [d_input, Some(tensor(d_a, [rank, width])), Some(tensor(d_b, [out, rank]))]
    }
}

#[derive(Debug)]
struct AdapterBackward;

impl<B: AdapterKernels> Backward<B, 3> for AdapterBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let gradients = B::backward(ops.state, gradient, ops.parents[0].is_some());
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: AdapterKernels, C: CheckpointStrategy> AdapterBackend for Autodiff<B, C> {
    fn adapted_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        settings: Settings,
    ) -> FloatTensor<Self> {
        let prepared = AdapterBackward.prepare::<C>([input.node(), a.node(), b.node()]).compute_bound().stateful();
        let [input, weight, bias, a, b] = [input, weight, bias, a, b].map(|tensor| tensor.primitive().clone());
        let factors = [a.clone(), b.clone()];
        let (output, low) = B::forward(input.clone(), weight.clone(), bias, factors, &settings);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(Saved { input, weight, a, b, low, settings }, output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}
