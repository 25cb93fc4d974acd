"""Makes the reference of the 20-step training runs: tiny random models trained by transformers (full) and PEFT (LoRA).

    python tests/parity/make_runs.py

needs torch, transformers, peft and safetensors; writes tests/parity/runs/, Qwen2 there and the other families in folders of
their own. Both runs of a family see the same steps of four samples,
accumulated over micro-batches of uneven size, every loss divided by the step's supervised tokens; AdamW with decay on
matrices only, warm-up and cosine, gradients clipped to a global norm.
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
import transformers
from transformers import get_cosine_schedule_with_warmup

OUT = Path(__file__).parent / "runs"
STEPS, BATCH, WARMUP = 20, 4, 3
END_OF_TURN = 1
SETTINGS = {
    "full": {"learning_rate": 4e-3, "max_grad_norm": 1.0},
    "lora": {"learning_rate": 3e-2},
}
WEIGHT_DECAY, BETAS, EPSILON = 0.1, (0.9, 0.95), 1e-8
LORA = {"r": 4, "lora_alpha": 2}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FAMILIES = {
    # folder: (class, gradient norm of the LoRA run that clips some steps, settings)
    "": ("Qwen2", 0.6, {}),
    "qwen3": ("Qwen3", 0.45, dict(hidden_size=24, head_dim=8)),
    "llama": ("Llama", 0.6, dict(rope_scaling={"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                          "original_max_position_embeddings": 16})),
    "gemma3_text": ("Gemma3Text", 0.6, dict(head_dim=8, query_pre_attn_scalar=12, sliding_window=4,
                                            layer_types=["sliding_attention", "full_attention"])),
    "mistral": ("Mistral", 0.6, dict(sliding_window=4)),
}


def make_base(family: str):
    torch.manual_seed(20)
    kind, _, settings = FAMILIES[family]
    config = getattr(transformers, f"{kind}Config")(**dict(
        vocab_size=199, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rope_theta=10000.0, tie_word_embeddings=True,
        initializer_range=0.15,
    ) | settings)
    model = getattr(transformers, f"{kind.removesuffix('Text')}ForCausalLM")(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            torch.nn.init.normal_(parameter, mean=0.0 if kind == "Gemma3Text" else 1.0, std=0.3)
    return model


def make_samples(count: int) -> list[dict]:
    """Prompts, and answers that follow from them (each token's successor), so that there is something to learn."""
    generator = torch.Generator().manual_seed(7)
    samples = []
    for _ in range(count):
        prompt = torch.randint(4, 20, (int(torch.randint(3, 12, (1,), generator=generator)),), generator=generator).tolist()
        length = int(torch.randint(1, min(len(prompt), 8) + 1, (1,), generator=generator))
        answer = [token + 30 for token in prompt[:length]] + [END_OF_TURN]
        samples.append({"input_ids": [2, *prompt, 3, *answer], "labels": [-100] * (len(prompt) + 2) + answer})
    return samples


def padded(samples: list[dict]) -> dict[str, torch.Tensor]:
    longest = max(len(sample["input_ids"]) for sample in samples)
    row = lambda values, fill: values + [fill] * (longest - len(values))
    return {
        "input_ids": torch.tensor([row(sample["input_ids"], 0) for sample in samples]),
        "attention_mask": torch.tensor([row([1] * len(sample["input_ids"]), 0) for sample in samples]),
        "labels": torch.tensor([row(sample["labels"], -100) for sample in samples]),
    }


def train(model, steps: list[list[dict]], settings: dict) -> dict:
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    matrices = [parameter for _, parameter in trained if parameter.dim() >= 2]
    vectors = [parameter for _, parameter in trained if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings["learning_rate"], betas=BETAS, eps=EPSILON)
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP, STEPS)
    record = {"losses": [], "grad_norms": [], "learning_rates": []}
    model.train()
    for number, batch in enumerate(steps):
        supervised = sum(label != -100 for sample in batch for label in sample["labels"])
        cut = 1 + number % 3
        total = 0.0
        for micro_batch in (batch[:cut], batch[cut:]):
            loss = model(**padded(micro_batch), num_items_in_batch=supervised).loss
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_([parameter for _, parameter in trained], settings["max_grad_norm"])
        record["learning_rates"].append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        record["losses"].append(total)
        record["grad_norms"].append(norm.item())
    clipped = sum(norm > settings["max_grad_norm"] for norm in record["grad_norms"])
    print(f"loss {record['losses'][0]:.4f} -> {record['losses'][-1]:.4f}, clipped in {clipped} of {STEPS} steps")
    print("  norms", " ".join(f"{norm:.3f}" for norm in record["grad_norms"]))
    assert clipped >= 5 and record["losses"][-1] <= 0.8 * record["losses"][0]
    return record | settings


def make_runs(family: str) -> None:
    out = OUT / family
    base = make_base(family)
    base.save_pretrained(out / "base")
    (out / "base" / "generation_config.json").unlink(missing_ok=True)
    samples = make_samples(12)
    steps = [[samples[(step * BATCH + place) % len(samples)] for place in range(BATCH)] for step in range(STEPS)]

    lora = get_peft_model(make_base(family), LoraConfig(**LORA, target_modules=TARGETS, task_type="CAUSAL_LM"))
    lora.save_pretrained(out / "adapter")
    (out / "adapter" / "README.md").unlink(missing_ok=True)
    path = out / "adapter" / "adapter_config.json"
    settings = json.loads(path.read_text())
    settings["target_modules"].sort()
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    record = {
        "warmup_steps": WARMUP, "weight_decay": WEIGHT_DECAY, "beta1": BETAS[0], "beta2": BETAS[1], "epsilon": EPSILON,
        "end_of_turn": END_OF_TURN, "samples": samples, "batch_size": BATCH,
        "full": train(base, steps, SETTINGS["full"]),
        "lora": train(lora, steps, SETTINGS["lora"] | {"max_grad_norm": FAMILIES[family][1]}),
    }
    (out / "runs.json").write_text(json.dumps(record) + "\n")
    full = {name: tensor.contiguous() for name, tensor in base.state_dict().items() if name != "lm_head.weight"}
    save_file(full, out / "full.safetensors")
    save_file(get_peft_model_state_dict(lora), out / "lora.safetensors")


def main() -> None:
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    for family in FAMILIES:
        make_runs(family)


if __name__ == "__main__":
    main()
