"""Makes the fixtures of the parity tests: small random models and what transformers and PEFT compute with them.

    python tests/parity/make_models.py            # writes tests/parity/fixtures

Each fixture is a model directory in Hugging Face layout with `expected.safetensors`: packed input ids, sample lengths,
labels, logits, loss, the gradient of every weight, and a greedy continuation. `adapter` is made by PEFT for `grouped`.
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

MODELS = {
    # name: (hidden, heads, key-value heads, head_dim or None, tied)
    "tied": (32, 4, 4, None, True),
    "untied": (32, 4, 4, None, False),
    "grouped": (48, 4, 2, 12, False),
    "odd-heads": (40, 6, 3, 10, True),
}


def make_config(hidden, heads, key_value_heads, head_dim, tied):
    values = dict(
        vocab_size=67, hidden_size=hidden, intermediate_size=40, num_hidden_layers=2, num_attention_heads=heads,
        num_key_value_heads=key_value_heads, max_position_embeddings=128, rms_norm_eps=1e-6, rope_theta=10000.0,
        tie_word_embeddings=tied, use_sliding_window=False, attention_dropout=0.0, hidden_act="silu",
        bos_token_id=1, eos_token_id=2,
    )
    if head_dim is not None:
        values["head_dim"] = head_dim
    return transformers.Qwen2Config(**values)


def randomise(model, seed):
    """Larger weights than usual, and biases and norms that are not 0 and 1: every term of every gradient counts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "lora_" in name:
                parameter.copy_(noise * 0.2)
            elif name.endswith("norm.weight"):
                parameter.copy_(1 + 0.2 * noise)
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
    """Twelve tokens after each sample of more than one token, eos ignored."""
    continuations = []
    for sample, _ in samples(ids, labels):
        text = sample.clone()
        for _ in range(12):
            with torch.no_grad():
                text = torch.cat([text, model(input_ids=text[None]).logits[0, -1].argmax()[None]])
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


def make_model(name, shape, seed):
    config = make_config(*shape)
    torch.manual_seed(seed)
    model = transformers.Qwen2ForCausalLM._from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    randomise(model, seed)
    ids, labels = batch(seed, config.vocab_size)
    write(HERE / name, config, model, expected(model, ids, labels))
    return model


def make_adapter(model, seed):
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
    directory = HERE / "adapter"
    if directory.exists():
        shutil.rmtree(directory)
    adapted.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    settings = json.loads((directory / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "../grouped"
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
    models = {name: make_model(name, shape, 7 + number) for number, (name, shape) in enumerate(MODELS.items())}
    shard("sharded", "untied")
    make_adapter(models["grouped"], 23)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    (HERE / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()
