use medley_chat::Role::{Assistant, System, User};
use medley_mixture::spec::{Columns, Roles};

use super::*;

mod layouts;
mod marks;

fn importer(columns: Columns) -> Importer {
    Importer::new(&SourcePart { columns, ..SourcePart::default() })
}

fn of_format(format: SourceFormat) -> Importer {
    Importer::new(&SourcePart { format, ..SourcePart::default() })
}

fn named(instruction: &str, output: &str) -> Importer {
    let (instruction, output) = (Some(instruction.to_owned()), Some(output.to_owned()));
    importer(Columns { instruction, output, ..Columns::default() })
}

fn turns(importer: &Importer, record: &str) -> Vec<(medley_chat::Role, String)> {
    match importer.import(RawRecord::Json(record.as_bytes())).expect("a good record").imported {
        Imported::Conversation(messages) => messages.into_iter().map(|m| (m.role, m.content)).collect(),
        Imported::Rejected(reason) => panic!("rejected: {reason:?}"),
    }
}

fn rejected(importer: &Importer, record: &str) -> Rejection {
    match importer.import(RawRecord::Json(record.as_bytes())).expect("a good record").imported {
        Imported::Rejected(reason) => reason,
        Imported::Conversation(messages) => panic!("accepted: {messages:?}"),
    }
}

fn wrong(importer: &Importer, record: &[u8]) -> String {
    let Problem { problem, hint } = importer.import(RawRecord::Json(record)).expect_err("a bad record");
    format!("{problem} | {hint}")
}

#[test]
fn alpaca() {
    let plain = importer(Columns::default());
    let record = r#"{"instruction":"译","input":"hi","output":"你好","history":[["一","二"]],"system":"译者"}"#;
    let expected = [(System, "译者"), (User, "一"), (Assistant, "二"), (User, "译\nhi"), (Assistant, "你好")];
    assert_eq!(turns(&plain, record), expected.map(|(role, text)| (role, text.to_owned())));
    let bare = r#"{"instruction":" 问 ","output":"答","input":null,"history":null}"#;
    assert_eq!(turns(&plain, bare), [(User, " 问 ".to_owned()), (Assistant, "答".to_owned())]);
}

#[test]
fn columns_descend_and_join() {
    let nested = named("item.q", "answer.1.text");
    let record = r#"{"item":{"q":["甲","乙"]},"answer":[{"text":"0"},{"text":["是"]}]}"#;
    assert_eq!(turns(&nested, record), [(User, "甲\n乙".to_owned()), (Assistant, "是".to_owned())]);
    let literal = r#"{"item.q":"字面","item":{"q":"下层"},"answer.1.text":"答"}"#;
    assert_eq!(turns(&nested, literal)[0].1, "字面");
}

#[test]
fn what_cannot_be_trained_on_is_rejected() {
    let plain = importer(Columns::default());
    assert_eq!(rejected(&plain, r#"{"instruction":" ","input":"","output":"答"}"#), Rejection::EmptyQuestion);
    assert_eq!(rejected(&plain, r#"{"instruction":"问","output":"\n"}"#), Rejection::EmptyAnswer);
    assert_eq!(rejected(&plain, r#"{"instruction":"问","output":[]}"#), Rejection::EmptyAnswer);
    assert_eq!(rejected(&of_format(SourceFormat::Alpaca), r#"{"instruction":"问"}"#), Rejection::MissingColumn);
    assert_eq!(rejected(&plain, r#"{"instruction":"问"}"#), Rejection::Unrecognised);
    assert_eq!(rejected(&plain, r#"{"id":1,"success":false,"answer":null}"#), Rejection::FailedGeneration);
    assert_eq!(rejected(&plain, r#"{"instruction":"问","output":"答","history":[["问",""]]}"#), Rejection::EmptyAnswer);
}

#[test]
fn conversations() {
    let chat = of_format(SourceFormat::Messages);
    let openai = r#"{"messages":[{"role":"system","content":""},{"role":"user","content":"问"},
        {"role":"assistant","content":"答"}]}"#;
    assert_eq!(turns(&chat, openai), [(User, "问".to_owned()), (Assistant, "答".to_owned())]);
    let sharegpt = r#"{"conversations":[{"from":"human","value":"问"},{"from":"gpt","value":"答"}],"system":"医"}"#;
    assert_eq!(turns(&chat, sharegpt)[0], (System, "医".to_owned()));
    let tool = r#"{"messages":[{"role":"user","content":"问"},{"role":"tool","content":"1"}]}"#;
    assert_eq!(rejected(&chat, tool), Rejection::UnsupportedRole);
    let unanswered = r#"{"messages":[{"role":"user","content":"问"}]}"#;
    assert_eq!(rejected(&chat, unanswered), Rejection::TurnsOutOfOrder);
    assert_eq!(rejected(&chat, r#"{"messages":[]}"#), Rejection::EmptyQuestion);
    let silent = r#"{"messages":[{"role":"user","content":"问"},{"role":"assistant","content":null}]}"#;
    assert_eq!(rejected(&chat, silent), Rejection::EmptyAnswer);
    assert!(wrong(&chat, br#"{"messages":"hi"}"#).starts_with("`messages` is a text; expected a list of turns"));
    assert!(wrong(&chat, br#"{"messages":[{"content":"hi"}]}"#).starts_with("turn 1 of `messages` lacks"));
}

/// What a record is read as, and its turns.
fn recognised(record: &str) -> (String, Vec<String>) {
    let read = of_format(SourceFormat::Auto).import(RawRecord::Json(record.as_bytes())).expect("a good record");
    let Imported::Conversation(messages) = read.imported else { panic!("{record}: {:?}", read.imported) };
    (read.shape.to_string(), messages.into_iter().map(|message| message.content).collect())
}

#[test]
fn shapes_are_recognised_by_their_keys() {
    for (record, shape, turns) in [
        (r#"{"instruction":"问","output":"答","id":1}"#, "Alpaca", &["问", "答"][..]),
        (
            r#"{"instruction":"问","context":"文","response":"答","category":"x"}"#,
            "`instruction` and `response`",
            &["问\n文", "答"],
        ),
        (
            r#"{"query":"问","response":"答","history":[["一","二"]]}"#,
            "`query` and `response`",
            &["一", "二", "问", "答"],
        ),
        (r#"{"Question":"问","Response":"答"}"#, "`question` and `response`", &["问", "答"]),
        (r#"{"instruct":"问","output":"答"}"#, "`instruct` and `output`", &["问", "答"]),
        (r#"{"context":"问题：问\n回答: ","target":"答"}"#, "`context` and `target`", &["问", "答"]),
        (r#"{"title":"题","ask":"问","answer":"答"}"#, "`ask` and `answer`", &["题\n问", "答"]),
        (r#"{"title":"题","ask":"无","answer":"答"}"#, "`ask` and `answer`", &["题", "答"]),
        (
            r#"{"questions":[["问","再问"],["又问"]],"answers":["答","又答"]}"#,
            "`questions` and `answers`",
            &["问", "答\n又答"],
        ),
        (r#"{"question":"问","answer":{"病":"甲","证":"乙"}}"#, "`question` and `answer`", &["问", "病：甲\n证：乙"]),
        (
            r#"{"question":"问","context":"文","answers":{"text":["答"],"answer_start":[1]}}"#,
            "`question` and `answers`",
            &["问\n文", "答"],
        ),
        (r#"{"instruction":["问"],"output":["答"],"input":""}"#, "Alpaca", &["问", "答"]),
        (
            r#"{"instruction":" <user>: 一 <bot>: 二 <user>: 三","output":"四","input":""}"#,
            "Alpaca",
            &["一", "二", "三", "四"],
        ),
        (r#"{"instruction":"读","input":"<text>文<question>问？","output":"答"}"#, "Alpaca", &["读\n问？\n文", "答"]),
        (
            r#"{"conversation":[{"human":"一","assistant":"二"},{"human":"三","assistant":"四"}]}"#,
            "conversations",
            &["一", "二", "三", "四"],
        ),
        (r#"{"conversations":{"from":["human","gpt"],"value":["一","二"]}}"#, "conversations", &["一", "二"]),
        (r#"{"id":"7","data":["问：一","答：二"]}"#, "conversations", &["一", "二"]),
        (r####"{"text":"### Human: 一\n### Assistant: 二"}"####, "dialogues in one text", &["一", "二"]),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"一"}]},{"role":"assistant","content":"二"}]}"#,
            "conversations",
            &["一", "二"],
        ),
        (
            r#"{"question":"问","A":"甲","B":"乙","answer":"B","parse":"因"}"#,
            "exam items",
            &["问\nA. 甲\nB. 乙", "B. 乙\n\n因"],
        ),
        (
            r#"{"exam_type":"x","question":"问","option":{"A":"甲","B":"乙"},"answer":"AB","question_type":"多项选择题"}"#,
            "exam items",
            &["问\nA. 甲\nB. 乙", "A. 甲\nB. 乙"],
        ),
        (
            r#"{"Question":"问","Options":"A 甲\nB 乙","Answer":"A","Explanation":""}"#,
            "exam items",
            &["问\nA. 甲\nB. 乙", "A. 甲"],
        ),
        (
            r#"{"question":"问","options":{"A":"甲","B":"乙"},"answer":"乙","answer_idx":"B"}"#,
            "exam items",
            &["问\nA. 甲\nB. 乙", "B. 乙"],
        ),
        (
            r#"{"prompt":"问\nA. 甲\nB. 乙","gt_answer":"B","meta":{"question_type":"单项选择题","explanation":"因"}}"#,
            "exam items",
            &["问\nA. 甲\nB. 乙", "B. 乙\n\n因"],
        ),
        (
            r#"{"query":"问","choices":["甲","乙"],"answers":["乙"],"explanation":""}"#,
            "exam items",
            &["问\nA. 甲\nB. 乙", "B. 乙"],
        ),
        (
            r#"{"generated_question":{"question":"问","options":[{"label":"A","text":"甲","correct":false},{"label":"B","text":"乙","correct":true}],"explanation":"因"}}"#,
            "exam items",
            &["问\nA. 甲\nB. 乙", "B. 乙\n\n因"],
        ),
        (r#"{"question":"问","options":null,"answer":"答"}"#, "`question` and `answer`", &["问", "答"]),
        (
            r#"{"description":"文","QA_pairs":[{"question":"一","answer":"二"},{"question":"三","solution":"四"}]}"#,
            "passages with questions",
            &["一\n文", "二", "三", "四"],
        ),
        (r#"{"text":"文","annotations":[{"Q":"一","A":"二"}]}"#, "passages with questions", &["一\n文", "二"]),
        (
            r#"{"disease_case":{"性别":"女","主诉":"咳"},"answer":"['甘草', '麦冬']"}"#,
            "cases",
            &["性别：女\n主诉：咳", "甘草、麦冬"],
        ),
        (r#"{"dialogue":"医生：咳？","answer":"痹证"}"#, "cases", &["医生：咳？", "痹证"]),
    ] {
        assert_eq!(
            recognised(record),
            (shape.to_owned(), turns.iter().map(|turn| (*turn).to_owned()).collect()),
            "{record}"
        );
    }
}

#[test]
fn every_answer_is_learned_or_the_last_or_what_the_record_says() {
    let learned = |supervise, record: &str| -> Vec<bool> {
        let importer = Importer::new(&SourcePart { supervise, ..SourcePart::default() });
        match importer.import(RawRecord::Json(record.as_bytes())).expect("a good record").imported {
            Imported::Conversation(messages) => messages.iter().map(|message| !message.unlearned).collect(),
            Imported::Rejected(reason) => panic!("{reason:?}"),
        }
    };
    let history = r#"{"instruction":"三","output":"四","history":[["一","二"]]}"#;
    assert_eq!(learned(Supervise::All, history), [true; 4]);
    assert_eq!(learned(Supervise::Last, history), [true, false, true, true]);
    let weighted = r#"{"messages":[{"role":"user","content":"一"},{"role":"assistant","content":"二","weight":0},
        {"role":"user","content":"三"},{"role":"assistant","content":"四","weight":1}]}"#;
    assert_eq!(learned(Supervise::All, weighted), [true, false, true, true]);
    let nothing = r#"{"conversations":[{"from":"human","value":"一"},{"from":"gpt","value":"二","train":false}]}"#;
    assert_eq!(rejected(&of_format(SourceFormat::Auto), nothing), Rejection::NothingLearned);
}

/// A format that is given keeps records as they stand.
#[test]
fn a_format_overrides_recognition() {
    let packed = r#"{"instruction":"问题：问\n回答: ","output":"答"}"#;
    assert_eq!(turns(&of_format(SourceFormat::Alpaca), packed)[0].1, "问题：问\n回答: ");
    assert_eq!(turns(&of_format(SourceFormat::Auto), packed)[0].1, "问");
    assert_eq!(turns(&named("instruction", "output"), packed)[0].1, "问");
    let item = r#"{"question":"问","options":{"A":"甲","B":"乙"},"answer":"A"}"#;
    assert_eq!(turns(&named("question", "answer"), item)[1].1, "A");
}

#[test]
fn wrong_types_say_how_to_mend_them() {
    let plain = importer(Columns::default());
    let message = wrong(&plain, br#"{"instruction":"q","output":3}"#);
    assert!(message.starts_with("`output` is a number; expected text or a list of texts | "), "{message}");
    let message = wrong(&of_format(SourceFormat::Alpaca), br#"{"instruction":"q","output":{"text":"a"}}"#);
    assert!(message.ends_with("a dot descends into it: `output.text`"), "{message}");
    let message = wrong(&plain, br#"{"instruction":["q",1],"output":"a"}"#);
    assert!(message.starts_with("`instruction` is a list that holds a number"), "{message}");
    let message = wrong(&plain, br#"{"instruction":"q","output":"a","history":[["q"]]}"#);
    assert!(message.starts_with("turn 1 of `history` is not a pair"), "{message}");
    let message = wrong(&plain, b"{\"instruction\":\"q\",\"output\":\"\xc4\xe3\"}");
    assert!(message.starts_with("not UTF-8 (byte 30 of the record)"), "{message}");
    assert!(message.contains("gb18030"), "{message}");
    assert!(wrong(&plain, b"{\"instruction\":\"q\"").contains("the record ends early"));
    let message = wrong(&plain, br#"{"instruction":"q","output":"a","output":"b"}"#);
    assert!(message.starts_with("`output` appears twice in the record | "), "{message}");
    assert!(wrong(&plain, b"1").contains("a record is a JSON object"));
    assert!(wrong(&plain, b"{'a':1}").contains("mend the JSON"));
    let bomb = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    assert!(wrong(&plain, &[b"{\"output\":".as_slice(), &bomb, b"}"].concat()).contains("recursion limit"));
}

#[test]
fn a_column_that_no_record_has_names_those_there_are() {
    let plain = importer(Columns::default());
    let check = |importer: &Importer, record: &[u8]| {
        let record = RawRecord::Json(record);
        let seen = importer.import(record).expect("a record").seen;
        importer.check_columns(seen, record).map_err(|Problem { problem, hint }| format!("{problem} | {hint}"))
    };
    assert_eq!(
        check(&plain, br#"{"zh_question":"q","zh_context":"c","zh_answer":"a"}"#).expect_err("unknown"),
        "no record has the keys of a known layout; this one has `zh_question`, `zh_context`, `zh_answer` | name the \
         columns: `columns = { instruction = \"zh_question\", input = \"zh_context\", output = \"zh_answer\" }`"
    );
    let alpaca = of_format(SourceFormat::Alpaca);
    assert!(check(&alpaca, br#"{"query":"q"}"#).expect_err("no Alpaca").starts_with("no record has `instruction`"));
    assert!(check(&alpaca, br#"{"conversations":[]}"#).expect_err("no Alpaca").contains("leave `format` out"));
    assert!(check(&plain, br#"{"query":"q","answer":"a","response":"b"}"#).is_err(), "two answers");
    let input = importer(Columns { input: Some("contxt".to_owned()), ..Columns::default() });
    let record = br#"{"instruction":"q","output":"a","context":"c"}"#;
    assert!(check(&input, record).expect_err("mistyped").starts_with("no record has `contxt`"));
    assert_eq!(check(&plain, record), Ok(()));
}

#[test]
fn pairs_under_other_names() {
    let plain = importer(Columns::default());
    for (record, question) in [
        (r#"{"Content":"荐方","Summary":"青蒿"}"#, "荐方"),
        (r#"{"问":"甲","答":"乙"}"#, "甲"),
        (r#"{"id":1,"问题":"甲","答案":"乙","题型":"x"}"#, "甲"),
    ] {
        assert_eq!(turns(&plain, record)[0], (User, question.to_owned()), "{record}");
    }
    for none in [
        r#"{"问题":"甲","回答":"乙","答案":"丙"}"#,
        r#"{"content":"甲","title":"乙"}"#,
        r#"{"title":"甲","summary":"乙"}"#,
    ] {
        assert_eq!(rejected(&plain, none), Rejection::Unrecognised, "{none}");
    }
    assert_eq!(turns(&plain, r#"{"question":"甲","answer":"乙","content":"丙","summary":"丁"}"#)[0].1, "甲");
}

/// Python writes numbers that JSON does not have.
#[test]
fn what_is_not_a_number_is_nothing() {
    let plain = importer(Columns::default());
    let record = r#"{"topic":NaN,"score":-Infinity,"instruction":"NaN \"Infinity\\","input":NaN,"x":[1,Infinity,-1],"output":"-Infinity"}"#;
    assert_eq!(turns(&plain, record), [(User, "NaN \"Infinity\\".to_owned()), (Assistant, "-Infinity".to_owned())]);
    assert_eq!(rejected(&plain, r#"{"instruction":"q","output":NaN}"#), Rejection::EmptyAnswer);
    for broken in [
        r#"{"instruction":"q","output":Nan}"#,
        r#"{"a":NaN,"output":"a}"#,
        r#"{"a":NaNs}"#,
        r#"{"a":-}"#,
        "{\"a\":NaN,\"\\",
    ] {
        assert!(wrong(&plain, broken.as_bytes()).starts_with("not valid JSON"), "{broken}");
    }
}

#[test]
fn suggestions_name_columns_of_text() {
    let error = |record: &str| {
        let plain = importer(Columns::default());
        plain.check_columns(0, RawRecord::Json(record.as_bytes())).expect_err("nothing seen")
    };
    for (record, expected) in [
        (
            r#"{"QUESTION":"q","CONTEXTS":["c"],"LABELS":[],"LONG_ANSWER":"a"}"#,
            ("QUESTION", " input = \"CONTEXTS\",", "LONG_ANSWER"),
        ),
        (r#"{"input_ids":[1],"attention_mask":[1],"labels":[1]}"#, ("…", "", "…")),
        (r#"{"userQuestion":"q","modelResponses":["a"],"meta":{}}"#, ("userQuestion", "", "modelResponses")),
    ] {
        let (instruction, input, output) = expected;
        let columns = format!("columns = {{ instruction = \"{instruction}\",{input} output = \"{output}\" }}");
        assert!(error(record).hint.contains(&columns), "{}", error(record).hint);
    }
    let turns = r#"{"id":1,"dialog":[{"text":"妈妈，我生气了","speaker":"孩子"},{"text":"为什么？","speaker":"智能助手"},{"text":"我不知道","speaker":"孩子"}]}"#;
    let columns = "columns = { messages = \"dialog\", role = \"speaker\", content = \"text\", roles = { user = [\"孩子\"], assistant = [\"智能助手\"] } }";
    assert!(error(turns).hint.contains(columns), "{}", error(turns).hint);
    let many: Vec<String> = (0..40).map(|number| format!("\"k{number}\":1")).collect();
    let problem = error(&format!("{{{}}}", many.join(","))).problem;
    assert!(problem.ends_with("`k10`, `k11`, and 28 more"), "{problem}");
    for list in [r#"{"mine":{"file_name":"a.json"}}"#, r#"{"hf_hub_url":"a/b","columns":{}}"#] {
        assert!(error(list).hint.contains("medley recipe import"), "{}", error(list).hint);
    }
}

#[test]
fn parts_of_text_and_their_weights() {
    let plain = importer(Columns::default());
    let record = r#"{"messages":[{"role":"user","content":[{"type":"text","value":"一"},{"type":"text","text":"二"}],"loss_weight":0.0},
        {"role":"assistant","content":[{"type":"text","value":"三"}],"loss_weight":0.0},{"role":"user","content":"四"},
        {"role":"assistant","content":"五","loss_weight":1.0}]}"#;
    let Imported::Conversation(messages) = plain.import(RawRecord::Json(record.as_bytes())).expect("good").imported
    else {
        panic!("rejected")
    };
    let read: Vec<_> = messages.iter().map(|message| (message.content.as_str(), message.unlearned)).collect();
    assert_eq!(read, [("一\n二", false), ("三", true), ("四", false), ("五", false)]);
    let picture = r#"{"messages":[{"role":"user","content":[{"type":"image_url","value":"1.jpg"}]},{"role":"assistant","content":"a"}]}"#;
    assert_eq!(rejected(&plain, picture), Rejection::UnsupportedContent);
}

#[test]
fn what_needs_a_picture_is_no_text() {
    let plain = importer(Columns::default());
    for media in
        [r#""images":["1.jpg"]"#, r#""image":"1.jpg""#, r#""videos":[[null,"1.mp4"]]"#, r#""audio":{"path":"1.mp3"}"#]
    {
        let alpaca = format!(r#"{{"instruction":"q","output":"a",{media}}}"#);
        let turns =
            format!(r#"{{{media},"conversations":[{{"from":"human","value":"q"}},{{"from":"gpt","value":"a"}}]}}"#);
        for record in [alpaca, turns] {
            assert_eq!(rejected(&plain, &record), Rejection::UnsupportedContent, "{record}");
        }
        assert_eq!(turns_of_named(media), 2, "the recipe's columns say what is read");
    }
    for nothing in [r#""images":[]"#, r#""image":"""#, r#""videos":null"#, r#""audio":{"path":null}"#] {
        assert_eq!(turns(&plain, &format!(r#"{{"instruction":"q","output":"a",{nothing}}}"#)).len(), 2);
    }
}

fn turns_of_named(media: &str) -> usize {
    turns(&named("instruction", "output"), &format!(r#"{{"instruction":"q","output":"a",{media}}}"#)).len()
}

#[test]
fn conversations_under_other_names() {
    let roles =
        Roles {
            user: vec!["患者".to_owned()], assistant: vec!["医生".to_owned()], system: vec!["设定".to_owned()]
        };
    let columns = Columns {
        messages: Some("dialog.turns".to_owned()),
        role: Some("speaker".to_owned()),
        content: Some("text".to_owned()),
        system: Some("persona".to_owned()),
        roles: Some(roles),
        train: Some("learn".to_owned()),
        ..Columns::default()
    };
    let record = r#"{"persona":"医","system":"no","dialog":{"turns":[{"speaker":"患者","text":"一"},
        {"speaker":"医生","text":"二","learn":false,"train":true},{"speaker":"human","text":"三"},
        {"speaker":"医生","text":"四","weight":0}]}}"#;
    let other = importer(columns);
    let expected = [(System, "医"), (User, "一"), (Assistant, "二"), (User, "三"), (Assistant, "四")];
    assert_eq!(turns(&other, record), expected.map(|(role, text)| (role, text.to_owned())));
    let Imported::Conversation(messages) = other.import(RawRecord::Json(record.as_bytes())).expect("good").imported
    else {
        panic!("rejected")
    };
    assert_eq!(messages.iter().filter(|message| message.unlearned).count(), 1, "only by the key that is named");
    let message = wrong(&other, br#"{"dialog":{"turns":[{"role":"user","content":"q"}]}}"#);
    assert!(message.starts_with("turn 1 of `dialog.turns` lacks") && message.contains("columns = {"), "{message}");
    let set = r#"{"dialog":{"turns":[{"speaker":"设定","text":"s"},{"speaker":"user","text":"q"},{"speaker":"gpt","text":"a"}]}}"#;
    assert_eq!(turns(&other, set)[0], (System, "s".to_owned()));
}

#[test]
fn an_empty_name_is_a_field_that_is_not_read() {
    let none = Some(String::new());
    let columns = Columns { input: none.clone(), history: none.clone(), system: none, ..Columns::default() };
    let record = r#"{"instruction":"问","input":"料","output":"答","history":[["一","二"]],"system":"医","":"x"}"#;
    for format in [SourceFormat::Auto, SourceFormat::Alpaca] {
        let importer = Importer::new(&SourcePart { format, columns: columns.clone(), ..SourcePart::default() });
        assert_eq!(turns(&importer, record), [(User, "问".to_owned()), (Assistant, "答".to_owned())]);
        let read = importer.import(RawRecord::Json(record.as_bytes())).expect("good");
        assert_eq!(importer.check_columns(read.seen, RawRecord::Json(record.as_bytes())), Ok(()));
    }
}

/// The turns of a record that is recognised, each with whether it is learned.
fn learned(record: &str) -> Vec<(String, bool)> {
    let read = of_format(SourceFormat::Auto).import(RawRecord::Json(record.as_bytes())).expect("a good record");
    let Imported::Conversation(messages) = read.imported else { panic!("{record}: {:?}", read.imported) };
    messages.into_iter().map(|message| (message.content, !message.unlearned)).collect()
}
