#!/usr/bin/env python3
"""Kills `medley mix`, `--shard` and `--merge` at random moments, lets their files and memory fail, and compares what they end with to
what they make undisturbed.

For each of the three: one undisturbed run, then `--kills` runs into the same folder that are killed (SIGKILL), every second one
while it writes; after each kill a manifest is there only with the very files that it describes. Then runs that meet a limit on the
size of files, a full disk (a small tmpfs, where this process may mount one), few open files, little address space, and another run
that writes to the same folder: each ends with status 1 and a message and leaves what was there, or succeeds. The next undisturbed
run must give the same bytes and leave nothing else in the folder.

Nothing but Python and the built binary is needed:

    python3 benches/torture.py --medley target/release/medley --kills 20
"""

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = """
name = "tortured"
[model]
base = "none"
[mix]
size = SIZE
ratio = { general = 2, medical = 1 }
validation = { fraction = 0.05, max_samples = 500 }
[sources.general]
path = "general"
[sources.medical]
path = "medical.csv"
"""

MANIFEST = {"mix": "manifest.json", "merge": "manifest.json", "shard": "shard.json"}


def make_world(folder, records):
    """Sources in several files and layouts, and the recipe."""
    draw = random.Random(1)
    text = lambda: "".join(chr(draw.randrange(0x4E00, 0x9FA5)) for _ in range(draw.randrange(10, 120)))
    (folder / "general").mkdir()
    for part in range(4):
        lines = (json.dumps({"instruction": text(), "output": text()}, ensure_ascii=False) for _ in range(records // 4))
        (folder / "general" / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = "".join(f'"{text()}","{text()}"\n' for _ in range(records // 2))
    (folder / "medical.csv").write_text("question,answer\n" + rows, encoding="utf-8")
    (folder / "recipe.toml").write_text(RECIPE.replace("SIZE", str(records // 2)), encoding="utf-8")


def bytes_of(folder, hidden=True):
    """Names and hashes of a folder's files; without the unfinished ones and the lock where `hidden` is false."""
    if not folder.exists():
        return {}
    files = (file for file in sorted(folder.iterdir()) if file.is_file() and (hidden or not file.name.startswith(".")))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


class Job:
    """One of the three, into one folder."""

    def __init__(self, name, medley, world, arguments):
        self.name, self.world, self.out = name, world, world / "out" / name
        self.command = [medley, "mix", "--recipe", "recipe.toml", "--out", str(self.out), *arguments]

    def start(self, limits=(), out=None):
        def restrict():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            for limit, value in limits:
                resource.setrlimit(limit, (value, value))

        command = [str(out) if part == str(self.out) and out else part for part in self.command]
        return subprocess.Popen(command, cwd=self.world, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                preexec_fn=restrict, restore_signals=False, env={**os.environ, "NO_COLOR": "1"})

    def finish(self, limits=(), out=None):
        process = self.start(limits, out)
        message = process.communicate(timeout=600)[1].decode("utf-8", "replace")
        return process.returncode, message

    def whole(self):
        """Makes the result undisturbed: its bytes and how long it took."""
        start = time.monotonic()
        status, message = self.finish()
        expect(status == 0, f"{self.name} fails undisturbed: {message}")
        return bytes_of(self.out), time.monotonic() - start

    def is_writing(self):
        """Whether unfinished files are there."""
        places = [self.out, self.out.parent]
        return any(entry.name.startswith(".partial-") for place in places if place.exists() for entry in place.iterdir())

    def check_manifest(self, expected):
        """A manifest is there only with the very files that it describes."""
        found = bytes_of(self.out)
        if MANIFEST[self.name] in found:
            for name, content in expected.items():
                expect(found.get(name) == content, f"{self.name}: {name} is not what {MANIFEST[self.name]} describes")

    def check_end(self, expected, after):
        """The next run gives the same bytes and leaves nothing else."""
        found, _ = self.whole()
        expect(found == expected, f"{self.name} after {after}: {sorted(set(found.items()) ^ set(expected.items()))}")
        left = [entry.name for entry in self.out.parent.iterdir() if entry.name.startswith(".")]
        expect(not left, f"{self.name} after {after}: {left} are left")


def expect(condition, problem):
    if not condition:
        print(f"FAILED {problem}", flush=True)
        sys.exit(1)


def kill(job, expected, seconds, kills, draw):
    """Kills runs; every second one once it has begun to write."""
    writing = 0
    for number in range(kills):
        # A fresh folder now and then: what a killed first run leaves is not taken for somebody else's.
        if number % 5 == 4:
            shutil.rmtree(job.out, ignore_errors=True)
        process = job.start()
        if number % 2 == 0:
            time.sleep(draw.uniform(0, seconds))
        else:
            while process.poll() is None and not job.is_writing():
                time.sleep(0.0005)
            time.sleep(draw.uniform(0, 0.1 * seconds))
        writing += job.is_writing()
        process.kill()
        process.communicate()
        job.check_manifest(expected)
    job.check_end(expected, "kills")
    print(f"{job.name}: {kills} kills, {writing} of them while it wrote: the same bytes", flush=True)


def restrict(job, expected, draw, rounds):
    """Lets files, descriptors and memory fail."""
    largest = max(file.stat().st_size for file in job.out.iterdir())
    kinds = {
        "limits on the size of files": lambda: (resource.RLIMIT_FSIZE, draw.randrange(0, largest)),
        "limits on open files": lambda: (resource.RLIMIT_NOFILE, draw.randrange(4, 24)),
        "limits on the address space": lambda: (resource.RLIMIT_AS, draw.randrange(60, 400) << 20),
    }
    for kind, limit in kinds.items():
        failed = 0
        for _ in range(rounds):
            status, message = job.finish([limit()])
            expect(status in (0, 1, 127), f"{job.name} under {kind} ends with {status}: {message}")
            expect("panicked" not in message, f"{job.name} under {kind} panics: {message}")
            if status == 1:
                failed += 1
                expect("rror" in message or "cannot" in message or ": " in message, f"{job.name} under {kind} says nothing")
                # A process that has no memory left cannot tidy up: the next one does.
                found = bytes_of(job.out, hidden="out of memory" not in message)
                expect(found == expected, f"{job.name} under {kind} changes what was there: {message}")
        job.check_end(expected, kind)
        print(f"{job.name}: {rounds} {kind}, {failed} runs fail with a message and change nothing", flush=True)


def fill_disk(job, expected, draw, rounds):
    """Writes to a disk that is full before the end."""
    disk = job.world / "disk"
    disk.mkdir(exist_ok=True)
    total = sum(file.stat().st_size for file in job.out.iterdir())
    failed = 0
    for _ in range(rounds):
        size = draw.randrange(64 << 10, total + (1 << 20))
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], capture_output=True).returncode != 0:
            print(f"{job.name}: no full disk (this process may not mount one)", flush=True)
            return
        try:
            status, message = job.finish(out=disk / "out")
            found = bytes_of(disk / "out")
            if status == 0:
                expect(found == expected, f"{job.name} on a small disk: other bytes")
            else:
                failed += 1
                expect(status == 1 and "No space left" in message, f"{job.name} on a full disk: {status}: {message}")
                expect(not found, f"{job.name} on a full disk leaves {sorted(found)}")
        finally:
            subprocess.run(["umount", disk], check=True)
    print(f"{job.name}: {rounds} small disks, {failed} runs fail with a message and leave nothing", flush=True)


def race(job, expected, draw, seconds, rounds):
    """Two runs into one folder at once: one waits for no other, it is refused."""
    refused = 0
    for number in range(rounds):
        if number % 2:
            shutil.rmtree(job.out)
        first = job.start()
        time.sleep(draw.uniform(0, 0.5 * seconds))
        second = job.start()
        ends = [(process.communicate()[1].decode("utf-8", "replace"), process.returncode) for process in (first, second)]
        expect(any(status == 0 for _, status in ends), f"{job.name}: of two at once none succeeds: {ends}")
        for message, status in ends:
            expect(status == 0 or "works in this folder" in " ".join(message.split()), f"{job.name}: {message}")
            refused += status != 0
        expect(bytes_of(job.out) == expected, f"{job.name}: two at once leave other bytes")
    print(f"{job.name}: {rounds} pairs at once, {refused} runs are refused: the same bytes", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medley", default="target/release/medley", help="the binary")
    parser.add_argument("--kills", type=int, default=20, help="kills of each of the three")
    parser.add_argument("--rounds", type=int, default=10, help="runs under each other disturbance")
    parser.add_argument("--records", type=int, default=100_000, help="records of the larger source")
    parser.add_argument("--seed", type=int, default=None, help="seed of all random moments and sizes")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 32)
    draw = random.Random(seed)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="medley-torture-") as folder:
        world, medley = Path(folder), str(Path(arguments.medley).resolve())
        make_world(world, arguments.records)
        shards = [str(world / "shards" / str(number)) for number in (1, 2)]
        for number, shard in enumerate(shards, 1):
            command = [medley, "mix", "--recipe", "recipe.toml", "--shard", f"{number}/2", "--out", shard]
            subprocess.run(command, cwd=world, check=True, capture_output=True)
        jobs = [Job("mix", medley, world, []), Job("shard", medley, world, ["--shard", "1/2"]),
                Job("merge", medley, world, ["--merge", *shards])]
        results = {}
        for job in jobs:
            expected, _ = job.whole()
            again, seconds = job.whole()
            expect(again == expected, f"{job.name} is not the same twice")
            results[job.name] = expected
            kill(job, expected, seconds, arguments.kills, draw)
            restrict(job, expected, draw, arguments.rounds)
            fill_disk(job, expected, draw, arguments.rounds)
            race(job, expected, draw, seconds, arguments.rounds)
        expect(results["mix"] == results["merge"], "the merged mix is not the whole one")
    print("all the same")


if __name__ == "__main__":
    main()
