//! A run's curves in the terminal.

use console::{Color as TerminalColor, Style as TerminalStyle};
use medley_experiment::runs::curve::{Chart, Series, Stroke};
use medley_experiment::runs::{short, significant};
use ratatui_core::buffer::{Buffer, Cell};
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Style};
use ratatui_core::symbols::Marker;
use ratatui_core::text::{Line, Span};
use ratatui_core::widgets::Widget;
use ratatui_widgets::block::Block;
use ratatui_widgets::chart::{Axis, Chart as ChartWidget, Dataset, GraphType};

/// Lines of a chart, its title and axis included.
const HEIGHT: u16 = 12;

/// Two charts stand side by side from this width on.
const TWO_FROM: u16 = 110;

/// The widest drawing: wider lines are hard to follow.
const WIDEST: u16 = 160;

const COLOURS: [Color; 6] = [Color::Blue, Color::Yellow, Color::Green, Color::Magenta, Color::Cyan, Color::Red];

/// Draws `charts` over `x_name`, as text of `width` columns.
pub fn draw(charts: &[Chart], x_name: &str, width: u16) -> String {
    let width = width.clamp(40, WIDEST);
    let columns = if width >= TWO_FROM { 2 } else { 1 };
    let each = (width - 2 * (columns - 1)) / columns;
    let mut text = String::new();
    for row in charts.chunks(usize::from(columns)) {
        let area = Rect::new(0, 0, width, HEIGHT);
        let mut buffer = Buffer::empty(area);
        for (at, chart) in row.iter().enumerate() {
            let left = at as u16 * (each + 2);
            render(chart, x_name, Rect::new(left, 0, each, HEIGHT), &mut buffer);
        }
        text += &show(&buffer);
        text.push('\n');
    }
    text
}

/// The curves that a terminal has room for: the noise below a smoothed one is left to the page.
fn shown(chart: &Chart) -> impl Iterator<Item = &Series> {
    chart.series.iter().filter(|series| series.stroke != Stroke::Faint && !series.points.is_empty())
}

fn colour(series: &Series) -> Color {
    COLOURS[series.colour % COLOURS.len()]
}

fn render(chart: &Chart, x_name: &str, area: Rect, buffer: &mut Buffer) {
    let curves: Vec<Vec<(f64, f64)>> =
        shown(chart).map(|series| series.points.iter().map(|point| (point.x, point.mean)).collect()).collect();
    let points = || curves.iter().flatten();
    let range = |value: fn(&(f64, f64)) -> f64| {
        points().map(value).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| (low.min(at), high.max(at)))
    };
    let ((_, right), (low, high)) = (range(|point| point.0), range(|point| point.1));
    if low > high {
        return;
    }
    let (bottom, top) = bounds(if chart.from_zero { low.min(0.0) } else { low }, high);
    let title = Line::from_iter(std::iter::once(Span::raw(chart.title.clone())).chain(legend(chart)));
    let datasets = shown(chart).zip(&curves).map(|(series, points)| {
        let data = Dataset::default().style(Style::new().fg(colour(series))).data(points);
        match points.len() {
            1 => data.marker(Marker::Dot).graph_type(GraphType::Scatter),
            _ => data.marker(Marker::Braille).graph_type(GraphType::Line),
        }
    });
    let quiet = Style::new().fg(Color::DarkGray);
    let ends = [0.0, right].map(short);
    let x =
        Axis::default().style(quiet).bounds([0.0, right]).labels([ends[0].clone(), format!("{x_name} {}", ends[1])]);
    let marks = [bottom, f64::midpoint(bottom, top), top].map(|mark| format!("{:>8}", label(mark)));
    let y = Axis::default().style(quiet).bounds([bottom, top]).labels(marks);
    let widget = ChartWidget::new(datasets.collect()).block(Block::new().title(title)).x_axis(x).y_axis(y);
    widget.legend_position(None).render(area, buffer);
}

/// Each curve with its last value; for a single one the value alone.
fn legend(chart: &Chart) -> Vec<Span<'static>> {
    let single = shown(chart).count() == 1;
    let told = |value: f64| if value.abs() >= 10_000.0 { short(value) } else { significant(value, 4) };
    let last = |series: &Series| series.points.last().map(|point| told(point.mean)).unwrap_or_default();
    let key = |series: &Series| {
        let text =
            if single { format!("  {}", last(series)) } else { format!("  ─ {} {}", series.name, last(series)) };
        Span::styled(text, Style::new().fg(colour(series)))
    };
    shown(chart).map(key).collect()
}

/// A range around `low..=high` whose ends and middle are round.
fn bounds(low: f64, high: f64) -> (f64, f64) {
    let span = if high > low { high - low } else { high.abs().max(1e-9) };
    let power = 10f64.powf((span / 2.0).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|digit| digit * power);
    let fits = |step: &f64| ((low / step).floor() + 2.0) * step >= high;
    let step = steps.into_iter().find(fits).unwrap_or(10.0 * power * 2.0);
    let bottom = (low / step).floor() * step;
    (bottom, bottom + 2.0 * step)
}

fn label(mark: f64) -> String {
    if mark.abs() >= 10_000.0 { short(mark).replace(".0k", "k") } else { significant(mark, 3) }
}

/// The buffer as lines, coloured where the terminal has colours.
fn show(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let mut text = String::new();
    for row in buffer.content.chunks(width) {
        let mut line = String::new();
        for run in row.chunk_by(|a, b| a.fg == b.fg) {
            let symbols: String = run.iter().map(Cell::symbol).collect();
            match terminal_colour(run[0].fg) {
                Some(style) if !symbols.trim().is_empty() => line += &style.apply_to(symbols).to_string(),
                _ => line += &symbols,
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn terminal_colour(colour: Color) -> Option<TerminalStyle> {
    let colour = match colour {
        Color::Blue => TerminalColor::Blue,
        Color::Yellow => TerminalColor::Yellow,
        Color::Green => TerminalColor::Green,
        Color::Magenta => TerminalColor::Magenta,
        Color::Cyan => TerminalColor::Cyan,
        Color::Red => TerminalColor::Red,
        Color::DarkGray => return Some(TerminalStyle::new().dim()),
        _ => return None,
    };
    Some(TerminalStyle::new().fg(colour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_round_and_hold_the_range() {
        for (low, high) in [(0.22, 1.05), (0.0, 1e-3), (0.0, 14_419.0), (5.0, 5.0), (0.0, 0.0), (-3.0, 2.0), (0.9, 2.1)]
        {
            let (bottom, top) = bounds(low, high);
            assert!(bottom <= low && top >= high && top > bottom, "{low} to {high}: {bottom} to {top}");
        }
        assert_eq!(bounds(0.0, 0.9), (0.0, 1.0));
    }

    #[test]
    fn a_curve_a_point_and_nothing() {
        let values: Vec<(f64, f64)> = (1..=50).map(|step| (f64::from(step), 1.0 / f64::from(step))).collect();
        let chart = |values: &[(f64, f64)]| Chart {
            title: "Loss".to_owned(),
            from_zero: false,
            series: vec![Series::new("training", 0, Stroke::Line, values)],
            resumed: Vec::new(),
        };
        console::set_colors_enabled(false);
        let text = draw(&[chart(&values), chart(&values[..1]), chart(&[])], "step", 120);
        assert!(text.contains("Loss  0.02") && text.contains("step 50"), "{text}");
        assert_eq!(text.lines().count(), 2 * (usize::from(HEIGHT) + 1));
        assert!(text.lines().all(|line| console::measure_text_width(line) <= 120), "{text}");
    }
}
