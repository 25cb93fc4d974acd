//! Detection of East Asian encodings by letter frequency: decoded correctly, most letters are common ones of the language; decoded
//! in another encoding, few are.
//!
//! Measured on 36 Chinese data sets: 46 % to 82 % of the letters are common in the right encoding, at most 19 % in any other.

use std::collections::HashSet;
use std::sync::OnceLock;

use encoding_rs::{BIG5, DecoderResult, EUC_JP, EUC_KR, Encoding, GB18030, SHIFT_JIS};

/// Common characters of Chinese, simplified and traditional; most are common in Japanese, too.
const HAN: &str = "\
一万三上下不与且世业东两严个中为主么义之也习书了争事二于五些交产人什今从他代\
以们件任会传但位低住体何作你使例供便促保信候做健像儿先光克免入全公共关其养内\
再冒写军决减几出分切列则利别到制剂前力功加务动助劳包化北区医十升南即却压原去\
参又及反发取受变口句只可司各合同名后吐向听吸告呕员呼命和咳品响哪善嗽器四回因\
国在地场基境增声处外多大天太失头女她好如妇子孕学它安完官定实家寒对导将小少尔\
就尿展山川工己已市师带帮常平年并应度康建开式引张强归当形影很得德心必怎思性总\
恶患情惯想意感成我或战所手才打技把抑折报拉择括拿持指据接推描提改放政故效教数\
文断斯新方无日时明是更最月有服望期本术机权条来析果枝染查样根格桂检次正此死毒\
比毫民气水求汤没治法注泻活海消清湿火灸炎点炼烧热焦然物特状王环现理甘生用由电\
界疗疫疲病症痛痰瘤癌白的皮目直相看真眠眼着睡知确社神种科秘程穴空立章童笔第等\
答算管类糖系素组细织经结给络统维网美翻老者而肝肤肥肺肾肿胃胞能脉脏脾腹自至致\
舌色节芎芪苓苔苗茯草药菌营虑虚蛋血行表被西要见观规觉解计认让议记许论设证识诊\
词译话该语说请调象质资走起路身软辨边达过运还这进述适选通道避那郁部都释里重量\
金针锻长门问间队防阳阴降院难需非面预领题风食饮首马骨高麻黄並來個們傳兒內兩別\
則劑動務勞區卻參員問嗎嘔嚴國報場壓妳婦學實寫將對導師帶幫幾張強後從惡慣慮應戰\
擇據數斷於時書會東條業樣機檢權歸氣決沒減湯溫溼濕瀉灣為無煉熱燒營爭爲爾狀現環\
產當瘀療發確祕種筆節細組結絡給統經維網總織義習聲聽脈腎腫膚臺與萬藥處虛術裏裡\
見規覺觀計記設許診詞話該認語說調請論證識譯議變讓資質軍軟這進運過達適選還邊醫\
釋針鍛長門開間關陰陽隊難電響預領頭題類風飲養馬髒體鬱麼黃點";

/// Common syllables of Korean.
const HANGUL: &str = "\
가간거것게경계고공과관구국그기까나는니다대도동되두드들때라러로료를리마만말머\
면모무문물미바방병보부분불비사상생서선성세소수쉬스습시식신실심아안않약어없에\
여열오와요용우원위유으은을음의이인일있자장적전정제조주중증지진질치통트파하학\
한해환";

/// A text decoded in one of the candidate encodings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub encoding: &'static Encoding,
    /// Letters beyond ASCII.
    pub letters: usize,
    /// The share of common letters among them, 0 to 1.
    pub common: f64,
}

/// Share of common letters from which the encoding is certain.
const CLEAR: f64 = 0.3;

impl Reading {
    /// Decodes `text`, which may end inside a letter; `None` where it is malformed in `encoding`.
    pub fn of(text: &[u8], encoding: &'static Encoding) -> Option<Self> {
        let decoded = decoded(text, encoding)?;
        let letters = decoded.chars().filter(|letter| !letter.is_ascii() && letter.is_alphabetic());
        let (mut count, mut common) = (0usize, 0usize);
        for letter in letters {
            count += 1;
            common += usize::from(is_common(encoding, letter));
        }
        let share = if count == 0 { 0.0 } else { common as f64 / count as f64 };
        Some(Self { encoding, letters: count, common: share })
    }

    /// The reading with the largest share of common letters, among those of at least `letters` letters; `None` unless certain.
    pub fn clear(text: &[u8], letters: usize) -> Option<Self> {
        let readings =
            [GB18030, BIG5, EUC_KR, EUC_JP, SHIFT_JIS].into_iter().filter_map(|encoding| Self::of(text, encoding));
        let mut best: Vec<Self> = readings.filter(|reading| reading.letters >= letters).collect();
        best.sort_by(|one, other| other.common.total_cmp(&one.common));
        let [first, rest @ ..] = best.as_slice() else { return None };
        let rival = rest.first().map_or(0.0, |second| second.common);
        // One letter may be common in several encodings: Chinese is preferred, and the message shows the decoded letter.
        let is_best = first.common > rival || (letters == 1 && first.encoding == GB18030);
        (first.common >= CLEAR && is_best).then_some(*first)
    }

    /// The first letters of `text` in the encoding.
    pub fn excerpt(self, text: &[u8]) -> String {
        let decoded = decoded(text, self.encoding).unwrap_or_default();
        decoded.chars().filter(|letter| !letter.is_ascii() && letter.is_alphabetic()).take(EXCERPT).collect()
    }
}

/// Letters of an excerpt.
const EXCERPT: usize = 8;

fn decoded(text: &[u8], encoding: &'static Encoding) -> Option<String> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut decoded = String::with_capacity(text.len() * 3 + 16);
    let (result, _) = decoder.decode_to_string_without_replacement(text, &mut decoded, false);
    (result == DecoderResult::InputEmpty).then_some(decoded)
}

fn is_common(encoding: &'static Encoding, letter: char) -> bool {
    static COMMON: OnceLock<[HashSet<char>; 2]> = OnceLock::new();
    let [han, hangul] = COMMON.get_or_init(|| [HAN, HANGUL].map(|letters| letters.chars().collect()));
    if encoding == EUC_KR {
        return hangul.contains(&letter);
    }
    // Half-width katakana do not count: in Shift_JIS, any single bytes decode to them.
    let is_kana = ('\u{3041}'..='\u{30ff}').contains(&letter) && (encoding == EUC_JP || encoding == SHIFT_JIS);
    is_kana || han.contains(&letter)
}
