//! Draws the ratios to the floor, or to nginx, as bars, in SVG.

use std::fmt::Write;

use super::measure::Cost;
use super::report::base_of;
use super::rows::{Row, Server};
use crate::Res;

const WIDTH: f64 = 860.0;
/// Where the bars begin: left of it stand the names.
const LEFT: f64 = 130.0;
/// Where the longest bar ends: right of it stands its figure.
const RIGHT: f64 = 790.0;
const BAR: f64 = 14.0;
const STEP: f64 = 19.0;
/// Room for a row's name, and below a row.
const HEAD: f64 = 22.0;
const GAP: f64 = 14.0;
/// The ratio of the longest bar. What is longer is cut, and its figure says how long it is.
const LONGEST: f64 = 4.0;

/// Follows the reader's choice of light or dark.
const STYLE: &str = "\
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.row { font-weight: 600; }
.grid { stroke: #d1d9e0; }
.bar { fill: #9aa4b0; }
.floor { fill: #cdd3da; }
.lodger { fill: #1f6feb; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .grid { stroke: #3d444d; }
  .bar { fill: #6e7681; }
  .floor { fill: #484f58; }
  .lodger { fill: #58a6ff; }
}
</style>
";

/// Draws all rows below each other.
pub(super) fn draw(rows: &[(Row, Vec<Cost>)]) -> Res<String> {
    let height: f64 = 30.0 + rows.iter().map(|(_, costs)| tall(costs)).sum::<f64>();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Processor time of the server an operation, as a multiple of the light bar's</title>\n"
    );
    svg.push_str(STYLE);
    grid(&mut svg, height)?;
    let mut top = 30.0;
    for (row, costs) in rows {
        writeln!(svg, "<text class=\"row\" x=\"8\" y=\"{}\">{}</text>", top + 14.0, row.name)?;
        for (number, cost) in costs.iter().enumerate() {
            bar(
                &mut svg,
                top + HEAD + number as f64 * STEP,
                cost,
                cost.least() / base_of(row, costs),
            )?;
        }
        top += tall(costs);
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn tall(costs: &[Cost]) -> f64 {
    HEAD + costs.len() as f64 * STEP + GAP
}

/// Draws a line for each whole multiple.
fn grid(svg: &mut String, height: f64) -> Res {
    for multiple in [1.0, 2.0, 3.0, LONGEST] {
        let x = LEFT + length(multiple);
        writeln!(svg, "<line class=\"grid\" x1=\"{x}\" x2=\"{x}\" y1=\"24\" y2=\"{height}\"/>")?;
        writeln!(svg, "<text x=\"{x}\" y=\"16\" text-anchor=\"middle\">{multiple}x</text>")?;
    }
    Ok(())
}

fn bar(svg: &mut String, top: f64, cost: &Cost, ratio: f64) -> Res {
    let class = match cost.who {
        Server::Floor | Server::Nginx => "bar floor",
        Server::Lodger => "bar lodger",
        Server::Hyper | Server::FastWebsockets | Server::Tungstenite => "bar",
    };
    let (long, name, text) = (length(ratio), cost.who.name(), top + 11.5);
    writeln!(svg, "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{name}</text>", LEFT - 8.0)?;
    writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{top}\" width=\"{long:.1}\" height=\"{BAR}\" rx=\"2\"/>"
    )?;
    let (at, cut) = (LEFT + long + 6.0, if ratio > LONGEST { "▸ " } else { "" });
    writeln!(svg, "<text x=\"{at:.1}\" y=\"{text}\">{cut}{ratio:.2}x</text>")?;
    Ok(())
}

fn length(ratio: f64) -> f64 {
    (RIGHT - LEFT) * ratio.clamp(0.0, LONGEST) / LONGEST
}
