use medley_chat::Role::{Assistant, System, User};

use super::*;
use crate::spec::{Columns, Roles};

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
    assert!(message.starts_with("`output` stands in the record twice | "), "{message}");
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
        "no record has the keys of a known layout; this one has `zh_question`, `zh_context`, `zh_answer` | say which \
         columns hold what: `columns = { instruction = \"zh_question\", input = \"zh_context\", output = \
         \"zh_answer\" }`"
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

#[test]
fn turns_that_are_marked_are_not_learned() {
    let (told, untold) = (("答".to_owned(), true), ("答".to_owned(), false));
    for (flag, expected) in [
        (r#""loss":false"#, &untold),
        (r#""loss":null"#, &told),
        (r#""loss":true"#, &told),
        (r#""loss_scale":0.0"#, &untold),
        (r#""loss_mask":0"#, &untold),
        (r#""masked":true"#, &untold),
        (r#""mask":false"#, &told),
        (r#""training":false"#, &untold),
        (r#""is_train":"False""#, &untold),
        (r#""trainable":"0""#, &untold),
        (r#""train":0"#, &untold),
        (r#""weight":false"#, &untold),
        (r#""weight":"0""#, &untold),
        (r#""loss_weight":"1.0""#, &told),
    ] {
        for turn in [
            format!(r#"{{"role":"user","content":"问"}},{{"role":"assistant","content":"答",{flag}}}"#),
            format!(r#"{{"value":"问","from":"human",{flag}}},{{{flag},"from":"gpt","value":"答"}}"#),
            format!(r#"{{"human":"问","assistant":"答",{flag}}}"#),
            format!(r#"{{"input":"问","output":"答",{flag}}}"#),
        ] {
            let record = format!(
                r#"{{"messages":[{turn},{{"role":"user","content":"一"}},{{"role":"assistant","content":"二"}}]}}"#
            );
            let turns = learned(&record);
            assert_eq!((&turns[0].1, &turns[1], &turns[3].1), (&true, expected, &true), "{record}");
        }
    }
    let by_column = r#"{"conversations":{"from":["human","gpt","human","gpt"],"value":["一","二","三","四"],"loss":[null,false,null,true]}}"#;
    assert_eq!(learned(by_column).iter().map(|(_, learned)| *learned).collect::<Vec<_>>(), [true, false, true, true]);
    let unclear =
        r#"{"messages":[{"role":"user","content":"q","weight":"x"},{"role":"assistant","content":"a","weight":0.5}]}"#;
    let message = wrong(&importer(Columns::default()), unclear.as_bytes());
    assert!(
        message.starts_with("turn 2 of `messages`: `weight` is 0.5, but") && message.contains("train = \"\""),
        "{message}"
    );
    let all = importer(Columns { train: Some(String::new()), ..Columns::default() });
    assert_eq!(turns(&all, unclear).len(), 2, "an empty name is no flag");
}

#[test]
fn answers_that_are_marked_as_bad_are_left_out() {
    let plain = importer(Columns::default());
    let chat = r#""messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]"#;
    let completion = r#""prompt":"q","completion":"a""#;
    let alpaca = r#""instruction":"q","output":"a""#;
    for (record, mark) in [
        (chat, r#""label":false"#),
        (completion, r#""label":false"#),
        (alpaca, r#""label":false"#),
        (r#""question":"q","answer":"a""#, r#""Label":false"#),
        (chat, r#""label":"False""#),
        (completion, r#""label":"false""#),
        (completion, r#""label":0"#),
        (completion, r#""label":"0""#),
        (chat, r#""label":0.0"#),
        (chat, r#""kto_tag":false"#),
        (alpaca, r#""kto_tag":"False""#),
        (alpaca, r#""kto_tag":0"#),
        (
            r#""prompt":[{"role":"user","content":"q"}],"completion":[{"role":"assistant","content":"a"}]"#,
            r#""label":false"#,
        ),
    ] {
        for record in [format!("{{{record},{mark}}}"), format!("{{{mark},{record}}}")] {
            assert_eq!(rejected(&plain, &record), Rejection::MarkedBad, "{record}");
        }
    }
    for (record, class) in [
        (chat, r#""label":true"#),
        (chat, r#""label":1"#),
        (completion, r#""label":null"#),
        (completion, r#""label":3"#),
        (completion, r#""label":"negative""#),
        (alpaca, r#""label":0"#),
        (alpaca, r#""label":"false""#),
        (alpaca, r#""kto_tag":true"#),
        (alpaca, r#""kto_tag":null"#),
        (r#""prompt":"q","completion":"0""#, r#""label":0"#),
        (r#""prompt":"q","completion":" False""#, r#""label":"false""#),
    ] {
        assert_eq!(turns(&plain, &format!("{{{record},{class}}}")).len(), 2, "{record} {class}");
    }
    let message = wrong(&plain, format!("{{{alpaca},\"kto_tag\":\"meh\"}}").as_bytes());
    assert!(message.starts_with("`kto_tag` is \"meh\"; expected true or false"), "{message}");
    let bad = format!("{{{chat},\"label\":false}}");
    assert_eq!(rejected(&of_format(SourceFormat::Messages), &bad), Rejection::MarkedBad);
    let bad = format!("{{{completion},\"label\":\"0\"}}");
    assert_eq!(rejected(&named("prompt", "completion"), &bad), Rejection::MarkedBad);
    let asked = SourcePart::default();
    let conditions = Some(vec!["label == 0".to_owned()]);
    let asked = SourcePart { filter: crate::filter::FilterSpec { conditions, ..Default::default() }, ..asked };
    assert_eq!(turns(&Importer::new(&asked), &bad).len(), 2, "the recipe says what the field is");
    assert_eq!(turns(&named("prompt", "label"), r#"{"prompt":"q","label":"false"}"#)[1].1, "false");
}

/// Whether 0 is a bad answer or a class, one record does not tell.
#[test]
fn a_label_that_is_mark_and_class_is_named() {
    let plain = importer(Columns::default());
    let seen = |label: &str| {
        let record = format!(r#"{{"prompt":"q","completion":"a","label":{label}}}"#);
        plain.import(RawRecord::Json(record.as_bytes())).expect("good").seen
    };
    let record = RawRecord::Json(b"{}");
    for class in ["3", "\"positive\"", "[1]"] {
        let problem = plain.check_columns(seen("0") | seen(class), record).expect_err("both").problem;
        assert!(problem.starts_with("`label` is 0 or \"false\" in some records"), "{problem}");
    }
    for fine in [seen("0") | seen("1"), seen("false") | seen("true"), seen("2") | seen("1"), seen("false") | seen("3")]
    {
        assert_eq!(plain.check_columns(fine, record), Ok(()));
    }
    assert!(plain.check_columns(seen("0") & !1, record).is_err(), "marks are no layout");
}

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
        (r#"["q","a"]"#, "the record is a list of values, and nothing says what each of them is | pandas"),
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
        (r#"{"my_question":["a","b"],"my_answer":["c","d"]}"#, "instruction = \"…\""),
    ] {
        assert!(hint(record).contains(expected), "{record}: {}", hint(record));
    }
}
