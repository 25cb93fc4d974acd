#!/usr/bin/env python3
"""Fault injection for `medley mix`, `--shard` and `--merge`: kills at random moments, failing files and memory, concurrent runs.

For each of the three commands: one undisturbed run, then `--kills` runs into the same folder that are killed (SIGKILL), every second
one while it writes. After each kill, a manifest may exist only with exactly the files that it describes. Then runs with a limit on
file sizes, a full disk (a small tmpfs, if this process may mount one), few file descriptors, a small address space, and a concurrent
run into the same folder: each succeeds, or ends with status 1 and a message and leaves the folder unchanged. The next undisturbed run
must produce identical bytes and no other files.

Needs only Python and the built binary:

    python3 benches/torture.py --medley target/release/medley --kills 20
"""

import json
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from disturb import ENVIRONMENT, digest, has_unfinished, parser, small_disk

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

LARGEST_SPACE = 400  # MiB of address space, enough for every run
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
    """Names and hashes of a folder's files; `hidden`: with unfinished ones and the lock file."""
    if not folder.exists():
        return {}
    files = (file for file in sorted(folder.iterdir()) if file.is_file() and (hidden or not file.name.startswith(".")))
    return {file.name: digest(file.read_bytes()) for file in files}


def limited(limits):
    """Sets resource limits in a process before its program starts."""
    def restrict():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for limit, value in limits:
            resource.setrlimit(limit, (value, value))

    return restrict


def message_of(process):
    """Waits for a process: its messages without the line breaks of a terminal."""
    return re.sub(r"[\s│]+", " ", process.communicate(timeout=600)[1].decode("utf-8", "replace"))


class Job:
    """One of the three commands, with its output folder."""

    def __init__(self, name, medley, world, arguments):
        self.name, self.world, self.out = name, world, world / "out" / name
        self.command = [medley, "mix", "--recipe", "recipe.toml", "--out", str(self.out), *arguments]

    def start(self, limits=(), out=None):
        command = [str(out) if part == str(self.out) and out else part for part in self.command]
        return subprocess.Popen(command, cwd=self.world, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                preexec_fn=limited(limits), restore_signals=False, env=ENVIRONMENT)

    def finish(self, limits=(), out=None):
        process = self.start(limits, out)
        message = message_of(process)
        return process.returncode, message

    def least_space(self):
        """The smallest address space, in MiB, in which the program starts: with less, the system cannot load it."""
        sizes = range(32, LARGEST_SPACE, 4)
        version = [self.command[0], "--version"]

        def starts(size):
            limit = limited([(resource.RLIMIT_AS, size << 20)])
            return subprocess.run(version, capture_output=True, check=False, preexec_fn=limit).returncode == 0

        return next(size for size in sizes if starts(size))

    def whole(self):
        """Runs undisturbed: the result's bytes, and the seconds it took."""
        start = time.monotonic()
        status, message = self.finish()
        expect(status == 0, f"{self.name} fails undisturbed: {message}")
        return bytes_of(self.out), time.monotonic() - start

    def is_writing(self):
        return has_unfinished(self.out) or has_unfinished(self.out.parent)

    def check_manifest(self, expected):
        """A manifest exists only with exactly the files that it describes."""
        found = bytes_of(self.out)
        if MANIFEST[self.name] in found:
            for name, content in expected.items():
                expect(found.get(name) == content, f"{self.name}: {name} is not what {MANIFEST[self.name]} describes")

    def check_end(self, expected, after):
        """The next run produces identical bytes and no other files."""
        found, _ = self.whole()
        expect(found == expected, f"{self.name} after {after}: {sorted(set(found.items()) ^ set(expected.items()))}")
        left = [entry.name for entry in self.out.parent.iterdir() if entry.name.startswith(".")]
        expect(not left, f"{self.name} after {after}: {left} are left")


def expect(condition, problem):
    if not condition:
        print(f"FAILED {problem}", flush=True)
        sys.exit(1)


def kill(job, expected, seconds, kills, draw):
    """Kills runs, every second one after it began to write."""
    writing = 0
    for number in range(kills):
        # Every fifth run has a new folder: leftovers of its first run must not be refused as foreign.
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
    print(f"{job.name}: {kills} kills, {writing} of them while writing: identical bytes", flush=True)


def restrict(job, expected, draw, rounds):
    """Limits file sizes, descriptors and address space."""
    largest, least = max(file.stat().st_size for file in job.out.iterdir()), job.least_space()
    kinds = {
        "limits on the size of files": lambda: (resource.RLIMIT_FSIZE, draw.randrange(0, largest)),
        "limits on open files": lambda: (resource.RLIMIT_NOFILE, draw.randrange(4, 24)),
        "limits on the address space": lambda: (resource.RLIMIT_AS, draw.randrange(least, LARGEST_SPACE) << 20),
    }
    for kind, limit in kinds.items():
        failed = 0
        for _ in range(rounds):
            status, message = job.finish([limit()])
            expect(status in (0, 1), f"{job.name} under {kind} ends with {status}: {message}")
            expect("panicked" not in message, f"{job.name} under {kind} panics: {message}")
            if status == 1:
                failed += 1
                expect("rror" in message or "cannot" in message or ": " in message, f"{job.name} under {kind} says nothing")
                # A process without memory cannot remove its temporary files; the next one does.
                found = bytes_of(job.out, hidden="out of memory" not in message)
                expect(found == expected, f"{job.name} under {kind} changes what was there: {message}")
        job.check_end(expected, kind)
        print(f"{job.name}: {rounds} {kind}, {failed} fail with a message and change nothing", flush=True)


def fill_disk(job, expected, draw, rounds):
    """Writes to a disk that is too small."""
    disk = job.world / "disk"
    total = sum(file.stat().st_size for file in job.out.iterdir())
    failed = 0
    for _ in range(rounds):
        size = draw.randrange(64 << 10, total + (1 << 20))
        with small_disk(disk, size) as is_mounted:
            if not is_mounted:
                print(f"{job.name}: no full disk (this process may not mount one)", flush=True)
                return
            status, message = job.finish(out=disk / "out")
            found = bytes_of(disk / "out")
            if status == 0:
                expect(found == expected, f"{job.name} on a small disk: other bytes")
            else:
                failed += 1
                expect(status == 1 and "No space left" in message, f"{job.name} on a full disk: {status}: {message}")
                expect(not found, f"{job.name} on a full disk leaves {sorted(found)}")
    print(f"{job.name}: {rounds} small disks, {failed} fail with a message and leave nothing", flush=True)


def race(job, expected, draw, seconds, rounds):
    """Two concurrent runs into one folder: the second is refused."""
    refused = 0
    for number in range(rounds):
        if number % 2:
            shutil.rmtree(job.out)
        first = job.start()
        time.sleep(draw.uniform(0, 0.5 * seconds))
        second = job.start()
        ends = [(message_of(process), process.returncode) for process in (first, second)]
        expect(any(status == 0 for _, status in ends), f"{job.name}: of two at once none succeeds: {ends}")
        for message, status in ends:
            expect(status == 0 or "works in this folder" in message, f"{job.name}: {message}")
            refused += status != 0
        expect(bytes_of(job.out) == expected, f"{job.name}: two at once leave other bytes")
    print(f"{job.name}: {rounds} pairs at once, {refused} runs are refused: identical bytes", flush=True)


def main():
    options = parser(__doc__)
    options.add_argument("--kills", type=int, default=20, help="kills of each command")
    options.add_argument("--rounds", type=int, default=10, help="runs with each other fault")
    options.add_argument("--records", type=int, default=100_000, help="records of the larger source")
    options.add_argument("--seed", type=int, default=None, help="seed of all random moments and sizes")
    arguments = options.parse_args()
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
