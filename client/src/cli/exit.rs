//! How the command ends, as scripts see it.

use std::io;
use std::process::ExitCode;

use ganger_client::Error;

/// Why a command did not do what it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// `--help` and `--version`: the text, and nothing went wrong.
    Told(String),
    /// Whoever read the output has seen enough.
    Enough,
    /// Something is broken or away; code 1.
    Failed(String),
    /// The command line is wrong; code 2.
    Usage(String),
    /// A task that was waited for did not succeed, as the output tells; code 3.
    Unsuccessful,
    /// The broker said no; code 4.
    Refused(String),
}

impl Exit {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Told(_) | Self::Enough => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unsuccessful => 3,
            Self::Refused(_) => 4,
        }
    }

    /// Tells a person, and ends.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Told(text) => {
                // Whoever closed the pipe has seen enough.
                let _ = io::Write::write_all(&mut io::stdout(), text.as_bytes());
            }
            Self::Failed(text) | Self::Usage(text) | Self::Refused(text) => eprintln!("ganger: {text}"),
            Self::Enough | Self::Unsuccessful => {}
        }
        ExitCode::from(self.code())
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        match &error {
            Error::Refused { .. } => Self::Refused(error.to_string()),
            Error::Unreachable { .. } => Self::Failed(format!(
                "{error}; start one with `ganger-broker`, or name another with --broker tcp://HOST:PORT"
            )),
            Error::TimedOut { .. } => {
                Self::Failed(format!("{error}; give it longer with --timeout, or look with `ganger status`"))
            }
            Error::Interrupted => {
                Self::Failed(format!("{error}; it may have been carried out: look, and try again"))
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<io::Error> for Exit {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Enough,
            _ => Self::Failed(format!("cannot write the output: {error}")),
        }
    }
}
