//! Preview of a sample: context, supervised and cut text in different styles.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use console::Style;
use unicode_segmentation::UnicodeSegmentation;

use crate::error::Rejection;
use crate::message::Message;
use crate::sample::{EncodedSample, IGNORED, TracedSample};
use crate::screen::visible_line;
use crate::tokenizer::ChatTokenizer;
use crate::truncate::{Cut, CutPart};

/// How a preview looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviewStyle {
    /// Colours (read: dim, learned: green, cut: red and struck through), or marks (learned: `⟦…⟧`, cut: `⟪…⟫`).
    pub colour: bool,
    /// Columns of a line; a Chinese character takes two.
    pub width: usize,
    /// Columns that are shown of each cut; its middle is left out.
    pub cut_width: usize,
}

/// A sample and how it looks.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The sample that is trained on.
    pub sample: EncodedSample,
    /// Lines for a terminal or a file.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Read,
    Learned,
    Cut,
}

impl ChatTokenizer {
    /// Encodes a sample as [`encode_sample`](Self::encode_sample) does and shows it.
    ///
    /// # Errors
    /// Why the sample cannot be used.
    pub fn preview(&self, messages: &[Message], max_tokens: usize, style: PreviewStyle) -> Result<Preview, Rejection> {
        let traced = self.trace_sample(messages, max_tokens)?;
        let mut canvas = Canvas::new(style);
        for (part, text) in segments(&traced, style.cut_width) {
            canvas.write(part, &text);
        }
        Ok(Preview { text: canvas.finish(), sample: traced.sample })
    }
}

/// Previews a text without supervised parts.
pub fn preview_text(text: &str, style: PreviewStyle) -> String {
    let mut canvas = Canvas::new(style);
    canvas.write(Part::Read, text);
    canvas.finish()
}

/// The rendered text as runs of one kind, with cut text inserted at its original place.
fn segments(traced: &TracedSample, cut_width: usize) -> Vec<(Part, String)> {
    let text = &traced.text;
    let parts = parts(traced);
    let insertions = insertions(traced, cut_width);
    let turns = (1..text.len()).filter(|place| parts[*place] != parts[place - 1]);
    let mut borders: BTreeSet<usize> = turns.chain([0, text.len()]).collect();
    borders.extend(insertions.keys());
    let borders: Vec<usize> = borders.into_iter().collect();
    let mut segments = Vec::new();
    for (number, start) in borders.iter().enumerate() {
        let cuts = insertions.get(start).into_iter().flatten();
        segments.extend(cuts.map(|cut| (Part::Cut, cut.clone())));
        if let Some(end) = borders.get(number + 1) {
            segments.push((parts[*start], text[*start..*end].to_owned()));
        }
    }
    segments
}

/// The kind of every byte of the text.
fn parts(traced: &TracedSample) -> Vec<Part> {
    let mut parts = vec![Part::Read; traced.text.len()];
    for (number, (start, end)) in traced.offsets.iter().enumerate() {
        let part = match traced.sample.labels.get(number) {
            None => Part::Cut,
            Some(label) if *label == IGNORED => Part::Read,
            Some(_) => Part::Learned,
        };
        if let Some(bytes) = parts.get_mut(*start..*end) {
            bytes.fill(part);
        }
    }
    parts
}

/// Text cut out of messages, keyed by its byte position in the rendered text, which still has the answer's cut end.
fn insertions(traced: &TracedSample, cut_width: usize) -> BTreeMap<usize, Vec<String>> {
    let shown = |cut: &Cut| shorten(&traced.messages[cut.message].content[cut.range.clone()], cut_width);
    let places = places_in_text(traced);
    let mut insertions: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for cut in traced.sample.cuts.iter().filter(|cut| cut.part != CutPart::Answer) {
        let (place, shown) = match cut.part {
            CutPart::History => {
                let role = traced.messages[cut.message].role.as_str();
                (0, format!("{role}: {}\n", shown(cut)))
            }
            _ => {
                let place = places.get(&cut.message).map(|(start, leading)| {
                    // The template may have trimmed the message's leading white space.
                    start + cut.range.start.saturating_sub(*leading)
                });
                (place.filter(|place| traced.text.is_char_boundary(*place)).unwrap_or(0), shown(cut))
            }
        };
        insertions.entry(place).or_default().push(shown);
    }
    insertions
}

/// For every message its byte position in the rendered text and the length of its leading white space. Messages are
/// searched in order, trimmed and after cutting.
fn places_in_text(traced: &TracedSample) -> HashMap<usize, (usize, usize)> {
    let mut places = HashMap::new();
    if traced.sample.cuts.iter().all(|cut| matches!(cut.part, CutPart::History | CutPart::Answer)) {
        return places;
    }
    let mut from = 0;
    for (message, content) in &traced.kept {
        let trimmed = content.trim();
        let Some(offset) = traced.text[from..].find(trimmed) else { continue };
        places.insert(*message, (from + offset, content.len() - content.trim_start().len()));
        from += offset + trimmed.len();
    }
    places
}

/// At most about `width` columns of `text`: its two ends, and how much is between them.
fn shorten(text: &str, width: usize) -> String {
    if console::measure_text_width(text) <= width {
        return text.to_owned();
    }
    let graphemes: Vec<&str> = text.graphemes(true).collect();
    let fitting = |graphemes: &mut dyn Iterator<Item = &&str>| {
        let mut left = width / 2;
        graphemes
            .take_while(|grapheme| {
                let columns = console::measure_text_width(grapheme);
                let fits = columns <= left;
                left = left.saturating_sub(columns);
                fits
            })
            .count()
    };
    let head = fitting(&mut graphemes.iter());
    let tail = fitting(&mut graphemes.iter().rev()).min(graphemes.len() - head);
    let between = graphemes.len() - head - tail;
    let tail = graphemes[graphemes.len() - tail..].concat();
    format!("{}… {between} more …{tail}", graphemes[..head].concat())
}

/// Lines of at most `width` columns, in runs of one style.
struct Canvas {
    style: PreviewStyle,
    text: String,
    run: String,
    part: Part,
    column: usize,
}

impl Canvas {
    fn new(style: PreviewStyle) -> Self {
        Self { style, text: String::new(), run: String::new(), part: Part::Read, column: 0 }
    }

    fn write(&mut self, part: Part, text: &str) {
        if part != self.part {
            self.flush();
            self.mark(false);
            self.part = part;
            self.mark(true);
        }
        for grapheme in text.graphemes(true) {
            if matches!(grapheme, "\n" | "\r\n" | "\r") {
                // A line break that is learned or cut is a character like others.
                if part != Part::Read {
                    self.put("⏎");
                }
                self.break_line();
            } else {
                self.put(&visible_line(grapheme));
            }
        }
    }

    fn put(&mut self, grapheme: &str) {
        let columns = console::measure_text_width(grapheme);
        if self.column + columns > self.style.width && self.column > 0 {
            self.break_line();
        }
        self.run.push_str(grapheme);
        self.column += columns;
    }

    fn break_line(&mut self) {
        self.flush();
        self.text.push('\n');
        self.column = 0;
    }

    /// Styles end with their line, so that pagers show them rightly.
    fn flush(&mut self) {
        let run = std::mem::take(&mut self.run);
        if !self.style.colour || run.is_empty() {
            self.text.push_str(&run);
            return;
        }
        let style = Style::new().force_styling(true);
        let style = match self.part {
            Part::Read => style.dim(),
            Part::Learned => style.green(),
            Part::Cut => style.red().strikethrough(),
        };
        self.text.push_str(&style.apply_to(run).to_string());
    }

    fn mark(&mut self, opens: bool) {
        let mark = match (self.style.colour, self.part, opens) {
            (true, ..) | (_, Part::Read, _) => return,
            (_, Part::Learned, true) => "⟦",
            (_, Part::Learned, false) => "⟧",
            (_, Part::Cut, true) => "⟪",
            (_, Part::Cut, false) => "⟫",
        };
        self.text.push_str(mark);
        self.column += console::measure_text_width(mark);
    }

    fn finish(mut self) -> String {
        self.flush();
        self.mark(false);
        if !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(colour: bool, width: usize, segments: &[(Part, &str)]) -> String {
        let mut canvas = Canvas::new(PreviewStyle { colour, width, cut_width: 80 });
        for (part, text) in segments {
            canvas.write(*part, text);
        }
        canvas.finish()
    }

    #[test]
    fn marks_stand_in_for_colours() {
        let text =
            canvas(false, 80, &[(Part::Read, "问\n"), (Part::Cut, "旧"), (Part::Learned, "答\n"), (Part::Read, "。")]);
        assert_eq!(text, "问\n⟪旧⟫⟦答⏎\n⟧。\n");
    }

    #[test]
    fn colours_end_with_their_line() {
        let text = canvas(true, 80, &[(Part::Read, "q"), (Part::Learned, "a\nb")]);
        assert_eq!(text, "\u{1b}[2mq\u{1b}[0m\u{1b}[32ma⏎\u{1b}[0m\n\u{1b}[32mb\u{1b}[0m\n");
    }

    #[test]
    fn lines_are_as_wide_as_asked_in_columns_and_never_part_a_character() {
        let text = canvas(false, 7, &[(Part::Read, "中文abc👩‍⚕️文")]);
        assert_eq!(text, "中文abc\n👩‍⚕️文\n");
        for line in canvas(false, 11, &[(Part::Read, &"麻黄发汗解表a".repeat(9))]).lines() {
            assert!(console::measure_text_width(line) <= 11, "{line:?}");
        }
    }

    #[test]
    fn control_characters_are_shown_rather_than_sent() {
        assert_eq!(canvas(false, 80, &[(Part::Read, "a\u{1b}[31mb\tc\u{9b}")]), "a␛[31mb␉c\u{fffd}\n");
    }

    #[test]
    fn a_long_cut_shows_its_ends() {
        assert_eq!(shorten("短的", 10), "短的");
        assert_eq!(shorten(&"长".repeat(100), 8), "长长… 96 more …长长");
    }
}
