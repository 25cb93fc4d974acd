"""Random models and texts for measurements: nothing but Python is needed."""

import json
import random

VOCABULARY = 151_936
SPECIAL = ["<unk>", "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
TEMPLATE = ("{% for message in messages %}{{ '<|' + message.role + '|> ' + message.content + ' <|end|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|> ' }}{% endif %}")


def write_model(folder, hidden, intermediate, layers, heads, key_value_heads, tied):
    """A Qwen2 configuration and a tokenizer of one token a word; `init:` in a recipe draws the weights."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": VOCABULARY, "hidden_size": hidden,
        "intermediate_size": intermediate, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads, "hidden_act": "silu", "max_position_embeddings": 4096,
        "initializer_range": 0.02, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": tied,
        "eos_token_id": 2, "pad_token_id": 1, "torch_dtype": "float32",
    }
    words = SPECIAL + [f"w{number}" for number in range(VOCABULARY - len(SPECIAL))]
    added = [{"id": at, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for at, token in enumerate(SPECIAL)]
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
                 "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
                 "model": {"type": "WordLevel", "vocab": {word: at for at, word in enumerate(words)}, "unk_token": "<unk>"}}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "pad_token": "<|pad|>",
                "eos_token": "<|end|>", "chat_template": TEMPLATE}
    for name, content in [("tokenizer.json", tokenizer), ("tokenizer_config.json", settings), ("config.json", config)]:
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


def write_texts(path, lengths, draw):
    """One record for each pair of words in its prompt and in its answer."""
    words = lambda count: " ".join(f"w{draw.randrange(VOCABULARY - len(SPECIAL))}" for _ in range(count))
    with open(path, "w", encoding="utf-8") as out:
        for prompt, answer in lengths:
            out.write(json.dumps({"instruction": words(prompt), "output": words(answer)}) + "\n")
