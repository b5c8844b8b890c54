//! A CSV file taken apart as it comes: records with the lines that they begin on, in bounded memory.

use csv_core::ReadRecordResult;

/// At most as many bytes to a record without its quotes: more than the longest of all fields take.
const MOST_BYTES: usize = 512 * 1024;

/// At most as many cells to a record.
const MOST_CELLS: usize = 200;

/// One record of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Its cells, unquoted.
    Cells {
        /// The line that it begins on, from 1.
        line: i64,
        /// The cells as they stand there; nothing says that they are text.
        cells: Vec<Vec<u8>>,
    },
    /// It is longer, or has more cells, than any ticket.
    TooLong {
        /// The line that it begins on.
        line: i64,
    },
    /// The file ends within a quoted cell.
    Unclosed {
        /// The line that it begins on.
        line: i64,
    },
}

/// Reads records out of pieces of a file, as RFC 4180 has them; blank lines are skipped.
#[derive(Debug)]
pub struct Reader {
    core: csv_core::Reader,
    delimiter: u8,
    cells: Vec<u8>,
    ends: Vec<usize>,
    /// How much of `cells` and `ends` the record has filled so far.
    filled: (usize, usize),
    too_long: bool,
    /// Bytes and lines before the record that comes next.
    offset: u64,
    line: i64,
    /// Bytes and line breaks of the record so far.
    within: (u64, i64),
    /// The last record ended with a carriage return; a line feed may belong to it.
    returned: bool,
}

impl Reader {
    /// A reader of what follows `offset` bytes of a file, on this line.
    #[must_use]
    pub fn at(delimiter: u8, offset: u64, line: i64) -> Self {
        Self {
            core: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            delimiter,
            cells: vec![0; 4_096],
            ends: vec![0; MOST_CELLS],
            filled: (0, 0),
            too_long: false,
            offset,
            line,
            within: (0, 0),
            returned: false,
        }
    }

    pub(super) const fn delimiter(&self) -> u8 {
        self.delimiter
    }

    pub(super) const fn position(&self) -> (u64, i64) {
        (self.offset, self.line - if self.returned { 1 } else { 0 })
    }

    /// Skips the byte order mark that some programs put in front.
    pub(super) fn skip_mark(&mut self, piece: &mut &[u8]) {
        if let Some(rest) = piece.strip_prefix(b"\xef\xbb\xbf") {
            (*piece, self.offset) = (rest, self.offset + 3);
        }
    }

    /// Takes the next record out of a piece; `None` when the piece is used up.
    pub fn next(&mut self, piece: &mut &[u8]) -> Option<Record> {
        self.skip_blank(piece);
        while !piece.is_empty() {
            if let Some(record) = self.step(piece) {
                return Some(record);
            }
        }
        None
    }

    /// Ends the file, and returns the last record where no line break followed it.
    pub fn finish(&mut self) -> Option<Record> {
        if self.within.0 == 0 {
            return None;
        }
        let line = self.line;
        // Within quotes, a line break does not end the record.
        let ended = self.next_of(b"\n");
        Some(ended.unwrap_or(Record::Unclosed { line }))
    }

    fn next_of(&mut self, mut piece: &[u8]) -> Option<Record> {
        while !piece.is_empty() {
            if let Some(record) = self.step(&mut piece) {
                return Some(record);
            }
        }
        None
    }

    /// Passes line breaks before a record, which the core would count as part of it.
    fn skip_blank(&mut self, piece: &mut &[u8]) {
        if self.within.0 > 0 {
            return;
        }
        while let Some((first, rest)) = piece.split_first() {
            let returned = std::mem::take(&mut self.returned);
            if !matches!(first, b'\r' | b'\n') {
                break;
            }
            self.offset += 1;
            self.line += i64::from(*first == b'\n' && !returned);
            *piece = rest;
        }
    }

    fn step(&mut self, piece: &mut &[u8]) -> Option<Record> {
        let (bytes, ends) = self.filled;
        let (result, taken, written, ended) =
            self.core.read_record(piece, &mut self.cells[bytes..], &mut self.ends[ends..]);
        let breaks = piece[..taken].iter().filter(|byte| **byte == b'\n').count();
        self.within.0 += taken as u64;
        self.within.1 += i64::try_from(breaks).unwrap_or(i64::MAX);
        let last = piece[..taken].last().copied();
        *piece = &piece[taken..];
        self.filled = (bytes + written, ends + ended);
        match result {
            ReadRecordResult::InputEmpty | ReadRecordResult::End => None,
            ReadRecordResult::OutputFull => {
                if self.cells.len() < MOST_BYTES {
                    self.cells.resize(self.cells.len() * 2, 0);
                } else {
                    // What it says is lost; where it ends is still to be found.
                    (self.too_long, self.filled.0) = (true, 0);
                }
                None
            }
            ReadRecordResult::OutputEndsFull => {
                (self.too_long, self.filled.1) = (true, 0);
                None
            }
            ReadRecordResult::Record => {
                let record = self.record();
                self.returned = last == Some(b'\r');
                self.line += i64::from(self.returned);
                if self.returned
                    && let Some(rest) = piece.strip_prefix(b"\n")
                {
                    (*piece, self.offset, self.returned) = (rest, self.offset + 1, false);
                }
                Some(record)
            }
        }
    }

    fn record(&mut self) -> Record {
        let line = self.line;
        let record = if std::mem::take(&mut self.too_long) {
            Record::TooLong { line }
        } else {
            let ends = &self.ends[..self.filled.1];
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let cells = starts.zip(ends).map(|(start, end)| self.cells[start..*end].to_vec()).collect();
            Record::Cells { line, cells }
        };
        self.offset += self.within.0;
        self.line += self.within.1;
        (self.filled, self.within) = ((0, 0), (0, 0));
        record
    }
}

/// Tells whether commas or semicolons part the cells: whichever the first line has more of outside quotes.
pub(super) fn sniff(start: &[u8]) -> u8 {
    let (mut quoted, mut commas, mut semicolons) = (false, 0, 0);
    for byte in start {
        match byte {
            b'"' => quoted = !quoted,
            b'\r' | b'\n' if !quoted => break,
            b',' if !quoted => commas += 1,
            b';' if !quoted => semicolons += 1,
            _ => {}
        }
    }
    if semicolons > commas { b';' } else { b',' }
}
