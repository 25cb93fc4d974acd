"""The quickstart's training in transformers (and PEFT), beside Medley's, alternating in one run.

    python benches/peers/quickstart.py target/release/medley [--rounds 3] [--method full|lora]

Both train the bundled base on the quickstart's mix: the same samples, 16 a step, f32, AdamW, two threads. The peer pads its
batches, plainly or grouped by length, with SDPA or eager attention; the best of the four counts. Prints a Markdown table of
samples per second (median of the rounds, model loading and data preparation left out on both sides) and peak memory.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BATCH = 16
STEPS = 120


def peer(mix, method, attention, grouped):
    """One training in this process; prints samples per second and peak memory as JSON."""
    import torch
    import transformers

    torch.set_num_threads(2)
    torch.manual_seed(0)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(ROOT / "data/base")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        ROOT / "data/base", dtype=torch.float32, attn_implementation=attention)
    if method == "lora":
        import peft
        model = peft.get_peft_model(model, peft.LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, target_modules="all-linear"))
    samples = []
    for line in Path(mix).read_text().splitlines():
        messages = [{"role": turn["role"], "content": turn["content"]} for turn in json.loads(line)["messages"]]
        whole = tokenizer(tokenizer.apply_chat_template(messages, tokenize=False), add_special_tokens=False)["input_ids"]
        prompt = tokenizer(
            tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True),
            add_special_tokens=False)["input_ids"]
        samples.append((whole, [-100] * len(prompt) + whole[len(prompt):]))
    samples = samples[: BATCH * STEPS]
    if grouped:
        samples.sort(key=lambda sample: len(sample[0]))
    batches = [samples[start:start + BATCH] for start in range(0, len(samples), BATCH)]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.0)
    model.train()
    started = time.perf_counter()
    for batch in batches:
        longest = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in batch])
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in batch])
        labels = torch.tensor([labels + [-100] * (longest - len(labels)) for _, labels in batch])
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": len(samples) / seconds, "memory": peak}))


def medley(binary, method, folder):
    out = Path(folder) / f"run-{time.time_ns()}"
    command = [binary, "train", "--recipe", str(ROOT / "recipes/quickstart.toml"), "--device", "cpu", "--out", str(out)]
    for setting in ("exam.papers=[]", f"train.method={method}", f"train.max_steps={STEPS}", "train.eval_steps=0",
                    "train.logging_steps=10", "mix.validation.max_samples=1"):
        command += ["--set", setting]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"medley failed: {' '.join(command)}")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    train = [line for line in lines if line["kind"] == "train"]
    return {"rate": BATCH * STEPS / train[-1]["seconds"], "memory": usage.ru_maxrss / 1024}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", nargs=4)
    arguments = parser.parse_args()
    if arguments.peer:
        mix, method, attention, grouped = arguments.peer
        return peer(mix, method, attention, grouped == "True")
    print("| method | what | samples/s | peak memory, MiB |\n|---|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([arguments.binary, "mix", "--recipe", str(ROOT / "recipes/quickstart.toml"), "--out", f"{folder}/mix"],
                       check=True, capture_output=True)
        for method in ("full", "lora"):
            found = {}
            for _ in range(arguments.rounds):
                found.setdefault("Medley", []).append(medley(arguments.binary, method, folder))
                for attention in ("sdpa", "eager"):
                    for grouped in (False, True):
                        run = [sys.executable, __file__, arguments.binary, "--peer", f"{folder}/mix/mix.jsonl", method,
                               attention, str(grouped)]
                        name = f"transformers{' + PEFT' if method == 'lora' else ''}, {attention}, " \
                               f"{'grouped by length' if grouped else 'padded'}"
                        output = subprocess.run(run, check=True, capture_output=True, text=True).stdout
                        found.setdefault(name, []).append(json.loads(output.splitlines()[-1]))
            for name, runs in found.items():
                rate = statistics.median(run["rate"] for run in runs)
                memory = statistics.median(run["memory"] for run in runs)
                print(f"| {method} | {name} | {rate:.0f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
