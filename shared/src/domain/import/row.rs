//! What the columns of a file mean, and what a row of it says.

use serde::{Deserialize, Serialize};

use super::cells::{plain, split_labels};
use super::{Line, Record};
use crate::domain::ticket::{Category, Priority};
use crate::domain::{Problem, is_mail_address};

const TITLE: usize = 255;
const DESCRIPTION: usize = 65_536;
const NAME: usize = 100;
const ADDRESS: usize = 254;
const LABEL: usize = 50;
const LABELS: usize = 20;
const EXTERNAL_ID: usize = 200;

/// The columns that an import reads.
const KNOWN: [&str; 12] = [
    "title",
    "description",
    "priority",
    "category",
    "environment",
    "affected_service",
    "assignee_email",
    "team",
    "labels",
    "contact_name",
    "contact_email",
    "external_id",
];

/// The columns of an export, in order. An import passes over those that it does not read, so that an export can be
/// imported.
pub const EXPORTED: [&str; 28] = [
    "number",
    "id",
    "title",
    "description",
    "status",
    "priority",
    "category",
    "environment",
    "affected_service",
    "reporter_email",
    "assignee_email",
    "team",
    "labels",
    "contact_name",
    "contact_email",
    "created_at",
    "updated_at",
    "responded_at",
    "acknowledged_at",
    "resolved_at",
    "closed_at",
    "first_response_due_at",
    "first_response_breached_at",
    "next_response_due_at",
    "next_response_breached_at",
    "resolution_due_at",
    "resolution_breached_at",
    "version",
];

/// What each cell of a row is, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Columns(Vec<String>);

/// A ticket as a row says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// One line, 1-255 characters.
    pub title: String,
    /// Any text.
    pub description: String,
    /// How urgent it is.
    pub priority: Priority,
    /// What kind of request it is.
    pub category: Category,
    /// Where it happened.
    pub environment: Option<String>,
    /// What it happened to.
    pub affected_service: Option<String>,
    /// The address of whoever works on it, in lower case.
    pub assignee_email: Option<String>,
    /// The name of the team it is given to.
    pub team: Option<String>,
    /// Labels, sorted, without repetition.
    pub labels: Vec<String>,
    /// Name of whom to ask.
    pub contact_name: Option<String>,
    /// Address of whom to ask.
    pub contact_email: Option<String>,
    /// What it is called where it comes from.
    pub external_id: Option<String>,
}

impl Columns {
    /// Reads the first line of a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(cells: &[Vec<u8>]) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for cell in cells {
            let name = String::from_utf8_lossy(cell).trim().to_lowercase();
            // It is repeated to whoever sent it, but not at any length.
            let shown: String = name.chars().filter(|c| !c.is_control()).take(50).collect();
            if !KNOWN.contains(&&*name) && !EXPORTED.contains(&&*name) {
                let why = format!("There is no such column. Columns may be: {}.", KNOWN.join(", "));
                problems.push(Problem::new(shown, why));
            } else if names.contains(&name) {
                problems.push(Problem::new(shown, "Give the column once."));
            }
            names.push(name);
        }
        if !names.iter().any(|name| name == "title") {
            problems.push(Problem::new(
                "title",
                "Is required: the first line of the file must name its columns, and this among them.",
            ));
        }
        if problems.is_empty() { Ok(Self(names)) } else { Err(problems) }
    }

    pub(super) fn line(&self, record: Record) -> Line {
        let broken = |why: String| Err(vec![Problem::new("", why)]);
        let (line, row) = match record {
            Record::TooLong { line } => {
                (line, broken("Is longer than any ticket: is a quote not closed?".into()))
            }
            Record::Unclosed { line } => (line, broken("The file ends within a quoted cell.".into())),
            Record::Cells { line, cells } if cells.len() == self.0.len() => (line, self.row(&cells)),
            Record::Cells { line, cells } => {
                let (found, wanted) = (cells.len(), self.0.len());
                (line, broken(format!("Has {found} cells where the first line names {wanted} columns.")))
            }
        };
        Line { line, row }
    }

    fn row(&self, cells: &[Vec<u8>]) -> Result<Row, Vec<Problem>> {
        let mut reading = Reading { columns: &self.0, cells, problems: Vec::new() };
        let title = reading.line("title", TITLE);
        if title.is_none() {
            reading.complain_once("title", "Is required.");
        }
        let description = reading.text("description").map(str::to_owned).unwrap_or_default();
        let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        if description.contains(odd) {
            let why = "Must not contain control characters other than line breaks and tabs.";
            reading.complain_once("description", why);
        }
        reading.measure("description", &description, DESCRIPTION);
        let row = Row {
            title: title.unwrap_or_default(),
            description,
            priority: reading.word("priority").unwrap_or(Priority::Medium),
            category: reading.word("category").unwrap_or(Category::Incident),
            environment: reading.line("environment", NAME),
            affected_service: reading.line("affected_service", NAME),
            assignee_email: reading.address("assignee_email").map(|address| address.to_lowercase()),
            team: reading.line("team", NAME).map(|name| name.trim().to_owned()),
            labels: reading.labels(),
            contact_name: reading.line("contact_name", NAME),
            contact_email: reading.address("contact_email"),
            external_id: reading.line("external_id", EXTERNAL_ID),
        };
        if reading.problems.is_empty() { Ok(row) } else { Err(reading.problems) }
    }
}

/// The cells of one row, and what was wrong with those read.
struct Reading<'a> {
    columns: &'a [String],
    cells: &'a [Vec<u8>],
    problems: Vec<Problem>,
}

impl<'a> Reading<'a> {
    fn complain_once(&mut self, field: &str, why: impl Into<String>) {
        if !self.problems.iter().any(|problem| problem.field == field) {
            self.problems.push(Problem::new(field, why));
        }
    }

    /// The text of a cell as it was before it was made safe for spreadsheets; `None` where there is no such column.
    fn text(&mut self, field: &str) -> Option<&'a str> {
        let place = self.columns.iter().position(|name| name == field)?;
        let text = std::str::from_utf8(self.cells.get(place)?);
        if text.is_err() {
            self.complain_once(field, "Must be UTF-8 text.");
        }
        text.ok().map(plain)
    }

    fn measure(&mut self, field: &str, text: &str, max: usize) {
        let length = text.chars().count();
        if length > max {
            self.complain_once(field, format!("Must be at most {max} characters; this is {length}."));
        }
    }

    /// Reads one line of text; a blank cell is none.
    fn line(&mut self, field: &str, max: usize) -> Option<String> {
        let text = self.text(field).filter(|text| !text.trim().is_empty())?;
        self.measure(field, text, max);
        if text.contains(char::is_control) {
            self.complain_once(field, "Must not contain line breaks or other control characters.");
        }
        Some(text.to_owned())
    }

    fn word<T: std::str::FromStr<Err = String>>(&mut self, field: &str) -> Option<T> {
        let text = self.text(field).map(str::trim).filter(|text| !text.is_empty())?;
        text.parse().map_err(|why| self.complain_once(field, format!("It {why}."))).ok()
    }

    fn address(&mut self, field: &str) -> Option<String> {
        let address = self.line(field, ADDRESS)?.trim().to_owned();
        if !is_mail_address(&address) {
            self.complain_once(field, "Must be one mail address.");
        }
        Some(address)
    }

    fn labels(&mut self) -> Vec<String> {
        let labels = self.text("labels").map(split_labels).unwrap_or_default();
        let fits = |label: &String| label.chars().count() <= LABEL && !label.contains(char::is_control);
        if labels.len() > LABELS || !labels.iter().all(fits) {
            let why = "Must be at most 20 labels of 1 to 50 characters each, on one line, parted by |.";
            self.complain_once("labels", why);
        }
        labels
    }
}
