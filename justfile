# The daily verbs. `just` alone lists them.

default:
    @just --list

# Everything the gate runs.
ci:
    .ci/run

# All tests.
test:
    cargo test --release --workspace

# Format and lint.
lint:
    cargo fmt --all
    cargo clippy --release --workspace --all-targets -- -D warnings

# The main job, with what the repository ships.
quickstart:
    cargo run --release -- train --recipe recipes/quickstart.toml

# The paper's Table 4 in small: the five ratios on the quickstart's data.
table4-quick:
    cargo build --release
    for ratio in 9_1 4_1 1_1 1_4 1_9; do \
        ./target/release/medley train --recipe quickstart.toml \
            --set name=quick-$ratio --set "mix.ratio={ general = ${ratio%_*}, medical = ${ratio#*_} }" \
            --out checkpoints/quick-$ratio --skip-base-exam || exit 1; \
    done
    ./target/release/medley report checkpoints/quick-9_1 checkpoints/quick-4_1 checkpoints/quick-1_1 \
        checkpoints/quick-1_4 checkpoints/quick-1_9 --paper 4

# Runs that are killed 20 times end with the same bits (full and LoRA, AdamW and Muon), and none is lost with its terminal, the
# reader of its output or its log device (some half an hour).
bench-kill:
    cargo build --release
    python3 benches/kill.py --medley "${CARGO_TARGET_DIR:-target}/release/medley" --kills 20
    python3 benches/lost.py --medley "${CARGO_TARGET_DIR:-target}/release/medley" --runs 20

# Mixes, shards and merges that are killed or meet failing files, disks and memory end with the same bytes (some minutes).
torture *ARGS:
    cargo build --release
    python3 benches/torture.py --medley "${CARGO_TARGET_DIR:-target}/release/medley" {{ARGS}}

# Training beside transformers + PEFT in one run (`python3` needs torch, transformers and peft; half an hour for both methods).
bench-peer *ARGS:
    cargo build --release
    "${MEDLEY_PEER_PYTHON:-python3}" benches/peers/train.py "${CARGO_TARGET_DIR:-target}/release/medley" {{ARGS}}

# Drawing 200,000 of 5,000,000 records beside datasets, polars and DuckDB in one run (`python3` needs the three; 7 GB of disk).
bench-mix *ARGS:
    cargo build --release -p medley -p medley-world
    "${MEDLEY_PEER_PYTHON:-python3}" benches/peers/mix.py --medley "${CARGO_TARGET_DIR:-target}/release/medley" \
        --make-world "${CARGO_TARGET_DIR:-target}/release/make-world" {{ARGS}}

# How near each operation comes to what the machine can do.
bench-ops:
    cargo test --release -p medley -p medley-ops --test speed -- --ignored --nocapture --test-threads 1

# Memory of a run of 500 steps stays flat.
bench-flat *DEVICES="--device cpu":
    cargo build --release
    python3 benches/flat_memory.py --medley "${CARGO_TARGET_DIR:-target}/release/medley" {{DEVICES}}

# The bundled base model anew: its corpus, three stages of training, data/base (some ten minutes on two cores).
base-model:
    cargo build --release
    rm -rf checkpoints/base
    cargo run --release -p medley-world -- --base-corpus checkpoints/base/corpus
    for stage in 1_bind 2_distinguish 3_instruct; do \
        ./target/release/medley train --recipe recipes/base/$stage.toml --out checkpoints/base/$stage --device cpu || exit 1; \
    done
    mkdir -p data/base && cp checkpoints/base/3_instruct/model/* data/base/

# The bundled pools and exams anew.
world:
    cargo run --release -p medley-world -- --out data

# A Python wheel with the binaries inside, in target/wheels (needs maturin: pip install maturin).
wheel:
    maturin build --release

# The wheel in a fresh environment and an empty folder.
test-wheel *WHEEL:
    tests/install/wheel.sh {{WHEEL}}

# The CUDA build (needs LLVM, see README).
cuda:
    cargo build --release --features cuda
