use std::fs;
use std::path::Path;

use medley_mixer::{MixContext, mix};
use medley_mixture::MixSpec;
use serde_json::{Value, json};

use super::*;

const EVIL: &str = "</script><script>alert('&')</script>";

/// A source of one file.
fn part(path: &str, filter: &Value) -> Value {
    json!({ "path": path, "format": "auto", "columns": {}, "licence": EVIL, "filter": filter })
}

/// A mix of these pools, 3:1 where there are two, in a folder of its own.
fn mixed(folder: &Path, size: usize, pools: &[(&str, Vec<Value>)]) -> MixFolder {
    filtered(folder, size, pools, &json!({}))
}

fn filtered(folder: &Path, size: usize, pools: &[(&str, Vec<Value>)], filter: &Value) -> MixFolder {
    let mut sources = serde_json::Map::new();
    let mut ratio = Vec::new();
    for (index, (name, records)) in pools.iter().enumerate() {
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        fs::write(folder.join(format!("{index}.jsonl")), lines).expect("written");
        let part = part(&format!("{index}.jsonl"), filter);
        sources.insert((*name).to_owned(), json!({ "parts": [part] }));
        ratio.push(json!([if index == 0 { 3 } else { 1 }, { "name": name, "ratio": { "Source": name } }]));
    }
    let spec = json!({
        "size": size, "seed": 1, "on_shortage": "repeat", "ratio": { "Group": ratio },
        "validation": { "fraction": 0.0, "max_samples": 0 }, "sources": sources,
    });
    let spec: MixSpec = serde_json::from_value(spec).expect("a mix's description");
    let out = folder.join("mixed");
    let mix = mix(&spec, &MixContext::new(folder)).unwrap_or_else(|error| panic!("{error}"));
    mix.write(&out).expect("written");
    MixFolder::open(&out).expect("a mix")
}

fn ask(question: &str, input: &str, output: &str) -> Value {
    json!({ "instruction": question, "input": input, "output": output })
}

fn page(folder: &MixFolder) -> String {
    mix_page(folder, 1_795_279_168).unwrap_or_else(|error| panic!("{error}"))
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn what_records_and_recipes_say_stays_text_and_nothing_is_asked_for() {
    let folder = temporary();
    let turns = json!([
        { "role": "system", "content": EVIL }, { "role": "user", "content": EVIL },
        { "role": "assistant", "content": EVIL },
    ]);
    let records = vec![ask(EVIL, EVIL, EVIL), json!({ "messages": turns }), ask(EVIL, "", "")];
    let html = page(&mixed(folder.path(), 2, &[(EVIL, records)]));
    assert!(!html.contains("<script>alert"), "{html}");
    assert!(html.matches("&lt;/script&gt;&lt;script&gt;alert('&amp;')").count() > 8);
    assert_eq!(html.matches("<script").count(), html.matches("</script>").count());
    for request in ["http:", "https:", "src=", "@import", "url(", "fetch("] {
        assert!(!html.contains(request), "{request}");
    }
    assert_eq!(html.matches("href=").count(), html.matches("href=\"data:,\"").count());
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn shares_lengths_rejections_duplicates_and_samples_are_told() {
    let folder = temporary();
    let mut general: Vec<Value> = (0..30).map(|number| ask(&format!("问题{number:02}"), "资料", "答")).collect();
    general.extend([general[0].clone(), ask("空", "", "")]);
    let tcm: Vec<Value> = (25..35).map(|number| ask(&format!("问题{number:02}"), "资料", "答")).collect();
    let html = page(&mixed(folder.path(), 32, &[("general", general), ("tcm", tcm)]));
    for part in [
        "general 3 : tcm 1 · 32 samples requested",
        "75.00 %",
        "tcm: 3 of 8 samples are repeats, each record occurs 1.6 times on average",
        "found\">empty answer</td><td class=\"records\">1</td><td class=\"share\">3.12 %",
        "<code>0.jsonl:32</code>",
        "<th>also in general",
        "<mark title=\"passage\">资料</mark>",
        "mix.ratio = { general = 3, tcm = 1 }",
        "general (24)",
        "search in 29 samples",
        "median 7, 90 % within 7 characters",
    ] {
        assert!(html.contains(part), "no «{part}» in the page");
    }
    assert!(!html.contains("was mixed: its hash"), "the file is what was mixed");
}

#[test]
fn a_group_is_the_sum_of_what_it_holds() {
    let folder = temporary();
    let pools = [("general", (0..80).map(|number| ask(&format!("通{number}"), "", "答")).collect::<Vec<_>>())];
    let mixed = mixed(folder.path(), 60, &pools);
    let leaf = |name: &str| json!({ "name": name, "ratio": { "Source": name } });
    let line = mixed.ledger.sources["general"].clone();
    let mut ledger = mixed.ledger;
    let half = |share| SourceLedger {
        requested_share: share,
        realised_share: 1.0 / 3.0,
        requested: 30,
        chosen: 30,
        ..line.clone()
    };
    ledger.sources = [("a".to_owned(), half(0.25)), ("b".to_owned(), half(0.5)), ("c".to_owned(), half(0.25))].into();
    ledger.chosen = 90;
    let deep = json!({ "name": "deep", "ratio": { "Group": [[1, leaf("b")], [2, leaf("c")]] } });
    let ratio = json!({ "Group": [[1, leaf("a")], [3, deep]] });
    let spec = MixSpec { ratio: serde_json::from_value(ratio).expect("a ratio"), ..mixed.manifest.spec.clone() };
    let names: Vec<String> = ledger.sources.keys().cloned().collect();
    let html = composition::tree(&spec, &ledger, &names).into_string();
    let group = html.split("<tr").find(|row| row.contains(">deep<")).expect("a line for the group");
    assert!(group.contains("<td>75.00 %</td><td>66.67 %</td><td>-8.33</td><td>60</td><td>60</td><td>–"), "{group}");
}

#[test]
fn many_long_samples_give_a_small_page() {
    let folder = temporary();
    let long = "气".repeat(300);
    let records = (0..200).map(|number| ask(&format!("{number}{long}"), &long.repeat(8), &EVIL.repeat(200))).collect();
    let short = (0..200).map(|number| ask(&format!("问{number}"), "", "答")).collect();
    let html = page(&mixed(folder.path(), 240, &[("long", records), ("short", short)]));
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
    assert!(html.contains("more characters") && html.contains("of 240 samples requested"));
    assert_eq!(html.matches("<article").count(), 80);
}

#[test]
fn a_folder_without_records_and_one_that_was_changed_say_so() {
    let folder = temporary();
    let pools = [("general", (0..9).map(|number| ask(&format!("通{number}"), "", "答")).collect::<Vec<_>>())];
    let mixed = mixed(folder.path(), 6, &pools);
    let path = mixed.path.join("mix.jsonl");
    let text = fs::read_to_string(&path).expect("a mix");
    fs::write(&path, text.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>()).expect("written");
    assert!(page(&mixed).contains("not the file that was mixed"));
    fs::remove_file(&path).expect("there");
    let html = page(&mixed);
    assert!(html.contains("No records") && html.contains("Composition") && !html.contains("id=\"samples\""), "{html}");
}

#[test]
fn languages_and_what_filters_found_are_told() {
    let folder = temporary();
    let english = "What are the symptoms of influenza in children, and how is it treated?";
    let records = vec![
        ask("麻黄有什么功效？", "", "发汗解表，宣肺平喘。"),
        ask(english, "", "Fever and cough; rest and plenty of fluids are advised."),
        ask("桂枝有什么功效？", "", "<b>短</b>"),
    ];
    let filter = json!({ "answer_chars": { "min": 9 } });
    let html = page(&filtered(folder.path(), 2, &[("general", records)], &filter));
    for part in [
        "<th>English</th><th>Chinese",
        "<tr><th>general</th><td>1</td><td>1",
        "<code>0.jsonl:3</code> <q>",
        "&lt;b&gt;短",
        "filter.answer_chars.min = 9",
    ] {
        assert!(html.contains(part), "no «{part}» in the page");
    }
}
