"""Fine-tuning in transformers (and PEFT) beside Medley's, alternating in one run.

    python benches/peers/train.py target/release/medley [--workload 12x512|quickstart] [--method full|lora] [--rounds 3]

Workloads, both f32 with AdamW, clipping at 1.0 and two threads:

- `12x512`: 12 layers, hidden 512, 8 heads, SwiGLU 1376, vocabulary 151,936 (tied), random weights; lengths.csv holds the lengths of
  1,024 samples of a real 9:1 mix (52,000 general, 14,000 TCM and 15,000 Western records, the Qwen 1.5 tokenizer, at most 512
  tokens), filled with random words. 32 samples a step.
- `quickstart`: the bundled base on the quickstart's mix, 16 samples a step.

Both sides train the same samples in the same steps from the same weights. The peer runs {SDPA, eager} x {checkpointing off,
on} x {padded, grouped}: padded cuts a step into micro-batches of a fixed number of samples; grouped sorts the whole run by
length first and fills each micro-batch up to the token budget, which costs the least padding that a peer can have (and changes
the steps). A peer's setting that is slower than 0.8 of its best in the first round is not run again. The losses of the padded
runs must agree with Medley's. Prints a Markdown table: median samples per second (model
loading and data preparation left out on both sides, Medley's worst micro-batch that it tries first too) and median peak memory
of the process.
"""
import argparse
import csv
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LORA = {"rank": 8, "alpha": 16, "dropout": 0.05}
WORKLOADS = {
    # samples a step, steps, samples in a peer's padded micro-batch, tokens in a micro-batch
    "12x512": {"batch": 32, "steps": 2, "padded": 8, "tokens": 4096},
    "quickstart": {"batch": 16, "steps": 120, "padded": 16, "tokens": 4096},
}
RATE = 1e-4


def make_12x512(folder):
    """A random model, a tokenizer of one token a word and texts of the given lengths; gives back the recipe."""
    import tokenizers
    import torch
    import transformers

    words = 151_936
    vocabulary = {"<pad>": 0, "<end>": 1, "<user>": 2, "<assistant>": 3} | {f"w{at}": at for at in range(4, words)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    special = [tokenizers.AddedToken(word, special=True) for word in ("<pad>", "<end>", "<user>", "<assistant>")]
    tokenizer.add_special_tokens(special)
    base = folder / "base"
    base.mkdir()
    tokenizer.save(str(base / "tokenizer.json"))
    template = "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] }}<end>{% endfor %}" \
               "{% if add_generation_prompt %}<assistant>{% endif %}"
    (base / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>", "pad_token": "<pad>", "chat_template": template}))
    config = transformers.Qwen2Config(
        vocab_size=words, hidden_size=512, intermediate_size=1376, num_hidden_layers=12, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=4096, tie_word_embeddings=True, eos_token_id=1)
    torch.manual_seed(0)
    transformers.Qwen2ForCausalLM(config).save_pretrained(base)
    draw = random.Random(0)
    with open(ROOT / "benches/peers/lengths.csv") as lengths, open(folder / "data.jsonl", "w") as data:
        for row in csv.DictReader(lengths):
            # Three tokens of a prompt and one of an answer are the template's.
            words_of = lambda count: " ".join(f"w{draw.randrange(4, words)}" for _ in range(count))
            prompt, answer = words_of(int(row["prompt"]) - 3), words_of(int(row["answer"]) - 1)
            data.write(json.dumps({"instruction": prompt, "output": answer}) + "\n")
    (folder / "recipe.toml").write_text(
        'name = "bench"\n[model]\nbase = "base"\ndtype = "f32"\n[chat]\nmax_tokens = 512\n[mix]\nsize = 1000\nratio = { all = 1 }\n'
        'validation = { fraction = 0.01, max_samples = 1 }\n[sources.all]\npath = "data.jsonl"\n[train]\n')
    return folder / "recipe.toml"


def prepare(name, folder):
    return make_12x512(folder) if name == "12x512" else ROOT / "recipes/quickstart.toml"


def settings(name, method):
    load = WORKLOADS[name]
    lora = f"{{ rank = {LORA['rank']}, alpha = {LORA['alpha']}, dropout = {LORA['dropout']}, target = \"all-linear\" }}"
    chosen = {
        "exam.papers": "[]", "train.method": method, "train.lora": lora, "train.max_steps": load["steps"],
        "train.batch_size": load["batch"], "train.tokens_per_micro_batch": load["tokens"], "train.learning_rate": RATE,
        "train.schedule": "constant", "train.warmup_ratio": 0, "train.weight_decay": 0.0, "train.max_grad_norm": 1.0,
        "train.eval_steps": 0, "train.logging_steps": 1, "train.save_steps": 0, "mix.validation.max_samples": 1,
    }
    return [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]


def medley(binary, name, method, recipe, folder, extra):
    out = folder / f"run-{time.time_ns()}"
    command = [binary, "train", "--recipe", str(recipe), "--device", "cpu", "--out", str(out), *settings(name, method), *extra]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=open(folder / "stderr.txt", "w"),
                               env=os.environ | {"RAYON_NUM_THREADS": "2"})
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit((folder / "stderr.txt").read_text())
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    train = [line for line in lines if line["kind"] == "train"]
    policy = [line.split("blocks: ")[1].split(";")[0] for line in (folder / "stderr.txt").read_text().splitlines() if "blocks: " in line]
    shutil.rmtree(out)
    load = WORKLOADS[name]
    return {"rate": load["batch"] * load["steps"] / train[-1]["seconds"], "memory": usage.ru_maxrss / 1024,
            "losses": [line["loss"] for line in train], "policy": f"blocks: {policy[-1]}" if policy else ""}


def micro_batches(steps, load, grouped):
    """Each step as a list of micro-batches of (input ids, labels)."""
    if not grouped:
        return [[step[at:at + load["padded"]] for at in range(0, len(step), load["padded"])] for step in steps]
    samples = sorted((sample for step in steps for sample in step), key=lambda sample: -len(sample[0]))
    cut = []
    for start in range(0, len(samples), load["batch"]):
        rest, batches = samples[start:start + load["batch"]], []
        while rest:
            count = max(1, load["tokens"] // len(rest[0][0]))
            batches.append(rest[:count])
            rest = rest[count:]
        cut.append(batches)
    random.Random(0).shuffle(cut)
    return cut


def peer(name, method, base, samples, attention, checkpointing, grouped):
    """One training in this process; prints samples per second, peak memory and losses as JSON."""
    import torch
    import transformers

    torch.set_num_threads(2)
    torch.manual_seed(0)
    load = WORKLOADS[name]
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation=attention)
    if method == "lora":
        import peft
        model = peft.get_peft_model(model, peft.LoraConfig(
            r=LORA["rank"], lora_alpha=LORA["alpha"], lora_dropout=LORA["dropout"], target_modules="all-linear"))
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.config.use_cache = False
    steps = {}
    for line in Path(samples).read_text().splitlines():
        sample = json.loads(line)
        steps.setdefault(sample["step"], []).append((sample["input_ids"], sample["labels"]))
    work = micro_batches(list(steps.values()), load, grouped)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE, weight_decay=0.0)
    model.train()
    losses = []
    started = time.perf_counter()
    for step in work:
        supervised = sum(label != -100 for batch in step for _, labels in batch for label in labels[1:])
        total = 0.0
        for batch in step:
            longest = max(len(ids) for ids, _ in batch)
            ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in batch])
            mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in batch])
            labels = torch.tensor([labels + [-100] * (longest - len(labels)) for _, labels in batch])
            loss = model(input_ids=ids, attention_mask=mask, labels=labels, num_items_in_batch=supervised).loss
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    seconds = time.perf_counter() - started
    count = sum(len(batch) for step in work for batch in step)
    print(json.dumps({"rate": count / seconds, "losses": losses,
                      "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def runs_of_the_peer(name, method, recipe, folder, samples):
    base = folder / "base" if name == "12x512" else ROOT / "data/base"
    for attention in ("sdpa", "eager"):
        for checkpointing in (False, True):
            for grouped in (False, True):
                label = f"{attention}, {'checkpointing' if checkpointing else 'all kept'}, {'grouped' if grouped else 'padded'}"
                yield label, [sys.executable, __file__, "-", "--peer", name, method, str(base), str(samples), attention,
                              str(int(checkpointing)), str(int(grouped))]


def run_peer(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return {"rate": 0.0, "memory": float("nan"), "losses": [], "error": (done.stderr.strip().splitlines() or ["killed"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def compare(binary, name, method, rounds, extra):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        recipe = prepare(name, folder)
        samples = folder / "samples.jsonl"
        shown = subprocess.run([binary, "preview", "--recipe", str(recipe), "--json", "--step", f"1-{WORKLOADS[name]['steps']}",
                                *settings(name, method)], check=True, capture_output=True, text=True)
        samples.write_text(shown.stdout)
        found = {}
        for _ in range(rounds):
            best = max((run["rate"] for label, runs in found.items() if label != "Medley" for run in runs), default=0.0)
            found.setdefault("Medley", []).append(medley(binary, name, method, recipe, folder, extra))
            for label, command in runs_of_the_peer(name, method, recipe, folder, samples):
                if label not in found or found[label][0]["rate"] >= 0.8 * best:
                    found.setdefault(label, []).append(run_peer(command))
    return found


def show(name, method, found):
    middle = lambda runs, key: statistics.median(run[key] for run in runs)
    best = max(middle(runs, "rate") for label, runs in found.items() if label != "Medley")
    ours = found["Medley"]
    for label, runs in found.items():
        who = f"Medley ({ours[0]['policy'] or 'default policy'})" if label == "Medley" else f"transformers{' + PEFT' if method == 'lora' else ''}, {label}"
        error = next((run["error"] for run in runs if "error" in run), "")
        print(f"| {method} | {who} | {middle(runs, 'rate'):.2f} | {middle(runs, 'rate') / best:.2f} | {middle(runs, 'memory'):.0f} | {len(runs)} | {error} |", flush=True)
    first = "sdpa, all kept, padded"
    differences = [abs(a - b) / abs(b) for a, b in zip(ours[0]["losses"], found[first][0]["losses"])]
    if differences:
        print(f"\n{method}: losses against {first}: first step {differences[0]:.1e}, worst of {len(differences)} {max(differences):.1e} (relative)\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--workload", choices=WORKLOADS, default="12x512")
    parser.add_argument("--method", choices=("full", "lora"), action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="a further setting of Medley's recipe")
    parser.add_argument("--only-medley", action="store_true")
    parser.add_argument("--peer", nargs=7)
    arguments = parser.parse_args()
    if arguments.peer:
        name, method, base, samples, attention, checkpointing, grouped = arguments.peer
        return peer(name, method, base, samples, attention, checkpointing == "1", grouped == "1")
    extra = [part for setting in arguments.set for part in ("--set", setting)]
    if arguments.only_medley:
        with tempfile.TemporaryDirectory() as folder:
            recipe = prepare(arguments.workload, Path(folder))
            for method in arguments.method or ("lora", "full"):
                for _ in range(arguments.rounds):
                    print(method, medley(arguments.binary, arguments.workload, method, recipe, Path(folder), extra), flush=True)
        return None
    import torch
    import transformers
    import peft
    version = subprocess.run([arguments.binary, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    print(f"{version}, torch {torch.__version__}, transformers {transformers.__version__}, PEFT {peft.__version__}; "
          f"{platform.machine()}, {os.cpu_count()} cores; workload {arguments.workload}, {arguments.rounds} rounds\n")
    print("| method | what | samples/s | against the peer's best | peak memory, MiB | runs | |\n|---|---|---:|---:|---:|---:|---|")
    for method in arguments.method or ("lora", "full"):
        show(arguments.workload, method, compare(arguments.binary, arguments.workload, method, arguments.rounds, extra))


if __name__ == "__main__":
    main()
