//! The hub data sets that the shipped recipes name, in miniature: invented records in each set's documented layout.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::hub_server::HubServer;

/// Different records in each of the files.
pub const RECORDS: usize = 130;

/// How a set's file is written.
#[derive(Clone, Copy)]
enum Form {
    Array,
    Lines,
}

/// A data set: its id, the commit that the recipes name, the file that they read, and what a record looks like.
struct DataSet {
    id: &'static str,
    commit: &'static str,
    file: &'static str,
    form: Form,
    /// The record of a question and an answer.
    record: fn(&str, &str) -> Value,
    /// Other files of the repository, which no recipe may read.
    others: &'static [&'static str],
}

const DATA_SETS: [DataSet; 5] = [
    DataSet {
        id: "shibing624/alpaca-zh",
        commit: "f39db019a94f8dbea48ab30d2bdc090703284559",
        file: "alpaca_gpt4_data_zh.json",
        form: Form::Array,
        record: |question, answer| json!({ "instruction": question, "input": "", "output": answer }),
        others: &["README.md"],
    },
    DataSet {
        id: "BelleGroup/train_0.5M_CN",
        commit: "efcb807b8c8411a294995125e5bcfee4e9d216ef",
        file: "Belle_open_source_0.5M.json",
        form: Form::Lines,
        record: |question, answer| json!({ "instruction": format!("{question}\n"), "input": "", "output": answer }),
        others: &["README.md"],
    },
    DataSet {
        id: "michaelwzhu/ShenNong_TCM_Dataset",
        commit: "7356f4f786b87c6bcb3c38d8b6d4b5e75aadb718",
        file: "ChatMed_TCM-v0.2.json",
        form: Form::Lines,
        record: |question, answer| json!({ "query": question, "response": answer }),
        others: &["README.md"],
    },
    DataSet {
        id: "SylvanL/Traditional-Chinese-Medicine-Dataset-SFT",
        commit: "72e2ece6b0a8f7c5501c4614e5b59cf82521313f",
        file: "SFT_medicalKnowledge_source1_548404.json",
        form: Form::Array,
        record: |question, answer| json!({ "instruction": question, "input": "", "output": answer }),
        others: &["SFT_structGeneral_310860.json", "_SFT_traditionalTrans_1959542.json", "dataset_info.json"],
    },
    DataSet {
        id: "FreedomIntelligence/huatuo_encyclopedia_qa",
        commit: "d460dc3c2e88cb6f0b7d768cfa0130f818e77083",
        file: "train_datasets.jsonl",
        form: Form::Lines,
        record: |question, answer| json!({ "questions": [[question, format!("请问，{question}")]], "answers": [answer] }),
        others: &["test_datasets.jsonl", "validation_datasets.jsonl", "my_dataset.py"],
    },
];

/// Ids of the data sets.
pub fn ids() -> impl Iterator<Item = &'static str> {
    DATA_SETS.iter().map(|set| set.id)
}

/// Writes every data set below `folder` and lets `hub` serve them at the commits that the recipes name.
pub fn serve(hub: &HubServer, folder: &Path) {
    for set in &DATA_SETS {
        let folder = folder.join(set.id);
        fs::create_dir_all(&folder).expect("a folder for the data set");
        fs::write(folder.join(set.file), text(set)).expect("the data set's file");
        for other in set.others {
            fs::write(folder.join(other), "not a record: nobody may read this").expect("another file");
        }
        hub.dataset(set.id, &folder);
        hub.pin_dataset(set.id, set.commit);
    }
}

/// [`RECORDS`] different records, one of them twice, and one with an empty answer.
fn text(set: &DataSet) -> String {
    let name = set.id.rsplit('/').next().unwrap_or(set.id);
    let question = |number: usize| format!("《{name}》第{number}问：云泽草的第{number}种用法是什么？");
    let answer = |number: usize| format!("第{number}种用法是每日{}钱，温水送服。", number % 9 + 1);
    let mut records: Vec<Value> = (0..RECORDS).map(|number| (set.record)(&question(number), &answer(number))).collect();
    records.push((set.record)(&question(3), &answer(3)));
    records.push((set.record)(&question(RECORDS), ""));
    match set.form {
        Form::Array => Value::from(records).to_string(),
        Form::Lines => records.iter().map(|record| format!("{record}\n")).collect(),
    }
}
