//! The page in a real browser, over real programs: each number held against `ganger status --json`, each button
//! pressed. Where there is no Chromium these say so and pass; `docs/testing.md` says how to get one.

mod house;
mod story;
mod strangers;
