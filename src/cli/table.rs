//! Owns tables in plain text: columns as wide as they need to be, numbers to the right.

/// Lays out a table; the first row is the head. A column is set to the right if all below its head are numbers.
pub(super) fn lay_out(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
    let layout: Vec<(usize, bool)> = (0..columns)
        .map(|column| {
            let width = rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
            let is_number =
                |text: String| text.trim_end_matches(['%', 's']).parse::<f64>().is_ok() || text.is_empty();
            (width, rows.iter().skip(1).all(|row| is_number(cell(row, column))))
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = layout.iter().enumerate().map(|(column, &(width, right))| {
            let text = cell(row, column);
            if right { format!("{text:>width$}") } else { format!("{text:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["node", "tasks", "share"]), row(["a:1", "9", "75%"]), row(["long:22", "33", ""])];
        assert_eq!(lay_out(&rows), ["node     tasks  share", "a:1          9    75%", "long:22     33"]);
        assert!(lay_out(&[]).is_empty());
    }
}
