//! Tables as Docker draws them: columns padded with spaces, three between them at least.

use anyhow::Result;

/// Spaces between two columns.
const GAP: usize = 3;

/// Prints a table; `head` and each of `rows` have the same number of cells.
pub(crate) fn print<const COLUMNS: usize>(head: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> Result<()> {
    super::data(draw(head, rows).as_bytes())
}

fn draw<const COLUMNS: usize>(head: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: [&str; COLUMNS]| {
        let mut padding = 0;
        for (width, cell) in widths.iter().zip(cells) {
            text.extend(std::iter::repeat_n(' ', padding));
            text.push_str(cell);
            padding = width + GAP - cell.chars().count();
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    };
    line(head);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "first".to_owned()], ["längst".to_owned(), String::new()]];
        assert_eq!(draw(["ID", "NAME"], &rows), "ID       NAME\na        first\nlängst\n");
    }
}
