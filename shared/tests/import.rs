//! Files of tickets: what is read out of them, in which pieces they may come, and that exports come back whole.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and clippy does not see that these are tests"
)]

use proptest::collection::vec;
use proptest::prelude::*;
use shared::domain::Problem;
use shared::domain::import::{Line, Row, Rows, join_labels, neutral, plain};
use shared::domain::ticket::{Category, Priority};

/// Reads a file that comes in pieces of `size` bytes behind its first line.
fn read(file: &[u8], size: usize) -> Result<Vec<Line>, Vec<Problem>> {
    let mut rest = file;
    let mut rows = Rows::begin(&mut rest)?;
    let mut lines = Vec::new();
    for mut piece in rest.chunks(size) {
        while let Some(line) = rows.next(&mut piece) {
            lines.push(line);
        }
        assert!(piece.is_empty());
    }
    lines.extend(rows.finish());
    Ok(lines)
}

fn whole(file: &str) -> Vec<Line> {
    read(file.as_bytes(), usize::MAX).unwrap()
}

fn titles(file: &str) -> Vec<(i64, String)> {
    whole(file).into_iter().map(|line| (line.line, line.row.unwrap().title)).collect()
}

fn problems(file: &str) -> Vec<(i64, String, String)> {
    let failed = whole(file).into_iter().filter_map(|line| Some((line.line, line.row.err()?)));
    failed.flat_map(|(line, all)| all.into_iter().map(move |p| (line, p.field, p.message))).collect()
}

fn named(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(line, title)| (*line, (*title).to_owned())).collect()
}

#[test]
fn every_way_to_write_a_file_is_read() {
    let expected = named(&[(2, "Disk, full"), (3, "It \"burns\"")]);
    for file in [
        "title,priority\n\"Disk, full\",high\n\"It \"\"burns\"\"\",P1\n",
        "\u{feff}priority,title\r\nhigh,\"Disk, full\"\r\nlow,\"It \"\"burns\"\"\"",
        " Title ;Labels\nDisk, full;a|b\n\"It \"\"burns\"\"\";\n",
        "\"title\",\"number\",\"created_at\"\n\"Disk, full\",INC-1,now\n\"It \"\"burns\"\"\",,\n",
    ] {
        assert_eq!(titles(file), expected, "{file:?}");
    }
    assert_eq!(titles("title\rone\rtwo\r"), named(&[(2, "one"), (3, "two")]));
}

#[test]
fn lines_are_those_of_the_file() {
    let file = "\ntitle,description\r\n\r\none,\"a\r\nb\nc\"\n\n\n two ,\n";
    assert_eq!(titles(file), named(&[(4, "one"), (9, " two ")]));
    assert_eq!(problems("title\n\"a\nb\"\n\"\x07\"\n")[1].0, 4);
}

#[test]
fn a_row_says_everything_a_ticket_may_have() {
    let file = "title,description,priority,category,environment,affected_service,assignee_email,team,labels,contact_name,\
        contact_email,external_id\n'=x,'-,P2,question,prod,web,Sam@Example.org, Web ,b|a; a|c\\;d,Cleo,cleo@example.org,42\nonly,,,,,,,,,,,\n";
    let lines = whole(file);
    let text = |text: &str| Some(text.to_owned());
    let full = Row {
        title: "=x".into(),
        description: "-".into(),
        priority: Priority::High,
        category: Category::Question,
        environment: text("prod"),
        affected_service: text("web"),
        assignee_email: text("sam@example.org"),
        team: text("Web"),
        labels: vec!["a".into(), "b".into(), "c;d".into()],
        contact_name: text("Cleo"),
        contact_email: text("cleo@example.org"),
        external_id: text("42"),
    };
    assert_eq!(lines[0].row.as_ref().unwrap(), &full);
    let plain = lines[1].row.as_ref().unwrap();
    assert_eq!(
        (plain.priority, plain.category, &plain.environment),
        (Priority::Medium, Category::Incident, &None)
    );
}

#[test]
fn everything_wrong_with_a_row_is_said_at_once() {
    let file = format!(
        "title,description,priority,category,assignee_email,labels,contact_email,team\n{}",
        [
            " ,\x01,urgent,chore,nobody,a\x02,x,\n".to_owned(),
            format!("{},{},,,,{},,\n", "t".repeat(256), "d".repeat(65_537), "l".repeat(51)),
            "good,,,,,,,\n".into(),
            "few\n".into(),
            "\"never closed,,,,,,,\n".into(),
        ]
        .concat()
    );
    let found = problems(&file);
    let fields: Vec<(i64, &str)> = found.iter().map(|(line, field, _)| (*line, field.as_str())).collect();
    let first = ["title", "description", "priority", "category", "assignee_email", "contact_email", "labels"];
    let mut on_second: Vec<&str> = fields.iter().filter(|(line, _)| *line == 2).map(|(_, f)| *f).collect();
    on_second.sort_unstable();
    let mut first = first.to_vec();
    first.sort_unstable();
    assert_eq!(on_second, first);
    let later: Vec<(i64, &str)> = fields.iter().filter(|(line, _)| *line > 2).copied().collect();
    assert_eq!(later, [(3, "title"), (3, "description"), (3, "labels"), (5, ""), (6, "")]);
    assert!(found.iter().all(|(_, _, why)| why.ends_with('.')), "{found:?}");
    assert_eq!(found.last().unwrap().2, "The file ends within a quoted cell.");
}

#[test]
fn bytes_that_are_no_text_fail_their_row_alone() {
    let lines = read(b"title\nfine\n\xff\xfe\nfine\n", 1).unwrap();
    let failed: Vec<bool> = lines.iter().map(|line| line.row.is_err()).collect();
    assert_eq!(failed, [false, true, false]);
    assert_eq!(lines[1].row.as_ref().unwrap_err()[0].message, "Must be UTF-8 text.");
}

#[test]
fn a_first_line_that_cannot_be_used_is_refused_as_a_whole() {
    let refused = |file: &str| {
        let problems = read(file.as_bytes(), 100).unwrap_err();
        problems.into_iter().map(|problem| problem.field).collect::<Vec<_>>()
    };
    assert_eq!(refused(""), ["title"]);
    assert_eq!(refused("\n\n"), ["title"]);
    assert_eq!(refused("titel,colour"), ["titel", "colour", "title"]);
    assert_eq!(refused("title,labels,Labels\nx,y,z"), ["labels"]);
    assert_eq!(refused("\"title"), ["title"]);
    assert_eq!(refused(&format!("title,{}", "x".repeat(600))), ["x".repeat(50)]);
}

#[test]
fn a_row_without_end_costs_no_memory_and_hides_only_itself() {
    let file = format!("title,description\na,{}\nb,\nc{}\nd,\n", "x".repeat(700_000), ",".repeat(300));
    for size in [1_000, 65_536, usize::MAX] {
        let lines = read(file.as_bytes(), size).unwrap();
        let found: Vec<(i64, bool)> = lines.iter().map(|line| (line.line, line.row.is_ok())).collect();
        assert_eq!(found, [(2, false), (3, true), (4, false), (5, true)]);
    }
}

/// Cells of which all signs that matter are common.
fn cell() -> impl Strategy<Value = String> {
    let signs = prop_oneof![
        Just('\''),
        Just('='),
        Just('+'),
        Just('-'),
        Just('@'),
        Just('\t'),
        Just('\r'),
        Just('\n'),
        Just(','),
        Just(';'),
        Just('"'),
        Just('|'),
        Just('\\'),
        Just('a'),
        Just('ü'),
        Just(' '),
    ];
    vec(signs, 0..12).prop_map(|signs| signs.into_iter().collect())
}

proptest! {
    #[test]
    fn no_cell_is_a_formula_and_all_come_back(cell in cell()) {
        let written = neutral(&cell);
        prop_assert!(!written.starts_with(['=', '+', '-', '@', '\t', '\r']));
        prop_assert_eq!(plain(&written), &cell);
    }

    #[test]
    fn rows_come_back_as_they_were_written(
        title in cell().prop_map(|t| format!("t{t}").replace(char::is_control, "'")),
        formula in cell().prop_map(|t| format!("={t}").replace(char::is_control, "@")),
        description in cell(),
        labels in vec(cell().prop_map(|l| format!("l{l}x").replace(char::is_control, "|")), 0..5),
        semicolons: bool,
        size in 1..50_usize,
    ) {
        let mut labels = labels;
        labels.sort_unstable();
        labels.dedup();
        let mut writer = csv::WriterBuilder::new().delimiter(if semicolons { b';' } else { b',' }).from_writer(Vec::new());
        writer.write_record(["title", "description", "labels", "environment"]).unwrap();
        for title in [&title, &formula] {
            let joined = join_labels(labels.iter().map(String::as_str));
            let cells = [title.as_str(), &description, &joined, &formula];
            writer.write_record(cells.map(|cell| neutral(cell).into_owned())).unwrap();
        }
        let lines = read(&writer.into_inner().unwrap(), size).unwrap();
        prop_assert_eq!(lines.len(), 2);
        for (line, title) in lines.into_iter().zip([&title, &formula]) {
            let row = line.row.map_err(|problems| TestCaseError::fail(format!("{problems:?}")))?;
            prop_assert_eq!(&row.title, title);
            prop_assert_eq!(&row.description, &description);
            prop_assert_eq!(&row.labels, &labels);
            prop_assert_eq!(row.environment.as_ref(), Some(&formula));
        }
    }

    #[test]
    fn a_file_reads_the_same_in_whatever_pieces_and_from_wherever_one_goes_on(
        cells in vec(cell(), 0..30),
        size in 1..40_usize,
        stop in 0..30_usize,
    ) {
        // Written without a care for what is valid. Line breaks of one kind: within CRLF nobody could go on.
        let body = cells.join("\n").replace('\r', "");
        let file = format!("title,description\n{body}");
        let whole = read(file.as_bytes(), usize::MAX).unwrap();
        prop_assert_eq!(&read(file.as_bytes(), size).unwrap(), &whole);
        let mut rest = file.as_bytes();
        let mut rows = Rows::begin(&mut rest).unwrap();
        let mut lines = Vec::new();
        while lines.len() < stop && let Some(line) = rows.next(&mut rest) {
            lines.push(line);
        }
        if lines.len() < stop {
            lines.extend(rows.finish());
            prop_assert_eq!(lines, whole);
            return Ok(());
        }
        let (offset, line) = rows.position();
        let mut again = Rows::resume(rows.columns().clone(), rows.delimiter(), offset, line);
        let mut rest = &file.as_bytes()[usize::try_from(offset).unwrap()..];
        while let Some(line) = again.next(&mut rest) {
            lines.push(line);
        }
        lines.extend(again.finish());
        prop_assert_eq!(lines, whole);
    }
}
