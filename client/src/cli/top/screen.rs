//! What is shown, and what keys do about it.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ganger_client::Error;

use super::sample::{Past, Sample};

/// Longest filter.
const FILTER_MAX: usize = 64;
/// Rows of a page.
const PAGE: usize = 10;

/// Everything that a drawing shows.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(crate) broker: String,
    pub(crate) has_color: bool,
    pub(crate) past: Past,
    /// Why the last look brought nothing.
    pub(crate) trouble: Option<String>,
    pub(crate) order: Order,
    pub(crate) filter: String,
    /// Letters go into the filter.
    pub(crate) is_typing: bool,
    pub(crate) is_helping: bool,
    /// What is shown stays as it is.
    pub(crate) is_held: bool,
    pub(crate) focus: Focus,
    /// How far each table is scrolled.
    pub(crate) scrolled: [usize; 2],
}

/// In which order rows stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// By name.
    Name,
    /// Kinds with most tasks, and the busiest workers, first.
    Load,
    /// Kinds whose tasks wait for longest, and workers not heard for longest, first.
    Age,
}

/// Which table is scrolled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Focus {
    Kinds,
    Workers,
}

/// What follows from a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Stay,
    Leave,
}

impl Order {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Load => "load",
            Self::Age => "age",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Name => Self::Load,
            Self::Load => Self::Age,
            Self::Age => Self::Name,
        }
    }
}

impl Screen {
    pub(crate) fn new(broker: String, has_color: bool) -> Self {
        Self {
            broker,
            has_color,
            past: Past::default(),
            trouble: None,
            order: Order::Name,
            filter: String::new(),
            is_typing: false,
            is_helping: false,
            is_held: false,
            focus: Focus::Workers,
            scrolled: [0; 2],
        }
    }

    /// Takes in a look, or why there was none.
    pub(crate) fn take(&mut self, sample: Result<Sample, Error>) {
        match sample {
            Ok(_) if self.is_held => {}
            Ok(sample) => {
                self.trouble = None;
                self.past.take(sample);
            }
            Err(error) => self.trouble = Some(error.to_string()),
        }
    }

    pub(crate) fn on_key(&mut self, key: KeyEvent) -> Next {
        if key.kind == KeyEventKind::Release {
            return Next::Stay;
        }
        // While the terminal is ours it sends no signal for this.
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Next::Leave } else { Next::Stay };
        }
        match self.is_typing {
            true => self.on_letter(key.code),
            false => return self.on_command(key.code),
        }
        Next::Stay
    }

    fn on_letter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) if self.filter.chars().count() < FILTER_MAX => self.filter.push(letter),
            _ => {}
        }
        self.scrolled = [0; 2];
    }

    fn on_command(&mut self, code: KeyCode) -> Next {
        let was_helping = std::mem::take(&mut self.is_helping);
        match code {
            KeyCode::Char('q') => return Next::Leave,
            KeyCode::Esc if was_helping => {}
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('?' | 'h') => self.is_helping = !was_helping,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char('p' | ' ') => self.is_held = !self.is_held,
            KeyCode::Tab | KeyCode::BackTab => {
                self.focus = if self.focus == Focus::Kinds { Focus::Workers } else { Focus::Kinds };
            }
            KeyCode::Down | KeyCode::Char('j') => self.scroll(|at| at + 1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(|at| at.saturating_sub(1)),
            KeyCode::PageDown => self.scroll(|at| at + PAGE),
            KeyCode::PageUp => self.scroll(|at| at.saturating_sub(PAGE)),
            KeyCode::Home => self.scroll(|_| 0),
            _ => {}
        }
        Next::Stay
    }

    /// Scrolls the table that has the focus, not beyond its last row.
    fn scroll(&mut self, to: impl Fn(usize) -> usize) {
        let (table, rows) = match self.focus {
            Focus::Kinds => (0, self.kinds().len()),
            Focus::Workers => (1, self.workers().len()),
        };
        self.scrolled[table] = to(self.scrolled[table]).min(rows.saturating_sub(1));
    }
}
