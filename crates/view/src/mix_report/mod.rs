//! A mix as one self-contained HTML page, from its folder alone.

mod browser;
mod gather;
mod languages;
mod lengths;
mod lengths_view;
mod origin;

use std::path::Path;

use maud::{Markup, html};
use medley_mixture::{
    Ledger, Manifest, MixError, MixFolder, MixtureRatio, Order, SourceLedger, Split, Unit, diff::settings,
};

use crate::mix_report::gather::Gathered;
use crate::page::{Page, code, composition, files, footer, left_out, tiles};
use crate::words::{bytes, grouped, short};

/// The page of a mix, written at `now`, in seconds since 1970. A run's folder keeps no records: its page has no
/// lengths, languages and samples.
///
/// # Errors
/// Records that cannot be read.
pub fn mix_page(folder: &MixFolder, now: u64) -> Result<String, MixError> {
    let gathered = if folder.has(Split::Train) { Some(Gathered::read(folder)?) } else { None };
    let MixFolder { manifest, ledger, path } = folder;
    let sources: Vec<String> = ledger.sources.keys().cloned().collect();
    let title = title(path);
    let body = html! {
        header { h1 { (title) } p.quiet { (line(manifest, ledger)) } }
        @for (name, text) in banners(folder, gathered.as_ref()) { div.banner { b { (name) } span { (text) } } }
        (tiles(&headline(manifest, ledger, gathered.as_ref())))
        section {
            h2 { "Composition" }
            (composition::bars(ledger, &sources))
            (composition::tree(&manifest.spec, ledger, &sources))
            h3 { "From the records read to the samples" }
            (composition::table(ledger))
        }
        @if let Some(gathered) = &gathered {
            (lengths_view::section(gathered, ledger, &sources))
            (languages::section(gathered, ledger))
        }
        (missing(ledger))
        (origin::section(manifest, ledger))
        @if let Some(gathered) = &gathered { (browser::section(gathered, ledger, &sources)) }
        (facts(manifest))
        (footer(now, Some(&path.display().to_string())))
    };
    let script = gathered.is_some().then_some(browser::SCRIPT);
    Ok(Page { title: &format!("{title}, mix"), refresh: None, body, script }.html())
}

/// The folder's name; of a run's `mix` folder, the run's.
fn title(path: &Path) -> String {
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    match name(&absolute) {
        Some(mix) if mix == "mix" => absolute.parent().and_then(name).unwrap_or(mix),
        Some(other) => other,
        None => "Mix".to_owned(),
    }
}

/// The request on one line: ratio, size, seed, order.
fn line(manifest: &Manifest, ledger: &Ledger) -> String {
    let spec = &manifest.spec;
    let epochs: Vec<String> = spec.epochs.iter().map(|(name, times)| format!("{name} {times}")).collect();
    let shares = match (&spec.ratio_end, epochs.is_empty()) {
        (_, false) => format!("epochs: {}", epochs.join(", ")),
        (Some(end), _) => format!("{} at the start, {} at the end", ratio(&spec.ratio), ratio(end)),
        (None, _) => ratio(&spec.ratio),
    };
    let counted = match spec.ratio_in {
        Unit::Samples => String::new(),
        unit => format!(" in {}", unit.as_str()),
    };
    let order = match &spec.order {
        Order::Shuffled => String::new(),
        order => format!(" · order {}", String::from(order.clone())),
    };
    format!("{shares}{counted} · {} requested · seed {}{order}", asked(ledger), spec.seed)
}

/// `20,000 samples`.
fn asked(ledger: &Ledger) -> String {
    format!("{} {}", grouped(ledger.requested), ledger.size_in.as_str())
}

/// `general 9 : medical 1 (tcm 1 : western 1)`.
fn ratio(node: &MixtureRatio) -> String {
    let MixtureRatio::Group(children) = node else {
        return if let MixtureRatio::Source(name) = node { name.clone() } else { String::new() };
    };
    let child = |(weight, child): &(u64, medley_mixture::MixtureNode)| match &child.ratio {
        group @ MixtureRatio::Group(_) => format!("{} {weight} ({})", child.name, ratio(group)),
        MixtureRatio::Source(_) => format!("{} {weight}", child.name),
    };
    children.iter().map(child).collect::<Vec<_>>().join(" : ")
}

/// Warnings above the figures.
fn banners(folder: &MixFolder, gathered: Option<&Gathered>) -> Vec<(&'static str, String)> {
    let MixFolder { manifest, ledger, .. } = folder;
    let mut banners = Vec::new();
    if gathered.is_some_and(|gathered| !gathered.unchanged) {
        banners.push(("Changed", "mix.jsonl is not the file that was mixed: its hash differs".to_owned()));
    }
    if gathered.is_none() {
        let text = "this folder has only manifest and ledger: lengths, languages and samples cannot be shown";
        banners.push(("No records", text.to_owned()));
    }
    let became = amount(ledger);
    // In tokens a mix ends up to one sample below its size.
    if (became as f64) < 0.99 * ledger.requested as f64
        || (ledger.size_in == Unit::Samples && became < ledger.requested)
    {
        let text = format!("{} instead of {}: a pool is too small", grouped(became), asked(ledger));
        banners.push(("Smaller than requested", text));
    }
    for (name, line) in ledger.sources.iter().filter(|(_, line)| line.repeated > 0) {
        let times = line.chosen as f64 / line.chosen.saturating_sub(line.repeated).max(1) as f64;
        let text = format!(
            "{name}: {} of {} samples are repeats, each record occurs {times:.1} times on average",
            grouped(line.repeated),
            grouped(line.chosen)
        );
        banners.push(("Repeats", text));
    }
    let parts = || manifest.sources.iter().flat_map(|(name, source)| source.parts.iter().map(move |part| (name, part)));
    let forbidden: Vec<String> = parts()
        .filter(|(_, part)| part.commercial_use == Some(false))
        .map(|(name, part)| format!("{} ({name})", part.path))
        .collect();
    if !forbidden.is_empty() {
        banners.push(("Not for commercial use", forbidden.join(", ")));
    }
    banners
}

/// Size of the mix in the unit that was requested.
fn amount(ledger: &Ledger) -> u64 {
    let tokens = || ledger.sources.values().filter_map(|line| line.tokens);
    match ledger.size_in {
        Unit::Samples => ledger.chosen,
        Unit::Tokens => tokens().map(|counts| counts.tokens).sum(),
        Unit::SupervisedTokens => tokens().map(|counts| counts.supervised_tokens).sum(),
    }
}

/// Key figures.
fn headline(manifest: &Manifest, ledger: &Ledger, gathered: Option<&Gathered>) -> Vec<(&'static str, String, String)> {
    let sum = |number: fn(&SourceLedger) -> u64| -> u64 { ledger.sources.values().map(number).sum() };
    let grouped = |number: u64| grouped(number);
    let files = || manifest.sources.values().flat_map(|source| &source.files);
    let size = files().map(|file| file.bytes).sum();
    let rejected = sum(SourceLedger::rejected_in_all);
    let copies = sum(|line| line.duplicates_within + line.duplicates_across_in_all() + line.near_duplicates.count);
    let exam = sum(|line| line.exam_items.count);
    let mut tiles = vec![
        ("Samples", grouped(ledger.chosen), format!("of {} requested", asked(ledger))),
        (
            "Validation",
            grouped(manifest.validation.records),
            format!("{} held out", grouped(sum(|line| line.held_out))),
        ),
        ("Records read", grouped(sum(|line| line.read)), format!("{} files, {}", files().count(), bytes(size))),
        (
            "Left out",
            grouped(rejected + copies + exam),
            format!(
                "{} rejected, {} copies, {} exam items",
                short(rejected as f64),
                short(copies as f64),
                short(exam as f64)
            ),
        ),
    ];
    if let Some(gathered) = gathered {
        let characters = gathered.characters();
        let each = short(characters as f64 / (ledger.chosen.max(1)) as f64);
        tiles.push(("Characters", short(characters as f64), format!("{each} a sample")));
    }
    let tokens: u64 = ledger.sources.values().filter_map(|line| line.tokens).map(|tokens| tokens.tokens).sum();
    if tokens > 0 {
        let supervised = ledger.sources.values().filter_map(|line| line.tokens).map(|tokens| tokens.supervised_tokens);
        tiles.push(("Tokens", short(tokens as f64), format!("{} supervised", short(supervised.sum::<u64>() as f64))));
    }
    tiles
}

/// Records that were left out, by reason.
fn missing(ledger: &Ledger) -> Markup {
    let (reasons, duplicates) = (left_out::reasons(ledger), left_out::duplicates(ledger));
    html! {
        section {
            h2 { "Left out" }
            @if reasons.is_none() && duplicates.is_none() {
                p.quiet { "Nothing: every record can be trained on, and none is a duplicate." }
            }
            @if let Some(reasons) = reasons { h3 { "Rejected" } (reasons) }
            @if let Some(duplicates) = duplicates {
                h3 { "Duplicates" }
                (duplicates)
                p.quiet { "A record in two sources belongs to the one that the recipe names first." }
            }
        }
    }
}

/// Hashes, versions, settings, files.
fn facts(manifest: &Manifest) -> Markup {
    let (canonical, importers) = (manifest.canonical_version, manifest.importer_version);
    let facts = [
        ("mix hash", code(&manifest.mix_hash)),
        ("mix.jsonl", code(&manifest.mix.blake3)),
        ("validation.jsonl", code(&manifest.validation.blake3)),
        ("exam questions kept out", html! { (grouped(manifest.exam_questions)) }),
        ("versions", html! { "keys and orders " (canonical) ", importers " (importers) }),
    ];
    let settings: Vec<String> =
        settings(&manifest.spec).iter().map(|(key, value)| format!("{key} = {value}")).collect();
    html! {
        section {
            h2 { "Lineage" }
            dl { @for (name, value) in facts { dt { (name) } dd { (value) } } }
            (files::table(manifest))
            details { summary { "Settings" } pre { (settings.join("\n")) } }
        }
    }
}

#[cfg(test)]
mod tests;
