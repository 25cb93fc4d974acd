"""Nothing of the real data sets that tests use may stand in the repository: not a file, not a record.

usage: own_data.py FOLDER-OF-REAL-DATA
Compares the sha256 of every tracked file, and every string of 24 or more characters in tracked data files, with the real sets.
"""
import gzip
import hashlib
import re
import subprocess
import sys
from pathlib import Path

# A string of some length that is no key: keys are the format's, not the data's.
STRING = re.compile(r'"((?:[^"\\\n]|\\.){24,})"(?!\s*:)')
DATA = {".json", ".jsonl", ".csv", ".txt", ".gz", ".tsv"}


def content(path: Path) -> bytes:
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def unescaped(text: str) -> str:
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)


def main() -> int:
    tracked = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout.decode().split("\0")
    files = [Path(name) for name in tracked if name and Path(name).is_file()]
    ours = {}
    for path in files:
        if path.suffix in DATA:
            for string in STRING.findall(content(path).decode("utf-8", "replace")):
                ours.setdefault(unescaped(string), path)
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in files if path.stat().st_size > 0}
    found = []
    for real in sorted(path for path in Path(sys.argv[1]).rglob("*") if path.is_file() and path.name != "README.md"):
        raw = real.read_bytes()
        if (same := hashes.get(hashlib.sha256(raw).hexdigest())) is not None:
            found.append(f"{same} is the file {real.name}")
        for string in set(STRING.findall(content(real).decode("utf-8", "replace"))):
            if (path := ours.get(unescaped(string))) is not None:
                found.append(f"{path} holds a string of {real.name}: {string[:60]}")
    for line in found[:20]:
        print("own data:", line)
    print(f"own data: {len(files)} tracked files, {len(ours)} strings compared, {len(found)} found in the real sets")
    return 1 if found else 0


sys.exit(main())
