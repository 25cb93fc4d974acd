"""Makes the fixtures of the adapter tests: PEFT adapters of every kind and the logits PEFT computes with them.

    python tests/parity/make_adapters.py            # writes tests/parity/adapters
    python tests/parity/make_adapters.py NAME...    # only these, beside the others

The base models are `fixtures/grouped` and `fixtures/tied` of `make_models.py`. Every adapter is saved, loaded again onto a
fresh base and run; `expected.safetensors` holds `ids`, the logits by the adapter's name, and `merged.NAME`: the weights of
`MERGED` after `merge_and_unload` on a base in bfloat16.
"""

import json
import shutil
import sys
import warnings
from pathlib import Path

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
OUT = HERE / "adapters"
MERGED = "model.layers.1.self_attn.q_proj.weight"
IDS = torch.tensor([[3, 14, 15, 9, 26, 5, 35, 8, 50]])
REGEX = r"model\.layers\.\d+\.(self_attn\.(q|v)_proj|mlp\.down_proj)"
LOOKAHEAD = r".*layers\.(?!0\.)\d+\.self_attn\.[qv]_proj"

KINDS = {
    # name: (base, settings beside r = 4, lora_alpha = 8, target_modules = q_proj, v_proj)
    "plain": ("grouped", {}),
    "gaussian": ("grouped", {"init_lora_weights": "gaussian"}),
    "orthogonal": ("grouped", {"init_lora_weights": "orthogonal"}),
    "rslora": ("grouped", {"use_rslora": True}),
    "pissa": ("grouped", {"init_lora_weights": "pissa", "target_modules": ["q_proj", "v_proj", "o_proj", "gate_proj"]}),
    "pissa-rslora": ("grouped", {"init_lora_weights": "pissa", "use_rslora": True, "lora_alpha": 3}),
    "pissa-dora": ("grouped", {"init_lora_weights": "pissa", "use_dora": True}),
    "pissa-patterns": ("grouped", {"init_lora_weights": "pissa", "rank_pattern": {"q_proj": 7}, "alpha_pattern": {"v_proj": 2}}),
    "olora": ("grouped", {"init_lora_weights": "olora", "target_modules": ["q_proj", "v_proj", "o_proj", "down_proj"]}),
    "olora-rslora": ("grouped", {"init_lora_weights": "olora", "use_rslora": True}),
    "dora": ("grouped", {"use_dora": True, "target_modules": ["q_proj", "v_proj", "up_proj"]}),
    "dora-rslora-bias": ("grouped", {"use_dora": True, "use_rslora": True, "bias": "lora_only"}),
    "bias-all": ("grouped", {"bias": "all"}),
    "lora-bias": ("grouped", {"lora_bias": True}),
    "patterns": ("grouped", {"rank_pattern": {"layers.0.self_attn.q_proj": 3, "q_proj": 2, r"layers\.1\..*v_proj": 5},
                             "alpha_pattern": {"layers.1.self_attn.v_proj": 1, "v_proj": 32}}),
    "all-linear": ("grouped", {"target_modules": "all-linear"}),
    "regex": ("grouped", {"target_modules": REGEX}),
    "lookahead": ("grouped", {"target_modules": LOOKAHEAD}),
    "suffix": ("grouped", {"target_modules": ["self_attn.q_proj", "model.layers.1.mlp.up_proj"]}),
    "one-layer": ("grouped", {"layers_to_transform": [1]}),
    "layer-number": ("grouped", {"layers_to_transform": 0, "layers_pattern": "layers"}),
    "excluded": ("grouped", {"target_modules": "all-linear", "exclude_modules": ["lm_head", "k_proj", "layers.0.mlp.up_proj"]}),
    "excluded-regex": ("grouped", {"exclude_modules": r".*\.0\.self_attn\.v_proj"}),
    "embedding": ("grouped", {"target_modules": ["q_proj", "embed_tokens"]}),
    "head": ("grouped", {"modules_to_save": ["lm_head"]}),
    "head-lora": ("grouped", {"target_modules": ["q_proj", "lm_head"]}),
    "embedding-and-norm": ("grouped", {"modules_to_save": ["embed_tokens", "input_layernorm", "model.norm"]}),
    "rows": ("grouped", {"trainable_token_indices": [7, 3]}),
    "rows-of-both": ("grouped", {"trainable_token_indices": {"embed_tokens": [7, 3], "lm_head": [1, 66, 2]}}),
    "tied-head": ("tied", {"modules_to_save": ["lm_head"]}),
    "tied-table": ("tied", {"modules_to_save": ["embed_tokens"]}),
    "tied-embedding": ("tied", {"target_modules": ["q_proj", "embed_tokens"]}),
    "tied-rows": ("tied", {"trainable_token_indices": [7, 3]}),
    "qwen3-all-linear": ("qwen3-grouped", {"target_modules": "all-linear"}),
    "qwen3-norms": ("qwen3-grouped", {"modules_to_save": ["q_norm", "layers.1.self_attn.k_norm", "post_attention_layernorm"]}),
    "qwen3-bias-all": ("qwen3-biased", {"bias": "all", "target_modules": ["k_proj", "o_proj"]}),
    "qwen3-tied-rows": ("qwen3-tied", {"trainable_token_indices": [7, 3], "use_rslora": True}),
    "llama-dora": ("llama-grouped", {"use_dora": True, "target_modules": ["q_proj", "k_proj", "down_proj"]}),
    "llama-patterns": ("llama-untied", {"use_rslora": True, "rank_pattern": {"v_proj": 2}, "target_modules": ["v_proj", "up_proj"]}),
    "llama-lora-bias": ("llama-biased", {"lora_bias": True, "bias": "lora_only", "target_modules": ["gate_proj", "down_proj", "o_proj"]}),
}
# Refused by name; their logits are of no use.
REFUSED = {
    "alora": ("grouped", {"alora_invocation_tokens": [3, 4]}),
    "pissa-niter": ("grouped", {"init_lora_weights": "pissa_niter_4"}),
}


def base(name, dtype=torch.float32):
    return transformers.AutoModelForCausalLM.from_pretrained(HERE / "fixtures" / name, dtype=dtype, attn_implementation="eager").eval()


def make(name, base_name, more):
    config = peft.LoraConfig(**{"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], **more})
    torch.manual_seed(sum(map(ord, name)))
    model = peft.get_peft_model(base(base_name), config)
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    directory = OUT / name
    model.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    path = directory / "adapter_config.json"
    settings = json.loads(path.read_text())
    settings["base_model_name_or_path"] = f"../../fixtures/{base_name}"
    for key in ("target_modules", "modules_to_save", "exclude_modules"):
        if isinstance(settings[key], list):
            settings[key].sort()
    path.write_text(json.dumps(settings, indent=1) + "\n")
    return directory


def logits(directory, base_name):
    model = peft.PeftModel.from_pretrained(base(base_name), directory).eval()
    with torch.no_grad():
        return model(IDS).logits[0]


def merged(directory, base_name):
    model = peft.PeftModel.from_pretrained(base(base_name, torch.bfloat16), directory)
    return model.merge_and_unload().state_dict()[MERGED]


def other_files():
    """Files that hold an adapter in another form: torch.save, names with the adapter's own, float64, saved embeddings."""
    plain = load_file(OUT / "plain" / "adapter_model.safetensors")

    def copy(name, tensors, write=save_file, file="adapter_model.safetensors"):
        directory = OUT / name
        directory.mkdir()
        shutil.copy(OUT / "plain" / "adapter_config.json", directory)
        write(tensors, str(directory / file))

    copy("bin", plain, torch.save, "adapter_model.bin")
    copy("bin-bf16", {name: value.bfloat16() for name, value in plain.items()}, torch.save, "adapter_model.bin")
    copy("named", {name.replace(".weight", ".default.weight"): value for name, value in plain.items()})
    copy("float64", {name: value.double() for name, value in plain.items()})
    weights = load_file(HERE / "fixtures" / "grouped" / "model.safetensors")
    saved = {f"base_model.model.{name}": weights[name] for name in ("model.embed_tokens.weight", "lm_head.weight")}
    copy("saved-embeddings", {**plain, **saved})


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    names = sys.argv[1:]
    if names:
        expected = load_file(OUT / "expected.safetensors")
    else:
        shutil.rmtree(OUT, ignore_errors=True)
        OUT.mkdir()
        expected = {"ids": IDS[0].clone()}
    for name, (base_name, more) in KINDS.items():
        if names and name not in names:
            continue
        directory = make(name, base_name, more)
        expected[name] = logits(directory, base_name).contiguous()
        if base_name == "grouped" and name not in ("head-lora", "lora-bias"):
            expected[f"merged.{name}"] = merged(directory, base_name).contiguous()
        print(name, sorted({key.split(".")[-1] for key in load_file(directory / "adapter_model.safetensors")}))
    if not names:
        for name, (base_name, more) in REFUSED.items():
            make(name, base_name, more)
        other_files()
    save_file(expected, OUT / "expected.safetensors")


if __name__ == "__main__":
    main()
