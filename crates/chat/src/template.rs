//! A model's own chat template, rendered the way transformers renders it.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Rejection;
use crate::message::{Message, Role};
use medley_jinja::{Error, Limits, Template, Value};

/// Steps of one rendering, and those more for every message.
const STEPS: u64 = 5_000_000;
const STEPS_PER_MESSAGE: u64 = 20_000;

/// Bytes that one rendering writes at most, and those more for every byte of the messages.
const OUTPUT: usize = 16 << 20;
const OUTPUT_PER_BYTE: usize = 64;

/// A compiled chat template.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    template: Template,
    source: String,
    /// What every rendering sees beside the messages.
    variables: Vec<(Arc<str>, Value)>,
}

/// Messages as a template sees them: converted once, rendered in parts.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    values: Vec<Value>,
    /// The roles as values, for turns whose content is replaced.
    roles: Vec<&'static str>,
    /// Bytes of every message.
    bytes: Vec<usize>,
}

fn turn(role: &str, content: &str) -> Value {
    Value::from_pairs(vec![("role", Value::from(role)), ("content", Value::from(content))])
}

impl Turns {
    /// A message's passage is ours alone.
    pub(crate) fn new(messages: &[Message]) -> Self {
        Self {
            values: messages.iter().map(|message| turn(message.role.as_str(), &message.content)).collect(),
            roles: messages.iter().map(|message| message.role.as_str()).collect(),
            bytes: messages.iter().map(|message| message.content.len()).collect(),
        }
    }

    /// The first `head` turns and those of `rest`.
    pub(crate) fn part(&self, head: usize, rest: Range<usize>) -> Self {
        fn part<T: Clone>(all: &[T], head: usize, rest: Range<usize>) -> Vec<T> {
            all[..head].iter().chain(&all[rest]).cloned().collect()
        }
        Self {
            values: part(&self.values, head, rest.clone()),
            roles: part(&self.roles, head, rest.clone()),
            bytes: part(&self.bytes, head, rest),
        }
    }

    /// The same with what `content` gives for each of `places`.
    pub(crate) fn with_contents(&self, places: &[usize], content: impl Fn(usize) -> String) -> Self {
        let mut turns = self.clone();
        for place in places {
            turns.values[*place] = turn(turns.roles[*place], &content(*place));
        }
        turns
    }
}

impl ChatTemplate {
    /// Compiles `source`. `special_tokens` are those that the tokenizer has, by the names that templates know them by
    /// (`bos_token`, ...); the others are undefined, as in transformers.
    ///
    /// # Errors
    /// The template's syntax error, with its line.
    pub(crate) fn new(source: &str, special_tokens: &[(&str, String)]) -> Result<Self, String> {
        let template = Template::compile(source).map_err(|error| error.to_string())?;
        let tokens = special_tokens.iter().map(|(name, token)| ((*name).into(), Value::from(token.as_str())));
        // transformers passes both, and none where there are none.
        let none = ["tools", "documents"].map(|name| (name.into(), Value::None));
        Ok(Self { template, source: source.to_owned(), variables: tokens.chain(none).collect() })
    }

    /// The template as the model's directory has it.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The conversation as text; with `generation_prompt` the header of the turn that the model is to write is added.
    pub(crate) fn render(&self, messages: &[Message], generation_prompt: bool) -> Result<String, Rejection> {
        self.render_turns(&Turns::new(messages), generation_prompt)
    }

    /// As [`render`](Self::render) of turns that were converted before.
    pub(crate) fn render_turns(&self, turns: &Turns, generation_prompt: bool) -> Result<String, Rejection> {
        let refused = |error: Error| Rejection::TemplateRefused { message: error.to_string() };
        self.run(turns, generation_prompt).map_err(refused)
    }

    /// Why the template cannot be used for any conversation: it does not end, or grows without bound.
    pub(crate) fn check_bounds(&self) -> Result<(), String> {
        let conversation = [Message::new(Role::User, "a"), Message::new(Role::Assistant, "b")];
        match self.run(&Turns::new(&conversation), false) {
            Err(error) if error.is_bound() => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    fn run(&self, turns: &Turns, generation_prompt: bool) -> Result<String, Error> {
        let bytes: usize = turns.bytes.iter().sum();
        let limits = Limits {
            steps: STEPS + STEPS_PER_MESSAGE * turns.values.len() as u64 + bytes as u64,
            output: OUTPUT + OUTPUT_PER_BYTE * bytes,
        };
        let mut variables = vec![
            ("messages".into(), Value::from_items(turns.values.clone())),
            ("add_generation_prompt".into(), Value::from(generation_prompt)),
        ];
        variables.extend(self.variables.iter().cloned());
        self.template.render(variables, limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[Message]) -> Result<String, Rejection> {
        let specials = [("bos_token", "<s>".to_owned()), ("eos_token", "</s>".to_owned())];
        ChatTemplate::new(source, &specials).expect("compiles").render(messages, false)
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_known() {
        let source = "{% for m in messages %}\n    {% if m['content'].startswith('药') %}\n{{ m.content.strip() }}|\n    {% endif %}\n{% endfor %}\n{{ bos_token }}{{ eos_token }}";
        let messages = [Message::new(Role::User, "药 \n"), Message::new(Role::User, "x")];
        assert_eq!(render(source, &messages), Ok("药|\n<s></s>".into()));
    }

    #[test]
    fn loop_controls_and_slices_work() {
        let source =
            "{% for m in messages[1:] %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}";
        let messages = ["a", "b", "c"].map(|text| Message::new(Role::User, text));
        assert_eq!(render(source, &messages), Ok("b".into()));
    }

    #[test]
    fn a_refusal_is_told_in_the_templates_words() {
        let source =
            "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}";
        let error = render(source, &[Message::new(Role::System, "x")]).expect_err("refused");
        assert_eq!(error.to_string(), "the chat template refuses the conversation: System role not supported");
        assert_eq!(error.reason(), "template_refused");
    }

    #[test]
    fn json_is_pythons_and_html_is_left_alone() {
        let source = "{{ messages[0].content|tojson }} {{ {'a': [1, 2], 'b': '<'}|tojson }} {{ messages[0].content }}";
        let text = render(source, &[Message::new(Role::User, "\"<b>中")]);
        assert_eq!(text, Ok("\"\\\"<b>中\" {\"a\": [1, 2], \"b\": \"<\"} \"<b>中".into()));
    }

    #[test]
    fn the_date_is_fixed_and_unknown_codes_are_refused() {
        assert_eq!(render("{{ strftime_now('%d %b %Y') }}", &[]), Ok("26 Jul 2024".into()));
        assert_eq!(render("{{ strftime_now('%-d %B, %A %%') }}", &[]), Ok("26 July, Friday %".into()));
        assert!(render("{{ strftime_now('%Q') }}", &[]).is_err());
    }

    #[test]
    fn generation_tags_render_nothing() {
        let source = "{% for m in messages %}{%- generation -%}\n{{ m.content }}{% endgeneration %}{% endfor %}";
        assert_eq!(render(source, &[Message::new(Role::Assistant, "答")]), Ok("答".into()));
    }

    #[test]
    fn a_template_that_does_not_end_or_grows_is_an_error() {
        let long = "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}";
        let nested = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
        let chain = "1".to_owned() + &"+1".repeat(100_000);
        for (source, expected) in [
            (long.to_owned(), "the template does not end"),
            (
                "{% set n = namespace(s='xx') %}{% for a in range(99999) %}{% set n.s = n.s ~ n.s %}{% endfor %}"
                    .to_owned(),
                "grows beyond",
            ),
            (
                "{% set n = namespace(s='x' * 1000000) %}{% for a in range(99999) %}{{ n.s }}{% endfor %}".to_owned(),
                "output grows beyond",
            ),
            ("{{ 'x' * 99999999999 }}".to_owned(), "grows beyond"),
            ("{{ '%999999999d' % 1 }}".to_owned(), "width"),
            ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".to_owned(), "recursion is deeper"),
            ("{% macro f(x) %}{{ f([x]) }}{% endmacro %}{{ f(1) }}".to_owned(), "deeper"),
            ("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}".to_owned(), "recursion is deeper"),
            (
                "{% set n = namespace(l=[]) %}{% for a in range(99999) %}{% set n.l = [n.l] %}{% endfor %}".to_owned(),
                "nested deeper",
            ),
            (
                "{% set n = namespace(l=[1]) %}{% for a in range(99999) %}{% set n.l = n.l + n.l %}{% endfor %}"
                    .to_owned(),
                "grows beyond",
            ),
            (format!("{{{{ {nested} }}}}"), "nested deeper"),
            (format!("{{{{ {chain} }}}}"), "deeper"),
            ("{% if 1 %}".repeat(5000), "nested deeper"),
            ("{{ not ".to_owned() + &"not ".repeat(5000) + "1 }}", "nested deeper"),
            ("{{ [1]|map('map', 'map', 'map')|list }}".to_owned(), "line 1"),
        ] {
            let error = ChatTemplate::new(&source, &[])
                .and_then(|template| template.render(&[], false).map_err(|error| error.to_string()))
                .expect_err(&source[..source.len().min(80)]);
            assert!(error.contains(expected), "{}: {error}", &source[..source.len().min(80)]);
        }
        let template = ChatTemplate::new(long, &[]).expect("compiles");
        assert!(template.check_bounds().is_err());
        assert_eq!(ChatTemplate::new("{{ missing.x }}", &[]).expect("compiles").check_bounds(), Ok(()));
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let error = ChatTemplate::new("a\n{% for x %}", &[]).expect_err("no such syntax");
        assert!(error.contains("line 2"), "{error}");
    }
}
