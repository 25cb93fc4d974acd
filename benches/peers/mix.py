"""Drawing a 9:1 mix out of large pools with Hugging Face `datasets`, polars and DuckDB beside Medley's.

    python benches/peers/mix.py --medley target/release/medley --make-world target/release/make-world [--records 5000000] [--rounds 3]

The pools are Alpaca JSON Lines in the lengths of real sets (`make-world --bench-pools`): general in eight files, tcm and western in one
each. The selection is 4 % of all records, general:medical 9:1, tcm:western 1:1, in random order, written as JSON Lines. Every contestant
runs in a process of its own, alternating with the others, with the files in the page cache; time is wall time of the process from start to
end, peak memory that of its whole process tree (resident sets added up every 20 ms, or what the system reports for the process,
whichever is more).

Nobody but Medley is asked to find copies within and across pools, to hold out a validation split, to hash the files or to keep a
manifest: the peers read, draw, shuffle and write, each in the two ways that came to mind as its fastest. `datasets` writes an Arrow cache
as large as the files; it runs on fewer records where disk or time is short (`--datasets-records`), with Medley beside it on the same.
Prints Markdown.
"""
import argparse
import collections
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

POOLS = ("general", "tcm", "western")
SHARE = {"general": 18, "tcm": 1, "western": 1}
COLUMNS = ("instruction", "input", "output")


def wanted(pool, size):
    return size * SHARE[pool] // sum(SHARE.values())


def run_duckdb(pools, size, out, sampled):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET preserve_insertion_order = false")
    columns = ", ".join(f"{name}: 'VARCHAR'" for name in COLUMNS)
    parts = []
    for pool in POOLS:
        table = f"read_json('{pools / pool}/*.jsonl', format = 'newline_delimited', columns = {{{columns}}})"
        count = wanted(pool, size)
        pick = f"USING SAMPLE reservoir({count} ROWS) REPEATABLE (42)" if sampled else f"ORDER BY hash(instruction, input, output, 42) LIMIT {count}"
        parts.append(f"(SELECT *, '{pool}' AS source FROM {table} {pick})")
    union = " UNION ALL ".join(parts)
    connection.execute(f"COPY (SELECT * FROM ({union}) ORDER BY hash(instruction, input, output, 7)) TO '{out}' (FORMAT json)")


def run_polars(pools, size, out, streaming):
    import polars

    schema = {name: polars.String for name in COLUMNS}
    parts = []
    for pool in POOLS:
        files, count = f"{pools / pool}/*.jsonl", wanted(pool, size)
        if streaming:
            key = polars.struct(*COLUMNS).hash(42)
            part = polars.scan_ndjson(files, schema=schema).with_columns(key=key).bottom_k(count, by="key").drop("key")
        else:
            part = polars.read_ndjson(files, schema=schema).sample(count, seed=42)
        parts.append(part.with_columns(source=polars.lit(pool)))
    if streaming:
        parts = polars.collect_all(parts, engine="streaming")
    polars.concat(parts).sample(fraction=1, shuffle=True, seed=42).write_ndjson(out)


def run_datasets(pools, size, out, processes):
    from datasets import concatenate_datasets, disable_progress_bars, load_dataset

    disable_progress_bars()
    parts = []
    for pool in POOLS:
        files = sorted(str(path) for path in (pools / pool).iterdir())
        part = load_dataset("json", data_files=files, split="train", num_proc=min(processes, len(files)) if processes > 1 else None)
        parts.append(part.shuffle(seed=42).select(range(wanted(pool, size))))
    mixed = concatenate_datasets(parts).shuffle(seed=42)
    mixed.to_json(out, num_proc=processes if processes > 1 else None, force_ascii=False)


PEERS = {
    "DuckDB, smallest hashes": lambda pools, size, out: run_duckdb(pools, size, out, False),
    "DuckDB, reservoir sample": lambda pools, size, out: run_duckdb(pools, size, out, True),
    "polars, in memory": lambda pools, size, out: run_polars(pools, size, out, False),
    "polars, streaming, smallest hashes": lambda pools, size, out: run_polars(pools, size, out, True),
    "datasets, one process": lambda pools, size, out: run_datasets(pools, size, out, 1),
    "datasets, a process per core": lambda pools, size, out: run_datasets(pools, size, out, os.cpu_count()),
}


def tree_memory(root):
    """Resident bytes of a process and all below it."""
    children, resident = collections.defaultdict(list), {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children[int(stat[1])].append(int(entry))
            resident[int(entry)] = int(stat[21]) * os.sysconf("SC_PAGE_SIZE")
    waiting, total = [root], 0
    while waiting:
        process = waiting.pop()
        total += resident.get(process, 0)
        waiting += children[process]
    return total


def measured(command, environment, prefix):
    """Wall seconds, processor seconds and peak bytes of a command and what it starts."""
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(prefix + command, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
        peak, over = [0], threading.Event()

        def watch():
            while not over.wait(0.02):
                peak[0] = max(peak[0], tree_memory(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        over.set()
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            sys.exit(f"{command} failed:\n{errors.read().decode(errors='replace')}")
    return {"seconds": seconds, "processor": usage.ru_utime + usage.ru_stime, "memory": max(peak[0], usage.ru_maxrss * 1024)}


def check(written, size, with_sources):
    """The file must hold what was asked for."""
    counts = collections.Counter()
    with open(written, encoding="utf-8") as lines:
        for line in lines:
            counts[json.loads(line).get("source")] += 1
    expected = {pool: wanted(pool, size) for pool in POOLS} if with_sources else {None: size}
    if dict(counts) != expected:
        sys.exit(f"{written} holds {dict(counts)} and not {expected}")


def recipe(folder, pools, size):
    """Medley's recipe of the selection; without a validation split."""
    sources = "".join(f'[sources.{pool}]\npath = "{pools / pool}"\n' for pool in POOLS)
    path = folder / "recipe.toml"
    path.write_text(f'name = "bench-mix"\n[mix]\nsize = {size}\nseed = 42\nratio = {{ general = 9, medical = 1 }}\n'
                    f"[mix.medical]\nratio = {{ tcm = 1, western = 1 }}\n{sources}"
                    '[model]\nbase = "none"\n[train]\n')
    return path


def contestants(names, arguments, folder, pools, size):
    """Label -> (command, file it writes, whether that file names sources, environment)."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "POLARS_SKIP_CPU_CHECK": "1"}
    found = {"Medley": ([arguments.medley, "mix", "--recipe", str(recipe(folder, pools, size)), "--out", str(folder / "medley")],
                        folder / "medley/mix.jsonl", True, environment)}
    for name in names:
        out = folder / "peer.jsonl"
        command = [sys.executable, __file__, "--peer", name, str(pools), str(size), str(out)]
        cold = {**environment, "HF_HOME": str(folder / "hf"), "HF_DATASETS_CACHE": str(folder / "hf/datasets")}
        found[name] = (command, out, not name.startswith("datasets"), cold)
    return found


def compare(names, arguments, folder, records):
    """Runs everything in turns and gives back label -> runs, and the bytes of the pools."""
    pools = (arguments.pools or folder) / f"pools-{records}"
    if not pools.exists():
        subprocess.run([arguments.make_world, "--bench-pools", str(pools), "--records", str(records)], check=True)
    files = sorted(str(path) for path in pools.glob("*/*"))
    length = sum(os.path.getsize(path) for path in files)
    size = records // 25
    prefix = arguments.prefix.split()
    everyone = contestants(names, arguments, folder, pools, size)
    found = {"cat": []}
    subprocess.run(["cat", *files], check=True, stdout=subprocess.DEVNULL)
    for turn in range(arguments.rounds):
        found["cat"].append(measured(["cat", *files], os.environ, prefix))
        for label, (command, out, with_sources, environment) in everyone.items():
            if label.startswith("datasets") and turn >= arguments.datasets_rounds:
                continue
            shutil.rmtree(folder / "hf", ignore_errors=True)
            found.setdefault(label, []).append(measured(command, environment, prefix))
            print(f"{label}: {found[label][-1]}", file=sys.stderr, flush=True)
            if turn == 0:
                check(out, size, with_sources)
            shutil.rmtree(folder / "hf", ignore_errors=True)
            out.unlink()
    if arguments.pools is None:
        shutil.rmtree(pools)
    return found, length, size


def show(found, length, size, records):
    middle = lambda runs, key: statistics.median(run[key] for run in runs)
    print(f"\n{size:,} out of {records:,} records ({length / 1e9:.2f} GB):\n")
    print("| what | seconds | all runs | times Medley's | processor seconds | GB/s | peak memory, MB |\n|---|---:|---|---:|---:|---:|---:|")
    ours = middle(found["Medley"], "seconds")
    for label, runs in found.items():
        seconds = middle(runs, "seconds")
        every = ", ".join(f"{run['seconds']:.2f}" for run in runs)
        print(f"| {label} | {seconds:.2f} | {every} | {seconds / ours:.2f} | {middle(runs, 'processor'):.2f} | {length / seconds / 1e9:.2f} "
              f"| {middle(runs, 'memory') / 1e6:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--medley", default="target/release/medley")
    parser.add_argument("--make-world", default="target/release/make-world")
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--datasets-records", type=int, help="records for the comparison with datasets [default: the same; 0: none]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--datasets-rounds", type=int, default=1)
    parser.add_argument("--pools", type=Path, help="keep the pools in this folder")
    parser.add_argument("--prefix", default="", help="put before every command, as in `chrt -f 10`")
    parser.add_argument("--peer", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        name, pools, size, out = arguments.peer
        return PEERS[name](Path(pools), int(size), out)
    from importlib.metadata import version

    medley = subprocess.run([arguments.medley, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    peers = ", ".join(f"{name} {version(name)}" for name in ("datasets", "polars", "duckdb"))
    print(f"{medley}, {peers}, Python {platform.python_version()}; {platform.machine()}, {os.cpu_count()} cores; {arguments.rounds} rounds"
          + (f"; every command under `{arguments.prefix}`" if arguments.prefix else ""))
    fast = [name for name in PEERS if not name.startswith("datasets")]
    slow = [name for name in PEERS if name.startswith("datasets")]
    apart = arguments.datasets_records not in (None, arguments.records)
    with tempfile.TemporaryDirectory(dir=arguments.pools) as folder:
        folder = Path(folder).resolve()
        show(*compare(fast if apart else fast + slow, arguments, folder, arguments.records), arguments.records)
        if apart and arguments.datasets_records:
            show(*compare(slow, arguments, folder, arguments.datasets_records), arguments.datasets_records)
    return None


if __name__ == "__main__":
    main()
