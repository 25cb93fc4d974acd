"""Makes the fixtures beside it: the same invented rows in every way that pyarrow writes Parquet, and packed text.

usage: make.py (pyarrow 26)
"""
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
ROWS = 120


def row(i: int) -> dict:
    turns = [
        {"role": "user", "content": f"第{i}问：青石镇的井有多深？"},
        {"role": "assistant", "content": f"{i}尺。" * (1 + i % 4)},
    ] * (1 + i % 3)
    return {
        "instruction": f"青石镇第{i}户姓什么？",
        "input": None if i % 7 == 0 else "" if i % 7 == 1 else f"名册第{i % 13}页",
        "output": f"姓{'赵钱孙李周吴郑王'[i % 8]}。",
        "score": i / 8,
        "rank": -i,
        "kept": i % 2 == 0,
        "tags": None if i % 5 == 0 else [f"标{k}" if k % 2 else None for k in range(i % 4)],
        "answer": None if i % 11 == 0 else {"text": [f"答{i}"], "start": [i]},
        "messages": turns,
        "nested": [[f"{i}-{j}-{k}" for k in range(j)] for j in range(i % 3)],
        "raw": bytes([i % 256, 255]),
    }


def main() -> None:
    table = pa.Table.from_pylist([row(i) for i in range(ROWS)])
    kinds = {
        "snappy": {"compression": "snappy"},
        "gzip_v2": {"compression": "gzip", "data_page_version": "2.0"},
        "zstd_small_pages": {"compression": "zstd", "data_page_size": 256, "row_group_size": 70},
        "lz4_plain": {"compression": "lz4", "use_dictionary": False},
        "deltas": {
            "compression": "none",
            "use_dictionary": False,
            "data_page_version": "2.0",
            "column_encoding": {
                "instruction": "DELTA_BYTE_ARRAY",
                "output": "DELTA_LENGTH_BYTE_ARRAY",
                "rank": "DELTA_BINARY_PACKED",
                "score": "BYTE_STREAM_SPLIT",
                "kept": "RLE",
            },
        },
        "brotli": {"compression": "brotli"},
    }
    for name, options in kinds.items():
        pq.write_table(table, HERE / f"{name}.parquet", **options)
    # Binary data comes out as null.
    lines = [json.dumps(row(i) | {"raw": None}, ensure_ascii=False) + "\n" for i in range(ROWS)]
    text = "".join(lines).encode()
    (HERE / "rows.jsonl").write_bytes(text)
    # Two streams or frames in one file, as parallel packers write them.
    middle = len("".join(lines[: ROWS // 2]).encode())
    (HERE / "rows.jsonl.xz").write_bytes(lzma.compress(text[:middle]) + lzma.compress(text[middle:]))
    (HERE / "rows.jsonl.zst").write_bytes(zstandard(text[:middle]) + zstandard(text[middle:]))


def zstandard(text: bytes) -> bytes:
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(text)
    return packed.getvalue().to_pybytes()


main()
