//! Held against the importer: what is identified is what it reads.

use medley_mixture::canonical::{content_id, content_id_of, fold, is_inert};
use medley_mixture::spec::{SourcePart, Supervise};
use medley_reader::RawRecord;
use proptest::prelude::*;

use super::super::{Imported, ImportedRecord, Importer};
use super::fold::fold_into;
use super::*;

type Told = Option<(Vec<u8>, Identified)>;

/// What the importer makes of the record, and what this file does.
fn both(record: &str) -> (Option<(Vec<Message>, Shape)>, Told) {
    let importer = Importer::new(&SourcePart::default());
    let read = match importer.import(RawRecord::Json(record.as_bytes())) {
        Ok(ImportedRecord { imported: Imported::Conversation(messages), shape, seen: 1, .. }) => {
            Some((messages, shape))
        }
        _ => None,
    };
    (read, told(&importer, record))
}

/// What follows the record in its file is no part of it.
fn told(importer: &Importer, record: &str) -> Told {
    let mut canonical = Vec::new();
    let mut draft = Draft::new(&mut canonical, 0);
    let behind = format!("{record}\n\"instruction\": \"x\"}}");
    let identified = importer.identify(behind.as_bytes(), record.len(), &mut draft)?;
    let written = draft.from(0).to_vec();
    let mut draft = Draft::new(&mut canonical, 0);
    assert_eq!(importer.identify(record.as_bytes(), record.len(), &mut draft).as_ref(), Some(&identified));
    assert_eq!(draft.from(0), written);
    Some((written, identified))
}

fn agree(record: &str) -> bool {
    let (messages, identified) = both(record);
    let Some((canonical, identified)) = identified else { return false };
    let (messages, shape) = messages.unwrap_or_else(|| panic!("{record} is no conversation"));
    assert_eq!(identified.shape, shape, "{record}");
    assert_eq!(content_id_of(&canonical), content_id(&messages), "{record}");
    assert_eq!(super::messages(record.as_bytes()).as_ref(), Some(&messages), "{record}");
    let turns: Vec<(u8, &[u8])> = canonical::turns(&canonical).collect();
    let folded: Vec<_> = messages.iter().map(|message| fold(&message.content)).collect();
    assert!(turns.iter().map(|(_, text)| *text).eq(folded.iter().map(|text| text.as_bytes())), "{record}");
    let asked = &*folded[0];
    let parts = identified.input.map(|at| (fold(&asked[..at]), fold(&asked[at..])));
    let passage = messages[0].passage.clone();
    let expected =
        passage.map(|passage| (fold(&messages[0].content[..passage.start]), fold(&messages[0].content[passage])));
    assert_eq!(parts, expected, "{record}");
    true
}

#[test]
fn plain_records_are_identified() {
    for record in [
        r#"{"instruction": "麻黄有什么功效？", "input": "", "output": "发汗解表，宣肺平喘。"}"#,
        r#" {"output":"b\n\"c\"\t\/","instruction":"\u9ebb\uff0c a"} "#,
        r#"{"instruction":"　归纳要点\n","input":" ＡＢ麻黄发汗。\n","output":"1%：一\u0000"}"#,
        r#"{"instruction":" ","input":"只有输入","output":"好"}"#,
        r#"{"instruction":"é 体温37℃","output":"多喝水·休息\r\n好","id":"x 7"}"#,
        r#"{"instruction":"e\u0301","output":"\ud83d\ude00"}"#,
        r#"{"instruction":"a","output":"b","label":"false"}"#,
    ] {
        assert!(agree(record), "{record}");
    }
}

#[test]
fn plain_turns_are_identified() {
    for record in [
        r#"{"messages": [{"role": "user", "content": "麻黄有什么功效？"}, {"role": "assistant", "content": "发汗解表。\n好"}]}"#,
        r#" { "conversations" : [ {"from":"human","value":"一"} , {"value":"二","from":"gpt"} ] , "id":"7" } "#,
        r#"{"id":"7","conversation":[{"role":"system","content":"甲"},{"role":"user","content":" 乙"},{"role":"bot","content":"丙"}]}"#,
        r#"{"messages":[{"role":"USER","content":"a"},{"role":"assistant","content":"['b']"},{"from":"user","content":"问：c"},{"role":"assistant","value":"d"}]}"#,
    ] {
        assert!(agree(record), "{record}");
    }
}

#[test]
fn turns_that_are_not_plain_are_left_to_the_importer() {
    let turn = |role: &str, content: &str| format!(r#"{{"role":"{role}","content":"{content}"}}"#);
    let of = |turns: &[String]| format!(r#"{{"messages":[{}]}}"#, turns.join(","));
    let (user, assistant, system) = (turn("user", "a"), turn("assistant", "b"), turn("system", "s"));
    for record in [
        of(&[]),
        of(std::slice::from_ref(&user)),
        of(&[assistant.clone(), user.clone()]),
        of(&[user.clone(), user.clone(), assistant.clone(), assistant.clone()]),
        of(&[user.clone(), system.clone(), assistant.clone()]),
        of(&[system.clone(), system.clone(), user.clone(), assistant.clone()]),
        of(&[user.clone(), turn("tool", "b")]),
        of(&[user.clone(), turn("assistant", " ")]),
        of(&[user.clone(), turn("assistant", "é")]),
        of(&[user.clone(), r#"{"role":"assistant","content":"b","weight":0}"#.to_owned()]),
        of(&[user.clone(), r#"{"role":"assistant","content":"b","loss":false}"#.to_owned()]),
        of(&[user.clone(), r#"{"masked":"true","role":"assistant","content":"b"}"#.to_owned()]),
        of(&[user.clone(), r#"{"input":"a","output":"b"}"#.to_owned()]),
        of(&[user.clone(), assistant.clone()]).replace("}]}", r#"}],"label":"false"}"#),
        of(&[user.clone(), assistant.clone()]).replace("}]}", r#"}],"Label":false}"#),
        of(&[user.clone(), assistant.clone()]).replace("}]}", r#"}],"kto_tag":"false"}"#),
        format!("[{user},{assistant}]"),
        of(&[user.clone(), r#"{"role":"assistant","from":"b"}"#.to_owned()]),
        of(&[user.clone(), r#"{"role":"assistant","content":["b"]}"#.to_owned()]),
        of(&[user.clone(), r#"{"role":"assistant","content":null}"#.to_owned()]),
        of(&[r#"{"human":"a","assistant":"b"}"#.to_owned()]),
        of(&[user.clone(), assistant.clone()]) + "x",
        of(&[user.clone(), assistant.clone()]).replace("}]}", "}],}"),
        of(&[user.clone(), assistant.clone()]).replace("}]}", "},]}"),
        of(&[user.clone(), assistant.clone()]).replace("}]}", r#"}],"system":"s"}"#),
        of(&[user.clone(), assistant.clone()]).replace("}]}", r#"}],"success":"s"}"#),
        of(&[user.clone(), assistant.clone()]).replace("}]}", r#"}],"id":7}"#),
        of(&[user.clone(), assistant.clone()]).replace("}]}", r#"}],"messages":"x"}"#),
        of(&[user.clone(), assistant.clone()]).replace("}]}", r#"}],"Conversations":"x"}"#),
        r#"{"Messages":[]}"#.to_owned(),
        r#"{"messages":"[]"}"#.to_owned(),
        r#"{"messages":{"role":["user"],"content":["a"]}}"#.to_owned(),
    ] {
        assert_eq!(told(&Importer::new(&SourcePart::default()), &record), None, "{record}");
    }
    let last = SourcePart { supervise: Supervise::Last, ..SourcePart::default() };
    assert_eq!(told(&Importer::new(&last), &of(&[user, assistant])), None);
}

#[test]
fn whatever_is_not_plain_is_left_to_the_importer() {
    for record in [
        r#"{"instruction":"a","output":""}"#,
        r#"{"instruction":" ","input":"　","output":"b"}"#,
        r#"{"instruction":"a","output":"b","instruction":"a"}"#,
        r#"{"instruction":"a","output":"b","Input":"c"}"#,
        r#"{"instruction":"a","output":"b","history":[]}"#,
        r#"{"instruction":"a","output":"b","label":false}"#,
        r#"{"instruction":"a","output":"b","label":"x","label":"y"}"#,
        r#"{"label":"x","instruction":"a","Label":"y","output":"b"}"#,
        r#"{"instruction":"a","output":"b","kto_tag":"false"}"#,
        r#"{"instruction":"a","output":["b"]}"#,
        r#"{"instruction":"问：a\n答：","output":"b"}"#,
        r#"{"instruction":" Human: a","output":"b"}"#,
        r#"{"instruction":"a","input":"<text>a<question>b","output":"b"}"#,
        r#"{"instruction":"a","output":"['b', 'c']"}"#,
        r#"{"instruction":"a","output":"b"}x"#,
        r#"{"instruction":"a","output":"b\q"}"#,
        r#"{"instruction":"a","output":"b\ud800"}"#,
        r#"{"instruction":"a","output":"b","x":"\q"}"#,
        "{\"instruction\":\"a\",\"output\":\"b\nc\"}",
        r#"{"instruction":"a","output":"b","#,
        r#"{"instruction":"a","output":"b\""#,
        r#"{"instruction":"a""#,
        "{}",
        "[]",
        "",
    ] {
        assert_eq!(told(&Importer::new(&SourcePart::default()), record), None, "{record}");
    }
}

fn texts() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            4 => "[a-z一-鿿 ，。“、\u{3000}]{0,12}",
            1 => "[\u{0}-\u{20}\"\\\\éか\u{301}Ａ⽤😀\u{2028}\u{85}:：<>\\[']{0,3}",
            1 => prop_oneof![Just("问："), Just("答："), Just("Human:"), Just("<text>"), Just("['")].prop_map(str::to_owned),
        ],
        0..5,
    )
    .prop_map(|parts| parts.concat())
}

/// Every character alone, where vectors begin and end.
#[test]
fn every_character_of_the_first_plane() {
    for character in (0..=0xffff).filter_map(char::from_u32) {
        for before in [0, 29, 30, 31, 32, 60] {
            let text = format!("{}{character}一a", "b".repeat(before));
            let raw = serde_json::to_string(&text).expect("JSON");
            let inside = &raw.as_bytes()[1..raw.len() - 1];
            let mut folded = vec![0; inside.len()];
            if let Some(written) = fold_into(inside, &mut folded) {
                folded.truncate(written);
                let expected = fold(&text);
                let folded = String::from_utf8(folded).expect("UTF-8");
                assert_eq!(folded.trim(), expected, "U+{:04x}", u32::from(character));
            } else {
                assert!(!is_inert(character) || character < ' ', "U+{:04x}", u32::from(character));
            }
        }
    }
}

proptest! {
    /// Vectors and bytes one after another.
    #[test]
    fn both_ways_to_fold(text in "([a-z一-鿿]{0,40}[，。、：“”（）\u{3000}\\n\\t\"\\\\\\r\u{0}～Ａéか一a]{0,3}){0,9}") {
        prop_assume!(wide::available());
        let raw = serde_json::to_string(&text).expect("JSON");
        let inside = &raw.as_bytes()[1..raw.len() - 1];
        let (mut wide, mut slow) = (vec![0; inside.len() + wide::ROOM], vec![0; inside.len()]);
        let one = fold_into(inside, &mut slow).map(|written| &slow[..written]);
        let all = wide::fold_string(&raw.as_bytes()[1..], &mut wide).map(|(_, written)| &wide[..written]);
        prop_assert_eq!(all, one);
    }

    #[test]
    fn the_importer_agrees(instruction in texts(), input in texts(), output in texts(), ascii: bool, beside: bool) {
        let mut record = serde_json::json!({"instruction": instruction, "input": input, "output": output});
        if beside {
            record["id"] = "7".into();
        }
        let mut record = record.to_string();
        if ascii {
            record = record.chars().map(|c| match c as u32 {
                0..0x80 => c.to_string(),
                _ => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            }).collect();
        }
        agree(&record);
    }

    #[test]
    fn the_importer_agrees_on_turns(
        contents in proptest::collection::vec(texts(), 1..5),
        system in proptest::option::of(texts()),
        (share_gpt, swapped, beside, spaced, cut) in any::<(bool, bool, bool, bool, Option<u8>)>(),
    ) {
        let [key, role, content] = if share_gpt { ["conversations", "from", "value"] } else { ["messages", "role", "content"] };
        let roles = ["user", "assistant"].into_iter().cycle();
        let turns = system.iter().map(|text| ("system", text)).chain(roles.zip(&contents));
        let colon = if spaced { ": " } else { ":" };
        let turns: Vec<String> = turns.map(|(name, text)| {
            let mut fields = [format!("\"{role}\"{colon}\"{name}\""), format!("\"{content}\"{colon}{}", serde_json::json!(text))];
            if swapped { fields.reverse() }
            format!("{{{}}}", fields.join(","))
        }).collect();
        let id = if beside { "\"id\": \"x7\", " } else { "" };
        let record = format!("{{{id}\"{key}\"{colon}[{}]}}", turns.join(", "));
        let plain = |text: &String| !fold(text).is_empty() && text.chars().all(is_inert) && !text.contains('\r');
        let must = contents.len() % 2 == 0 && contents.iter().chain(&system).all(plain);
        prop_assert!(agree(&record) || !must, "{record}");
        let end = cut.map_or(0, |cut| usize::from(cut) % record.len());
        agree(&record[..(0..=end).rev().find(|end| record.is_char_boundary(*end)).unwrap_or(0)]);
    }

    #[test]
    fn any_bytes(record in "[{}\",:\\\\a ]{0,40}", cut in 0..60usize) {
        agree(&record);
        let whole = r#"{"instruction": "麻\n黄", "input": "", "output": "发"}"#;
        let cut = whole.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(whole.len());
        agree(&whole[..cut]);
    }
}
