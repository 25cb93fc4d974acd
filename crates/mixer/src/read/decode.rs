//! Text encodings: UTF-8 as it is, others found out from the text's beginning and decoded on the way, strictly.

use std::io::{self, Read};

use encoding_rs::{BIG5, DecoderResult, Encoding, GB18030, GBK, UTF_8};

use super::Problem;

/// What a file's text is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextEncoding {
    pub encoding: &'static Encoding,
    /// Bytes of the byte order mark.
    pub mark: usize,
}

impl TextEncoding {
    /// What a ledger says about it; nothing for plain UTF-8.
    pub fn name(self) -> Option<String> {
        match (self.encoding == UTF_8, self.mark) {
            (true, 0) => None,
            (true, _) => Some("UTF-8 with a byte order mark".to_owned()),
            (false, _) => Some(self.encoding.name().to_uppercase()),
        }
    }

    /// The encoding that the recipe names.
    pub fn named(label: &str) -> Result<&'static Encoding, Problem> {
        Encoding::for_label(label.as_bytes()).map(widest).ok_or_else(|| {
            Problem::new(format!("no encoding is called `{label}`"), "for example \"utf-8\", \"gb18030\", \"big5\"")
        })
    }

    /// Finds out what a text that begins with `sample` is written in; `given` is what the recipe says.
    pub fn recognise(sample: &[u8], given: Option<&'static Encoding>) -> Result<Self, Problem> {
        if let Some((encoding, mark)) = Encoding::for_bom(sample) {
            return Ok(Self { encoding, mark });
        }
        let encoding = match given {
            Some(encoding) => encoding,
            None if looks_like_utf8(sample) => UTF_8,
            None => guess(sample)?,
        };
        Ok(Self { encoding, mark: 0 })
    }

    /// `reader` (behind the byte order mark) as UTF-8.
    pub fn decode(self, reader: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        if self.encoding == UTF_8 { reader } else { Box::new(Decoding::new(reader, self)) }
    }
}

/// GBK is the smaller half of GB18030 and is decoded the same way; the larger name is the right one for both.
fn widest(encoding: &'static Encoding) -> &'static Encoding {
    if encoding == GBK { GB18030 } else { encoding }
}

/// Whether most runs of bytes beyond ASCII are UTF-8: a file with a damaged record is still UTF-8, and a file in
/// another encoding has hardly a run that is.
fn looks_like_utf8(sample: &[u8]) -> bool {
    let runs = sample.split(u8::is_ascii).filter(|run| !run.is_empty());
    let (mut sound, mut broken) = (0u64, 0u64);
    for run in runs {
        match std::str::from_utf8(run) {
            Ok(_) => sound += 1,
            // The sample may end inside a character.
            Err(error) if error.error_len().is_none() && run.as_ptr_range().end == sample.as_ptr_range().end => {}
            Err(_) => broken += 1,
        }
    }
    broken == 0 || sound > broken
}

fn guess(sample: &[u8]) -> Result<&'static Encoding, Problem> {
    let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    detector.feed(sample, false);
    let encoding = detector.guess(None, chardetng::Utf8Detection::Deny);
    let fits = |encoding: &'static Encoding| {
        let mut decoder = encoding.new_decoder_without_bom_handling();
        let mut text = String::with_capacity(sample.len() * 2);
        let (result, _) = decoder.decode_to_string_without_replacement(sample, &mut text, false);
        result == DecoderResult::InputEmpty
    };
    match widest(encoding) {
        encoding if (encoding == GB18030 || encoding == BIG5) && fits(encoding) => Ok(encoding),
        // Short texts in GB18030 pass for other encodings; what decodes without a fault and is mostly of the two
        // thousand commonest characters is GB18030.
        _ if fits(GB18030) && is_common_chinese(sample) => Ok(GB18030),
        encoding => {
            let problem = format!("the text is not UTF-8; it looks like {}", encoding.name());
            Err(Problem::new(problem, "convert the file to UTF-8, or say what it is: `encoding = \"…\"`"))
        }
    }
}

/// Whether most pairs of bytes beyond ASCII lie in GB2312's first level.
fn is_common_chinese(sample: &[u8]) -> bool {
    let (mut common, mut other, mut at) = (0u64, 0u64, 0);
    while let Some(byte) = sample.get(at) {
        match sample.get(at + 1) {
            _ if byte.is_ascii() => at += 1,
            Some(0xa1..=0xfe) if (0xb0..=0xd7).contains(byte) => (common, at) = (common + 1, at + 2),
            // Punctuation speaks neither for nor against it.
            Some(_) if (0xa1..=0xa3).contains(byte) => at += 2,
            _ => (other, at) = (other + 1, at + 2),
        }
    }
    common > other * 4
}

const BUFFER: usize = 64 * 1024;

/// Decodes on the way; what cannot be decoded is an error, never a replacement character.
struct Decoding {
    reader: Box<dyn Read + Send>,
    encoding: &'static Encoding,
    decoder: encoding_rs::Decoder,
    /// Bytes that were read and not yet decoded.
    raw: Vec<u8>,
    text: Vec<u8>,
    /// Bytes of `text` that were handed out.
    given: usize,
    /// Bytes that were decoded, the byte order mark among them.
    offset: u64,
    /// All of the file is in `raw`.
    ended: bool,
    state: State,
}

enum State {
    Decoding,
    /// What follows the text that was decoded is malformed.
    Malformed,
    Finished,
}

impl Decoding {
    fn new(reader: Box<dyn Read + Send>, TextEncoding { encoding, mark }: TextEncoding) -> Self {
        Self {
            reader,
            encoding,
            decoder: encoding.new_decoder_without_bom_handling(),
            raw: Vec::new(),
            text: Vec::new(),
            given: 0,
            offset: mark as u64,
            ended: false,
            state: State::Decoding,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.raw.is_empty() && !self.ended {
            let read = (&mut self.reader).take(BUFFER as u64).read_to_end(&mut self.raw)?;
            self.ended = read < BUFFER;
        }
        self.text.resize(BUFFER * 3, 0);
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(&self.raw, &mut self.text, self.ended);
        self.text.truncate(written);
        self.given = 0;
        self.raw.drain(..read);
        self.offset += read as u64;
        match result {
            DecoderResult::Malformed(..) => self.state = State::Malformed,
            DecoderResult::InputEmpty if self.ended => self.state = State::Finished,
            DecoderResult::InputEmpty | DecoderResult::OutputFull => {}
        }
        Ok(())
    }

    fn malformed(&self) -> io::Error {
        let problem = Problem::new(
            format!("not {} (near byte {} of the unpacked file)", self.encoding.name(), self.offset),
            "mend the file, or say what it is written in: `encoding = \"…\"`",
        );
        io::Error::new(io::ErrorKind::InvalidData, problem)
    }
}

impl Read for Decoding {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.text.len() {
            match self.state {
                State::Decoding => self.fill()?,
                State::Malformed => return Err(self.malformed()),
                State::Finished => return Ok(0),
            }
        }
        let count = buffer.len().min(self.text.len() - self.given);
        buffer[..count].copy_from_slice(&self.text[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "患者头痛三日，恶寒发热，无汗，舌苔薄白，脉浮紧。治宜发汗解表，方用麻黄汤。";

    fn encoded(encoding: &'static Encoding, text: &str) -> Vec<u8> {
        let (bytes, _, lost) = encoding.encode(text);
        assert!(!lost, "{text} in {}", encoding.name());
        bytes.into_owned()
    }

    fn recognised(bytes: &[u8]) -> &'static str {
        TextEncoding::recognise(bytes, None).map_or_else(|_| "none", |text| text.encoding.name())
    }

    fn decoded(bytes: &[u8], encoding: &'static Encoding) -> io::Result<String> {
        let mut text = String::new();
        let encoding = TextEncoding::recognise(bytes, Some(encoding)).expect("a known encoding");
        let reader = io::Cursor::new(bytes[encoding.mark..].to_vec());
        encoding.decode(Box::new(reader)).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn encodings_are_recognised() {
        assert_eq!(recognised(b"plain"), "UTF-8");
        assert_eq!(recognised(TEXT.as_bytes()), "UTF-8");
        assert_eq!(recognised(&TEXT.as_bytes()[..TEXT.len() - 1]), "UTF-8", "the sample ends inside a character");
        assert_eq!(recognised(format!("\u{feff}{TEXT}").as_bytes()), "UTF-8");
        assert_eq!(recognised(&encoded(GB18030, TEXT)), "gb18030");
        assert_eq!(recognised(&encoded(GB18030, "头痛,感冒")), "gb18030", "a short text");
        assert_eq!(recognised(&encoded(BIG5, "患者頭痛三日，惡寒發熱，無汗，舌苔薄白，脈浮緊。")), "Big5");
        assert_eq!(recognised(b"\xff\xfeq\0\xe5\x4e"), "UTF-16LE");
        assert_eq!(recognised(&[0xff, 0xc0, 0x81, 0xff, 0xc1]), "none");
    }

    /// A file of UTF-8 in which one record was damaged must not be read as something else.
    #[test]
    fn a_damaged_utf8_file_is_still_utf8() {
        let damaged = [TEXT.as_bytes(), b",", TEXT.as_bytes(), b",\xc4\xe3\xba\xc3"].concat();
        assert_eq!(recognised(&damaged), "UTF-8");
    }

    #[test]
    fn texts_come_back() {
        let long = TEXT.repeat(4000) + "㐂𠀀";
        assert_eq!(decoded(&encoded(GB18030, &long), GB18030).expect("decodes"), long);
        let utf16: Vec<u8> = std::iter::once(0xfeff).chain(TEXT.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(decoded(&utf16, UTF_8).expect("decodes"), TEXT);
    }

    #[test]
    fn what_cannot_be_decoded_is_an_error_after_the_text_before_it() {
        let bytes = [&encoded(GB18030, TEXT)[..], b"\xff\xff", &encoded(GB18030, TEXT)].concat();
        let mut reader = TextEncoding { encoding: GB18030, mark: 0 }.decode(Box::new(io::Cursor::new(bytes)));
        let mut text = Vec::new();
        let error = reader.read_to_end(&mut text).expect_err("malformed");
        assert_eq!(String::from_utf8_lossy(&text), TEXT);
        let Problem { problem, hint } = Problem::of_reading(&error);
        assert!(problem.starts_with("not gb18030 (near byte "), "{problem}");
        assert!(hint.contains("encoding ="), "{hint}");
    }
}
