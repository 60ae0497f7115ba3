use std::fs;

use super::*;
use crate::options::definition;

/// A value for each key that is an option.
const VALUES: &[(&str, &str)] = &[
    ("access-log", "failed"),
    ("access-times", "08:00-18:30"),
    ("allow", "10.0.0.0/8"),
    ("allow", "127.0.0.1"),
    ("allow-reuse-address", "false"),
    ("allow-reuse-port", "true"),
    ("banner-refused", "no\\r\\n \"quoted\" \u{1f600}"),
    ("bind", "tcp://127.0.0.1:80?nodelay=true"),
    ("bind", "systemd://web"),
    ("block-on-close", "true"),
    ("compile-memory", "512MiB"),
    ("compile-time", "30s"),
    ("connect", "tcp://10.0.0.1:5432"),
    ("connects", "3"),
    ("cps", "100:5s"),
    ("cpu-time", "250ms"),
    ("daemon-threads", "false"),
    ("defer-accept", ""),
    ("deny", "192.0.2.1"),
    ("digest", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("dir", "/srv::/data:ro"),
    ("env", "A=\u{7f}= \\ 'x'"),
    ("env", "B="),
    ("grace", "2m 30s"),
    ("idle-timeout", "7s"),
    ("jail", "off"),
    ("listen-grant", "tcp://127.0.0.1:0"),
    ("log-bytes", "1KiB"),
    ("log-format", "json"),
    ("log-level", "debug"),
    ("log-rate", "17"),
    ("max-children", "9"),
    ("max-load", "3.5"),
    ("max-packet-size", "512"),
    ("max-per-source", "4"),
    ("max-received", "1MiB"),
    ("max-requests", "40"),
    ("max-sent", "2MiB"),
    ("memory", "1048576"),
    ("memory-total", "1GiB"),
    ("no-cache", ""),
    ("on-kill", "reset"),
    ("poll-interval", "0.25"),
    ("profile", "hostile"),
    ("proxy-from", "10.0.0.0/8"),
    ("proxy-from", "user:0"),
    ("proxy-timeout", "4s"),
    ("raw", ""),
    ("remove-stale-socket", "true"),
    ("request-queue-size", "11"),
    ("resolve", "example.com"),
    ("socket-mode", "660"),
    ("socket-owner", "0:0"),
    ("sockets", "5"),
    ("source-rate", "0.5:3"),
    ("stack", "256KiB"),
    ("stats", ""),
    ("timeout", "3"),
    ("tls-alpn", "h2"),
    ("tls-cert", "/etc/ssl/one.pem"),
    ("tls-client-auth", "request"),
    ("tls-client-ca", "/etc/ssl/clients.pem"),
    ("tls-handshake-timeout", "2s"),
    ("tls-key", "/etc/ssl/one.key"),
    ("tls-min-version", "1.3"),
    ("user", "12345:12345"),
    ("wall-time", "1h"),
    ("workers", "4"),
];

/// The options that exclude some of the others.
const ALONE: &[(&str, &str)] = &[("concurrency", "forking"), ("server", "ThreadingUDPServer")];

fn command_line(values: &[(&str, &str)]) -> Vec<String> {
    let option = |(name, value): &(&str, &str)| match *value {
        "" => format!("--{name}"),
        value => format!("--{name}={value}"),
    };
    let options = values.iter().map(option);
    let rest = ["/srv/upper.wasm", "--", "-x", "--bind=no"].map(str::to_owned);
    options.chain(rest).collect()
}

/// Reads a configuration with this text.
fn read(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, text).unwrap();
    let folder = folder.path().display().to_string();
    Config::read(&path).map_err(|problems| problems.to_string().replace(&folder, "."))
}

#[test]
fn a_printed_configuration_says_the_same_as_the_command_line() {
    let others = |name: &str| {
        let excluded = ["workers", "max-requests", "bind"];
        let bind = match name {
            "server" => ("bind", "udp://127.0.0.1:53"),
            _ => ("bind", "tcp://[::1]:80"),
        };
        let rest = VALUES.iter().copied().filter(|(name, _)| !excluded.contains(name));
        rest.filter(|(name, _)| *name != "jail").chain([bind]).collect::<Vec<_>>()
    };
    let mut lines = vec![VALUES.to_vec(), vec![("bind", "udp://:1")]];
    lines.extend(ALONE.iter().map(|alone| [others(alone.0), vec![*alone]].concat()));
    for values in lines {
        let line = command_line(&values);
        let given = ["wasm-socketserver", "serve"].map(str::to_owned).into_iter();
        let matches = definition().try_get_matches_from(given.chain(line.clone())).unwrap();
        let text = write::print(matches.subcommand_matches("serve").unwrap()).unwrap();
        let config = read(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let [handler] = &config.handlers[..] else { panic!("{text}") };
        assert_eq!(handler.name, "upper");
        let meant = || format!("{:?}", parse_serve(&line).unwrap().settings().unwrap());
        let said = || format!("{:?}", handler.options.clone().settings().unwrap());
        // The number of requests follows from what this process leaves free, in which other tests
        // run.
        let is_same = (0..100).any(|_| said() == meant());
        assert!(is_same, "{text}: {}\nis not {}", said(), meant());
        let settings = handler.options.clone().settings().unwrap();
        assert_eq!(settings.policy.args, ["-x", "--bind=no"]);
    }
}

#[test]
fn each_option_has_a_key_and_a_value_in_the_tests() {
    let tested: Vec<_> = VALUES.iter().chain(ALONE).map(|(name, _)| *name).collect();
    for key in Keys::of_serve().all() {
        assert!(tested.contains(&&*key.name), "{}", key.name);
    }
}

#[test]
fn each_mistake_has_a_place_and_the_right_word() {
    let handler = "[handler.upper]\nsource = \"upper.wasm\"\nbind = \"tcp://:80\"\n";
    for (text, problem) in [
        ("", "./c.toml:1:1: write version = 1 in the first line"),
        ("version = 2\n", "./c.toml:1:11: this program reads version = 1"),
        ("version = 1\n", "./c.toml:1:1: there is no handler: add a table [handler.NAME]"),
        ("version = \n", "./c.toml:1:11: "),
        (
            "version = 1\n[handlers.upper]\n",
            "./c.toml:2:2: `handlers` is no key of the file: did you mean `handler`?",
        ),
        (
            "version = 1\n{}memroy = \"1MiB\"\n",
            "./c.toml:5:1: `memroy` is no key of [handler.upper]: did you mean `memory`?",
        ),
        (
            "version = 1\n{}cpu-time = \"1x\"\n",
            "./c.toml:5:12: cpu-time: write a duration such as 500ms, 10s or 2m 30s",
        ),
        (
            "version = 1\n{}workers = \"2\"\n",
            "./c.toml:5:11: workers: write a number, not a string",
        ),
        ("version = 1\n{}workers = 0\n", "./c.toml:5:11: workers: 0 is not in 1..=1024"),
        ("version = 1\n{}raw = \"true\"\n", "./c.toml:5:7: raw: write true or false, not a string"),
        ("version = 1\n{}stats = 1\n", "./c.toml:5:9: stats: write true or false, not an integer"),
        (
            "version = 1\n{}grace = 1979-05-27\n",
            "./c.toml:5:9: grace: write a string, not a datetime",
        ),
        (
            "version = 1\n{}memory = [\"1MiB\"]\n",
            "./c.toml:5:10: memory: write a string, not an array",
        ),
        (
            "version = 1\n{}concurrency = \"thread\"\n",
            "./c.toml:5:15: concurrency: `thread` is none of sync, threading, fibers, forking: did you mean `threading`?",
        ),
        (
            "version = 1\n{}\"bi\\nnd\" = 1\n",
            "./c.toml:5:1: `bi\\nnd` is no key of [handler.upper]",
        ),
        (
            "version = 1\n{}workers = 2\nconcurrency = \"forking\"\n",
            "./c.toml:2:10: [handler.upper]: workers run requests in threads or as fibers",
        ),
        ("version = 1\n{}once = true\n", "./c.toml:5:1: `once` is no key"),
        ("version = 1\n{}digest = \"sha256:1\"\n", "./c.toml:5:10: digest: write sha256: and 64"),
        (
            "version = 1\n[handler.upper]\nbind = \"tcp://:80\"\n",
            "./c.toml:2:10: [handler.upper] has no `source`",
        ),
        (
            "version = 1\n[handler.upper]\nsource = \"a\"\n",
            "./c.toml:2:10: [handler.upper] has no `bind`",
        ),
        (
            "version = 1\n[handler.\"a b\"]\n",
            "./c.toml:2:10: the name of a handler has 1 to 64 letters",
        ),
        (
            "version = 1\n[defaults]\nsource = \"a\"\n{}",
            "./c.toml:3:1: `source` is no key of [defaults]",
        ),
        (
            "version = 1\n[server]\ngrace = \"1s\"\n{}",
            "./c.toml:3:1: `grace` is no key of [server]",
        ),
        (
            "version = 1\n[server]\ndrain-delay = 5\n{}",
            "./c.toml:3:15: drain-delay: write a duration such as \"5s\"",
        ),
        (
            "version = 1\n[server]\ndrain-delay = \"5 sec onds\"\n{}",
            "./c.toml:3:15: drain-delay: write a duration such as 500ms, 10s or 2m 30s",
        ),
        (
            "version = 1\n{}[handler.b]\nsource = \"b\"\nbind = [\"tcp://0.0.0.0:80?nodelay=true\"]\n",
            "tcp://0.0.0.0:80 is the address of [handler.",
        ),
        (
            "version = 1\ninclude = [\"x.toml\"]\n{}",
            "./x.toml:1:1: cannot read the file: No such file",
        ),
        ("version = 1\ninclude = 1\n{}", "./c.toml:2:11: include: write names of files"),
    ] {
        let problems = read(&text.replace("{}", handler)).unwrap_err();
        assert!(problems.contains(problem), "{text}\n{problems}");
    }
}

#[test]
fn the_addresses_of_the_monitor_are_those_of_the_server() {
    let handler = "[handler.a]\nsource = \"a\"\nbind = \"tcp://:80\"\n";
    let read = |server: &str| read(&format!("version = 1\n[server]\n{server}\n{handler}"));
    let both =
        "metrics = [\"tcp://127.0.0.1:9464\", \"unix:///m\"]\nagent = \"tcp://127.0.0.1:9465\"";
    let monitor = read(both).unwrap().monitor;
    let shown = |all: &[Endpoint]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&monitor.metrics), ["tcp://127.0.0.1:9464", "unix:///m"]);
    assert_eq!(shown(&monitor.agent), ["tcp://127.0.0.1:9465"]);
    for (server, problem) in [
        ("metrics = 1", "3:11: metrics: write tcp://HOST:PORT or unix://PATH"),
        ("metrics = [\"udp://127.0.0.1:1\"]", "3:12: metrics: write tcp://HOST:PORT or unix"),
        ("agent = \"tcp://127.0.0.1:1?nodelay=true\"", "3:9: agent: write tcp://HOST:PORT"),
        ("metric = \"\"", "3:1: `metric` is no key of [server]: did you mean `metrics`?"),
    ] {
        let problems = read(server).unwrap_err();
        assert!(problems.contains(problem), "{server}\n{problems}");
    }
}

#[test]
fn a_printed_configuration_has_the_addresses_of_the_monitor() {
    let given = ["wasm-socketserver", "serve", "a.wasm", "--bind=tcp://:1", "--metrics=unix://@m"];
    let matches = definition().try_get_matches_from(given).unwrap();
    let text = write::print(matches.subcommand_matches("serve").unwrap()).unwrap();
    let config = read(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    assert_eq!(config.monitor.metrics[0].to_string(), "unix://@m");
}

#[test]
fn all_mistakes_are_named_in_their_order() {
    let text = "version = 1\n[handler.a]\nworkers = true\nbund = 1\n[defaults]\nstats = 2\n";
    let problems = read(text).unwrap_err();
    let lines: Vec<_> = problems.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["./c.toml:3:11", "./c.toml:4:1", "./c.toml:6:9"]);
}

#[test]
fn a_handler_overrides_defaults_key_by_key() {
    let text = "version = 1\n[defaults]\nmemory = \"1MiB\"\nallow = [\"10.0.0.0/8\"]\nstats = true\n\
        cpu-time = \"1s\"\n[handler.a]\nsource = \"a\"\nbind = \"tcp://:80\"\nallow = []\n\
        stats = false\ncpu-time = \"2s\"\nenv = { B = \"2\", A = \"1\" }\n";
    let config = read(text).unwrap();
    let settings = config.handlers[0].options.clone().settings().unwrap();
    assert_eq!(settings.policy.memory, 1 << 20);
    assert_eq!(settings.policy.cpu_time, Duration::from_secs(2));
    assert!(settings.access.allow.is_empty() && !settings.log.stats);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(settings.policy.env, [pair("A", "1"), pair("B", "2")]);
}

#[test]
fn included_files_have_handlers_and_paths_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    let path =
        write("c.toml", "version = 1\ninclude = [\"d/*.toml\"]\n[defaults]\nmemory = \"1MiB\"\n");
    write("d/b.toml", "[handler.b]\nsource = \"b.wasm\"\nbind = \"tcp://:1\"\n");
    write("d/a.toml", "[handler.a]\nsource = \"a.wasm\"\nbind = \"tcp://:2\"\n");
    write("d/a.toml~", "no");
    write("d/.hidden.toml", "no");
    let config = Config::read(&path).unwrap();
    let names: Vec<_> = config.handlers.iter().map(|handler| &*handler.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(config.handlers[0].folder, folder.path().join("d"));
    assert_eq!(config.handlers[0].options.clone().settings().unwrap().policy.memory, 1 << 20);
    write("d/z.toml", "[handler.a]\nsource = \"a\"\nbind = \"tcp://:3\"\n[defaults]\n");
    let problems = Config::read(&path).unwrap_err().to_string();
    assert!(problems.contains("d/z.toml:1:10: there is another handler `a`, at "), "{problems}");
    assert!(problems.contains("`defaults` is no key of a file that is included"), "{problems}");
}
