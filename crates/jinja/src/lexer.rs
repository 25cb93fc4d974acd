//! Lexer: jinja2's, with or without `trim_blocks` and `lstrip_blocks`.

use std::sync::Arc;

use super::error::Error;
use super::text::is_space;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Data(Arc<str>),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(Arc<str>),
    Text(String),
    Integer(i64),
    Float(f64),
    Operator(&'static str),
    End,
}

/// The longest first, as the lexer tries them.
const OPERATORS: [&str; 25] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",",
];

/// The tokens of `source`, each with its line from 1; `trim_blocks` includes `lstrip_blocks`.
pub(super) fn tokenize(source: &str, trim_blocks: bool) -> Result<Vec<(Token, u32)>, Error> {
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    let mut lexer = Lexer { text: &text, trim_blocks, position: 0, line: 1, line_starts: true, tokens: Vec::new() };
    lexer.root()?;
    let line = lexer.line;
    lexer.tokens.push((Token::End, line));
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    trim_blocks: bool,
    position: usize,
    line: u32,
    /// Whether the last match ends with a line break.
    line_starts: bool,
    tokens: Vec<(Token, u32)>,
}

/// White space control after a tag's opening mark.
#[derive(Clone, Copy, PartialEq)]
enum Sign {
    None,
    Strip,
    Keep,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.position..]
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.text[self.position..self.position + bytes];
        let lines = passed.bytes().filter(|byte| *byte == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        if bytes > 0 {
            self.line_starts = passed.ends_with('\n');
        }
        self.position += bytes;
    }

    fn push(&mut self, token: Token) {
        self.tokens.push((token, self.line));
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        Err(Error::syntax(message, self.line))
    }

    fn spaces(&self, from: usize) -> usize {
        let rest = &self.rest()[from..];
        rest.len() - rest.trim_start_matches(is_space).len()
    }

    fn root(&mut self) -> Result<(), Error> {
        loop {
            let Some((offset, kind)) = opening(self.rest()) else {
                let data: Arc<str> = self.rest().into();
                if !data.is_empty() {
                    self.push(Token::Data(data));
                }
                return Ok(());
            };
            let sign = match self.rest().as_bytes().get(offset + 2) {
                Some(b'-') => Sign::Strip,
                Some(b'+') => Sign::Keep,
                _ => Sign::None,
            };
            self.data(offset, sign, kind != b'{');
            let mark = 2 + usize::from(sign != Sign::None);
            if kind == b'%'
                && let Some(length) = self.raw_begin(mark)
            {
                self.advance(length);
                self.raw()?;
                continue;
            }
            self.advance(mark);
            match kind {
                b'#' => self.comment()?,
                b'{' => {
                    self.push(Token::VariableBegin);
                    self.tag(false)?;
                }
                _ => {
                    self.push(Token::BlockBegin);
                    self.tag(true)?;
                }
            }
        }
    }

    /// Consumes the `length` bytes of text before a tag.
    fn data(&mut self, length: usize, sign: Sign, is_block: bool) {
        let line_starts = self.line_starts;
        let whole = &self.text[self.position..self.position + length];
        let kept = match sign {
            Sign::Strip => whole.trim_end_matches(is_space),
            Sign::None if is_block && self.trim_blocks => {
                let start = whole.rfind('\n').map_or(0, |place| place + 1);
                let blank = !whole[start..].is_empty() && whole[start..].chars().all(is_space);
                if (start > 0 || line_starts) && blank { &whole[..start] } else { whole }
            }
            _ => whole,
        };
        if !kept.is_empty() {
            let token = Token::Data(kept.into());
            self.push(token);
        }
        self.advance(length);
    }

    /// Length of a `{% raw %}` tag at this position, whose opening mark has `mark` bytes.
    fn raw_begin(&self, mark: usize) -> Option<usize> {
        let name = mark + self.spaces(mark);
        self.rest()[name..].strip_prefix("raw")?;
        let end = name + 3 + self.spaces(name + 3);
        if self.rest()[end..].starts_with("-%}") {
            return Some(end + 3 + self.spaces(end + 3));
        }
        self.rest()[end..].starts_with("%}").then_some(end + 2)
    }

    fn raw(&mut self) -> Result<(), Error> {
        let mut from = 0;
        while let Some(found) = self.rest()[from..].find("{%") {
            let start = from + found;
            let sign = match self.rest().as_bytes().get(start + 2) {
                Some(b'-') => Sign::Strip,
                Some(b'+') => Sign::Keep,
                _ => Sign::None,
            };
            let name = start + 2 + usize::from(sign != Sign::None);
            let name = name + self.spaces(name);
            if self.rest()[name..].starts_with("endraw") {
                let end = name + 6 + self.spaces(name + 6);
                if let Some(closing) = self.block_end(end) {
                    self.data(start, sign, true);
                    self.advance(end - start + closing);
                    return Ok(());
                }
            }
            from = start + 2;
        }
        self.fail("Missing end of raw directive")
    }

    fn comment(&mut self) -> Result<(), Error> {
        let Some(end) = self.rest().find("#}") else { return self.fail("Missing end of comment tag") };
        let strips = self.rest()[..end].ends_with('-');
        let keeps = self.rest()[..end].ends_with('+');
        let after = end + 2;
        let more = match (strips, keeps) {
            (true, _) => self.spaces(after),
            (_, true) => 0,
            _ => self.trimmed(&self.rest()[after..]),
        };
        self.advance(after + more);
        Ok(())
    }

    /// Length of a block's closing mark at `from`, including the white space that it strips.
    fn block_end(&self, from: usize) -> Option<usize> {
        let rest = &self.rest()[from..];
        if rest.starts_with("+%}") {
            return Some(3);
        }
        if rest.starts_with("-%}") {
            return Some(3 + self.spaces(from + 3));
        }
        rest.strip_prefix("%}").map(|after| 2 + self.trimmed(after))
    }

    /// Bytes of the line break that `trim_blocks` removes after a tag.
    fn trimmed(&self, after: &str) -> usize {
        usize::from(self.trim_blocks && after.starts_with('\n'))
    }

    fn tag(&mut self, is_block: bool) -> Result<(), Error> {
        let mut open: Vec<&'static str> = Vec::new();
        loop {
            if open.is_empty() {
                let end = if is_block {
                    self.block_end(0)
                } else if self.rest().starts_with("-}}") {
                    Some(3 + self.spaces(3))
                } else {
                    self.rest().starts_with("}}").then_some(2)
                };
                if let Some(length) = end {
                    self.push(if is_block { Token::BlockEnd } else { Token::VariableEnd });
                    self.advance(length);
                    return Ok(());
                }
            }
            let spaces = self.spaces(0);
            if spaces > 0 {
                self.advance(spaces);
                continue;
            }
            let Some(first) = self.rest().chars().next() else {
                return self.fail("the template ends inside a tag");
            };
            if first.is_ascii_digit() {
                self.number()?;
            } else if first.is_alphanumeric() || first == '_' {
                let end = self.rest().find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest().len());
                let name = Token::Name(self.rest()[..end].into());
                self.push(name);
                self.advance(end);
            } else if matches!(first, '\'' | '"') {
                self.string(first)?;
            } else {
                self.operator(first, &mut open)?;
            }
        }
    }

    fn operator(&mut self, first: char, open: &mut Vec<&'static str>) -> Result<(), Error> {
        let Some(operator) = OPERATORS.iter().find(|operator| self.rest().starts_with(**operator)) else {
            return self.fail(format!("unexpected character {first:?}"));
        };
        match *operator {
            "{" => open.push("}"),
            "(" => open.push(")"),
            "[" => open.push("]"),
            closing @ ("}" | ")" | "]") => match open.pop() {
                Some(expected) if expected == closing => {}
                Some(expected) => return self.fail(format!("unexpected '{closing}', expected '{expected}'")),
                None => return self.fail(format!("unexpected '{closing}'")),
            },
            _ => {}
        }
        self.push(Token::Operator(operator));
        self.advance(operator.len());
        Ok(())
    }

    fn number(&mut self) -> Result<(), Error> {
        let after_dot = self.text[..self.position].ends_with('.');
        if !after_dot && let Some(length) = float_length(self.rest()) {
            let digits: String = self.rest()[..length].chars().filter(|c| *c != '_').collect();
            let Ok(value) = digits.parse::<f64>() else { return self.fail(format!("bad number {digits}")) };
            self.push(Token::Float(value));
            self.advance(length);
            return Ok(());
        }
        let length = integer_length(self.rest());
        let digits: String = self.rest()[..length].chars().filter(|c| *c != '_').collect();
        let lower = digits.to_ascii_lowercase();
        let parsed = match lower.get(..2) {
            Some("0x") => i64::from_str_radix(&lower[2..], 16),
            Some("0o") => i64::from_str_radix(&lower[2..], 8),
            Some("0b") => i64::from_str_radix(&lower[2..], 2),
            _ => lower.parse(),
        };
        let Ok(value) = parsed else { return self.fail(format!("the number {digits} does not fit in 64 bits")) };
        self.push(Token::Integer(value));
        self.advance(length);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<(), Error> {
        let bytes = self.rest().as_bytes();
        let mut end = 1;
        loop {
            match bytes.get(end) {
                None => return self.fail("a string is not closed"),
                Some(b'\\') => end += 2,
                Some(byte) if char::from(*byte) == quote => break,
                Some(_) => end += 1,
            }
        }
        match unescape(&self.rest()[1..end]) {
            Ok(text) => self.push(Token::Text(text)),
            Err(message) => return self.fail(message),
        }
        self.advance(end + 1);
        Ok(())
    }
}

/// Position of the next tag and the second byte of its opening mark.
fn opening(text: &str) -> Option<(usize, u8)> {
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let place = from + text[from..].find('{')?;
        match bytes.get(place + 1) {
            Some(kind @ (b'%' | b'{' | b'#')) => return Some((place, *kind)),
            _ => from = place + 1,
        }
    }
}

/// Length of the digits at `from`; single underscores may separate them.
fn digits(text: &[u8], from: usize, allowed: fn(&u8) -> bool) -> usize {
    let mut end = from;
    while let Some(byte) = text.get(end) {
        let underscore = *byte == b'_' && end > from && text.get(end + 1).is_some_and(allowed);
        if !allowed(byte) && !underscore {
            break;
        }
        end += 1;
    }
    end - from
}

fn float_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut end = digits(bytes, 0, u8::is_ascii_digit);
    let mut found = false;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(bytes, end + 1, u8::is_ascii_digit);
        if fraction > 0 {
            end += 1 + fraction;
            found = true;
        }
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(bytes, end + 1 + sign, u8::is_ascii_digit);
        if exponent > 0 {
            end += 1 + sign + exponent;
            found = true;
        }
    }
    found.then_some(end)
}

fn integer_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let prefixed = |allowed: fn(&u8) -> bool| {
        let underscore = usize::from(bytes.get(2) == Some(&b'_'));
        let length = digits(bytes, 2 + underscore, allowed);
        (length > 0).then_some(2 + underscore + length)
    };
    let found = match bytes.get(..2) {
        Some([b'0', b'x' | b'X']) => prefixed(u8::is_ascii_hexdigit),
        Some([b'0', b'o' | b'O']) => prefixed(|byte| (b'0'..=b'7').contains(byte)),
        Some([b'0', b'b' | b'B']) => prefixed(|byte| matches!(byte, b'0' | b'1')),
        _ => None,
    };
    // As in jinja2's grammar, a decimal that begins with 0 has zeros only.
    let zero = bytes.first() == Some(&b'0');
    found.unwrap_or_else(|| digits(bytes, 0, if zero { |byte| *byte == b'0' } else { u8::is_ascii_digit }))
}

/// Decodes Python's `unicode-escape`; unknown escapes are kept verbatim.
fn unescape(text: &str) -> Result<String, String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find('\\') {
        result.push_str(&rest[..place]);
        rest = &rest[place + 1..];
        let Some(code) = rest.chars().next() else { return Err("\\ at end of string".to_owned()) };
        let simple = match code {
            '\n' => Some(None),
            '\\' | '\'' | '"' => Some(Some(code)),
            'a' => Some(Some('\u{7}')),
            'b' => Some(Some('\u{8}')),
            'f' => Some(Some('\u{c}')),
            'n' => Some(Some('\n')),
            'r' => Some(Some('\r')),
            't' => Some(Some('\t')),
            'v' => Some(Some('\u{b}')),
            _ => None,
        };
        if let Some(character) = simple {
            result.extend(character);
            rest = &rest[code.len_utf8()..];
            continue;
        }
        let (start, most, radix, exact) = match code {
            'x' => (1, 2, 16, true),
            'u' => (1, 4, 16, true),
            'U' => (1, 8, 16, true),
            '0'..='7' => (0, 3, 8, false),
            'N' => return Err("\\N{...} in a string is not supported".to_owned()),
            // Python keeps the backslash.
            _ => {
                result.push('\\');
                continue;
            }
        };
        let length = rest[start..].chars().take(most).take_while(|c| c.is_digit(radix)).count();
        if exact && length < most {
            return Err(format!("truncated \\{code} escape"));
        }
        let number = u32::from_str_radix(&rest[start..start + length], radix).unwrap_or(u32::MAX);
        result.push(char::from_u32(number).ok_or_else(|| format!("\\{code} escape is no character"))?);
        rest = &rest[start + length..];
    }
    result.push_str(rest);
    Ok(result)
}
