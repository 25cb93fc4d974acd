//! A record of a mix.

use std::fmt;
use std::io::Write;

use medley_chat::Message;
use serde::{Deserialize, Serialize};

use crate::key::Key;

/// A chosen record: what it says, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MixedRecord {
    /// The conversation, in the record's own text.
    pub messages: Vec<Message>,
    /// Name of its pool.
    pub source: String,
    /// Its key in the draw; in the validation split its validation hash. Unique in a mix but for repeats.
    pub key: Key,
    /// 0 for the first occurrence in the mix, 1 for the first repeat (`on_shortage = "repeat"`), and so on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub copy: u32,
    /// The file: relative to the recipe's folder or the working directory, or `hub:owner/name@commit/path`.
    pub file: String,
    /// Line of the (unpacked) file on which the record begins, from 1.
    pub line: u64,
    /// Number of the record in the file, from 1; distinguishes records where a whole array is on one line.
    pub record: u64,
}

impl MixedRecord {
    /// Appends the line that it has in a written mix: what `serde_json` makes of it, and a line break.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"messages\":[");
        for (index, message) in self.messages.iter().enumerate() {
            let Message { role, content, passage, unlearned } = message;
            out.extend_from_slice(if index == 0 { b"{\"role\":\"" } else { b",{\"role\":\"" });
            out.extend_from_slice(role.as_str().as_bytes());
            out.extend_from_slice(b"\",\"content\":");
            write_string(content, out);
            if let Some(passage) = passage {
                write_text(format_args!(",\"passage\":{{\"start\":{},\"end\":{}}}", passage.start, passage.end), out);
            }
            if *unlearned {
                out.extend_from_slice(b",\"unlearned\":true");
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"],\"source\":");
        write_string(&self.source, out);
        write_text(format_args!(",\"key\":\"{}\"", self.key), out);
        if self.copy > 0 {
            write_text(format_args!(",\"copy\":{}", self.copy), out);
        }
        out.extend_from_slice(b",\"file\":");
        write_string(&self.file, out);
        write_text(format_args!(",\"line\":{},\"record\":{}}}\n", self.line, self.record), out);
    }

    /// Its place: `file:line`, or `file:line#record` where several records begin on one line.
    pub fn place(&self) -> String {
        record_place(&self.file, (self.line, self.record))
    }
}

/// `file:line`, or `file:line#record` where several records begin on one line.
pub fn record_place(file: &str, (line, record): (u64, u64)) -> String {
    let number = if record > line { format!("#{record}") } else { String::new() };
    format!("{file}:{line}{number}")
}

/// Appends what is formatted; memory does not fail.
fn write_text(text: fmt::Arguments<'_>, out: &mut Vec<u8>) {
    let _ = out.write_fmt(text);
}

/// Bytes that are looked at together.
const TOGETHER: usize = 32;

fn is_escaped(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// Without a branch for every byte, so that the compiler looks at all of them at once.
fn any_is_escaped(bytes: &[u8; TOGETHER]) -> bool {
    let escaped = |byte: u8| u8::from(byte < b' ') | u8::from(byte == b'"') | u8::from(byte == b'\\');
    bytes.iter().fold(0, |any, byte| any | escaped(*byte)) != 0
}

/// Appends a JSON string. Runs of bytes without escapes, the bulk, are copied whole.
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let skipped = rest.as_chunks().0.iter().take_while(|bytes| !any_is_escaped(bytes)).count() * TOGETHER;
        let run = rest[skipped..].iter().position(|byte| is_escaped(*byte)).map_or(rest.len(), |run| skipped + run);
        out.extend_from_slice(&rest[..run]);
        rest = &rest[run..];
        if let Some((byte, behind)) = rest.split_first() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0x08 => out.extend_from_slice(b"\\b"),
                0x0c => out.extend_from_slice(b"\\f"),
                control => write_text(format_args!("\\u{control:04x}"), out),
            }
            rest = behind;
        }
    }
    out.push(b'"');
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(copy: &u32) -> bool {
    *copy == 0
}

#[cfg(test)]
mod tests {
    use medley_chat::Role;
    use proptest::prelude::*;

    use super::*;

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof!["\\PC{0,80}", "[\u{0}-\u{7f}一“😀\u{2028}]{0,80}", "[a-z一-鿿]{0,200}[\"\\\\\n]{0,2}[a-z]{0,40}"]
    }

    proptest! {
        #[test]
        fn a_line_is_what_serde_json_writes(contents in proptest::collection::vec(texts(), 0..4), file in texts(),
            passage in proptest::option::of((0..9usize, 9..99usize)), unlearned: bool, key: u128, copy in 0..3u32, line: u64) {
            let message = |(turn, content): (usize, String)| Message {
                passage: passage.map(|(start, end)| start..end),
                unlearned,
                ..Message::new([Role::System, Role::User, Role::Assistant][turn % 3], content)
            };
            let messages = contents.into_iter().enumerate().map(message).collect();
            let record = MixedRecord { messages, source: file.clone(), key: Key(key), copy, file, line, record: line };
            let mut written = Vec::new();
            record.write_line(&mut written);
            let mut expected = serde_json::to_vec(&record).expect("JSON");
            expected.push(b'\n');
            prop_assert_eq!(String::from_utf8(written).expect("UTF-8"), String::from_utf8(expected).expect("UTF-8"));
        }
    }
}
