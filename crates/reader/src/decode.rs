//! Text encodings: UTF-8 as it is, others found out from the text's beginning and decoded on the way, strictly.

use std::io::{self, Read};

use encoding_rs::{BIG5, DecoderResult, Encoding, GB18030, GBK, UTF_8};

use super::Problem;
use super::letters::Reading;

/// What a file's text is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextEncoding {
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
            None if Utf8::of(sample).is_likely() => {
                refuse_escapes(sample)?;
                UTF_8
            }
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

/// Counts of non-ASCII letters and of faults in a text decoded as UTF-8.
#[derive(Clone, Copy, Debug, Default)]
struct Utf8 {
    /// Letters of two bytes or more.
    letters: usize,
    /// Letters of three bytes or more.
    long_letters: usize,
    /// Letters of two bytes outside living alphabets, which GB18030 decodes to ("头痛" is U+0377 U+0374).
    odd_letters: usize,
    /// Invalid bytes.
    wrong: usize,
    /// Runs of such bytes.
    faults: usize,
    /// Bytes of the longest of them.
    longest_fault: usize,
}

impl Utf8 {
    fn of(sample: &[u8]) -> Self {
        let mut found = Self::default();
        let mut run = 0;
        let mut left = sample.len();
        for chunk in sample.utf8_chunks() {
            let (valid, invalid) = (chunk.valid(), chunk.invalid());
            for letter in valid.chars().filter(|letter| !letter.is_ascii()) {
                found.letters += 1;
                found.long_letters += usize::from(letter.len_utf8() > 2);
                found.odd_letters += usize::from(letter.len_utf8() == 2 && !is_of_alphabet(letter));
            }
            left -= valid.len() + invalid.len();
            // The sample may end inside a letter.
            if invalid.is_empty() || (left == 0 && is_cut_short(invalid)) {
                continue;
            }
            found.wrong += invalid.len();
            run = if valid.is_empty() { run + invalid.len() } else { invalid.len() };
            found.faults += usize::from(run == invalid.len());
            found.longest_fault = found.longest_fault.max(run);
        }
        found
    }

    /// Whether the text is UTF-8, possibly with damaged places or records in another encoding. In GB18030 text, one letter of two
    /// bytes occurs by chance per four invalid bytes, and one of three bytes per 25.
    fn is_likely(self) -> bool {
        let sound = self.wrong == 0 && (self.long_letters > 0 || self.odd_letters * 2 <= self.letters);
        sound
            || (self.wrong > 0 && self.letters > 4 * self.wrong && self.odd_letters * 2 <= self.letters)
            || (self.wrong > 0 && self.long_letters * 2 > self.wrong)
            || (self.long_letters >= 4 && self.long_letters * 6 >= self.wrong)
    }

    /// Whether the text is ASCII with a few damaged bytes: other encodings have more non-ASCII bytes.
    fn is_damaged_ascii(self) -> bool {
        self.faults <= FEW_FAULTS && self.longest_fault <= 2
    }
}

const FEW_FAULTS: usize = 3;

/// Whether a letter of two bytes is of Latin, Greek, Cyrillic, Armenian, Hebrew or Arabic as they are written today, or a sign of Latin-1.
fn is_of_alphabet(letter: char) -> bool {
    matches!(letter,
        '\u{a0}'..='\u{17f}' | '\u{386}'..='\u{3ce}' | '\u{400}'..='\u{45f}' | '\u{490}'..='\u{4ff}' | '\u{531}'..='\u{586}'
        | '\u{5d0}'..='\u{5ea}' | '\u{621}'..='\u{652}' | '\u{660}'..='\u{6d3}')
}

/// Whether bytes are the beginning of a UTF-8 sequence.
fn is_cut_short(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// The encoding of a text that is not certainly UTF-8: by letter frequency where that is certain, by `chardetng` otherwise.
fn guess(sample: &[u8]) -> Result<&'static Encoding, Problem> {
    let found = Utf8::of(sample);
    let clear = Reading::clear(sample, 2);
    let sure = clear.filter(|reading| reading.common >= SURE);
    match sure {
        Some(reading) if is_chinese(reading.encoding) => return Ok(reading.encoding),
        Some(reading) if found.wrong > 0 => return Err(another(reading.encoding, true)),
        _ if found.is_damaged_ascii() => return Ok(UTF_8),
        _ => {}
    }
    let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    detector.feed(sample, false);
    let encoding = widest(detector.guess(None, chardetng::Utf8Detection::Deny));
    // Chinese texts of rare letters need the detector's vote, too.
    let is_rare = |reading: Reading| is_chinese(encoding) && reading.common >= RARE;
    let agree = clear.is_none_or(|reading| reading.encoding == encoding);
    if agree && Reading::of(sample, encoding).is_some_and(is_rare) {
        return Ok(encoding);
    }
    let named = clear.filter(|_| is_chinese(encoding)).map_or(encoding, |reading| reading.encoding);
    Err(another(named, false))
}

/// Share of common letters from which the detector is not asked.
const SURE: f64 = 0.6;
/// Smallest share of common letters in a Chinese text.
const RARE: f64 = 0.2;

fn is_chinese(encoding: &'static Encoding) -> bool {
    encoding == GB18030 || encoding == BIG5
}

/// The problem of a text in an encoding that the recipe must name. The hint names it only where it is certain.
fn another(encoding: &'static Encoding, is_clear: bool) -> Problem {
    let name = encoding.name();
    let hint = match is_clear {
        true => format!("convert the file to UTF-8, or say `encoding = \"{}\"`", name.to_lowercase()),
        false => "convert the file to UTF-8, or say what it is written in: `encoding = \"…\"`".to_owned(),
    };
    Problem::new(format!("the text is not UTF-8; it looks like {name}"), hint)
}

/// Escape sequences of the 7-bit encodings ISO-2022, which are valid UTF-8.
const ESCAPES: [(&[u8], &str); 5] = [
    (b"\x1b$B", "ISO-2022-JP"),
    (b"\x1b$@", "ISO-2022-JP"),
    (b"\x1b(J", "ISO-2022-JP"),
    (b"\x1b$)C", "ISO-2022-KR"),
    (b"\x1b$)A", "ISO-2022-CN"),
];

/// Refuses a text in ISO-2022.
fn refuse_escapes(sample: &[u8]) -> Result<(), Problem> {
    if memchr::memchr(0x1b, sample).is_none() {
        return Ok(());
    }
    let found = ESCAPES.iter().find(|(escape, _)| memchr::memmem::find(sample, escape).is_some());
    found.map_or(Ok(()), |(_, name)| {
        Err(Problem::new(format!("the text is not UTF-8; it looks like {name}"), "convert the file to UTF-8"))
    })
}

/// The problem of a record that is invalid UTF-8 from byte index `at` on.
pub fn not_utf8(record: &[u8], at: usize) -> Problem {
    let found = Utf8::of(record);
    let fault = record.get(at..).and_then(|rest| rest.utf8_chunks().next()).map_or(&[][..], |chunk| chunk.invalid());
    let fault: Vec<String> = fault.iter().map(|byte| format!("0x{byte:02X}")).collect();
    let reading = Reading::clear(record, 1).filter(|_| !found.is_likely());
    let (what, hint) = match reading {
        Some(reading) => (
            format!("in {} it reads `{}`", reading.encoding.name(), reading.excerpt(record)),
            format!(
                "if the whole file is written so, say `encoding = \"{}\"`; if only this record is, convert it to UTF-8",
                reading.encoding.name().to_lowercase()
            ),
        ),
        None if found.faults <= 1 && found.longest_fault <= 3 => (
            format!("one damaged place, {}", fault.join(" ")),
            "mend the record; a file that is written in another encoding has many such bytes: convert it to UTF-8"
                .to_owned(),
        ),
        None => (
            format!("{} such places, the first is {}", found.faults, fault.join(" ")),
            "convert the file to UTF-8, or mend the record".to_owned(),
        ),
    };
    Problem::new(format!("not UTF-8 (byte {} of the record): {what}", at + 1), hint)
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
        assert_eq!(recognised(&encoded(GB18030, "头痛")), "gb18030", "sound UTF-8 by its bytes");
        for text in [
            "crème brûlée à 37 °C ± 2",
            "боль и жар",
            "ο πόνος",
            "כאב ראש",
            "37 °C, 5 µg × 2",
            "§ 5, § 6 · ¥ · ·",
            "re\u{301}sume\u{301}",
        ] {
            assert_eq!(recognised(text.as_bytes()), "UTF-8", "{text}");
        }
        assert_eq!(recognised(b"\xff\xfeq\0\xe5\x4e"), "UTF-16LE");
        assert_eq!(recognised(&[0xff, 0xc0, 0x81, 0xff, 0xc1]), "none");
    }

    /// A file of UTF-8 in which one record was damaged must not be read as something else.
    #[test]
    fn a_damaged_utf8_file_is_still_utf8() {
        let damaged = [TEXT.as_bytes(), b",", TEXT.as_bytes(), b",\xc4\xe3\xba\xc3"].concat();
        assert_eq!(recognised(&damaged), "UTF-8");
        // Half of the records were never converted.
        let mixed = [TEXT.as_bytes(), b"\n", &encoded(GB18030, TEXT), b"\n", &encoded(GB18030, TEXT)].concat();
        assert_eq!(recognised(&mixed), "UTF-8");
        for byte in 0x80..=0xff {
            assert_eq!(
                recognised(&[b"{\"question\":\"caf", &[byte][..], b" au lait\"}"].concat()),
                "UTF-8",
                "{byte:x}"
            );
        }
    }

    const KOREAN: &str = "두통이 사흘째 계속되고 열이 나며 땀이 나지 않습니다. 맥이 뜨고 긴장되어 있습니다.";
    const JAPANESE: &str = "患者は三日間頭痛があり、悪寒発熱、無汗、舌苔薄白、脈浮緊。";
    const KANJI: &str = "患者頭痛三日間、悪寒発熱、無汗、舌苔薄白、脈浮緊。治療発汗解表適当。東京都大学病院内科";
    const RUSSIAN: &str = "пациент жалуется на головную боль в течение трех дней, озноб и жар, без пота";
    const GREEK: &str = "ο ασθενης παραπονιεται για πονοκεφαλο εδω και τρεις ημερες";
    const FRENCH: &str = "le patient a été traité à l'hôpital, où il a reçu un médicament; où était-il après ?";

    /// No text of another language is read as Chinese.
    #[test]
    fn other_encodings_are_refused_by_name() {
        use encoding_rs as known;
        for (encoding, text) in [
            (known::EUC_KR, KOREAN),
            (known::EUC_KR, "머리가 아파요"),
            (known::EUC_KR, "감기"),
            (known::EUC_JP, JAPANESE),
            (known::EUC_JP, KANJI),
            (known::SHIFT_JIS, JAPANESE),
            (known::SHIFT_JIS, KANJI),
            (known::KOI8_R, RUSSIAN),
            (known::WINDOWS_1251, RUSSIAN),
            (known::ISO_8859_5, RUSSIAN),
            (known::IBM866, RUSSIAN),
            (known::ISO_8859_7, GREEK),
            (known::WINDOWS_1252, FRENCH),
        ] {
            for text in [text.to_owned(), format!("{{\"question\":\"{text}\"}}\n").repeat(50)] {
                let read = recognised(&encoded(encoding, &text));
                assert_eq!(read, "none", "{text} in {}", encoding.name());
            }
        }
        let problem = TextEncoding::recognise(&encoded(known::EUC_KR, KOREAN), None).expect_err("Korean");
        assert_eq!(problem.problem, "the text is not UTF-8; it looks like EUC-KR");
        assert!(problem.hint.contains("`encoding = \"euc-kr\"`"), "{}", problem.hint);
        assert!(recognised(b"q,a\n\x1b$B4mO\x1b(B,b\n") == "none", "ISO-2022-JP");
        assert_eq!(recognised(b"q,a\n\x1b[1mb\x1b[0m,b\n"), "UTF-8", "colours of a terminal");
    }

    #[test]
    fn chinese_with_rare_letters_is_recognised() {
        for rare in ["㐂𠀀龘靐齉", "爨癟饕餮魑魅魍魎", "āáǎà"] {
            assert_eq!(recognised(&encoded(GB18030, &format!("{TEXT}{rare}"))), "gb18030", "{rare}");
        }
        assert_eq!(recognised(&encoded(GB18030, "黄芪,白术,茯苓,防风,鸡血藤,络石藤,桑寄生")), "gb18030");
        assert_eq!(recognised(&encoded(BIG5, "問題,回答\n頭痛怎麼辦,多休息")), "Big5");
    }

    /// The problem of a record that is not UTF-8 tells damage from another encoding.
    #[test]
    fn a_damaged_byte_is_told_apart_from_another_encoding() {
        let said = |record: &[u8]| {
            let at = std::str::from_utf8(record).expect_err("not UTF-8").valid_up_to();
            let Problem { problem, hint } = not_utf8(record, at);
            format!("{problem} | {hint}")
        };
        let one = said(b"{\"question\":\"caf\xe9 au lait\"}");
        assert!(
            one.starts_with("not UTF-8 (byte 17 of the record): one damaged place, 0xE9 | mend the record"),
            "{one}"
        );
        assert!(!one.contains("encoding ="), "{one}");
        let cut = said(
            "{\"q\":\"头痛三日\"}"
                .as_bytes()
                .split_at(11)
                .0
                .iter()
                .chain(b"\"}")
                .copied()
                .collect::<Vec<_>>()
                .as_slice(),
        );
        assert!(cut.contains("one damaged place, 0xE7 0x97"), "{cut}");
        let chinese = said(&encoded(GB18030, "{\"q\":\"头痛三日\"}"));
        assert!(
            chinese.contains("in gb18030 it reads `头痛三日` | ") && chinese.contains("`encoding = \"gb18030\"`"),
            "{chinese}"
        );
        let korean = said(&encoded(encoding_rs::EUC_KR, "{\"q\":\"머리가 아파요\"}"));
        assert!(korean.contains("EUC-KR it reads `머리가아파요`") && !korean.contains("gb18030"), "{korean}");
        let french = said(&encoded(encoding_rs::WINDOWS_1252, FRENCH));
        assert!(french.contains("such places") && !french.contains("encoding ="), "{french}");
    }

    proptest::proptest! {
        /// Texts of common letters are read as what they are, or refused by name; never as another encoding.
        #[test]
        fn no_text_is_read_in_a_wrong_encoding(
            words in proptest::collection::vec(0usize..6, 3..40),
            encoding in proptest::sample::select(vec![
                GB18030, BIG5, encoding_rs::EUC_KR, encoding_rs::EUC_JP, encoding_rs::SHIFT_JIS, encoding_rs::KOI8_R,
                encoding_rs::WINDOWS_1251, encoding_rs::WINDOWS_1252, encoding_rs::ISO_8859_7,
            ]),
        ) {
            let vocabulary = match encoding.name() {
                "gb18030" => ["头痛", "发热", "患者", "治疗", "感冒怎么办", "舌苔薄白"],
                "Big5" => ["頭痛", "發熱", "患者", "治療", "感冒怎麼辦", "舌苔薄白"],
                "EUC-KR" => ["머리가", "아파요", "환자는", "약을", "드세요", "열이 나요"],
                "EUC-JP" | "Shift_JIS" => ["頭痛が", "発熱", "患者", "治療する", "風邪です", "薬"],
                "ISO-8859-7" => ["πονος", "ασθενης", "γιατρος", "φαρμακο", "πυρετος", "νερο"],
                "windows-1252" => ["été", "à l'hôpital", "médicament", "où", "reçu", "fièvre"],
                _ => ["боль", "пациент", "врач", "лекарство", "температура", "вода"],
            };
            let text = words.iter().map(|word| vocabulary[*word]).collect::<Vec<_>>().join(",");
            let read = recognised(&encoded(encoding, &text));
            let right = if is_chinese(encoding) { [encoding.name(); 2] } else { ["none", "UTF-8"] };
            proptest::prop_assert!(right.contains(&read), "{} in {}: {}", text, encoding.name(), read);
        }
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
