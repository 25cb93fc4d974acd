//! A record of a mix.

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
    /// Number of the record in the file, from 1; tells records apart where a whole array stands on one line.
    pub record: u64,
}

impl MixedRecord {
    /// Where it stands: `file:line`, or `file:line#record` where several records begin on one line.
    pub fn place(&self) -> String {
        place(&self.file, (self.line, self.record))
    }
}

/// `file:line`, or `file:line#record` where several records begin on one line.
pub(crate) fn place(file: &str, (line, record): (u64, u64)) -> String {
    let number = if record > line { format!("#{record}") } else { String::new() };
    format!("{file}:{line}{number}")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(copy: &u32) -> bool {
    *copy == 0
}
