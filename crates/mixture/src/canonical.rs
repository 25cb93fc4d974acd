//! Canonical content: what two records have in common when they are "the same".
//!
//! Version 1, pinned by golden vectors (changing it changes every sample ever drawn):
//!
//! ```text
//! content   = "medley content 1\n" message*
//! message   = role length text
//! role      = 's' | 'u' | 'a'                  one byte: system, user, assistant
//! length    = bytes of text                    u64, little endian
//! text      = fold(content)                    UTF-8
//! id        = first 16 bytes of BLAKE3(content), read as a big-endian number
//! ```
//!
//! `fold` maps full-width ASCII (U+FF01 to U+FF5E, and the ideographic space U+3000) and the radicals that have a
//! compatibility mapping (Kangxi U+2F00 to U+2FD5, U+2E9F, U+2EF3) to the ordinary characters, composes (NFC), turns
//! CR LF and CR into LF, and drops outer white space. It only serves comparison: written records keep their own text.

use std::borrow::Cow;

use medley_chat::{Message, Role};
use rayon::prelude::*;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Version of the canonical content and of everything that is derived from it; in every manifest.
pub const CANONICAL_VERSION: u32 = 1;

/// Prefix of every canonical content.
pub const HEADER: &[u8] = b"medley content 1\n";

/// A canonical content that is being written, in memory that is used again.
pub struct Draft<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
    end: usize,
}

impl<'a> Draft<'a> {
    /// Writes from `start` on, over earlier content.
    #[inline]
    pub fn new(bytes: &'a mut Vec<u8>, start: usize) -> Self {
        Self { bytes, start, end: start }
    }

    /// Bytes written.
    #[inline]
    pub fn end(&self) -> usize {
        self.end - self.start
    }

    /// The bytes from an offset on.
    #[inline]
    pub fn from(&self, place: usize) -> &[u8] {
        &self.bytes[self.start + place..self.end]
    }

    /// The next `length` bytes to be written to; [`Draft::take`] says how many were.
    #[inline]
    pub fn room(&mut self, length: usize) -> &mut [u8] {
        let wanted = self.end + length;
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted.next_power_of_two(), 0);
        }
        &mut self.bytes[self.end..wanted]
    }

    /// Counts the first bytes of the room as written.
    #[inline]
    pub fn take(&mut self, written: usize) {
        self.end += written;
    }

    /// Appends bytes.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.take(bytes.len());
    }

    /// Forgets what was written from a place on.
    #[inline]
    pub fn truncate(&mut self, place: usize) {
        self.end = self.start + place;
    }

    /// Begins a message and says where its text begins; its length is entered when it is known.
    #[inline]
    pub fn begin(&mut self, role: u8) -> usize {
        self.extend(&[role; 9]);
        self.end()
    }

    /// Ends the message whose text begins at `place` and says how many bytes of white space it began with; `None` where it
    /// says nothing.
    #[inline]
    pub fn finish(&mut self, place: usize) -> Option<usize> {
        let text = self.from(place);
        let length = text.iter().rposition(|byte| !is_space(*byte))? + 1;
        let dropped = text.iter().position(|byte| !is_space(*byte))?;
        let start = self.start + place;
        if dropped > 0 {
            self.bytes.copy_within(start + dropped..start + length, start);
        }
        self.end = start + length - dropped;
        self.bytes[start - 8..start].copy_from_slice(&((length - dropped) as u64).to_le_bytes());
        Some(dropped)
    }
}

/// The messages of a canonical content: role and folded text of each.
pub fn turns(content: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = content.strip_prefix(HEADER).unwrap_or_default();
    std::iter::from_fn(move || {
        let (role, behind) = rest.split_first()?;
        let (length, behind) = behind.split_first_chunk()?;
        let (text, behind) = behind.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        rest = behind;
        Some((*role, text))
    })
}

/// White space that folded text can hold at its ends.
#[inline]
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// A record's identity: 128 bits of the BLAKE3 hash of its canonical content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId(pub u128);

/// The contents that these lists hold, sorted, each once. They are hashes, so they spread evenly: into buckets by their first
/// bits, each of which is sorted in a core's own cache.
pub fn sort_contents(lists: &[Vec<ContentId>]) -> Vec<ContentId> {
    const BITS: u32 = 10;
    let bucket = |content: &ContentId| (content.0 >> (128 - BITS)) as usize;
    let mut ends = [0; 1 << BITS];
    lists.iter().flatten().for_each(|content| ends[bucket(content)] += 1);
    let mut begin = 0;
    for count in &mut ends {
        (*count, begin) = (begin, begin + *count);
    }
    let mut contents = vec![ContentId(0); begin];
    for content in lists.iter().flatten() {
        let end = &mut ends[bucket(content)];
        contents[*end] = *content;
        *end += 1;
    }
    let (mut buckets, mut rest, mut begin) = (Vec::with_capacity(1 << BITS), contents.as_mut_slice(), 0);
    for end in ends {
        let (bucket, behind) = rest.split_at_mut(end - begin);
        buckets.push(bucket);
        (rest, begin) = (behind, end);
    }
    buckets.into_par_iter().for_each(<[ContentId]>::sort_unstable);
    contents.dedup();
    contents
}

/// The identity of a conversation.
pub fn content_id(messages: &[Message]) -> ContentId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(HEADER);
    for message in messages {
        let text = fold(&message.content);
        let role = match message.role {
            Role::System => b's',
            Role::User => b'u',
            Role::Assistant => b'a',
        };
        let mut head = [role; 9];
        head[1..].copy_from_slice(&(text.len() as u64).to_le_bytes());
        hasher.update(&head);
        hasher.update(text.as_bytes());
    }
    ContentId(first_128_bits(&hasher.finalize()))
}

/// The identity of a canonical content that was written out.
pub fn content_id_of(canonical: &[u8]) -> ContentId {
    ContentId(first_128_bits(&blake3::hash(canonical)))
}

/// The first 16 bytes of a hash as a big-endian number, so that numbers sort as their hexadecimal forms do.
#[inline]
pub fn first_128_bits(hash: &blake3::Hash) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_be_bytes(bytes)
}

/// Folds what does not make two texts different: see the module's description. Idempotent.
pub fn fold(text: &str) -> Cow<'_, str> {
    let trimmed = text.trim();
    if trimmed.bytes().all(|byte| byte.is_ascii() && byte != b'\r') {
        return Cow::Borrowed(trimmed);
    }
    let mut folded = String::with_capacity(trimmed.len());
    let mut composed = true;
    let mut characters = trimmed.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => {
                characters.next_if_eq(&'\n');
                folded.push('\n');
            }
            ordinary if is_inert(ordinary) => folded.push(ordinary),
            '\u{3000}' => folded.push(' '),
            '\u{ff01}'..='\u{ff5e}' => folded.push(full_width_to_ascii(character)),
            '\u{2e9f}' | '\u{2ef3}' | '\u{2f00}'..='\u{2fd5}' => folded.extend(std::iter::once(character).nfkc()),
            other => {
                composed = false;
                folded.push(other);
            }
        }
    }
    if !composed && is_nfc_quick(folded.chars()) != IsNormalized::Yes {
        folded = folded.nfc().collect();
    }
    // The ideographic space is white space itself, so trimming before was enough; composing makes none.
    Cow::Owned(folded)
}

/// Characters that are their own NFC form and never combine with a neighbour.
#[inline]
pub fn is_inert(character: char) -> bool {
    matches!(character, '\u{0}'..='\u{7f}' | '\u{4e00}'..='\u{9fff}' | '\u{3001}'..='\u{3029}' | '\u{2010}'..='\u{2027}')
}

/// The character that a text begins with, if it is one of U+4000 to U+9FFF.
#[inline]
pub fn ideograph(text: &[u8]) -> Option<u32> {
    match *text {
        [first @ 0xe4..=0xe9, second, third, ..] => {
            Some((u32::from(first & 0x0f) << 12) | (u32::from(second & 0x3f) << 6) | u32::from(third & 0x3f))
        }
        _ => None,
    }
}

/// Maps a full-width form (U+FF01 to U+FF5E) to ASCII.
#[inline]
pub fn full_width_to_ascii(character: char) -> char {
    char::from_u32(character as u32 - 0xfee0).unwrap_or(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turns(turns: &[(Role, &str)]) -> Vec<Message> {
        turns.iter().map(|(role, text)| Message::new(*role, *text)).collect()
    }

    /// Computed by an independent implementation of the format above (Python, `blake3`).
    #[test]
    fn golden_vectors() {
        let question =
            turns(&[(Role::User, " 麻黄有什么功效？\r\n"), (Role::Assistant, "发汗解表，宣肺平喘，利水消肿。")]);
        assert_eq!(content_id(&question), ContentId(0x596a_825b_7027_f6dd_a60b_ad72_3560_2419));
        let flu = turns(&[
            (Role::System, "You are a doctor."),
            (Role::User, "What is flu?\rAnswer briefly."),
            (Role::Assistant, "An infection."),
        ]);
        assert_eq!(content_id(&flu), ContentId(0x7605_d2f6_14d6_f92c_43a2_cea7_9597_eae8));
        let empty = turns(&[(Role::User, ""), (Role::Assistant, "\u{3000}")]);
        assert_eq!(content_id(&empty), ContentId(0x3b68_b22f_97ab_a827_1d74_e418_60e1_00a6));
    }

    #[test]
    fn folding() {
        for (text, folded) in [
            ("  plain\t", "plain"),
            ("ＡＢＣ１２３，（％）", "ABC123,(%)"),
            ("⽤⽅", "用方"),
            ("\u{2e9f}\u{2ef3}", "母龟"),
            ("e\u{301}", "é"),
            ("Ａ\u{30a}", "Å"),
            ("一\r\n二\r三\n四", "一\n二\n三\n四"),
            ("\u{3000}里\u{3000}外\u{3000}", "里 外"),
            // Compatibility forms beyond these are different texts: ² is not 2.
            ("10²", "10²"),
        ] {
            assert_eq!(fold(text), folded, "{text:?}");
        }
    }

    #[test]
    fn roles_and_borders_count() {
        let ids = [
            content_id(&turns(&[(Role::User, "ab"), (Role::Assistant, "c")])),
            content_id(&turns(&[(Role::User, "a"), (Role::Assistant, "bc")])),
            content_id(&turns(&[(Role::Assistant, "ab"), (Role::User, "c")])),
            content_id(&turns(&[(Role::System, "ab"), (Role::Assistant, "c")])),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id));
        }
    }

    proptest! {
        #[test]
        fn contents_are_sorted_once(lists in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![any::<u128>(), 0..9u128, (0..9u128).prop_map(|low| u128::MAX - low)], 0..60), 0..5)) {
            let lists: Vec<Vec<ContentId>> = lists.into_iter().map(|list| list.into_iter().map(ContentId).collect()).collect();
            let expected: std::collections::BTreeSet<ContentId> = lists.iter().flatten().copied().collect();
            prop_assert_eq!(sort_contents(&lists), expected.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn folding_twice_is_folding_once(text in "\\PC*|[ \\r\\n\u{3000}Ａe\u{301}\u{30a}⽤가ᄀ\u{1161}\u{11a8}]*") {
            let once = fold(&text).into_owned();
            prop_assert_eq!(fold(&once), once.as_str());
        }

        /// The fast way through inert characters gives what NFC of the mapped text gives.
        #[test]
        fn folding_composes(text in "[\u{2010}-\u{2027}\u{3001}-\u{3029}一-鿿a-zé\u{300}-\u{320}\u{3099}かᄀ\u{1161}]*") {
            let composed: String = text.trim().nfc().collect();
            prop_assert_eq!(fold(&text), composed.as_str());
        }
    }
}
