//! A picture of all times: a row for each series, a dot for each sample, a bar at the median, on
//! a logarithmic axis.

use std::{error::Error, path::Path};

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    report::{Report, Series},
    samples::MILLISECONDS,
};

const WIDTH: u32 = 1240;
const ROW: u32 = 24;
const NAMES: u32 = 400;
const MEDIANS: u32 = 90;
const HEAD: u32 = 40;
const FOOT: u32 = 50;
const DOT: RGBAColor = RGBAColor(44, 110, 176, 0.45);
const BAR: RGBColor = RGBColor(190, 40, 30);
const FAINT: RGBColor = RGBColor(222, 222, 222);

pub(crate) fn draw(report: &Report, path: &Path) -> Result<(), Box<dyn Error>> {
    let timed =
        |series: &&Series| series.samples.unit == MILLISECONDS && !series.samples.values.is_empty();
    let rows: Vec<&Series> = report.series.iter().filter(timed).collect();
    let values = || rows.iter().flat_map(|row| &row.samples.values).copied();
    let (least, most) = values().fold((f64::MAX, 0.0_f64), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    if rows.is_empty() || least <= 0.0 {
        return Ok(());
    }
    let height = HEAD + ROW * rows.len() as u32 + FOOT;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let text = |size: u32, horizontal, color: &'static RGBColor| {
        let style = ("sans-serif", size).into_text_style(&root);
        style.color(color).pos(Pos::new(horizontal, VPos::Center))
    };
    let title = format!(
        "milliseconds ({})",
        report
            .host
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    root.draw(&Text::new(title, (12, 20), text(14, HPos::Left, &BLACK)))?;

    let mut chart = ChartBuilder::on(&root)
        .margin_top(HEAD)
        .margin_left(NAMES)
        .margin_right(MEDIANS)
        .x_label_area_size(FOOT)
        .build_cartesian_2d(
            (least * 0.8..most * 1.25).log_scale(),
            0.0..rows.len() as f64,
        )?;
    chart
        .configure_mesh()
        .disable_y_axis()
        .disable_y_mesh()
        .x_labels(12)
        .x_label_formatter(&|value| format!("{value}"))
        .label_style(text(12, HPos::Center, &BLACK))
        .bold_line_style(FAINT)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (number, row) in rows.iter().enumerate() {
        // The first series is at the top.
        let middle = (rows.len() - number) as f64 - 0.5;
        let median = row.samples.median();
        let y = chart.backend_coord(&(median, middle)).1;
        let name = Text::new(
            row.name.clone(),
            (NAMES as i32 - 12, y),
            text(13, HPos::Right, &BLACK),
        );
        root.draw(&name)?;
        let number = Text::new(
            format!("{median:.1}"),
            (WIDTH as i32 - 12, y),
            text(13, HPos::Right, &BAR),
        );
        root.draw(&number)?;
        let dots = row.samples.values.iter();
        chart.draw_series(dots.map(|value| Circle::new((*value, middle), 3, DOT.filled())))?;
        let bar = [(median, middle - 0.38), (median, middle + 0.38)];
        chart.draw_series([PathElement::new(bar.to_vec(), BAR.stroke_width(2))])?;
    }
    root.present()?;
    Ok(())
}
