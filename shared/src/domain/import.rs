//! Tickets as rows of a CSV file: how a file is taken apart, what its columns mean, and how cells are written so that
//! spreadsheets take none for a formula.

mod cells;
mod reader;
mod row;

pub use cells::{join_labels, neutral, plain};
pub use reader::{Reader, Record};
pub use row::{Columns, EXPORTED, Row};

use super::Problem;

/// At most as many rows to an import.
pub const MOST_ROWS: i64 = 1_000_000;

/// At most as many complaints: a file with more is not what it should be, and nothing more of it is read.
pub const MOST_ERRORS: i64 = 100_000;

/// A row that was read, or everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line of the file that it begins on, from 1.
    pub line: i64,
    /// What it says. A problem that is not about a field has an empty one.
    pub row: Result<Row, Vec<Problem>>,
}

/// Reads the rows of a file that comes in pieces.
#[derive(Debug)]
pub struct Rows {
    reader: Reader,
    columns: Columns,
}

impl Rows {
    /// Begins a file with its first piece, which must hold the whole first line.
    ///
    /// # Errors
    /// Everything that is wrong with the first line.
    pub fn begin(piece: &mut &[u8]) -> Result<Self, Vec<Problem>> {
        let delimiter = reader::sniff(piece);
        let mut reader = Reader::at(delimiter, 0, 1);
        reader.skip_mark(piece);
        let first = reader.next(piece).or_else(|| reader.finish());
        let Some(Record::Cells { cells, .. }) = first else {
            let why = "Is required: the first line of the file must name its columns.";
            return Err(vec![Problem::new("title", why)]);
        };
        Ok(Self { reader, columns: Columns::read(&cells)? })
    }

    /// Goes on in a file whose first lines were read before.
    #[must_use]
    pub fn resume(columns: Columns, delimiter: u8, offset: u64, line: i64) -> Self {
        Self { reader: Reader::at(delimiter, offset, line), columns }
    }

    /// Takes the next row out of a piece; `None` when it has no whole row any more: then it is used up.
    pub fn next(&mut self, piece: &mut &[u8]) -> Option<Line> {
        self.reader.next(piece).map(|record| self.columns.line(record))
    }

    /// Ends the file, and returns the last row where no line break followed it.
    pub fn finish(&mut self) -> Option<Line> {
        self.reader.finish().map(|record| self.columns.line(record))
    }

    /// The columns.
    #[must_use]
    pub const fn columns(&self) -> &Columns {
        &self.columns
    }

    /// What parts the cells.
    #[must_use]
    pub const fn delimiter(&self) -> u8 {
        self.reader.delimiter()
    }

    /// How many bytes lie before the row that comes next, and on which line they end. A piece may have been used up
    /// further.
    #[must_use]
    pub const fn position(&self) -> (u64, i64) {
        self.reader.position()
    }
}
