"""Training speed and memory on a GPU, Medley beside transformers + PEFT, for models that are drawn and never stand on disk.

    python benches/peers/gpu.py MEDLEY [--device cuda] [--shapes 1.8B,7B] [--methods lora,full] [--steps 12]

Both sides train random weights of the same shape on samples of the same lengths (lengths.csv, a real 9:1 mix), a step of
`--batch` samples cut into micro-batches of at most `--tokens`: packed without padding by Medley, sorted by length and padded to
the longest by the peer. Tokens are those of the samples, without padding. The first three steps (kernels are chosen and compiled
there) are left out. Operations of a token: 6 (full) or 4 (LoRA, whose frozen weights need no gradient) for each weight of the
layers, as much for the head at supervised tokens, and the causal half of attention; what recomputation adds does not count. The
peak is the faster of Medley's and torch's matrix product of that format. Memory is what nvidia-smi shows above the start, without
a GPU the process's resident memory. A run is ended as soon as its steps are taken, so nothing large is written.
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches"))
from world import VOCABULARY, write_model, write_texts  # noqa: E402

SHAPES = {
    # hidden, intermediate, layers, heads: those of Qwen1.5
    "toy": (64, 172, 2, 4),
    "0.5B": (1024, 2816, 24, 16),
    "1.8B": (2048, 5504, 24, 16),
    "7B": (4096, 11008, 32, 32),
}
LORA = {"rank": 8, "alpha": 16, "dropout": 0.05}
WARM = 3
RECIPE = """
name = "gpu"
[model]
base = "init:model/config.json"
[chat]
max_tokens = 1024
[mix]
size = 1000
validation = {{ fraction = 0.01, max_samples = 1 }}
[sources.all]
path = "data.jsonl"
[train]
method = "{method}"
lora = {{ rank = {rank}, alpha = {alpha}, dropout = {dropout}, target = "all-linear" }}
learning_rate = 1e-5
batch_size = {batch}
tokens_per_micro_batch = {tokens}
block_policy = "{policy}"
max_steps = 1000
epochs = 100
logging_steps = 1
eval_steps = 0
save_steps = 0
"""


def lengths():
    with open(ROOT / "benches/peers/lengths.csv", encoding="utf-8") as file:
        return [(int(row["prompt"]), int(row["answer"])) for row in csv.DictReader(file)]


def operations(shape, method, tokens, supervised, mean_length):
    """Floating-point operations of these tokens, forward and backward."""
    hidden, intermediate, layers, _ = shape
    passes = 6 if method == "full" else 4
    weights = layers * (4 * hidden * hidden + 3 * hidden * intermediate)
    attention = 6 * layers * hidden * mean_length
    return passes * (weights * tokens + VOCABULARY * hidden * supervised) + attention * tokens


class Memory(threading.Thread):
    """Watches a process: the GPU's used memory above the start, or its own resident memory, in GiB."""

    def __init__(self, pid, device):
        super().__init__(daemon=True)
        self.pid, self.gpu, self.peak, self.over = pid, device == "cuda", 0.0, threading.Event()
        self.start_value = self.used() if self.gpu else 0.0
        self.start()

    def used(self):
        if self.gpu:
            shown = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
                                   capture_output=True, text=True, check=True)
            return float(shown.stdout.split()[0]) / 1024
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return 0.0
        peak = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(peak[0].split()[1]) / 2**20 if peak else 0.0

    def run(self):
        while not self.over.wait(0.2):
            self.peak = max(self.peak, self.used() - self.start_value)


def read_metrics(path):
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [line for line in map(json.loads, lines) if line["kind"] == "train"]


def medley(arguments, shape, method, policy):
    """Tokens, supervised tokens, seconds and memory of the steps after the first ones."""
    with tempfile.TemporaryDirectory(prefix="medley-gpu-") as folder:
        folder = Path(folder)
        hidden, intermediate, layers, heads = shape
        write_model(folder / "model", hidden, intermediate, layers, heads, heads, tied=False)
        # A few tokens of each are the template's.
        texts = [(max(1, prompt - 3), max(1, answer - 1)) for prompt, answer in lengths()]
        write_texts(folder / "data.jsonl", texts, random.Random(0))
        (folder / "recipe.toml").write_text(RECIPE.format(
            method=method, policy=policy, batch=arguments.batch, tokens=arguments.tokens, **LORA), encoding="utf-8")
        out = folder / "run"
        with open(folder / "said", "w+", encoding="utf-8") as said:
            process = subprocess.Popen([arguments.medley, "train", "--recipe", str(folder / "recipe.toml"), "--device",
                                        arguments.device, "--out", str(out)], stdout=said, stderr=said)
            memory = Memory(process.pid, arguments.device)
            began = time.monotonic()
            while process.poll() is None and len(read_metrics(out / "metrics.jsonl")) < arguments.steps:
                if time.monotonic() - began > arguments.limit:
                    break
                time.sleep(0.05)
            process.kill()
            process.wait()
            memory.over.set()
            said.seek(0)
            lines = read_metrics(out / "metrics.jsonl")
            if len(lines) <= WARM:
                return {"error": " ".join(said.read().split())[-300:] or "too slow"}
    first, last = lines[WARM - 1], lines[-1]
    return {"tokens": last["tokens"] - first["tokens"], "seconds": last["seconds"] - first["seconds"], "memory": memory.peak,
            "supervised": last["supervised_tokens"] - first["supervised_tokens"], "loss": lines[0]["loss"]}


def peer(settings):
    """One training in this process; prints what `medley` gives back."""
    import torch
    import transformers

    shape, method, device = settings["shape"], settings["method"], settings["device"]
    hidden, intermediate, layers, heads = shape
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=4096, tie_word_embeddings=False,
        use_cache=False)
    low = torch.bfloat16 if settings["weights"] == "bf16" else torch.float32
    torch.set_default_dtype(low)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    torch.set_default_dtype(torch.float32)
    if method == "lora":
        import peft
        model = peft.get_peft_model(model, peft.LoraConfig(
            r=LORA["rank"], lora_alpha=LORA["alpha"], lora_dropout=LORA["dropout"], target_modules="all-linear"))
    if settings["checkpointing"]:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=device == "cuda")
    autocast = torch.autocast(device, torch.bfloat16, enabled=settings["weights"] == "autocast")
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    draw, all_lengths = random.Random(0), lengths()
    result = {"tokens": 0, "supervised": 0}
    for step in range(settings["steps"]):
        if step == WARM:
            wait()
            started = time.perf_counter()
        batch = sorted(draw.sample(all_lengths, settings["batch"]), key=sum, reverse=True)
        supervised = sum(answer for _, answer in batch)
        loss_sum = 0.0
        while batch:
            count = max(1, settings["tokens"] // sum(batch[0]))
            now, batch = batch[:count], batch[count:]
            longest = max(map(sum, now))
            ids = torch.randint(VOCABULARY, (len(now), longest), device=device)
            mask = torch.tensor([[1] * sum(pair) + [0] * (longest - sum(pair)) for pair in now], device=device)
            wanted = torch.tensor([[0] * prompt + [1] * answer + [0] * (longest - prompt - answer) for prompt, answer in now],
                                  device=device)
            with autocast:
                loss = model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(wanted == 0, -100),
                             num_items_in_batch=supervised).loss
            loss.backward()
            loss_sum += loss.detach()
            if step >= WARM:
                result["tokens"] += sum(map(sum, now))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        result["supervised"] += supervised if step >= WARM else 0
        result.setdefault("loss", float(loss_sum))
    wait()
    result["seconds"] = time.perf_counter() - started
    print(json.dumps(result))


def run_peer(arguments, shape, method, weights, checkpointing):
    settings = {"shape": shape, "method": method, "device": arguments.device, "weights": weights, "checkpointing": checkpointing,
                "steps": arguments.steps, "batch": arguments.batch, "tokens": arguments.tokens}
    process = subprocess.Popen([sys.executable, __file__, "-", "--peer", json.dumps(settings)], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    memory = Memory(process.pid, arguments.device)
    try:
        out, problem = process.communicate(timeout=arguments.limit)
    except subprocess.TimeoutExpired:
        process.kill()
        return {"error": "too slow"}
    memory.over.set()
    if process.returncode != 0:
        return {"error": (problem.strip().splitlines() or ["killed"])[-1][:200]}
    return json.loads(out.splitlines()[-1]) | {"memory": memory.peak}


def peaks(arguments):
    """Operations per second of the matrix product, by format: the faster of Medley's and torch's."""
    shown = subprocess.run([arguments.medley, "selftest", "--device", arguments.device, "--speed", "--json"],
                           capture_output=True, text=True, check=True)
    found = {line["format"]: line["flops_per_second"] for line in json.loads(shown.stdout)["matmul"]}
    print(", ".join(f"Medley's matrix product in {name}: {rate / 1e12:.2f} TFLOP/s" for name, rate in found.items()))
    if arguments.device == "wgpu":
        return found
    try:
        import torch
    except ImportError:
        return found
    size = 8192 if arguments.device == "cuda" else 1024
    for name, kind in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        if name not in found:
            continue
        left, right = (torch.randn(size, size, device=arguments.device, dtype=kind) for _ in range(2))
        wait = torch.cuda.synchronize if arguments.device == "cuda" else lambda: None
        best = float("inf")
        for _ in range(12):
            wait()
            started = time.perf_counter()
            left @ right
            wait()
            best = min(best, time.perf_counter() - started)
        rate = 2 * size**3 / best
        print(f"torch's in {name}: {rate / 1e12:.2f} TFLOP/s")
        found[name] = max(found[name], rate)
    return found


def row(who, shape, method, found, peak):
    if "error" in found:
        print(f"| {method} | {who} | | | | {found['error'].replace('|', '/')} |", flush=True)
        return
    mean_length = sum(map(sum, lengths())) / len(lengths())
    work = operations(shape, method, found["tokens"], found["supervised"], mean_length)
    rate, share = found["tokens"] / found["seconds"], work / found["seconds"] / peak
    print(f"| {method} | {who} | {rate:,.0f} | {share:.1%} | {found['memory']:.1f} | first loss {found['loss']:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("medley")
    parser.add_argument("--device", choices=("cuda", "wgpu", "cpu"), default="cuda")
    parser.add_argument("--shapes", default="1.8B,7B")
    parser.add_argument("--methods", default="lora,full")
    parser.add_argument("--policies", default="keep,recompute", help="Medley's block policies")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64, help="samples in an optimizer step")
    parser.add_argument("--tokens", type=int, default=8192, help="tokens in a micro-batch")
    parser.add_argument("--limit", type=float, default=400, help="seconds that one run may take")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        return peer(json.loads(arguments.peer))
    peak = peaks(arguments)
    peak = peak.get("bf16", peak["f32"])
    # Full fine-tuning in transformers: f32 weights and state under autocast (as exact as Medley's), or all in bf16 (half of it).
    formats = {"cuda": {"lora": ["bf16"], "full": ["autocast", "bf16"]}}.get(arguments.device, {"lora": ["f32"], "full": ["f32"]})
    for name in arguments.shapes.split(","):
        print(f"\n{name}: {arguments.batch} samples a step, {arguments.tokens} tokens in a micro-batch, {arguments.steps} steps\n")
        print("| method | what | tokens/s | share of the peak | memory, GiB | |\n|---|---|---:|---:|---:|---|", flush=True)
        for method in arguments.methods.split(","):
            for policy in arguments.policies.split(","):
                row(f"Medley, {policy}", SHAPES[name], method, medley(arguments, SHAPES[name], method, policy), peak)
            for weights in [] if arguments.no_peer or arguments.device == "wgpu" else formats[method]:
                for checkpointing in (False, True):
                    who = f"transformers{' + PEFT' if method == 'lora' else ''}, {weights}, {'checkpointing' if checkpointing else 'all kept'}"
                    row(who, SHAPES[name], method, run_peer(arguments, SHAPES[name], method, weights, checkpointing), peak)


if __name__ == "__main__":
    main()
