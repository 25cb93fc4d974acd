"""bf16 matrix products of Medley beside torch's (oneDNN), alternating in one run.

    cargo test --release -p medley-ops --test speed --no-run
    python benches/peers/product.py TEST_BINARY [--rounds 5]

TEST_BINARY is the path that cargo prints. Medley packs its f32 left factor (activations) in every product and has its right one
(a weight) packed; torch has both in bf16. Prints the median and the best of the rounds for every shape.
"""

import argparse
import re
import statistics
import subprocess
import time

import torch
import torch.nn.functional as functional

SHAPES = [(4096, 512, 512), (4096, 512, 1376), (4096, 1376, 512), (1376, 4096, 512), (64, 512, 1376)]


def torch_rates():
    """GFLOP/s of a linear layer's product, both factors bf16: the best of five each."""
    rates = {}
    for m, k, n in SHAPES:
        left, right = torch.randn(m, k).bfloat16(), torch.randn(n, k).bfloat16()
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            functional.linear(left, right)
            seconds.append(time.perf_counter() - start)
        rates[m, k, n] = 2 * m * k * n / min(seconds) / 1e9
    return rates


def medley_rates(binary):
    command = [binary, "bf16_products", "--ignored", "--nocapture", "--test-threads", "1"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rates, shape = {}, None
    for line in output.splitlines():
        if found := re.search(r"bf16 (\d+) x (\d+) -> (\d+)", line):
            shape = tuple(map(int, found.groups()))
        elif found := re.search(r"left factor packed and product, (\S+)\s.*?([\d.]+) GFLOP/s", line):
            rates[shape, found[1]] = float(found[2])
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    theirs, ours = [], []
    for _ in range(arguments.rounds):
        theirs.append(torch_rates())
        ours.append(medley_rates(arguments.binary))
    units = sorted({unit for _, unit in ours[0]})
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; GFLOP/s, median (best) of {arguments.rounds}")
    print("| m x k x n | torch | " + " | ".join(units) + " | best unit : torch |")
    print("|---|---|" + "---|" * (len(units) + 1))
    for shape in SHAPES:
        peer = [rates[shape] for rates in theirs]
        rows = {unit: [rates[shape, unit] for rates in ours] for unit in units}
        cells = [f"{statistics.median(values):.0f} ({max(values):.0f})" for values in [peer, *rows.values()]]
        ratio = max(statistics.median(values) for values in rows.values()) / statistics.median(peer)
        print(f"| {' x '.join(map(str, shape))} | " + " | ".join(cells) + f" | {ratio:.2f} |")


if __name__ == "__main__":
    main()
