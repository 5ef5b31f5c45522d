//! Tables for people.

use std::time::{Duration, SystemTime};

use crate::{failure::Failure, output};

/// How long ago it was so many milliseconds after the Unix epoch.
pub(crate) fn age(at_ms: u64) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    rough(now.saturating_sub(Duration::from_millis(at_ms)))
}

/// A number of bytes in mebibytes.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1}M", bytes as f64 / f64::from(1 << 20))
}

/// A name, or what stands for none.
pub(crate) fn or_dash(name: Option<impl ToString>) -> String {
    name.map_or_else(|| "-".to_owned(), |name| name.to_string())
}

/// A duration in its largest unit.
fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Prints rows under a head, the columns aligned.
pub(crate) fn print<const COLUMNS: usize>(
    head: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
) -> Result<(), Failure> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |cells: [&str; COLUMNS]| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        line.trim_end().to_owned()
    };
    output::data(line(head))?;
    for row in rows {
        output::data(line(std::array::from_fn(|column| row[column].as_str())))?;
    }
    Ok(())
}
