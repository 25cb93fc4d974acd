"""Makes the fixtures of the parity tests: small random models and what transformers and PEFT compute with them.

    python tests/parity/make_models.py            # writes tests/parity/fixtures

Each fixture is a model directory in Hugging Face layout with `expected.safetensors`: packed input ids, sample lengths,
labels, logits, loss, the gradient of every weight, and a greedy continuation. PEFT makes the `ADAPTERS`.
"""

import json
import shutil
from pathlib import Path

import peft
import torch
import transformers
from safetensors.torch import save_file

HERE = Path(__file__).parent / "fixtures"
LENGTHS = [11, 1, 17, 6]
SHARED = dict(vocab_size=67, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
              max_position_embeddings=128, rms_norm_eps=1e-6, attention_dropout=0.0, hidden_act="silu",
              tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)
QWEN2 = dict(rope_theta=10000.0, use_sliding_window=False)
GEMMA3 = dict(hidden_size=24, num_attention_heads=2, num_key_value_heads=1, head_dim=10, sliding_window=4, query_pre_attn_scalar=14,
              hidden_activation="gelu_pytorch_tanh")
SMALL = dict(vocab_size=37, hidden_size=16, intermediate_size=24, num_attention_heads=2, num_key_value_heads=1)

MODELS = {
    # name: (class, settings beside SHARED)
    "tied": ("Qwen2", QWEN2 | dict(tie_word_embeddings=True)),
    "untied": ("Qwen2", QWEN2),
    "grouped": ("Qwen2", QWEN2 | dict(hidden_size=48, num_key_value_heads=2, head_dim=12)),
    "odd-heads": ("Qwen2", QWEN2 | dict(hidden_size=40, num_attention_heads=6, num_key_value_heads=3, head_dim=10, tie_word_embeddings=True)),
    "qwen3-tied": ("Qwen3", dict(hidden_size=24, num_key_value_heads=1, head_dim=10, tie_word_embeddings=True, rope_theta=1e6)),
    "qwen3-grouped": ("Qwen3", dict(hidden_size=32, num_key_value_heads=2, head_dim=12)),
    "qwen3-biased": ("Qwen3", SMALL | dict(vocab_size=67, head_dim=6, attention_bias=True)),
    "llama-untied": ("Llama", {}),
    "llama-grouped": ("Llama", dict(hidden_size=36, num_attention_heads=6, num_key_value_heads=2, tie_word_embeddings=True, rope_theta=5e5)),
    "llama-biased": ("Llama", SMALL | dict(vocab_size=67, head_dim=14, attention_bias=True, mlp_bias=True)),
    # Factors and lengths with which every branch of the formulas is taken.
    "llama-linear": ("Llama", SMALL | dict(rope_scaling={"type": "linear", "factor": 2.5})),
    "llama-dynamic": ("Llama", SMALL | dict(max_position_embeddings=8, rope_scaling={"type": "dynamic", "factor": 2.0})),
    "llama-llama3": ("Llama", SMALL | dict(head_dim=12, rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64})),
    "llama-yarn": ("Llama", SMALL | dict(head_dim=12, rope_scaling={
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32})),
    "qwen3-yarn": ("Qwen3", SMALL | dict(head_dim=12, rope_scaling={
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 4.0, "beta_slow": 0.5,
        "truncate": False, "mscale": 0.7, "mscale_all_dim": 1.3})),
    # Windows shorter than the samples.
    "mistral-window": ("Mistral", dict(num_key_value_heads=2, head_dim=6, sliding_window=5)),
    "mistral-tied": ("Mistral", SMALL | dict(sliding_window=None, tie_word_embeddings=True)),
    "qwen2-windows": ("Qwen2", SMALL | dict(use_sliding_window=True, sliding_window=3, max_window_layers=1)),
    "qwen3-windows": ("Qwen3", SMALL | dict(head_dim=8, use_sliding_window=True, sliding_window=4,
                                            layer_types=["sliding_attention", "full_attention"])),
    "gemma3-tied": ("Gemma3Text", GEMMA3 | dict(tie_word_embeddings=True, layer_types=["sliding_attention", "full_attention"])),
    "gemma3-untied": ("Gemma3Text", GEMMA3 | dict(
        num_hidden_layers=3, num_key_value_heads=2, tie_word_embeddings=False, attention_bias=True,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"],
        rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e5},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}})),
}
ADAPTERS = {"adapter": "grouped", "qwen3-adapter": "qwen3-grouped", "llama-adapter": "llama-grouped",
            "mistral-adapter": "mistral-window", "gemma3-adapter": "gemma3-tied"}  # name: base


def randomise(model, seed):
    """Larger weights than usual, and biases and norms that are not 0 and 1: every term of every gradient counts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "lora_" in name:
                parameter.copy_(noise * 0.2)
            elif name.endswith("norm.weight"):
                parameter.copy_((0 if "Gemma3" in type(model).__name__ else 1) + 0.2 * noise)
            else:
                parameter.copy_(noise * 0.15)


def batch(seed, vocab_size):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocab_size, (sum(LENGTHS),), generator=generator)
    labels = torch.full_like(ids, -100)
    start = 0
    for length in LENGTHS:  # the last third of each sample is supervised; labels are not shifted
        supervised = start + max(1, 2 * length // 3)
        labels[supervised:start + length] = ids[supervised:start + length]
        start += length
    return ids, labels


def samples(ids, labels):
    start = 0
    for length in LENGTHS:
        yield ids[start:start + length], labels[start:start + length]
        start += length


def run(model, ids, labels):
    """Logits of every token, the mean loss over the supervised tokens, and the gradients of that mean."""
    model.zero_grad()
    logits, losses, count = [], [], 0
    for sample, label in samples(ids, labels):
        out = model(input_ids=sample[None]).logits[0]
        logits.append(out)
        loss = torch.nn.functional.cross_entropy(out[:-1], label[1:], ignore_index=-100, reduction="sum")
        losses.append(loss)
        count += int((label[1:] != -100).sum())
    loss = sum(losses) / count
    loss.backward()
    return torch.cat(logits).detach(), loss.detach()


def greedy(model, ids, labels):
    """Twelve tokens after each sample, eos ignored."""
    continuations = []
    for sample, _ in samples(ids, labels):
        text, cache = sample.clone(), None
        for _ in range(12):
            # With dynamic rotary positions old keys keep the angles that they were cached with.
            new = text if cache is None or not model.config.rope_parameters.get("rope_type") == "dynamic" else text[-1:]
            cache = cache if new is not text else transformers.DynamicCache()
            with torch.no_grad():
                text = torch.cat([text, model(input_ids=new[None], cache=cache).logits[0, -1].argmax()[None]])
        continuations.append(text[len(sample):])
    return torch.stack(continuations)


def expected(model, ids, labels):
    logits, loss = run(model, ids, labels)
    tensors = {"input_ids": ids, "labels": labels, "lengths": torch.tensor(LENGTHS), "logits": logits, "loss": loss[None]}
    tensors["greedy"] = greedy(model, ids, labels)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            tensors[f"gradient.{name}"] = parameter.grad.clone()
    return tensors


def write(directory, config, model, tensors):
    if directory.exists():
        shutil.rmtree(directory)
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items()}, directory / "expected.safetensors")


def make_model(name, kind, settings, seed):
    config = getattr(transformers, f"{kind}Config")(**SHARED | settings)
    torch.manual_seed(seed)
    model_class = getattr(transformers, f"{kind.removesuffix('Text')}ForCausalLM")
    model = model_class._from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    randomise(model, seed)
    ids, labels = batch(seed, config.vocab_size)
    write(HERE / name, config, model, expected(model, ids, labels))
    return model


def make_adapter(name, base, model, seed):
    settings = peft.LoraConfig(r=3, lora_alpha=6, lora_dropout=0.0, task_type="CAUSAL_LM",
                               target_modules=["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"])
    adapted = peft.get_peft_model(model, settings).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    ids, labels = batch(seed, model.config.vocab_size)
    tensors = expected(adapted, ids, labels)
    directory = HERE / name
    if directory.exists():
        shutil.rmtree(directory)
    adapted.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    settings = json.loads((directory / "adapter_config.json").read_text())
    settings["target_modules"].sort()
    settings["base_model_name_or_path"] = f"../{base}"
    (directory / "adapter_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    tensors = {name.replace(".default", ""): value for name, value in tensors.items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, directory / "expected.safetensors")


def shard(name, source):
    """The same weights in shards with an index, as large models come."""
    model = transformers.Qwen2ForCausalLM.from_pretrained(HERE / source, dtype=torch.float32)
    directory = HERE / name
    if directory.exists():
        shutil.rmtree(directory)
    model.save_pretrained(directory, max_shard_size="40KB")
    (directory / "generation_config.json").unlink(missing_ok=True)


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    HERE.mkdir(parents=True, exist_ok=True)
    models = {name: make_model(name, *model, 7 + number) for number, (name, model) in enumerate(MODELS.items())}
    shard("sharded", "untied")
    for number, (name, base) in enumerate(ADAPTERS.items()):
        make_adapter(name, base, models[base], 23 + number)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    (HERE / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()
