use super::*;

const FILE: &str = r#"
[kind."resize"]
argv = ["/bin/cat", "-"]
timeout = "30s"
output_max = "4KiB"
env = { LANG = "C" }

[kind.plain]
argv = ["sh"]
"#;

fn refused(text: &str) -> String {
    Programs::parse("x.toml", text).unwrap_err().to_string()
}

#[test]
fn a_file_of_programs_is_read() {
    let programs = Programs::parse("x.toml", FILE).unwrap();
    let resize = programs.get("resize").unwrap();
    assert_eq!(resize.argv, ["/bin/cat", "-"]);
    assert_eq!(resize.timeout, Some(std::time::Duration::from_secs(30)));
    assert_eq!(resize.output_max, 4_096);
    let plain = programs.get("plain").unwrap();
    assert!(plain.argv[0].ends_with("/sh"), "{:?}", plain.argv);
    assert_eq!((plain.timeout, plain.output_max), (None, 16 << 20));
    assert!(plain.env.is_empty());
}

#[test]
fn what_is_wrong_is_named_by_line_or_kind() {
    let cases = [
        ("\n[kind.a]\nargv = 5", "x.toml line 3: "),
        ("\n\n[kind.a", "x.toml line 3: "),
        ("[kind.a]\nargv = [\"/bin/cat\"]\nshell = true", "x.toml line 3: unknown field `shell`"),
        ("[kind.a]\nargv = []", "kind \"a\": argv needs"),
        ("[kind.a]\nargv = [\"/no/such\"]", "there is no program \"/no/such\""),
        ("[kind.a]\nargv = [\"no-such-program-anywhere\"]", "there is no program"),
        ("[kind.a]\nargv = [\"/bin/cat\"]\noutput_max = \"17MiB\"", "up to 16MiB"),
        ("[kind.a]\nargv = [\"/bin/cat\"]\noutput_max = \"much\"", "up to 16MiB"),
        ("[kind.a]\nargv = [\"/bin/cat\"]\ntimeout = \"0s\"", "above zero"),
        ("[kind.a]\nargv = [\"/bin/cat\"]\ntimeout = \"soon\"", "x.toml line 3: "),
        ("[kind.a]\nargv = [\"/bin/cat\"]\ncwd = \"/no/such\"", "no directory /no/such"),
        ("[kind.a]\nargv = [\"/bin/cat\"]\nenv = { \"A=B\" = \"\" }", "names have neither ="),
    ];
    for (text, expected) in cases {
        let error = refused(text);
        assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
    }
}
