//! The same passes on a wgpu adapter (software Vulkan will do) as on the CPU.
#![cfg(feature = "wgpu")]

#[expect(dead_code, reason = "parity.rs uses the rest")]
mod common;

use std::collections::BTreeMap;

use burn::tensor::Device;
use common::{Expected, block_wise, difference, elements, fixture, load, values};
use medley_model::{Decoder, DeviceRequest, GenerateOptions, Module, Parameter, device, generate};

fn adapter() -> Option<Device> {
    match device::select(DeviceRequest::Wgpu) {
        Ok(found) => {
            eprintln!("tested on {found}");
            Some(found.device)
        }
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

fn compare(cpu: (f64, BTreeMap<String, Parameter>), gpu: (f64, BTreeMap<String, Parameter>)) {
    assert!((cpu.0 - gpu.0).abs() <= 1e-4 * cpu.0, "losses {} and {}", cpu.0, gpu.0);
    for (name, gradient) in cpu.1 {
        let error = difference(&values(gpu.1[&name].clone()), &values(gradient));
        assert!(error <= 1e-4, "{name} is off by {error:e}");
    }
}

fn with_dropout(mut model: Decoder) -> Decoder {
    model.load_adapter(&fixture("adapter")).expect("the adapter loads");
    for layer in &mut model.layers {
        for module in Module::ALL {
            if let Some(lora) = &mut layer.projection(module).lora {
                lora.dropout = 0.3;
            }
        }
    }
    model
}

#[test]
fn wgpu_passes_agree_with_the_cpu() {
    let Some(device) = adapter() else { return };
    // One model: a software adapter compiles and tries kernels for minutes.
    let expected = Expected::read("grouped");
    let (cpu, gpu) = (load("grouped", &Device::flex()), load("grouped", &device));
    let logits = elements(gpu.logits(&expected.input_ids, &expected.pack(&gpu)));
    let error = difference(&logits, &expected.logits);
    assert!(error <= 1e-4, "the logits are off by {error:e}");
    let passes = |model: &Decoder| block_wise(model, &expected, &expected.pack(model));
    compare(passes(&cpu), passes(&gpu));
    let expected = Expected::read("adapter");
    let models = [Device::flex(), device].map(|device| with_dropout(load("grouped", &device)));
    let [cpu, gpu] = models.each_ref().map(|model| block_wise(model, &expected, &expected.dropout_pack(model)));
    compare(cpu, gpu);
}

#[test]
fn wgpu_greedy_text_is_the_same() {
    let Some(device) = adapter() else { return };
    let expected = Expected::read("grouped");
    let model = load("grouped", &device);
    let prompts = vec![expected.input_ids[..11].to_vec(), expected.input_ids[12..29].to_vec()];
    let options = GenerateOptions { max_new_tokens: 4, ..GenerateOptions::default() };
    assert_eq!(generate(&model, &prompts, &options), [&expected.greedy[0][..4], &expected.greedy[2][..4]]);
}
