//! Marks of records on their own answers: turns without loss, preference marks.

use super::*;

#[test]
fn turns_that_are_marked_are_not_learned() {
    let (learned_turn, masked_turn) = (("答".to_owned(), true), ("答".to_owned(), false));
    for (flag, expected) in [
        (r#""loss":false"#, &masked_turn),
        (r#""loss":null"#, &learned_turn),
        (r#""loss":true"#, &learned_turn),
        (r#""loss_scale":0.0"#, &masked_turn),
        (r#""loss_mask":0"#, &masked_turn),
        (r#""masked":true"#, &masked_turn),
        (r#""mask":false"#, &learned_turn),
        (r#""training":false"#, &masked_turn),
        (r#""is_train":"False""#, &masked_turn),
        (r#""trainable":"0""#, &masked_turn),
        (r#""train":0"#, &masked_turn),
        (r#""weight":false"#, &masked_turn),
        (r#""weight":"0""#, &masked_turn),
        (r#""loss_weight":"1.0""#, &learned_turn),
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
    for bad in [r#""desirable":false"#, r#""is_good":false"#] {
        assert_eq!(rejected(&plain, &format!("{{{completion},{bad}}}")), Rejection::MarkedBad, "{bad}");
    }
    for unlearned in [
        r#""loss":false"#,
        r#""weight":0"#,
        r#""train":false"#,
        r#""loss_scale":0.0"#,
        r#""mask":true"#,
        r#""is_train":false"#,
    ] {
        for record in [alpaca, chat, completion] {
            let record = format!("{{{record},{unlearned}}}");
            assert_eq!(rejected(&plain, &record), Rejection::NothingLearned, "{record}");
        }
    }
    for other in
        [r#""loss":0.0"#, r#""loss":1.7"#, r#""weight":65"#, r#""weight":1"#, r#""train":"a train""#, r#""mask":false"#]
    {
        assert_eq!(turns(&plain, &format!("{{{alpaca},{other}}}")).len(), 2, "{other}");
    }
    let message = wrong(&plain, format!("{{{alpaca},\"kto_tag\":\"meh\"}}").as_bytes());
    assert!(message.starts_with("`kto_tag` is \"meh\"; expected true or false"), "{message}");
    let bad = format!("{{{chat},\"label\":false}}");
    assert_eq!(rejected(&of_format(SourceFormat::Messages), &bad), Rejection::MarkedBad);
    let bad = format!("{{{completion},\"label\":\"0\"}}");
    assert_eq!(rejected(&named("prompt", "completion"), &bad), Rejection::MarkedBad);
    let asked = SourcePart::default();
    let conditions = Some(vec!["label == 0".to_owned()]);
    let asked = SourcePart { filter: medley_mixture::FilterSpec { conditions, ..Default::default() }, ..asked };
    assert_eq!(turns(&Importer::new(&asked), &bad).len(), 2, "the recipe says what the field is");
    assert_eq!(turns(&named("prompt", "label"), r#"{"prompt":"q","label":"false"}"#)[1].1, "false");
}

/// Whether 0 is a preference mark or a class shows only in the whole file.
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
