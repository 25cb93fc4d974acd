//! Sample browser: some samples of every source, with search and filter in the page.

use std::fmt::Write as _;

use medley_chat::{Message, Role};
use medley_mixture::{Ledger, MixedRecord, language_name};

use crate::mix_report::gather::Gathered;
use crate::mix_report::languages::spoken;
use crate::page::composition::{colour, shown};
use crate::page::{code, escape};
use crate::words::grouped;

/// Largest size of a turn and of a sample in the page, in bytes, which bounds the size of the page.
const TURN: usize = 3000;
const SAMPLE: usize = 6000;

/// The section.
pub(super) fn section(gathered: &Gathered, ledger: &Ledger, sources: &[String]) -> String {
    let name =
        |source: &str| ledger.sources.get(source).map_or(source.to_owned(), |line| shown(source, line).to_owned());
    let mut choices = String::from("<option value=\"\">all sources</option>");
    let mut samples = String::new();
    let mut count = 0;
    for (at, (source, facts)) in gathered.sources.iter().enumerate() {
        let name = name(source);
        let _ = write!(choices, "<option value={at}>{} ({})</option>", escape(&name), facts.shown.len());
        for record in facts.shown.values() {
            count += 1;
            samples += &sample(record, at, &name, colour(sources, source));
        }
    }
    format!(
        "<section id=samples><h2>Samples</h2><div class=tools hidden><select aria-label=source>{choices}</select><input type=search \
         aria-label=search placeholder=\"search in {count} samples\"><span class=quiet></span></div>{samples}<button type=button hidden>\
         more</button><p class=quiet>The samples of each source that come first in its draw: a random choice, the same \
         every time, and part of any larger mix of the same seed. Long turns are cut.</p></section>"
    )
}

/// The script that searches and filters.
pub(super) fn script() -> String {
    format!("<script>{}</script>", include_str!("browser.js"))
}

fn sample(record: &MixedRecord, source: usize, name: &str, colour: usize) -> String {
    let characters = |assistant: bool| -> usize {
        let turns = record.messages.iter().filter(|message| (message.role == Role::Assistant) == assistant);
        turns.map(|message| message.content.chars().count()).sum()
    };
    let mut html = format!(
        "<article class=\"sample c{colour}\" data-source={source}><header><b>{}</b>{}<small>{} + {} characters, {}</small><small \
         class=key>key {}</small></header>",
        escape(name),
        code(&record.place()),
        grouped(characters(false) as u64),
        grouped(characters(true) as u64),
        escape(spoken(&language_name(&record.messages))),
        record.key
    );
    let mut room = SAMPLE;
    for (at, message) in record.messages.iter().enumerate() {
        if room < SAMPLE / 20 {
            let _ = write!(html, "<p class=quiet>and {} more turns</p>", record.messages.len() - at);
            break;
        }
        let shown = turn(message, room.min(TURN));
        room = room.saturating_sub(shown.len());
        html += &shown;
    }
    html + "</article>"
}

/// A turn, cut to `room` bytes of HTML.
fn turn(message: &Message, room: usize) -> String {
    let role = message.role.as_str();
    let unlearned = if message.unlearned { " <small>read, not learned</small>" } else { "" };
    let end = end_within(&message.content, room);
    let mut text = String::new();
    let passage = message.passage.clone().filter(|passage| message.content.get(passage.clone()).is_some());
    match passage.filter(|passage| passage.start < end) {
        Some(passage) => {
            let inside = passage.start..passage.end.min(end);
            let _ = write!(
                text,
                "{}<mark title=passage>{}</mark>{}",
                escape(&message.content[..inside.start]),
                escape(&message.content[inside.clone()]),
                escape(&message.content[inside.end..end])
            );
        }
        None => text = escape(&message.content[..end]),
    }
    let rest = message.content[end..].chars().count();
    if rest > 0 {
        let _ = write!(text, "<small> … and {} more characters</small>", grouped(rest as u64));
    }
    format!("<div class=\"turn {role}\"><b>{role}{unlearned}</b><div>{text}</div></div>")
}

/// End of the longest prefix of `text` that takes at most `room` bytes of HTML.
fn end_within(text: &str, room: usize) -> usize {
    let mut taken = 0;
    let mut buffer = [0; 4];
    for (at, letter) in text.char_indices() {
        taken += escape(letter.encode_utf8(&mut buffer)).len();
        if taken > room {
            return at;
        }
    }
    text.len()
}
