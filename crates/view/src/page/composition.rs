//! Composition of a mix on a page: shares as bars and as a tree, the ledger as a table.

use maud::{Markup, html};
use medley_mixture::{Ledger, MixSpec, MixtureRatio, SourceLedger, Unit};

use crate::page::percent;
use crate::words::grouped;

/// Smallest share that is written into its bar, and the smallest at a phone's width.
const WRITTEN: f64 = 0.06;
const WRITTEN_ON_A_PHONE: f64 = 0.16;

/// Label of a share's bar; empty for small shares.
pub(crate) fn share_text(share: f64) -> String {
    if share >= WRITTEN { percent(share) } else { String::new() }
}

/// Whether a bar is too narrow for its label on a phone.
pub(crate) fn is_slim(share: f64) -> bool {
    share < WRITTEN_ON_A_PHONE
}

/// Requested and realised shares as bars with their key. The index in `sources` is a source's colour.
pub(crate) fn bars(ledger: &Ledger, sources: &[String]) -> Markup {
    let all = ledger.chosen.max(1) as f64;
    html! {
        div.bars {
            (bar("requested", ledger, sources, |line| Some(line.requested_share)))
            (bar(ledger.share_in.as_str(), ledger, sources, |line| Some(line.realised_share)))
            @if ledger.share_in != Unit::Samples {
                (bar("samples", ledger, sources, |line| Some(line.chosen as f64 / all)))
            }
            @if ledger.share_in != Unit::SupervisedTokens {
                (bar("supervised tokens", ledger, sources, |line| line.supervised_share))
            }
        }
        p.legend.key {
            @for (name, line) in &ledger.sources {
                span { i class=(colour_class(sources, name)) {} (shown(name, line)) }
            }
        }
    }
}

/// The number of a source's colour in the style sheet.
pub(crate) fn colour(sources: &[String], name: &str) -> usize {
    sources.iter().position(|source| source == name).unwrap_or(0) % 8
}

/// A source's path in the mixture tree.
pub(crate) fn shown<'a>(name: &'a str, line: &'a SourceLedger) -> &'a str {
    if line.path.is_empty() { name } else { &line.path }
}

/// The class of a source's colour.
pub(crate) fn colour_class(sources: &[String], name: &str) -> String {
    format!("c{}", colour(sources, name))
}

/// Shares of the sources as one bar; nothing where a source has none.
fn bar(title: &str, ledger: &Ledger, sources: &[String], share: impl Fn(&SourceLedger) -> Option<f64>) -> Markup {
    let part = |(name, line)| Some((name, line, share(line)?));
    let Some(parts) = ledger.sources.iter().map(part).collect::<Option<Vec<_>>>() else { return html! {} };
    html! {
        span { (title) }
        div.stack {
            @for (name, line, share) in parts {
                i class={ (colour_class(sources, name)) @if is_slim(share) { " slim" } }
                    style=(format!("width:{:.3}%", 100.0 * share))
                    title={ (shown(name, line)) ": " (percent(share)) } { (share_text(share)) }
            }
        }
    }
}

type Cell = fn(&SourceLedger) -> Option<u64>;

const COUNTS: [(&str, &str, Cell); 15] = [
    ("read", "records read", |line| Some(line.read)),
    ("rejected", "records that cannot be trained on", |line| Some(line.rejected_in_all())),
    ("exam", "left out because the exam asks the same", |line| Some(line.exam_items.count)),
    ("copies", "further copies within the source", |line| Some(line.duplicates_within)),
    ("elsewhere", "records that belong to a source named first", |line| Some(line.duplicates_across_in_all())),
    ("near", "left out because another record says nearly the same", |line| Some(line.near_duplicates.count)),
    ("held out", "kept from training for validation", |line| Some(line.held_out)),
    ("beyond cap", "beyond the source's max_records", |line| Some(line.beyond_cap)),
    ("available", "records that can be chosen", |line| Some(line.available)),
    ("requested", "samples requested", |line| Some(line.requested)),
    ("chosen", "samples in the mix", |line| Some(line.chosen)),
    ("repeats", "of these, repeats", |line| Some(line.repeated)),
    ("tokens", "tokens that are trained on, prompts included", |line| Some(line.tokens?.tokens)),
    ("supervised", "tokens in the loss", |line| Some(line.tokens?.supervised_tokens)),
    ("cut", "samples that were too long", |line| Some(line.tokens?.truncated_samples)),
];

/// The ledger, one row for each source. Columns of zeros are left out, except the most important ones.
pub(crate) fn table(ledger: &Ledger) -> Markup {
    let always = ["read", "available", "requested", "chosen"];
    let counts = |cell: Cell| ledger.sources.values().any(|line| cell(line).is_some_and(|count| count > 0));
    let columns: Vec<_> = COUNTS.iter().filter(|(name, _, cell)| always.contains(name) || counts(*cell)).collect();
    let supervised = ledger.sources.values().any(|line| line.supervised_share.is_some());
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th { "source" }
                        @for (name, title, _) in &columns { th title=(title) { (name) } }
                        th { "share" }
                        @if supervised { th { "of supervised" } }
                    }
                }
                tbody {
                    @for (name, line) in &ledger.sources {
                        tr {
                            th { (shown(name, line)) }
                            @for (_, _, cell) in &columns { td { (cell(line).map(grouped).unwrap_or_default()) } }
                            td { (percent(line.realised_share)) }
                            @if let Some(share) = line.supervised_share { td { (percent(share)) } }
                        }
                    }
                }
                tfoot {
                    tr {
                        th { "in all" }
                        @for (_, _, cell) in &columns {
                            td { (grouped(ledger.sources.values().filter_map(cell).sum::<u64>())) }
                        }
                        td {}
                        @if supervised { td {} }
                    }
                }
            }
        }
    }
}

/// A line of the mixture tree: a source or a group, with the sums of what lies below it.
#[derive(Default)]
struct Node {
    depth: usize,
    name: String,
    weight: Option<u64>,
    /// Colour of a source.
    colour: Option<usize>,
    requested_share: f64,
    realised_share: f64,
    requested: u64,
    chosen: u64,
    repeated: u64,
    supervised_share: Option<f64>,
}

/// The mixture tree of the recipe: requested and realised share of each source and group.
pub(crate) fn tree(spec: &MixSpec, ledger: &Ledger, sources: &[String]) -> Markup {
    let mut nodes = Vec::new();
    walk(&spec.ratio, Node::default(), ledger, sources, &mut nodes);
    let supervised = nodes.iter().any(|node| node.supervised_share.is_some());
    html! {
        div.scroll {
            table.tree {
                thead {
                    tr {
                        th { "source or group" }
                        th { @if spec.epochs.is_empty() { "weight" } @else { "epochs" } }
                        th.wide { "share, with the requested one" }
                        @for title in ["requested", "realised", "difference", "samples requested", "samples", "repeats"] {
                            th { (title) }
                        }
                        @if supervised { th { "of supervised tokens" } }
                    }
                }
                tbody { @for node in &nodes { (tree_row(node, spec, supervised)) } }
            }
        }
    }
}

fn tree_row(node: &Node, spec: &MixSpec, supervised: bool) -> Markup {
    let weight = match spec.epochs.is_empty() {
        false => spec.epochs.get(&node.name).map(f64::to_string),
        true => node.weight.map(|weight| weight.to_string()),
    };
    html! {
        tr class=(node.colour.map_or("group".to_owned(), |colour| format!("c{colour}"))) {
            th style=(format!("padding-left:{}px", 10 + 22 * node.depth)) { (node.name) }
            td { (weight.unwrap_or_default()) }
            td {
                div.lane {
                    b style=(format!("width:{:.3}%", 100.0 * node.realised_share)) {}
                    u style=(format!("left:{:.3}%", 100.0 * node.requested_share)) {}
                }
            }
            td { (fine(node.requested_share)) }
            td { (fine(node.realised_share)) }
            td { (difference(node.realised_share - node.requested_share)) }
            td { (grouped(node.requested)) }
            td { (grouped(node.chosen)) }
            td { @if node.repeated > 0 { (grouped(node.repeated)) } @else { "–" } }
            @if supervised { td { (node.supervised_share.map(percent).unwrap_or_default()) } }
        }
    }
}

/// Enters the lines of `ratio` below `head` and returns their sums.
fn walk(ratio: &MixtureRatio, head: Node, ledger: &Ledger, sources: &[String], nodes: &mut Vec<Node>) -> Option<usize> {
    match ratio {
        MixtureRatio::Source(source) => {
            let line = ledger.sources.get(source)?;
            let name = if head.name.is_empty() { source.clone() } else { head.name };
            nodes.push(Node {
                name,
                colour: Some(colour(sources, source)),
                requested_share: line.requested_share,
                realised_share: line.realised_share,
                requested: line.requested,
                chosen: line.chosen,
                repeated: line.repeated,
                supervised_share: line.supervised_share,
                ..head
            });
            Some(nodes.len() - 1)
        }
        MixtureRatio::Group(children) => {
            let depth = head.depth;
            let at = nodes.len();
            // The root itself has no row.
            let below = if head.name.is_empty() { depth } else { depth + 1 };
            let is_root = head.name.is_empty();
            if !is_root {
                nodes.push(head);
            }
            for (weight, child) in children {
                let head = Node { depth: below, name: child.name.clone(), weight: Some(*weight), ..Node::default() };
                let Some(line) = walk(&child.ratio, head, ledger, sources, nodes) else { continue };
                if !is_root {
                    add(nodes, at, line);
                }
            }
            (!is_root).then_some(at)
        }
    }
}

fn add(nodes: &mut [Node], group: usize, child: usize) {
    let Node { requested_share, realised_share, requested, chosen, repeated, supervised_share, .. } = nodes[child];
    let sum = &mut nodes[group];
    sum.requested_share += requested_share;
    sum.realised_share += realised_share;
    sum.requested += requested;
    sum.chosen += chosen;
    sum.repeated += repeated;
    sum.supervised_share = supervised_share.map(|share| share + sum.supervised_share.unwrap_or_default());
}

fn fine(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// In percentage points; a dash where two digits show none.
fn difference(points: f64) -> String {
    let text = format!("{:+.2}", 100.0 * points);
    if text.ends_with("0.00") { "–".to_owned() } else { text }
}
