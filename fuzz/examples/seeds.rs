//! Makes the seeds of every target from the worked examples of `docs/protocol.md`.
//!
//! ```text
//! cargo run --manifest-path fuzz/Cargo.toml --example seeds
//! ```
//! Run it after the protocol has changed, or the way in which inputs are read. Seeds that it made before are
//! replaced; what else lies in the folders stays.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (target, _) in ganger_fuzz::TARGETS {
        fs::create_dir_all(folder.join(target))?;
    }
    let seeds = ganger_fuzz::seeds::all();
    for seed in &seeds {
        fs::write(folder.join(&seed.path), &seed.bytes)?;
    }
    let bytes: usize = seeds.iter().map(|seed| seed.bytes.len()).sum();
    println!("{} seeds, {bytes} bytes", seeds.len());
    Ok(())
}
