"""Makes the golden outputs of chat-template snippets: what transformers writes for each.

    python tests/parity/make_templates.py            # writes tests/parity/templates/expected.json
    python tests/parity/make_templates.py FILE       # one JSON object {"name": "template"} read from FILE, written to stdout

`expected.json` has, in the order of `snippets.txt`, the text that `apply_chat_template` gives, or null where it raises or
writes an address in memory.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import jinja2  # noqa: E402
import transformers  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from tokenizers.models import WordLevel  # noqa: E402

HERE = Path(__file__).parent / "templates"
MESSAGES = [{"role": "user", "content": "Q ü?"}, {"role": "assistant", "content": "答 \"a\"\n"}]


def tokenizer():
    core = Tokenizer(WordLevel({"<s>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def snippets():
    for line in (HERE / "snippets.txt").read_text(encoding="utf-8").split("\n"):
        if line and not line.startswith("# "):
            # A doubled backslash stays one for the template.
            yield line.replace("\\\\", "\0").replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t").replace("\0", "\\")


def render(model, template):
    try:
        text = model.apply_chat_template(MESSAGES, chat_template=template, tokenize=False)
    except Exception:
        return None
    return None if " at 0x" in text else text


def main():
    model = tokenizer()
    if len(sys.argv) > 1:
        templates = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        print(json.dumps({name: render(model, template) for name, template in templates.items()}))
        return
    outputs = [render(model, template) for template in snippets()]
    versions = {"transformers": transformers.__version__, "jinja2": jinja2.__version__}
    lines = ",\n".join(json.dumps(text, ensure_ascii=False) for text in outputs)
    (HERE / "expected.json").write_text(
        f'{{"versions": {json.dumps(versions)}, "outputs": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(outputs)} snippets, {sum(text is None for text in outputs)} refused")


if __name__ == "__main__":
    main()
