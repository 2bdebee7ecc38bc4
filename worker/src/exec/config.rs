//! The file of programs, read and checked before anything runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ganger_common::limits::PAYLOAD_BYTES_MAX;
use serde::Deserialize;

use super::run::run;
use crate::builder::Builder;

/// What is wrong with a file of programs. Nothing but another file helps.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or has other fields than it should.
    #[error("{path} line {line}: {reason}")]
    Syntax {
        /// The file.
        path: String,
        /// Where, from 1.
        line: usize,
        /// What.
        reason: String,
    },
    /// A kind makes no sense.
    #[error("{path}, kind {kind:?}: {reason}")]
    Kind {
        /// The file.
        path: String,
        /// Which.
        kind: String,
        /// What.
        reason: String,
    },
}

/// Programs by kind.
#[derive(Clone, Debug, Default)]
pub struct Programs(BTreeMap<String, Arc<Program>>);

/// A program and its limits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// The file to run, and its arguments with placeholders.
    pub argv: Vec<String>,
    /// Longest run.
    pub timeout: Option<Duration>,
    /// Largest result, in bytes.
    pub output_max: usize,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// Where it runs; absent: in an empty directory of its own.
    pub cwd: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    kind: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    argv: Vec<String>,
    #[serde(default, with = "humantime_serde")]
    timeout: Option<Duration>,
    output_max: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    env_pass: Vec<String>,
    cwd: Option<PathBuf>,
}

impl Programs {
    /// Reads a file.
    ///
    /// # Errors
    /// Names the file, the line or the kind, and what is allowed.
    pub fn load(path: &Path) -> Result<Self, ExecError> {
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| ExecError::Read { path: name.clone(), source })?;
        Self::parse(&name, &text)
    }

    /// Reads the text of a file of that name.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn parse(path: &str, text: &str) -> Result<Self, ExecError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
            let reason = error.message().lines().collect::<Vec<_>>().join(" ");
            ExecError::Syntax { path: path.to_owned(), line, reason }
        })?;
        let mut programs = BTreeMap::new();
        for (kind, entry) in file.kind {
            let program = entry.check().map_err(|reason| ExecError::Kind {
                path: path.to_owned(),
                kind: kind.clone(),
                reason,
            })?;
            programs.insert(kind, Arc::new(program));
        }
        Ok(Self(programs))
    }

    /// Adds a handler for each kind.
    #[must_use]
    pub fn serve(&self, mut builder: Builder) -> Builder {
        for (kind, program) in &self.0 {
            let program = program.clone();
            builder = builder.handler(kind, move |task, context| {
                let program = program.clone();
                async move { run(&program, &task, &context).await }
            });
        }
        builder
    }

    /// The program of a kind.
    pub fn get(&self, kind: &str) -> Option<&Arc<Program>> {
        self.0.get(kind)
    }
}

impl Entry {
    fn check(self) -> Result<Program, String> {
        let mut argv = self.argv;
        let file = argv.first().filter(|file| !file.is_empty()).ok_or("argv needs at least a program")?;
        let file = find(file).ok_or_else(|| {
            format!("argv: there is no program {file:?}; allowed is a path, or a name that PATH leads to")
        })?;
        argv[0] = file;
        if let Some(argument) = argv.iter().find(|argument| argument.contains('\0')) {
            return Err(format!("argv: {argument:?} contains a zero byte"));
        }
        let output_max = match self.output_max {
            None => PAYLOAD_BYTES_MAX,
            Some(text) => size(&text).filter(|bytes| *bytes <= PAYLOAD_BYTES_MAX).ok_or_else(|| {
                format!("output_max {text:?}: allowed is a size up to 16MiB, such as 4096 or 512KiB")
            })?,
        };
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err("timeout: allowed is a time above zero, such as 30s".to_owned());
        }
        let mut env = BTreeMap::new();
        for name in self.env_pass {
            if let Ok(value) = std::env::var(&name) {
                env.insert(name, value);
            }
        }
        env.extend(self.env);
        let is_bad = |(name, value): (&String, &String)| {
            name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
        };
        if env.iter().any(is_bad) {
            return Err("env: names have neither = nor zero bytes, values have no zero bytes".to_owned());
        }
        if let Some(cwd) = self.cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
            return Err(format!("cwd: there is no directory {}", cwd.display()));
        }
        Ok(Program { argv, timeout: self.timeout, output_max, env, cwd: self.cwd })
    }
}

/// The path of a program, looked up once: the empty environment of the program has no PATH.
fn find(file: &str) -> Option<String> {
    if file.contains('/') {
        let path = std::fs::canonicalize(file).ok().filter(|path| path.is_file())?;
        // A link is run by its own name: many programs look at how they are called.
        return match Path::new(file).is_absolute() {
            true => Some(file.to_owned()),
            false => path.to_str().map(str::to_owned),
        };
    }
    let paths = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&paths).map(|folder| folder.join(file)).find(|path| path.is_file());
    found?.to_str().map(str::to_owned)
}

/// A number of bytes, with or without a unit.
fn size(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "kB" => 1_000,
        "MB" => 1_000_000,
        _ => return None,
    };
    text[..digits].parse::<usize>().ok()?.checked_mul(unit)
}
