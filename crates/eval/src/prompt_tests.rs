use medley_files::WithHelp as _;

use super::*;
use crate::test_codec::Characters;

fn item() -> Item {
    let option = |letter, text: &str| AnswerOption { letter, text: text.to_owned() };
    Item {
        id: "1".to_owned(),
        exam: "pharmacist".to_owned(),
        kind: Kind::Single,
        question: "白术的归经是？".to_owned(),
        options: vec![option('A', "脾、胃经"), option('C', "肝经")],
        answer: ['A'].into(),
        passages: vec!["白术归脾、胃经。".to_owned(), "黄连归心经。".to_owned()],
        lure: None,
    }
}

#[test]
fn the_built_in_wordings() {
    let zh = PromptTemplate::load("zh", Path::new(".")).expect("built in");
    let en = PromptTemplate::load("en", Path::new(".")).expect("built in");
    let item = item();
    insta::assert_snapshot!(zh.render(&item, &item.passages, AnswerForm::Letter).expect("renders"), @r#"
    阅读下面的资料，只根据资料中的信息回答问题。

    资料1：白术归脾、胃经。
    资料2：黄连归心经。

    问题：白术的归经是？
    选项：
    A. 脾、胃经
    C. 肝经

    这是单项选择题，请只输出正确选项的字母，例如“B”，不要输出其他内容。
    "#);
    insta::assert_snapshot!(zh.render(&item, &[], AnswerForm::Text).expect("renders"), @r#"
    问题：白术的归经是？
    选项：
    A. 脾、胃经
    C. 肝经

    这是单项选择题，请只输出正确选项的文字，不要输出其他内容。
    "#);
    let multiple = Item { kind: Kind::Multiple, ..item };
    insta::assert_snapshot!(en.render(&multiple, &multiple.passages[..1], AnswerForm::Letter).expect("renders"), @r#"
    Read the material below and answer the question from the given information only.

    Material: 白术归脾、胃经。

    Question: 白术的归经是？
    Options:
    A. 脾、胃经
    C. 肝经

    Several options may be right. Output the letters of all right options only, such as "AC", and nothing else.
    "#);
}

#[test]
fn cutting_takes_passages_from_the_end_and_never_the_question() {
    let zh = PromptTemplate::load("zh", Path::new(".")).expect("built in");
    let item = item();
    let build = |book, limit| zh.build(&item, book, AnswerForm::Letter, &Characters, limit);
    let whole = build(Book::Open, 1000).expect("fits");
    let bare = build(Book::Closed, 1000).expect("fits");
    assert!(!whole.truncated && !bare.truncated && whole.hash != bare.hash);
    for limit in bare.input_ids.len()..whole.input_ids.len() {
        let cut = build(Book::Open, limit).expect("the question fits");
        let text = Characters.decode(&cut.input_ids);
        assert!(cut.truncated && cut.input_ids.len() <= limit, "{limit}");
        assert!(text.contains(&item.question) && text.contains("A. 脾、胃经\nC. 肝经"), "{text}");
    }
    let nearly = build(Book::Open, whole.input_ids.len() - 1).expect("fits");
    assert_eq!(nearly.input_ids.len(), whole.input_ids.len() - 1, "no more is cut than needed");
    let error = build(Book::Open, bare.input_ids.len() - 1).expect_err("the question does not fit");
    assert!(error.with_help().contains("raise exam.max_prompt_tokens"), "{error}");
}

#[test]
fn templates_of_files_keep_jinjas_white_space() {
    let exams = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/exams");
    let template = PromptTemplate::load("prompt.jinja", &exams).expect("shipped");
    let item = item();
    insta::assert_snapshot!(template.render(&item, &item.passages, AnswerForm::Text).expect("renders"), @r#"
    考试资料：白术归脾、胃经。黄连归心经。
    备选答案：脾、胃经、肝经
    请写出正确选项的原文。
    题目：白术的归经是？
    "#);
    insta::assert_snapshot!(template.render(&item, &[], AnswerForm::Text).expect("renders"), @r#"
    备选答案：脾、胃经、肝经
    请写出正确选项的原文。
    题目：白术的归经是？
    "#);
}

#[test]
fn a_bad_template_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    for (text, expected) in [
        ("{{ passages }} {{ question }}", "does not show `options`"),
        ("{{ question }}\n{{ quesiton }}", "'quesiton' is undefined (line 2 of the template)"),
        ("{{ question }}\n{% if pasages %}{% endif %}", "'pasages' is undefined (line 2 of the template)"),
        ("{% if %}", "syntax error: expected an expression, found '%}' (line 1 of the template)"),
    ] {
        std::fs::write(folder.path().join("my.txt"), text).expect("written");
        let error = PromptTemplate::load("my.txt", folder.path()).expect_err("the template is bad").with_help();
        assert!(error.starts_with("my.txt: ") && error.contains(expected), "{error}");
    }
    let error = PromptTemplate::load("absent.txt", folder.path()).expect_err("there is no file").with_help();
    assert!(error.contains("absent.txt") && error.contains("help: exam.prompt is"), "{error}");
}
