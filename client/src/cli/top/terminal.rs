//! The terminal: taken whole, and given back as it was, whatever ends the command.

use std::io::{self, Stdout, Write as _};
use std::sync::Once;
use std::time::Duration;

use crossterm::cursor::{Hide, Show};
use crossterm::event::{self, Event, KeyEvent};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::backend::CrosstermBackend;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::draw::draw;
use super::screen::Screen;

/// Between two looks at whether anybody still wants keys.
const KEY_PAUSE: Duration = Duration::from_millis(200);

/// A terminal that is ours until this is dropped.
pub(crate) struct Terminal(ratatui::Terminal<CrosstermBackend<Stdout>>);

impl Terminal {
    pub(crate) fn take() -> io::Result<Self> {
        give_back_on_panic();
        enable_raw_mode()?;
        let taken = execute!(io::stdout(), EnterAlternateScreen, Hide);
        let terminal = taken.and_then(|()| ratatui::Terminal::new(CrosstermBackend::new(io::stdout())));
        terminal.map(Self).inspect_err(|_| give_back())
    }

    pub(crate) fn draw(&mut self, screen: &Screen) -> io::Result<()> {
        self.0.draw(|frame| draw(frame, screen)).map(drop)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// Makes the terminal what it was. Once too often does no harm.
fn give_back() {
    // There is nobody left to tell that it cannot be.
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = io::stdout().flush();
}

/// What a panic says belongs on the screen that stays.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |what| {
            give_back();
            before(what);
        }));
    });
}

/// The keys that are pressed, and a sign of life when the size has changed.
pub(crate) fn keys() -> mpsc::Receiver<KeyEvent> {
    let (pressed, keys) = mpsc::channel(16);
    // Reading a terminal blocks, so it has a thread, which ends with the process at the latest.
    std::thread::spawn(move || {
        while !pressed.is_closed() {
            match event::poll(KEY_PAUSE).and_then(|is_there| is_there.then(event::read).transpose()) {
                Ok(Some(Event::Key(key))) => {
                    if pressed.blocking_send(key).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    keys
}

/// The signals that ask a command to end.
pub(crate) fn stops() -> io::Result<mpsc::Receiver<()>> {
    let (told, stops) = mpsc::channel(1);
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let (mut signals, told) = (signal(kind)?, told.clone());
        tokio::spawn(async move {
            signals.recv().await;
            // Whoever is told already ends already.
            let _ = told.send(()).await;
        });
    }
    Ok(stops)
}
