//! Sample browser: some samples of every source, with search and filter in the page.

use maud::{Markup, html};
use medley_chat::{Message, Role};
use medley_mixture::{Ledger, MixedRecord, language_name};

use crate::mix_report::gather::Gathered;
use crate::mix_report::languages::spoken;
use crate::page::composition::{colour_class, shown};
use crate::page::{Asset, code, html_len};
use crate::words::grouped;

/// Largest size of a turn and of a sample in the page, in bytes, which bounds the size of the page.
const TURN: usize = 3000;
const SAMPLE: usize = 6000;

/// The script that searches and filters.
pub(super) const SCRIPT: Asset = Asset(include_str!("browser.js"));

/// The section.
pub(super) fn section(gathered: &Gathered, ledger: &Ledger, sources: &[String]) -> Markup {
    let count: usize = gathered.sources.values().map(|facts| facts.shown.len()).sum();
    let name =
        |source: &str| ledger.sources.get(source).map_or(source.to_owned(), |line| shown(source, line).to_owned());
    html! {
        section #samples {
            h2 { "Samples" }
            div.tools hidden {
                select aria-label="source" {
                    option value="" { "all sources" }
                    @for (at, (source, facts)) in gathered.sources.iter().enumerate() {
                        option value=(at) { (name(source)) " (" (facts.shown.len()) ")" }
                    }
                }
                input type="search" aria-label="search" placeholder={ "search in " (count) " samples" };
                span.quiet {}
            }
            @for (at, (source, facts)) in gathered.sources.iter().enumerate() {
                @for record in facts.shown.values() {
                    (sample(record, at, &name(source), &colour_class(sources, source)))
                }
            }
            button type="button" hidden { "more" }
            p.quiet {
                "The samples of each source that come first in its draw: a random choice, the same every time, and part of \
                 any larger mix of the same seed. Long turns are cut."
            }
        }
    }
}

fn sample(record: &MixedRecord, source: usize, name: &str, colour: &str) -> Markup {
    let characters = |assistant: bool| -> u64 {
        let turns = record.messages.iter().filter(|message| (message.role == Role::Assistant) == assistant);
        turns.map(|message| message.content.chars().count() as u64).sum()
    };
    html! {
        article class={ "sample " (colour) } data-source=(source) {
            header {
                b { (name) }
                (code(&record.place()))
                small {
                    (grouped(characters(false))) " + " (grouped(characters(true))) " characters, "
                    (spoken(&language_name(&record.messages)))
                }
                small.key { "key " (record.key) }
            }
            (turns(&record.messages))
        }
    }
}

/// The turns, as far as there is room.
fn turns(messages: &[Message]) -> Markup {
    let mut shown = Vec::new();
    let mut room = SAMPLE;
    for message in messages {
        if room < SAMPLE / 20 {
            break;
        }
        let turn = turn(message, room.min(TURN));
        room = room.saturating_sub(turn.0.len());
        shown.push(turn);
    }
    let rest = messages.len() - shown.len();
    html! {
        @for turn in shown { (turn) }
        @if rest > 0 { p.quiet { "and " (rest) " more turns" } }
    }
}

/// A turn, cut to `room` bytes of HTML.
fn turn(message: &Message, room: usize) -> Markup {
    let role = message.role.as_str();
    let end = end_within(&message.content, room);
    let (text, rest) = message.content.split_at(end);
    let passage = message.passage.clone().filter(|passage| message.content.get(passage.clone()).is_some());
    let passage = passage.filter(|passage| passage.start < end).map(|passage| passage.start..passage.end.min(end));
    html! {
        div class={ "turn " (role) } {
            b { (role) @if message.unlearned { " " small { "read, not learned" } } }
            div {
                @if let Some(passage) = passage {
                    (text[..passage.start]) mark title="passage" { (text[passage.clone()]) } (text[passage.end..])
                } @else {
                    (text)
                }
                @if !rest.is_empty() {
                    small { " … and " (grouped(rest.chars().count() as u64)) " more characters" }
                }
            }
        }
    }
}

/// End of the longest prefix of `text` that takes at most `room` bytes of HTML.
fn end_within(text: &str, room: usize) -> usize {
    let mut taken = 0;
    for (at, letter) in text.char_indices() {
        taken += html_len(letter);
        if taken > room {
            return at;
        }
    }
    text.len()
}
