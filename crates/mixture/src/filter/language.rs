//! Language of a record.
//!
//! The script decides first: kana is Japanese, Hangul Korean, and so on; a text of which at least `HAN_SHARE` of the words
//! are Han characters (each counts as a word) is Chinese, whatever Latin names it contains. Languages that share a script
//! are distinguished by `whichlang` from `ENOUGH` letters on; below that any language of the script may be meant.

use medley_chat::{Message, Role};
use whichlang::Lang;

use super::spec::Language;

/// Share of Han characters among characters and words from which a text is Chinese.
const HAN_SHARE: f64 = 0.3;
/// Letters needed to detect a language of a shared script.
const ENOUGH: usize = 24;

/// Result of language detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectedLanguage {
    /// This one.
    Is(Language),
    /// One of the Latin script's.
    SomeLatin,
    /// There are no letters.
    Nothing,
}

impl DetectedLanguage {
    /// Whether it may be one of `allowed`.
    pub fn is_among(self, allowed: &[Language]) -> bool {
        match self {
            Self::Is(language) => allowed.contains(&language),
            Self::SomeLatin => allowed.iter().any(|language| is_latin(*language)),
            Self::Nothing => true,
        }
    }

    /// For the ledger.
    pub fn name(self) -> String {
        match self {
            Self::Is(language) => format!("{language:?}").to_lowercase(),
            Self::SomeLatin => "too short to tell".to_owned(),
            Self::Nothing => "no letters".to_owned(),
        }
    }
}

fn is_latin(language: Language) -> bool {
    use Language::{Ar, Hi, Ja, Ko, Ru, Zh};
    !matches!(language, Zh | Ja | Ko | Ar | Hi | Ru)
}

/// The language of a record for its reader: an ISO 639-1 code, `too short to tell`, or `no letters`.
pub fn language_name(messages: &[Message]) -> String {
    of(messages).name()
}

/// The language of a record's questions and answers.
pub fn of(messages: &[Message]) -> DetectedLanguage {
    let mut scripts = Scripts::default();
    let turns = || messages.iter().filter(|message| message.role != Role::System);
    for message in turns() {
        scripts.count(&message.content);
    }
    let Scripts { han, kana, hangul, words, letters, arabic, devanagari, cyrillic, .. } = scripts;
    let all = han + kana + hangul + words;
    if all == 0 {
        return DetectedLanguage::Nothing;
    }
    if kana * 10 >= han + kana && kana * 3 >= words && kana > 0 {
        return DetectedLanguage::Is(Language::Ja);
    }
    if hangul > han && hangul > words {
        return DetectedLanguage::Is(Language::Ko);
    }
    if han as f64 >= HAN_SHARE * all as f64 {
        return DetectedLanguage::Is(Language::Zh);
    }
    if let Some((_, language)) = [(arabic, Language::Ar), (devanagari, Language::Hi), (cyrillic, Language::Ru)]
        .into_iter()
        .find(|(count, _)| count * 2 > letters)
    {
        return DetectedLanguage::Is(language);
    }
    if letters < ENOUGH {
        return DetectedLanguage::SomeLatin;
    }
    let text: String = turns().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n");
    DetectedLanguage::Is(language_of(whichlang::detect_language(&text)))
}

fn language_of(lang: Lang) -> Language {
    match lang {
        Lang::Ara => Language::Ar,
        Lang::Cmn => Language::Zh,
        Lang::Deu => Language::De,
        Lang::Eng => Language::En,
        Lang::Fra => Language::Fr,
        Lang::Hin => Language::Hi,
        Lang::Ita => Language::It,
        Lang::Jpn => Language::Ja,
        Lang::Kor => Language::Ko,
        Lang::Nld => Language::Nl,
        Lang::Por => Language::Pt,
        Lang::Rus => Language::Ru,
        Lang::Spa => Language::Es,
        Lang::Swe => Language::Sv,
        Lang::Tur => Language::Tr,
        Lang::Vie => Language::Vi,
    }
}

/// How much of a text each script makes.
#[derive(Default)]
struct Scripts {
    han: usize,
    kana: usize,
    hangul: usize,
    /// Runs of other letters.
    words: usize,
    /// Letters in them.
    letters: usize,
    arabic: usize,
    devanagari: usize,
    cyrillic: usize,
}

impl Scripts {
    fn count(&mut self, text: &str) {
        let mut in_word = false;
        for character in text.chars() {
            let letter = match character {
                '\u{3400}'..='\u{4dbf}'
                | '\u{4e00}'..='\u{9fff}'
                | '\u{f900}'..='\u{faff}'
                | '\u{20000}'..='\u{3ffff}' => {
                    self.han += 1;
                    false
                }
                '\u{3041}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}' | '\u{ff66}'..='\u{ff9d}' => {
                    self.kana += 1;
                    false
                }
                '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7a3}' => {
                    self.hangul += 1;
                    false
                }
                _ => character.is_alphabetic(),
            };
            if letter {
                self.letters += 1;
                self.words += usize::from(!in_word);
                match character {
                    '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' => self.arabic += 1,
                    '\u{900}'..='\u{97f}' => self.devanagari += 1,
                    '\u{400}'..='\u{4ff}' => self.cyrillic += 1,
                    _ => {}
                }
            }
            in_word = letter;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_decides_and_then_the_letters() {
        use Language::{De, En, Ja, Ko, Ru, Zh};
        for (text, told) in [
            ("麻黄", DetectedLanguage::Is(Zh)),
            ("WBC 升高见于哪些疾病", DetectedLanguage::Is(Zh)),
            ("COPD患者的FEV1/FVC", DetectedLanguage::Is(Zh)),
            ("What are the symptoms of influenza in children?", DetectedLanguage::Is(En)),
            ("Welche Symptome hat eine Grippe bei kleinen Kindern?", DetectedLanguage::Is(De)),
            ("風邪の症状は何ですか", DetectedLanguage::Is(Ja)),
            ("감기의 증상은 무엇입니까", DetectedLanguage::Is(Ko)),
            ("Каковы симптомы гриппа у детей?", DetectedLanguage::Is(Ru)),
            (
                "Translate 感冒 into English and explain what it means in modern medicine for the patient",
                DetectedLanguage::Is(En),
            ),
            ("ATP", DetectedLanguage::SomeLatin),
            ("1+1=2", DetectedLanguage::Nothing),
        ] {
            assert_eq!(of(&[Message::new(Role::User, text)]), told, "{text}");
        }
        assert!(
            DetectedLanguage::SomeLatin.is_among(&[Zh, En])
                && !DetectedLanguage::SomeLatin.is_among(&[Zh])
                && DetectedLanguage::Nothing.is_among(&[Zh])
        );
    }
}
