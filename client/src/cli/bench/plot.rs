//! Figures as drawings: one line for each durability, SVG that a browser shows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::super::context::Context;
use super::super::exit::Exit;

/// Draw figures from files that `ganger bench --json` has written.
#[derive(Args, Clone, Debug)]
pub(super) struct PlotArgs {
    /// The files; of runs with the same value on the horizontal axis, the median is drawn.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What stands on the horizontal axis: batch, workers, payload, tasks, window, or any other number that
    /// the files name.
    #[arg(long, value_name = "FIELD", default_value = "workers")]
    by: String,
    /// What stands on the vertical axis.
    #[arg(long, value_name = "FIELD", default_value = "tasks_per_second")]
    of: String,
    /// Where the drawing goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Points of one line: what was measured at each place of the horizontal axis.
type Line = BTreeMap<u64, Vec<f64>>;

pub(super) fn run(context: &mut Context, args: &PlotArgs) -> Result<(), Exit> {
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for file in &args.files {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Exit::Failed(format!("{}: {error}", file.display())))?;
        text.lines().filter_map(|line| point(line, args)).for_each(|(name, x, y)| {
            lines.entry(name).or_default().entry(x).or_default().push(y);
        });
    }
    if lines.is_empty() {
        return Err(Exit::Failed(format!("no line of the files has both {} and {}", args.by, args.of)));
    }
    std::fs::write(&args.out, draw(&lines, &args.by, &args.of))?;
    context.output.line(&format!("{}", args.out.display()))
}

fn point(line: &str, args: &PlotArgs) -> Option<(String, u64, f64)> {
    let object: Value = serde_json::from_str(line).ok()?;
    let name = object.get("durability").and_then(Value::as_str).unwrap_or("a running broker");
    Some((name.to_owned(), object.get(&args.by)?.as_u64()?, object.get(&args.of)?.as_f64()?))
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 50.0;
const COLOURS: [&str; 4] = ["#1f6feb", "#d1570a", "#2da44e", "#8250df"];

/// The places of values on the paper. The horizontal axis is logarithmic: what is varied is doubled.
struct Paper {
    least: f64,
    span: f64,
    top: f64,
}

impl Paper {
    fn x(&self, value: u64) -> f64 {
        LEFT + (log(value) - self.least) / self.span * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)
    }
}

fn log(value: u64) -> f64 {
    (value.max(1) as f64).log2()
}

fn draw(lines: &BTreeMap<String, Line>, by: &str, of: &str) -> String {
    let places: Vec<u64> = lines.values().flat_map(Line::keys).copied().collect();
    let (least, most) = places
        .iter()
        .fold((f64::MAX, f64::MIN), |(least, most), place| (least.min(log(*place)), most.max(log(*place))));
    let highest = lines.values().flat_map(Line::values).map(|values| median(values)).fold(0.0, f64::max);
    let paper = Paper { least, span: (most - least).max(1.0), top: round_up(highest) };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    axes(&mut svg, &paper, &places, by, of);
    for (index, (name, line)) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points: Vec<(f64, f64)> =
            line.iter().map(|(x, values)| (paper.x(*x), paper.y(median(values)))).collect();
        let path: String = points.iter().map(|(x, y)| format!("{x:.1},{y:.1} ")).collect();
        put(
            &mut svg,
            &format!("<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"),
        );
        for (x, y) in points {
            put(&mut svg, &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"));
        }
        let y = TOP - 12.0;
        let x = LEFT + 120.0 * index as f64;
        put(&mut svg, &format!("<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{}</text>", escaped(name)));
    }
    svg.push_str("</svg>\n");
    svg
}

fn axes(svg: &mut String, paper: &Paper, places: &[u64], by: &str, of: &str) {
    for step in 0..=4 {
        let value = paper.top * f64::from(step) / 4.0;
        let y = paper.y(value);
        let right = WIDTH - RIGHT;
        put(
            svg,
            &format!("<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>"),
        );
        let (x, y) = (LEFT - 6.0, y + 4.0);
        put(svg, &format!("<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>", short(value)));
    }
    let mut places = places.to_vec();
    places.sort_unstable();
    places.dedup();
    for place in places {
        let (x, y) = (paper.x(place), HEIGHT - BOTTOM + 18.0);
        let label = short(place as f64);
        put(svg, &format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>"));
    }
    let (x, y) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10.0);
    put(svg, &format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}</text>", escaped(by)));
    let y = HEIGHT / 2.0;
    let of = escaped(of);
    put(
        svg,
        &format!(
            "<text x=\"16\" y=\"{y}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {y})\">{of}</text>"
        ),
    );
}

fn put(svg: &mut String, element: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(svg, "{element}");
}

/// The next number of the form 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(f64::MIN_POSITIVE).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

fn short(value: f64) -> String {
    match value {
        0.0..1_000.0 => format!("{}", (value * 100.0).round() / 100.0),
        1_000.0..1_000_000.0 => format!("{}k", (value / 100.0).round() / 10.0),
        _ => format!("{}M", (value / 100_000.0).round() / 10.0),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_a_point_for_each_place_and_the_median_of_its_runs() {
        let mut line = Line::new();
        line.insert(1, vec![100.0, 300.0, 200.0]);
        line.insert(8, vec![1_000.0]);
        let svg = draw(&[("memory".to_owned(), line)].into(), "workers", "tasks_per_second");
        assert_eq!(svg.matches("<circle").count(), 2);
        let paper = Paper { least: 0.0, span: 3.0, top: 1_000.0 };
        assert!(svg.contains(&format!("cy=\"{:.1}\"", paper.y(200.0))), "{svg}");
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!((round_up(1_234.0), round_up(0.7), round_up(600.0)), (2_000.0, 1.0, 1_000.0));
        assert_eq!(
            (short(1_500_000.0), short(2_000.0), short(0.25)),
            ("1.5M".into(), "2k".into(), "0.25".into())
        );
    }
}
