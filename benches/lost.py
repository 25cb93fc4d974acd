#!/usr/bin/env python3
"""Fault injection for the output of training runs: terminal, reader or log device fail at random moments.

For full fine-tuning and LoRA, `--runs` runs each of:

- hang-up: the controlling pseudo-terminal is closed (SIGHUP, then every write fails);
- reader: the reader of the pipe for standard output and standard error exits, as `| tee` may;
- device: both streams and `log.txt` are /dev/full;
- disk: both streams are files on a small file system that fills up (a tmpfs; needs the right to mount one).

No run may abort: it runs to its end, or ends with status 129 and a checkpoint, as recorded in `run.json`. Every run is then resumed,
and its model must be byte-identical to that of an undisturbed run. Needs only Python and the built binary:

    python3 benches/lost.py --medley target/release/medley --runs 20
"""

import json
import os
import pty
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from disturb import ENVIRONMENT, digest, parser, small_disk

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ["mix.size=160", "train.epochs=2", "train.save_steps=6", "train.eval_steps=7", "mix.validation.max_samples=4",
            "exam.papers=[]", "train.logging_steps=1"]
WEIGHTS = {"full": "model.safetensors", "lora": "adapter_model.safetensors"}


def command(medley, method, out, *more):
    settings = [word for setting in SETTINGS + [f"train.method={method}"] for word in ("--set", setting)]
    return [medley, "train", "--recipe", "quickstart.toml", "--device", "cpu", "--out", str(out), *settings, *more]


def state(out):
    try:
        return json.loads((out / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"status": "nothing yet"}


def model(out, method):
    return digest((out / "model" / WEIGHTS[method]).read_bytes())


def hang_up(words, seconds):
    """Runs as the session leader of a pseudo-terminal whose other side is closed."""
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(words[0], words)
    end = time.monotonic() + seconds
    os.set_blocking(screen, False)
    while time.monotonic() < end:
        try:
            os.read(screen, 65536)
        except BlockingIOError:
            time.sleep(0.005)
        except OSError:
            break
    os.close(screen)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def reader_ends(words, seconds):
    process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    os.set_blocking(process.stdout.fileno(), False)
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.stdout.read(65536) != b"":
        time.sleep(0.005)
    process.stdout.close()
    return process.wait()


def full_device(words, out):
    out.mkdir()
    (out / ".lock").touch()
    (out / "log.txt").symlink_to("/dev/full")
    with open("/dev/full", "wb") as full:
        return subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=full, stderr=full, check=False).returncode


def full_disk(words, small, seconds):
    """Runs with its streams on a file system that another program fills meanwhile."""
    with open(small / "out", "wb") as stdout, open(small / "err", "wb") as stderr:
        process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        time.sleep(seconds)
        with open(small / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass
        return process.wait()


def disturbed(kind, words, out, folder, seconds):
    """Runs with the fault, and returns the exit status; `None` if the fault cannot be made here."""
    if kind == "hang-up":
        return hang_up(words, seconds)
    if kind == "reader":
        return reader_ends(words, seconds)
    if kind == "device":
        return full_device(words, out)
    with small_disk(folder / "small", 64 << 10) as is_mounted:
        return full_disk(words, folder / "small", seconds) if is_mounted else None


def judge(status, out):
    """How the run ended, and its problems."""
    found = state(out)
    if status == 0:
        return "went on", [] if found["status"] == "complete" else [f"exit 0 but run.json says {found['status']}"]
    if status in (129, -1) and not (out / "metrics.jsonl").exists():
        return "before training", [] if found["status"] != "complete" else ["run.json says complete"]
    if status != 129:
        return "aborted", [f"exit status {status}, run.json says {found['status']}"]
    if found["status"] == "complete":
        return "went on", []
    if found["status"] == "trained":
        return "model", []
    saved = out / "steps" / str(found["step"]) / "state.json"
    problems = [] if found["status"] == "stopped" else [f"stopped, but run.json says {found['status']}"]
    return "checkpoint", problems + ([] if saved.exists() else [f"no checkpoint at step {found['step']}"])


def series(arguments, kind, method, folder, undisturbed, duration, draw):
    ends, problems = {}, []
    for at in range(arguments.runs):
        out = folder / f"{kind}-{method}-{at}"
        seconds = draw.uniform(0.02, duration)
        status = disturbed(kind, command(arguments.medley, method, out), out, folder, seconds)
        if status is None:
            return {"not done: no file system can be mounted here": arguments.runs}, []
        end, wrong = judge(status, out)
        ends[end] = ends.get(end, 0) + 1
        problems += [f"{kind} {method} after {seconds:.2f} s: {problem}" for problem in wrong]
        if (out / "log.txt").is_file() and not (out / "log.txt").is_symlink() and "panicked" in (out / "log.txt").read_text():
            problems.append(f"{kind} {method}: a panic")
        subprocess.run(command(arguments.medley, method, out, "--resume"), cwd=ROOT, check=True, capture_output=True)
        if state(out)["status"] != "complete" or model(out, method) != undisturbed:
            problems.append(f"{kind} {method} after {seconds:.2f} s: the resumed run ended otherwise")
        shutil.rmtree(out)
    return ends, problems


def main():
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=20, help="runs of each fault and method (default 20)")
    options.add_argument("--seed", type=int, default=11, help="seed of the moments")
    arguments = options.parse_args()
    arguments.medley = str(Path(arguments.medley).resolve())
    os.environ.update(ENVIRONMENT)
    draw, problems = random.Random(arguments.seed), []
    print("| fault | method | runs | ends | after resuming |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="medley-lost-") as name:
        folder = Path(name)
        for method in WEIGHTS:
            whole, began = folder / f"whole-{method}", time.monotonic()
            subprocess.run(command(arguments.medley, method, whole), cwd=ROOT, check=True, capture_output=True)
            duration, undisturbed = time.monotonic() - began, model(whole, method)
            for kind in ["hang-up", "reader", "device", "disk"]:
                ends, wrong = series(arguments, kind, method, folder, undisturbed, duration, draw)
                summary = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
                print(f"| {kind} | {method} | {arguments.runs} | {summary} | "
                      f"{'identical bytes' if not wrong else f'{len(wrong)} problems'} |", flush=True)
                problems += wrong
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit("not proven: see above" if problems else 0)


if __name__ == "__main__":
    main()
