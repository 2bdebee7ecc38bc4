//! Counts the instructions that a task takes through the hot parts, and holds them against the committed
//! figures. See `docs/performance.md`.
//!
//! ```text
//! cargo instructions             compare; fails when a figure has grown by over 10 %
//! cargo instructions write       count, and write the figures down
//! cargo instructions work PART N do the work of N turns, for a profiler to look at
//! ```

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use ganger_tests::exchange::count::{GROWTH_MAX, Part, committed, file, has_valgrind};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(),
        ["write"] => write(),
        ["work", part, turns] => {
            let part = Part::named(part).with_context(|| format!("there is no part {part:?}"))?;
            part.work(turns.parse().context("the number of turns")?);
            Ok(())
        }
        _ => bail!("usage: instructions [write | work PART TURNS]"),
    }
}

fn compare() -> anyhow::Result<()> {
    if !has_valgrind() {
        // The gate tries to install it first. Where that is impossible there is nothing to compare.
        println!("There is no valgrind on this machine: the instructions a task takes were NOT counted.");
        return Ok(());
    }
    let committed = committed()?;
    let mut grown = Vec::new();
    println!("{:<20} {:>12} {:>12} {:>8}", "instructions a task", "committed", "now", "change");
    for part in Part::ALL {
        let (before, now) = (committed[part.name()], part.count()?);
        let change = now / before - 1.0;
        println!("{:<20} {before:>12.1} {now:>12.1} {:>+7.1}%", part.name(), change * 100.0);
        if change > GROWTH_MAX {
            grown.push(part.name());
        }
    }
    if !grown.is_empty() {
        bail!(
            "grown by over {:.0} %: {}. Find out why; if it is worth it, `cargo instructions write` and say so",
            GROWTH_MAX * 100.0,
            grown.join(", ")
        );
    }
    Ok(())
}

fn write() -> anyhow::Result<()> {
    let mut figures = BTreeMap::new();
    for part in Part::ALL {
        figures.insert(part.name(), (part.count()? * 10.0).round() / 10.0);
    }
    let text = serde_json::to_string_pretty(&figures)? + "\n";
    print!("{text}");
    std::fs::write(file(), text)?;
    Ok(())
}
