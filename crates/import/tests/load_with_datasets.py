"""Rows that `datasets.load_dataset` loads for every set of a LLaMA-Factory, Axolotl or torchtune file, as JSON lists of numbers.

The calls are those that the tools make: LLaMA-Factory's `_load_single_dataset`, Axolotl's `load_dataset_with_config`,
torchtune's `SFTDataset`. Usage: load_with_datasets.py FILE (in the folder that its paths start from).
"""

import json
import os
import sys

import yaml
from datasets import load_dataset

LLAMA_FACTORY_TYPES = {"csv": "csv", "json": "json", "jsonl": "json", "parquet": "parquet", "txt": "text"}


def llama_factory(sets):
    for entry in sets.values():
        path = entry["file_name"]
        files = [os.path.join(path, name) for name in os.listdir(path)] if os.path.isdir(path) else [path]
        kind = LLAMA_FACTORY_TYPES[os.path.splitext(files[0])[-1][1:]]
        yield load_dataset(kind, data_files=files, split=entry.get("split", "train"))


def axolotl(sets):
    endings = {".parquet": "parquet", ".csv": "csv", ".txt": "text"}
    for entry in sets:
        path, split = entry["path"], entry.get("split", "train")
        kind = entry.get("ds_type") or next((kind for end, kind in endings.items() if end in path), "json")
        if os.path.isfile(path):
            yield load_dataset(kind, data_files=path, split=split)
        elif "data_files" in entry:
            yield load_dataset(kind, data_files=entry["data_files"], split=split)
        else:
            yield load_dataset(path, split=split)


def torchtune(sets):
    builder_arguments = ("data_files", "data_dir", "name")
    for entry in sets:
        arguments = {key: entry[key] for key in builder_arguments if key in entry}
        yield load_dataset(entry["source"], split=entry.get("split", "train"), **arguments)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        described = yaml.safe_load(file)
    if "datasets" in described:
        loaded = axolotl(described["datasets"])
    elif "dataset" in described:
        loaded = torchtune(described["dataset"])
    else:
        loaded = llama_factory(described)
    print(json.dumps([len(rows) for rows in loaded]))


if __name__ == "__main__":
    main()
