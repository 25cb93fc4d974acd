#!/usr/bin/env bash
# minijinja (the template engine of several inference servers written in Rust) beside jinja2 as transformers uses it, on
# expressions that chat templates contain. No error is raised on either side: the prompt is just another one.
#
# Expected: the same text from both.
# Actual:
#   - A loop's condition (`for … if …`) is evaluated for all items before the first pass in minijinja, and before each pass in
#     jinja2: a loop that ends itself through a namespace does not end.
#   - `map` and its kin give a list in minijinja and a generator in jinja2: looked at once, it is used up.
#   - Numbers below 1e-4 or from 1e16 on are written out.
#   - The assignments of one `with` do not see each other in jinja2.
#   - After `continue` in the first pass the `else` block of a loop runs in jinja2 only.
#
# Output seen on 2026-11-30 (CPython 3.11, minijinja 3.1.0, jinja2 3.1.6):
#   loop that ends itself    jinja2 'user ', minijinja 'user assistant '
#   map, looked at twice     jinja2 '2 0', minijinja '2 2'
#   small, large numbers     jinja2 '1e-05 1e+16', minijinja '0.00001 10000000000000000.0'
#   continue, then else      jinja2 'EMPTY', minijinja ''
#   with, one by another     jinja2 '', minijinja '1'
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q minijinja==3.1.0 jinja2==3.1.6
cat >"$work/check.py" <<'PYTHON'
import sys

import jinja2
import minijinja
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
theirs = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
ours = minijinja.Environment(trim_blocks=True, lstrip_blocks=True)
ours.auto_escape_callback = lambda name: None
cases = [
    ("loop that ends itself", "{% set ns = namespace(stop=false) %}{% for m in messages if not ns.stop %}{{ m.role }} {% set ns.stop = true %}{% endfor %}",
     ("user ", "user assistant ")),
    ("map, looked at twice", "{% set roles = messages|map(attribute='role') %}{{ roles|list|length }} {{ roles|list|length }}", ("2 0", "2 2")),
    ("small, large numbers", "{{ 0.00001 }} {{ 1e16 }}", ("1e-05 1e+16", "0.00001 10000000000000000.0")),
    ("continue, then else", "{% for m in messages %}{% continue %}{% else %}EMPTY{% endfor %}", ("EMPTY", "")),
    ("with, one by another", "{% with a = 1, b = a %}{{ b }}{% endwith %}", ("", "1")),
]
changed = False
for name, template, seen in cases:
    found = (theirs.from_string(template).render(messages=messages), ours.render_str(template, messages=messages))
    print(f"{name:24} jinja2 {found[0]!r}, minijinja {found[1]!r}" + ("" if found == seen else f"   (was {seen!r})"))
    changed |= found != seen
sys.exit(changed)
PYTHON
"$work/venv/bin/python" "$work/check.py"
