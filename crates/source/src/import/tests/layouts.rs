//! Layouts of other programs, and hints for unknown ones.

use super::*;

#[test]
fn lists_of_questions_and_answers_are_no_record() {
    let plain = importer(Columns::default());
    for columns in [
        r#"{"instruction":["一","三"],"output":["二","四"]}"#,
        r#"{"instruction":["一","三"],"input":["",""],"output":["二","四"]}"#,
        r#"{"question":["一","三"],"answer":["二",null]}"#,
        r#"{"prompt":["一","三"],"completion":["二","四"]}"#,
        r#"{"input":["一","三"],"output":["二","四"]}"#,
        r#"{"问题":["一","三"],"回答":["二","四"]}"#,
        r#"{"question":["一","三"],"A":["a","b"],"B":["c","d"],"answer":["A","B"]}"#,
    ] {
        assert_eq!(rejected(&plain, columns), Rejection::ListsOfTexts, "{columns}");
        assert!(!plain.knows(columns.as_bytes()), "{columns}");
    }
    let columns = r#"{"q":["一","三"],"z":["二","四"]}"#;
    assert_eq!(rejected(&named("q", "z"), columns), Rejection::ListsOfTexts);
    for (record, turns_read) in [
        (r#"{"question":"一","answer":["二","三"]}"#, ["一", "二\n三"]),
        (r#"{"question":["一"],"answer":["二"]}"#, ["一", "二"]),
        (r#"{"question":["一","二"],"answer":["三"]}"#, ["一\n二", "三"]),
        (r#"{"question":"一","context":["文","章"],"answers":["二","三"]}"#, ["一\n文\n章", "二\n三"]),
        (r#"{"questions":[["一","又一"],["二"]],"answers":["三","四"]}"#, ["一", "三\n四"]),
    ] {
        let read: Vec<String> = turns(&plain, record).into_iter().map(|(_, text)| text).collect();
        assert_eq!(read, turns_read, "{record}");
    }
}

#[test]
fn a_system_turn_wins_over_the_column() {
    let plain = importer(Columns::default());
    let record = |column: &str, turns: &[&str]| {
        let system: String = turns.iter().map(|text| format!(r#"{{"role":"system","content":"{text}"}},"#)).collect();
        format!(
            r#"{{"system":{column},"messages":[{system}{{"role":"user","content":"q"}},{{"role":"assistant","content":"a"}}]}}"#
        )
    };
    for (column, system, expected) in [
        (r#""外""#, &["里"][..], Some("里")),
        (r#""同""#, &["同"], Some("同")),
        (r#""外""#, &[" "], Some("外")),
        (r#""外""#, &[], Some("外")),
        ("null", &["里"], Some("里")),
        (r#""""#, &[], None),
        ("[\"一\",\"二\"]", &[], Some("一\n二")),
        ("null", &["同", "同 "], Some("同")),
    ] {
        let turns = turns(&plain, &record(column, system));
        let found = turns.iter().find(|(role, _)| *role == System).map(|(_, text)| text.as_str());
        assert_eq!((found, turns.len()), (expected, 2 + usize::from(expected.is_some())), "{column} {system:?}");
    }
    assert_eq!(rejected(&plain, &record("null", &["一", "二"])), Rejection::TwoSystemMessages);
    let later = r#"{"messages":[{"role":"user","content":"q"},{"role":"system","content":"s"},{"role":"assistant","content":"a"}]}"#;
    assert_eq!(rejected(&plain, later), Rejection::TurnsOutOfOrder);
}

#[test]
fn a_dialogue_within_a_record_is_read_whole_or_stays() {
    for (instruction, input, expected) in [
        ("User:甲\\nAssistant:乙\\nUser:丙", "", &["甲", "乙", "丙", "答"][..]),
        ("User:甲\\nAssistant:乙", "User:丙", &["甲", "乙", "丙", "答"]),
        ("User:甲 Assistant:乙 User:丙", "User:丁", &["User:甲 Assistant:乙 User:丙\nUser:丁", "答"]),
        ("User:甲\\nAssistant:乙\\nUser:丙", "User:丁", &["User:甲\nAssistant:乙\nUser:丙\nUser:丁", "答"]),
        ("Human: 甲 Assistant: 乙 Human: 丙", "", &["Human: 甲 Assistant: 乙 Human: 丙", "答"]),
        ("User: what does Assistant: mean", "", &["User: what does Assistant: mean", "答"]),
        ("问：甲 答：乙 问：丙 答：", "", &["问：甲 答：乙 问：丙 答：", "答"]),
        ("续写", "Human: 甲 Assistant: 乙", &["续写\nHuman: 甲 Assistant: 乙", "答"]),
    ] {
        let record = format!(r#"{{"instruction":"{instruction}","input":"{input}","output":"答"}}"#);
        let read: Vec<String> =
            turns(&importer(Columns::default()), &record).into_iter().map(|(_, text)| text).collect();
        assert_eq!(read, expected, "{record}");
    }
}

#[test]
fn layouts_of_other_trainers() {
    let plain = importer(Columns::default());
    let said = |record: &str| turns(&plain, record).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("|");
    for (record, expected) in [
        // TRL
        (r#"{"prompt":[{"role":"user","content":"一"}],"completion":[{"role":"assistant","content":"二"}]}"#, "一|二"),
        (r#"{"prompt":[{"role":"user","content":"一"}],"completion":"二"}"#, "一|二"),
        (r#"{"system":"系","prompt":"一","completion":[{"role":"assistant","content":"二"}]}"#, "系|一|二"),
        // XTuner
        (
            r#"{"conversation":[{"system":"系","input":"一","output":"二"},{"input":"三","output":"四"}]}"#,
            "系|一|二|三|四",
        ),
        (
            r#"{"conversation":[{"system":"系","input":"一","output":"二"},{"system":"系","input":"三","output":"四"}]}"#,
            "系|一|二|三|四",
        ),
        // Lists of turns, of pairs, of texts
        (r#"[{"role":"user","content":"一"},{"role":"assistant","content":"二"}]"#, "一|二"),
        (r#" [{"from":"human","value":"一"},{"from":"gpt","value":"二"}]"#, "一|二"),
        (r#"["问：一","答：二"]"#, "一|二"),
        (r#"{"conversations":[["一","二"],["三","四"]]}"#, "一|二|三|四"),
        (r#"{"conversations":[{"question":"一","answer":"二"}]}"#, "一|二"),
        // MOSS
        (
            r#"{"meta_instruction":"系","chat":{"turn_10":{"Human":"<|Human|>: 三<eoh>\n","MOSS":"<|MOSS|>: 四<eom>\n"},"turn_2":{"Human":"<|Human|>: 一<eoh>\n","Commands":"<|Commands|>: None<eoc>\n","MOSS":"<|MOSS|>: 二<eom>\n"}}}"#,
            "系|一|二|三|四",
        ),
        // A table's cells
        (
            r#"{"prompt":"[{\"role\":\"user\",\"content\":\"一\"}]","completion":"[{\"role\":\"assistant\",\"content\":\"二\"}]"}"#,
            "一|二",
        ),
        (r#"{"prompt":"[{\"role\":\"user\"}]","completion":"二"}"#, "[{\"role\":\"user\"}]|二"),
        (r#"{"instruction":"三","output":"四","history":"[[\"一\",\"二\"]]"}"#, "一|二|三|四"),
        (
            r#"{"query":"三","response":"四","history":[{"role":"user","content":"一"},{"role":"assistant","content":"二"}]}"#,
            "一|二|三|四",
        ),
    ] {
        assert_eq!(said(record), expected, "{record}");
    }
    let trl = r#"{"prompt":[{"role":"user","content":"一"},{"role":"assistant","content":"二"},{"role":"user","content":"三"}],"completion":[{"role":"assistant","content":"四"}]}"#;
    assert_eq!(learned(trl).iter().map(|(_, learned)| *learned).collect::<Vec<_>>(), [true, false, true, true]);
    let xtuner =
        r#"{"conversation":[{"input":"一","output":"二","output_with_loss":false},{"input":"三","output":"四"}]}"#;
    assert_eq!(learned(xtuner).iter().map(|(_, learned)| *learned).collect::<Vec<_>>(), [true, false, true, true]);
    let systems =
        r#"{"conversation":[{"system":"一","input":"q","output":"a"},{"system":"二","input":"q","output":"a"}]}"#;
    assert_eq!(rejected(&plain, systems), Rejection::TwoSystemMessages);
    let tools = r#"{"chat":{"turn_1":{"Human":"q","Commands":"<|Commands|>: Search(\"x\")<eoc>","MOSS":"a"}}}"#;
    assert_eq!(rejected(&plain, tools), Rejection::UnsupportedRole);
}

#[test]
fn lists_that_are_no_conversation_say_what_they_are() {
    let plain = importer(Columns::default());
    for (list, expected) in [
        (r#"["q","a"]"#, "the record is a list of values, and nothing says what each of them is | rows without names"),
        (r#"[1,"q","a"]"#, "the record is a list of values"),
        ("[1]", "the record is a list that begins with a number | a record is a JSON object, or a list of turns"),
        ("[]", "the record is a list that begins with nothing"),
        (r#"[{"x":1}]"#, "turn 1 of `messages` lacks its role or its text"),
        (r#"{"conversations":[["human","q"],["gpt","a"]]}"#, "turn 1 of `conversations` lacks its role or its text"),
    ] {
        let message = wrong(&plain, list.as_bytes());
        assert!(message.starts_with(expected), "{message}");
    }
    let named = named("q", "a");
    assert!(wrong(&named, br#"[{"role":"user","content":"q"}]"#).contains("a list that begins with an object"));
    let cell = r#"{"instruction":"q","output":"a","history":"[['一', '二']]"}"#;
    assert!(wrong(&plain, cell.as_bytes()).contains("json.dumps"));
}

#[test]
fn a_suggested_line_reads_the_record() {
    let hint = |record: &str| {
        let record = RawRecord::Json(record.as_bytes());
        importer(Columns::default()).check_columns(0, record).expect_err("nothing seen").hint
    };
    // Questions are no speakers, whatever their number.
    let wrapped = r#"{"version":"1","data":[{"instruction":"甲是什么","output":"一种药"},{"instruction":"乙是什么","output":"一种草"}]}"#;
    assert!(!hint(wrapped).contains("roles"), "{}", hint(wrapped));
    let tasks = r#"{"x":[{"task":"翻译","y":"一"},{"task":"总结","y":"二"},{"task":"翻译","y":"三"},{"task":"总结","y":"四"}]}"#;
    assert!(!hint(tasks).contains("roles"), "{}", hint(tasks));
    // The doctor answers, whoever speaks first.
    let doctor_first = r#"{"d":[{"speaker":"医生","text":"您好"},{"speaker":"患者","text":"头疼"}]}"#;
    assert!(!hint(doctor_first).contains("columns = { messages"), "{}", hint(doctor_first));
    let patient_first = r#"{"d":[{"speaker":"患者","text":"头疼"},{"speaker":"医生","text":"休息"}]}"#;
    assert!(
        hint(patient_first).contains(r#"roles = { user = ["患者"], assistant = ["医生"] }"#),
        "{}",
        hint(patient_first)
    );
    for (record, expected) in [
        (
            r#"{"prompt":"q","chosen":"a","rejected":"b"}"#,
            "`columns = { instruction = \"prompt\", output = \"chosen\" }`",
        ),
        (
            r#"{"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected":[]}"#,
            "`columns = { messages = \"chosen\" }`",
        ),
        (
            r#"{"prompt":[{"role":"user","content":"q"}],"chosen":[{"role":"assistant","content":"a"}],"rejected":[]}"#,
            "behind `prompt`",
        ),
        (r#"{"c_id":"0","role":"user","message":"q"}"#, "each record is one turn (`role`, `message`)"),
        (r#"{"version":"1.1","data":[{"title":"t","paragraphs":[{"context":"c","qas":[]}]}]}"#, "as SQuAD has them"),
        (r#"{"my_question":["a","b"],"my_answer":["c","d"]}"#, "instruction = \"…\""),
    ] {
        assert!(hint(record).contains(expected), "{record}: {}", hint(record));
    }
}

/// A file of one broken record is reported as that record, and not searched for records.
#[test]
fn a_broken_record_is_a_record() {
    let plain = importer(Columns::default());
    let broken = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","weight":0.5}]}"#;
    assert!(plain.knows(broken.as_bytes()) && wrong(&plain, broken.as_bytes()).contains("`weight` is 0.5"));
    let other = importer(Columns { messages: Some("d".to_owned()), ..Columns::default() });
    assert!(other.knows(br#"{"d":[{"role":"user","text":"q"}]}"#));
    assert!(!plain.knows(br#"{"messages":[[{"role":"user","content":"q"}]]}"#), "a column of conversations");
    assert!(!plain.knows(br#"{"instruction":["q",1],"output":["a","b"]}"#));
    for repeated in [
        r#"{"question":"q","options":["a","b"],"answer":"A","answer":"B"}"#,
        r#"{"instruction":"q","output":"a","Output":"b"}"#,
    ] {
        assert!(plain.knows(repeated.as_bytes()), "{repeated}");
        assert!(wrong(&plain, repeated.as_bytes()).contains("appears twice in the record"), "{repeated}");
    }
    assert!(!plain.knows(br#"{"question":"q","answer":"a"#), "no JSON");
}

/// The last of two values under one key would be taken silently: a turn with two texts, an option with two wordings.
#[test]
fn a_key_twice_in_a_nested_object_is_refused() {
    let plain = importer(Columns::default());
    let turns = r#"[{"role":"user","content":"q"},{"role":"assistant","content":"a","content":"b"}]"#;
    let item = r#"{"question":"q","options":{"A":"a","B":"b","B":"c"},"answer":"A"}"#;
    for (record, key) in
        [(format!(r#"{{"messages":{turns}}}"#), "content"), (turns.into(), "content"), (item.into(), "B")]
    {
        let message = wrong(&plain, record.as_bytes());
        assert!(message.contains(&format!("`{key}` appears twice in one object")), "{record}: {message}");
    }
    let unread = r#"{"instruction":"q","output":"a","unread":{"x":1,"x":2}}"#;
    let read = plain.import(RawRecord::Json(unread.as_bytes()));
    assert!(read.is_ok(), "fields that are not read may be anything: {read:?}");
}

/// Keys of passages and answers alone do not make an exam item: wordings of a question are read as in other records.
#[test]
fn a_key_of_exam_items_beside_a_plain_pair_changes_nothing() {
    let plain = importer(Columns::default());
    for beside in
        [r#""passage":"文""#, r#""article":["文"]"#, r#""gold":1"#, r#""rationale":"因为""#, r#""correct":true"#]
    {
        for (question, asked) in [(r#"[["一","又一"],["二"]]"#, "一"), (r#""一""#, "一")] {
            let record = format!(r#"{{"question":{question},"answer":"三",{beside}}}"#);
            let read: Vec<String> = turns(&plain, &record).into_iter().map(|(_, text)| text).collect();
            assert_eq!(read, [asked, "三"], "{record}");
        }
    }
    let record = r#"{"question":[["一","又一"],["二"]],"answers":["三"]}"#;
    assert_eq!(turns(&plain, record)[0].1, "一");
}
