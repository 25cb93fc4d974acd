use std::io::Write;

use medley_files::WithHelp as _;
use medley_mixture::SourcePart;

use super::*;
use crate::item::Kind;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.0.path().join(name), bytes).expect("written");
    }

    fn load(&self, patterns: &[&str]) -> Result<Papers, String> {
        let part = |pattern: &&str| SourcePart { path: (*pattern).to_owned(), ..SourcePart::default() };
        let parts: Vec<SourcePart> = patterns.iter().map(part).collect();
        load_papers(&parts, self.0.path(), None).map_err(|error| error.with_help())
    }

    fn refusal(&self, pattern: &str) -> String {
        let message = self.load(&[pattern]).expect_err("the paper is bad");
        assert!(message.contains("help: "), "{message}");
        message
    }
}

fn line(id: &str) -> String {
    format!(
        "{{\"id\": \"{id}\", \"exam\": \"nursing\", \"kind\": \"single\", \"question\": \"？\", \"options\": [\"甲\", \
         \"乙\"], \"answer\": [\"B\"], \"passages\": [\"乙。\"]}}\n"
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

#[test]
fn lines_arrays_gzip_globs_and_folders_give_the_same_items() {
    let folder = Folder::new();
    let lines = line("a") + "\n" + &line("b");
    folder.write("p.jsonl", format!("\u{feff}{lines}"));
    let plain = folder.load(&["p.jsonl"]).expect("lines");
    assert_eq!(plain.items.len(), 2);
    assert_eq!(plain.files[0].items, 2);
    assert_eq!(plain.files[0].sha256.len(), 64);
    assert_eq!(plain.questions().collect::<Vec<_>>(), ["？", "？"]);
    assert_eq!(folder.load(&["*.jsonl", "p.jsonl"]).expect("twice named is once read"), plain);
    assert_eq!(folder.load(&["."]).expect("a folder").items, plain.items);
    std::fs::remove_file(folder.0.path().join("p.jsonl")).expect("removed");
    folder.write("p.json.gz", gzip(format!("[{},{}]", line("a"), line("b")).as_bytes()));
    assert_eq!(folder.load(&["p.json.gz"]).expect("an array").items, plain.items);
}

#[test]
fn bad_papers_are_refused_by_file_and_line() {
    let folder = Folder::new();
    folder.write("twice.jsonl", line("a") + &line("a"));
    folder.write("json.jsonl", line("a") + "{\"id\": \n");
    folder.write("list.jsonl", line("a") + "[]\n");
    folder.write("empty.jsonl", "\n");
    folder.write("array.json", "[{\"id\": 1},");
    folder.write("records.json", "[1]");
    folder.write("keys.jsonl", "{\"text\": \"x\"}\n");
    folder.write("damaged.jsonl", [line("a").as_bytes(), b"{\"id\": \"\xff\xff\"}"].concat());
    folder.write("open.csv", "question,A,B,answer,parse\n\"x,甲,乙,A,\n");
    folder.write("ragged.csv", "question,A,B,answer,parse\nx,甲,乙\n");
    folder.write("double.jsonl", line("a") + &line("b").replace("\"answer\"", "\"answer\": [\"A\"], \"answer\""));
    folder.write("double.json", line("b").replace("\"answer\"", "\"answer\": [\"A\"], \"answer\""));
    folder
        .write("option.jsonl", line("a").replace("[\"甲\", \"乙\"]", "{\"A\": \"甲\", \"B\": \"乙\", \"B\": \"丁\"}"));
    folder.write("prose.txt", "一段文字\n");
    let packed = gzip(line("a").as_bytes());
    folder.write("cut.jsonl.gz", &packed[..packed.len() / 2]);
    for (name, expected) in [
        ("twice.jsonl", "twice.jsonl:2: `id` \"a\" is taken by "),
        ("json.jsonl", "json.jsonl:2: not valid JSON"),
        ("list.jsonl", "list.jsonl:2: not valid JSON"),
        ("empty.jsonl", "empty.jsonl: the file is empty"),
        ("array.json", "array.json:1#2: the file ends inside the JSON array"),
        ("records.json", "an element of the array is not an object"),
        ("keys.jsonl", "has the keys text, of no known layout"),
        ("damaged.jsonl", "damaged.jsonl"),
        ("cut.jsonl.gz", "the gzip stream ends early"),
        ("open.csv", "open.csv:2: a quote opens in this row and is never closed"),
        ("ragged.csv", "ragged.csv:2: the row has 3 fields, the header 5"),
        ("double.jsonl", "double.jsonl:2: `answer` appears twice in the record"),
        ("double.json", "double.json:1: `answer` appears twice in the record"),
        ("option.jsonl", "option.jsonl:1: `B` appears twice in one object of the record"),
        ("prose.txt", "prose.txt: neither JSON nor a table"),
        ("absent-*.jsonl", "`absent-*.jsonl` matches no file"),
        ("absent.jsonl", "`absent.jsonl` does not exist"),
        (" ", "exam paper 1 has an empty path"),
    ] {
        let message = folder.refusal(name);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn layouts_of_others_are_known_by_their_keys() {
    let folder = Folder::new();
    folder.write(
        "cmb.jsonl",
        r#"{"exam_type": "药师考试", "exam_class": "", "exam_subject": "", "question": "⽤法？", "answer": "AC", "question_type": "多项选择题", "option": {"A": "口服", "B": "外用", "C": "注射", "D": ""}, "explanation": "口服（A对）与注射（C对）均可。"}
{"exam_type": "药师考试", "exam_class": "", "exam_subject": "", "question": "剂量？", "answer": "A", "question_type": "多项选择题", "option": {"A": "一", "B": "二"}, "explanation": ""}
{"exam_type": "药师考试", "exam_class": "", "exam_subject": "", "question": "时间？", "answer": "E", "question_type": "单项选择题", "option": {"A": "早", "B": "晚"}, "explanation": ""}
"#,
    );
    folder.write(
        "prompt.jsonl",
        r#"{"id": "x", "prompt": "题干第一行\nB. 不是选项\nA. 甲\n接着\nB. 乙", "category": "mcq", "gt_answer": "B", "meta": {"question_type": "单项选择题", "explanation": ""}}"#,
    );
    folder.write("cmexam.csv", "Question,Options,Answer,Explanation\n何经？,\"A 脾经\nB 肝经\",B,归肝经（B对）。\n");
    folder.write(
        "medqa.jsonl",
        r#"{"question": "何经？", "options": {"A": "脾", "B": "肝"}, "answer": "肝", "answer_idx": "B"}"#,
    );
    folder.write(
        "yao.json",
        r#"[{"question": "12. 何经？", "option": {"A": "脾", "B": "肝"}, "analysis": "归肝经，答案选B。", "answer": "B", "question_type": "最佳选择题"}]"#,
    );
    folder.write("tcm.csv", "question,A,B,C,D,E,answer,parse\n何证？,甲,乙,丙,,,B,证候为乙\n");
    let cmb = folder.load(&["cmb.jsonl"]).expect("CMB");
    let item = &cmb.items[0];
    assert_eq!((item.id.as_str(), item.exam.as_str(), item.kind), ("cmb-1", "pharmacist", Kind::Multiple));
    assert_eq!((item.question.as_str(), item.options.len()), ("用法？", 3));
    assert_eq!(item.passages, ["口服与注射均可。"]);
    let refused: Vec<&str> = cmb.files[0].refused.keys().map(String::as_str).collect();
    assert_eq!(
        refused,
        ["multiple choice with a key of one letter (cut short)", "the answer is not among the options"]
    );
    let prompt = &folder.load(&["prompt.jsonl"]).expect("prompts").items[0];
    assert_eq!(prompt.question, "题干第一行\nB. 不是选项");
    assert_eq!(prompt.option('A'), Some("甲\n接着"));
    for (name, exam, passages) in [
        ("cmexam.csv", "uncategorised", &["归肝经。"][..]),
        ("medqa.jsonl", "uncategorised", &[]),
        ("yao.json", "pharmacist", &["归肝经。"]),
        ("tcm.csv", "uncategorised", &["证候为乙"]),
    ] {
        let papers = folder.load(&[name]).unwrap_or_else(|error| panic!("{error}"));
        let item = &papers.items[0];
        assert_eq!(
            (item.exam.as_str(), item.kind, item.answer.iter().collect::<String>()),
            (exam, Kind::Single, "B".to_owned())
        );
        assert_eq!(item.passages, passages, "{name}");
        assert!(!item.question.starts_with("12"));
    }
    folder.write(
        "none.jsonl",
        r#"{"exam_type": "药师考试", "question": "？", "answer": "", "option": {"A": "一", "B": "二"}}"#,
    );
    assert!(folder.refusal("none.jsonl").contains("every item is refused (1: no answer)"));
    folder.write(
        "typed.jsonl",
        r#"{"exam_type": "药师考试", "question": 3, "answer": "", "option": {"A": "一", "B": "二"}}"#,
    );
    assert!(folder.refusal("typed.jsonl").contains("typed.jsonl:1: `question` is a number; expected text"));
}
