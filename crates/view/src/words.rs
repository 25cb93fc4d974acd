//! Formatting of numbers, durations and dates.

/// `34s`, `12m05s`, `3h20m`, `2d04h`.
pub fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{minutes}m{:02}s", whole % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// `10k` for 10,000.
pub(crate) fn size_name(size: u64) -> String {
    if size >= 1000 && size.is_multiple_of(1000) { format!("{}k", size / 1000) } else { size.to_string() }
}

/// `now`, `5m ago`: seconds before `now`.
pub(crate) fn ago(time: u64, now: u64) -> String {
    let seconds = now.saturating_sub(time);
    match seconds {
        0..5 => "now".to_owned(),
        5..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..172_800 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// `2026-11-21 16:39 UTC` for seconds since 1970.
pub(crate) fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, in eras of 400 years: http://howardhinnant.github.io/date_algorithms.html#civil_from_days
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest / 60 % 60)
}

/// `5,644`, `14.4k`, `1.23M`: three digits.
pub fn short(number: f64) -> String {
    let magnitude = number.abs();
    let scaled = |unit: f64, name: &str| {
        let value = number / unit;
        let digits = usize::from(value.abs() < 100.0) + usize::from(value.abs() < 10.0);
        format!("{value:.digits$}{name}")
    };
    match magnitude {
        _ if !number.is_finite() => "not a number".to_owned(),
        magnitude if magnitude >= 999_500_000_000.0 => significant(number, 3),
        magnitude if magnitude >= 999_500_000.0 => scaled(1e9, "G"),
        magnitude if magnitude >= 999_500.0 => scaled(1e6, "M"),
        magnitude if magnitude >= 9_999.5 => scaled(1e3, "k"),
        magnitude if magnitude >= 100.0 => grouped(number.round() as i64),
        _ => significant(number, 3),
    }
}

/// A measured value: `63.2k` from 10,000 on, else four significant digits.
pub fn compact(value: f64) -> String {
    if value.abs() >= 10_000.0 { short(value) } else { significant(value, 4) }
}

/// `digits` significant digits, without trailing zeros; an exponent for the very small and the very large.
pub fn significant(number: f64, digits: usize) -> String {
    if !number.is_finite() {
        return "not a number".to_owned();
    }
    if number == 0.0 {
        return "0".to_owned();
    }
    let exponent = number.abs().log10().floor() as i32;
    if !(-4..9).contains(&exponent) {
        let text = format!("{number:.*e}", digits.saturating_sub(1));
        let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", trimmed(mantissa));
    }
    let places = (digits as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{number:.places$}")).to_owned()
}

fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// Foreign text on one line of a terminal: control characters become visible symbols, line feeds and tabs a blank.
pub fn plain(text: &str) -> String {
    plain_lines(text).replace('\n', " ")
}

/// Foreign text of several lines: control characters but line feeds become visible symbols, tabs a blank.
pub fn plain_lines(text: &str) -> String {
    medley_chat::visible(text).replace(['\t', '\u{2028}', '\u{2029}'], " ")
}

/// `1,234,567`.
pub fn grouped(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.40 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 99.95 { 0 } else { 1 };
    format!("{value:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_dates() {
        let spans = [0.4, 59.6, 3599.0, 3600.0, 90_000.0, -3.0].map(span);
        assert_eq!(spans, ["0s", "1m00s", "59m59s", "1h00m", "1d01h", "0s"]);
        assert_eq!(
            [0, 60, 7200, 100_000, 200_000].map(|then| ago(1_000_000 - then, 1_000_000)),
            ["now", "1m ago", "2h ago", "27h ago", "2d ago"]
        );
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(1_795_279_168), "2026-11-21 16:39 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
    }

    #[test]
    fn numbers() {
        assert_eq!(
            [5644.2, 14_419.0, 1.061_5, 2.0, 0.000_123_4, 999_700.0, 3.2e9].map(short),
            ["5,644", "14.4k", "1.06", "2", "0.000123", "1.00M", "3.20G"]
        );
        assert_eq!(
            [1e-5, 0.0, f64::NAN, 1234.5, 2.5e12].map(|number| significant(number, 3)),
            ["1e-5", "0", "not a number", "1234", "2.5e12"]
        );
        assert_eq!([12, 150_233_088, 3 << 30].map(bytes), ["12 B", "143 MiB", "3.0 GiB"]);
        assert_eq!([0, 999, -1000, 1_234_567].map(|number: i64| grouped(number)), ["0", "999", "-1,000", "1,234,567"]);
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!([1e300, -f64::MAX, 1.5e15].map(short), ["1e300", "-1.8e308", "1.5e15"]);
    }

    #[test]
    fn foreign_text_cannot_drive_a_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\u{7f}\u{9b}c\td\ne"), "a␛[2Jb␡\u{fffd}c d e");
        assert_eq!(plain("left\u{202e}thgir \u{2066}x\u{2069}"), "left\u{fffd}thgir \u{fffd}x\u{fffd}");
        assert_eq!(plain("医学 ratio-9:1 é 👩‍⚕️"), "医学 ratio-9:1 é 👩‍⚕️");
        assert_eq!(plain_lines("a\r\nb\u{7}"), "a\nb␇");
    }
}
