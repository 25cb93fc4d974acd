//! Remnants of HTML in a text that is not about HTML.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;
use std::sync::LazyLock;

use medley_chat::{Message, Role};
use medley_mixture::filter::Finding;
use medley_mixture::{FilterSpec, Html, Rejection};
use regex::{Captures, Regex};

use super::{Built, RecordFilter, Verdict};

/// Tags that pages leave behind in text. A tag of one letter needs attributes or its counterpart, so that "a<b>c" is none; a
/// number, a space or Chinese after `<` is a comparison or a title.
static REMNANT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)</?(?P<tag>br|div|span|em|strong|font|img|table|thead|tbody|tr|td|th|ul|ol|li|dl|dt|dd|h[1-6]|hr|sup|sub|center|small|big|pre|blockquote|section|article|figure|figcaption|iframe|nobr|wbr|strike|p)(?:\s+[a-z][^<>]{0,500})?\s*/?>|</(?P<closing>[abisu])\s*>|<(?P<single>[abisu])\s+[a-z-]+\s*=[^<>]{0,500}>|<!--.{0,200}?-->|&(?P<entity>nbsp|lt|gt|amp|quot|apos|ldquo|rdquo|lsquo|rsquo|mdash|ndash|hellip|middot|bull|deg|plusmn|times|divide|le|ge|ne|micro|alpha|beta|gamma|delta|mu|omega|sup2|sup3|frac12|rarr|larr|uarr|darr|copy|reg|trade|sect|permil|ensp|emsp|thinsp|#\d{1,6}|#x[0-9a-f]{1,5});"#,
    )
});

/// Tags of whole pages: a text with them is source code.
static CODE_TAG: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)<!doctype|</?(?:html|head|body|title|meta|link|form|input|button|select|option|script|style|svg|canvas|nav|footer|header|label|textarea|video|audio|template|xml|code)\b",
    )
});

/// A question about markup: what looks like a remnant is its matter.
static ABOUT_MARKUP: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)html|xml|(?-u:\b)css(?-u:\b)|javascript|php|markup|markdown|(?-u:\b)tags?(?-u:\b)|(?-u:\b)web|(?-u:\b)entit(?:y|ies)(?-u:\b)|(?-u:\b)escap|(?-u:\b)(?:fonts?|bold|italics?|underlined?|hyperlinks?|format(?:ted|ting)?|react)(?-u:\b)|网页|网站|标签|标记语言|转义|实体|前端|超文本|加粗|粗体|斜体|下划线|字体|样式|排版|格式|超链接|动画|组件|突出显示",
    )
});

/// A question about code: tags are its matter, entities are not.
static ABOUT_CODE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)(?-u:\b)cod(?:e|ing)(?-u:\b)|(?-u:\b)scripts?(?-u:\b)|regex|python|(?-u:\b)java|(?-u:\b)sql|代码|编程|脚本|正则",
    )
});

/// Fenced and inline code.
static CODE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)```.*?(?:```|$)|`[^`\n]+`"));

#[expect(clippy::expect_used, reason = "the patterns are constants, each compiled by a test")]
pub(super) fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}

/// Leaves records with remnants out, or removes the remnants.
struct Remnants {
    strips: bool,
}

pub(super) fn build(spec: &FilterSpec, _folder: &Path) -> Built {
    let strips = match spec.html {
        Some(Html::Drop) => false,
        Some(Html::Strip) => true,
        Some(Html::Keep) | None => return Ok(None),
    };
    Ok(Some(Box::new(Remnants { strips })))
}

impl RecordFilter for Remnants {
    fn judge(&self, messages: &mut [Message]) -> Verdict {
        let Some((index, at, what)) = remnant(messages) else { return Ok(None) };
        let finding = Finding::new(Rejection::HtmlRemnant, what, &messages[index].content, at);
        if !self.strips {
            return Err(finding);
        }
        strip(messages);
        let is_blank = messages.iter().any(|message| message.content.trim().is_empty());
        if is_blank { Err(finding) } else { Ok(Some(finding)) }
    }
}

/// The first remnant of a record: index of its message, byte, and the text.
fn remnant(messages: &[Message]) -> Option<(usize, usize, String)> {
    if !messages.iter().any(|message| may_hold(&message.content)) {
        return None;
    }
    let about = Matter::of(messages);
    messages.iter().enumerate().find_map(|(index, message)| {
        let (at, text) = about.first(&message.content)?;
        Some((index, at, text))
    })
}

fn may_hold(text: &str) -> bool {
    memchr::memchr2(b'<', b'&', text.as_bytes()).is_some()
}

/// Topics that make HTML part of a record's subject rather than a remnant.
struct Matter {
    tags: bool,
    entities: bool,
    /// Tags that a question and an answer have alike (line breaks and paragraphs aside, which a page leaves in both).
    alike: HashSet<String>,
}

impl Matter {
    fn of(messages: &[Message]) -> Self {
        let of = |role: Role| messages.iter().filter(move |message| message.role == role);
        let asks = |pattern: &Regex| of(Role::User).any(|message| pattern.is_match(&message.content));
        let markup = asks(&ABOUT_MARKUP);
        let code = messages.iter().any(|message| CODE_TAG.is_match(&message.content));
        let tags = |role: Role| -> HashSet<String> {
            let names = of(role).flat_map(|message| REMNANT.captures_iter(&message.content));
            let names = names.filter_map(|found| tag_name(&found)).filter(|name| name != "br" && name != "p");
            names.collect()
        };
        let alike = tags(Role::User).intersection(&tags(Role::Assistant)).cloned().collect();
        Self { tags: markup || code || asks(&ABOUT_CODE), entities: markup || code, alike }
    }

    fn is_remnant(&self, found: &Captures<'_>) -> bool {
        if found.name("entity").is_some() {
            return !self.entities;
        }
        !self.tags && tag_name(found).is_none_or(|name| !self.alike.contains(&name))
    }

    fn first(&self, text: &str) -> Option<(usize, String)> {
        if !may_hold(text) {
            return None;
        }
        let code: Vec<_> = CODE.find_iter(text).map(|code| code.range()).collect();
        let mut found = REMNANT.captures_iter(text).filter(|found| self.is_remnant(found));
        found.find_map(|found| {
            let whole = found.get_match();
            let in_code = code.iter().any(|code| code.contains(&whole.start()));
            (!in_code).then(|| (whole.start(), kind(&found)))
        })
    }
}

/// Kind of a remnant, for the ledger: `<br>`, `&nbsp;`, `&#…;`.
fn kind(found: &Captures<'_>) -> String {
    match (found.name("entity").map(|entity| entity.as_str()), tag_name(found)) {
        (Some(entity), _) if entity.starts_with('#') => "&#…;".to_owned(),
        (Some(entity), _) => format!("&{};", entity.to_ascii_lowercase()),
        (None, Some(name)) => format!("<{name}>"),
        (None, None) => "<!-- -->".to_owned(),
    }
}

/// A tag's name in small letters.
fn tag_name(found: &Captures<'_>) -> Option<String> {
    ["tag", "closing", "single"].iter().find_map(|name| found.name(name)).map(|name| name.as_str().to_ascii_lowercase())
}

/// Takes the remnants out of every turn; a turn's passage stays marked.
fn strip(messages: &mut [Message]) {
    for message in messages {
        if !may_hold(&message.content) {
            continue;
        }
        match message.passage.clone() {
            None => message.content = cleaned(&message.content).into_owned(),
            Some(passage) => {
                let [before, within, after] = [0..passage.start, passage.clone(), passage.end..message.content.len()]
                    .map(|part| cleaned(&message.content[part]).into_owned());
                message.passage = Some(before.len()..before.len() + within.len());
                message.content = [before, within, after].concat();
            }
        }
    }
}

/// A superscript keeps its meaning: 10<sup>9</sup> is 10⁹.
static RAISED: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)<(?P<kind>sup|sub)>(?P<text>[^<>]{1,40})</su[pb]>"));

/// The text without HTML: entities are the characters they stand for, breaks are line breaks, scripts and comments are gone.
fn cleaned(text: &str) -> Cow<'_, str> {
    let text = REMNANT.replace_all(text, |found: &Captures<'_>| match found.name("entity") {
        Some(entity) => character(entity.as_str()).map_or_else(|| found[0].to_owned(), String::from),
        None => found[0].to_owned(),
    });
    let text = RAISED.replace_all(&text, |found: &Captures<'_>| {
        let raised = found["kind"].eq_ignore_ascii_case("sup");
        shifted(&found["text"], raised)
            .unwrap_or_else(|| format!("{}{}", if raised { "^" } else { "" }, &found["text"]))
    });
    let text = SINGLE_PAIR.replace_all(&text, "$text");
    let text = REMNANT.replace_all(&text, |found: &Captures<'_>| match (found.name("entity"), tag_name(found)) {
        (Some(_), _) => found[0].to_owned(),
        (None, Some(name)) if is_break(&name, &found[0]) => "\n".to_owned(),
        (None, Some(name)) if name == "td" || name == "th" => " ".to_owned(),
        _ => String::new(),
    });
    Cow::Owned(BLANK_LINES.replace_all(text.trim(), "\n\n").into_owned())
}

/// `<b>text</b>` and its kin.
static SINGLE_PAIR: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)<[abisu](?:\s[^<>]*)?>(?P<text>[^<>]*)</[abisu]\s*>"));

static BLANK_LINES: LazyLock<Regex> = LazyLock::new(|| pattern(r"\n[ \t]*\n(?:[ \t]*\n)+"));

/// Whether a tag ends a line.
fn is_break(name: &str, tag: &str) -> bool {
    let opens = !tag.starts_with("</");
    matches!(name, "br" | "hr")
        || (!opens
            && !matches!(
                name,
                "td" | "th"
                    | "span"
                    | "em"
                    | "strong"
                    | "font"
                    | "small"
                    | "big"
                    | "nobr"
                    | "strike"
                    | "sup"
                    | "sub"
                    | "a"
                    | "b"
                    | "i"
                    | "s"
                    | "u"
            ))
}

/// The character that an entity stands for.
fn character(entity: &str) -> Option<char> {
    let number = entity.strip_prefix('#').and_then(|number| match number.strip_prefix(['x', 'X']) {
        Some(number) => u32::from_str_radix(number, 16).ok(),
        None => number.parse().ok(),
    });
    if let Some(number) = number {
        return char::from_u32(number).filter(|character| !character.is_control() || character.is_whitespace());
    }
    const NAMES: [(&str, char); 41] = [
        ("nbsp", ' '),
        ("lt", '<'),
        ("gt", '>'),
        ("amp", '&'),
        ("quot", '"'),
        ("apos", '\''),
        ("ldquo", '“'),
        ("rdquo", '”'),
        ("lsquo", '‘'),
        ("rsquo", '’'),
        ("mdash", '—'),
        ("ndash", '–'),
        ("hellip", '…'),
        ("middot", '·'),
        ("bull", '•'),
        ("deg", '°'),
        ("plusmn", '±'),
        ("times", '×'),
        ("divide", '÷'),
        ("le", '≤'),
        ("ge", '≥'),
        ("ne", '≠'),
        ("micro", 'µ'),
        ("alpha", 'α'),
        ("beta", 'β'),
        ("gamma", 'γ'),
        ("delta", 'δ'),
        ("mu", 'μ'),
        ("omega", 'ω'),
        ("sup2", '²'),
        ("sup3", '³'),
        ("frac12", '½'),
        ("rarr", '→'),
        ("larr", '←'),
        ("uarr", '↑'),
        ("darr", '↓'),
        ("copy", '©'),
        ("reg", '®'),
        ("trade", '™'),
        ("sect", '§'),
        ("permil", '‰'),
    ];
    let spaces = ["ensp", "emsp", "thinsp"];
    let named = NAMES.iter().find(|(name, _)| entity.eq_ignore_ascii_case(name)).map(|(_, character)| *character);
    named.or_else(|| spaces.iter().any(|name| entity.eq_ignore_ascii_case(name)).then_some(' '))
}

/// Raised or lowered digits and signs; `None` where another character is among them.
fn shifted(text: &str, raised: bool) -> Option<String> {
    const PLAIN: &str = "0123456789+-n";
    let forms = if raised { "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ" } else { "₀₁₂₃₄₅₆₇₈₉₊₋ₙ" };
    text.chars().map(|character| forms.chars().nth(PLAIN.chars().position(|plain| plain == character)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(question: &str, answer: &str) -> Vec<Message> {
        vec![Message::new(Role::User, question), Message::new(Role::Assistant, answer)]
    }

    #[test]
    fn what_a_page_left_behind_is_a_remnant() {
        for (question, answer) in [
            ("白癜风怎么治", "指导意见：<br>白癜风一般比较难治愈"),
            ("去哪买药", "买&quot;思密达&quot;给狗狗"),
            ("红斑狼疮查什么", "滴度&gt;1：20有临床意义"),
            ("耳鸣", "<p class=\"x\">考虑为神经性耳鸣</p>"),
            ("血小板正常值", "100×10<sup>9</sup>/L"),
            ("<p>头痛</p>", "<p>休息</p>"),
            ("写一段代码", "if a &lt; b"),
            ("头痛", "<a href='http://x'>点击</a>"),
        ] {
            assert!(remnant(&record(question, answer)).is_some(), "{question} {answer}");
        }
    }

    #[test]
    fn medicine_code_and_tasks_about_html_have_none() {
        for (question, answer) in [
            ("正常值", "WBC<10×10^9/L，P<0.05，a<b>c"),
            ("出处", "<篇名>麻黄汤\n<目录>卷上"),
            ("用 HTML 写一个列表", "<ul><li>一</li></ul>"),
            ("怎样换行", "用 `<br>`，例如\n```\n一<br>二\n```"),
            ("把<strong>重点</strong>译成英文", "<strong>Point</strong>"),
            ("做一个登录界面", "<form><input type=\"text\"><br></form>"),
            ("什么是 R&D", "研究与开发，A&B"),
        ] {
            assert_eq!(remnant(&record(question, answer)), None, "{question} {answer}");
        }
    }

    #[test]
    fn stripping_keeps_the_meaning() {
        for (text, stripped) in [
            ("指导意见：<br>休息<br/>多饮水", "指导意见：\n休息\n多饮水"),
            ("<p>一</p><p>二</p>", "一\n二"),
            ("100×10<sup>9</sup>/L，H<sub>2</sub>O", "100×10⁹/L，H₂O"),
            ("E/A&lt;1&nbsp;提示", "E/A<1 提示"),
            ("&lt;br&gt;甲", "甲"),
            ("<b>重</b>点，P<0.05", "重点，P<0.05"),
            ("x<sup>年</sup>", "x^年"),
            ("<div class=\"a\">甲<!-- x --></div>", "甲"),
        ] {
            let mut messages = record("问", text);
            strip(&mut messages);
            assert_eq!(messages[1].content, stripped, "{text}");
        }
        let mut asked = vec![Message::ask("读<br>", "一&nbsp;二")];
        strip(&mut asked);
        let passage = asked[0].passage.clone().expect("a passage");
        assert_eq!(&asked[0].content[passage], "一 二");
    }
}
