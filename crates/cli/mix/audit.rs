//! `medley mix --audit --recipe R`: records that share text with the recipe's exam, with the exam's items.

use std::collections::BTreeSet;
use std::ops::Range;
use std::process::ExitCode;

use clap::Args;
use console::style;
use indexmap::IndexMap;
use medley_mixer::{AuditPair, audit};
use medley_recipe::Resolved;
use miette::IntoDiagnostic;

use crate::errors::report;
use crate::mix::context::with_context;
use crate::progress;

/// Arguments of the audit.
#[derive(Args)]
pub struct AuditArgs {
    /// Show the records of --recipe that repeat a question of its exam or share a long run of text with it
    /// (mix.contamination), with the exam's items; write no mix
    #[arg(long, requires = "recipe", conflicts_with_all = ["out", "report", "verify", "explain"])]
    pub audit: bool,
}

/// Characters shown before and behind a shared run.
const AROUND: usize = 24;
/// Characters shown at each end of a long text.
const END: usize = 90;

/// Shows the records with their items.
pub fn run(resolved: &Resolved, threads: Option<usize>, json: bool) -> miette::Result<ExitCode> {
    let (pairs, items) = with_context(resolved, threads, |context| {
        let pairs = audit(&resolved.recipe.mix, context).map_err(report)?;
        Ok((pairs, context.exam_items.len()))
    })?;
    if json {
        println!("{}", serde_json::to_string_pretty(&pairs).into_diagnostic()?);
    } else {
        for pair in &pairs {
            print!("{}", shown(pair, console::colors_enabled()));
        }
    }
    progress::say(summary(&pairs, items));
    Ok(ExitCode::SUCCESS)
}

/// The record's text above the exam's, the shared run marked in both.
fn shown(pair: &AuditPair, colours: bool) -> String {
    let AuditPair { source, file, line, record, found, exam_item, words, characters, .. } = pair;
    let number = if record > line { format!("#{record}") } else { String::new() };
    let length = match (words, characters) {
        (0, 0) => String::new(),
        (0, characters) => format!(": {characters} characters"),
        (words, 0) => format!(": {words} words"),
        (words, characters) => format!(": {characters} characters and {words} words"),
    };
    let head = format!("{source}  {file}:{line}{number}  {found}{length}  (exam item {exam_item})");
    let head = if colours { style(head).bold().force_styling(true).to_string() } else { head };
    let record = marked(&pair.text, &pair.shared, colours);
    let exam = marked(&pair.exam_text, &pair.exam_shared, colours);
    format!("{head}\n  record  {record}\n  exam    {exam}\n\n")
}

/// A text around its run, on one line; the run in colour, or between «».
fn marked(text: &str, run: &Range<usize>, colours: bool) -> String {
    if run.is_empty() {
        return shortened(text);
    }
    let before: Vec<char> = text[..run.start].chars().rev().take(AROUND + 1).collect();
    let cut = if before.len() > AROUND { "…" } else { "" };
    let before: String = before.into_iter().take(AROUND).rev().collect();
    let behind: String = text[run.end..].chars().take(AROUND).collect();
    let more = if text[run.end..].chars().nth(AROUND).is_some() { "…" } else { "" };
    let run = shortened(&text[run.clone()]);
    let run = if colours { style(run).yellow().bold().force_styling(true).to_string() } else { format!("«{run}»") };
    format!("{cut}{}{run}{}{more}", on_one_line(&before), on_one_line(&behind))
}

/// A text on one line, without its middle where it is long.
fn shortened(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= 2 * END {
        return on_one_line(text);
    }
    let (head, tail) = (&characters[..END], &characters[characters.len() - END..]);
    on_one_line(&format!("{} […] {}", head.iter().collect::<String>(), tail.iter().collect::<String>()))
}

fn on_one_line(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_whitespace() || character.is_control() { ' ' } else { character })
        .collect()
}

fn summary(pairs: &[AuditPair], items: usize) -> String {
    let mut sources: IndexMap<&str, usize> = IndexMap::new();
    for pair in pairs {
        *sources.entry(&pair.source).or_default() += 1;
    }
    let found: BTreeSet<&str> = pairs.iter().map(|pair| pair.exam_item.as_str()).collect();
    let by_source: Vec<String> = sources.iter().map(|(source, count)| format!("{source} {count}")).collect();
    match pairs.len() {
        0 => format!("no record shares text with the {items} items of the exam"),
        count => format!(
            "{count} records ({}) share text with {} of the {items} items of the exam",
            by_source.join(", "),
            found.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(text: &str, shared: Range<usize>) -> AuditPair {
        AuditPair {
            source: "tcm".into(),
            file: "a.jsonl".into(),
            line: 3,
            record: 3,
            found: "shared run",
            text: text.into(),
            shared: shared.clone(),
            exam_item: "p-7".into(),
            exam_text: text.into(),
            exam_shared: shared,
            words: 0,
            characters: 4,
        }
    }

    #[test]
    fn the_shared_run_is_marked_in_both() {
        let text = format!("{}\n麻黄桂枝，后", "前".repeat(30));
        let start = text.find('麻').expect("there");
        let shown = shown(&pair(&text, start..start + 12), false);
        let marked = format!("…{} «麻黄桂枝»，后", "前".repeat(23));
        let expected = format!(
            "tcm  a.jsonl:3  shared run: 4 characters  (exam item p-7)\n  record  {marked}\n  exam    {marked}\n\n"
        );
        assert_eq!(shown, expected);
        assert!(super::shown(&pair(&text, 0..0), true).contains("\u{1b}["));
    }

    #[test]
    fn the_summary_counts_records_and_items() {
        let pairs = [pair("一", 0..3), pair("二", 0..3)];
        assert_eq!(summary(&pairs, 9), "2 records (tcm 2) share text with 1 of the 9 items of the exam");
        assert_eq!(summary(&[], 9), "no record shares text with the 9 items of the exam");
    }
}
