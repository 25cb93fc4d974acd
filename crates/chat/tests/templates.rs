//! Parity of chat templates with transformers: golden outputs of `tests/parity/make_templates.py`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use medley_chat::{ChatTokenizer, Message, Role, TextTemplate};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

/// Snippets that transformers renders and this engine refuses; all others must be equal or refused by both.
const REFUSED_HERE: [&str; 2] = ["{{ 99999999999 * 99999999999 }}", "{{ 'a'.encode() }}"];

fn parity() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity")
}

/// The snippets of `snippets.txt`, parsed as in the script.
fn snippets() -> Vec<String> {
    let text = std::fs::read_to_string(parity().join("templates/snippets.txt")).expect("reads");
    let unescape = |line: &str| {
        let line = line.replace("\\\\", "\0").replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t");
        line.replace('\0', "\\")
    };
    text.split('\n').filter(|line| !line.is_empty() && !line.starts_with("# ")).map(unescape).collect()
}

fn messages() -> Vec<Message> {
    vec![Message::new(Role::User, "Q ü?"), Message::new(Role::Assistant, "答 \"a\"\n")]
}

/// The tokenizer of a model folder with `template`.
fn model(directory: &Path, template: &str) -> Result<ChatTokenizer, String> {
    let vocabulary = json!({ "<s>": 0, "</s>": 1, "<unk>": 2 });
    let tokenizer =
        json!({ "version": "1.0", "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>" } });
    let config = json!({ "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>" });
    std::fs::write(directory.join("tokenizer.json"), tokenizer.to_string()).expect("writes");
    std::fs::write(directory.join("tokenizer_config.json"), config.to_string()).expect("writes");
    std::fs::write(directory.join("chat_template.jinja"), template).expect("writes");
    ChatTokenizer::from_dir(directory).map_err(|error| error.to_string())
}

fn render(directory: &Path, template: &str) -> Result<String, String> {
    model(directory, template)?.render(&messages(), false).map_err(|error| error.to_string())
}

/// One line per snippet that differs.
fn differences<'a>(cases: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Vec<String> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut differences = Vec::new();
    for (template, expected) in cases {
        match (render(directory.path(), template), expected) {
            (Ok(found), Some(expected)) if found == expected => {}
            (Err(_), None) => {}
            (Err(_), Some(_)) if REFUSED_HERE.contains(&template) => {}
            (found, expected) => differences.push(format!("{template:?}\n  here {found:?}\n  there {expected:?}")),
        }
    }
    differences
}

#[test]
fn every_snippet_renders_as_in_transformers_or_is_refused_by_both() {
    let expected = std::fs::read_to_string(parity().join("templates/expected.json")).expect("reads");
    let expected: Value = serde_json::from_str(&expected).expect("is JSON");
    let outputs = expected["outputs"].as_array().expect("a list");
    let snippets = snippets();
    assert_eq!(snippets.len(), outputs.len(), "run tests/parity/make_templates.py");
    let cases = snippets.iter().map(String::as_str).zip(outputs.iter().map(Value::as_str));
    let differences = differences(cases);
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Edits: a few characters of a snippet replaced by some of another one.
    #[test]
    fn edited_snippets_never_panic(
        (base, other) in any::<(Index, Index)>(),
        edits in proptest::collection::vec((any::<Index>(), 0..4usize, any::<Index>(), 0..6usize), 1..4),
    ) {
        static SNIPPETS: LazyLock<Vec<Vec<char>>> =
            LazyLock::new(|| snippets().iter().map(|snippet| snippet.chars().collect()).collect());
        let other = other.get(&SNIPPETS);
        let mut text = base.get(&SNIPPETS).clone();
        for (place, removed, from, added) in edits {
            let (place, from) = (place.index(text.len() + 1), from.index(other.len()));
            let (end, to) = ((place + removed).min(text.len()), (from + added).min(other.len()));
            text.splice(place..end, other[from..to].iter().copied());
        }
        let text: String = text.into_iter().collect();
        let variables = json!({ "messages": [{ "role": "user", "content": "Q ü?" }], "x": 1.5 });
        let _ = TextTemplate::new(&text).and_then(|template| template.render(&variables));
    }
}

/// Combinations of operands, operators, filters, tests and methods, too many to keep as golden outputs.
fn combinations() -> Vec<String> {
    let operands = [
        "'ab'",
        "''",
        "' a b '",
        "'中文'",
        "'12'",
        "0",
        "1",
        "-3",
        "2.5",
        "true",
        "none",
        "[]",
        "[1, 2]",
        "['b', 'A']",
        "(1, 'x')",
        "{'a': 1}",
        "{}",
        "range(3)",
        "missing",
        "messages",
        "messages[0]",
        "'1.5e3'",
        "['a', none]",
    ];
    let operators =
        ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"];
    let filters = [
        "abs",
        "batch(2)|list",
        "capitalize",
        "center(7)",
        "count",
        "default('d')",
        "default('d', true)",
        "dictsort",
        "e",
        "first",
        "float",
        "format",
        "indent",
        "int",
        "items|list",
        "join",
        "join('-')",
        "last",
        "length",
        "list",
        "lower",
        "map('string')|list",
        "max",
        "min",
        "reject|list",
        "replace('a', 'x')",
        "reverse|list",
        "round",
        "safe",
        "select|list",
        "slice(2)|list",
        "sort",
        "string",
        "sum",
        "title",
        "tojson",
        "tojson(indent=2)",
        "trim",
        "truncate(2, leeway=0)",
        "unique|list",
        "upper",
        "wordcount",
        "map(attribute='a')|list",
    ];
    let tests = [
        "odd",
        "even",
        "divisibleby 3",
        "defined",
        "undefined",
        "none",
        "boolean",
        "false",
        "true",
        "integer",
        "float",
        "lower",
        "upper",
        "string",
        "mapping",
        "number",
        "sequence",
        "iterable",
        "callable",
        "in [1, 2]",
        "eq 1",
        "gt 1",
        "escaped",
    ];
    let methods = [
        "split()",
        "strip()",
        "upper()",
        "title()",
        "items()|list",
        "keys()|list",
        "values()|list",
        "get('a')",
        "get('z', 5)",
        "startswith('a')",
        "isdigit()",
        "splitlines()",
        "zfill(4)",
        "count('a')",
        "index(1)",
        "append(1)",
        "a",
        "role",
        "nothing",
        "format(1)",
        "partition('b')",
        "copy()",
        "real",
        "is_integer()",
    ];
    let mut all = Vec::new();
    for left in operands {
        let binary = operators
            .iter()
            .flat_map(|operator| operands.iter().map(move |right| format!("{{{{ ({left}) {operator} ({right}) }}}}")));
        all.extend(binary);
        all.extend(filters.iter().map(|filter| format!("{{{{ ({left})|{filter} }}}}")));
        all.extend(tests.iter().map(|test| format!("{{{{ ({left}) is {test} }}}}")));
        all.extend(methods.iter().map(|method| format!("{{{{ ({left}).{method} }}}}")));
        all.extend(
            ["[0]", "[-1]", "['a']", "[1:]", "[::-1]", "[none]", "[9]"].map(|key| format!("{{{{ ({left}){key} }}}}")),
        );
        all.extend([format!("{{{{ -({left}) }}}}"), format!("{{% for x in {left} %}}{{{{ x }}}};{{% endfor %}}")]);
    }
    all
}

#[test]
fn combinations_render_as_in_transformers_when_it_is_at_hand() {
    let Some(python) = std::env::var_os("MEDLEY_PEER_PYTHON") else {
        eprintln!("SKIPPED: MEDLEY_PEER_PYTHON is not set, so nothing is compared with transformers itself");
        return;
    };
    let directory = tempfile::tempdir().expect("temporary directory");
    let combinations: Vec<String> = combinations().into_iter().chain(snippets()).collect();
    let named: serde_json::Map<String, Value> =
        combinations.iter().enumerate().map(|(number, template)| (number.to_string(), json!(template))).collect();
    let file = directory.path().join("templates.json");
    std::fs::write(&file, Value::Object(named).to_string()).expect("writes");
    let output = Command::new(python).arg(parity().join("make_templates.py")).arg(&file).output().expect("starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    let cases = combinations
        .iter()
        .enumerate()
        .map(|(number, template)| (template.as_str(), expected[number.to_string()].as_str()));
    // Unsupported features are refused by name, never rendered differently.
    let differences: Vec<String> =
        differences(cases).into_iter().filter(|difference| !difference.contains("is not supported")).collect();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
