#!/usr/bin/env python3
"""Kills training runs at random moments and compares their results with an undisturbed run.

For each method and variant: one undisturbed run, then one that is killed (SIGKILL) `--kills` times and resumed until it is
done. Kills are uniform over the run's life; every second one is aimed into the writing of a checkpoint, the first one into the
start, the last one into the writing of `model/`. Then weights, optimizer state and `model/` must be the same bytes, the metrics
the same but for times and memory, and every resumption must have begun at the newest checkpoint at the time of the kill.

The model is random (vocabulary 151,936), the data is generated. Needs only Python and the built binary:

    python3 benches/kill.py --medley target/release/medley --kills 20
"""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from disturb import ENVIRONMENT, digest, has_unfinished, parser
from world import write_model, write_texts

CLOCK = {"seconds", "time", "tokens_per_second", "memory_bytes", "peak_memory_bytes"}
# Method, optimizer, block policy, result.
VARIANTS = [("full", "adamw", "recompute", "last"), ("lora", "adamw", "recompute", "best"), ("full", "muon", "keep", "best"),
            ("lora", "muon", "keep", "last")]
# Variants with the best weights as their result also stop early.
BEST = ["train.early_stopping={ patience = 2, min_delta = 0.001 }", "train.eval_steps=2"]

MAX_GRAD_NORM = 0.1  # below the norms that are seen: clipping is active
RECIPE = """
name = "killed"
[model]
base = "init:model/config.json"
dtype = "f32"
[chat]
max_tokens = 128
[mix]
size = 70
ratio = { general = 4, medical = 1 }
validation = { fraction = 0.1, max_samples = 6 }
[sources.general]
path = "general.jsonl"
[sources.medical]
path = "medical.jsonl"
[train]
learning_rate = 3e-3
max_grad_norm = MAX_GRAD_NORM
batch_size = 4                      # 18 steps an epoch, the last of them with 2 samples
tokens_per_micro_batch = 96         # a step is two to four micro-batches
epochs = 2
lora = { rank = 8, alpha = 16, dropout = 0.1, target = "all-linear" }
logging_steps = 1
eval_steps = 5
save_steps = 3
save_total_limit = 2
keep = "all"
"""


def make_world(folder):
    """Tokenizer, configuration, data and recipe."""
    write_model(folder / "model", hidden=64, intermediate=172, layers=2, heads=4, key_value_heads=2, tied=True)
    draw = random.Random(1)
    for source, count in [("general", 120), ("medical", 40)]:
        lengths = [(draw.randrange(2, 35), draw.randrange(2, 35)) for _ in range(count)]
        write_texts(folder / f"{source}.jsonl", lengths, draw)
    (folder / "recipe.toml").write_text(RECIPE.replace("MAX_GRAD_NORM", str(MAX_GRAD_NORM)), encoding="utf-8")


class Runner:
    """One variant: how its process is started, and what its folder shows."""

    def __init__(self, medley, world, variant):
        method, rule, policy, result = variant
        self.world = world
        self.command = [medley, "train", "--recipe", "recipe.toml", "--device", "cpu", "--set", f"train.method={method}",
                        "--set", f"train.optimizer={rule}", "--set", f"train.block_policy={policy}", "--set", f"train.result={result}"]
        if result == "best":
            self.command += [word for setting in BEST for word in ("--set", setting)]

    def start(self, out, resume, log):
        arguments = self.command + ["--out", str(out)] + (["--resume"] if resume else [])
        return subprocess.Popen(arguments, cwd=self.world, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                                env=ENVIRONMENT)

    def finish(self, out, resume):
        """Runs to the end: its messages, and the seconds it took."""
        with tempfile.TemporaryFile() as log:
            began = time.monotonic()
            process = self.start(out, resume, log)
            code = process.wait()
            log.seek(0)
            said = log.read().decode()
        if code != 0:
            sys.exit(f"the run failed:\n{said}")
        return said, time.monotonic() - began


def steps_logged(out):
    try:
        lines = (out / "metrics.jsonl").read_bytes().split(b"\n")
    except FileNotFoundError:
        return 0
    return max((json.loads(line)["step"] for line in lines[:-1] if line), default=0)


def checkpoints(out):
    steps = out / "steps"
    return sorted(int(entry.name) for entry in steps.iterdir() if entry.name.isdigit()) if steps.is_dir() else []


def kill_when(process, out, plan):
    """Waits for the moment of `plan` and kills; false where the run ended before."""
    kind, step, delay = plan
    reached = {
        "start": lambda: True,
        "step": lambda: steps_logged(out) >= step,
        "checkpoint": lambda: steps_logged(out) >= step and has_unfinished(out / "steps"),
        "model": lambda: steps_logged(out) >= step and not has_unfinished(out / "steps") and has_unfinished(out),
    }[kind]
    while not reached():
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    time.sleep(delay)
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


def plans(draw, kills, steps, startup, step_seconds, writing):
    """Moments to kill at, in the order of the run: a few more than asked for, in case the run is over first."""
    places = sorted(draw.uniform(0, steps - 1) for _ in range(kills + 1))
    middle = []
    for at, place in enumerate(places):
        if at % 2:
            middle.append(("checkpoint", int(min(place, steps - 3)), writing * 10 ** draw.uniform(-3, 0)))
        else:
            middle.append(("step", int(place), (place % 1) * step_seconds))
    return [("start", 0, draw.uniform(0, startup))] + middle + [("model", steps, writing * 10 ** draw.uniform(-3, -1))]


def killed_run(runner, out, moments):
    """Kills at every moment, resumes, and tells what was seen at each."""
    seen, resume = [], False
    for plan in moments:
        with tempfile.TemporaryFile() as log:
            process = runner.start(out, resume, log)
            killed = kill_when(process, out, plan)
            log.seek(0)
            said = log.read().decode()
        if not killed and process.returncode != 0:
            sys.exit(f"a resumed run failed:\n{said}")
        check_resumption(seen[-1] if seen else None, said)
        # A run that is killed before its folder is there has nothing to resume; --resume then starts it.
        resume = True
        torn = has_unfinished(out / "steps") or has_unfinished(out) if out.is_dir() else False
        seen.append({"plan": plan, "killed": killed, "steps": steps_logged(out), "checkpoints": checkpoints(out), "torn": torn})
    said, _ = runner.finish(out, True)
    check_resumption(seen[-1], said)
    return seen


def check_resumption(before, said):
    """The run must have gone on from the newest checkpoint that stood when the process before it was killed."""
    found = re.search(r"resumed from step (\d+)", said)
    if before is None or "training" not in said or re.search(r"^training", said, re.M) is None:
        return
    newest = before["checkpoints"][-1] if before["checkpoints"] else None
    began = int(found.group(1)) if found else None
    if began != newest:
        sys.exit(f"began at {began} where the newest checkpoint was {newest}:\n{said}")
    if newest is None and "no checkpoint yet" not in said:
        sys.exit(f"does not say that there was no checkpoint:\n{said}")


def content(path, out):
    """A file's bytes, without the place of the run and the times that it took."""
    data = path.read_bytes()
    if path.name == "state.json":
        state = json.loads(data)
        state["position"]["seconds_bits"] = state["checksum"] = 0
        # Its own content is compared; its hash covers the place of the run.
        state["files"] = [file for file in state["files"] if file["name"] != "adapter_config.json"]
        return json.dumps(state).encode()
    return data.replace(str(out.resolve()).encode(), b"RUN") if path.suffix in (".json", ".md") else data


def digests(folder, out):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): digest(content(path, out)) for path in files}


def metrics(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]


def compare(whole, torn):
    """Differences between the two runs, in words."""
    problems = []
    last = checkpoints(whole)[-1]
    if checkpoints(whole) != checkpoints(torn):
        problems.append(f"checkpoints {checkpoints(whole)} and {checkpoints(torn)}")
    for name in [f"steps/{last}", "model"]:
        ours, theirs = digests(whole / name, whole), digests(torn / name, torn)
        problems += [f"{name}/{file} differs" for file in sorted(ours.keys() | theirs.keys()) if ours.get(file) != theirs.get(file)]
    ours, theirs = metrics(whole), metrics(torn)
    problems += [f"metrics differ:\n  {a}\n  {b}" for a, b in zip(ours, theirs) if a != b]
    if len(ours) != len(theirs):
        problems.append(f"{len(ours)} lines of metrics and {len(theirs)}")
    trained = [line["step"] for line in theirs if line["kind"] == "train"]
    if trained != list(range(1, last + 1)):
        problems.append(f"not one line for every step: {trained}")
    return problems


def prove(arguments, world, variant, seed):
    """One variant: undisturbed, killed, compared. A row of the table."""
    runner = Runner(str(Path(arguments.medley).resolve()), world, variant)
    whole, torn = world / "whole", world / "torn"
    _, seconds = runner.finish(whole, False)
    lines = [line for line in map(json.loads, (whole / "metrics.jsonl").read_text().splitlines()) if line["kind"] == "train"]
    steps, trained = lines[-1]["step"], lines[-1]["seconds"]
    clipped = sum(line["grad_norm"] > MAX_GRAD_NORM for line in lines)
    startup, step_seconds = max(seconds - trained, 0.2), trained / steps
    moments = plans(random.Random(seed), arguments.kills, steps, startup, step_seconds, arguments.writing)
    seen = killed_run(runner, torn, moments)
    problems = compare(whole, torn)
    killed = [one for one in seen if one["killed"]]
    row = [" ".join(variant), str(len(killed)), str(sum(one["torn"] for one in killed)),
           str(sum(not one["checkpoints"] for one in killed)), f"{clipped}/{steps}", f"{seconds:.0f}",
           "the same bits" if not problems else f"{len(problems)} differences"]
    print("| " + " | ".join(row) + " |", flush=True)
    for problem in problems[:12]:
        print(f"{' '.join(variant)}: {problem}", file=sys.stderr)
    for folder in (whole, torn):
        shutil.rmtree(folder)
    return not problems and len(killed) >= arguments.kills


def main():
    options = parser(__doc__)
    options.add_argument("--kills", type=int, default=20, help="kills of each variant (default 20)")
    options.add_argument("--seed", type=int, default=7, help="seed of the moments")
    options.add_argument("--writing", type=float, default=0.5, help="upper bound of the seconds in which a checkpoint is written")
    options.add_argument("--methods", default="full,lora")
    arguments = options.parse_args()
    chosen = [variant for variant in VARIANTS if variant[0] in arguments.methods.split(",")]
    print("| variant | kills | while a file was half-written | before any checkpoint | steps clipped | undisturbed, s | end |")
    print("|---|---|---|---|---|---|---|", flush=True)
    good = True
    for at, variant in enumerate(chosen):
        with tempfile.TemporaryDirectory(prefix="medley-kill-") as folder:
            make_world(Path(folder))
            good &= prove(arguments, Path(folder), variant, arguments.seed + at)
    sys.exit(0 if good else "not proven: see above")


if __name__ == "__main__":
    main()
