//! Bad models and adapters get errors that name the file and all that is wrong.

#[expect(dead_code, reason = "parity.rs uses the rest")]
mod common;

use std::fs;
use std::path::Path;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use common::{fixture, load};
use medley_files::WithHelp as _;
use medley_model::{
    AttentionBias, Decoder, DecoderConfig, InitConfig, LoraConfig, PositionEncoding, RopeScaling, is_adapter,
    open_model,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

fn copy(name: &str, to: &Path) {
    for file in fs::read_dir(fixture(name)).expect("the fixture is there").flatten() {
        fs::copy(file.path(), to.join(file.file_name())).expect("it is copied");
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_str(&fs::read_to_string(path).expect("readable")).expect("JSON");
    change(&mut value);
    fs::write(path, value.to_string()).expect("writable");
}

fn error(directory: &Path) -> String {
    Decoder::load(directory, &Device::flex(), DType::F32).expect_err("it must not load").with_help()
}

#[test]
fn every_tensor_that_does_not_fit_is_named_at_once() {
    let place = tempfile::tempdir().expect("a temporary directory");
    copy("untied", place.path());
    edit(&place.path().join("config.json"), |config| {
        config["num_hidden_layers"] = json!(1);
        config["intermediate_size"] = json!(41);
        config["layer_types"] = json!(null);
    });
    let told = error(place.path());
    assert!(told.contains("unexpected: model.layers.1.self_attn.q_proj.weight"), "{told}");
    assert!(told.contains("misshapen: model.layers.0.mlp.gate_proj.weight is [40, 32], expected [41, 32]"), "{told}");
    edit(&place.path().join("config.json"), |config| {
        config["num_hidden_layers"] = json!(3);
        config["intermediate_size"] = json!(40);
    });
    let told = error(place.path());
    assert!(told.contains("missing: model.layers.2.mlp.down_proj.weight [32, 40]"), "{told}");
}

#[test]
fn a_tied_model_accepts_its_own_copy_of_the_head_only() {
    let place = tempfile::tempdir().expect("a temporary directory");
    copy("untied", place.path());
    edit(&place.path().join("config.json"), |config| config["tie_word_embeddings"] = json!(true));
    let told = error(place.path());
    assert!(told.contains("lm_head.weight differs from model.embed_tokens.weight"), "{told}");
    let mut model = load("untied", &Device::flex());
    model.lm_head = Some(model.embed_tokens.clone());
    model.save(place.path(), DType::F32).expect("saved");
    edit(&place.path().join("config.json"), |config| config["tie_word_embeddings"] = json!(true));
    let model = Decoder::load(place.path(), &Device::flex(), DType::F32).expect("an identical head is fine");
    assert!(model.lm_head.is_none());
}

#[test]
fn unsupported_settings_are_refused_by_key() {
    let cases = [
        ("model_type", json!("gpt2"), "expected one of: \"qwen2\", \"qwen3\", \"llama\", \"mistral\", \"gemma3_text\""),
        ("hidden_act", json!("gelu"), "only \"silu\""),
        ("rope_parameters", json!({"rope_type": "longrope", "rope_theta": 1e6}), "\"longrope\""),
        (
            "layer_types",
            json!(["full_attention", "sliding_attention"]),
            "\"sliding_attention\" without a sliding_window",
        ),
        ("layer_types", json!(["full_attention", "chunked_attention"]), "\"chunked_attention\""),
        ("layer_types", json!(["full_attention"]), "names 1 layers"),
        ("num_key_value_heads", json!(3), "expected a divisor"),
        ("hidden_size", json!("big"), "\"big\""),
        ("vocab_size", json!(null), "is missing"),
        ("head_dim", json!(7), "expected an even number"),
        ("rms_norm_eps", json!(-1e-6), "above 0 and below 1"),
        ("rms_norm_eps", json!(1e300), "above 0 and below 1"),
        ("rope_parameters", json!({"rope_type": "default", "rope_theta": 1e-300}), "expected 1 to 1e12"),
    ];
    for (key, value, told) in cases {
        let place = tempfile::tempdir().expect("a temporary directory");
        copy("untied", place.path());
        edit(&place.path().join("config.json"), |config| config[key] = value);
        let error = error(place.path());
        assert!(error.contains("config.json") && error.contains(key) && error.contains(told), "{key}: {error}");
    }
}

#[test]
fn a_missing_key_means_what_transformers_takes_for_it() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let config = place.path().join("config.json");
    let load = || Decoder::load(place.path(), &Device::flex(), DType::F32).map(drop).map_err(|error| error.with_help());
    let with = |change: fn(&mut serde_json::Map<String, Value>)| {
        copy("tied", place.path());
        edit(&config, |config| change(config.as_object_mut().expect("an object")));
        load()
    };
    // 32 key-value heads do not divide 4 query heads; null means multi-head attention.
    let told = with(|config| drop(config.remove("num_key_value_heads"))).expect_err("32 heads");
    assert!(told.contains("`num_key_value_heads` is missing and 32 by default"), "{told}");
    with(|config| drop(config.insert("num_key_value_heads".into(), json!(null)))).expect("null is absent");
    with(|config| drop(config.insert("quantization_config".into(), json!(null)))).expect("null is absent");
    let told =
        with(|config| drop(config.insert("quantization_config".into(), json!({"bits": 4})))).expect_err("quantised");
    assert!(told.contains("quantization_config"), "{told}");
}

/// The configuration of a fixture with a change, or why it is refused.
fn changed(name: &str, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Result<DecoderConfig, String> {
    let text = fs::read_to_string(fixture(name).join("config.json")).expect("readable");
    let mut map: serde_json::Map<String, Value> = serde_json::from_str(&text).expect("an object");
    change(&mut map);
    DecoderConfig::from_map(map, Path::new("config.json")).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_those_of_the_family() {
    let without = |name, keys: &[&str]| changed(name, |map| keys.iter().for_each(|key| drop(map.remove(*key))));
    let llama = without("llama-grouped", &["num_key_value_heads", "max_position_embeddings", "head_dim"]);
    let llama = llama.expect("all have defaults");
    assert_eq!((llama.num_key_value_heads, llama.max_position_embeddings, llama.head_dim), (6, 2048, 6));
    let qwen3 = without("qwen3-grouped", &["head_dim", "max_position_embeddings"]).expect("all have defaults");
    assert_eq!((qwen3.head_dim, qwen3.max_position_embeddings), (128, 32_768));
    let refused = without("qwen3-grouped", &["num_key_value_heads"]).expect_err("32 key-value heads");
    assert!(refused.contains("32 by default"), "{refused}");
    let biased = changed("llama-untied", |map| drop(map.insert("attention_bias".into(), json!(true))));
    assert_eq!(biased.expect("supported").attention_bias, AttentionBias { qkv: true, output: true });
}

#[test]
fn sliding_windows_are_those_of_the_family() {
    let windows = |name, change: fn(&mut serde_json::Map<String, Value>)| {
        changed(name, |map| {
            map.remove("layer_types");
            change(map);
        })
        .map(|config| config.windows)
    };
    let unused = windows("untied", |map| drop(map.insert("sliding_window".into(), json!(9)))).expect("supported");
    assert_eq!(unused, [None, None], "off unless use_sliding_window");
    let used = |map: &mut serde_json::Map<String, Value>| drop(map.insert("use_sliding_window".into(), json!(true)));
    let first = |map: &mut serde_json::Map<String, Value>| drop(map.insert("max_window_layers".into(), json!(1)));
    let from = |change: fn(&mut serde_json::Map<String, Value>)| {
        changed("untied", |map| {
            map.remove("layer_types");
            used(map);
            change(map);
        })
        .expect("supported")
        .windows
    };
    assert_eq!(from(|map| drop(map.insert("sliding_window".into(), json!(9)))), [None, None], "from layer 28 on");
    let missing = changed("untied", |map| {
        map.remove("layer_types");
        map.remove("sliding_window");
        used(map);
        first(map);
    });
    assert_eq!(missing.expect("supported").windows, [None, Some(4096)], "4,096 by default");
    assert_eq!(from(|map| drop(map.insert("max_window_layers".into(), json!(0)))), [None, None], "null is no window");
    let mistral = |change| windows("mistral-window", change);
    assert_eq!(mistral(|map| drop(map.remove("sliding_window"))), Ok(vec![Some(4096); 2]));
    assert_eq!(mistral(|map| drop(map.insert("sliding_window".into(), json!(null)))), Ok(vec![None; 2]));
    assert_eq!(mistral(|map| drop(map.insert("sliding_window".into(), json!(7)))), Ok(vec![Some(7); 2]));
    let refused = mistral(|map| drop(map.insert("sliding_window".into(), json!(0)))).expect_err("an empty window");
    assert!(refused.contains("`sliding_window` is 0"), "{refused}");
    let mixed = mistral(|map| drop(map.insert("layer_types".into(), json!(["sliding_attention", "full_attention"]))));
    assert!(mixed.expect_err("transformers ignores it").contains("`layer_types` has no sliding window in layer 1"));
    let heads = changed("mistral-window", |map| drop(map.remove("num_key_value_heads"))).expect_err("8 heads");
    assert!(heads.contains("`num_key_value_heads` is missing and 8 by default"), "{heads}");
}

#[test]
fn gemma3_is_read_as_transformers_reads_it() {
    let read = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        changed("gemma3-tied", |map| {
            let keys = ["rope_parameters", "layer_types", "head_dim", "query_pre_attn_scalar", "tie_word_embeddings"];
            keys.iter().for_each(|key| drop(map.remove(*key)));
            change(map);
        })
    };
    let config = read(&|map| map.extend([("rope_theta".into(), json!(5e5)), ("rope_scaling".into(), json!(null))]));
    let config = config.expect("all have defaults");
    let PositionEncoding::Rope(rope) = config.position;
    let local = config.window_rope.expect("another base").theta;
    assert_eq!((rope.theta, local, config.head_dim, config.score_divisor), (5e5, 1e4, 256, 256));
    assert!(config.tie_word_embeddings && config.windows == [Some(4); 2], "five windowed layers come first");
    let config = read(&|map| {
        map.extend([("num_hidden_layers".into(), json!(4)), ("sliding_window_pattern".into(), json!(2))]);
        map.insert("rope_scaling".into(), json!({"rope_type": "linear", "factor": 8.0}));
        map.insert("rope_local_base_freq".into(), json!(2e4));
    });
    let config = config.expect("as the 4B model's file");
    let PositionEncoding::Rope(rope) = config.position;
    assert_eq!(config.windows, [Some(4), None, Some(4), None]);
    assert_eq!((rope.theta, rope.scaling), (1e6, RopeScaling::Linear { factor: 8.0 }), "of the full layers");
    let local = config.window_rope.expect("another base");
    assert_eq!((local.theta, local.scaling), (2e4, RopeScaling::Default));
    let refused = [
        ("hidden_activation", json!("gelu"), "only \"gelu_pytorch_tanh\""),
        ("final_logit_softcapping", json!(30.0), "capped logits"),
        ("attn_logit_softcapping", json!(50.0), "capped logits"),
        ("use_bidirectional_attention", json!(true), "only causal"),
        ("rope_parameters", json!({"rope_type": "default"}), "expected objects for"),
        ("sliding_window_pattern", json!(0), "is 0"),
        ("query_pre_attn_scalar", json!(0), "is 0"),
        ("sliding_window", json!(0), "is 0"),
    ];
    for (key, value, expected) in refused {
        let error = read(&|map| drop(map.insert(key.into(), value.clone()))).expect_err(expected);
        assert!(error.contains(&format!("`{key}`")) && error.contains(expected), "{key}: {error}");
    }
}

#[test]
fn rotary_positions_are_read_in_the_order_of_transformers() {
    let yarn = json!({"rope_type": "yarn", "type": "linear", "factor": 4.0, "rope_theta": 3e4});
    let linear = json!({"type": "linear", "factor": 2.0});
    let scaling = |map: Result<DecoderConfig, String>| {
        let PositionEncoding::Rope(rope) = map.expect("supported").position;
        (rope.theta, rope.scaling)
    };
    let both = |scaling: Value, parameters: Value| {
        changed("llama-untied", |map| {
            map.insert("rope_theta".into(), json!(5e5));
            map.insert("rope_scaling".into(), scaling);
            map.insert("rope_parameters".into(), parameters);
        })
    };
    let only_linear = (5e5, RopeScaling::Linear { factor: 2.0 });
    assert_eq!(
        scaling(both(linear.clone(), yarn.clone())),
        only_linear,
        "rope_scaling overrules all of rope_parameters"
    );
    for nothing in [json!(null), json!({})] {
        let (theta, found) = scaling(both(nothing, yarn.clone()));
        assert!(theta == 3e4 && matches!(found, RopeScaling::Yarn { .. }), "rope_type before type: {found:?}");
    }
    assert_eq!(scaling(both(json!(null), json!(null))), (5e5, RopeScaling::Default));
    assert_eq!(scaling(both(json!({"rope_theta": 7.0}), yarn)), (7.0, RopeScaling::Default));
    // A length beside the object overrules the one inside it; both fall to max_position_embeddings.
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0});
    let trained = |outside: Option<usize>, inside: Option<usize>| {
        let found = changed("llama-untied", |map| {
            let mut parameters = llama3.clone();
            if let Some(inside) = inside {
                parameters["original_max_position_embeddings"] = json!(inside);
            }
            map.insert("rope_parameters".into(), parameters);
            map.extend(outside.map(|outside| ("original_max_position_embeddings".to_owned(), json!(outside))));
        });
        let RopeScaling::Llama3 { trained, .. } = scaling(found).1 else { panic!("another kind") };
        trained
    };
    assert_eq!([trained(Some(99), Some(50)), trained(None, Some(50)), trained(None, None)], [99, 50, 128]);
}

#[test]
fn rotary_positions_that_cannot_be_computed_are_refused() {
    let cases = [
        (json!({"rope_type": "longrope", "factor": 2.0}), "\"longrope\" rotary positions"),
        (json!({"rope_type": 3}), "asks for 3 rotary positions"),
        (json!({"type": "linear"}), "has no factor"),
        (json!({"type": "linear", "factor": 0.5}), "factor = 0.5, expected 1"),
        (json!({"type": "linear", "factor": "2"}), "factor = \"2\", expected a number"),
        (
            json!({"type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}),
            "expected 0 < low < high",
        ),
        (json!({"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}), "has no high_freq_factor"),
        (json!({"type": "yarn", "factor": 4.0, "beta_fast": 1.0, "beta_slow": 2.0}), "beta_fast >= beta_slow"),
        (json!({"type": "yarn", "factor": 4.0, "attention_factor": -1.0}), "attention factor -1"),
        (json!({"rope_type": "default", "partial_rotary_factor": 0.5}), "partial_rotary_factor = 0.5"),
        (json!({"full_attention": {"rope_type": "default"}}), "\"full_attention\" alone"),
    ];
    for (parameters, expected) in cases {
        let told = changed("llama-untied", |map| drop(map.insert("rope_parameters".into(), parameters)));
        let told = told.expect_err(expected);
        assert!(told.contains("`rope_parameters`") && told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn names_without_that_of_the_decoder_load_too() {
    for (model, head) in [("qwen3-tied", false), ("llama-untied", true)] {
        let place = tempfile::tempdir().expect("a temporary directory");
        with_tensors(model, place.path(), |name, data| {
            Some((name.trim_start_matches("model.").to_owned(), Dtype::F32, data))
        });
        let bare = Decoder::load(place.path(), &Device::flex(), DType::F32).expect("it loads");
        assert_eq!(bare.lm_head.is_some(), head);
        for ((name, one), (_, other)) in bare.parameters().into_iter().zip(load(model, &Device::flex()).parameters()) {
            assert_eq!(common::values(one), common::values(other), "{name}");
        }
    }
}

#[test]
fn damaged_and_foreign_directories() {
    let place = tempfile::tempdir().expect("a temporary directory");
    assert!(error(place.path()).contains("has no config.json"));
    copy("untied", place.path());
    fs::write(place.path().join("model.safetensors"), b"not at all").expect("writable");
    assert!(error(place.path()).contains("model.safetensors is not a readable safetensors file"));
    let whole = fs::read(fixture("untied").join("model.safetensors")).expect("readable");
    fs::write(place.path().join("model.safetensors"), &whole[..whole.len() - 2]).expect("writable");
    let told = error(place.path());
    assert!(told.contains("model.safetensors") && told.contains("tensor ") && told.contains("cut off"), "{told}");
    fs::remove_file(place.path().join("model.safetensors")).expect("removable");
    assert!(error(place.path()).contains("neither model.safetensors nor"));
    fs::write(place.path().join("config.json"), "{").expect("writable");
    assert!(error(place.path()).contains("config.json is not valid JSON"));
}

#[test]
fn adapters_that_cannot_be_used() {
    assert!(is_adapter(&fixture("adapter")) && !is_adapter(&fixture("tied")));
    let opened = open_model(&fixture("adapter"), None, &Device::flex(), DType::F32).expect("its base is beside it");
    assert!(opened.adapter.is_some() && !opened.model.is_adapted());
    let error =
        load("tied", &Device::flex()).load_adapter(&fixture("adapter")).expect_err("another model's").with_help();
    assert!(error.contains("misshapen: model.layers.0.self_attn.q_proj.lora_A.weight"), "{error}");
    let place = tempfile::tempdir().expect("a temporary directory");
    copy("adapter", place.path());
    edit(&place.path().join("adapter_config.json"), |config| config["base_model_name_or_path"] = json!("Qwen/Nowhere"));
    let error = open_model(place.path(), None, &Device::flex(), DType::F32).expect_err("no base").with_help();
    assert!(error.contains("base_model_name_or_path") && error.contains("Qwen/Nowhere"), "{error}");
}

#[test]
fn lora_settings() {
    let mut model = load("tied", &Device::flex());
    let config = |rank, target: &str| LoraConfig { rank, alpha: 4.0, dropout: 0.0, target: vec![target.to_owned()] };
    assert!(model.apply_lora(&config(0, "q_proj"), 1).expect_err("no rank").with_help().contains("rank is 0"));
    assert!(model.apply_lora(&config(2, "query"), 1).expect_err("no such").with_help().contains("\"query\""));
    model.apply_lora(&config(2, "all-linear"), 1).expect("applied");
    assert_eq!(model.trainable().len(), 2 * 7 * 2);
    assert_eq!(model.lora_config().map(|config| config.target.len()), Some(7));
}

#[test]
fn init_files() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let path = place.path().join("model.json");
    fs::copy(fixture("untied").join("config.json"), &path).expect("copied");
    edit(&path, |config| config["medley_init"] = json!({"std": 0.02, "offset_heads": [[0, 9, 1]]}));
    let error = InitConfig::from_file(&path).expect_err("no head 9").with_help();
    assert!(error.contains("medley_init") && error.contains("[0, 9, 1]"), "{error}");
    let unbiased = place.path().join("llama.json");
    fs::copy(fixture("llama-untied").join("config.json"), &unbiased).expect("copied");
    edit(&unbiased, |config| config["medley_init"] = json!({"offset_heads": [[0, 0, 1]]}));
    let error = InitConfig::from_file(&unbiased).expect_err("no biases").to_string();
    assert!(error.contains("medley_init") && error.contains("biases on queries and keys"), "{error}");
    edit(&path, |config| config["medley_init"] = json!({"stdev": 0.02}));
    assert!(InitConfig::from_file(&path).expect_err("unknown").with_help().contains("stdev"));
}

/// A model directory whose single file is `tensors` of another fixture, changed.
fn with_tensors(name: &str, place: &Path, change: impl Fn(&str, Vec<u8>) -> Option<(String, Dtype, Vec<u8>)>) {
    copy(name, place);
    let bytes = fs::read(fixture(name).join("model.safetensors")).expect("readable");
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let changed: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .filter_map(|(name, view)| {
            let (name, dtype, data) = change(name, view.data().to_vec())?;
            Some((name, dtype, view.shape().to_vec(), data))
        })
        .collect();
    let views = changed.iter().map(|(name, dtype, shape, data)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), data).expect("a view"))
    });
    fs::write(place.join("model.safetensors"), safetensors::serialize(views, None).expect("written"))
        .expect("writable");
}

#[test]
fn weights_that_are_not_finite_are_named_with_their_file() {
    let targets = [(f32::NAN, "model.norm.weight", 32), (f32::INFINITY, "model.layers.1.mlp.up_proj.weight", 40 * 32)];
    for (value, target, elements) in targets {
        let place = tempfile::tempdir().expect("a temporary directory");
        with_tensors("tied", place.path(), |name, mut data| {
            if name == target {
                data[4..8].copy_from_slice(&value.to_le_bytes());
            }
            Some((name.to_owned(), Dtype::F32, data))
        });
        let told = error(place.path());
        let expected = format!("the base model's weights are not finite: 1 of {elements} elements of {target}");
        assert!(told.contains(&expected) && told.contains("model.safetensors"), "{told}");
    }
}

#[test]
fn f64_weights_and_rotary_angles_are_read_as_transformers_reads_them() {
    let place = tempfile::tempdir().expect("a temporary directory");
    with_tensors("tied", place.path(), |name, data| {
        let wide = data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        Some((name.to_owned(), Dtype::F64, wide.flat_map(f64::to_le_bytes).collect()))
    });
    let model = Decoder::load(place.path(), &Device::flex(), DType::F32).expect("it loads");
    for ((name, one), (_, other)) in model.parameters().into_iter().zip(load("tied", &Device::flex()).parameters()) {
        assert_eq!(common::values(one), common::values(other), "{name}");
    }
    assert_eq!(medley_model::stored_dtype(place.path()).expect("readable"), DType::F32);
    let shape = vec![4];
    let bytes = fs::read(fixture("tied").join("model.safetensors")).expect("readable");
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let mut views: Vec<(String, TensorView<'_>)> = tensors.tensors();
    let angles = TensorView::new(Dtype::F32, shape, &bytes[bytes.len() - 16..]).expect("a view");
    views.push(("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), angles));
    fs::write(place.path().join("model.safetensors"), safetensors::serialize(views, None).expect("written"))
        .expect("writable");
    Decoder::load(place.path(), &Device::flex(), DType::F32).expect("angles are passed over");
}

#[test]
fn an_index_leads_nowhere_but_into_its_own_directory() {
    for file in [
        "../model.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "..\\m.safetensors",
        "C:m.safetensors",
        "weights.bin",
        "",
    ] {
        let place = tempfile::tempdir().expect("a temporary directory");
        copy("sharded", place.path());
        edit(&place.path().join("model.safetensors.index.json"), |index| {
            index["weight_map"]["model.norm.weight"] = json!(file);
        });
        let told = error(place.path());
        let named = told.contains("index.json") && told.contains("`weight_map` places model.norm.weight in");
        assert!(named && told.contains("same directory"), "{file}: {told}");
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    copy("sharded", place.path());
    edit(&place.path().join("model.safetensors.index.json"), |index| index["weight_map"] = json!({}));
    assert!(error(place.path()).contains("weight_map"));
    copy("sharded", place.path());
    let first = fs::read_dir(place.path()).expect("readable").flatten().map(|entry| entry.path());
    let mut shards: Vec<_> = first.filter(|path| path.extension().is_some_and(|end| end == "safetensors")).collect();
    shards.sort();
    fs::copy(&shards[0], &shards[1]).expect("copied");
    let told = error(place.path());
    assert!(told.contains(" is in model-00001") && told.contains("missing: "), "{told}");
}

#[test]
fn a_model_is_saved_in_a_shorter_format_rounded_to_even_or_not_at_all() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut model = load("tied", &Device::flex());
    // Ties between two bf16 numbers, rounded to even both up and down, and one just above a tie.
    let tie = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -1.0 - 1.0 / 256.0, 1.0 + 1.000_1 / 256.0];
    let mut norm: Vec<f32> = common::elements(model.norm.weight.clone());
    norm[..4].copy_from_slice(&tie);
    let set = |model: &mut Decoder, norm: &[f32]| {
        let data = TensorData::new(norm.to_vec(), [norm.len()]);
        model.norm.weight = Tensor::from_data(data, (&Device::flex(), DType::F32));
    };
    set(&mut model, &norm);
    model.save(place.path(), DType::BF16).expect("saved");
    assert_eq!(medley_model::stored_dtype(place.path()).expect("readable"), DType::BF16);
    let config = fs::read_to_string(place.path().join("config.json")).expect("readable");
    assert!(config.contains("\"torch_dtype\": \"bfloat16\""), "{config}");
    let again = Decoder::load(place.path(), &Device::flex(), DType::F32).expect("it loads");
    let read: Vec<f32> = common::elements(again.norm.weight);
    assert_eq!(read[..4], [1.0, 1.0 + 4.0 / 256.0, -1.0, 1.0 + 2.0 / 256.0]);
    norm[3] = 1e6;
    set(&mut model, &norm);
    let place = tempfile::tempdir().expect("a temporary directory");
    let told = model.save(place.path(), DType::F16).expect_err("beyond f16").with_help();
    assert!(told.contains("1000000 in model.norm.weight") && told.contains("bf16"), "{told}");
    assert!(!place.path().join("model.safetensors").exists(), "nothing half-written stays");
}
