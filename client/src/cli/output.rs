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
    pub(crate) fn table(&mut self, header: &[&str], rows: Vec<Vec<Field>>) -> Result<(), Exit> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(NOTHING);
        match self.is_terminal {
            true => table.set_content_arrangement(ContentArrangement::Dynamic),
            false => table.set_content_arrangement(ContentArrangement::Disabled).force_no_tty(),
        };
        if self.has_color {
            table.enforce_styling();
        }
        if !self.is_quiet {
            let title = |title: &&str| Cell::new(title).add_attribute(Attribute::Bold);
            table.set_header(header.iter().map(title));
        }
        for row in rows {
            table.add_row(row.into_iter().map(|field| self.cell(field)));
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
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// A time for people, in two units at most.
pub(crate) fn time(duration: std::time::Duration) -> String {
    let rounded = match duration.as_millis() {
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
