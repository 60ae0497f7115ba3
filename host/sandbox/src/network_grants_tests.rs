//! Tests of the grammar of grants, and of what each grant permits.

use super::*;

fn grants(connect: &[&str]) -> NetworkGrants {
    let connect = connect.iter().map(|text| text.parse().unwrap()).collect();
    NetworkGrants { connect, ..NetworkGrants::default() }
}

fn address(text: &str) -> Address {
    text.parse::<SocketAddr>().unwrap().into()
}

fn permits(grant: &str, protocol: Protocol, to: &str) -> bool {
    grants(&[grant]).may_connect(protocol, &address(to), |_, _| false)
}

#[test]
fn a_grant_permits_its_network_and_ports_and_no_neighbour() {
    for (grant, inside, outside) in [
        ("tcp://10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:81"),
        ("tcp://10.0.0.1:80", "10.0.0.1:80", "10.0.0.2:80"),
        ("tcp://10.0.0.0/8:80-82", "10.9.9.9:82", "10.9.9.9:83"),
        ("tcp://10.0.0.0/8:80-82", "10.9.9.9:80", "10.9.9.9:79"),
        ("tcp://10.0.0.0/8:*", "10.9.9.9:65535", "11.0.0.0:1"),
        ("tcp://[::1]:80", "[::1]:80", "[::2]:80"),
        ("tcp://[2001:db8::/32]:*", "[2001:db8::9]:1", "[2001:db9::]:1"),
        ("tcp://[::/0]:80", "[2001:db8::9]:80", "[::ffff:127.0.0.1]:80"),
        ("tcp://127.0.0.1:80", "[::ffff:127.0.0.1]:80", "[::ffff:127.0.0.2]:80"),
        ("tcp://[::ffff:127.0.0.1]:80", "127.0.0.1:80", "127.0.0.2:80"),
    ] {
        assert!(permits(grant, Protocol::Tcp, inside), "{grant} {inside}");
        assert!(!permits(grant, Protocol::Tcp, outside), "{grant} {outside}");
        assert!(!permits(grant, Protocol::Udp, inside), "{grant} {inside}");
        assert!(!permits(grant, Protocol::Raw, inside), "{grant} {inside}");
    }
}

#[test]
fn a_name_permits_the_public_addresses_that_it_led_to() {
    let grants = grants(&["tcp://db.example:5432"]);
    let leads = |to: &str| {
        let to = to.parse::<IpAddr>().unwrap();
        move |name: &HostName, ip: IpAddr| name.to_string() == "db.example" && ip == to
    };
    let may = |to: &str, led: &str| grants.may_connect(Protocol::Tcp, &address(to), leads(led));
    assert!(may("8.8.8.8:5432", "8.8.8.8"));
    assert!(may("[::ffff:8.8.8.8]:5432", "8.8.8.8"));
    assert!(!may("8.8.8.8:5433", "8.8.8.8"));
    // Another address than the lookup returned.
    assert!(!may("8.8.8.9:5432", "8.8.8.8"));
    for private in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "0.0.0.0"] {
        assert!(!may(&format!("{private}:5432"), private), "{private}");
    }
    for private in ["::1", "fe80::1", "fc00::1", "::"] {
        assert!(!may(&format!("[{private}]:5432"), private), "{private}");
    }
    assert!(!may("[::ffff:127.0.0.1]:5432", "127.0.0.1"));
}

#[test]
fn only_granted_names_may_be_looked_up() {
    let mut grants = grants(&["tcp://DB.example.:5432", "tcp://10.0.0.1:80"]);
    grants.resolve = vec!["www.example".parse().unwrap()];
    for name in ["db.example", "DB.EXAMPLE", "db.example.", "www.example"] {
        assert!(grants.may_resolve(name).is_some(), "{name}");
    }
    for name in ["a.db.example", "example", "db.example..", "db.example\0", "", "10.0.0.1", "."] {
        assert!(grants.may_resolve(name).is_none(), "{name}");
    }
}

#[test]
fn a_path_permits_itself() {
    let grants = grants(&["unix:///run/a", "unix://@b"]);
    let may = |address: UnixAddress| {
        grants.may_connect(Protocol::Unix, &Address::Unix(address), |_, _| true)
    };
    assert!(may(UnixAddress::Pathname("/run/a".into())));
    assert!(may(UnixAddress::Abstract(b"b".to_vec())));
    // Rust takes `/run/a/` and `/run//a` for the same path.
    let others = ["/run/b", "/run/../run/a", "/run", "run/a", "b", "@b"];
    for beside in ["/run/a/", "/run//a", "/run/./a"].into_iter().chain(others) {
        assert!(!may(UnixAddress::Pathname(beside.into())), "{beside}");
    }
    assert!(!may(UnixAddress::Abstract(b"/run/a".to_vec())));
    assert!(!may(UnixAddress::Unnamed));
}

#[test]
fn a_socket_that_connects_may_bind_any_free_port_and_no_other() {
    let mut grants = grants(&["tcp://10.0.0.1:80"]);
    assert!(grants.may_bind(Protocol::Tcp, &address("0.0.0.0:0")));
    assert!(!grants.may_bind(Protocol::Tcp, &address("0.0.0.0:8000")));
    assert!(!grants.may_bind(Protocol::Udp, &address("0.0.0.0:0")));
    assert!(!grants.may_listen(Protocol::Tcp, &address("0.0.0.0:0")));
    grants.listen = vec![SocketGrant::parse_listen("tcp://127.0.0.1:8000").unwrap()];
    assert!(grants.may_listen(Protocol::Tcp, &address("127.0.0.1:8000")));
    assert!(!grants.may_listen(Protocol::Tcp, &address("127.0.0.1:8001")));
    assert!(!grants.may_bind(Protocol::Tcp, &address("127.0.0.1:8001")));
    assert!(!grants.may_connect(Protocol::Tcp, &address("127.0.0.1:8000"), |_, _| true));
}

#[test]
fn a_grant_prints_as_it_is_written() {
    for text in [
        "tcp://db.example:5432",
        "tcp://10.0.0.0/8:*",
        "udp://[::1]:53",
        "udp://[2001:db8::/32]:1-2",
        "unix:///run/a",
        "unix://@b",
    ] {
        assert_eq!(text.parse::<SocketGrant>().unwrap().to_string(), text);
    }
}

#[test]
fn errors_say_what_to_write() {
    for (text, why) in [
        ("", "has no scheme"),
        ("db.example:80", "has no scheme"),
        ("http://db.example:80", "another scheme"),
        ("tcp://db.example", "has no port"),
        ("tcp://db.example:", "neither a number"),
        ("tcp://db.example:80-", "neither a number"),
        ("tcp://db.example:82-80", "neither a number"),
        ("tcp://db.example:65536", "neither a number"),
        ("tcp://db.example:+80", "neither a number"),
        ("tcp://::1:80", "without brackets"),
        ("tcp://[db.example]:80", "write a network"),
        ("tcp://:80", "nor the name of a host"),
        ("tcp://*:80", "nor the name of a host"),
        ("tcp://127.1:80", "nor the name of a host"),
        ("tcp://0x7f000001:80", "nor the name of a host"),
        ("tcp://10.0.0.0/33:80", "nor the name of a host"),
        ("tcp://a b:80", "nor the name of a host"),
        ("tcp://b\u{fc}cher.example:80", "is not ASCII: write the name as DNS has it"),
        ("unix://", "has no path"),
        ("unix://@", "has no path"),
    ] {
        let error = text.parse::<SocketGrant>().unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let error = SocketGrant::parse_listen("tcp://localhost:80").unwrap_err().to_string();
    assert!(error.contains("bound to an address"), "{error}");
}

#[test]
fn a_grant_is_parsed_from_its_text() {
    for text in [
        "tcp://db.example:5432",
        "tcp://10.0.0.0/8:1-2",
        "udp://[2001:db8::/32]:*",
        "tcp://[::ffff:127.0.0.1]:80",
        "unix:///run/a\u{1b}b",
        "unix://relative",
        "unix://@name\n",
    ] {
        let grant: SocketGrant = text.parse().unwrap();
        assert_eq!(grant.to_text().parse::<SocketGrant>().unwrap(), grant, "{text}");
    }
    let directory = |text: &str| {
        let grant: SocketGrant = text.parse().unwrap();
        grant.directory().map(Path::to_owned)
    };
    assert_eq!(directory("unix:///run/a"), Some("/run".into()));
    assert_eq!(directory("unix://a"), Some(".".into()));
    assert_eq!(directory("unix://@a"), None);
    assert_eq!(directory("tcp://10.0.0.1:1"), None);
}
