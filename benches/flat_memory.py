#!/usr/bin/env python3
"""Memory of a run of 500 steps: the last hundred steps must not hold more than 1 % above steps 50 to 150.

    python3 benches/flat_memory.py --medley target/release/medley --device cpu --device wgpu

The quickstart's model and data in small steps of different lengths, so that every step asks for other sizes; the process's
resident memory as `metrics.jsonl` tells it (a software rasteriser's device memory is part of it). Prints a Markdown table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ["train.epochs=50", "train.logging_steps=1", "train.eval_steps=0", "train.batch_size=2", "mix.size=200",
            "exam.papers=[]"]


def resident(medley, device, method, steps):
    """MiB after each step."""
    with tempfile.TemporaryDirectory(prefix="medley-flat-") as folder:
        out = Path(folder) / "run"
        command = [medley, "train", "--recipe", str(ROOT / "recipes/quickstart.toml"), "--device", device, "--out", str(out)]
        for setting in SETTINGS + [f"train.max_steps={steps}", f"train.method={method}"]:
            command += ["--set", setting]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              env=dict(os.environ, NO_COLOR="1"))
        if done.returncode != 0:
            sys.exit(done.stderr)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["memory_bytes"] / 2**20 for line in lines if line["kind"] == "train"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medley", default=str(ROOT / "target/release/medley"))
    parser.add_argument("--device", action="append", help="cpu, wgpu or cuda (again for more; default cpu)")
    parser.add_argument("--method", default="full")
    parser.add_argument("--steps", type=int, default=500)
    arguments = parser.parse_args()
    print("| device | method | steps | at step 1 | mean of steps 50-150 | largest of the last 100 | growth |")
    print("|---|---|---|---|---|---|---|")
    flat = True
    for device in arguments.device or ["cpu"]:
        seen = resident(str(Path(arguments.medley).resolve()), device, arguments.method, arguments.steps)
        early, late = sum(seen[49:150]) / len(seen[49:150]), max(seen[-100:])
        growth = late / early - 1
        flat &= growth <= 0.01
        print(f"| {device} | {arguments.method} | {len(seen)} | {seen[0]:.1f} MiB | {early:.1f} MiB | {late:.1f} MiB | {growth:+.2%} |",
              flush=True)
    sys.exit(0 if flat else "memory grows: see above")


if __name__ == "__main__":
    main()
