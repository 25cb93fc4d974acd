//! A run's curves in the terminal.

use console::{Color as TerminalColor, Style as TerminalStyle};
use medley_view::runs::curve::{Chart, Series, Stroke};
use medley_view::runs::{compact, plain, short, significant};
use medley_view::{Axis, cut_end};
use ratatui_core::buffer::{Buffer, Cell};
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Style};
use ratatui_core::symbols::Marker;
use ratatui_core::text::{Line, Span};
use ratatui_core::widgets::Widget;
use ratatui_widgets::block::Block;
use ratatui_widgets::chart::{Axis as AxisWidget, Chart as ChartWidget, Dataset, GraphType};

/// Lines of a chart, its title and axis included.
const HEIGHT: u16 = 12;

/// From this width on, two charts are drawn side by side.
const TWO_FROM: u16 = 110;

/// The widest drawing: wider lines are hard to follow.
const WIDEST: u16 = 160;

const COLOURS: [Color; 6] = [Color::Blue, Color::Yellow, Color::Green, Color::Magenta, Color::Cyan, Color::Red];

/// Draws `charts` over `x_name`, as text of at most `width` columns. A legend wider than its chart is set below it, one curve
/// a line.
pub fn draw(charts: &[Chart], x_name: &str, width: usize) -> String {
    let width = u16::try_from(width).unwrap_or(WIDEST).clamp(40, WIDEST);
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
        row.iter().filter(|chart| title(chart).width() > usize::from(each)).for_each(|chart| {
            text += &legend_lines(chart, usize::from(width));
        });
        text.push('\n');
    }
    text
}

/// The chart's title with its legend.
fn title(chart: &Chart) -> Line<'static> {
    Line::from_iter(std::iter::once(Span::raw(plain(&chart.title))).chain(legend(chart)))
}

fn legend_lines(chart: &Chart, width: usize) -> String {
    let line = |key: Span<'static>| {
        let text = cut_end(key.content.trim_start(), width - 2);
        let colour = key.style.fg.and_then(terminal_colour);
        format!("  {}\n", colour.map_or(text.clone(), |colour| colour.apply_to(&text).to_string()))
    };
    let above = if chart.series.len() > 1 { format!("{}:\n", plain(&chart.title)) } else { String::new() };
    above + &legend(chart).into_iter().map(line).collect::<String>()
}

/// Curves of the terminal: all but the raw values of smoothed curves, which only the page shows.
fn shown(chart: &Chart) -> impl Iterator<Item = &Series> {
    chart.series.iter().filter(|series| series.stroke != Stroke::Faint && !series.points.is_empty())
}

fn colour(series: &Series) -> Color {
    COLOURS[series.colour % COLOURS.len()]
}

fn render(chart: &Chart, x_name: &str, area: Rect, buffer: &mut Buffer) {
    let points = || shown(chart).flat_map(|series| &series.points);
    let right = points().map(|point| point.x).fold(1.0, f64::max);
    let (low, high) = points()
        .map(|point| point.mean)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| (low.min(at), high.max(at)));
    if low > high {
        return;
    }
    let axis = Axis::with_round_ends(if chart.from_zero { low.min(0.0) } else { low }, high);
    // Scaled to 0..1: the widget's arithmetic overflows for extreme numbers.
    let curves: Vec<Vec<(f64, f64)>> = shown(chart)
        .map(|series| series.points.iter().map(|point| (point.x / right, axis.share(point.mean))).collect())
        .collect();
    let fits = title(chart).width() <= usize::from(area.width);
    let title = if fits { title(chart) } else { Line::raw(plain(&chart.title)) };
    let datasets = shown(chart).zip(&curves).map(|(series, points)| {
        let data = Dataset::default().style(Style::new().fg(colour(series))).data(points);
        match points.len() {
            1 => data.marker(Marker::Dot).graph_type(GraphType::Scatter),
            _ => data.marker(Marker::Braille).graph_type(GraphType::Line),
        }
    });
    let quiet = Style::new().fg(Color::DarkGray);
    let ends = [0.0, right].map(short);
    let x = AxisWidget::default()
        .style(quiet)
        .bounds([0.0, 1.0])
        .labels([ends[0].clone(), format!("{x_name} {}", ends[1])]);
    let marks: Vec<String> = axis.marks.iter().map(|mark| format!("{:>8}", label(*mark))).collect();
    let y = AxisWidget::default().style(quiet).bounds([0.0, 1.0]).labels(marks);
    let widget = ChartWidget::new(datasets.collect()).block(Block::new().title(title)).x_axis(x).y_axis(y);
    widget.legend_position(None).render(area, buffer);
}

/// Each curve with its last value; for a single one the value alone.
fn legend(chart: &Chart) -> Vec<Span<'static>> {
    let single = shown(chart).count() == 1;
    let last = |series: &Series| series.points.last().map(|point| compact(point.mean)).unwrap_or_default();
    let key = |series: &Series| {
        let text = if single {
            format!("  {}", last(series))
        } else {
            format!("  ─ {} {}", plain(&series.name), last(series))
        };
        Span::styled(text, Style::new().fg(colour(series)))
    };
    shown(chart).map(key).collect()
}

fn label(mark: f64) -> String {
    if mark.abs() >= 10_000.0 { short(mark).replace(".0k", "k") } else { significant(mark, 3) }
}

/// The buffer as lines, with colours if the terminal has colours.
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

    #[test]
    fn any_finite_data_is_drawn_quickly() {
        console::set_colors_enabled(false);
        let extreme =
            [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 0.0, -0.0, 1e15 + 0.125, 1e308, f64::NAN, f64::INFINITY];
        let steps = [0.0, 1.0, 7.0, usize::MAX as f64];
        let started = std::time::Instant::now();
        for (from_zero, first) in extreme.into_iter().flat_map(|value| [(false, value), (true, value)]) {
            for second in extreme {
                for last in steps {
                    let values = [(0.0, first), (last / 2.0, second), (last, first)];
                    let series = vec![Series::new("loss", 0, Stroke::Line, &values)];
                    let chart = Chart { title: "Loss".to_owned(), from_zero, series, resumed: Vec::new() };
                    let text = draw(&[chart], "step", 100);
                    assert!(text.lines().all(|line| console::measure_text_width(line) <= 100), "{values:?}:\n{text}");
                }
            }
        }
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
