//! Where settings come from, and how they come together.

use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::args::{Args, Settings};

/// A setting and where it was given.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Given<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// Where a setting was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// On the command line.
    Flag,
    /// In this environment variable.
    Variable(&'static str),
    /// In this line of a file.
    File(PathBuf, usize),
}

impl Origin {
    /// The words that lead there.
    pub(crate) fn place(&self, name: &str) -> String {
        match self {
            Self::Flag => format!("--{name}"),
            Self::Variable(variable) => (*variable).to_owned(),
            Self::File(path, line) => format!("{}:{line}: {name}", path.display()),
        }
    }
}

/// Reads one setting.
pub(crate) fn parse<T>(
    name: &str,
    text: &str,
    origin: Origin,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Given<T>, String> {
    match read(text) {
        Ok(value) => Ok(Given { value, origin }),
        Err(reason) => Err(format!("{}: {text:?} is not allowed: {reason}", origin.place(name))),
    }
}

/// Joins flags, environment and file, the first of them first.
///
/// # Errors
/// One line that names the place and says what is allowed.
pub(crate) fn gather(args: Args, env: impl Fn(&str) -> Option<String>) -> Result<Settings, String> {
    let file = args.config.clone().or_else(|| env("GANGER_CONFIG").map(PathBuf::from));
    let given = Settings::from_flags(args).or(Settings::from_env(env)?);
    match file {
        None => Ok(given),
        Some(path) => {
            let text =
                std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(given.or(read_file(&path, &text)?))
        }
    }
}

/// The environment of this process. An empty variable is as good as none: that is how many tools unset
/// one. What is not UTF-8 is read as far as it can be, and refused by whatever reads it then.
pub(crate) fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
    Some(value.to_string_lossy().into_owned())
}

fn read_file(path: &Path, text: &str) -> Result<Settings, String> {
    let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let table: std::collections::BTreeMap<String, Spanned<toml::Value>> =
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(span.start));
            format!("{}:{line}: {}", path.display(), error.message().replace('\n', " "))
        })?;
    let mut settings = Settings::default();
    for (name, value) in table {
        let line = line_of(value.span().start);
        let value = match value.into_inner() {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(switch) => switch.to_string(),
            other => {
                let what = other.type_str();
                let place = path.display();
                return Err(format!("{place}:{line}: {name}: allowed are texts and numbers, not {what}"));
            }
        };
        match settings.set(&name, &value, Origin::File(path.to_owned(), line)) {
            Some(result) => result?,
            None => {
                let place = path.display();
                return Err(format!(
                    "{place}:{line}: there is no setting {name:?}; allowed are the flags of ganger-broker --help"
                ));
            }
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;

    fn file(text: &str) -> Result<Settings, String> {
        read_file(Path::new("g.toml"), text)
    }

    fn env(variable: &'static str, text: &'static str) -> impl Fn(&str) -> Option<String> {
        move |name| (name == variable).then(|| text.to_owned())
    }

    #[test]
    fn a_bad_file_is_refused_by_line() {
        for (text, line, says) in [
            ("liveness = 3\nheart-beat = '1s'\n", 2, "heart-beat"),
            ("queue_tasks = 5\n", 1, "queue_tasks"),
            ("\nheartbeat = 'soon'\n", 2, "heartbeat: \"soon\" is not allowed: write a duration"),
            ("liveness = -1\n", 1, "whole number"),
            ("liveness = 2.5\n", 1, "allowed are texts and numbers"),
            ("[limits]\nliveness = 3\n", 1, "limits"),
            ("liveness = 3\nliveness = 4\n", 2, "duplicate"),
            ("liveness =\n", 1, ""),
            ("log-format = 'xml'", 1, "text or json"),
        ] {
            let error = file(text).unwrap_err();
            assert!(error.starts_with(&format!("g.toml:{line}: ")), "{text:?} gives {error}");
            assert!(error.contains(says) && error.lines().count() == 1, "{text:?} gives {error}");
        }
    }

    #[test]
    fn every_setting_can_stand_in_a_file_under_the_name_of_its_flag() {
        for name in Settings::NAMES {
            let name = name.replace('_', "-");
            let error = file(&format!("{name} = [1]")).unwrap_err();
            assert!(error.contains("allowed are texts and numbers"), "{error}");
            assert!(Settings::default().set(&name, "", Origin::Flag).is_some(), "{name}");
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.toml");
        std::fs::write(&path, "liveness = 5\ngrace = '1s'\nheartbeat = '2s'\ninsecure = true").unwrap();
        let args = Args::try_parse_from(["", "--liveness", "4", "--config", path.to_str().unwrap()]).unwrap();
        let settings = gather(args, env("GANGER_GRACE", "7s")).unwrap();
        assert_eq!(settings.liveness, Some(Given { value: 4, origin: Origin::Flag }));
        assert_eq!(settings.grace.as_ref().unwrap().value, Duration::from_secs(7));
        assert_eq!(settings.heartbeat.as_ref().unwrap().value, Duration::from_secs(2));
        assert!(settings.insecure.as_ref().unwrap().value);
        assert_eq!(settings.place("liveness"), "--liveness");
        assert_eq!(settings.place("grace"), "GANGER_GRACE");
        assert_eq!(settings.place("heartbeat"), format!("{}:3: heartbeat", path.display()));
        assert_eq!(settings.place("queue-tasks"), "--queue-tasks");
    }

    #[test]
    fn a_bad_variable_is_refused_by_name() {
        let error = gather(Args::default(), env("GANGER_LIVENESS", "many")).unwrap_err();
        assert_eq!(error, "GANGER_LIVENESS: \"many\" is not allowed: write a whole number from 0 on");
    }

    #[test]
    fn a_file_that_is_not_there_is_refused_by_name() {
        let error = gather(Args::default(), env("GANGER_CONFIG", "/nowhere/g.toml")).unwrap_err();
        assert!(error.starts_with("/nowhere/g.toml: "), "{error}");
    }
}
