#!/usr/bin/env bash
# The wheel installs into an empty environment and runs the quickstart in an empty folder, with nothing of the source tree.
# Usage: tests/install/wheel.sh [WHEEL]; without one, a wheel is built with maturin first.
set -euo pipefail
cd "$(dirname "$0")/../.."
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

if [ $# -ge 1 ]; then
  wheel="$(realpath "$1")"
else
  python3 -m venv "$work/build"
  "$work/build/bin/pip" install -q 'maturin>=1.9,<2'
  "$work/build/bin/maturin" build --release --out "$work/wheels"
  wheel="$(ls "$work"/wheels/medley-*.whl)"
fi
printf 'wheel: %s (%s bytes)\n' "$(basename "$wheel")" "$(stat -c %s "$wheel")"

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "$wheel"
mkdir "$work/empty" "$work/cache"
cd "$work/empty"
start=$SECONDS
XDG_CACHE_HOME="$work/cache" "$work/venv/bin/medley" train --recipe quickstart --device cpu >"$work/table"
cat "$work/table"
grep -q 'average' "$work/table" || { echo 'the quickstart printed no table'; exit 1; }
[ -s checkpoints/*/model/model.safetensors ] || { echo 'the quickstart saved no model'; exit 1; }
[ -z "$(ls -A | grep -v '^checkpoints$')" ] || { echo 'something besides checkpoints was left in the folder'; exit 1; }
printf 'the quickstart of the installed wheel took %s s\n' "$((SECONDS - start))"
