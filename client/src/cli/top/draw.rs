//! The drawing of a screen.

use std::time::Duration;

use ganger_common::view::StatusView;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Row, Sparkline, Table};

use super::latency::{Latency, bound};
use super::rows::{Cell, KIND_COLUMNS, WORKER_COLUMNS, grouped, kind_cells, percent, rate};
use super::screen::{Focus, Screen};
use crate::cli::output::{Tone, printable, time};

/// Rows of a plot.
const PLOT_ROWS: u16 = 3;
/// With fewer rows than this there are no plots: tables say more.
const ROWS_FOR_PLOTS: u16 = 20;

const HELP: [(&str, &str); 10] = [
    ("q", "leave"),
    ("s", "order: by name, by load, by age"),
    ("/", "filter kinds and workers; Esc takes it away"),
    ("Tab", "scroll the other table"),
    ("Up Down PgUp PgDn", "scroll"),
    ("p", "hold what is shown, and go on"),
    ("?", "these keys"),
    ("", ""),
    ("", "ended, came: tasks a second. busy: time that handlers ran over the time of all slots."),
    ("", "half within, 99 % within: from submission to outcome, of what ended since the last look."),
];

pub(crate) fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let area = frame.area();
    let plots = if area.height >= ROWS_FOR_PLOTS { PLOT_ROWS + 1 } else { 0 };
    // Kinds get what they need, up to half.
    let half = (area.height.saturating_sub(4 + plots) / 2).max(1);
    let kinds = screen.kinds().len().clamp(1, usize::from(half)) as u16 + 2;
    let rows = [
        Constraint::Length(3),
        Constraint::Length(plots),
        Constraint::Length(kinds),
        Constraint::Min(3),
        Constraint::Length(1),
    ];
    let [head, rates, kinds, workers, foot] = Layout::vertical(rows).areas(area);
    frame.render_widget(Paragraph::new(screen.head()), head);
    if plots > 0 {
        draw_rates(frame, screen, rates);
    }
    draw_kinds(frame, screen, kinds);
    draw_workers(frame, screen, workers);
    frame.render_widget(Paragraph::new(screen.foot()), foot);
    if screen.is_helping {
        draw_help(frame, screen, area);
    }
}

impl Screen {
    fn style(&self, tone: Tone) -> Style {
        let color = match tone {
            Tone::Plain => return Style::new(),
            Tone::Good => Color::Green,
            Tone::Bad => Color::Red,
            Tone::Careful => Color::Yellow,
            Tone::Faint => Color::DarkGray,
        };
        match self.has_color {
            true => Style::new().fg(color),
            // What must be seen is seen without colours, too.
            false if matches!(tone, Tone::Bad | Tone::Careful) => Style::new().add_modifier(Modifier::BOLD),
            false => Style::new(),
        }
    }

    fn says(&self, text: impl Into<String>, tone: Tone) -> Span<'static> {
        Span::styled(text.into(), self.style(tone))
    }

    /// Three lines: the broker, the figures, what is wrong.
    fn head(&self) -> Vec<Line<'static>> {
        let Some(last) = &self.past.last else { return vec![Line::raw("asking the broker")] };
        let status = &last.status;
        let state = match (&self.trouble, self.is_held, status.draining) {
            (Some(_), ..) => self.says("no answer", Tone::Bad),
            (None, true, _) => self.says("held", Tone::Careful),
            (None, false, true) => self.says("draining", Tone::Careful),
            (None, false, false) => self.says("ready", Tone::Good),
        };
        let up = time(Duration::from_millis(status.uptime_ms));
        let about = format!("  {}  {}  {}  up {up}  ", self.broker, status.broker, status.durability);
        let name = Span::styled("ganger top", Style::new().add_modifier(Modifier::BOLD));
        vec![
            Line::from(vec![name, self.says(printable(&about), Tone::Faint), state]),
            self.figures(status),
            match &self.trouble {
                Some(trouble) => Line::from(self.says(printable(trouble), Tone::Bad)),
                None => self.waiting(status),
            },
        ]
    }

    fn figures(&self, status: &StatusView) -> Line<'static> {
        let flow = self.past.flow.as_ref();
        let of = |share: Option<String>| share.unwrap_or_else(|| "-".to_owned());
        let dead = if status.dead_set > 0 { Tone::Bad } else { Tone::Plain };
        let figures = [
            ("came/s", of(flow.map(|flow| rate(flow.came))), Tone::Plain),
            ("ended/s", of(flow.map(|flow| rate(flow.ended))), Tone::Plain),
            ("running", grouped(status.running), Tone::Plain),
            ("workers", status.workers.to_string(), Tone::Plain),
            ("slots", grouped(status.slots.into()), Tone::Plain),
            ("busy", of(flow.and_then(|flow| flow.busy).map(percent)), Tone::Plain),
            ("dead", grouped(status.dead_set), dead),
            ("knowledge", format!("r{}", status.revision), Tone::Plain),
        ];
        self.line(&figures)
    }

    fn waiting(&self, status: &StatusView) -> Line<'static> {
        let parked = if status.parked > 0 { Tone::Careful } else { Tone::Plain };
        let latency = self.past.flow.as_ref().and_then(|flow| flow.latency);
        let within =
            |of: fn(Latency) -> u64| latency.map_or_else(|| "-".to_owned(), |latency| bound(of(latency)));
        self.line(&[
            ("half within", within(|latency| latency.p50_us), Tone::Plain),
            ("99 % within", within(|latency| latency.p99_us), Tone::Plain),
            ("waiting", grouped(status.queued), Tone::Plain),
            ("parked", grouped(status.parked), parked),
            ("not due", grouped(status.delayed), Tone::Plain),
            ("given out", grouped(status.assigned), Tone::Plain),
            ("outcomes kept", grouped(status.retained), Tone::Plain),
            ("clients", status.clients.to_string(), Tone::Plain),
        ])
    }

    fn line(&self, figures: &[(&str, String, Tone)]) -> Line<'static> {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let spans = figures.iter().flat_map(|(name, value, tone)| {
            [
                self.says(format!("{name} "), Tone::Faint),
                Span::styled(value.clone(), bold.patch(self.style(*tone))),
                Span::raw("  "),
            ]
        });
        Line::from(spans.collect::<Vec<_>>())
    }

    fn foot(&self) -> Line<'static> {
        if self.is_typing {
            return Line::from(format!("filter: {}_   Enter keeps it, Esc takes it away", self.filter));
        }
        let filter = match self.filter.is_empty() {
            true => String::new(),
            false => format!("   filter: {}", self.filter),
        };
        let keys = "q leave   s order   / filter   Tab other table   p hold   ? keys";
        Line::from(self.says(format!("{keys}   by {}{filter}", self.order.name()), Tone::Faint))
    }
}

fn draw_rates(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let halves = [Constraint::Ratio(1, 2), Constraint::Ratio(1, 2)];
    let [left, right] = Layout::horizontal(halves).spacing(2).areas(area);
    let rates = &screen.past.rates;
    let came: Vec<u64> = rates.iter().map(|(came, _)| *came).collect();
    let ended: Vec<u64> = rates.iter().map(|(_, ended)| *ended).collect();
    // Both to one scale, or they could not be compared.
    let most = came.iter().chain(&ended).copied().max().unwrap_or(0).max(1);
    for (name, values, area, tone) in [("came", came, left, Tone::Plain), ("ended", ended, right, Tone::Good)]
    {
        let [title, plot] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
        let text = format!("{name} a second, up to {}", grouped(most));
        frame.render_widget(Paragraph::new(Line::from(screen.says(text, Tone::Faint))), title);
        let newest = values.len().saturating_sub(usize::from(plot.width));
        let line = Sparkline::default().data(&values[newest..]).max(most).style(screen.style(tone));
        frame.render_widget(line, plot);
    }
}

fn draw_kinds(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let kinds = screen.kinds();
    let all = screen.past.last.as_ref().map_or(0, |last| last.status.kinds.len());
    let title = format!("queues by kind: {}", part(kinds.len(), all));
    let cells: Vec<_> =
        kinds.into_iter().skip(screen.scrolled[0]).map(|kind| kind_cells(kind).to_vec()).collect();
    draw_table(frame, screen, (&title, Focus::Kinds), &KIND_COLUMNS, cells, area);
}

fn draw_workers(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let workers = screen.workers();
    let all = screen.past.last.as_ref().and_then(|last| last.workers.as_ref());
    let title = match all {
        Some(all) => format!("workers: {}", part(workers.len(), all.len())),
        None => "workers: this key may not list them".to_owned(),
    };
    let shown = workers.into_iter().skip(screen.scrolled[1]);
    let cells: Vec<_> = shown.map(|worker| screen.worker_cells(worker).to_vec()).collect();
    draw_table(frame, screen, (&title, Focus::Workers), &WORKER_COLUMNS, cells, area);
}

fn part(shown: usize, all: usize) -> String {
    if shown == all { all.to_string() } else { format!("{shown} of {all}") }
}

fn draw_table(
    frame: &mut Frame<'_>,
    screen: &Screen,
    (title, focus): (&str, Focus),
    columns: &[(&'static str, u16)],
    rows: Vec<Vec<Cell>>,
    area: Rect,
) {
    let mark = if screen.focus == focus { "> " } else { "  " };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let block = Block::new().borders(Borders::TOP).title(Span::styled(format!("{mark}{title} "), bold));
    let fitting = fitting(columns, area.width);
    let columns = &columns[..fitting];
    let widths = columns.iter().map(|(_, width)| match width {
        0 => Constraint::Min(NAME_MIN),
        width => Constraint::Length(*width),
    });
    // The first column is a name; what follows are words and numbers, which stand to the right.
    let cell = |place: usize, text: Span<'static>| match place {
        0 => Line::from(text),
        _ => Line::from(text).right_aligned(),
    };
    let head = columns.iter().enumerate().map(|(place, (name, _))| cell(place, Span::styled(*name, bold)));
    let rows = rows.into_iter().take(usize::from(area.height)).map(|cells| {
        let cells = cells.into_iter().take(fitting).enumerate();
        Row::new(cells.map(|(place, (text, tone))| cell(place, screen.says(text, tone))).collect::<Vec<_>>())
    });
    let header = Row::new(head.collect::<Vec<_>>());
    frame.render_widget(Table::new(rows, widths).header(header).column_spacing(2).block(block), area);
}

/// A name is not cut further than this.
const NAME_MIN: u16 = 14;

/// How many columns fit, from the left.
fn fitting(columns: &[(&str, u16)], width: u16) -> usize {
    let mut used = 0;
    let fits = columns.iter().take_while(|(_, own)| {
        used += if *own == 0 { NAME_MIN } else { own + 2 };
        used <= width
    });
    fits.count().max(1)
}

fn draw_help(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let height = (HELP.len() as u16 + 2).min(area.height);
    let width = 92.min(area.width);
    let place = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
    let lines = HELP.map(|(key, meaning)| {
        Line::from(vec![screen.says(format!("{key:<18}"), Tone::Good), Span::raw(meaning)])
    });
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines.to_vec()).block(Block::bordered().title(" keys ")), place);
}
