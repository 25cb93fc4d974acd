//! What is alive at the moments of a run at which most memory is: a table of buffers, added up.
//!
//! The terms are read off the code: `recompute.rs` (what forward keeps, what backward replays), the operations' saved
//! tensors in `medley-ops`, the optimizer, and how weights are saved. On the CPU every buffer is what the formulas say;
//! on GPUs the operations are compositions with more temporaries, which are counted by the same formulas with the
//! composition's own terms, and have not been measured.

use burn::tensor::DType;
use medley_model::{Activation, DecoderConfig, DeviceKind, Module, PIECE_ELEMENTS};
use medley_ops::{Gradients, filled_rows, linear_cross_entropy_bytes, most_attention_scores};
use medley_recipe::{BlockPolicy, Optimizer, TrainSpec};
use serde::Serialize;

use super::sizes::ModelSizes;
use super::workload::BatchSize;
use crate::optimizer::STACK_ELEMENTS;

/// Bytes of an f32.
pub(super) const F32: usize = 4;

/// Query rows of a tile of attention on the CPU.
const TILE_CPU: usize = 128;

/// Larger buffers go back to the system when they are freed; smaller ones stay with the process (the largest threshold that
/// glibc's malloc grows to, `DEFAULT_MMAP_THRESHOLD_MAX`).
const HEAP_BUFFER: usize = 32 << 20;

/// Bytes by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// Program, tokenizer, the mix's records and the encoded samples; on a GPU its driver and kernels.
    pub process: usize,
    /// The model's weights.
    pub weights: usize,
    /// LoRA factors.
    pub adapters: usize,
    /// Gradients that wait for the optimizer.
    pub gradients: usize,
    /// Moments, and f32 master weights where the model's are of less precision.
    pub optimizer: usize,
    /// What forward keeps for backward: inputs of blocks, or whole graphs.
    pub blocks: usize,
    /// What a pass over one block, or an update, needs beside that.
    pub workspace: usize,
    /// Last hidden states, a chunk of logits and the gradients that the loss gives.
    pub loss: usize,
    /// What a block has freed and the allocator has not given back.
    pub allocator: usize,
}

impl Parts {
    /// Bytes in all.
    pub fn total(&self) -> usize {
        self.named().into_iter().map(|(_, bytes)| bytes).sum()
    }

    /// Every part with its name.
    pub fn named(&self) -> [(&'static str, usize); 9] {
        [
            ("process", self.process),
            ("weights", self.weights),
            ("adapters", self.adapters),
            ("gradients", self.gradients),
            ("optimizer", self.optimizer),
            ("blocks", self.blocks),
            ("workspace", self.workspace),
            ("loss", self.loss),
            ("allocator", self.allocator),
        ]
    }
}

/// When in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The head's logits and their gradients are computed.
    Loss,
    /// The backward pass is in the last block: nothing of the others is freed yet.
    LastBlock,
    /// The backward pass is in the first block: all other gradients are there.
    FirstBlock,
    /// The embedding's gradient joins the others.
    Embedding,
    /// The optimizer updates the weights.
    Update,
    /// Held-out samples are passed over.
    Validation,
    /// A checkpoint is written.
    Checkpoint,
    /// The base that an adapter belongs to is written.
    Base,
}

impl Moment {
    /// For a reader.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Loss => "the loss of the largest micro-batch",
            Self::LastBlock => "the last block's backward pass",
            Self::FirstBlock => "the first block's backward pass",
            Self::Embedding => "the embedding's gradient",
            Self::Update => "the optimizer's update",
            Self::Validation => "validation",
            Self::Checkpoint => "writing a checkpoint",
            Self::Base => "writing the adapter's base",
        }
    }
}

/// The fullest moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peak {
    /// When.
    pub moment: Moment,
    /// What is there at that moment.
    pub parts: Parts,
    /// The most of each part, at whatever moment.
    pub largest: Parts,
}

/// The memory of a run by moments.
#[derive(Clone, Debug)]
pub struct MemoryModel {
    sizes: ModelSizes,
    /// Bytes of a weight and of an activation.
    element: usize,
    cpu: bool,
    threads: usize,
    optimizer: Optimizer,
    in_backward: bool,
    process: usize,
    saves_base: bool,
}

impl MemoryModel {
    /// The model of a run of `spec`; `process` are the bytes that are there without any tensor.
    pub fn new(config: &DecoderConfig, spec: &TrainSpec, dtype: DType, device: DeviceKind, process: usize) -> Self {
        Self {
            sizes: ModelSizes::new(config, spec),
            element: dtype.size(),
            cpu: device == DeviceKind::Cpu,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            optimizer: spec.optimizer,
            in_backward: spec.optimizer_in_backward,
            process,
            saves_base: false,
        }
    }

    /// The same where the base is written beside an adapter.
    #[must_use]
    pub fn with_saved_base(self, saves_base: bool) -> Self {
        Self { saves_base: saves_base && !self.sizes.full(), ..self }
    }

    /// The sizes that it was made from.
    pub fn sizes(&self) -> &ModelSizes {
        &self.sizes
    }

    /// The moment with most memory, over these micro-batches (at least one) and all that happens beside them.
    pub fn peak(&self, batches: &[BatchSize], validation: &[BatchSize], policy: BlockPolicy) -> Peak {
        let heap = batches.iter().map(|batch| self.heap(batch, policy, Moment::FirstBlock)).max().unwrap_or(0);
        let left = |in_use: usize| heap.saturating_sub(in_use);
        let of_batches = batches.iter().flat_map(|batch| {
            let left = move |moment| left(self.heap(batch, policy, moment));
            self.training(batch, policy).map(|(moment, parts)| (moment, Parts { allocator: left(moment), ..parts }))
        });
        let of_validation = validation.iter().map(|batch| (Moment::Validation, self.validation(batch)));
        let beside =
            [(Moment::Update, self.update()), (Moment::Checkpoint, self.checkpoint()), (Moment::Base, self.base())];
        let beside = beside.map(|(moment, parts)| (moment, Parts { allocator: heap, ..parts }));
        let fixed = self.fixed();
        let mut peak = Peak { moment: Moment::Update, parts: fixed, largest: fixed };
        for (moment, parts) in of_batches.chain(of_validation).chain(beside) {
            peak.largest = peak.largest.each_max(&parts);
            if parts.total() > peak.parts.total() {
                (peak.moment, peak.parts) = (moment, parts);
            }
        }
        peak
    }

    /// The most that training this micro-batch takes.
    pub fn training_peak(&self, batch: &BatchSize, policy: BlockPolicy) -> usize {
        self.training(batch, policy).into_iter().map(|(_, parts)| parts.total()).max().unwrap_or(0)
    }

    /// Buffers of blocks that are in use at a moment and would stay with the process. Blocks are freed in the reverse of their
    /// order and what was allocated last can be given back, so that one block's buffers are what stays; none on GPUs, whose
    /// pools are not modelled.
    fn heap(&self, batch: &BatchSize, policy: BlockPolicy, moment: Moment) -> usize {
        if !self.cpu {
            return 0;
        }
        let hidden = self.rows(batch, HEAP_BUFFER, &[self.sizes.hidden]);
        let graph = self.graph(batch, HEAP_BUFFER);
        let kept = if policy == BlockPolicy::Keep { hidden + graph } else { hidden };
        match moment {
            Moment::Loss => self.sizes.layers * kept + 2 * hidden,
            Moment::LastBlock | Moment::FirstBlock => hidden + graph + self.backward(batch, HEAP_BUFFER),
            Moment::Embedding => hidden,
            Moment::Update | Moment::Validation | Moment::Checkpoint | Moment::Base => 0,
        }
    }

    /// Bytes of buffers with a row of these widths for every token, without those larger than `limit`.
    fn rows(&self, batch: &BatchSize, limit: usize, widths: &[usize]) -> usize {
        let bytes = |width: &usize| batch.tokens * width * self.element;
        widths.iter().map(bytes).filter(|&bytes| bytes <= limit).sum()
    }

    /// What is there from the first step to the last.
    fn fixed(&self) -> Parts {
        let ModelSizes { parameters, .. } = self.sizes;
        Parts {
            process: self.process,
            weights: parameters * self.element,
            adapters: self.sizes.adapter_parameters() * self.element,
            optimizer: self.optimizer_state(),
            ..Parts::default()
        }
    }

    fn optimizer_state(&self) -> usize {
        let trained = self.sizes.trained();
        let muon = match self.optimizer {
            Optimizer::Muon => self.muon_parameters(),
            Optimizer::AdamW => 0,
        };
        let moments = 2 * trained - muon;
        let masters = if self.element < F32 { trained } else { 0 };
        (moments + masters) * F32
    }

    /// Weights that Muon has: the matrices inside the blocks.
    fn muon_parameters(&self) -> usize {
        let layer = self.sizes.adapters.as_ref().map_or(self.sizes.layer_matrices, |adapters| adapters.layer);
        layer * self.sizes.layers
    }

    /// The moments of a micro-batch's forward and backward pass.
    fn training(&self, batch: &BatchSize, policy: BlockPolicy) -> [(Moment, Parts); 4] {
        let (sizes, batch) = (&self.sizes, &self.computed(batch));
        let row = batch.tokens * self.element;
        let (hidden, graph) = (sizes.hidden * row, self.graph(batch, usize::MAX));
        let keep = policy == BlockPolicy::Keep;
        let kept = |blocks: usize| blocks * if keep { hidden + graph } else { hidden };
        let replayed = if keep { 0 } else { graph };
        let workspace = replayed + self.backward(batch, usize::MAX);
        let table = if sizes.full() { sizes.table() * F32 } else { 0 };
        let wants = if sizes.full() { Gradients::HiddenAndWeight } else { Gradients::Hidden };
        let layers = sizes.layers * sizes.trained_layer() * F32;
        // Gradients of the step's earlier micro-batches are there all the time.
        let (before, new) = match (batch.accumulates, self.in_backward) {
            (true, _) => (sizes.trained() * F32, sizes.trained_layer() * F32),
            (false, false) => (0, layers),
            (false, true) => (0, sizes.trained_layer() * F32),
        };
        // An untied head's gradient goes to the sum, or to the optimizer, at once.
        let head = if sizes.tied || !batch.accumulates && !self.in_backward { table } else { 0 };
        let fixed = self.fixed();
        [
            (
                Moment::Loss,
                Parts {
                    gradients: before,
                    blocks: kept(sizes.layers),
                    loss: 2 * hidden + self.loss(batch, wants),
                    ..fixed
                },
            ),
            (
                Moment::LastBlock,
                Parts {
                    gradients: before + head + sizes.trained_layer() * F32,
                    blocks: kept(sizes.layers),
                    workspace,
                    ..fixed
                },
            ),
            (Moment::FirstBlock, Parts { gradients: before + head + new, blocks: kept(1), workspace, ..fixed }),
            (
                Moment::Embedding,
                Parts {
                    gradients: before + head + table + if self.in_backward { 0 } else { layers.min(new) },
                    workspace: hidden,
                    ..fixed
                },
            ),
        ]
    }

    /// The sizes that are computed: on GPUs tokens are filled up, behind the last sample.
    fn computed(&self, batch: &BatchSize) -> BatchSize {
        if self.cpu {
            return *batch;
        }
        let tokens = filled_rows(batch.tokens);
        let longest = batch.longest + tokens - batch.tokens;
        BatchSize { tokens, supervised: filled_rows(batch.supervised), longest, ..*batch }
    }

    /// What a block's graph keeps beside the block's input, in buffers of up to `limit` bytes.
    fn graph(&self, batch: &BatchSize, limit: usize) -> usize {
        let sizes = &self.sizes;
        let &ModelSizes { hidden, intermediate, queries, keys, heads, .. } = sizes;
        let saved = |modules: &[Module], width: usize| if sizes.keeps_input(modules) { width } else { 0 };
        // Norms of queries and keys keep their inputs beside their rotated outputs.
        let normed = |width: usize| if sizes.qk_norm { width } else { 0 };
        let buffers = [
            normed(queries),
            normed(keys),
            // The norm's output is the input of q, k and v; attention keeps q, k, v and its output, which o reads.
            saved(&[Module::QProj, Module::KProj, Module::VProj], hidden),
            queries,
            keys,
            keys,
            queries,
            // Norms of the branches keep their inputs.
            (sizes.norms - 2) * hidden,
            // The second norm keeps its input; gate and up read its output; the gate's backward pass needs both sides.
            hidden,
            saved(&[Module::GateProj, Module::UpProj], hidden),
            intermediate,
            intermediate,
            saved(&[Module::DownProj], intermediate),
        ];
        let mut row = heads * F32;
        if let Some(adapters) = &sizes.adapters {
            row += adapters.modules.len() * adapters.rank * self.element;
            // One 64-bit key per token and adapter.
            row += if adapters.dropout { adapters.modules.len() * size_of::<u64>() } else { 0 };
        }
        let composed = if self.cpu { 0 } else { self.composed_graph() };
        self.rows(batch, limit, &buffers) + batch.tokens * (row + composed)
    }

    /// What the composed operations of GPUs keep of a token in addition.
    fn composed_graph(&self) -> usize {
        let sizes = &self.sizes;
        // Norms keep the squares' root and the normalised row in f32; silu keeps its own output.
        let of_heads = if sizes.qk_norm { sizes.queries + sizes.keys } else { 0 };
        let gate = match sizes.activation {
            Activation::Silu => 2 * self.element,
            // The argument's powers and products, the sigmoid and its product, in f32.
            Activation::GeluTanh => 6 * F32 + self.element,
        };
        let plain = 2 * (sizes.norms * sizes.hidden + of_heads) * F32 + gate * sizes.intermediate;
        let dropped = sizes.adapters.as_ref().filter(|adapters| adapters.dropout).map_or(0, |adapters| {
            adapters.modules.iter().map(|&module| sizes.shape(module)[1]).sum::<usize>() * self.element
        });
        plain + dropped
    }

    /// What the backward pass of one block holds at its fullest beside the block's input and graph, in buffers of up to `limit`
    /// bytes: the gradient of the block's output, and what the feed-forward layer or attention needs.
    fn backward(&self, batch: &BatchSize, limit: usize) -> usize {
        let &ModelSizes { hidden, intermediate, queries, keys, .. } = &self.sizes;
        // When what down read is gone: the gradient of the gate's output and of both its sides, one of them in its place.
        let feed_forward = self.rows(batch, limit, &[hidden, intermediate, intermediate]);
        // By then the feed-forward layer's buffers are freed.
        let down = if self.sizes.keeps_input(&[Module::DownProj]) { intermediate } else { 0 };
        let freed = self.rows(batch, limit, &[intermediate, intermediate, hidden, down]);
        let grouped = if keys < queries { 2 * keys } else { 0 };
        let attention = self.rows(batch, limit, &[hidden, queries, queries, queries, queries, grouped]);
        let scores = if self.cpu {
            self.threads * 2 * TILE_CPU * batch.longest
        } else {
            6 * most_attention_scores(batch.samples, batch.tokens, batch.longest, self.sizes.heads)
        };
        feed_forward.max(attention.saturating_sub(freed)) + scores * F32
    }

    /// The gathered supervised rows, and what the head's kernel holds and gives.
    fn loss(&self, batch: &BatchSize, wants: Gradients) -> usize {
        let &ModelSizes { hidden, vocabulary, .. } = &self.sizes;
        let all = self.cpu && batch.supervised == batch.tokens;
        let gathered = if all { 0 } else { batch.supervised * hidden * self.element };
        gathered + linear_cross_entropy_bytes(batch.supervised, [vocabulary, hidden], wants, self.element, self.cpu)
    }

    /// A pass without a graph: the block's input and what its feed-forward layer holds, or the head.
    fn validation(&self, batch: &BatchSize) -> Parts {
        let batch = &self.computed(batch);
        let &ModelSizes { hidden, intermediate, .. } = &self.sizes;
        let row = batch.tokens * self.element;
        let block = (3 * hidden + 3 * intermediate) * row;
        let head = 2 * hidden * row + self.loss(batch, Gradients::None);
        Parts { workspace: block, ..self.fixed() }.max(Parts { loss: head, ..self.fixed() })
    }

    /// The optimizer at work on all gradients.
    fn update(&self) -> Parts {
        let gradients = if self.in_backward { 0 } else { self.sizes.trained() * F32 };
        let largest = self.sizes.largest_trained();
        let workspace = match self.optimizer {
            // Copies of the weight, which the model holds as well, and of its gradient; composed operations have more of them.
            Optimizer::AdamW => largest * F32 * if self.cpu { 2 } else { 4 },
            Optimizer::Muon => self.muon_workspace(),
        };
        Parts { gradients, workspace, ..self.fixed() }
    }

    /// Directions of all matrices, and the stack of one shape under Newton-Schulz.
    fn muon_workspace(&self) -> usize {
        let matrices = if self.in_backward { 1 } else { self.sizes.layers };
        let directions = self.muon_parameters() / self.sizes.layers.max(1) * matrices;
        let widest = Module::ALL.into_iter().map(|module| self.sizes.matrix(module)).max().unwrap_or(0);
        let stack = (2 * matrices * widest).min(STACK_ELEMENTS.max(widest));
        (directions + 3 * stack) * F32
    }

    /// Tensors leave their device piece by piece and are encoded one after the other.
    fn checkpoint(&self) -> Parts {
        Parts { workspace: self.sizes.largest_trained() * F32 + PIECE_ELEMENTS * F32, ..self.fixed() }
    }

    /// The base of an adapter is merged at the start and written with the first checkpoint: one f32 weight at a time either way.
    fn base(&self) -> Parts {
        let workspace = if self.saves_base { (self.sizes.largest() + PIECE_ELEMENTS) * F32 } else { 0 };
        Parts { workspace, ..self.fixed() }
    }
}

impl Parts {
    fn max(self, other: Self) -> Self {
        if self.total() >= other.total() { self } else { other }
    }

    fn each_max(&self, other: &Self) -> Self {
        Self {
            process: self.process.max(other.process),
            weights: self.weights.max(other.weights),
            adapters: self.adapters.max(other.adapters),
            gradients: self.gradients.max(other.gradients),
            optimizer: self.optimizer.max(other.optimizer),
            blocks: self.blocks.max(other.blocks),
            workspace: self.workspace.max(other.workspace),
            loss: self.loss.max(other.loss),
            allocator: self.allocator.max(other.allocator),
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
