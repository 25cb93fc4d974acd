#!/usr/bin/env bash
# transformers 5.24.0 with torch 2.13.0: rotary positions of type "dynamic" (NTK), a Llama of random weights with 32 trained positions.
#
# Expected: the logits of a text depend on the text alone, and greedy decoding gives the same tokens with and without the key-value
#   cache, as for every other rotary type.
# Actual: the module keeps the base of the longest text so far until a text of fewer than 32 tokens resets it, so that a text of 48
#   tokens has other logits after one of 96. With a cache, keys keep the base of the step in which they were computed while later
#   queries use another, so that greedy decoding differs from that without a cache.
#
# Output seen on 2026-11-30 (CPython 3.11, CPU):
#   48 tokens after 96: another result
#   48 tokens after 96 and 16: the same result
#   greedy, 72 new tokens: the cache changes them
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 transformers==5.24.0
cat >"$work/check.py" <<'PYTHON'
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=97, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
    max_position_embeddings=32, initializer_range=0.3, eos_token_id=None,
    rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0},
)
model = LlamaForCausalLM(config).eval()
ids = (torch.arange(96) * 7 % 97).reshape(1, -1)


def last(length):
    with torch.no_grad():
        return model(ids[:, :length]).logits[0, -1]


def same(one, other):
    return bool(((one - other).abs().max() / one.abs().max()) < 1e-4)


fresh = last(48)
last(96)
after_long = same(last(48), fresh)
last(16)
after_short = same(last(48), fresh)
greedy = [
    model.generate(ids[:, :8], max_new_tokens=72, do_sample=False, use_cache=cache, pad_token_id=0) for cache in (True, False)
]
decoded = bool((greedy[0] == greedy[1]).all())
print("48 tokens after 96:", "the same result" if after_long else "another result")
print("48 tokens after 96 and 16:", "the same result" if after_short else "another result")
print("greedy, 72 new tokens:", "the same with and without cache" if decoded else "the cache changes them")
sys.exit((after_long, after_short, decoded) != (False, True, False))
PYTHON
"$work/venv/bin/python" "$work/check.py"
