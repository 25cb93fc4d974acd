"""Loads what Medley saved in transformers or PEFT and compares its logits.

    python tests/parity/check_saved.py MODEL_DIR EXPECTED.safetensors [ADAPTER_DIR] [-- MODEL_DIR ...]

EXPECTED holds `input_ids`, `lengths` and `logits` of packed samples. Exits with 1 and a message where they differ by more
than 1e-4 of the largest logit, or where loading warns of missing or unexpected weights.
"""

import sys

import torch
import transformers
from safetensors.torch import load_file


def load(model_dir, adapter_dir):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[key]:
            sys.exit(f"{key}: {sorted(map(str, info[key]))}")
    if adapter_dir is not None:
        import peft
        model = peft.PeftModel.from_pretrained(model, adapter_dir)
        saved = load_file(f"{adapter_dir}/adapter_model.safetensors")
        own = peft.get_peft_model_state_dict(model)
        if sorted(saved) != sorted(own):
            sys.exit(f"adapter names differ: {sorted(set(saved) ^ set(own))}")
    return model.eval()


def check(model_dir, expected, adapter_dir=None):
    model, expected = load(model_dir, adapter_dir), load_file(expected)
    start, logits = 0, []
    for length in expected["lengths"].tolist():
        with torch.no_grad():
            logits.append(model(input_ids=expected["input_ids"][None, start:start + length]).logits[0])
        start += length
    logits = torch.cat(logits).float()
    difference = float((logits - expected["logits"]).abs().max() / expected["logits"].abs().max())
    print(f"{model_dir}: largest difference: {difference:.2e}")
    if not difference <= 1e-4:
        sys.exit("the logits differ")


def main():
    torch.set_num_threads(1)
    words = sys.argv[1:]
    while words:
        end = words.index("--") if "--" in words else len(words)
        check(*words[:end])
        words = words[end + 1:]


if __name__ == "__main__":
    main()
