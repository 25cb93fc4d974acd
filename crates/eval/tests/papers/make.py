"""Small exam papers in the layouts of public exams; every question is made up. Needs pyarrow, zstd and xz.

    python make.py
"""

import csv
import io
import json
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
Q = ["Which bone is in the leg?", "Which organ pumps blood?", "Which vitamin is made in the skin?"]
W = [
    ["Femur", "Radius", "Ulna", "Scapula"],
    ["Liver", "Lung", "Heart", "Spleen"],
    ["Retinol", "Thiamine", "Ascorbic acid", "Calciferol"],
]
ZQ = ["下列属于补气药的是", "白术的归经是", "下列属于清热药的是"]
ZW = [["黄芪", "黄连", "附子", "麻黄", "桂枝"], ["心经", "脾经", "肝经", "肾经", "肺经"], ["人参", "甘草", "当归", "黄连", "熟地"]]
ZK = "ABD"  # keys of the Chinese questions
K = "ACD"  # keys of the English ones


def letters(texts):
    return {chr(65 + i): text for i, text in enumerate(texts)}


def lines(name, records, encoding="utf-8"):
    text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records)
    (HERE / name).write_bytes(text.encode(encoding))


def array(name, records, encoding="utf-8", indent=None):
    (HERE / name).write_bytes(json.dumps(records, ensure_ascii=False, indent=indent).encode(encoding))


def table(name, header, rows, delimiter=",", encoding="utf-8"):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerows(([header] if header else []) + rows)
    (HERE / name).write_bytes(out.getvalue().encode(encoding))


def parquet(name, records, **types):
    pq.write_table(pa.Table.from_pylist(records), HERE / name, **types)


def pack(name, command):
    packed = subprocess.run([*command, "-c", HERE / name], check=True, capture_output=True).stdout
    suffix = {"zstd": ".zst", "xz": ".xz", "gzip": ".gz"}[command[0]]
    (HERE / (name + suffix)).write_bytes(packed)
    (HERE / name).unlink()


def main():
    cmb = [
        {"exam_type": "医师考试", "exam_class": "执业医师", "exam_subject": "", "question": q, "answer": k,
         "question_type": "单项选择题", "option": letters(w)}
        for q, w, k in zip(ZQ, ZW, ZK)
    ]
    several = {**cmb[0], "question": "下列属于解表药的是", "answer": "DE", "question_type": "多项选择题"}
    lines("cmb.jsonl", cmb + [several])
    lines("cmb_gb18030.jsonl", cmb, "gb18030")
    array("cmb_lower.json", [{**r, "answer": r["answer"].lower()} for r in cmb])
    (HERE / "cmb_by_id.json").write_text(
        json.dumps({f"q{i}": r for i, r in enumerate(cmb)}, ensure_ascii=False), encoding="utf-8")
    lines("cmb_whole.jsonl", [{**r, "answer": f"{k}. {w['ABCDE'.index(k)]}"} for r, w, k in zip(cmb, ZW, ZK)])
    pack("cmb_whole.jsonl", ["zstd", "-19"])

    in_lines = ["\n".join(f"{a} {t}" for a, t in letters(w).items()) for w in ZW]
    table("cmexam.csv", ["Question", "Options", "Answer", "Explanation"],
          [[q, o, k, "健脾。"] for q, o, k in zip(ZQ, in_lines, ZK)])
    table("cmexam_gb18030.csv", ["Question", "Options", "Answer", "Explanation"],
          [[q, o, k, ""] for q, o, k in zip(ZQ, in_lines, ZK)], encoding="gb18030")
    table("cmexam.tsv", ["Question", "Options", "Answer"], [[q, o, k] for q, o, k in zip(ZQ, in_lines, ZK)], "\t")

    lines("medqa_us.jsonl", [
        {"question": q, "answer": w["ABCD".index(k)], "options": letters(w), "meta_info": "step1", "answer_idx": k}
        for q, w, k in zip(Q, W, K)])
    traditional = [("下列何者屬於補氣藥", ["黃耆", "黃連", "附子", "麻黃"], "A"), ("白朮歸何經", ["心經", "脾經", "肝經", "腎經"], "B"),
                   ("下列何者屬於清熱藥", ["人參", "甘草", "當歸", "黃連"], "D")]
    lines("medqa_tw_big5.jsonl", [
        {"question": q, "answer": w["ABCD".index(k)], "options": letters(w), "meta_info": "taiwan", "answer_idx": k}
        for q, w, k in traditional], "big5")

    lines("mtcmb.jsonl", [{"question": q, "options": letters(w), "answer": k} for q, w, k in zip(ZQ, ZW, ZK)])
    lines("mtcmb_list.jsonl", [
        {"question": q, "options": [f"{a}.{t}" for a, t in letters(w).items()], "answer": k}
        for q, w, k in zip(ZQ, ZW, ZK)])
    lines("mtcmb_lines.jsonl", [
        {"question": q, "options": "\n".join(f"({a}) {t}" for a, t in letters(w).items()), "answer": f"({k})"}
        for q, w, k in zip(ZQ, ZW, ZK)])

    abcd = ["A", "B", "C", "D"]
    table("ceval_val.csv", ["id", "question", *abcd, "answer"],
          [[i, q, *w[:4], k] for i, (q, w, k) in enumerate(zip(ZQ, ZW, ZK))])
    table("ceval_dev.csv", ["id", "question", *abcd, "answer", "explanation"],
          [[i, q, *w[:4], k, "因为健脾"] for i, (q, w, k) in enumerate(zip(ZQ, ZW, ZK))])
    pack("ceval_dev.csv", ["xz", "-9"])
    table("cmmlu.csv", ["", "Question", *abcd, "Answer"],
          [[i, q, *w[:4], k] for i, (q, w, k) in enumerate(zip(ZQ, ZW, ZK))])
    table("mmlu_test.csv", None, [[q, *w, k] for q, w, k in zip(Q, W, K)])
    parquet("mmlu.parquet", [
        {"question": q, "subject": "anatomy", "choices": w, "answer": "ABCD".index(k)} for q, w, k in zip(Q, W, K)])
    parquet("mmlu_pro.parquet", [
        {"question_id": i, "question": q, "options": w, "answer": k, "answer_index": "ABCD".index(k), "cot_content": ""}
        for i, (q, w, k) in enumerate(zip(Q, W, K))])

    def medmcqa(first):
        return [
            {"id": str(i), "question": q, "opa": w[0], "opb": w[1], "opc": w[2], "opd": w[3],
             "cop": "ABCD".index(k) + first, "choice_type": "multi", "exp": "It stands so.", "subject_name": "Anatomy"}
            for i, (q, w, k) in enumerate(zip(Q, W, K))]
    lines("medmcqa_from1.jsonl", medmcqa(1))
    parquet("medmcqa_from0.parquet", medmcqa(0), compression="zstd")

    pubmed = [("Does rest help?", "Rest was tried.", "no"), ("Does water help?", "Water was tried.", "yes"),
              ("Does salt help?", "Salt was tried.", "maybe")]
    (HERE / "pubmedqa.json").write_text(json.dumps({
        str(100 + i): {"QUESTION": q, "CONTEXTS": [c, "In ten people."], "LABELS": ["AIM", "RESULTS"], "MESHES": [],
                       "final_decision": d, "LONG_ANSWER": f"So {d}."}
        for i, (q, c, d) in enumerate(pubmed)}, indent=1))
    parquet("pubmedqa.parquet", [
        {"pubid": i, "question": q, "context": {"contexts": [c, "In ten people."], "labels": ["A", "B"]},
         "long_answer": f"So {d}.", "final_decision": d}
        for i, (q, c, d) in enumerate(pubmed)])

    kor = ["다음 중 뼈는", "다음 중 장기는", "다음 중 비타민은"]
    table("kormedmcqa.csv", ["subject", "year", "q_number", "question", *"ABCDE", "answer", "cot"],
          [["doctor", 2020, i, q, "가", "나", "다", "라", "마", k, ""] for i, (q, k) in enumerate(zip(kor, [1, 3, 5]))])
    parquet("kormedmcqa.parquet", [
        {"question": q, **letters(["가", "나", "다", "라", "마"]), "answer": k, "cot": ""}
        for q, k in zip(kor, [1, 3, 5])])

    lines("headqa.jsonl", [
        {"name": "Cuaderno_1", "year": "2013", "category": "medicine", "qid": i, "qtext": q, "ra": "ABCD".index(k) + 1,
         "image": "", "answers": [{"aid": j + 1, "atext": t} for j, t in enumerate(w)]}
        for i, (q, w, k) in enumerate(zip(Q, W, K))])
    parquet("headqa.parquet", [
        {"qid": i, "qtext": q, "ra": "ABCD".index(k) + 1,
         "answers": [{"aid": j + 1, "atext": t} for j, t in enumerate(w)]}
        for i, (q, w, k) in enumerate(zip(Q, W, K))])

    table("afrimedqa.csv",
          ["sample_id", "question_type", "question", "answer_options", "correct_answer", "answer_rationale", "specialty"],
          [[f"s{i}", "mcq", q, json.dumps({f"option{j + 1}": t for j, t in enumerate(w)}),
            f"option{'ABCD'.index(k) + 1}", "", "Anatomy"] for i, (q, w, k) in enumerate(zip(Q, W, K))])
    lines("frenchmedmcqa.jsonl", [
        {"id": str(i), "question": q, "answers": {a.lower(): t for a, t in letters(w).items()},
         "correct_answers": [k.lower()] if i else ["a", "b"], "subject_name": "pharmacie"}
        for i, (q, w, k) in enumerate(zip(Q, W, K))])
    parquet("arc.parquet", [
        {"id": str(i), "question": q, "choices": {"text": w, "label": abcd if i else ["1", "2", "3", "4"]},
         "answerKey": k if i else "1"} for i, (q, w, k) in enumerate(zip(Q, W, K))])
    lines("commonsenseqa.jsonl", [
        {"id": str(i), "question": {"stem": q, "choices": [{"label": a, "text": t} for a, t in letters(w).items()]},
         "answerKey": k} for i, (q, w, k) in enumerate(zip(Q, W, K))])

    # What must be asked about: no number tells from where it counts, and no key tells what a column holds.
    lines("ambiguous.jsonl", [{"question": q, "choices": w, "answer": 1 + i % 2} for i, (q, w) in enumerate(zip(Q, W))])
    lines("unknown.jsonl", [
        {"Vraag": q, "Keuze1": w[0], "Keuze2": w[1], "Keuze3": w[2], "Keuze4": w[3], "Juiste_sleutel": "ABCD".index(k) + 1}
        for q, w, k in zip(Q, W, K)])


main()
