#!/usr/bin/env bash
# All that a GPU machine is asked once: does it compute right, how fast does it train, and how fast does the peer.
#
#   benches/gpu.sh target/release/medley                                  # CUDA, shapes of 1.8 and 7 billion weights
#   benches/gpu.sh target/release/medley --device cpu --shapes toy        # the same script anywhere
#
# Needs a built binary (`cargo build --release --features cuda`) and, for the peer's rows, a Python with torch, transformers and
# peft (MEDLEY_PEER_PYTHON, or python3). No cargo, no weights, no data: everything is drawn. Prints Markdown; keep it under
# benches/runs/<date>-<machine>/gpu.md.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"

if [ $# -lt 1 ] || [ ! -x "$1" ]; then
  echo "usage: $0 MEDLEY [--device cuda|wgpu|cpu] [--shapes 1.8B,7B] [--methods lora,full] [--steps N]" >&2
  exit 2
fi
medley="$1"
shift
device=cuda
quick=""
arguments=("$@")
while [ $# -gt 0 ]; do
  case "$1" in
    --device) device="$2" ;;
    --shapes) [ "$2" = toy ] && quick="--quick" ;;
  esac
  shift
done

echo "# Medley on $device, $(date -u +%Y-%m-%d)"
echo
"$medley" --version
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
echo
echo "## Every operation beside its twin on the CPU"
echo
# A wrong kernel is told, and does not keep the rest from being measured.
"$medley" selftest --device "$device" $quick || echo "**the self-test failed**"
echo
echo "## Training"
echo
exec "${MEDLEY_PEER_PYTHON:-python3}" "$here/peers/gpu.py" "$medley" "${arguments[@]}"
