//! Every operation against its slow, obvious twin: values and gradients, on the CPU, and a few on a wgpu adapter if there is one.

use std::sync::Arc;

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use medley_ops::{
    Activation, Gradients, IGNORED_LABEL, INSTRUCTION_SET_VARIABLE, InstructionSet, LowRank, Rotation, Scoring,
    Segment, adapted_linear, cached_attention, causal_attention, embedding_gradient, gated, inject_gradient,
    keyed_dropout, linear, linear_cross_entropy, reference, rms_norm, rotate_halves, squared_norm,
};

/// Uniform numbers in [-1, 1).
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let draw = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(draw).collect()
}

fn random<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(noise(shape.iter().product(), seed), shape), device)
}

fn elements<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[track_caller]
fn close(what: &str, actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}: as many elements");
    let largest = expected.iter().fold(1e-12f32, |largest, value| largest.max(value.abs()));
    let worst = actual.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max) / largest;
    assert!(worst <= tolerance && actual.iter().all(|value| value.is_finite()), "{what} is off by {worst:e}");
}

/// The first wgpu adapter, a software one too.
#[cfg(feature = "wgpu")]
fn adapter() -> Option<Device> {
    let search = || Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec().into_iter().next();
    let found = std::panic::catch_unwind(search).ok().flatten();
    if found.is_none() {
        eprintln!("SKIPPED: there is no wgpu adapter");
    }
    found
}

/// Value and gradients of `operation`, its output weighted by a fixed upstream gradient.
fn run<const D: usize, const N: usize>(
    inputs: &[Tensor<D>; N],
    operation: impl Fn([Tensor<D>; N]) -> Tensor<D>,
) -> Vec<Vec<f32>> {
    let leaves = inputs.clone().map(|input| input.autodiff().require_grad());
    let output = operation(leaves.clone());
    let upstream = random(output.dims(), 99, &output.device().without_autodiff());
    let mut gradients = inject_gradient(output.clone(), upstream).backward();
    let mut values = vec![elements(output)];
    values.extend(leaves.map(|leaf| elements(leaf.grad_remove(&mut gradients).expect("a gradient"))));
    let plain = operation(inputs.clone());
    close("with and without autodiff", &elements(plain), &values[0], 1e-6);
    values
}

#[track_caller]
fn compare(what: &str, actual: &[Vec<f32>], expected: &[Vec<f32>]) {
    for (number, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let part = if number == 0 { "value".to_owned() } else { format!("gradient {number}") };
        close(&format!("{what}, {part}"), actual, expected, 2e-5);
    }
}

/// Runs this test binary again in one process for each of the narrower instruction sets.
#[test]
fn every_instruction_set_of_this_cpu_agrees_with_the_twins() {
    let widest = InstructionSet::in_use();
    for set in InstructionSet::available().into_iter().filter(|&set| set != widest) {
        let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
        command.env(INSTRUCTION_SET_VARIABLE, set.name());
        command.args(["--skip", "every_instruction_set", "--skip", "wgpu", "--test-threads", "2"]);
        let output = command.output().expect("it runs");
        let log = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{set:?}: {log}");
        assert!(log.contains("instruction_set_is_the_one_requested ... ok"), "{log}");
    }
}

#[test]
fn instruction_set_is_the_one_requested() {
    match std::env::var(INSTRUCTION_SET_VARIABLE) {
        Ok(name) => assert_eq!(InstructionSet::in_use().name(), name),
        Err(_) => assert_eq!(Some(&InstructionSet::in_use()), InstructionSet::available().last()),
    }
}

#[test]
fn attention() {
    let device = Device::flex();
    // Sizes on both sides of a tile's 64 rows; grouped, single and odd heads.
    for (heads, key_value_heads, head_dim) in [(4, 4, 8), (4, 2, 6), (3, 1, 10)] {
        let borders: Arc<[usize]> = vec![0, 1, 64, 129, 134, 284].into();
        let q = random([284, heads, head_dim], 1, &device);
        let k = random([284, key_value_heads, head_dim], 2, &device);
        let v = random([284, key_value_heads, head_dim], 3, &device);
        let inputs = [q, k, v];
        let expected = run(&inputs, |[q, k, v]| reference::causal_attention(q, k, v, &borders, 0.4));
        let actual = run(&inputs, |[q, k, v]| causal_attention(q, k, v, &borders, 0.4));
        compare(&format!("{heads} heads of {head_dim} on {device:?}"), &actual, &expected);
    }
}

#[test]
fn a_long_sample() {
    let device = Device::flex();
    let borders: Arc<[usize]> = vec![0, 700].into();
    let inputs = [1, 2, 3].map(|seed| random([700, 1, 4], seed, &device));
    let expected = run(&inputs, |[q, k, v]| reference::causal_attention(q, k, v, &borders, 0.5));
    let actual = run(&inputs, |[q, k, v]| causal_attention(q, k, v, &borders, 0.5));
    compare("one sample of 700 tokens", &actual, &expected);
}

#[test]
fn attention_in_a_sliding_window() {
    let device = Device::flex();
    // Windows of two keys, inside and across tiles of 128 rows, and longer than every sample.
    for window in [2, 5, 127, 128, 130, 256, 1000] {
        let borders: Arc<[usize]> = vec![0, 1, 64, 129, 134, 534].into();
        let inputs = [(4, 1), (2, 2), (2, 3)].map(|(heads, seed)| random([534, heads, 6], seed, &device));
        let scoring = Scoring { scale: 0.4, window: Some(window) };
        let expected = run(&inputs, |[q, k, v]| reference::causal_attention(q, k, v, &borders, scoring));
        let actual = run(&inputs, |[q, k, v]| causal_attention(q, k, v, &borders, scoring));
        compare(&format!("a window of {window}"), &actual, &expected);
        if window == 1000 {
            assert_eq!(actual, run(&inputs, |[q, k, v]| causal_attention(q, k, v, &borders, 0.4)), "bit for bit");
        }
    }
}

#[test]
fn attention_to_a_cache() {
    let device = Device::flex();
    let [q, k, v] = [1, 2, 3].map(|seed| random([20, 2, 4], seed, &device));
    let segments: Arc<[Segment]> = vec![
        Segment { query_start: 0, query_count: 1, key_start: 0, key_count: 8 },
        Segment { query_start: 1, query_count: 3, key_start: 8, key_count: 12 },
    ]
    .into();
    for window in [None, Some(1), Some(3), Some(9)] {
        let scoring = Scoring { scale: 0.5, window };
        let whole = reference::causal_attention(q.clone(), k.clone(), v.clone(), &[0, 8, 20], scoring);
        let last = Tensor::cat(vec![q.clone().narrow(0, 7, 1), q.clone().narrow(0, 17, 3)], 0);
        let expected = Tensor::cat(vec![whole.clone().narrow(0, 7, 1), whole.narrow(0, 17, 3)], 0);
        let actual = cached_attention(last, k.clone(), v.clone(), &segments, scoring);
        close(&format!("cached, window {window:?}"), &elements(actual), &elements(expected), 1e-5);
    }
}

#[test]
fn samples_do_not_see_each_other() {
    let device = Device::flex();
    let borders: Arc<[usize]> = vec![0, 5, 12].into();
    let [q, k, v] = [1, 2, 3].map(|seed| random([12, 2, 4], seed, &device));
    let both = elements(causal_attention(q.clone(), k.clone(), v.clone(), &borders, 1.0));
    let part = |tensor: Tensor<3>| tensor.narrow(0, 5, 7);
    let alone = causal_attention(part(q), part(k), part(v), &vec![0, 7].into(), 1.0);
    assert_eq!(&both[5 * 8..], elements(alone), "bit for bit");
}

#[test]
fn results_do_not_depend_on_threads() {
    let device = Device::flex();
    let borders: Arc<[usize]> = vec![0, 300, 450, 460, 700].into();
    let inputs = [1, 2, 3].map(|seed| random([700, 4, 16], seed, &device));
    let work = || run(&inputs, |[q, k, v]| causal_attention(q, k, v, &borders, 0.25));
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    let one = pool(1).install(work);
    for _ in 0..5 {
        assert_eq!(one, pool(4).install(work), "bit for bit");
    }
    let (hidden, weight) = (random([600, 16], 5, &device), random([23_000, 16], 6, &device));
    for wants in [Gradients::Hidden, Gradients::HiddenAndWeight] {
        let head = || {
            let labels: Vec<i64> = (0..600).collect();
            let result = linear_cross_entropy(hidden.clone(), weight.clone(), &labels, 0.1, wants);
            let gradients = [result.hidden_gradient, result.weight_gradient].map(|gradient| gradient.map(elements));
            (result.token_losses, gradients)
        };
        assert_eq!(pool(1).install(head), pool(4).install(head), "bit for bit");
    }
    let big = random([3000, 2000], 4, &device);
    let sum = squared_norm(big.clone());
    assert_eq!(pool(1).install(|| squared_norm(big.clone())), sum);
    let expected: f64 = elements(big).iter().map(|&value| f64::from(value).powi(2)).sum();
    assert!((sum - expected).abs() / expected < 1e-9);
}

#[test]
fn linear_layers() {
    let device = Device::flex();
    let inputs = [random([37, 24], 1, &device), random([19, 24], 2, &device)];
    let expected = run(&inputs, |[x, w]| reference::linear(x, w, None));
    compare("linear", &run(&inputs, |[x, w]| linear(x, w, None)), &expected);
    let bias = |tensor: Tensor<2>| tensor.reshape([19]);
    let inputs = [inputs[0].clone(), inputs[1].clone(), random([1, 19], 3, &device)];
    let expected = run(&inputs, |[x, w, b]| reference::linear(x, w, Some(bias(b))));
    compare("with bias", &run(&inputs, |[x, w, b]| linear(x, w, Some(bias(b)))), &expected);
}

/// Generation relies on it: an answer must not depend on what else is in its batch.
#[test]
fn a_row_does_not_depend_on_the_others_from_four_rows_on() {
    let device = Device::flex();
    for (width, out) in [(64, 96), (128, 344), (512, 650), (1024, 300)] {
        let (input, weight) = (random([1100, width], 1, &device), random([out, width], 2, &device));
        for bias in [None, Some(random([out], 3, &device))] {
            let whole = elements(linear(input.clone(), weight.clone(), bias.clone()));
            for rows in [4, 5, 7, 16, 17, 33, 64, 100, 513, 1026] {
                let part = linear(input.clone().narrow(0, 0, rows), weight.clone(), bias.clone());
                assert_eq!(elements(part), whole[..rows * out], "{rows} rows of {width}, bit for bit");
            }
        }
    }
}

#[test]
fn adapters() {
    let keys = dropout_keys(37);
    let device = Device::flex();
    let weight = random([19, 24], 2, &device);
    let inputs = [random([37, 24], 1, &device), random([3, 24], 3, &device), random([19, 3], 4, &device)];
    for bias in [None, Some(random([19], 5, &device))] {
        for dropout in [None, Some((keys.clone(), 0.3))] {
            let expected = run(&inputs, |[x, a, b]| {
                let seen = match &dropout {
                    None => x.clone(),
                    Some((keys, p)) => keyed_dropout(x.clone(), keys, *p),
                };
                let update = reference::linear(reference::linear(seen, a, None), b, None) * 0.7;
                reference::linear(x, weight.clone(), bias.clone()) + update
            });
            let actual = run(&inputs, |[x, a, b]| {
                let adapter = LowRank { a, b, scale: 0.7, dropout: dropout.clone() };
                adapted_linear(x, weight.clone(), bias.clone(), adapter)
            });
            compare("adapted linear", &actual, &expected);
        }
    }
}

#[test]
fn norm_and_gate() {
    let device = Device::flex();
    let inputs = [random([75, 33], 1, &device), random([1, 33], 2, &device)];
    let weight = |tensor: Tensor<2>| tensor.reshape([33]);
    let expected = run(&inputs, |[x, w]| reference::rms_norm(x, weight(w), 1e-5));
    compare("rms_norm", &run(&inputs, |[x, w]| rms_norm(x, weight(w), 1e-5)), &expected);
    let inputs = [random([75, 133], 1, &device) * 8.0, random([75, 133], 2, &device)];
    for activation in [Activation::Silu, Activation::GeluTanh] {
        let expected = run(&inputs, |[gate, up]| reference::gated(gate, up, activation));
        compare(&format!("{activation:?}"), &run(&inputs, |[gate, up]| gated(gate, up, activation)), &expected);
    }
}

#[test]
fn rotation_in_halves() {
    let device = Device::flex();
    let angles: Vec<f32> = (0..9 * 3).map(|i| i as f32 * 0.37).collect();
    let rotation = Rotation::new(&angles, 3, 1.25, &device, burn::tensor::DType::F32);
    let table = |function: fn(f32) -> f32| {
        let values: Vec<f32> = angles.iter().map(|&angle| function(angle) * 1.25).collect();
        Tensor::<3>::from_data(TensorData::new(values, [9, 1, 3]), &device)
    };
    let inputs = [random([9, 4, 6], 1, &device)];
    let expected = run(&inputs, |[x]| reference::rotate_halves(x, table(f32::cos), table(f32::sin)));
    compare("rotation", &run(&inputs, |[x]| rotate_halves(x, &rotation)), &expected);
}

fn dropout_keys(tokens: u64) -> Arc<[u64]> {
    (0..tokens).map(|token| token.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
}

#[test]
fn dropout_is_a_hash_of_token_and_feature() {
    let values = run(&[Tensor::<2>::ones([500, 64], &Device::flex())], |[x]| keyed_dropout(x, &dropout_keys(500), 0.3));
    let dropped = values[0].iter().filter(|&&value| value == 0.0).count() as f64 / 32_000.0;
    assert!((dropped - 0.3).abs() < 0.01, "{dropped} dropped out");
    let expected: Vec<f32> = values[0].iter().zip(noise(32_000, 99)).map(|(mask, upstream)| mask * upstream).collect();
    close("gradient", &values[1], &expected, 1e-6);
    let rows: Vec<&[f32]> = values[0].chunks(64).collect();
    assert!(rows.windows(2).all(|rows| rows[0] != rows[1]), "rows differ");
}

/// The compositions for GPUs, on small sizes: a software adapter takes seconds for every kernel.
#[cfg(feature = "wgpu")]
#[test]
fn on_a_wgpu_adapter() {
    let Some(device) = adapter() else { return };
    let cpu = Device::flex();
    let ones = |device: &Device| Tensor::<2>::ones([50, 64], device);
    let mask = |device: &Device| elements(keyed_dropout(ones(device), &dropout_keys(50), 0.3));
    assert_eq!(mask(&device), mask(&cpu), "the mask is the same on every backend");
    let borders: Arc<[usize]> = vec![0, 3, 16].into();
    let attend = |device: &Device| {
        let inputs = [(4, 1), (2, 2), (2, 3)].map(|(heads, seed)| random([16, heads, 8], seed, device));
        let windowed = Scoring { scale: 0.4, window: Some(5) };
        let mut results = run(&inputs, |[q, k, v]| causal_attention(q, k, v, &borders, 0.4));
        results.extend(run(&inputs, |[q, k, v]| causal_attention(q, k, v, &borders, windowed)));
        results
    };
    compare("attention", &attend(&device), &attend(&cpu));
    let head = |device: &Device| {
        let (hidden, weight) = (random([16, 8], 1, device), random([31, 8], 2, device));
        let labels: Vec<i64> = (0..16).map(|row| if row % 3 == 0 { IGNORED_LABEL } else { row }).collect();
        let result = linear_cross_entropy(hidden, weight, &labels, 0.1, Gradients::HiddenAndWeight);
        let gradients = [result.hidden_gradient, result.weight_gradient];
        let mut values = vec![result.token_losses];
        values.extend(gradients.map(|gradient| elements(gradient.expect("asked for"))));
        values
    };
    compare("cross-entropy", &head(&device), &head(&cpu));
    let table = |device: &Device| elements(embedding_gradient(&[4, 0, 4, 2], random([4, 8], 1, device), 5));
    close("embedding", &table(&device), &table(&cpu), 1e-6);
    let norm = |device: &Device| squared_norm(random([7, 9], 1, device)) as f32;
    close("norm", &[norm(&device)], &[norm(&cpu)], 1e-6);
}

#[test]
fn cross_entropy_of_a_head() {
    let device = Device::flex();
    let hidden = random([150, 24], 1, &device);
    let weight = random([301, 24], 2, &device) * 2.0;
    let draws = noise(300, 3);
    let label = |row: usize| ((draws[row] + 1.0) * 150.0) as i64;
    for supervised in [0.0, 0.4, 2.0] {
        let labels: Vec<i64> =
            (0..150).map(|row| if draws[150 + row] + 1.0 < supervised { label(row) } else { IGNORED_LABEL }).collect();
        let count = labels.iter().filter(|&&label| label != IGNORED_LABEL).count();
        let result = linear_cross_entropy(hidden.clone(), weight.clone(), &labels, 0.01, Gradients::HiddenAndWeight);
        assert_eq!(result.supervised, count);
        if count == 0 {
            assert_eq!(result.loss_sum, 0.0);
            continue;
        }
        let leaves = [hidden.clone(), weight.clone()].map(|tensor| tensor.autodiff().require_grad());
        let loss = reference::linear_cross_entropy(leaves[0].clone(), leaves[1].clone(), &labels);
        let mut gradients = (loss.clone() * 0.01).backward();
        let [d_hidden, d_weight] = leaves.map(|leaf| elements(leaf.grad_remove(&mut gradients).expect("a gradient")));
        close("loss", &[result.loss_sum as f32], &elements(loss), 1e-5);
        close("hidden", &elements(result.hidden_gradient.expect("asked for")), &d_hidden, 2e-5);
        close("weight", &elements(result.weight_gradient.expect("asked for")), &d_weight, 2e-5);
        let total: f64 = result.token_losses.iter().map(|&loss| f64::from(loss)).sum();
        assert!((total - result.loss_sum).abs() < 1e-9);
        let alone = linear_cross_entropy(hidden.clone(), weight.clone(), &labels, 0.01, Gradients::None);
        assert!((alone.loss_sum - result.loss_sum).abs() <= 1e-6 * result.loss_sum);
        assert!(alone.hidden_gradient.is_none() && alone.weight_gradient.is_none());
    }
}

/// Several blocks of tokens, several tasks of tiles, and (the last) several chunks of a trained head.
#[test]
fn a_large_vocabulary_is_done_in_parts() {
    let device = Device::flex();
    for (tokens, vocabulary) in [(600, 23_000), (260, 200_000)] {
        let (hidden, weight) = (random([tokens, 4], 1, &device), random([vocabulary, 4], 2, &device) * 3.0);
        let labels: Vec<i64> = (0..tokens).map(|row| (row * 7919 % vocabulary) as i64).collect();
        let scale = 1.0 / tokens as f64;
        let solve = |wants| linear_cross_entropy(hidden.clone(), weight.clone(), &labels, scale, wants);
        let (trained, frozen) = (solve(Gradients::HiddenAndWeight), solve(Gradients::Hidden));
        let leaves = [hidden.clone(), weight.clone()].map(|tensor| tensor.autodiff().require_grad());
        let loss = reference::linear_cross_entropy(leaves[0].clone(), leaves[1].clone(), &labels);
        let mut gradients = (loss.clone() * scale).backward();
        let [d_hidden, d_weight] = leaves.map(|leaf| elements(leaf.grad_remove(&mut gradients).expect("a gradient")));
        for result in [&trained, &frozen] {
            close("loss", &[result.loss_sum as f32], &elements(loss.clone()), 1e-5);
            close("hidden", &elements(result.hidden_gradient.clone().expect("asked for")), &d_hidden, 2e-5);
        }
        close("weight", &elements(trained.weight_gradient.expect("asked for")), &d_weight, 2e-5);
        assert_eq!(solve(Gradients::None).loss_sum, frozen.loss_sum);
    }
}

#[test]
fn gradient_of_an_embedding() {
    let device = Device::flex();
    let gradient = random([6, 3], 1, &device);
    let values = elements(gradient.clone());
    let table = elements(embedding_gradient(&[4, 0, 4, 4, 2, 0], gradient, 5));
    let row = |tokens: &[usize]| -> Vec<f32> {
        (0..3).map(|feature| tokens.iter().map(|token| values[token * 3 + feature]).sum()).collect()
    };
    let expected = [row(&[1, 5]), row(&[]), row(&[4]), row(&[]), row(&[0, 2, 3])].concat();
    close("embedding", &table, &expected, 1e-6);
}
