#!/usr/bin/env bash
# transformers 5.24.0 with jinja2 3.1.6: the `else` block of a loop in a chat template.
#
# Expected: as in Python, or as jinja2's manual says ("no iteration took place"): the loop has an item, so a `break` or `continue`
#   in its first pass does not make the `else` block run.
# Actual: the `else` block runs unless a pass reached the end of the loop's body. A template that breaks out of a search at its
#   first message therefore also writes its "nothing found" text into the prompt.
#
# Output seen on 2026-11-30 (CPython 3.11):
#   plain loop       'user'
#   break            'userEMPTY'
#   continue         'EMPTY'
#   break in pass 2  'userassistant'
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q transformers==5.24.0 jinja2==3.1.6
cat >"$work/check.py" <<'PYTHON'
import logging
import sys
import warnings

warnings.filterwarnings("ignore")
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

logging.disable(logging.WARNING)
tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"?": 0}, unk_token="?")))
messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
cases = [
    ("plain loop", "{% for m in messages[:1] %}{{ m.role }}{% else %}EMPTY{% endfor %}", "user"),
    ("break", "{% for m in messages %}{{ m.role }}{% break %}{% else %}EMPTY{% endfor %}", "userEMPTY"),
    ("continue", "{% for m in messages %}{% continue %}{% else %}EMPTY{% endfor %}", "EMPTY"),
    ("break in pass 2", "{% for m in messages %}{{ m.role }}{% if loop.index == 2 %}{% break %}{% endif %}{% else %}EMPTY{% endfor %}",
     "userassistant"),
]
changed = False
for name, template, seen in cases:
    text = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False)
    print(f"{name:16} {text!r}" + ("" if text == seen else f"   (was {seen!r})"))
    changed |= text != seen
sys.exit(changed)
PYTHON
"$work/venv/bin/python" "$work/check.py"
