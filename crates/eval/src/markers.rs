//! Taking option letters out of explanations, so that a passage holds the knowledge and not the key.
//!
//! Explanations of real exams name the options they speak of: "（C对）", "B错", "故选D", "A项，…", "答案为BD". Given as a
//! passage that is the answer itself. Stripping works in three passes: single letters that belong to no medical
//! term become one marker character; clauses and brackets around markers that only give the verdict go; what is left of
//! the markers goes. So a letter can stay only as part of a known term (维生素C, B超, A型), and [`letter_leak`], which
//! knows nothing of the first two passes, looks for those that still sit where a verdict sits.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A passage without option letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stripped {
    /// What is left.
    pub text: String,
    /// Letters, or runs of letters such as "ABD", that were taken out.
    pub removed: usize,
}

/// Stands for a run of option letters while the text around it is looked at (a private-use character).
const MARKER: char = '\u{E0A0}';

/// Takes the option letters A to F, and the verdicts that hang on them, out of an explanation.
pub fn strip_answer_markers(text: &str) -> Stripped {
    let folded = fold_letters(text);
    let (marked, removed) = if has_letter(&folded) { mark_letters(&folded) } else { (String::new(), 0) };
    if removed == 0 {
        return Stripped { text: folded.trim().to_owned(), removed };
    }
    let mut text = marked;
    for (pattern, replacement) in VERDICTS.iter() {
        text = pattern.replace_all(&text, *replacement).into_owned();
    }
    text = BRACKETS.replace_all(&text, drop_marked_bracket).into_owned();
    text = text.replace(MARKER, "");
    for (pattern, replacement) in TIDY.iter() {
        text = pattern.replace_all(&text, *replacement).into_owned();
    }
    Stripped { text: text.trim().to_owned(), removed }
}

/// The first place where a text still seems to name the right or a wrong option by its letter.
pub fn letter_leak(text: &str) -> Option<String> {
    let folded = fold_letters(text);
    if !has_letter(&folded) {
        return None;
    }
    LEAKS.iter().find_map(|pattern| pattern.find(&folded)).map(|found| found.as_str().to_owned())
}

fn compile(pattern: &str) -> Regex {
    // The patterns are constants of this file and every one is used by the tests.
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Full-width A to F as ASCII; everything else stays as it is.
fn fold_letters(text: &str) -> String {
    let fold = |character| match character {
        'Ａ'..='Ｆ' => char::from_u32(character as u32 - 'Ａ' as u32 + 'A' as u32).unwrap_or(character),
        other => other,
    };
    text.chars().map(fold).collect()
}

/// Whether there is an option letter at all: the patterns are slow to find none.
fn has_letter(folded: &str) -> bool {
    folded.bytes().any(|byte| (b'A'..=b'F').contains(&byte))
}

/// One option letter or several: `D`, `ABD`, `A、B`, `C和E`.
static LETTERS: LazyLock<Regex> =
    LazyLock::new(|| compile(r"(?-u:\b)[A-F](?:\s*(?:[、，,/;；+＋&～~]|和|及|与|或|以及|至|到)?\s*[A-F])*(?-u:\b)"));

fn mark_letters(text: &str) -> (String, usize) {
    let mut marked = String::with_capacity(text.len());
    let mut removed = 0;
    let mut end = 0;
    for found in LETTERS.find_iter(text) {
        marked.push_str(&text[end..found.start()]);
        if is_term(&text[..found.start()], found.as_str(), &text[found.end()..]) {
            marked.push_str(found.as_str());
        } else {
            marked.push(MARKER);
            removed += 1;
        }
        end = found.end();
    }
    marked.push_str(&text[end..]);
    (marked, removed)
}

/// Characters before a letter of a medical term: 维生素A.
const TERM_HEADS: [&str; 27] = [
    "维生素",
    "维他命",
    "辅酶",
    "血友病",
    "环孢素",
    "环孢菌素",
    "两性霉素",
    "多黏菌素",
    "多粘菌素",
    "免疫球蛋白",
    "前列腺素",
    "载脂蛋白",
    "蛋白",
    "链球菌",
    "链霉素",
    "放线菌素",
    "头孢菌素",
    "生育酚",
    "内毒素",
    "Child-Pugh",
    "番泻苷",
    "丝裂霉素",
    "玉米素",
    "青蒿",
    "黄曲霉毒素",
    "激酶",
    "青霉素",
];

/// What follows a letter of a medical term: B超, A型, D-二聚体.
const TERM_TAILS: [&str; 47] = [
    "超",
    "型",
    "族",
    "群",
    "组",
    "级",
    "期",
    "细胞",
    "淋巴",
    "反应蛋白",
    "肽",
    "环",
    "带",
    "波",
    "峰",
    "链",
    "抗原",
    "抗体",
    "区",
    "玫瑰",
    "组分",
    "因子",
    "值",
    "受体",
    "蛋白",
    "类",
    "角色",
    "端",
    "键",
    "病毒",
    "酸",
    "Ⅰ",
    "Ⅱ",
    "Ⅲ",
    "β",
    "α",
    "′",
    "’",
    "％",
    "%",
    "°",
    "原子",
    "位",
    "-",
    "－",
    "=",
    "≡",
];

/// True where the letters belong to a term, a formula or a Latin name rather than to an option.
fn is_term(before: &str, letters: &str, after: &str) -> bool {
    // Species names: "B. subtilis", "C. albicans".
    let latin =
        after.strip_prefix('.').is_some_and(|rest| rest.trim_start().starts_with(|c: char| c.is_ascii_lowercase()));
    latin || is_part_of_term(before, letters, after)
}

/// True where the letters belong to a term or a formula: 维生素A, B超, D-二聚体.
pub(crate) fn is_part_of_term(before: &str, letters: &str, after: &str) -> bool {
    if TERM_HEADS.iter().any(|head| before.ends_with(head)) {
        return true;
    }
    let adjoining = before.chars().next_back().is_some_and(|character| "-－=≡·αβγ*".contains(character));
    let scripted = after.chars().next().is_some_and(|character| "₀₁₂₃₄₅₆₇₈₉⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻+＋*".contains(character));
    adjoining || scripted || (letters.len() <= 2 && TERM_TAILS.iter().any(|tail| after.starts_with(tail)))
}

/// Clauses that only tell the verdict, tried in this order.
static VERDICTS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let lead = r"(?:因此|所以|故此|故而|故|综上所述|综上|由此可见|可见|则|即|本题|该题|此题|的|正确|标准|参考|最佳|最终|应当|应该|应|宜|当|只能|可|要|为|是|选择|选项|选|答案|不|排除|[：:，,\s])";
    let verdict = r"(?:选项|项|答案|均|都|皆|也|亦|全部|全|为|是|属|最|更|较|可能|正确|不正确|错误|不准确|准确|不合适|合适|不恰当|恰当|不符合题意|符合题意|不符合题干|符合题干|不符合|符合|不入选|入选|可选|不选|排除|可排除|有误|有关|无关|当选|本题)";
    vec![
        // "因此答案选D。", "故C、E正确", "选项B错误", "排除A"
        (
            compile(&format!(
                r"{lead}*(?:答案|选择|选项|选|故|因此|所以|综上所述|综上|排除){lead}*{MARKER}(?:{verdict}|错)*(?:对(?P<next>$|\W))?"
            )),
            "$next",
        ),
        // "A对B错", "ABC均正确"
        (compile(&format!(r"{MARKER}{verdict}*(?:正确|错误|对|错|不选|排除)(?P<next>$|[^应于抗称照症比侧])")), "$next"),
        // "A项，…", "B选项：…", "C.…"
        (compile(&format!(r"{MARKER}\s*(?:选项|项)?\s*[.．、：:，,]?")), ""),
    ]
});

/// Brackets short enough to be a verdict.
static BRACKETS: LazyLock<Regex> = LazyLock::new(|| compile(r"[（(【\[][^（()）【】\[\]]{0,24}[)）】\]]"));

/// What a bracket may hold beside markers and still say nothing but the verdict.
static BRACKET_VERDICT: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"^.(?:对|错|正确|错误|不|选项|选|项|故|答案|为|是|符合|均|可|排除|最佳|本题|应|即|误|题意|都|两|有|当选|[\s、，,;；。：:./和及与])*.$",
    )
});

fn drop_marked_bracket(bracket: &Captures) -> String {
    let text = &bracket[0];
    if BRACKET_VERDICT.is_match(&text.replace(MARKER, "")) { String::new() } else { text.to_owned() }
}

/// What stripping leaves ragged.
static TIDY: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let nothing_said = r"(?:最可能|正确|错误|均正确|均错误|最符合|符合题意|不符合题意|均符合|均不符合|最合适|最佳|对|错|为正确答案|为本题正确答案|为答案|是正确的|是错误的)";
    vec![
        (compile(r"[（(]\s*[、，,;；和及与]*\s*[)）]"), ""),
        (compile(&format!(r"(?P<left>^|[。；;，,\n])\s*{nothing_said}(?P<right>[。；;，,]|$)")), "$left$right"),
        (compile(r"[，,、；;：:]+(?P<stop>[。；;])"), "$stop"),
        (compile(r"(?P<stop>[。；;，,、：:])[。；;，,、：:]+"), "$stop"),
        (compile(r"(?m)^[。；;，,、：:\s]+"), ""),
        (compile(r"[；;，,、：:\s]+$"), ""),
    ]
});

/// Places where a letter gives the key away. Terms are not excused here: a passage that matches is not used.
static LEAKS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let run = r"(?-u:\b)[A-F](?:\s*[、，,/和及与]?\s*[A-F])*(?-u:\b)";
    vec![
        compile(&format!(
            r"{run}\s*(?:选项|项|答案|均|都|为|是|最)*(?:正确|错误|不正确|不对|准确|符合题|错|入选|当选|不选|排除|对(?:$|[^应于抗称照症比侧]))"
        )),
        compile(&format!(r"(?:答案|选项|选择|应选|故选|选|排除)(?:应|为|是|[：:\s])*{run}")),
        compile(&format!(r"(?:故|因此|所以|综上)[，,]?{run}")),
        compile(&format!(r"[（(]\s*{run}\s*(?:对|错|正确|错误|[、，,;；].{{0,8}})?[)）]")),
        compile(&format!(r"(?m)(?:^|[。；;，,])\s*{run}\s*(?:[.．、：:][^a-z]|选项|项)")),
    ]
});

#[cfg(test)]
#[path = "markers_tests.rs"]
mod tests;
