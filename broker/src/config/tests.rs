use clap::{CommandFactory, Parser};

use super::*;

fn parse(flags: &[&str]) -> Result<Config, BrokerError> {
    let args = Args::try_parse_from([&["ganger-broker"], flags].concat()).unwrap();
    Config::from_settings(gather(args, |_| None).unwrap())
}

/// Defaults stand in constants and in the help; both must say the same.
#[test]
fn what_help_says_is_the_default() {
    let command = Args::command();
    let said = command.get_arguments().filter_map(|arg| {
        let help = arg.get_help()?.to_string();
        let (_, default) = help.split_once("[default: ")?;
        Some((arg.get_long()?.to_owned(), default.split_once(']')?.0.to_owned()))
    });
    // Four are switches; five are nothing unless they are given.
    let said: Vec<_> = said.collect();
    assert_eq!(said.len(), Settings::NAMES.len() - 4, "a setting without a default in its help");
    let given = said.into_iter().filter(|(_, default)| default != "none");
    let flags: Vec<String> = given.flat_map(|(name, default)| [format!("--{name}"), default]).collect();
    assert_eq!(flags.len() / 2, Settings::NAMES.len() - 9);
    let spelled_out = parse(&flags.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert_eq!(format!("{spelled_out:?}"), format!("{:?}", parse(&[]).unwrap()));
}

/// What users rely on does not change by accident.
#[test]
fn defaults_are_those_of_the_documents() {
    let config = parse(&[]).unwrap();
    assert_eq!(config.clients.to_string(), "tcp://127.0.0.1:7710");
    assert_eq!(config.workers.to_string(), "tcp://127.0.0.1:7711");
    assert_eq!(config.knowledge.to_string(), "tcp://127.0.0.1:7712");
    let it = &config.scheduler;
    assert_eq!((it.heartbeat, it.liveness), (Duration::from_secs(1), 3));
    assert_eq!(it.grace, Duration::from_secs(2));
    assert_eq!((it.max_attempts, it.crash_limit), (3, 3));
    assert_eq!((it.backoff_base, it.backoff_max), (Duration::from_secs(1), Duration::from_secs(600)));
    assert_eq!((it.queue_tasks_max, it.queue_bytes_max), (10_000_000, 4 << 30));
    assert_eq!((it.retain_for, it.dead_set_max), (Duration::from_secs(3600), 100_000));
    assert_eq!(config.drain_deadline, Duration::from_secs(30));
    config.check().unwrap();
}

#[test]
fn every_flag_reaches_its_setting() {
    let changed = [
        ("--clients", "tcp://127.0.0.1:1"),
        ("--workers", "tcp://127.0.0.1:2"),
        ("--knowledge", "tcp://127.0.0.1:3"),
        ("--http", "127.0.0.1:4"),
        ("--otlp", "http://127.0.0.1:4318"),
        ("--durability", "memory"),
        ("--data", "/somewhere"),
        ("--heartbeat", "2s"),
        ("--liveness", "4"),
        ("--grace", "3s"),
        ("--drain-deadline", "1s"),
        ("--max-attempts", "4"),
        ("--crash-limit", "4"),
        ("--backoff", "2s"),
        ("--backoff-max", "1h"),
        ("--queue-tasks", "9"),
        ("--queue-bytes", "1GiB"),
        ("--retain", "2h"),
        ("--retain-bytes", "1GiB"),
        ("--dead-set", "9"),
        ("--dead-set-bytes", "2GiB"),
        ("--workers-max", "9"),
        ("--clients-max", "9"),
        ("--kinds-max", "9"),
        ("--credit-max", "9"),
        ("--worker-bytes", "32MiB"),
        ("--hold-time", "1ms"),
        ("--client-window", "9"),
        ("--client-window-bytes", "9MiB"),
        ("--client-backlog", "9"),
        ("--knowledge-bytes", "512MiB"),
        ("--knowledge-history", "9"),
        ("--log", "debug"),
        ("--log-format", "json"),
    ];
    // Four are switches, and two pairs are of no use without each other.
    assert_eq!(changed.len(), Settings::NAMES.len() - 8);
    let mut seen = vec![format!("{:?}", parse(&[]).unwrap())];
    for (flag, value) in changed {
        let config = format!("{:?}", parse(&[flag, value]).unwrap());
        assert!(!seen.contains(&config), "{flag} changes nothing, or the same as another flag");
        seen.push(config);
    }
}

#[test]
fn values_out_of_range_name_their_flag_and_what_is_allowed() {
    for (flag, value, allowed) in [
        ("--heartbeat", "49ms", "50ms to 1day"),
        ("--heartbeat", "2days", "50ms to 1day"),
        ("--liveness", "1", "2 to 1000"),
        ("--grace", "2days", "0s to 1day"),
        ("--drain-deadline", "2days", "0s to 1day"),
        ("--max-attempts", "0", "1 to"),
        ("--crash-limit", "0", "1 to"),
        ("--backoff", "1h", "--backoff-max"),
        ("--backoff-max", "2years", "365days"),
        ("--retain", "0s", "1s to"),
        ("--hold-time", "2m", "1m"),
        ("--queue-tasks", "0", "1 to"),
        ("--queue-bytes", "15MiB", "16MiB"),
        ("--retain-bytes", "0", "1MiB"),
        ("--dead-set-bytes", "0", "1MiB"),
        ("--workers-max", "0", "1 and more"),
        ("--clients-max", "0", "1 and more"),
        ("--kinds-max", "0", "1 and more"),
        ("--credit-max", "12289", "0 to 12288"),
        ("--worker-bytes", "1MiB", "16MiB"),
        ("--client-window", "0", "1 and more"),
        ("--client-window-bytes", "1", "1MiB"),
        ("--client-backlog", "0", "1 and more"),
        ("--knowledge-bytes", "1MiB", "16MiB"),
        ("--knowledge-bytes", "1025MiB", "to 1GiB"),
        ("--knowledge-history", "0", "1 and more"),
    ] {
        let error = parse(&[flag, value]).unwrap_err().to_string();
        let (place, rest) = error.split_once(": allowed: ").unwrap();
        assert!(place == flag && rest.contains(allowed), "{flag} {value}: {error}");
        assert_eq!(error.lines().count(), 1);
    }
    assert_eq!(CREDIT_MAX, 12_288);
}

#[test]
fn a_value_out_of_range_is_named_where_it_was_given() {
    let env = |name: &str| (name == "GANGER_LIVENESS").then(|| "1".to_owned());
    let settings = gather(Args::default(), env).unwrap();
    let error = Config::from_settings(settings).unwrap_err().to_string();
    assert_eq!(error, "GANGER_LIVENESS: allowed: 2 to 1000");
}

#[test]
fn other_machines_are_kept_out_unless_the_operator_insists() {
    for flag in ["--clients", "--workers", "--knowledge"] {
        let error = parse(&[flag, "tcp://0.0.0.0:1"]).unwrap_err().to_string();
        assert!(error.starts_with(flag) && error.contains("--insecure"), "{error}");
        assert!(error.contains("ganger keygen") && error.lines().count() == 1, "{error}");
        assert!(parse(&[flag, "tcp://0.0.0.0:1", "--insecure"]).unwrap().exposed().is_some());
        let keys = ["--secret-key", "broker.key", "--authorised-keys", "keys"];
        assert!(parse(&[&[flag, "tcp://0.0.0.0:1"], &keys[..]].concat()).is_ok());
        let direct = parse(&[flag, "tcp://0.0.0.0:1", "--insecure", "--direct"]).unwrap_err().to_string();
        assert!(direct.starts_with("--direct"), "{direct}");
    }
    assert!(parse(&["--clients", "ipc:///tmp/g.sock", "--workers", "tcp://[::1]:1"]).is_ok());
}

#[test]
fn http_reaches_other_machines_only_with_tokens_on_a_way_that_somebody_calls_safe() {
    let at = ["--http", "0.0.0.0:1"];
    let keys = ["--secret-key", "broker.key", "--authorised-keys", "keys"];
    for flags in [&at[..], &[&at[..], &keys].concat(), &[&at[..], &["--http-cleartext"]].concat()] {
        let error = parse(flags).unwrap_err().to_string();
        assert!(error.starts_with("--http: ") && error.contains("docs/http.md"), "{error}");
    }
    assert!(parse(&[&at[..], &keys, &["--http-cleartext"]].concat()).unwrap().http.is_some());
    assert!(parse(&[&at[..], &keys, &TLS].concat()).is_ok());
    let without_keys = parse(&[&at[..], &TLS].concat()).unwrap_err().to_string();
    assert!(without_keys.starts_with("--http: ") && without_keys.contains("tokens"), "{without_keys}");
    assert!(parse(&[&at[..], &["--insecure"]].concat()).is_ok());
    assert_eq!(parse(&["--http", "none"]).unwrap().http, None);
    assert!(parse(&["--http", "[::1]:0"]).is_ok());
}

#[test]
fn keys_come_in_twos_and_need_the_door() {
    let refused = |flags: &[&str]| parse(flags).unwrap_err().to_string();
    let (secret, keys) = (["--secret-key", "broker.key"], ["--authorised-keys", "keys"]);
    assert!(refused(&secret).contains("--authorised-keys") && refused(&keys).contains("ganger keygen"));
    assert!(refused(&[&secret[..], &keys, &["--direct"]].concat()).starts_with("--direct"));
    let config = parse(&[&secret[..], &keys].concat()).unwrap();
    assert_eq!(config.entrance.secret_key, Some("broker.key".into()));
    assert!(parse(&["--direct"]).unwrap().entrance.is_direct);
}

const TLS: [&str; 4] = ["--http-tls-cert", "cert.pem", "--http-tls-key", "key.pem"];

#[test]
fn a_certificate_and_its_key_come_together() {
    for (alone, other) in [(&TLS[..2], "--http-tls-key"), (&TLS[2..], "--http-tls-cert")] {
        let error = parse(alone).unwrap_err().to_string();
        assert!(error.starts_with(alone[0]) && error.contains(other), "{error}");
    }
    let config = parse(&TLS).unwrap();
    assert_eq!(
        (config.http_tls_cert, config.http_tls_key),
        (Some("cert.pem".into()), Some("key.pem".into()))
    );
}
