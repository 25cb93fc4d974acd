use super::*;

#[test]
fn verdicts_of_every_form_go_and_the_knowledge_stays() {
    let cases = [
        (
            "取决于出血的速度和出血量（C对），而出血部位（B错）是次要的。",
            "取决于出血的速度和出血量，而出血部位是次要的。",
        ),
        ("公平公正。因此答案选D。", "公平公正。"),
        ("④公平公正。故本题答案选Ａ", "④公平公正。"),
        ("提示眼底损害（D正确），同时符合虹膜睫状体炎（C正确）。", "提示眼底损害，同时符合虹膜睫状体炎。"),
        ("试验无反应（E、F正确）。", "试验无反应。"),
        ("A项，医保目录调入分为两种。B项，按程序调入。", "医保目录调入分为两种。按程序调入。"),
        ("见于肺炎（ABD对）。", "见于肺炎。"),
        ("A.肝主疏泄\nB.脾主运化", "肝主疏泄\n脾主运化"),
        ("正确答案为A，因为肝主疏泄。", "因为肝主疏泄。"),
        ("故C和E最可能。", ""),
        ("选项C错误，肺主气。", "肺主气。"),
        ("心主血。A、B项均错误。", "心主血。"),
        ("肺主气，A对B错C对", "肺主气"),
    ];
    for (text, expected) in cases {
        let stripped = strip_answer_markers(text);
        assert_eq!(stripped.text, expected, "{text}");
        assert!(stripped.removed > 0, "{text}");
        assert!(letter_leak(text).is_some(), "the detector misses {text}");
        assert_eq!(letter_leak(&stripped.text), None, "{text}");
    }
}

#[test]
fn letters_of_medical_terms_stay() {
    for text in [
        "维生素A缺乏可致夜盲，维生素A、D同补。",
        "B超检查示D-二聚体升高。",
        "A型血，B细胞减少，C反应蛋白升高，CD4下降。",
        "可行C肽测定，HBeAg阳性，D₂受体阻滞。",
        "病原体为C. albicans，IgA升高。",
    ] {
        assert_eq!(strip_answer_markers(text), Stripped { text: text.to_owned(), removed: 0 });
        assert_eq!(letter_leak(text), None, "{text}");
    }
}

#[test]
fn the_detector_sees_letters_that_a_term_would_excuse() {
    for text in ["维生素（C）", "答案是B超", "（Ｃ对）", "排除A"] {
        assert!(letter_leak(text).is_some(), "{text}");
    }
}
