//! What is printed, and how: tables for people, JSON lines for programs.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use super::args::Color;
use super::exit::Exit;

/// Standard output, and what it is.
pub(crate) struct Output {
    out: BufWriter<Stdout>,
    is_json: bool,
    is_quiet: bool,
    is_terminal: bool,
    has_color: bool,
}

/// What a piece of text means; on a terminal it has a colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
    Careful,
    Faint,
}

impl Tone {
    fn color(self) -> Option<comfy_table::Color> {
        match self {
            Self::Plain => None,
            Self::Good => Some(comfy_table::Color::Green),
            Self::Bad => Some(comfy_table::Color::Red),
            Self::Careful => Some(comfy_table::Color::Yellow),
            Self::Faint => Some(comfy_table::Color::DarkGrey),
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
            Self::Careful => "\x1b[33m",
            Self::Faint => "\x1b[90m",
        }
    }
}

/// One cell of a table.
pub(crate) struct Field {
    text: String,
    tone: Tone,
    is_number: bool,
}

/// A text.
pub(crate) fn text(text: impl Into<String>) -> Field {
    Field { text: printable(&text.into()), tone: Tone::Plain, is_number: false }
}

/// A text with a meaning.
pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Field {
    Field { text: printable(&text.into()), tone, is_number: false }
}

/// A number, which stands to the right.
pub(crate) fn number(value: impl std::fmt::Display) -> Field {
    Field { text: value.to_string(), tone: Tone::Plain, is_number: true }
}

/// One column of a table.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    need: Need,
}

/// What becomes of a column when the terminal is narrow. Nothing is ever broken over lines: an id that is
/// broken cannot be copied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// It is left out; the lowest rank first.
    Nice(u8),
    /// It stays.
    Must,
    /// It stays and is cut.
    Cut,
}

/// A column that is always there.
pub(crate) const fn must(title: &'static str) -> Column {
    Column { title, need: Need::Must }
}

/// A column that is left out when there is no room; the lowest rank first.
pub(crate) const fn nice(rank: u8, title: &'static str) -> Column {
    Column { title, need: Need::Nice(rank) }
}

/// A column that is cut to the room that there is. At most one in a table.
pub(crate) const fn cut(title: &'static str) -> Column {
    Column { title, need: Need::Cut }
}

/// A column is not cut further than this.
const CUT_MIN: usize = 12;

/// Leaves out columns and cuts one, until the rest is no wider than this.
fn fit(header: &[Column], mut rows: Vec<Vec<Field>>, width: usize) -> (Vec<Column>, Vec<Vec<Field>>) {
    let mut header = header.to_vec();
    loop {
        let width_of = |index: usize, column: &Column| {
            let widest = rows.iter().filter_map(|row| row.get(index)).map(|field| field.text.chars().count());
            widest.max().unwrap_or(0).max(column.title.len())
        };
        let widths: Vec<usize> =
            header.iter().enumerate().map(|(index, column)| width_of(index, column)).collect();
        // Two spaces between columns, and one at the end.
        let total = widths.iter().sum::<usize>() + 2 * header.len();
        if total <= width {
            return (header, rows);
        }
        let cuttable = header.iter().position(|column| column.need == Need::Cut);
        if let Some(index) = cuttable
            && let Some(room) = width.checked_sub(total - widths[index]).filter(|room| *room >= CUT_MIN)
        {
            rows.iter_mut().filter_map(|row| row.get_mut(index)).for_each(|field| field.cut(room));
            return (header, rows);
        }
        let droppable = header.iter().enumerate().filter(|(_, column)| matches!(column.need, Need::Nice(_)));
        match droppable.min_by_key(|(_, column)| column.need).map(|(index, _)| index) {
            Some(index) => {
                header.remove(index);
                rows.iter_mut().for_each(|row| drop(row.remove(index)));
            }
            None => return (header, rows),
        }
    }
}

impl Field {
    fn cut(&mut self, room: usize) {
        if self.text.chars().count() > room {
            self.text = self.text.chars().take(room - 1).chain(['…']).collect();
        }
    }
}

impl Output {
    pub(crate) fn new(is_json: bool, is_quiet: bool, color: Color) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let has_color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && !no_color,
        };
        Self { out: BufWriter::new(io::stdout()), is_json, is_quiet, is_terminal, has_color }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Whether somebody looks at the output on a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether the output may have colours.
    pub(crate) fn has_color(&self) -> bool {
        self.has_color
    }

    /// Whether a progress bar is welcome: on a terminal, and not on the same one as the output.
    pub(crate) fn wants_progress(&self) -> bool {
        !self.is_quiet && io::stderr().is_terminal()
    }

    /// One JSON value on a line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Exit> {
        serde_json::to_writer(&mut self.out, value).map_err(io::Error::from)?;
        self.line("")
    }

    /// One line, as it is.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Exit> {
        writeln!(self.out, "{line}")?;
        // Who reads along on a terminal or a pipe wants to see it now; a file can wait.
        if self.is_terminal { self.flush() } else { Ok(()) }
    }

    /// One line with a meaning.
    pub(crate) fn toned_line(&mut self, line: &str, tone: Tone) -> Result<(), Exit> {
        let line = printable(line);
        match self.has_color && tone != Tone::Plain {
            true => self.line(&format!("{}{line}\x1b[0m", tone.code())),
            false => self.line(&line),
        }
    }

    /// Bytes, as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Exit> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Makes everything visible that was printed.
    pub(crate) fn flush(&mut self) -> Result<(), Exit> {
        Ok(self.out.flush()?)
    }

    /// Something that is good to know, on standard error, for people.
    pub(crate) fn hint(&self, text: &str) {
        if !self.is_quiet && !self.is_json {
            eprintln!("{text}");
        }
    }

    /// A table, as wide as the terminal at most; nothing at all when it has no rows.
    pub(crate) fn table(&mut self, header: &[Column], rows: Vec<Vec<Field>>) -> Result<(), Exit> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let width = self.is_terminal.then(|| table.width()).flatten().map_or(usize::MAX, usize::from);
        let (header, rows) = fit(header, rows, width);
        match self.has_color {
            true => table.enforce_styling(),
            false => table.force_no_tty(),
        };
        if !self.is_quiet {
            let title = |column: &Column| Cell::new(column.title).add_attribute(Attribute::Bold);
            table.set_header(header.iter().map(title));
        }
        for row in rows {
            table.add_row(row.into_iter().map(|field| self.cell(field)));
        }
        if let Some(column) = table.column_mut(0) {
            column.set_padding((0, 1));
        }
        let lines: Vec<String> = table.lines().collect();
        lines.iter().try_for_each(|line| self.line(line.trim_end()))
    }

    fn cell(&self, field: Field) -> Cell {
        let mut cell = Cell::new(field.text);
        if let Some(color) = field.tone.color().filter(|_| self.has_color) {
            cell = cell.fg(color);
        }
        match field.is_number {
            true => cell.set_alignment(CellAlignment::Right),
            false => cell,
        }
    }
}

/// A text without what could steer a terminal: names and errors come from strangers.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// A time for people, in two units at most.
pub(crate) fn time(duration: std::time::Duration) -> String {
    let rounded = match duration.as_millis() {
        0 if !duration.is_zero() => return "<1ms".to_owned(),
        0..1_000 => std::time::Duration::from_millis(duration.as_millis() as u64),
        1_000..60_000 => std::time::Duration::from_millis(duration.as_millis() as u64 / 100 * 100),
        _ => std::time::Duration::from_secs(duration.as_secs()),
    };
    humantime::format_duration(rounded).to_string().split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A size for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1_024.0 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// How long ago a moment by the broker's wall clock was, by ours.
pub(crate) fn ago(unix_ms: u64) -> String {
    let moment = std::time::UNIX_EPOCH + std::time::Duration::from_millis(unix_ms);
    match moment.elapsed() {
        Ok(elapsed) => format!("{} ago", time(elapsed)),
        // The clocks differ.
        Err(_) => "now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(width: usize) -> (Vec<&'static str>, String) {
        let header = [must("ID"), nice(2, "WHEN"), nice(1, "WHO"), cut("ERROR")];
        let row = vec![text("0123456789"), text("yesterday"), text("somebody"), text("e".repeat(40))];
        let (header, mut rows) = fit(&header, vec![row], width);
        let error = rows[0].pop().unwrap().text;
        (header.iter().map(|column| column.title).collect(), error)
    }

    #[test]
    fn a_narrow_terminal_cuts_first_and_leaves_out_then() {
        assert_eq!(shape(usize::MAX), (vec!["ID", "WHEN", "WHO", "ERROR"], "e".repeat(40)));
        assert_eq!(shape(60), (vec!["ID", "WHEN", "WHO", "ERROR"], format!("{}…", "e".repeat(24))));
        assert_eq!(shape(40), (vec!["ID", "WHEN", "ERROR"], format!("{}…", "e".repeat(14))));
        assert_eq!(shape(28), (vec!["ID", "ERROR"], format!("{}…", "e".repeat(13))));
        assert_eq!(shape(5).0, ["ID", "ERROR"], "an id stays whole");
    }

    #[test]
    fn what_could_steer_a_terminal_is_not_printed() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a [2Jb c");
    }

    #[test]
    fn times_and_sizes_are_short() {
        let millis = std::time::Duration::from_millis;
        assert_eq!(time(millis(0)), "0s");
        assert_eq!(time(std::time::Duration::from_micros(3)), "<1ms");
        assert_eq!(time(millis(1_234)), "1s 200ms");
        assert_eq!(time(millis(3_723_456)), "1h 2m");
        assert_eq!((size(5), size(1 << 20)), ("5 B".to_owned(), "1.0 MiB".to_owned()));
    }
}
