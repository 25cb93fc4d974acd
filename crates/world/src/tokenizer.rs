//! The tokenizer of the base model: one token a word, a character a token in names.

use serde_json::{Value, json};

use crate::lexicon::{special, words};

/// The chat template, in the language of Hugging Face's `chat_template`.
pub const CHAT_TEMPLATE: &str = "{% for message in messages %}{{ '<|' + message.role + '|>' + message.content + '<|end|>' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/// Every token, in the order of its id.
pub fn tokens() -> Vec<String> {
    let mut tokens = vec![special::UNKNOWN.to_owned(), special::PAD.to_owned(), special::END.to_owned()];
    tokens.extend(special::ROLES.map(str::to_owned));
    tokens.extend(words());
    tokens
}

/// `tokenizer.json`: splits by the longest word first; any other character is unknown by itself.
pub fn tokenizer() -> Value {
    let tokens = tokens();
    let mut longest_first = words();
    longest_first.sort_by_key(|word| std::cmp::Reverse(word.chars().count()));
    let pattern = format!("{}|[\\s\\S]", longest_first.join("|"));
    let vocabulary: serde_json::Map<String, Value> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    let added: Vec<Value> = tokens
        .iter()
        .take(3 + special::ROLES.len())
        .enumerate()
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                   "special": true})
        })
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
        "post_processor": null,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": special::UNKNOWN},
    })
}

/// `tokenizer_config.json`.
pub fn tokenizer_config() -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": special::UNKNOWN, "pad_token": special::PAD,
        "eos_token": special::END, "bos_token": null, "add_bos_token": false, "clean_up_tokenization_spaces": false,
        "model_max_length": 512, "chat_template": CHAT_TEMPLATE,
    })
}

/// `generation_config.json`.
pub fn generation_config() -> Value {
    let id = |token: &str| tokens().iter().position(|other| other == token);
    json!({"do_sample": false, "eos_token_id": id(special::END), "pad_token_id": id(special::PAD)})
}

/// Hugging Face's `config.json` with the fresh weights' recipe. The offset heads see the last few tokens from the first
/// step on; a model of this size does not find them by itself in any reasonable time.
pub fn model_config() -> Value {
    let rows = tokens().len().next_multiple_of(16);
    let offsets: Vec<[usize; 3]> = (0..4).map(|head| [0, head, head + 1]).chain([[1, 0, 1], [1, 1, 2]]).collect();
    json!({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": rows, "hidden_size": 128,
        "intermediate_size": 344, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4,
        "hidden_act": "silu", "max_position_embeddings": 512, "initializer_range": 0.04, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "tie_word_embeddings": true, "use_cache": true, "use_sliding_window": false,
        "attention_dropout": 0.0, "bos_token_id": null, "eos_token_id": 2, "pad_token_id": 1, "torch_dtype": "float32",
        "medley_init": {"std": 0.04, "offset_heads": offsets, "offset_strength": 30.0},
    })
}
