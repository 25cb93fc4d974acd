//! Text laid out for a terminal: columns, wrapped lines, colours for states. Widths are in terminal columns.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Width and colours of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextStyle {
    /// Columns of a line.
    pub width: usize,
    /// Whether colours (SGR sequences) may be written.
    pub colour: bool,
}

impl TextStyle {
    /// For standard output that is not a terminal.
    pub const PLAIN: Self = Self { width: 100, colour: false };

    /// `text` in `tone`.
    pub fn paint(&self, text: &str, tone: Tone) -> String {
        match tone.code().filter(|_| self.colour && !text.is_empty()) {
            Some(code) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            None => text.to_owned(),
        }
    }
}

/// Meaning of a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Default colour of the terminal.
    #[default]
    None,
    /// Done, right.
    Good,
    /// At work.
    Busy,
    /// Unfinished.
    Warning,
    /// Failed.
    Bad,
    /// Less important.
    Quiet,
    /// A heading.
    Bold,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Good => Some("32"),
            Self::Busy => Some("36"),
            Self::Warning => Some("33"),
            Self::Bad => Some("31"),
            Self::Quiet => Some("2"),
            Self::Bold => Some("1"),
        }
    }
}

/// Width of `text` in terminal columns; control characters are the caller's to replace.
pub fn text_width(text: &str) -> usize {
    text.width()
}

/// [`text_width`] of text with colour sequences (`ESC [ … m`).
fn coloured_width(text: &str) -> usize {
    let mut pieces = text.split("\u{1b}[");
    let before = pieces.next().map_or(0, text_width);
    before + pieces.map(|piece| text_width(piece.split_once('m').map_or(piece, |(_, shown)| shown))).sum::<usize>()
}

/// `text` in at most `width` columns, its beginning replaced by `…`: names differ at their ends.
pub fn cut_start(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = Vec::new();
    let mut taken = 1;
    for letter in text.chars().rev() {
        taken += letter.width().unwrap_or(0);
        if taken > width {
            break;
        }
        kept.push(letter);
    }
    std::iter::once('…').chain(kept.into_iter().rev()).collect()
}

/// `text` in at most `width` columns, its end replaced by `…`.
pub fn cut_end(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 1;
    for letter in text.chars() {
        taken += letter.width().unwrap_or(0);
        if taken > width {
            break;
        }
        kept.push(letter);
    }
    kept + "…"
}

/// `text` padded with blanks to `width` columns; `right` aligns it right.
pub fn padded(text: &str, width: usize, right: bool) -> String {
    let blanks = " ".repeat(width.saturating_sub(text.width()));
    if right { blanks + text } else { text.to_owned() + &blanks }
}

/// `text` as lines of at most `width` columns, broken at blanks; further lines begin with `indent` blanks. Longer words keep their
/// line, so that paths and commands can be copied; those of scripts without blanks are broken. Colour sequences have no width.
pub fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let width = width.max(indent + 10);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let own = (paragraph.len() - paragraph.trim_start_matches(' ').len()).min(width / 2);
        let (mut line, mut used, mut empty) = (" ".repeat(own), own, true);
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            let mut word = word;
            if !empty && used + 1 + coloured_width(word) > width {
                lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
                (used, empty) = (indent, true);
            }
            while empty && !word.is_ascii() && used + coloured_width(word) > width {
                let end = end_within(word, width - used);
                line += &word[..end];
                lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
                (used, word) = (indent, &word[end..]);
            }
            if !empty {
                line.push(' ');
                used += 1;
            }
            line += word;
            (used, empty) = (used + coloured_width(word), false);
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// End of the longest prefix of `text` of at most `width` columns; at least one character.
fn end_within(text: &str, width: usize) -> usize {
    let mut taken = 0;
    for (at, letter) in text.char_indices() {
        taken += letter.width().unwrap_or(0);
        if taken > width && at > 0 {
            return at;
        }
    }
    text.len()
}

/// A shell command after `head`, on one line where it fits; else broken before options with a backslash at the end of each
/// line, so that it can be copied.
pub fn wrapped_command(head: &str, command: &str, width: usize) -> String {
    if head.width() + command.width() <= width {
        return format!("{head}{command}");
    }
    let mut text = head.to_owned();
    let mut taken = head.width();
    for (at, part) in parts(command).into_iter().enumerate() {
        if at > 0 && taken + 1 + part.width() + 2 > width {
            text += " \\\n      ";
            taken = 6;
        } else if at > 0 {
            text.push(' ');
            taken += 1;
        }
        text += part;
        taken += part.width();
    }
    text
}

/// A command split before its options; each keeps its values.
fn parts(command: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, letter) in command.char_indices() {
        quoted ^= letter == '\'';
        if !quoted && command[at..].starts_with(" --") {
            parts.push(&command[start..at]);
            start = at + 1;
        }
    }
    parts.push(&command[start..]);
    parts
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct TextColumn {
    /// Its heading.
    pub title: String,
    /// Whether its cells are aligned right.
    pub right: bool,
    /// Columns of the highest rank are left out first where the table is too wide; rank 0 is always kept.
    pub rank: u8,
    /// Its cells, with their tones.
    pub cells: Vec<(String, Tone)>,
}

impl TextColumn {
    fn width(&self) -> usize {
        self.cells.iter().map(|(text, _)| text.width()).chain([self.title.width()]).max().unwrap_or(0)
    }
}

/// Blanks between two columns.
const GAP: usize = 2;

/// A table without a frame, at most `style.width` wide: columns of the highest rank are left out, then the first column is
/// cut. Control characters in cells are the caller's to replace.
pub fn text_table(mut columns: Vec<TextColumn>, style: TextStyle) -> String {
    let total = |columns: &[TextColumn]| {
        columns.iter().map(TextColumn::width).sum::<usize>() + GAP * columns.len().saturating_sub(1)
    };
    while total(&columns) > style.width {
        let highest =
            columns.iter().enumerate().filter(|(_, column)| column.rank > 0).max_by_key(|(_, column)| column.rank);
        let Some(at) = highest.map(|(at, _)| at) else { break };
        columns.remove(at);
    }
    let excess = total(&columns).saturating_sub(style.width);
    if let Some(first) = columns.first_mut().filter(|_| excess > 0) {
        let width = first.width().saturating_sub(excess).max(12);
        first.title = cut_end(&first.title, width);
        first.cells.iter_mut().for_each(|(text, _)| *text = cut_start(text, width));
    }
    let widths: Vec<usize> = columns.iter().map(TextColumn::width).collect();
    let line = |cell: &dyn Fn(&TextColumn) -> (String, Tone)| {
        let mut text = String::new();
        for (at, (column, width)) in columns.iter().zip(&widths).enumerate() {
            let (content, tone) = cell(column);
            let filled = padded(&content, *width, column.right);
            let last = at + 1 == columns.len();
            text += &style.paint(if last { filled.trim_end() } else { &filled }, tone);
            text += if last { "\n" } else { "  " };
        }
        text
    };
    let mut text = line(&|column| (column.title.clone(), Tone::None));
    text += &style.paint(&"─".repeat(widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)), Tone::Quiet);
    text.push('\n');
    for row in 0..columns.first().map_or(0, |column| column.cells.len()) {
        text += &line(&|column| column.cells.get(row).cloned().unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_width_and_their_words() {
        let text = "the loss is not a finite number; lower train.learning_rate, or train in f32";
        let lines = wrapped(text, 30, 4);
        assert!(lines.lines().all(|line| line.width() <= 30), "{lines}");
        assert_eq!(lines.split_whitespace().collect::<Vec<_>>().join(" "), text);
        assert!(lines.lines().skip(1).all(|line| line.starts_with("    ")), "{lines}");
        let path = "/very/long/path".repeat(10);
        assert_eq!(wrapped(&format!("see {path} or"), 40, 2), format!("see\n  {path}\n  or"));
        assert_eq!(wrapped("\u{1b}[32mone\u{1b}[0m 中医 three four", 10, 0), "\u{1b}[32mone\u{1b}[0m 中医\nthree four");
        assert_eq!(wrapped("医学医学医学医学医学医学", 10, 0).lines().next(), Some("医学医学医"));
        assert_eq!(wrapped("a\n\nb", 20, 0), "a\n\nb");
    }

    #[test]
    fn a_wrapped_command_is_the_same_command() {
        let command = "medley train --recipe 'a --b/recipe.toml' --out checkpoints/a-long-name-1a2b3c4d --resume";
        assert_eq!(wrapped_command("continue: ", command, 200), format!("continue: {command}"));
        let text = wrapped_command("continue: ", command, 60);
        assert!(text.lines().all(|line| line.width() <= 60), "{text}");
        let joined = text.replace(" \\\n      ", " ");
        assert_eq!(joined, format!("continue: {command}"));
        assert!(text.contains("'a --b/recipe.toml'"), "a quoted value is not broken");
    }

    #[test]
    fn a_table_fits_by_leaving_out_what_matters_least() {
        let column = |title: &str, rank, cell: &str| TextColumn {
            title: title.to_owned(),
            right: false,
            rank,
            cells: vec![(cell.to_owned(), Tone::Good)],
        };
        let columns =
            || vec![column("run", 0, &"checkpoints/x".repeat(3)), column("a", 2, "1234567"), column("b", 1, "7")];
        let all = text_table(columns(), TextStyle::PLAIN);
        assert!(all.contains("1234567"), "{all}");
        let narrow = text_table(columns(), TextStyle { width: 30, colour: false });
        assert!(!narrow.contains("1234567") && narrow.contains("…"), "{narrow}");
        assert!(narrow.lines().all(|line| line.width() <= 30), "{narrow}");
        let coloured = text_table(columns(), TextStyle { width: 100, colour: true });
        assert!(coloured.contains("\u{1b}[32m"), "{coloured:?}");
    }
}
