//! Batched greedy generation with a key-value cache.
//!
//! Prompts are packed, never padded, and every sequence has its own rows in the cache, so a prompt's answer does not
//! depend on what else is in its batch. On the CPU that holds to the last bit: a row of a matrix product is the same
//! whatever stands beside it, but for products of one to three rows, which take another path through the kernels; so
//! there are never fewer than four.

use std::sync::Arc;

use burn::Tensor;
use burn::tensor::{DType, IndexingUpdateOp, Int, TensorData, s};
use medley_ops::{Segment, cached_attention, causal_attention, linear};

use crate::decoder::{Decoder, DecoderLayer};
use crate::pack::Pack;
use crate::rope::{Placed, Rotations};

/// How to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateOptions {
    /// Longest answer in tokens.
    pub max_new_tokens: usize,
    /// Sequences that are computed together: memory and speed only, never the result.
    pub batch_size: usize,
    /// Ids that end an answer; the end itself is not part of it.
    pub stop_ids: Vec<u32>,
    /// Ids from here on are never generated: the tokenizer's size where the embedding has more rows than it.
    pub vocab_limit: Option<usize>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self { max_new_tokens: 256, batch_size: 16, stop_ids: Vec::new(), vocab_limit: None }
    }
}

/// Last token of an answer that was aborted because a logit is NaN or infinite. No vocabulary has this id.
pub const NOT_FINITE: u32 = u32::MAX;

/// Tokens of prompts that go through the layers together.
pub const PREFILL_TOKENS: usize = 8192;

/// Rows from which on a row's product does not depend on their number.
const STEADY_ROWS: usize = 4;

/// Greedy continuation of every prompt, without the stop id; [`NOT_FINITE`] ends an answer at logits that are not finite.
///
/// # Panics
/// When a prompt is empty or holds an id outside the embedding.
pub fn generate(model: &Decoder, prompts: &[Vec<u32>], options: &GenerateOptions) -> Vec<Vec<u32>> {
    generate_with(model, prompts, options, &mut |_, _| {})
}

/// As [`generate`]; `on_token` hears of every token (number of the prompt, id) as soon as it is known.
///
/// # Panics
/// As [`generate`].
pub fn generate_with(
    model: &Decoder,
    prompts: &[Vec<u32>],
    options: &GenerateOptions,
    on_token: &mut dyn FnMut(usize, u32),
) -> Vec<Vec<u32>> {
    assert!(prompts.iter().all(|prompt| !prompt.is_empty()), "a prompt has at least one token");
    let mut answers = vec![Vec::new(); prompts.len()];
    if options.max_new_tokens == 0 {
        return answers;
    }
    // Prompts of like length finish together.
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|&number| std::cmp::Reverse(prompts[number].len()));
    for batch in order.chunks(options.batch_size.max(1)) {
        let chosen: Vec<&[u32]> = batch.iter().map(|&number| prompts[number].as_slice()).collect();
        let mut hear = |place: usize, id: u32| on_token(batch[place], id);
        for (&number, answer) in batch.iter().zip(Batch::answer(model, &chosen, options, &mut hear)) {
            answers[number] = answer;
        }
    }
    answers
}

/// Keys and values of one layer: [rows, key_value_heads, head_dim].
struct LayerCache {
    keys: Tensor<3>,
    values: Tensor<3>,
}

/// A sequence's rows of the cache and its next token.
struct Sequence {
    place: usize,
    first_row: usize,
    length: usize,
    next: u32,
}

struct Batch<'a> {
    model: &'a Decoder,
    options: &'a GenerateOptions,
    caches: Vec<LayerCache>,
    active: Vec<Sequence>,
}

impl<'a> Batch<'a> {
    fn answer(
        model: &'a Decoder,
        prompts: &[&[u32]],
        options: &'a GenerateOptions,
        on_token: &mut dyn FnMut(usize, u32),
    ) -> Vec<Vec<u32>> {
        let mut batch = Self::prefill(model, prompts, options);
        let mut answers = vec![Vec::new(); prompts.len()];
        loop {
            batch.active.retain(|sequence| {
                if sequence.next == NOT_FINITE {
                    answers[sequence.place].push(NOT_FINITE);
                    return false;
                }
                let stops = options.stop_ids.contains(&sequence.next);
                if !stops {
                    answers[sequence.place].push(sequence.next);
                    on_token(sequence.place, sequence.next);
                }
                !stops && answers[sequence.place].len() < options.max_new_tokens
            });
            if batch.active.is_empty() {
                return answers;
            }
            batch.step();
        }
    }

    /// Sends the prompts through the model, fills the cache, and finds the first tokens.
    fn prefill(model: &'a Decoder, prompts: &[&[u32]], options: &'a GenerateOptions) -> Self {
        let mut parts: Vec<(Vec<Tensor<3>>, Vec<Tensor<3>>)> = vec![(Vec::new(), Vec::new()); model.layers.len()];
        let mut active = Vec::new();
        let (mut start, mut first_row) = (0, 0);
        while start < prompts.len() {
            let mut end = start + 1;
            let mut tokens = prompts[start].len();
            while end < prompts.len() && tokens + prompts[end].len() <= PREFILL_TOKENS {
                tokens += prompts[end].len();
                end += 1;
            }
            let group = &prompts[start..end];
            let next = prefill_group(model, group, options, &mut parts);
            for ((offset, prompt), next) in group.iter().enumerate().zip(next) {
                active.push(Sequence { place: start + offset, first_row, length: prompt.len(), next });
                first_row += prompt.len() + options.max_new_tokens;
            }
            start = end;
        }
        let caches = parts
            .into_iter()
            .map(|(keys, values)| LayerCache { keys: Tensor::cat(keys, 0), values: Tensor::cat(values, 0) })
            .collect();
        Self { model, options, caches, active }
    }

    /// Sends every active sequence's next token through the model and finds the one after it.
    fn step(&mut self) {
        let model = self.model;
        let (device, count) = (model.device(), self.active.len());
        // Too few sequences are filled up with copies of the first, whose results nobody reads.
        let filled = || self.active.iter().chain(std::iter::repeat(&self.active[0])).take(count.max(STEADY_ROWS));
        let ids: Vec<u32> = filled().map(|sequence| sequence.next).collect();
        let rows: Vec<i32> = self.active.iter().map(|sequence| (sequence.first_row + sequence.length) as i32).collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), (&device, DType::I32));
        let tokens = filled().map(|sequence| Placed { position: sequence.length, length: sequence.length + 1 });
        let pack = Pack {
            cu_seqlens: (0..=ids.len()).collect(),
            rotations: Rotations::new(&model.config, tokens, &device, model.dtype()),
            dropout: None,
        };
        let segments = filled().enumerate().map(|(query, sequence)| Segment {
            query_start: query,
            query_count: 1,
            key_start: sequence.first_row,
            key_count: sequence.length + 1,
        });
        let segments: Arc<[Segment]> = segments.collect();
        let mut hidden = model.embed(&ids);
        for (layer, cache) in model.layers.iter().zip(&mut self.caches) {
            hidden = cache.forward(layer, hidden, &pack, &rows, &segments);
        }
        let next = most_likely(model, hidden, self.options);
        for (sequence, next) in self.active.iter_mut().zip(next) {
            sequence.length += 1;
            sequence.next = next;
        }
    }
}

impl LayerCache {
    fn forward(
        &mut self,
        layer: &DecoderLayer,
        hidden: Tensor<2>,
        pack: &Pack,
        rows: &Tensor<1, Int>,
        segments: &Arc<[Segment]>,
    ) -> Tensor<2> {
        let attention = &layer.self_attn;
        let normed = layer.input_layernorm.forward(hidden.clone());
        let (q, k, v) = attention.queries_keys_values(normed, pack, layer.index);
        add_rows(&mut self.keys, rows, k);
        add_rows(&mut self.values, rows, v);
        let (keys, values) = (self.keys.clone(), self.values.clone());
        let attended = cached_attention(q, keys, values, segments, attention.scoring);
        layer.after_attention(hidden, attended, pack)
    }
}

/// Writes new rows where the cache holds zeros; rows of `values` beyond the given ones are left out.
fn add_rows(cache: &mut Tensor<3>, rows: &Tensor<1, Int>, values: Tensor<3>) {
    // Taken out of its place so that the backend owns the only handle and writes in place.
    let owned = std::mem::replace(cache, Tensor::empty([1, 1, 1], (&values.device(), values.dtype())));
    let values = values.narrow(0, 0, rows.dims()[0]);
    *cache = owned.select_assign(0, rows.clone(), values, IndexingUpdateOp::Add);
}

/// Runs some prompts, appends their keys and values (with room for the answer) to each layer's parts, and gives the
/// first token of every answer.
fn prefill_group(
    model: &Decoder,
    prompts: &[&[u32]],
    options: &GenerateOptions,
    parts: &mut [(Vec<Tensor<3>>, Vec<Tensor<3>>)],
) -> Vec<u32> {
    let mut lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.len()).collect();
    let mut ids = prompts.concat();
    if ids.len() < STEADY_ROWS {
        // A last prompt that nobody asked for.
        lengths.push(STEADY_ROWS);
        ids.extend([0; STEADY_ROWS]);
    }
    let (device, dtype) = (model.device(), model.dtype());
    let pack = Pack::new(&model.config, &lengths, &device, dtype);
    let mut hidden = model.embed(&ids);
    for (layer, (keys, values)) in model.layers.iter().zip(parts) {
        let attention = &layer.self_attn;
        let normed = layer.input_layernorm.forward(hidden.clone());
        let (q, k, v) = attention.queries_keys_values(normed, &pack, layer.index);
        let [_, heads, head_dim] = k.dims();
        let room = Tensor::<3>::zeros([options.max_new_tokens, heads, head_dim], (&device, dtype));
        for borders in pack.cu_seqlens.windows(2).take(prompts.len()) {
            keys.extend([k.clone().slice(s![borders[0]..borders[1]]), room.clone()]);
            values.extend([v.clone().slice(s![borders[0]..borders[1]]), room.clone()]);
        }
        let attended = causal_attention(q, k, v, &pack.cu_seqlens, attention.scoring);
        hidden = layer.after_attention(hidden, attended, &pack);
    }
    let mut last: Vec<i32> = pack.cu_seqlens[1..=prompts.len()].iter().map(|&end| end as i32 - 1).collect();
    last.resize(prompts.len().max(STEADY_ROWS), 0);
    let count = last.len();
    let last = Tensor::<1, Int>::from_data(TensorData::new(last, [count]), (&device, DType::I32));
    let mut next = most_likely(model, hidden.select(0, last), options);
    next.truncate(prompts.len());
    next
}

/// Argmax of every row's logits, the lowest id at a tie; [`NOT_FINITE`] where a logit is not finite.
fn most_likely(model: &Decoder, hidden: Tensor<2>, options: &GenerateOptions) -> Vec<u32> {
    let normed = model.norm.forward(hidden);
    let head = model.head_weight();
    let limit = options.vocab_limit.unwrap_or(usize::MAX).min(head.dims()[0]);
    let logits = linear(normed, head.slice(s![..limit]), None);
    // 0 * x is 0 for finite x and NaN otherwise, so the sum is 0 only if all logits of the row are finite.
    let zero = logits.clone().mul_scalar(0.0).sum_dim(1).into_data();
    let best = logits.argmax(1).into_data();
    let id = |(id, zero): (i64, f32)| if zero == 0.0 { id as u32 } else { NOT_FINITE };
    best.iter::<i64>().zip(zero.iter::<f32>()).map(id).collect()
}
